"""Messages of Kraken's futures WebSocket API → items.

Source: https://docs.kraken.com/api/docs/futures-api/websocket/book
Source: https://docs.kraken.com/api/docs/futures-api/websocket/trade
Source: https://docs.kraken.com/api/docs/futures-api/websocket/ticker
Source: https://docs.kraken.com/api-reference/market-data/get-trade-history
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Raw, Struct, field

from processors.errors import FrameError
from processors.items import (
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Liquidation,
    MarkPrice,
    PastTrades,
    Quote,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.wire import (
    LAST_MS,
    MALFORMED,
    NO_ID,
    Id,
    Instant,
    Millis,
    Price,
    Rows,
    Size,
    Wire,
    amount,
    asked,
    checked_levels,
    digits,
    iso_us,
    notice,
    positive,
    time_us,
    unknown_answer,
)
from processors.wire import signed as signed_number
from schemas.records import Frame, Side

SIDES: Final[dict[str, Side]] = {"buy": "BUY", "sell": "SELL"}
ON_BOOK: Final = frozenset({"fill", "liquidation"})  # others: block, termination, assignment, unwind
QUIET: Final = frozenset({"info", "subscribed", "unsubscribed", "pong", "challenge"})
NONE: Final = Raw(b"")
CANDLES_OF: Final = "candles_trade_"
INTERVALS: Final = ("1m", "5m", "15m", "30m", "1h", "4h", "12h", "1d", "1w")

Items = list[AnyItem]
Unknown = list[UnknownField]
Product = Annotated[str, msgspec.Meta(min_length=1)]


class Head(Struct, gc=False):
    """What tells messages apart."""

    feed: str = ""
    event: str = ""


class BookData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`book`: one level; qty 0 removes it."""

    feed: str
    product_id: Product
    side: Literal["buy", "sell"]
    seq: Id
    price: float
    qty: float
    timestamp: Instant = 0  # since 2019


class LevelData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`book` as most messages are: in proportion, its time in ms; others are looked at with care."""

    feed: Literal["book"]
    product_id: Product
    side: Literal["buy", "sell"]
    seq: Id
    price: Price
    qty: Size
    timestamp: Millis = 0


class Level(Struct, gc=False):
    """A level of a snapshot."""

    price: float
    qty: float


class SnapshotData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`book_snapshot`."""

    feed: str
    product_id: Product
    timestamp: Instant = 0
    seq: Id
    bids: list[Level]
    asks: list[Level]
    tick_size: Any = field(name="tickSize", default=None)


class TradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`trade`; the side is the taker's, seq counts trades of the product."""

    feed: str
    product_id: Product
    side: Literal["buy", "sell"]
    type: str
    seq: Id
    time: Instant
    qty: Raw
    price: Raw
    uid: str = ""  # since 2019


