"""Messages of Kraken's WebSocket API 2 (spot) → items. Numbers are unquoted, and checksums need their digits.

Source: https://docs.kraken.com/api/docs/websocket-v2/book
Source: https://docs.kraken.com/api/docs/websocket-v2/trade
Source: https://docs.kraken.com/api/docs/websocket-v2/ticker
Source: https://docs.kraken.com/api/docs/websocket-v2/ohlc
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from processors.errors import FrameError, OtherFrameError
from processors.items import (
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    Notice,
    Quote,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.wire import (
    MALFORMED,
    NO_ID,
    NOTICE_CHARS,
    Id,
    Wire,
    amount,
    asked,
    digits,
    iso_us,
    notice,
    past_trades,
    positive,
    seconds_us,
    text_levels,
    unknown_answer,
)
from schemas.records import Frame, Side

SIDES: Final[dict[str, Side]] = {"buy": "BUY", "sell": "SELL"}
DEPTHS: Final = (10, 25, 100, 500, 1000)
NO_TIME: Final = "1970-01-01T"  # of what was never traded
INTERVALS: Final = {
    1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1440: "1d", 10080: "1w", 21600: "15d",
}  # fmt: skip
MINUTE_US: Final = 60_000_000
UNREAD_WORDS: Final = Notice("books by order (level3) are not read")

Items = list[AnyItem]
Unknown = list[UnknownField]
Crc = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
NONE: Final = Raw(b"")


class Message(Struct, gc=False, forbid_unknown_fields=True):
    """What channels send, and answers to requests (`method`)."""

    channel: str = ""
    type: str = ""
    data: Raw = NONE
    timestamp: str = ""
    method: str = ""
    success: bool | None = None
    error: Any = None
    result: Raw = NONE
    symbol: Any = None
    status: Any = None
    req_id: Any = None
    time_in: Any = None
    time_out: Any = None


class Result(Struct, gc=False):
    """What an answer grants."""

    channel: str = ""
    symbol: str = ""
    depth: int = 0
    warnings: Any = None


class StatusData(Struct, gc=False):
    """`status`."""

    system: str = ""
    upcoming_maintenance: Raw = Raw(b"[]")
    emergency: Raw = Raw(b"[]")


class TradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`trade`; the side is the taker's."""

    symbol: str
    side: Literal["buy", "sell"]
    price: Raw
    qty: Raw
    trade_id: Id
    timestamp: str
    ord_type: Any = None


class Level(Struct, gc=False):
    """A level of a book; qty 0 removes it."""

    price: Raw
    qty: Raw


class BookData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`book`."""

    symbol: str
    bids: list[Level] = []
    asks: list[Level] = []
    checksum: Crc | None = None
    timestamp: str = ""


class TickerData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`ticker`."""

    symbol: str
    bid: Raw
    bid_qty: Raw
    ask: Raw
    ask_qty: Raw
    last: Raw = NONE
    volume: Raw = NONE
    low: Raw = NONE
    high: Raw = NONE
    trades: Id = 0  # of a day, since 2026
    timestamp: str = ""
    volume_usd: Any = None
    vwap: Any = None
    change: Any = None
    change_pct: Any = None


class CandleData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`ohlc`; `timestamp` is the end of the interval."""

    symbol: str
    interval: int
    interval_begin: str
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw
    trades: Id
    vwap: Any = None
    timestamp: Any = None


MESSAGE: Final = Wire(Message, "message")
TRADE: Final = Wire(TradeData, "trade")
BOOK: Final = Wire(BookData, "book")
TICKER: Final = Wire(TickerData, "ticker")
CANDLE: Final = Wire(CandleData, "ohlc")
_ROWS = msgspec.json.Decoder(list[Raw])
_RESULT = msgspec.json.Decoder(Result)
_STATUS = msgspec.json.Decoder(list[StatusData])


def parse(payload: bytes, memory: Memory) -> Items:
    """Parse one message.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    unknown: Unknown = []
    message = MESSAGE.decode(payload, unknown)
    if message.method or message.error is not None:
        items = _answer(message, payload, memory)
    elif message.channel:
        read = CHANNELS.get(message.channel)
        if read is None:
            raise OtherFrameError(f"channel {message.channel[:40]!r} is not known")
        try:
            items = read(message, memory, unknown)
        except FrameError as error:
            if read is _book:
                raise
            raise OtherFrameError(str(error)) from error
    else:
        raise FrameError("neither of a channel nor an answer")
    return [*items, *unknown] if unknown else items


