"""Gate v4 frames (spot, futures in USDT, inverse, dated) → items.

Source: https://www.gate.io/docs/developers/apiv4/ws/en/
Source: https://www.gate.io/docs/developers/futures/ws/en/
Source: https://www.gate.com/docs/developers/apiv4/en/#query-market-transaction-records
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from processors.book_rules import BookRule, FirstIdRule
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
    PastTrades,
    Quote,
    Refused,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues import gate_wire as wire
from processors.wire import (
    MALFORMED,
    NULL,
    amount,
    asked,
    asked_seconds,
    digits,
    left_out,
    levels,
    maybe,
    maybe_digits,
    millis_us,
    notice,
    number,
    positive,
    seconds_us,
    signed,
    time_us,
    trades_of_time,
)
from schemas.records import DerivativeKind, Frame, Side
from schemas.venues.gate import is_inverse

NAME: Final = "GATE"
MARKETS: Final[tuple[str, ...]] = ("spot", "futures", "inverse", "delivery")
NOT_TOLD: Final[tuple[msgspec.Raw, ...]] = (msgspec.Raw(b""), NULL)
FACTS: Final[dict[str, Facts]] = {
    "spot": Facts(
        side="`side`, the taker's",
        times="`create_time_ms` with a fraction, `t`, ms",
        sizes="base currency",
        since="2021-06, v4 (retired: v3)",
        past_trades="`GET /spot/trades`, by time",
    ),
    "futures": Facts(
        side="sign of `size`: below 0 → SELL",
        times="`create_time_ms`, `t`, ms",
        sizes="contracts, decimals since 2026",
        since="2021, v4",
        past_trades="`GET /futures/usdt/trades`, by time",
    ),
    "inverse": Facts(
        side="sign of `size`: below 0 → SELL",
        times="`create_time_ms`, `t`, ms",
        sizes="contracts of 1 USD",
        since="2021, v4",
        past_trades="`GET /futures/btc/trades`, by time",
    ),
    "delivery": Facts(
        side="sign of `size`: below 0 → SELL",
        times="`create_time_ms`, `t`, ms",
        sizes="contracts",
        since="2026, v4",
        past_trades="`GET /delivery/usdt/trades`, by time",
    ),
}
RULE: Final = FirstIdRule()
SIDES: Final[dict[str, Side]] = {"buy": "BUY", "sell": "SELL"}
SECONDS_DIGITS: Final = 11  # at most, of a time
RETIRED: Final = (b'{"method":"', b'{"method": "')
BOOK_UPDATE: Final = b".order_book_update"
BOOKS: Final = frozenset({"order_book_update", "obu"})
ALL_LEVELS: Final = 10_000
UNREAD: Final = frozenset({"contract_stats", "contract_info", "adl_warning", "trades_v2"})
UNREAD_WORDS: Final = Notice("statistics and details of contracts, and the second channel of trades, are not read")
NO_SIDE: Final = "a size of 0 tells no side"
MOST_TOP: Final = 100  # levels of `order_book`, where none are told
CHANNEL_BYTES: Final = 160  # within which a message mostly names its channel

Items = list[AnyItem]
Unknown = list[UnknownField]
Levels = tuple[list[float], list[float]]


def book_rule(market: str) -> BookRule:
    """Tell how a market's books hold together: U is the last u + 1."""
    del market
    return RULE


def trades_are_counted(market: str) -> bool:
    """Ids of trades rise, but no document says that none is left out."""
    del market
    return False


