"""OKX v5 frames (spot, swap, futures, option) → items.

Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel
Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-all-trades-channel
Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history
Source: https://www.okx.com/docs-v5/en/#public-data-websocket-funding-rate-channel
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final
from zlib import crc32

import msgspec

from processors.book_rules import BookRule, Checksum, PreviousIdRule, TextLevel
from processors.errors import FrameError
from processors.facts import Facts
from processors.items import (
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Liquidation,
    Notice,
    Quote,
    Repeated,
    Texts,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues import okx_wire as wire
from processors.wire import (
    MALFORMED,
    NO_ID,
    NO_LEVELS,
    amount,
    asked,
    left_out,
    maybe,
    notice,
    number,
    past_trades,
    positive,
    signed,
    time_us,
    unknown_answer,
)
from schemas.records import Frame, Instrument, Side
from schemas.venues.okx import is_inverse

NAME: Final = "OKX"
MARKETS: Final[tuple[str, ...]] = ("spot", "swap", "futures", "option")
FACTS: Final[dict[str, Facts]] = {
    "spot": Facts(
        side="`side`, the taker's",
        times="`ts`, ms, as text",
        sizes="base currency",
        since="2022, v5 (retired: v3)",
        past_trades="`GET /api/v5/market/history-trades`, by id",
    ),
    "swap": Facts(
        side="`side`, the taker's",
        times="`ts`, ms, as text",
        sizes="contracts",
        since="2022, v5 (retired: v3)",
        past_trades="`GET /api/v5/market/history-trades`, by id",
    ),
    "futures": Facts(
        side="`side`, the taker's",
        times="`ts`, ms, as text",
        sizes="contracts",
        since="2022, v5 (retired: v3)",
        past_trades="`GET /api/v5/market/history-trades`, by id",
    ),
    "option": Facts(
        side="`side`, the taker's",
        times="`ts`, ms, as text",
        sizes="contracts",
        since="2022, v5 (retired: v3)",
        past_trades="`GET /api/v5/market/history-trades`, by id",
    ),
}
SIDES: Final[dict[str, Side]] = {"buy": "BUY", "sell": "SELL"}
RETIRED: Final = b'{"table":"'
BOOKS: Final = {"books50-l2-tbt": 50, "books": 400, "books-l2-tbt": 401}  # how deep; of equal ones the faster
BESTS: Final = frozenset({"bbo-tbt", "books5"})
UNREAD: Final = frozenset({
    "adl-warning", "block-tickers", "books-elp", "books-rpi", "call-auction-details", "economic-calendar",
    "estimated-price", "event-contract-markets", "instruments", "opt-summary", "option-trades", "price-limit",
    "public-block-trades", "public-struc-block-trades",
})  # fmt: skip
UNREAD_STARTS: Final = ("index-candle", "mark-price-candle", "sprd-")
UNREAD_WORDS: Final = Notice(
    "limits and summaries, lists, block trades, spreads and books with orders of retail are not read"
)
CONFIRMED: Final[tuple[list[str], ...]] = (["0"], ["1"], [])  # none until 2022
HOUR_INTERVALS: Final = {"H": "h", "D": "d", "W": "w"}

Items = list[AnyItem]
Unknown = list[UnknownField]


class Crc32(Checksum):
    """CRC32 of the 25 best levels, bid and ask in turns; venue messages carried it until 2026."""

    levels = 25

    def of(self, bids: Sequence[TextLevel], asks: Sequence[TextLevel], instrument: Instrument) -> int:
        """Make it, signed."""
        del instrument
        both = min(len(bids), len(asks))
        levels = chain(*zip(bids, asks, strict=False), bids[both:], asks[both:])
        unsigned = crc32(":".join(chain.from_iterable(levels)).encode())
        return unsigned - 2**32 if unsigned >= 2**31 else unsigned


RULE: Final = PreviousIdRule(ids_are_shared=False, checksum=Crc32())


def book_rule(market: str) -> BookRule:
    """Tell how a market's books hold together: prevSeqId is the last seqId."""
    del market
    return RULE