def _answer(message: Message, payload: bytes, memory: Memory) -> Items:
    """Note the depth that a book was granted in; say what was refused or warned of."""
    result = Result()
    if message.result:
        try:
            result = _RESULT.decode(message.result)
        except MALFORMED as error:
            raise FrameError(f"answer: {error}") from error
    if result.channel == "book" and result.depth > 0:
        memory.names[f"depth {result.symbol}"] = str(result.depth)
    if message.success is False or message.error is not None or result.warnings:
        return [notice(payload)]
    return []


class PastAnswer(Struct, gc=False, forbid_unknown_fields=True):
    """An answer of REST: by the venue's own name of the pair, and where the next page begins (`last`)."""

    error: list[Any]
    result: dict[str, Raw] = {}


class PastTrade(Struct, gc=False, array_like=True):
    """A row of it."""

    price: str
    volume: str
    time: Raw
    side: Literal["b", "s"]
    order: Any
    miscellaneous: Any
    trade_id: Id


PAST_ANSWER: Final = Wire(PastAnswer, "past trades")
PAST_TRADES: Final = msgspec.json.Decoder(list[PastTrade])


def parse_answer(frame: Frame) -> Items:
    """Parse trades that were asked for; the pair is named behind # of the request, as its stream does.

    Raises:
        FrameError: malformed, or no answer we know.
    """
    head, _, pair = frame.request.partition("#")
    if not asked(head)[0].endswith("/0/public/Trades") or not pair:
        raise unknown_answer(frame.request)
    unknown: Unknown = []
    answer = PAST_ANSWER.decode(frame.payload, unknown)
    if answer.error:
        return [notice(frame.payload), *unknown]
    rows = [row for name, body in answer.result.items() if name != "last" for row in _past_rows(body)]
    return [*past_trades([_past_trade(unquote(pair), row) for row in rows], NO_ID, NO_ID), *unknown]


def _past_rows(body: Raw) -> list[PastTrade]:
    try:
        return PAST_TRADES.decode(body)
    except MALFORMED as error:
        raise FrameError(f"past trades: {error}") from error


def _past_trade(pair: str, row: PastTrade) -> Trade:
    side: Side = "BUY" if row.side == "b" else "SELL"
    return Trade(pair, seconds_us(digits(row.time)), row.trade_id, positive(row.price), amount(row.volume), side)


def _trades(message: Message, _memory: Memory, unknown: Unknown) -> Items:
    items: Items = []
    is_past = message.type == "snapshot"
    for row in _rows(message):
        data = TRADE.decode(row, unknown)
        instant, price, size = iso_us(data.timestamp), positive(digits(data.price)), amount(digits(data.qty))
        items.append(Trade(data.symbol, instant, data.trade_id, price, size, SIDES[data.side], is_past=is_past))
    return items


def _book(message: Message, memory: Memory, unknown: Unknown) -> Items:
    return [_one_book(message.type, BOOK.decode(row, unknown), memory) for row in _rows(message)]


def _one_book(kind: str, data: BookData, memory: Memory) -> BookSnapshot | BookDelta:
    numbers, texts = text_levels(_digits(data.bids), _digits(data.asks))
    instant = _time_us(data.timestamp)
    if kind == "update":
        return BookDelta(data.symbol, instant, 0, 0, 0, *numbers, texts, data.checksum)
    if kind != "snapshot":
        raise FrameError(f"book: type {kind[:40]!r} is not known")
    depth = _depth(data, memory)
    return BookSnapshot(data.symbol, instant, 0, *numbers, True, depth, texts, data.checksum)