def parse(market: str, frame: Frame, memory: Memory) -> Items:
    """Parse a MESSAGE or HTTP frame; answers to our own requests yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    unknown: Unknown = []
    if frame.kind == "HTTP":
        is_book = not asked(frame.request)[0].endswith("/trades")
        found = _snapshot(market, frame, unknown) if is_book else _past_trades(market, frame, unknown)
        return [found, *unknown]
    if BOOK_UPDATE in frame.payload[:CHANNEL_BYTES]:
        try:
            data = wire.CHANGE.decode(frame.payload).result
        except MALFORMED:
            pass  # an answer, or a field that is not documented
        else:
            return _change(market, data.symbol, data, ALL_LEVELS, memory)
    try:
        envelope = wire.ENVELOPE.decode(frame.payload)
    except MALFORMED as error:
        if frame.payload.startswith(RETIRED):
            raise FrameError("a message of the API before v4, which Gate retired") from None
        raise FrameError(f"no message of a channel: {error}") from error
    if envelope.error is not None and envelope.error.code:
        return [notice(frame.payload)]
    if envelope.event in {"subscribe", "unsubscribe", ""}:  # "" = a pong
        return []
    items = _told(market, envelope, memory, unknown)
    return [*items, *unknown] if unknown else items


def _told(market: str, envelope: wire.Envelope, memory: Memory, unknown: Unknown) -> Items:
    channel, event = envelope.channel.partition(".")[2], envelope.event
    if channel in BOOKS and event == "update":
        return _book(market, envelope, memory, unknown)
    if channel in BOOKS and event == "snapshot":  # which a recorder asked for, and wrote among the messages
        return [_book_of(market, envelope.symbol, envelope.result, unknown)]
    if channel in UNREAD:
        return [UNREAD_WORDS]
    read = CHANNELS.get(channel)
    if read is None or event not in {"update", "all"}:  # all = the whole of a book
        raise FrameError(f"{event[:40]!r} of channel {envelope.channel[:80]!r} is not known")
    return read(market, envelope, unknown)


def _trades(market: str, envelope: wire.Envelope, unknown: Unknown) -> Items:
    items: Items = []
    for row in _rows(envelope.result):
        if market == "spot":
            spot = wire.SPOT_TRADE.decode(row, unknown)
            price, size, instant = positive(spot.price), amount(spot.size), millis_us(digits(spot.time))
            items.append(Trade(spot.symbol, instant, spot.trade_id, price, size, SIDES[spot.side]))
            continue
        items.append(_futures_trade(wire.FUTURES_TRADE.decode(row, unknown)))
    return items


def _futures_trade(data: wire.FuturesTrade) -> Trade | Refused:
    size, side = _taken(data.size)
    if not size:  # less than a contract, where decimals were not asked for
        return Refused(NO_SIDE)
    instant = _instant_us(digits(data.time_ms or data.time_s))
    return Trade(data.symbol, instant, data.trade_id, positive(digits(data.price)), size, side, data.is_internal)


def _past_trades(market: str, frame: Frame, unknown: Unknown) -> PastTrades:
    """Parse trades of some seconds, newest first."""
    _, query = asked(frame.request)
    symbol = query.get("currency_pair") or query.get("contract", "")
    found: list[Trade | Refused]
    if market == "spot":
        found = [_past_trade(row) for row in wire.PAST_SPOT_TRADES.decode(frame.payload, unknown)]
    else:
        found = [_futures_trade(row) for row in wire.PAST_FUTURES_TRADES.decode(frame.payload, unknown)]
    trades = [each for each in found if isinstance(each, Trade)]
    if len(trades) < len(found):
        raise FrameError(NO_SIDE)
    if any(each.symbol != symbol for each in trades):
        raise FrameError("trades of another symbol than was asked for")
    is_full = len(trades) >= number(query.get("limit", "0"))
    return trades_of_time(symbol, trades, asked_seconds(query, "from", "to"), is_full=is_full)


def _past_trade(row: wire.PastSpotTrade) -> Trade:
    price, size, instant = positive(row.price), amount(row.size), millis_us(digits(row.time))
    return Trade(row.symbol, instant, number(row.trade_id), price, size, SIDES[row.side])


def _taken(raw: msgspec.Raw) -> tuple[float, Side]:
    """Read a size whose sign is the taker's side; 0 has none."""
    size = signed(digits(raw))
    return abs(size), "SELL" if size < 0 else "BUY"


def _quote(_market: str, envelope: wire.Envelope, unknown: Unknown) -> Items:
    data = wire.QUOTE.decode(envelope.result, unknown)
    bid, ask = maybe(data.bid) or 0.0, maybe(data.ask) or 0.0
    bid_size, ask_size = amount(digits(data.bid_size)), amount(digits(data.ask_size))
    return [Quote(data.symbol, time_us(data.time), data.sequence, bid, bid_size, ask, ask_size)]


def _book(market: str, envelope: wire.Envelope, memory: Memory, unknown: Unknown) -> Items:
    data = wire.BOOK.decode(envelope.result, unknown)
    if envelope.channel.endswith(".obu"):  # ob.BTC_USDT.400; levels are pairs, of contracts as well
        symbol, _, depth = data.symbol.removeprefix("ob.").rpartition(".")
        return _change("spot", symbol, data, number(depth), memory)
    return _change(market, data.symbol, data, ALL_LEVELS, memory)


