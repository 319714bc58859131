"""Messages of Kraken's WebSocket API 1 (spot) → items: arrays that end in channel and pair.

Trades have no ids there; one is told from another by all that it says.
Source: https://docs.kraken.com/api/docs/websocket-v1/book
Source: https://docs.kraken.com/api/docs/websocket-v1/trade
Source: https://docs.kraken.com/api/docs/websocket-v1/spread
Source: https://docs.kraken.com/api/docs/websocket-v1/ohlc
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct, field

from processors.errors import FrameError, OtherFrameError
from processors.items import (
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    Quote,
    Texts,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues.kraken_spot import INTERVALS, MINUTE_US
from processors.wire import MALFORMED, Id, Wire, amount, left_out, notice, positive, seconds_us, text_levels
from schemas.records import Side

SIDES: Final[dict[str, Side]] = {"b": "BUY", "s": "SELL"}
EVENTS: Final = frozenset({"heartbeat", "pong", "subscriptionStatus", "systemStatus"})
MOST_CRC: Final = 2**32

Items = list[AnyItem]
Unknown = list[UnknownField]
Numbers = tuple[list[float], list[float], list[float], list[float]]


class Event(Struct, gc=False):
    """What is no market data."""

    event: str
    status: str = ""


class Level(Struct, array_like=True, gc=False):
    """A level of a book; volume 0 removes it; `r` behind the time = it came into the depth again."""

    price: str
    volume: str
    time: str


class Book(Struct, gc=False, forbid_unknown_fields=True):
    """A part of a book message: `as` and `bs` of a snapshot, `a` and `b` of an update, `c` in its last part."""

    all_asks: list[Level] | None = field(name="as", default=None)
    all_bids: list[Level] | None = field(name="bs", default=None)
    asks: list[Level] = field(name="a", default=[])
    bids: list[Level] = field(name="b", default=[])
    checksum: str = field(name="c", default="")


class Update(Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """What most messages are: one part of changes to a book."""

    channel: Any
    part: Book
    name: str
    pair: str


class TradeRow(Struct, array_like=True, gc=False):
    """A trade; the side is the taker's."""

    price: str
    volume: str
    time: str
    side: Literal["b", "s"]


class SpreadRow(Struct, array_like=True, gc=False):
    """The best quotes."""

    bid: str
    ask: str
    time: str
    bid_volume: str
    ask_volume: str


class CandleRow(Struct, array_like=True, gc=False):
    """A candle; `end` is the end of its interval."""

    time: str
    end: str
    open: str
    high: str
    low: str
    close: str
    vwap: Any
    volume: str
    count: Id


Best = tuple[str, Any, str]
"""Price, whole lots, lots."""
Twice = tuple[str, str]
"""Today, and in the last 24 hours."""


class Ticker(Struct, gc=False, forbid_unknown_fields=True):
    """The ticker; it tells no time."""

    ask: Best = field(name="a")
    bid: Best = field(name="b")
    close: Twice = field(name="c")  # price and lots of the last trade
    volume: Twice = field(name="v")
    low: Twice = field(name="l")
    high: Twice = field(name="h")
    open: Twice = field(name="o")
    trades: tuple[int, Id] = field(name="t")
    vwap: Any = field(name="p", default=None)


BOOK: Final = Wire(Book, "book")
TICKER: Final = Wire(Ticker, "ticker")
_UPDATE = msgspec.json.Decoder(Update)
_ARRAY = msgspec.json.Decoder(list[Raw])
_TEXT = msgspec.json.Decoder(str)
_EVENT = msgspec.json.Decoder(Event)
_TRADES = msgspec.json.Decoder(list[TradeRow])
_SPREAD = msgspec.json.Decoder(SpreadRow)
_CANDLE = msgspec.json.Decoder(CandleRow)