class PastAnswer(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Body of REST `/history`."""

    result: str = ""
    history: Raw = NONE
    error: Any = None
    server_time: Any = field(name="serverTime", default=None)


class PastTradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A row of it; `trade_id` counts the rows of some answer, not trades."""

    uid: Annotated[str, msgspec.Meta(min_length=1)]
    time: str
    price: Raw
    size: Raw
    side: Literal["buy", "sell"]
    type: str
    trade_id: Any = None
    instrument_identification_type: Any = None
    isin: Any = None
    execution_venue: Any = None
    price_notation: Any = None
    price_currency: Any = None
    notional_amount: Any = None
    notional_currency: Any = None
    publication_time: Any = None
    publication_venue: Any = None
    transaction_identification_code: Any = None
    to_be_cleared: Any = None


class TradesData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`trade_snapshot`: the last hundred, the newest first."""

    feed: str
    product_id: Product
    trades: list[Raw]


class TickerData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`ticker`."""

    feed: str
    product_id: Product
    time: Instant = 0
    bid: Raw = NONE
    ask: Raw = NONE
    bid_size: Raw = NONE
    ask_size: Raw = NONE
    last: Raw = NONE
    open: Raw = NONE
    high: Raw = NONE
    low: Raw = NONE
    volume: Raw = NONE
    volume_quote: Raw = field(name="volumeQuote", default=NONE)
    index: Raw = NONE
    mark_price: Raw = field(name="markPrice", default=NONE)
    open_interest: Raw = field(name="openInterest", default=NONE)
    relative_funding_rate: Raw = NONE
    next_funding_rate_time: Annotated[float, msgspec.Meta(ge=0, lt=LAST_MS)] | None = None
    funding_rate: Any = None  # in currency, for a contract
    funding_rate_prediction: Any = None
    relative_funding_rate_prediction: Any = None
    maturity_time: Any = field(name="maturityTime", default=None)
    change: Any = None
    premium: Any = None
    dtm: Any = None
    leverage: Any = None
    tag: Any = None
    pair: Any = None
    suspended: Any = None
    post_only: Any = None


class CandleRow(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A candle of trades; volume in contracts."""

    time: Instant  # when it opens
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw


class CandleData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`candles_trade_1m`, and `candles_trade_1m_snapshot` at first; they are public, and in no document."""

    feed: str
    product_id: Product
    candle: Raw


BOOK: Final = Wire(BookData, "book")
SNAPSHOT: Final = Wire(SnapshotData, "book_snapshot")
TRADE: Final = Wire(TradeData, "trade")
TRADES: Final = Wire(TradesData, "trade_snapshot")
TICKER: Final = Wire(TickerData, "ticker")
PAST_ANSWER: Final = Wire(PastAnswer, "past trades")
PAST_TRADES: Final = Rows(PastTradeData, "past trades")
CANDLE: Final = Wire(CandleData, "candles_trade")
CANDLE_ROW: Final = Wire(CandleRow, "candles_trade")
_LEVEL = msgspec.json.Decoder(LevelData)
_HEAD = msgspec.json.Decoder(Head)


def parse(payload: bytes, _memory: Memory) -> Items:
    """Parse one message.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    try:
        data = _LEVEL.decode(payload)
    except MALFORMED:  # another message, or a field that is not documented
        return _message(payload)
    symbol, instant, number = data.product_id.upper(), data.timestamp * 1000, data.seq
    if data.side == "buy":
        return [BookDelta(symbol, instant, number, number, 0, [data.price], [data.qty], [], [])]
    return [BookDelta(symbol, instant, number, number, 0, [], [], [data.price], [data.qty])]


def parse_answer(frame: Frame) -> Items:
    """Parse the newest trades that were asked for: they have the names of the stream, and not its numbers.

    Raises:
        FrameError: malformed, or no answer we know.
    """
    path, query = asked(frame.request)
    symbol = query.get("symbol", "").upper()
    if not path.endswith("/api/v3/history") or not symbol:
        raise unknown_answer(frame.request)
    unknown: Unknown = []
    answer = PAST_ANSWER.decode(frame.payload, unknown)
    if answer.result != "success":
        return [notice(frame.payload), *unknown]
    trades = [_past_trade(symbol, row) for row in PAST_TRADES.decode(answer.history, unknown)]
    if not trades:
        return list(unknown)
    is_rising = trades[-1].exchange_time_us > trades[0].exchange_time_us
    return [PastTrades(symbol, 0, trades if is_rising else trades[::-1], is_unnumbered=True), *unknown]


def _past_trade(symbol: str, row: PastTradeData) -> Trade:
    price, size = positive(digits(row.price)), amount(digits(row.size))
    return Trade(symbol, iso_us(row.time), NO_ID, price, size, SIDES[row.side], row.type not in ON_BOOK, row.uid)


def _message(payload: bytes) -> Items:
    try:
        head = _HEAD.decode(payload)
    except MALFORMED as error:
        raise FrameError(str(error)) from error
    if head.event:
        return [] if head.event in QUIET else [notice(payload)]
    read = FEEDS.get(head.feed)
    if read is None:
        raise FrameError(f"feed {head.feed[:40]!r} is not known")
    unknown: Unknown = []
    items = read(payload, unknown)
    return [*items, *unknown] if unknown else items


def _book(payload: bytes, unknown: Unknown) -> Items:
    return [_change(BOOK.decode(payload, unknown))]


def _change(data: BookData) -> BookDelta:
    prices, sizes = checked_levels([data.price], [data.qty])
    instant, number = time_us(data.timestamp), data.seq
    if data.side == "buy":
        return BookDelta(_name(data), instant, number, number, 0, prices, sizes, [], [])
    return BookDelta(_name(data), instant, number, number, 0, [], [], prices, sizes)


def _snapshot(payload: bytes, unknown: Unknown) -> Items:
    data = SNAPSHOT.decode(payload, unknown)
    bids, asks = _levels(data.bids), _levels(data.asks)
    return [BookSnapshot(_name(data), time_us(data.timestamp), data.seq, *bids, *asks, is_in_stream=True)]


def _trade(payload: bytes, unknown: Unknown) -> Items:
    return _one_trade(TRADE.decode(payload, unknown))


def _trades(payload: bytes, unknown: Unknown) -> Items:
    trades = [TRADE.decode(row, unknown) for row in TRADES.decode(payload, unknown).trades]
    ordered = sorted(trades, key=lambda each: each.seq)
    return [item for trade in ordered for item in _one_trade(trade, is_past=True)]


def _one_trade(data: TradeData, *, is_past: bool = False) -> Items:
    """Make a trade; one by which a position was liquidated is that fact as well."""
    name, instant, side = _name(data), time_us(data.time), SIDES[data.side]
    price, size = positive(digits(data.price)), amount(digits(data.qty))
    trade = Trade(name, instant, data.seq, price, size, side, data.type not in ON_BOOK, data.uid, is_past=is_past)
    return [trade, Liquidation(name, instant, price, size, side)] if data.type == "liquidation" else [trade]


def _ticker(payload: bytes, unknown: Unknown) -> Items:
    data = TICKER.decode(payload, unknown)
    name, instant = _name(data), time_us(data.time)
    bid, ask, bid_size, ask_size = (_maybe(each) for each in (data.bid, data.ask, data.bid_size, data.ask_size))
    last, volume = _maybe(data.last), _maybe(data.volume)
    items: Items = [
        TickerItem(
            symbol=name,
            exchange_time_us=instant,
            is_partial=last is None or volume is None,
            last=last,
            open=_maybe(data.open),
            high=_maybe(data.high),
            low=_maybe(data.low),
            volume=volume,
            quote_volume=_maybe(data.volume_quote),
            bid=bid,
            bid_size=bid_size,
            ask=ask,
            ask_size=ask_size,
        )
    ]
    if instant and bid is not None and bid_size is not None and ask is not None and ask_size is not None:
        items.append(Quote(name, instant, instant, bid, bid_size, ask, ask_size))
    return [*items, *_facts(data, name, instant)]


def _facts(data: TickerData, name: str, instant: int) -> Items:
    """Read what a ticker tells of the contract; rates are relative ones, of a period until the next funding."""
    items: Items = []
    mark, index, open_interest = _maybe(data.mark_price), _maybe(data.index), _maybe(data.open_interest)
    next_us = time_us(int(data.next_funding_rate_time or 0))
    rate = (
        signed_number(digits(data.relative_funding_rate)) if _is_told(data.relative_funding_rate) and next_us else None
    )
    if mark:
        items.append(MarkPrice(name, instant, mark, index or None, rate, next_us if rate is not None else 0))
    if open_interest is not None:
        items.append(DerivativeItem(name, instant, "OPEN_INTEREST", open_interest))
    return items


def _candle(payload: bytes, unknown: Unknown) -> Items:
    data = CANDLE.decode(payload, unknown)
    row = CANDLE_ROW.decode(data.candle, unknown)
    candle = CandleItem(
        _name(data),
        0,
        interval=data.feed.removeprefix(CANDLES_OF).partition("_")[0],
        open_time_us=time_us(row.time),
        close_time_us=0,
        open=positive(digits(row.open)),
        high=positive(digits(row.high)),
        low=positive(digits(row.low)),
        close=positive(digits(row.close)),
        volume=amount(digits(row.volume)),
        quote_volume=None,
        is_closed=None,
    )
    return [candle]


def _nothing(_payload: bytes, _unknown: Unknown) -> Items:
    return []


def _levels(levels: list[Level]) -> tuple[list[float], list[float]]:
    return checked_levels([level.price for level in levels], [level.qty for level in levels])


def _name(data: BookData | SnapshotData | TradeData | TickerData | CandleData) -> str:
    return data.product_id.upper()


def _maybe(number: Raw) -> float | None:
    """Read a number; None = it was not told, or null."""
    return amount(digits(number)) if _is_told(number) else None


def _is_told(number: Raw) -> bool:
    return bool(number) and bytes(number) != b"null"


FEEDS: Final[dict[str, Callable[[bytes, Unknown], Items]]] = {
    "book": _book,
    "book_snapshot": _snapshot,
    "trade": _trade,
    "trade_snapshot": _trades,
    "ticker": _ticker,
    "ticker_lite": _nothing,  # no time, last price and sizes; `ticker` tells all of it
    "heartbeat": _nothing,
    **{f"{CANDLES_OF}{interval}{end}": _candle for interval in INTERVALS for end in ("", "_snapshot")},
}