def _change(market: str, symbol: str, data: wire.BookData, depth: int, memory: Memory) -> Items:
    """Read a change or the whole of a book, unless a deeper one of the symbol is kept."""
    instant = time_us(data.time)
    if not memory.keeps_book(symbol, depth, instant, is_whole=data.is_whole):
        return [left_out(f"a book of {symbol}")] if data.is_whole else []
    bids, asks = _levels(market, data.bids), _levels(market, data.asks)
    most = number(data.level) if data.level else 0
    if data.is_whole:
        return [BookSnapshot(symbol, instant, data.sequence, *bids, *asks, is_in_stream=True, most_levels=most)]
    if data.first_sequence is None or data.first_sequence > data.sequence:
        raise FrameError(f"order_book_update: from {data.first_sequence} to {data.sequence}")
    return [BookDelta(symbol, instant, data.first_sequence, data.sequence, 0, *bids, *asks, most_levels=most)]


def _top(market: str, envelope: wire.Envelope, unknown: Unknown) -> Items:
    """Read the best levels alone; changes of single levels, by which they were followed until 2021, are not read."""
    if envelope.event == "update" and market != "spot":
        raise FrameError("order_book: changes of contracts' books, as they were sent until 2021")
    data = wire.TOP.decode(envelope.result, unknown)
    symbol, sequence = data.symbol or data.contract, data.sequence or data.id
    bids, asks = _levels(market, data.bids), _levels(market, data.asks)
    most = number(data.level) if data.level else MOST_TOP
    if not symbol:
        raise FrameError("order_book: it names no symbol")
    instant = time_us(data.time) if data.time else _sent_us(envelope)
    place, sides = (symbol, instant, sequence or instant), (*bids, *asks)
    return [BookSnapshot(*place, *sides, is_in_stream=True, most_levels=most, is_top=True)]


def _system(_market: str, envelope: wire.Envelope, _unknown: Unknown) -> Items:
    return [notice(envelope.result)]


def _snapshot(market: str, frame: Frame, unknown: Unknown) -> BookSnapshot:
    return _book_of(market, _book_symbol(frame.request), frame.payload, unknown)


def _book_of(market: str, symbol: str, body: bytes | msgspec.Raw, unknown: Unknown) -> BookSnapshot:
    data = wire.SNAPSHOT.decode(body, unknown)
    instant = 0
    if data.changed:  # ms on spot, seconds with a fraction of contracts
        text = digits(data.changed)
        instant = millis_us(text) if market == "spot" else seconds_us(text)
    return BookSnapshot(symbol, instant, data.sequence, *_levels(market, data.bids), *_levels(market, data.asks))


def _tickers(market: str, envelope: wire.Envelope, unknown: Unknown) -> Items:
    instant = _sent_us(envelope)
    if market == "spot":
        rows = [wire.SPOT_TICKER.decode(row, unknown) for row in _rows(envelope.result)]
        return [_spot_ticker(row, instant) for row in rows]
    items: Items = []
    for row in _rows(envelope.result):
        items += _futures_ticker(wire.FUTURES_TICKER.decode(row, unknown), instant)
    return items


def _spot_ticker(data: wire.SpotTicker, instant: int) -> TickerItem:
    return TickerItem(
        symbol=data.symbol,
        exchange_time_us=instant,
        last=amount(data.last),
        high=maybe(data.high),
        low=maybe(data.low),
        volume=amount(data.base_volume),
        quote_volume=amount(data.quote_volume),
        bid=maybe(data.bid),
        ask=maybe(data.ask),
    )


def _futures_ticker(data: wire.FuturesTicker, instant: int) -> Items:
    volume = amount(digits(data.volume))
    base = amount(digits(data.base_volume)) if data.base_volume else None  # until 2021: it follows from the last price
    inverse = is_inverse(data.symbol)
    items: Items = [
        TickerItem(
            symbol=data.symbol,
            exchange_time_us=instant,
            last=amount(data.last),
            high=maybe(data.high),
            low=maybe(data.low),
            volume=volume,
            base_volume=base if inverse else None,
            quote_volume=None if inverse or not data.quote_volume else amount(digits(data.quote_volume)),
            bid=_maybe(data.bid),
            bid_size=_maybe(data.bid_size),
            ask=_maybe(data.ask),
            ask_size=_maybe(data.ask_size),
        )
    ]
    facts: tuple[tuple[DerivativeKind, str], ...] = (
        ("MARK_PRICE", data.mark_price),
        ("INDEX_PRICE", data.index_price),
        ("OPEN_INTEREST", digits(data.open_interest) if data.open_interest else ""),
    )
    items += [DerivativeItem(data.symbol, instant, kind, amount(text)) for kind, text in facts if text]
    if data.funding_rate:
        due = 0 if data.funding_due in NOT_TOLD else seconds_us(digits(data.funding_due))
        items.append(DerivativeItem(data.symbol, instant, "FUNDING_RATE", signed(data.funding_rate), due))
    return items


