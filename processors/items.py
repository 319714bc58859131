"""What a venue's parser yields: one frozen struct a kind of item, in the venue's symbols and units, times in µs UTC.

Sizes are in the venue's unit (contracts, or base currency); `exchange_time_us` 0 = the venue sends none.
"""

import msgspec

from schemas.records import Side


class Item(msgspec.Struct, frozen=True, gc=False):
    """Base of all items: frozen, compared by value."""

    symbol: str
    exchange_time_us: int


class Trade(Item, frozen=True, gc=False):
    """One trade; `side` is the aggressor's."""

    trade_id: int
    price: float
    size: float
    side: Side
    is_off_book: bool = False


class AggTrade(Item, frozen=True, gc=False):
    """Trades of one order at one price, summed by the venue."""

    trade_id: int
    price: float
    size: float
    side: Side


class Quote(Item, frozen=True, gc=False):
    """Best bid and ask; price 0 = that side is empty."""

    sequence: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


class BookSnapshot(Item, frozen=True, gc=False):
    """A whole book, in parallel lists."""

    sequence: int
    bid_prices: list[float]
    bid_sizes: list[float]
    ask_prices: list[float]
    ask_sizes: list[float]


class BookDelta(Item, frozen=True, gc=False):
    """Changed levels of a book, absolute sizes, 0 = remove; update ids first to last; `previous_sequence` 0 = none."""

    first_sequence: int
    sequence: int
    previous_sequence: int
    bid_prices: list[float]
    bid_sizes: list[float]
    ask_prices: list[float]
    ask_sizes: list[float]


class TickerItem(Item, frozen=True, gc=False, kw_only=True, tag=True):
    """24-hour statistics; `base_volume` = the venue's figure in base currency, None = `volume` is to be converted."""

    last: float
    last_size: float
    open: float
    high: float
    low: float
    volume: float
    base_volume: float | None = None
    quote_volume: float | None = None
    trade_count: int = 0
    open_time_us: int = 0
    close_time_us: int = 0
    bid: float | None = None
    bid_size: float | None = None
    ask: float | None = None
    ask_size: float | None = None


class CandleItem(Item, frozen=True, gc=False, kw_only=True, tag=True):
    """The venue's candle; volumes as in `TickerItem`."""

    interval: str
    open_time_us: int
    close_time_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    taker_buy_volume: float
    base_volume: float | None = None
    quote_volume: float | None = None
    taker_buy_base_volume: float | None = None
    taker_buy_quote_volume: float | None = None
    trade_count: int
    is_closed: bool


class MarkPrice(Item, frozen=True, gc=False, tag=True):
    """Mark price, and where the venue tells: index price, funding rate and the time of the next funding (0 = none)."""

    mark_price: float
    index_price: float | None
    funding_rate: float | None
    next_funding_time_us: int


class Liquidation(Item, frozen=True, gc=False):
    """A forced order; `side` is the order's."""

    price: float
    size: float
    side: Side


class Notice(msgspec.Struct, frozen=True, gc=False):
    """The venue says something about its service."""

    text: str


class UnknownField(msgspec.Struct, frozen=True, gc=False):
    """A field that is not documented; the rest of the message was used."""

    channel: str
    field: str


AnyItem = (
    Trade
    | AggTrade
    | Quote
    | BookSnapshot
    | BookDelta
    | TickerItem
    | CandleItem
    | MarkPrice
    | Liquidation
    | Notice
    | UnknownField
)
