"""Bitfinex's channels → items, one function for each.

Source: https://docs.bitfinex.com/reference/ws-public-books
Source: https://docs.bitfinex.com/reference/ws-public-trades
Source: https://docs.bitfinex.com/reference/ws-public-ticker
Source: https://docs.bitfinex.com/reference/ws-public-candles
Source: https://docs.bitfinex.com/reference/ws-public-status
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from processors.errors import FrameError
from processors.items import (
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Liquidation,
    Quote,
    Texts,
    TickerItem,
    Trade,
)
from processors.memory import Memory
from processors.venues import bitfinex_wire as wire
from processors.wire import LEAST_AMOUNT, amount, digits, positive, positives, signed, time_us
from schemas.records import DerivativeKind, Side

MINUTE_US: Final = 60_000_000
INTERVALS: Final = {
    "1m": ("1m", 1), "5m": ("5m", 5), "15m": ("15m", 15), "30m": ("30m", 30), "1h": ("1h", 60), "3h": ("3h", 180),
    "6h": ("6h", 360), "12h": ("12h", 720), "1D": ("1d", 1440), "1W": ("1w", 10080), "7D": ("1w", 10080),
    "14D": ("14d", 20160), "1M": ("1M", 0),
}  # fmt: skip
"""Interval as we write it, and its minutes; 0 = they differ."""
NO_QUOTE: Final = "0 0 0 0"
BEGUN: Final = "begun"  # stands before a channel's number, in what is remembered
TOGETHER: Final = "changes of books are sent together"
PERPETUAL: Final = "F0:"

Items = list[AnyItem]


class Place(NamedTuple):
    """Where a message belongs.

    Args:
        market: of ours.
        channel: its number.
        name: what the channel carries.
        detail: of the channel: its interval.
        symbol: the venue's.
        time_us: of the message; 0 = the venue did not tell it.
    """

    market: str
    channel: int
    name: str
    detail: str
    symbol: str
    time_us: int


def _trades(place: Place, body: msgspec.Raw, _memory: Memory) -> Items:
    found, is_past = wire.rows(body)
    trades = sorted((wire.TRADE.decode(row) for row in found), key=lambda row: row.id)
    return [_trade(place.symbol, row, is_past=is_past) for row in trades]


def past_trades_of(symbol: str, rows: Iterable[wire.TradeRow]) -> list[Trade]:
    """Make trades of rows that came by REST, in their order."""
    return [_trade(symbol, row) for row in rows]


def _trade(symbol: str, row: wire.TradeRow, *, is_past: bool = False) -> Trade:
    text = digits(row.amount)
    side: Side = "SELL" if text.startswith("-") else "BUY"
    price, size = positive(digits(row.price)), positive(text.removeprefix("-"))
    return Trade(symbol, time_us(row.time), row.id, price, size, side, is_past=is_past)


def _book(place: Place, body: msgspec.Raw, memory: Memory) -> Items:
    found, is_snapshot = wire.rows(body)
    rows = list(map(wire.BOOK.decode, found))
    is_snapshot = is_snapshot and _is_whole(place, rows, memory)
    texts_of_rows = [(digits(row.price), digits(row.amount)) for row in rows]
    sizes = positives([size.removeprefix("-") for _, size in texts_of_rows])
    prices = positives([price for price, _ in texts_of_rows])
    bids, asks = wire.Side(), wire.Side()
    for row, price, size, told in zip(rows, prices, sizes, texts_of_rows, strict=True):
        (asks if told[1].startswith("-") else bids).add(price, size if row.count else 0.0, told)
    levels = (bids.prices, bids.sizes, asks.prices, asks.sizes)
    texts = Texts(bids.price_texts, bids.size_texts, asks.price_texts, asks.size_texts)
    if is_snapshot:
        return [BookSnapshot(place.symbol, place.time_us, 0, *levels, is_in_stream=True, texts=texts)]
    return [BookDelta(place.symbol, place.time_us, 0, 0, 0, *levels, texts)]


def _is_whole(place: Place, rows: list[wire.BookRow], memory: Memory) -> bool:
    """Tell a snapshot from changes that are sent together, where that was asked for: it comes first, removing none."""
    key = f"{BEGUN} {place.channel}"
    has_begun = key in memory.names
    memory.names[key] = ""
    return all(row.count for row in rows) and not (has_begun and TOGETHER in memory.names)


def change_of(symbol: str, level: wire.LevelMessage, payload: bytes) -> BookDelta | None:
    """Make a change of one level, with its digits as they stand in the message; None = it is to be read with care."""
    row, instant_us = level.row, level.time * 1000
    told, size = wire.level_digits(payload), row.amount
    if told is None or -LEAST_AMOUNT < size < LEAST_AMOUNT:
        return None
    prices, price_texts, size_texts = [row.price], [wire.plain_digits(told[0])], [told[1]]
    if size < 0.0:
        sizes, texts = [-size if row.count else 0.0], Texts([], [], price_texts, size_texts)
        return BookDelta(symbol, instant_us, 0, 0, 0, [], [], prices, sizes, texts)
    sizes, texts = [size if row.count else 0.0], Texts(price_texts, size_texts, [], [])
    return BookDelta(symbol, instant_us, 0, 0, 0, prices, sizes, [], [], texts)


def _quote(place: Place, body: msgspec.Raw, memory: Memory) -> Items:
    """Keep a book of one level. A level that goes is told with what comes next: mostly the one in its place."""
    found, is_snapshot = wire.rows(body)
    key = f"best {place.channel}"
    rows = list(map(wire.BOOK.decode, found))
    is_snapshot = is_snapshot and _is_whole(place, rows, memory)
    before = NO_QUOTE if is_snapshot else memory.names.get(key, NO_QUOTE)
    best = [float(each) for each in before.split(" ")]
    is_told = is_snapshot
    for row in rows:
        text = digits(row.amount)
        at = 2 if text.startswith("-") else 0
        price, size = positive(digits(row.price)), positive(text.removeprefix("-"))
        if row.count:
            best[at : at + 2] = price, size
            is_told = True
        elif best[at] == price:
            best[at : at + 2] = 0.0, 0.0
    memory.names[key] = " ".join(map(repr, best))
    return [Quote(place.symbol, place.time_us, place.time_us, *best)] if is_told else []


def _ticker(place: Place, body: msgspec.Raw, _memory: Memory) -> Items:
    row = wire.TICKER.decode(body)
    last, volume = wire.maybe(row.last), wire.maybe(row.volume)
    return [
        TickerItem(
            symbol=place.symbol,
            exchange_time_us=place.time_us,
            is_partial=last is None or volume is None,
            last=last,
            high=wire.maybe(row.high),
            low=wire.maybe(row.low),
            volume=volume,
            bid=wire.maybe(row.bid),
            bid_size=wire.maybe(row.bid_size),
            ask=wire.maybe(row.ask),
            ask_size=wire.maybe(row.ask_size),
        )
    ]


def _candles(place: Place, body: msgspec.Raw, _memory: Memory) -> Items:
    if place.detail not in INTERVALS:
        raise FrameError(f"candles: interval {place.detail[:20]!r} is not known")
    found, _ = wire.rows(body)
    candles = sorted((wire.CANDLE.decode(row) for row in found), key=lambda row: row.time)
    return [_candle(place, row, is_over=row is not candles[-1]) for row in candles]


def _candle(place: Place, row: wire.CandleRow, *, is_over: bool) -> CandleItem:
    """Make a candle: closed where another one follows it, or its time is over."""
    interval, minutes = INTERVALS[place.detail]
    open_us = time_us(row.time)
    end_us = open_us + minutes * MINUTE_US
    return CandleItem(
        symbol=place.symbol,
        exchange_time_us=place.time_us,
        interval=interval,
        open_time_us=open_us,
        close_time_us=end_us - 1 if minutes else 0,
        open=positive(digits(row.open)),
        high=positive(digits(row.high)),
        low=positive(digits(row.low)),
        close=positive(digits(row.close)),
        volume=amount(digits(row.volume)),
        is_closed=is_over or (bool(minutes) and place.time_us >= end_us),
    )


def _status(place: Place, body: msgspec.Raw, _memory: Memory) -> Items:
    row = wire.STATUS.decode(body)
    instant = time_us(row.time)
    facts: tuple[tuple[DerivativeKind, msgspec.Raw], ...] = (
        ("MARK_PRICE", row.mark), ("INDEX_PRICE", row.index), ("OPEN_INTEREST", row.open_interest),
    )  # fmt: skip
    told = [(kind, wire.maybe(number)) for kind, number in facts]
    items: Items = [DerivativeItem(place.symbol, instant, kind, value) for kind, value in told if value is not None]
    next_ms = wire.maybe(row.next_funding)
    if next_ms and bytes(row.funding).strip() != b"null":
        rate, next_us = signed(digits(row.funding)), time_us(int(next_ms))
        items.append(DerivativeItem(place.symbol, instant, "FUNDING_RATE", rate, next_us))
    return items


def _liquidations(place: Place, body: msgspec.Raw, _memory: Memory) -> Items:
    """Read steps of liquidations that tell a price; others announce them. The channel is of all symbols and markets."""
    items: Items = []
    for row in map(wire.LIQUIDATION.decode, wire.rows(body)[0]):
        text, price = digits(row.amount), wire.maybe(row.price)
        size = positive(text.removeprefix("-"))
        if price and (PERPETUAL in row.symbol) is (place.market == "derivatives"):
            side: Side = "BUY" if text.startswith("-") else "SELL"
            items.append(Liquidation(row.symbol, time_us(row.time), price, size, side))
    return items


CHANNELS: Final[dict[str, Callable[[Place, msgspec.Raw, Memory], Items]]] = {
    "trades": _trades,
    "book": _book,
    "quote": _quote,
    "ticker": _ticker,
    "candles": _candles,
    "deriv": _status,
    "liq": _liquidations,
}