def _maybe(raw: msgspec.Raw) -> float | None:
    return maybe_digits(raw) if raw else None


def _candles(market: str, envelope: wire.Envelope, unknown: Unknown) -> Items:
    rows = [wire.CANDLE.decode(row, unknown) for row in _rows(envelope.result)]
    return [_candle(market, row, _sent_us(envelope)) for row in rows]


def _candle(market: str, data: wire.CandleData, instant: int) -> CandleItem:
    interval, _, symbol = data.name.partition("_")
    volume = amount(digits(data.volume))
    base = amount(digits(data.base_volume)) if data.base_volume else None
    if market == "spot" and base is None:
        base = _base_of_flat(data, volume) if volume else 0.0
    return CandleItem(
        symbol=symbol,
        exchange_time_us=instant,
        interval={"7d": "1w", "30d": "1M"}.get(interval, interval),
        open_time_us=seconds_us(digits(data.open_time)),
        close_time_us=0,
        open=positive(data.open),
        high=positive(data.high),
        low=positive(data.low),
        close=positive(data.close),
        volume=base if market == "spot" else volume,
        base_volume=base if market != "spot" and is_inverse(symbol) else None,  # not told = follows from the close
        quote_volume=volume if market == "spot" else None,
        is_closed=data.is_closed,
    )


def _base_of_flat(data: wire.CandleData, quote_volume: float) -> float:
    """Turn quote currency into base where all of it was traded at one price; until 2022 no other way is there."""
    if data.high != data.low:
        raise FrameError("candlesticks: no volume in base currency, as they were sent until 2022")
    return quote_volume / positive(data.close)


def _liquidations(_market: str, envelope: wire.Envelope, unknown: Unknown) -> Items:
    items: Items = []
    for row in _rows(envelope.result):
        data = wire.LIQUIDATION.decode(row, unknown)
        size, side = _taken(data.size)
        if not size:
            items.append(Refused(NO_SIDE))
            continue
        instant = _forced_us(data) or _sent_us(envelope)
        items.append(Liquidation(data.symbol, instant, positive(digits(data.price)), size, side))
    return items


def _forced_us(data: wire.LiquidationData) -> int:
    """Tell when an order was forced; 0 = that is not told."""
    return _instant_us(digits(data.time_ms or data.time or msgspec.Raw(b"0")))


def _instant_us(text: str) -> int:
    """Read a time in ms or, told apart by their size, seconds: streams and REST call either the same."""
    return millis_us(text) if len(text.partition(".")[0]) > SECONDS_DIGITS else seconds_us(text)


def _rows(result: msgspec.Raw) -> list[msgspec.Raw]:
    """List what is one or several, once even a list in a list."""
    if not bytes(result).startswith(b"["):
        return [result]
    try:
        rows = wire.ROWS.decode(result)
        return wire.ROWS.decode(rows[0]) if rows and bytes(rows[0]).startswith(b"[") else rows
    except MALFORMED as error:
        raise FrameError(f"result: {error}") from error


def _levels(market: str, body: msgspec.Raw) -> Levels:
    return levels(body) if market == "spot" else wire.FUTURES_LEVELS.read(body)


def _sent_us(envelope: wire.Envelope) -> int:
    return time_us(envelope.time_ms) if envelope.time_ms else envelope.time * 1_000_000


@lru_cache(maxsize=8192)
def _book_symbol(request: str) -> str:
    """Take the symbol out of the URL of an order book."""
    try:
        url = urlsplit(request)
        query = parse_qs(url.query)
    except ValueError as error:
        raise FrameError(f"request {request[:80]!r}: {error}") from None
    symbols = query.get("currency_pair") or query.get("contract") or [""]
    if not url.path.endswith("/order_book") or not symbols[0]:
        raise FrameError(f"answer to a request we do not know: {request[:80]!r}")
    return symbols[0]


Channel = Callable[[str, wire.Envelope, Unknown], Items]
CHANNELS: Final[dict[str, Channel]] = {
    "trades": _trades,
    "book_ticker": _quote,
    "order_book": _top,
    "tickers": _tickers,
    "candlesticks": _candles,
    "public_liquidates": _liquidations,
    "system": _system,
}
"""By the name behind `spot.` or `futures.`."""
