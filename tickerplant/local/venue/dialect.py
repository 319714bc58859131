"""What a dialect is: the protocol of one venue, as the simulated venue speaks it; pure, one module a venue.

The market (matching, candles, playback), faults, counts and sockets are the same for all venues. A dialect says which
symbols are listed, which paths are served, what clients' messages ask for, and how what happens is written. How to add
one: docs/simulated-venue.md.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, NamedTuple, Protocol

from tickerplant.local.venue.candles import Candle, CandleSeries
from tickerplant.local.venue.listings import Asset, Listing

Kind = Literal[
    "trade", "aggregate", "quote", "depth", "book", "ticker", "candle",
    "mark_price", "funding", "open_interest", "liquidation", "other",
]  # fmt: skip
"""What a stream tells. `depth` = changes of the book; `book` = whole books at intervals; `other` as `mark_price`."""

Levels = list[tuple[str, str]]
"""(price, size) as decimal text in the venue's unit, best first in whole books; size 0 removes a level in changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """What a connection can listen to; the same key is the same stream, whoever listens.

    Args:
        name: as the venue writes it, with its symbol; `market/name` is what counts and `match` of faults name.
        channel: the venue's word for it, without symbol, speed and interval: what counts are grouped by.
        every_ms: between two messages of `depth`, `book`, `candle` (its interval), `mark_price` and the like.
        levels: of each side of `depth` and `book`; 0 = all.
        form: whatever the dialect wants to know again when it writes.
    """

    market: str
    name: str
    kind: Kind
    symbol: str
    channel: str
    every_ms: int = 100
    levels: int = 0
    form: str = ""
    key: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.market}/{self.name}")


NO_ID: Final = -1
"""Instead of an id where there is none: ids may begin with 0."""


class Frame(NamedTuple):
    """A message of a stream as written, and the ids it tells, if any: of trades (consecutive), or of book updates.

    Args:
        first_id, last_id: `NO_ID` = it tells none.
        names: of a recorded message: the ids of its trades.
        is_encoded: it is as `Conversation.encode` would make it.
        is_silent: it tells nothing that others do not tell, and processors leave it out.
    """

    payload: bytes
    first_id: int = NO_ID
    last_id: int = NO_ID
    names: tuple[str, ...] = ()
    is_encoded: bool = False
    is_silent: bool = False


class Print(NamedTuple):
    """A trade; `first_id` to `last_id` are the trades that an aggregate is made of. `is_buy`: of the aggressor."""

    number: int
    price: str
    size: str
    is_buy: bool
    time_ms: int
    first_id: int
    last_id: int


class Quote(NamedTuple):
    """The best of both sides, in ticks and lots: `listing.numbers` writes them."""

    bid: int
    bid_size: int
    ask: int
    ask_size: int


@dataclass(slots=True)
class DayStatistics:
    """Since the market began; prices in ticks, volume in lots, quote as an amount."""

    open_ms: int
    open: int
    high: int
    low: int
    last: int = 0
    last_lots: int = 0
    last_id: int = 0
    volume: int = 0
    quote: float = 0.0

    def add(self, number: int, price: int, lots: int, amount: float) -> None:
        """Take in a trade; ids count from 1."""
        self.last, self.last_lots, self.last_id = price, lots, number
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.volume += lots
        self.quote += amount


class Marks(NamedTuple):
    """What a derivative is worth; `funding_ms` = when funding is next paid, 0 = it is no perpetual."""

    mark_price: float
    index_price: float
    funding_rate: float
    funding_ms: int
    open_interest: float


class LevelChange(NamedTuple):
    """One change of one level, with the update id of its own."""

    update_id: int
    is_bid: bool
    price: str
    size: str


@dataclass(frozen=True, slots=True)
class Book:
    """A book as it stands.

    Args:
        symbol: whose it is.
        last_id: of the update it stands at; ids rise by one with each change of a level.
        number: of the last message of its stream; 0 = asked for by REST.
        recorded: the answer as it stands in the recording that is played; empty = there is none.
    """

    symbol: str
    last_id: int
    number: int
    bids: Levels
    asks: Levels
    time_ms: int
    recorded: bytes = b""


@dataclass(frozen=True, slots=True)
class BookChange:
    """What changed in a book since its stream told last.

    Args:
        first_id, last_id: of the updates in here; previous_id: the last one told before.
        number: of this message: one more than the one before in its stream.
        bids, asks: levels that changed, as they are now.
        each: makes the list of all changes, in their order.
        top: makes the best levels as they are now (bids, asks): of the book as it is told, for checksums.
    """

    first_id: int
    last_id: int
    previous_id: int
    number: int
    bids: Levels
    asks: Levels
    each: Callable[[], list[LevelChange]]
    top: Callable[[int], tuple[Levels, Levels]]


class SymbolView(Protocol):
    """A symbol as writers may look at it."""

    listing: Listing
    candles: CandleSeries

    @property
    def quote(self) -> Quote:
        """The best of both sides."""

    @property
    def day(self) -> DayStatistics | None:
        """Statistics; None = no trade yet."""

    @property
    def update_id(self) -> int:
        """Of the book's last change."""

    def marks(self, now_ms: int) -> Marks:
        """Mark and index price, funding, open interest."""

    def recent(self, most: int) -> list[Print]:
        """List the newest trades, oldest first (100 are kept)."""