def parse(payload: bytes, memory: Memory) -> Items:
    """Parse one message.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    try:
        update = _UPDATE.decode(payload)
    except MALFORMED:  # another message, or a field that is not documented
        return _message(payload, memory)
    name, _, depth = update.name.partition("-")
    if name != "book":
        return _message(payload, memory)
    return _kept(update.name, _changes(update.pair, depth, [update.part]), memory)


def _message(payload: bytes, memory: Memory) -> Items:
    try:
        parts = _ARRAY.decode(payload)
    except MALFORMED:
        return _event(payload)
    if len(parts) < 4:
        raise FrameError(f"an array of {len(parts)} is no message of a channel")
    unknown: Unknown = []
    try:
        channel, pair = _TEXT.decode(parts[-2]), _TEXT.decode(parts[-1])
        name, _, detail = channel.partition("-")
        read = CHANNELS.get(name)
        if read is None:
            raise OtherFrameError(f"channel {channel[:40]!r} is not known")
    except MALFORMED as error:
        raise FrameError(str(error)) from error
    try:
        items = read(pair, detail, parts[1:-2], unknown)
        if name == "book":
            items = [kept for item in items for kept in _kept(channel, item, memory)]
    except (FrameError, *MALFORMED) as error:
        raise (FrameError if name == "book" else OtherFrameError)(str(error)) from error
    return [*items, *unknown] if unknown else items


def _kept(channel: str, item: AnyItem, memory: Memory) -> Items:
    """Leave out what is of another depth than the book that is kept."""
    if isinstance(item, BookDelta):
        depth = int(channel.partition("-")[2])
        is_kept = memory.keeps_book(item.symbol, depth, item.exchange_time_us, is_whole=False)
        return [item] if is_kept else []
    if isinstance(item, BookSnapshot) and not memory.keeps_book(
        item.symbol, item.most_levels, item.exchange_time_us, is_whole=True
    ):
        return [left_out(f"{channel} {item.symbol}")]
    return [item]


def _event(payload: bytes) -> Items:
    try:
        found = _EVENT.decode(payload)
    except MALFORMED as error:
        raise FrameError(f"neither of a channel nor an event: {error}") from error
    is_fine = found.status in {"", "online", "subscribed", "unsubscribed"}
    return [] if found.event in EVENTS and is_fine else [notice(payload)]


def _trades(pair: str, _detail: str, parts: list[Raw], _unknown: Unknown) -> Items:
    items: Items = []
    met: Counter[str] = Counter()
    for row in _TRADES.decode(parts[0]):
        name = f"{row.time}:{row.price}:{row.volume}:{row.side}"
        met[name] += 1
        if met[name] > 1:
            name += f":{met[name]}"
        price, size, instant = positive(row.price), amount(row.volume), seconds_us(row.time)
        items.append(Trade(pair, instant, instant, price, size, SIDES[row.side], name=name))
    return items


def _spread(pair: str, _detail: str, parts: list[Raw], _unknown: Unknown) -> Items:
    row = _SPREAD.decode(parts[0])
    instant = seconds_us(row.time)
    if not instant:  # of what was never quoted
        return []
    bid, ask = amount(row.bid), amount(row.ask)
    return [Quote(pair, instant, instant, bid, amount(row.bid_volume), ask, amount(row.ask_volume))]


def _book(pair: str, depth: str, parts: list[Raw], unknown: Unknown) -> Items:
    """Read one part, or two: of asks and of bids; a null stands where one is missing."""
    return [_changes(pair, depth, [BOOK.decode(part, unknown) for part in parts if bytes(part) != b"null"])]


def _changes(pair: str, depth: str, found: list[Book]) -> BookSnapshot | BookDelta:
    if not (depth.isascii() and depth.isdigit() and len(depth) < 10):
        raise FrameError(f"book: depth {depth[:20]!r} is none")
    if len(found) == 1 and found[0].all_asks is not None and found[0].all_bids is not None:
        numbers, texts, instant = _levels(found[0].all_bids, found[0].all_asks)
        return BookSnapshot(pair, instant, 0, *numbers, True, int(depth), texts)
    if len(found) == 1:
        bids, asks = found[0].bids, found[0].asks
    else:
        bids, asks = [level for each in found for level in each.bids], [level for each in found for level in each.asks]
    if not (bids or asks):
        raise FrameError("book: neither a snapshot nor an update")
    numbers, texts, instant = _level(bids, asks) if len(bids) + len(asks) == 1 else _levels(bids, asks)
    return BookDelta(pair, instant, 0, 0, 0, *numbers, texts, _checksum(found[-1].checksum))


def _checksum(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < MOST_CRC):
        raise FrameError(f"book: {text[:20]!r} is no checksum")
    return int(text)


def _ticker(pair: str, _detail: str, parts: list[Raw], unknown: Unknown) -> Items:
    data = TICKER.decode(parts[0], unknown)
    return [
        TickerItem(
            symbol=pair,
            exchange_time_us=0,
            last=amount(data.close[0]),
            last_size=amount(data.close[1]),
            open=amount(data.open[1]),
            high=amount(data.high[1]),
            low=amount(data.low[1]),
            volume=amount(data.volume[1]),
            trade_count=data.trades[1],
            bid=amount(data.bid[0]),
            bid_size=amount(data.bid[2]),
            ask=amount(data.ask[0]),
            ask_size=amount(data.ask[2]),
        )
    ]


def _candle(pair: str, detail: str, parts: list[Raw], _unknown: Unknown) -> Items:
    row = _CANDLE.decode(parts[0])
    minutes = int(detail) if detail.isascii() and detail.isdigit() and len(detail) < 6 else 0
    if minutes not in INTERVALS:
        raise FrameError(f"ohlc: interval {detail[:20]!r} is not known")
    now_us, end_us, length_us = seconds_us(row.time), seconds_us(row.end), minutes * MINUTE_US
    if end_us < length_us:
        raise FrameError(f"ohlc: no interval ends at {row.end[:20]}")
    return [
        CandleItem(
            symbol=pair,
            exchange_time_us=now_us,
            interval=INTERVALS[minutes],
            open_time_us=end_us - length_us,
            close_time_us=end_us - 1,
            open=positive(row.open),
            high=positive(row.high),
            low=positive(row.low),
            close=positive(row.close),
            volume=amount(row.volume),
            trade_count=row.count,
            is_closed=now_us >= end_us or None,
        )
    ]


def _level(bids: list[Level], asks: list[Level]) -> tuple[Numbers, Texts, int]:
    """Read the one level that most updates are, as `_levels` does."""
    (level,) = bids or asks
    price, size = amount(level.price), amount(level.volume)
    if price == 0.0:
        raise FrameError("book levels: a price is 0")
    instant = seconds_us(level.time)
    if bids:
        return ([price], [size], [], []), Texts([level.price], [level.volume], [], []), instant
    return ([], [], [price], [size]), Texts([], [], [level.price], [level.volume]), instant


def _levels(bids: list[Level], asks: list[Level]) -> tuple[Numbers, Texts, int]:
    """Read levels: their numbers and digits, and the newest of their times; 0 = there are none."""
    numbers, texts = text_levels(_digits(bids), _digits(asks))
    return numbers, texts, max(map(seconds_us, {level.time for level in (*bids, *asks)}), default=0)


def _digits(levels: list[Level]) -> tuple[list[str], list[str]]:
    return [level.price for level in levels], [level.volume for level in levels]


CHANNELS: Final[dict[str, Callable[[str, str, list[Raw], Unknown], Items]]] = {
    "trade": _trades,
    "book": _book,
    "ticker": _ticker,
    "spread": _spread,
    "ohlc": _candle,
}
"""By what stands before the dash."""
