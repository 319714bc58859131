"""Bybit v5 frames (spot, linear, inverse) → items.

Source: https://bybit-exchange.github.io/docs/v5/ws/connect
Source: https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
Source: https://bybit-exchange.github.io/docs/v5/websocket/public/trade
Source: https://bybit-exchange.github.io/docs/v5/websocket/public/ticker
Source: https://bybit-exchange.github.io/docs/v5/websocket/public/all-liquidation
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

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
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues import bybit_wire as wire
from processors.wire import (
    MALFORMED,
    amount,
    asked,
    left_out,
    levels,
    maybe,
    notice,
    number,
    positive,
    signed,
    time_us,
    unknown_answer,
)
from schemas.records import DerivativeKind, Frame, Side

NAME: Final = "BYBIT"
MARKETS: Final[tuple[str, ...]] = ("spot", "linear", "inverse")
FACTS: Final[dict[str, Facts]] = {
    "spot": Facts(
        side="`S`, the taker's",
        times="`T` of trades, `cts` of books, `ts`, ms",
        sizes="base currency",
        since="2023, v5 (retired: v2, v3)",
        past_trades="`GET /v5/market/recent-trade`, the newest 60",
    ),
    "linear": Facts(
        side="`S`, the taker's; of liquidations the position's, turned",
        times="`T` of trades, `cts` of books, `ts`, ms",
        sizes="base currency",
        since="2023, v5 (retired: v2, v3)",
        past_trades="`GET /v5/market/recent-trade`, the newest 1,000",
    ),
    "inverse": Facts(
        side="`S`, the taker's; of liquidations the position's, turned",
        times="`T` of trades, `cts` of books, `ts`, ms",
        sizes="contracts of 1 USD",
        since="2023, v5 (retired: v2, v3)",
        past_trades="`GET /v5/market/recent-trade`, the newest 1,000",
    ),
}
RULE: Final = FirstIdRule(ids_are_shared=False)  # u counts from 1 again when the service restarts
SIDES: Final[dict[str, Side]] = {"Buy": "BUY", "Sell": "SELL"}
ORDERS_OF_POSITIONS: Final[dict[str, Side]] = {"Buy": "SELL", "Sell": "BUY"}
INTERVALS: Final = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h",
    "720": "12h", "D": "1d", "W": "1w", "M": "1M",
}  # fmt: skip
TYPES: Final = frozenset({"snapshot", "delta"})
MOST_DEPTH_DIGITS: Final = 6
UNREAD: Final = frozenset({"adlAlert", "insurance", "kline_lt", "lt", "priceLimit", "tickers_lt"})
RPI: Final = "orderbook.rpi."  # books whose levels tell retail's orders apart
UNREAD_WORDS: Final = Notice("limits, insurance, alerts, leveraged tokens and books with orders of retail are not read")
RETIRED: Final = (
    "trade",
    "instrument_info",
    "orderBookL2_25",
    "orderBook_200",
    "klineV2",
    "candle",
    "depth",
    "bookTicker",
    "realtimes",
)

Items = list[AnyItem]
Unknown = list[UnknownField]


def book_rule(market: str) -> BookRule:
    """Tell how a market's books hold together: u rises by one."""
    del market
    return RULE


def trades_are_counted(market: str) -> bool:
    """Ids of spot trades are numbers shared by symbols, those of contracts are UUIDs: neither counts."""
    del market
    return False