def _depth(data: BookData, memory: Memory) -> int:
    """Tell in which depth a book was subscribed to: by the answer, else the least that holds this snapshot."""
    told = memory.names.get(f"depth {data.symbol}")
    if told:
        return int(told)
    most = max(len(data.bids), len(data.asks))
    return next((depth for depth in DEPTHS if depth >= most), most)


def _ticker(message: Message, _memory: Memory, unknown: Unknown) -> Items:
    items: Items = []
    for row in _rows(message):
        data = TICKER.decode(row, unknown)
        instant = _time_us(data.timestamp)
        bid, ask = amount(digits(data.bid)), amount(digits(data.ask))
        bid_size, ask_size = amount(digits(data.bid_qty)), amount(digits(data.ask_qty))
        if instant:
            items.append(Quote(data.symbol, instant, instant, bid, bid_size, ask, ask_size))
        items.append(
            TickerItem(
                symbol=data.symbol,
                exchange_time_us=instant,
                is_partial=not (data.last and data.volume),
                last=_maybe(data.last),
                high=_maybe(data.high),
                low=_maybe(data.low),
                volume=_maybe(data.volume),
                trade_count=data.trades,
                bid=bid,
                bid_size=bid_size,
                ask=ask,
                ask_size=ask_size,
            )
        )
    return items


def _candles(message: Message, _memory: Memory, unknown: Unknown) -> Items:
    items: Items = []
    now_us = _time_us(message.timestamp)
    for row in _rows(message):
        data = CANDLE.decode(row, unknown)
        if data.interval not in INTERVALS:
            raise FrameError(f"ohlc: interval {data.interval} is not known")
        open_us = iso_us(data.interval_begin)
        end_us = open_us + data.interval * MINUTE_US
        items.append(
            CandleItem(
                symbol=data.symbol,
                exchange_time_us=now_us,
                interval=INTERVALS[data.interval],
                open_time_us=open_us,
                close_time_us=end_us - 1,
                open=positive(digits(data.open)),
                high=positive(digits(data.high)),
                low=positive(digits(data.low)),
                close=positive(digits(data.close)),
                volume=amount(digits(data.volume)),
                trade_count=data.trades,
                is_closed=now_us >= end_us or None,  # trades alone make it tell of a candle: not that one has ended
            )
        )
    return items


def _status(message: Message, _memory: Memory, _unknown: Unknown) -> Items:
    try:
        rows = _STATUS.decode(message.data)
    except MALFORMED as error:
        raise FrameError(f"status: {error}") from error
    items: Items = [Notice(f"system is {row.system[:NOTICE_CHARS]}") for row in rows if row.system != "online"]
    announced = [bytes(told) for row in rows for told in (row.upcoming_maintenance, row.emergency)]
    return [*items, *(notice(b"announced: " + told) for told in announced if told not in {b"[]", b"null"})]


def _unread(_message: Message, _memory: Memory, _unknown: Unknown) -> Items:
    return [UNREAD_WORDS]


def _nothing(_message: Message, _memory: Memory, _unknown: Unknown) -> Items:
    return []


def _rows(message: Message) -> list[Raw]:
    try:
        return _ROWS.decode(message.data)
    except MALFORMED as error:
        raise FrameError(f"{message.channel}: {error}") from error


def _digits(levels: list[Level]) -> tuple[list[str], list[str]]:
    return [digits(level.price) for level in levels], [digits(level.qty) for level in levels]


def _maybe(number: Raw) -> float | None:
    return amount(digits(number)) if number else None


def _time_us(text: str) -> int:
    """Read a time; 0 = none was told."""
    return iso_us(text) if text and not text.startswith(NO_TIME) else 0


CHANNELS: Final[dict[str, Callable[[Message, Memory, Unknown], Items]]] = {
    "trade": _trades,
    "book": _book,
    "ticker": _ticker,
    "ohlc": _candles,
    "status": _status,
    "heartbeat": _nothing,
    "level3": _unread,
    "instrument": _nothing,  # instruments come by REST
}