class Writer:
    """Writes the messages of one symbol; a method for each kind of stream, all silent unless a dialect writes them.

    Times are ms since the UTC epoch. What comes out is sent to all who listen to the stream; what differs from
    connection to connection (sequence numbers, channel ids) is put in by `Conversation.finish`.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    def trade_id(self, number: int) -> str:
        """Write the id of a trade as messages and cleaned records have it; numbers count from 1."""
        return str(number)

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write what one order was filled with; also `aggregate` (a print a price) and `liquidation` (one print)."""
        del stream, prints, now_ms
        return ()

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the best quote, which changed."""
        del stream, view, now_ms
        return ()

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write what changed in the book."""
        del stream, change, now_ms
        return ()

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a whole book: at intervals on `book` streams, and when somebody subscribes to `depth` or `book`."""
        del stream, book, now_ms
        return ()

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write the running candle, or a closed one (once)."""
        del stream, candle, now_ms, is_closed
        return ()

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write statistics, each second if there were trades."""
        del stream, view, now_ms
        return ()

    def marks(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write what streams of `mark_price`, `funding`, `open_interest` and `other` tell, each `every_ms`."""
        del stream, view, now_ms
        return ()

    def first(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write what a subscriber gets at once on streams other than `depth` and `book`: recent trades, a ticker."""
        del stream, view, now_ms
        return ()


class Now(NamedTuple):
    """The venue's clock (ms since the UTC epoch, jumps with its faults); s the connection lives and has been quiet."""

    ms: int
    s: float
    quiet_s: float


class Say(NamedTuple):
    """Send this. is_finished: `Conversation.finish` does not see it."""

    payload: bytes
    is_finished: bool = True


class Subscribe(NamedTuple):
    """Let the connection listen; with_first: it gets the book as it stands (or `Writer.first`) before anything else.

    Subscribed to again, it is sent again.
    """

    stream: Stream
    with_first: bool = False


class Unsubscribe(NamedTuple):
    """Let the connection listen no more; of a stream that it does not listen to: no change."""

    stream: Stream


class SendBook(NamedTuple):
    """Send the book of a stream as it stands, whether or not it is listened to."""

    stream: Stream


class Close(NamedTuple):
    """End the connection."""

    code: int
    text: str = ""


Action = Say | Subscribe | Unsubscribe | SendBook | Close


class Market(Protocol):
    """The symbols behind the protocol."""

    def listings(self, market: str) -> list[Listing]:
        """List the symbols of a market."""

    def listing(self, market: str, symbol: str) -> Listing | None:
        """Find a symbol; None = not listed."""

    def book(self, market: str, symbol: str, levels: int) -> Book | None:
        """Give a book as it stands, up to so many levels a side (0 = all); None = no such symbol."""

    def candles(self, market: str, symbol: str) -> CandleSeries | None:
        """Give the minutes of a symbol; None = no such symbol."""

    def trades(self, market: str, symbol: str, from_id: int, most: int) -> list[Print] | None:
        """Give trades from an id on, oldest first (some thousands are kept); from_id below 0 = the newest.

        None = no such symbol; of recordings none are kept.
        """

    def recorded_numbers(self) -> Mapping[str, int]:
        """Tell by which numbers a recording calls its subscriptions, so that answers give the same.

        Names are those in `Memory.names` of the venue's processor, e.g. `book tBTCUSD`; empty = nothing is played.
        """


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A WebSocket address.

    Args:
        name: of what `match` of connection faults names, e.g. `linear`, `usdm/public`.
        paths: below `/<venue>/<market>`, as aiohttp writes routes, e.g. `/v5/public/linear`, `/ws/{streams:.+}`.
    """

    name: str
    market: str
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """How a connection was asked for: the endpoint, the parts of its path, its query, and the market behind it."""

    endpoint: Endpoint
    path: Mapping[str, str]
    query: Mapping[str, str]
    market: Market


class Refused(Exception):  # noqa: N818  # an answer, no failure of ours
    """A handshake or request that the venue refuses: HTTP status and body."""

    def __init__(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.status = status
        self.body = body
        self.kind = kind
        super().__init__(status, body)


class Conversation:
    """One connection. All methods but `receive` may stay as they are.

    Class attributes:
        most_messages: that a client may send, and in how many s; None = any number.
        tick_s: how often `tick` is called; 0 = never.
        encode: what makes bytes of messages before they are sent, e.g. gzip; those go as binary frames. None = text.
        does_finish: `finish` is called.
    """

    most_messages: ClassVar[tuple[int, float] | None] = None
    tick_s: ClassVar[float] = 0.0
    encode: ClassVar[Callable[[bytes], bytes] | None] = None
    does_finish: bool = False

    def open(self, now: Now) -> Iterable[Action]:
        """Greet, and subscribe to what the address names."""
        del now
        return ()

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do what a client's message asks for; what it says is an answer."""
        raise NotImplementedError

    def tick(self, now: Now) -> Iterable[Action]:
        """Do what time asks for: heartbeats, ends."""
        del now
        return ()

    def too_many(self) -> Iterable[Action]:
        """Treat a message above `most_messages`, which is not received."""
        return (Close(1008, "Too many requests"),)

    def maintenance(self, now: Now) -> Iterable[bytes]:
        """Write the notice of maintenance or an upgrade; nothing = the venue gives none."""
        del now
        return ()

    def replay(self, payload: bytes) -> bytes:
        """Make a recorded message one of this connection, as by its sequence number; instead of `finish`."""
        return payload

    def finish(self, stream: Stream | None, payload: bytes) -> bytes:
        """Put in what is this connection's own; called in the order of sending, before faults. None = a `Say`."""
        del stream
        return payload


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A REST request.

    Args:
        path: the parts of the route that are in braces.
        address: `host:port` of the venue, for answers that name URLs.
    """

    market: Market
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    address: str
    now_ms: int
    headers: Mapping[str, str] = field(default_factory=dict)


class Answer(NamedTuple):
    """A REST answer."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Route:
    """A REST address.

    Args:
        path: below `/<venue>/<market>`, as aiohttp writes routes.
        counts_as: `snapshot` = a book, `instruments` = a list: counted where the status is 200, and open to faults;
            `trades` = past trades.
    """

    path: str
    answer: Callable[[Ask], Answer]
    method: str = "GET"
    counts_as: Literal["", "snapshot", "trades", "instruments"] = ""


@dataclass(frozen=True, kw_only=True)
class MarketTerms:
    """How a synthetic market is made for one of the venue's markets.

    Args:
        share: of all symbols; 0 = there is nothing of it but recordings.
        are_ids_shared: all books of the market number their updates together.
        has_aggregates, has_marks: they count among the frames that the rate speaks of.
    """

    share: float
    are_ids_shared: bool = False
    has_aggregates: bool = False
    has_marks: bool = False


class Dialect(Protocol):
    """What each module of `dialects` offers."""

    NAME: str

    @property
    def MARKETS(self) -> Mapping[str, MarketTerms]:  # noqa: N802  # a constant of the module
        """Name the markets, and how synthetic ones are made."""

    @property
    def ENDPOINTS(self) -> tuple[Endpoint, ...]:  # noqa: N802  # the same
        """List the WebSocket addresses."""

    @property
    def CHECKSUM(self) -> re.Pattern[bytes] | None:  # noqa: N802  # the same
        """Find a checksum in a message, as group 1; None = the venue sends none."""

    def listings(self, market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
        """List the symbols of a synthetic market, as many as there are assets, the best known first."""

    def routes(self, market: str) -> list[Route]:
        """List the REST addresses of a market."""

    def converse(self, handshake: Handshake) -> Conversation:
        """Begin with a connection.

        Raises:
            Refused: the venue does not take it.
        """

    def writer(self, listing: Listing) -> Writer:
        """Make what writes the messages of a symbol."""