def parse(market: str, frame: Frame, memory: Memory) -> Items:
    """Parse a MESSAGE or HTTP frame; answers to our own requests on the connection yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    if frame.kind == "HTTP":
        return _past_trades(frame)
    try:
        envelope = wire.ENVELOPE.decode(frame.payload)
    except MALFORMED:
        return _answer(frame.payload)
    channel = envelope.topic.partition(".")[0]
    read = CHANNELS.get(channel)
    if read is None:
        return _unread(channel, envelope.topic, frame.payload)
    if envelope.topic.startswith(RPI):
        return [UNREAD_WORDS]
    unknown: Unknown = []
    items = read(market, envelope, memory, unknown)
    return [*items, *unknown] if unknown else items


def _unread(channel: str, topic: str, payload: bytes) -> Items:
    """Tell of a topic that is known and not used, and what the venue says of its service.

    Raises:
        FrameError: it is not known.
    """
    if channel == "system":
        return [notice(payload)]
    if channel in UNREAD:
        return [UNREAD_WORDS]
    raise _unknown(topic)


def _unknown(topic: str, *, is_retired: bool = False) -> FrameError:
    """Make the error of a topic that we do not read."""
    is_retired = is_retired or topic.partition(".")[0] in RETIRED
    why = "is of the API before v5, which Bybit retired" if is_retired else "is not known"
    return FrameError(f"topic {topic[:80]!r} {why}")


def _answer(payload: bytes) -> Items:
    try:
        answer = wire.ANSWER.decode(payload)
    except MALFORMED as error:
        raise FrameError(f"neither a topic's message nor an answer: {error}") from error
    if answer.success is False:
        return [notice(payload)]
    if answer.topic.partition(".")[0] in RETIRED:
        raise _unknown(answer.topic)
    if answer.success is None and answer.op not in {"ping", "pong", "subscribe", "unsubscribe"}:
        raise FrameError("neither a topic's message nor an answer")
    return []


def _past_trades(frame: Frame) -> Items:
    """Parse the newest trades, newest first; their ids tell no holes."""
    path, query = asked(frame.request)
    if path.rpartition("/")[2] != "recent-trade":
        raise unknown_answer(frame.request)
    unknown: Unknown = []
    answer = wire.PAST_ANSWER.decode(frame.payload, unknown)
    if answer.code:
        return [notice(frame.payload), *unknown]
    rows = wire.PAST_TRADES.decode(wire.PAST_LIST.decode(answer.result, unknown).rows, unknown)
    symbol = query.get("symbol", "")
    if any(row.symbol != symbol for row in rows):
        raise FrameError("trades of another symbol than was asked for")
    trades = [_past_trade(row) for row in reversed(rows)]
    return [PastTrades(symbol, 0, trades), *unknown] if trades else list(unknown)


def _past_trade(row: wire.PastTradeData) -> Trade:
    side, price, size = SIDES[row.side], positive(row.price), amount(row.size)
    return Trade(row.symbol, time_us(number(row.time)), 0, price, size, side, row.is_block_trade, row.trade_id)


def _trades(_market: str, envelope: wire.Envelope, _memory: Memory, unknown: Unknown) -> Items:
    items: Items = []
    for data in _trade_rows(envelope, unknown):
        side, price, size = SIDES[data.side], positive(data.price), amount(data.size)
        items.append(Trade(data.symbol, time_us(data.time), 0, price, size, side, data.is_block_trade, data.trade_id))
    return items


def _trade_rows(envelope: wire.Envelope, unknown: Unknown) -> Iterator[wire.TradeData]:
    """Decode all at once where all are as documented."""
    try:
        rows = wire.TRADES.decode(envelope.data)
    except MALFORMED:
        yield from (wire.TRADE.decode(row, unknown) for row in _rows(envelope))
    else:
        yield from rows


def _book(_market: str, envelope: wire.Envelope, memory: Memory, unknown: Unknown) -> Items:
    data = wire.BOOK.decode(envelope.data, unknown)
    if envelope.type not in TYPES:
        raise FrameError(f"orderbook: type {envelope.type[:40]!r} is not known")
    is_snapshot = envelope.type == "snapshot" or data.update_id == 1
    instant = time_us(envelope.cts or envelope.ts)
    depth, bids, asks = _depth(envelope.topic), levels(data.bids), levels(data.asks)
    if depth == 1:
        return _quote(data, instant, (bids, asks), memory, is_snapshot=is_snapshot)
    if not memory.keeps_book(data.symbol, depth, instant, is_whole=is_snapshot):
        return [left_out(envelope.topic)] if is_snapshot else []
    if is_snapshot:
        return [BookSnapshot(data.symbol, instant, data.update_id, *bids, *asks, is_in_stream=True)]
    return [BookDelta(data.symbol, instant, data.update_id, data.update_id, 0, *bids, *asks)]


@lru_cache(maxsize=65536)
def _depth(topic: str) -> int:
    """Tell of how many levels the book of a topic is: 200 of `orderbook.200.BTCUSDT`."""
    level, _, symbol = topic.removeprefix("orderbook.").partition(".")
    if not (symbol and level.isascii() and level.isdigit()) or len(level) > MOST_DEPTH_DIGITS:
        raise FrameError(f"topic {topic[:80]!r} is not known")
    return int(level)


def _quote(
    data: wire.BookData,
    instant: int,
    sides: tuple[tuple[list[float], list[float]], tuple[list[float], list[float]]],
    memory: Memory,
    *,
    is_snapshot: bool,
) -> Items:
    """Make a quote of a book of one level; deltas (until 2024) tell only the side that changed, with what goes.

    What has not changed for 3 s is sent again, under its number.
    """
    topic = f"orderbook.1.{data.symbol}"
    before = memory.names.get(topic)
    if before is None and not is_snapshot:
        return []
    best = [float(each) for each in before.split()] if before and not is_snapshot else [0.0, 0.0, 0.0, 0.0]
    for at, (prices, sizes) in zip((0, 2), sides, strict=True):
        there = [(price, size) for price, size in zip(prices, sizes, strict=True) if size]
        if there:
            best[at : at + 2] = there[0]
        elif best[at] in prices:
            best[at : at + 2] = 0.0, 0.0
    memory.names[topic] = now = " ".join(map(repr, best))
    if now == before and memory.counts.get(topic) == data.update_id:
        return []
    memory.counts[topic] = data.update_id
    return [Quote(data.symbol, instant, data.sequence or instant, *best)]


def _ticker(market: str, envelope: wire.Envelope, memory: Memory, unknown: Unknown) -> Items:
    data = wire.TICKER.decode(envelope.data, unknown)
    instant = time_us(envelope.ts)
    if envelope.type not in TYPES:
        raise FrameError(f"tickers: type {envelope.type[:40]!r} is not known")
    is_whole = envelope.type == "snapshot"
    volume, turnover = _told(data.volume24h), _told(data.turnover24h)
    is_inverse = market == "inverse"
    items: Items = [
        TickerItem(
            symbol=data.symbol,
            exchange_time_us=instant,
            is_partial=not is_whole,
            is_followed=is_whole,
            last=maybe(data.last_price or ""),
            open=maybe(data.prev_price24h or ""),
            high=maybe(data.high_price24h or ""),
            low=maybe(data.low_price24h or ""),
            volume=volume,
            base_volume=turnover if is_inverse else None,
            quote_volume=None if is_inverse else turnover,
            bid=_told(data.bid1_price),
            bid_size=_told(data.bid1_size),
            ask=_told(data.ask1_price),
            ask_size=_told(data.ask1_size),
        )
    ]
    facts: tuple[tuple[DerivativeKind, str], ...] = (
        ("MARK_PRICE", data.mark_price), ("INDEX_PRICE", data.index_price), ("OPEN_INTEREST", data.open_interest),
    )  # fmt: skip
    items += [DerivativeItem(data.symbol, instant, kind, amount(text)) for kind, text in facts if text]
    next_us = _next_funding_us(data, memory)
    if data.funding_rate:
        items.append(DerivativeItem(data.symbol, instant, "FUNDING_RATE", signed(data.funding_rate), next_us))
    return items


def _next_funding_us(data: wire.TickerData, memory: Memory) -> int:
    """Tell when the next funding is due, told now or before: it changes less often than its rate; 0 = never told."""
    name = f"funding {data.symbol}"
    if not data.next_funding_time:
        return memory.counts.get(name, 0)
    memory.counts[name] = next_us = time_us(number(data.next_funding_time))
    return next_us


def _told(text: str | msgspec.UnsetType) -> float | None:
    """Read a figure of a ticker; left out = it has not changed: None; "" = there is none any more: 0."""
    return None if text is msgspec.UNSET else amount(text or "0")


def _candles(market: str, envelope: wire.Envelope, _memory: Memory, unknown: Unknown) -> Items:
    items: Items = []
    symbol = envelope.topic.rpartition(".")[2]
    for row in _rows(envelope):
        data = wire.CANDLE.decode(row, unknown)
        if data.interval not in INTERVALS:
            raise FrameError(f"kline: interval {data.interval[:20]!r} is not known")
        volume, turnover, is_inverse = amount(data.volume), amount(data.turnover), market == "inverse"
        items.append(
            CandleItem(
                symbol=symbol,
                exchange_time_us=time_us(data.timestamp or envelope.ts),
                interval=INTERVALS[data.interval],
                open_time_us=time_us(data.start),
                close_time_us=time_us(data.end),
                open=positive(data.open),
                high=positive(data.high),
                low=positive(data.low),
                close=positive(data.close),
                volume=volume,
                base_volume=turnover if is_inverse else None,
                quote_volume=None if is_inverse else turnover,
                is_closed=data.is_closed,
            )
        )
    return items


def _liquidations(_market: str, envelope: wire.Envelope, _memory: Memory, unknown: Unknown) -> Items:
    rows = [wire.LIQUIDATION.decode(row, unknown) for row in _rows(envelope)]
    return [_liquidation(row) for row in rows]


def _one_liquidation(_market: str, envelope: wire.Envelope, _memory: Memory, unknown: Unknown) -> Items:
    try:
        return [_liquidation(wire.ONE_LIQUIDATION.decode(envelope.data, unknown))]
    except FrameError:
        if b'"qty":' in bytes(envelope.data):
            raise _unknown(envelope.topic, is_retired=True) from None
        raise


def _liquidation(data: wire.LiquidationData | wire.OneLiquidationData) -> Liquidation:
    side = ORDERS_OF_POSITIONS[data.side]
    return Liquidation(data.symbol, time_us(data.time), positive(data.price), amount(data.size), side)


def _rows(envelope: wire.Envelope) -> list[msgspec.Raw]:
    try:
        return wire.ROWS.decode(envelope.data)
    except MALFORMED as error:
        raise FrameError(f"{envelope.topic[:80]}: {error}") from error


Channel = Callable[[str, wire.Envelope, Memory, Unknown], Items]
CHANNELS: Final[dict[str, Channel]] = {
    "publicTrade": _trades,
    "orderbook": _book,
    "tickers": _ticker,
    "kline": _candles,
    "allLiquidation": _liquidations,
    "liquidation": _one_liquidation,
}
"""By the first part of a topic."""
