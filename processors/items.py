"""What a venue's parser yields: one frozen struct a kind of item, in the venue's symbols and units, times in µs UTC.

Sizes are in the venue's unit (contracts, or base currency); `exchange_time_us` 0 = the venue sends none.
"""

import msgspec

from schemas.records import DerivativeKind, Side


class Item(msgspec.Struct, frozen=True, gc=False):
    """Base of all items: frozen, compared by value."""

    symbol: str
    exchange_time_us: int


class Trade(Item, frozen=True, gc=False):
    """One trade; `side` is the aggressor's.

    Args:
        trade_id: by which trades are told apart and, where the rule says so, counted.
        name: the venue's own id, where it is not that number (UUIDs, ETH-123).
        is_summed: it sums up several, and its id is the last one's: where trades are counted, such are not.
        is_past: it is one of the last trades of before, which a venue tells as a stream begins.
    """

    trade_id: int
    price: float
    size: float
    side: Side
    is_off_book: bool = False
    name: str = ""
    is_summed: bool = False
    is_past: bool = False


class PastTrades(Item, frozen=True, gc=False):
    """Trades that were asked for since they are missing, in rising order; its own time is 0.

    Args:
        first_id: all trades from this id to `last_id` that there are, are among them; 0, 0 = that is not known.
        from_us: the same by time, ends included; 0, 0 = they are the newest trades that there were.
        is_unnumbered: ids (all are NO_ID) are not told, names are; nothing is left out between the first and the last.
    """

    trades: list[Trade]
    first_id: int = 0
    last_id: int = 0
    from_us: int = 0
    until_us: int = 0
    is_unnumbered: bool = False


class AggTrade(Item, frozen=True, gc=False):
    """Trades of one order at one price, summed by the venue; fields as in `Trade`."""

    trade_id: int
    price: float
    size: float
    side: Side
    name: str = ""


class Quote(Item, frozen=True, gc=False):
    """Best bid and ask; price 0 = that side is empty, size None = it is not told.

    Where a venue numbers no quotes, `sequence` is its time.
    """

    sequence: int
    bid: float
    bid_size: float | None
    ask: float
    ask_size: float | None


class Texts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Digits of levels as they were sent, parallel to the numbers: checksums are made of these."""

    bid_prices: list[str]
    bid_sizes: list[str]
    ask_prices: list[str]
    ask_sizes: list[str]


class BookSnapshot(Item, frozen=True, gc=False):
    """A whole book, in parallel lists.

    Args:
        is_in_stream: it came among the deltas, and the next one follows it; else it is to be joined to them.
        most_levels: what falls out of so many a side, the venue does not tell; 0 = it tells all.
        texts: None = the venue sends no checksum.
        checksum: of this book; None = none was sent.
        is_top: only the best levels were asked for: nothing new where the book is kept whole.
    """

    sequence: int
    bid_prices: list[float]
    bid_sizes: list[float]
    ask_prices: list[float]
    ask_sizes: list[float]
    is_in_stream: bool = False
    most_levels: int = 0
    texts: Texts | None = None
    checksum: int | None = None
    is_top: bool = False


class BookDelta(Item, frozen=True, gc=False):
    """Changed levels of a book, absolute sizes, 0 = remove; update ids first to last; `previous_sequence` 0 = none.

    Args:
        texts: None = the venue sends no checksum.
        checksum: of the book with this delta; None = none was sent.
        most_levels: what falls out of so many a side, the venue does not tell; 0 = as the snapshot says.
    """

    first_sequence: int
    sequence: int
    previous_sequence: int
    bid_prices: list[float]
    bid_sizes: list[float]
    ask_prices: list[float]
    ask_sizes: list[float]
    texts: Texts | None = None
    checksum: int | None = None
    most_levels: int = 0


class BookChecksum(Item, frozen=True, gc=False):
    """The book's checksum at this place of the stream, where it is a message of its own."""

    checksum: int


class TickerItem(Item, frozen=True, gc=False, kw_only=True, tag=True):
    """24-hour statistics; `base_volume` = the venue's figure in base currency, None = `volume` is to be converted.

    Args:
        volume: in the venue's unit; None = `base_volume` and `quote_volume` are all that is told.
        is_partial: what is None has not changed since the item before of its connection; else it is not told.
        is_followed: it is whole, and partial ones follow.
        is_stamped: its time is when the message was sent, so that each connection has another one.
    """

    is_partial: bool = False
    is_followed: bool = False
    is_stamped: bool = False
    last: float | None
    last_size: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None
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
    """The venue's candle; volumes and `is_stamped` as in `TickerItem`.

    `is_closed` None = the venue never says that one is final.
    """

    interval: str
    open_time_us: int
    close_time_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    taker_buy_volume: float | None = None
    base_volume: float | None = None
    quote_volume: float | None = None
    taker_buy_base_volume: float | None = None
    taker_buy_quote_volume: float | None = None
    trade_count: int = 0
    is_closed: bool | None
    is_stamped: bool = False


class MarkPrice(Item, frozen=True, gc=False, tag=True):
    """Mark price, and where the venue tells: index price, funding rate and the time of the next funding (0 = none)."""

    mark_price: float
    index_price: float | None
    funding_rate: float | None
    next_funding_time_us: int


class DerivativeItem(Item, frozen=True, gc=False, tag=True):
    """One fact about a contract: funding rate (`next_time_us` = when it is due), mark or index price, open interest.

    `value` of OPEN_INTEREST is in the venue's unit, as sizes are.

    Args:
        is_optional: the venue may list no such symbol; then it is of nobody.
        is_of_all: it is of all that are listed whose names begin with the symbol.
    """

    kind: DerivativeKind
    value: float
    next_time_us: int = 0
    is_optional: bool = False
    is_of_all: bool = False


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


class ConnectionGap(msgspec.Struct, frozen=True, gc=False):
    """Messages of this connection are missing, of whichever symbols: by numbers that count all of its messages."""

    first: int
    last: int


class Repeated(msgspec.Struct, frozen=True, gc=False):
    """A message whose number was passed already: it changes nothing."""

    channel: str


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A part of the message cannot be used, the others are; the message becomes a dead letter all the same."""

    reason: str


AnyItem = (
    Trade
    | PastTrades
    | AggTrade
    | Quote
    | BookSnapshot
    | BookDelta
    | BookChecksum
    | TickerItem
    | CandleItem
    | MarkPrice
    | DerivativeItem
    | Liquidation
    | ConnectionGap
    | Notice
    | UnknownField
    | Repeated
    | Refused
)