def trades_are_counted(market: str) -> bool:
    """Ids of an instrument rise by one; messages of `trades` that sum up fills leave some out, and say so."""
    del market
    return True


def parse(market: str, frame: Frame, memory: Memory) -> Items:
    """Parse a MESSAGE or HTTP frame; answers to our own requests on the connection yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    if frame.kind == "HTTP":
        return _past_trades(frame)
    if frame.payload == b"pong":
        return []
    try:
        envelope = wire.ENVELOPE.decode(frame.payload)
    except MALFORMED:
        return _answer(frame.payload)
    channel = envelope.arg.channel
    read = CHANNELS.get("candle" if channel.startswith("candle") else channel)
    if read is None:
        return _unread(channel, frame.payload)
    unknown: Unknown = []
    items: Items = []
    for row in envelope.data:
        items += read(market, envelope, row, memory, unknown)
    return [*items, *unknown] if unknown else items


def _unread(channel: str, payload: bytes) -> Items:
    """Tell of a channel that is known and not used, and what the venue says of its service.

    Raises:
        FrameError: it is not known.
    """
    if channel == "status":
        return [notice(payload)]
    if channel in UNREAD or channel.startswith(UNREAD_STARTS):
        return [UNREAD_WORDS]
    raise FrameError(f"channel {channel[:80]!r} is not known")


def _answer(payload: bytes) -> Items:
    try:
        answer = wire.ANSWER.decode(payload)
    except MALFORMED as error:
        if payload.startswith(RETIRED):
            raise FrameError("a message of the API before v5, which OKX retired") from None
        raise FrameError(f"neither a channel's message nor an answer: {error}") from error
    if answer.event in {"error", "notice", "channel-conn-count-error"}:
        return [notice(payload)]
    if answer.event not in {"subscribe", "unsubscribe", "channel-conn-count"}:
        raise FrameError(f"event {answer.event[:40]!r} is not known")
    return []


def _past_trades(frame: Frame) -> Items:
    """Parse trades that were asked for, newest first, without holes."""
    path, query = asked(frame.request)
    if path.rpartition("/")[2] != "history-trades":
        raise unknown_answer(frame.request)
    unknown: Unknown = []
    answer = wire.PAST_ANSWER.decode(frame.payload, unknown)
    if answer.code != "0":
        return [notice(frame.payload), *unknown]
    trades = [_trade_of(row) for row in wire.PAST_TRADES.decode(answer.data, unknown)]
    if any(trade.symbol != query.get("instId") for trade in trades):
        raise FrameError("trades of another instrument than was asked for")
    return [*past_trades(trades, NO_ID, NO_ID), *unknown]


def _trade_of(data: wire.TradeData, *, is_summed: bool = False) -> Trade:
    price, size, side = positive(data.price), amount(data.size), SIDES[data.side]
    instant, trade_id = _time_us(data.time), number(data.trade_id)
    return Trade(data.inst_id, instant, trade_id, price, size, side, is_summed=is_summed)


def _trade(_market: str, _envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    return [_trade_of(wire.TRADE.decode(row, unknown))]


def _fills(_market: str, _envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    """Read what sums up the fills of an order at one price, since `count` tells of how many; before, one each."""
    data = wire.TRADE.decode(row, unknown)
    return [_trade_of(data, is_summed=data.count is not None)]


def _book(_market: str, envelope: wire.Envelope, row: msgspec.Raw, memory: Memory, unknown: Unknown) -> Items:
    data = wire.BOOK.decode(row, unknown)
    symbol, instant, is_whole = envelope.arg.inst_id, _time_us(data.time), envelope.action == "snapshot"
    bids, asks = _levels(data.bids), _levels(data.asks)
    if not memory.keeps_book(symbol, BOOKS[envelope.arg.channel], instant, is_whole=is_whole):
        return [left_out(f"{envelope.arg.channel} {symbol}")] if is_whole else []
    texts, checksum = (_texts(data), data.checksum) if data.checksum else (None, None)
    if is_whole:
        sequence = memory.count(symbol, 1) if data.seq_id is None else _id(data.seq_id)
        return [
            BookSnapshot(
                symbol, instant, sequence, *bids, *asks, is_in_stream=True, texts=texts, checksum=checksum
            )
        ]  # fmt: skip
    if envelope.action != "update":
        raise FrameError(f"books: action {envelope.action[:40]!r} is not known")
    if data.seq_id is None or data.prev_seq_id is None:  # until 2023, the checksum alone tells
        if _is_told_before(data, symbol, memory):
            return [Repeated(envelope.arg.channel)]
        last = memory.counts.get(symbol, 0)
        sequence, previous = memory.count(symbol), last
    else:
        sequence, previous = _id(data.seq_id), _id(data.prev_seq_id)
        if sequence == previous and not bids[0] and not asks[0]:  # nothing has changed for a minute
            return []
    return [BookDelta(symbol, instant, previous + 1, sequence, previous, *bids, *asks, texts, checksum)]


def _is_told_before(data: wire.BookData, symbol: str, memory: Memory) -> bool:
    """Tell whether a change without a number is the last one once more."""
    name, told = f"last {symbol}", f"{data.time} {data.checksum} {crc32(data.bids)} {crc32(data.asks)}"
    is_told = memory.names.get(name) == told
    memory.names[name] = told
    return is_told


def _best(_market: str, envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    data = wire.BOOK.decode(row, unknown)
    instant = _time_us(data.time)
    (bids, bid_sizes), (asks, ask_sizes) = _levels(data.bids), _levels(data.asks)
    best = [each[0] if each else 0.0 for each in (bids, bid_sizes, asks, ask_sizes)]
    return [Quote(envelope.arg.inst_id, instant, instant, *best)]


def _ticker(_market: str, _envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    data = wire.TICKER.decode(row, unknown)
    volume, other = amount(data.volume), amount(data.other_volume)
    is_spot = data.inst_id.count("-") == 1
    return [
        TickerItem(
            symbol=data.inst_id,
            exchange_time_us=_time_us(data.time),
            last=maybe(data.last) or 0.0,
            last_size=maybe(data.last_size),
            open=maybe(data.open),
            high=maybe(data.high),
            low=maybe(data.low),
            volume=volume,
            base_volume=other if is_inverse(data.inst_id) else None,
            quote_volume=other if is_spot else None,
            bid=maybe(data.bid),
            bid_size=maybe(data.bid_size),
            ask=maybe(data.ask),
            ask_size=maybe(data.ask_size),
        )
    ]


def _candle(_market: str, envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, _unknown: Unknown) -> Items:
    try:
        texts = wire.CANDLE.decode(row)
    except MALFORMED as error:
        raise FrameError(f"candle: {error}") from error
    if len(texts) not in {7, 9}:
        raise FrameError(f"candle: {len(texts)} fields, not 7 or 9")
    symbol, open_time_us = envelope.arg.inst_id, _time_us(texts[0])
    if not open_time_us or texts[8:] not in CONFIRMED:
        raise FrameError(f"candle: it opened at {texts[0]}, and is over: {texts[8:]}")
    volume, other = amount(texts[5]), amount(texts[6])
    is_spot = symbol.count("-") == 1
    quote_volume = amount(texts[7]) if len(texts) > 7 else other if is_spot else None
    return [
        CandleItem(
            symbol=symbol,
            exchange_time_us=0,  # a row tells when it opened alone
            interval=_interval(envelope.arg.channel),
            open_time_us=open_time_us,
            close_time_us=0,
            open=positive(texts[1]),
            high=positive(texts[2]),
            low=positive(texts[3]),
            close=positive(texts[4]),
            volume=volume,
            base_volume=other if is_inverse(symbol) else None,
            quote_volume=quote_volume,
            is_closed=texts[8:] == ["1"],
        )
    ]


def _funding(_market: str, _envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    data = wire.FUNDING.decode(row, unknown)
    instant = _time_us(data.time) if data.time else 0
    if not data.funding_rate:
        return []
    return [
        DerivativeItem(data.inst_id, instant, "FUNDING_RATE", signed(data.funding_rate), _time_us(data.funding_time))
    ]


def _open_interest(
    _market: str, _envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown
) -> Items:
    data = wire.OPEN_INTEREST.decode(row, unknown)
    return [DerivativeItem(data.inst_id, _time_us(data.time), "OPEN_INTEREST", amount(data.contracts))]


def _mark_price(_market: str, _envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    data = wire.MARK_PRICE.decode(row, unknown)
    return [DerivativeItem(data.inst_id, _time_us(data.time), "MARK_PRICE", amount(data.mark_price))]


def _index(market: str, _envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    """Give the price of an index to the swaps and X-Perps that are named after it, whatever their margin."""
    data = wire.INDEX.decode(row, unknown)
    instant, price = _time_us(data.time), positive(data.index_price)
    if market == "futures":
        return [DerivativeItem(f"{data.inst_id}_UM_XPERP-", instant, "INDEX_PRICE", price, is_of_all=True)]
    if market != "swap":
        return []
    items: Items = [DerivativeItem(f"{data.inst_id}-SWAP", instant, "INDEX_PRICE", price)]
    if data.inst_id.endswith("-USD"):
        items.append(DerivativeItem(f"{data.inst_id}_UM-SWAP", instant, "INDEX_PRICE", price, is_optional=True))
    return items


def _liquidations(market: str, _envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    """Read forced orders, of all instruments of a type: those of other markets come on their own connections."""
    del market
    data = wire.LIQUIDATIONS.decode(row, unknown)
    return [_liquidation(data.inst_id, each, unknown) for each in data.details]


def _fetched_liquidation(
    _market: str, envelope: wire.Envelope, row: msgspec.Raw, _memory: Memory, unknown: Unknown
) -> Items:
    """Read a forced order as a recorder wrote it that fetched them, until there was a channel (2023)."""
    return [_liquidation(envelope.arg.inst_id, row, unknown)]


def _liquidation(symbol: str, row: msgspec.Raw, unknown: Unknown) -> Liquidation:
    order = wire.LIQUIDATION.decode(row, unknown)
    price, size = positive(order.price), amount(order.size)
    return Liquidation(symbol, _time_us(order.time), price, size, SIDES[order.side])


def _interval(channel: str) -> str:
    """Turn `candle1m`, `candle1H`, `candle1Dutc`, `candle1M` into our words."""
    text = channel.removeprefix("candle").removesuffix("utc")
    if len(text) < 2 or not text[:-1].isdigit():
        raise FrameError(f"channel {channel[:40]!r} is not known")
    return text[:-1] + HOUR_INTERVALS.get(text[-1], text[-1])


def _levels(body: msgspec.Raw) -> tuple[list[float], list[float]]:
    if body == NO_LEVELS:
        return [], []
    try:
        rows = wire.LEVELS.decode(body)
    except MALFORMED as error:
        raise FrameError(f"book levels: {error}") from error
    return [row.price for row in rows], [row.size for row in rows]


def _texts(data: wire.BookData) -> Texts:
    try:
        bids, asks = wire.LEVEL_TEXTS.decode(data.bids), wire.LEVEL_TEXTS.decode(data.asks)
    except MALFORMED as error:
        raise FrameError(f"book levels: {error}") from error
    return Texts([row[0] for row in bids], [row[1] for row in bids], [row[0] for row in asks], [row[1] for row in asks])


def _id(sequence: int) -> int:
    """Ids start at -1, which stands for none."""
    if not -1 <= sequence < 2**63:
        raise FrameError(f"books: {sequence} is no sequence id")
    return max(sequence, 0)


def _time_us(text: str) -> int:
    return time_us(number(text))


Channel = Callable[[str, wire.Envelope, msgspec.Raw, Memory, Unknown], Items]
CHANNELS: Final[dict[str, Channel]] = {
    "trades": _fills,
    "trades-all": _trade,
    "tickers": _ticker,
    "candle": _candle,
    "funding-rate": _funding,
    "open-interest": _open_interest,
    "mark-price": _mark_price,
    "index-tickers": _index,
    "liquidation-orders": _liquidations,
    "liquidations": _fetched_liquidation,
    **dict.fromkeys(BOOKS, _book),
    **dict.fromkeys(BESTS, _best),
}
"""By name; candles of all intervals as one."""
