"""What the wire modules of `producers/venues` speak in, and what each of them offers; pure.

A venue's module says what holds for a market (`Wire`): URLs, limits, lists, names of streams. What is said on one
connection is an object of its own (`Dialogue`), since many venues need memory there: which request was about which
streams, which number stands for which stream. Both are without I/O: the link (`producers/websocket.py`) tells a
dialogue what came and what time it is, and sends what it is given. A base for dialogues: `producers/dialogue.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Final, Literal, Protocol

INTERVAL_CHANNELS: Final = frozenset({"candle", "kline"})

BANS: Final[Mapping[int, float]] = MappingProxyType({418: 120.0})
"""Sent by Binance where 429 was not heeded: the shortest of its bans."""

SnapshotBy = Literal["none", "rest", "message", "resubscribe"]
"""How the book of a channel gets a snapshot.

none         the channel has no book
rest         by the `depth_request`, once the stream is subscribed and whenever the book is lost
message      by a message on the connection that carries the stream (`Dialogue.snapshot`), at the same times
resubscribe  it comes by itself after subscribing; where the book is lost, that stream alone is subscribed anew
"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a venue lets one address do.

    Args:
        streams_per_connection: more are sharded over several connections.
        streams_per_request: of a subscription.
        request_bytes: of a subscription; more streams than fit go into further ones.
        messages_per_s: sent on one connection.
        messages_per_hour: requests sent on one connection; inf = no such limit.
        weight_per_window: of REST requests, over all of them, in `weight_window_s`.
        life_s: after which a connection is replaced by a new one, before the venue cuts it.
        connects_per_window: tries to connect, over all connections, in `connects_window_s`.
        connects_per_s: of these, so that many connections are not opened at once.
        bans: statuses, of REST and of handshakes, by which the venue shuts out our address as a whole, and for how many
            seconds where Retry-After does not tell; 429 is a request to slow down everywhere.
        connections: that may be open at once, renewals among them; inf = no such limit.
        shared_as: markets with the same word here have them together: the venue counts by address, or by host; "" = the
            market has them for itself.
    """

    streams_per_connection: int
    streams_per_request: int
    messages_per_s: float
    weight_per_window: float
    life_s: float
    request_bytes: float = inf
    messages_per_hour: float = inf
    weight_window_s: float = 60.0
    connects_per_window: float = 300
    connects_window_s: float = 300.0
    connects_per_s: float = 10.0
    connections: float = inf
    shared_as: str = ""
    bans: Mapping[int, float] = field(default_factory=lambda: BANS)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A REST request, and what it costs of `weight_per_window`.

    Args:
        body: JSON, of a POST.
        key_header: header that our key goes in; "" = none is sent. It is no part of `name`.
        headers: further ones that the answer depends on, names and values.
    """

    url: str
    weight: float
    method: Literal["GET", "POST"] = "GET"
    body: bytes = b""
    key_header: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What `Frame.request` says of the answer: the URL, for a POST `POST <url> <body>`.

        >>> Request(url="https://host/info", weight=1, method="POST", body=b'{"type":"meta"}').name
        'POST https://host/info {"type":"meta"}'
        """
        if self.method == "GET":
            return self.url
        return f"POST {self.url} {self.body.decode(errors='replace')}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Trades of a symbol that are missing.

    Args:
        first_id: of the first; `last_id` of the last.
        after_time_us: the venue's time of the newest trade before them; 0 = not known.
        until_time_us: the venue's time of the first trade after them; 0 = not known.
    """

    venue_symbol: str
    first_id: int
    last_id: int
    after_time_us: int = 0
    until_time_us: int = 0


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One channel of one symbol, as the venue names it.

    Args:
        name: what messages are told to belong to it by (`Dialogue.stream_of`); one name, one subscription.
        channel: complete (`Wire.full_channel`): one of our words, then what the venue needs to know, as `depth@100ms`.
        venue_symbol: of a shared channel that of the first symbol which wants it.
    """

    name: str
    channel: str
    venue_symbol: str
    partition: int
    url: str

    @property
    def kind(self) -> str:
        """The channel without speed or interval: what staleness is judged by."""
        return kind_of(self.channel)


def kind_of(full_channel: str) -> str:
    """Cut speed and interval off a channel.

    >>> kind_of("depth@100ms"), kind_of("candle_1m"), kind_of("mark_price")
    ('depth', 'candle', 'mark_price')
    """
    word = full_channel.partition("@")[0]
    head = word.partition("_")[0]
    return head if head in INTERVAL_CHANNELS else word


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A message to be sent, and the streams that an answer is awaited for: none for most messages.

    Args:
        names: of streams that it subscribes to.
    """

    payload: bytes
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a message that is no market data says; all empty = nothing that matters.

    Args:
        subscribed: names of streams that are subscribed now, asked for or not, answered before or not.
        refused: names of streams that the venue will not give.
        refusal: why it refused them; without `refused` = it refused something else, and the connection is of no use.
        sends: what we owe in reply; it goes out before anything else.
        is_welcome: the venue listens now (see `Dialogue.waits_for_welcome`).
        shutdown: why the venue will soon close this connection, or serve it no more; "" = it does not.
    """

    subscribed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    refusal: str = ""
    sends: tuple[bytes, ...] = ()
    is_welcome: bool = False
    shutdown: str = ""


class Dialogue(Protocol):
    """What is said on one connection, from its opening to its end; without I/O.

    Methods may be called in any order and any number of times, and never raise, whatever the venue sends. What was read
    goes to the raw topic untouched, whatever a dialogue makes of it.
    """

    @property
    def waits_for_welcome(self) -> bool:
        """Whether nothing may be sent before the venue has said welcome."""

    def opening(self) -> Sequence[bytes]:
        """Make what is sent first: flags, wishes for heartbeats."""

    def subscribe(self, streams: Sequence[Stream]) -> Sequence[Ask]:
        """Make the requests that subscribe to streams, within the venue's limits of a request."""

    def unsubscribe(self, streams: Sequence[Stream]) -> Sequence[Ask]:
        """Make the requests that end subscriptions; nothing is awaited."""

    def snapshot(self, streams: Sequence[Stream]) -> Sequence[Ask]:
        """Make the requests for depth snapshots by message; called only where `Wire.snapshot_by` says so."""

    def stream_of(self, payload: bytes) -> bytes:
        """Tell the name of the stream that a message belongs to, or of one of them; b"" = it is no market data.

        Called with every message: it looks at as little as it can.
        """

    def answer(self, payload: bytes) -> Answer | None:
        """Read a message that is of no known stream; None = it is neither an answer nor a notice."""

    def tick(self, now_us: int) -> Sequence[bytes]:
        """Make what is due by now, as the venue's own pings; called every half second or more often."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """What connections of a market need besides their URL.

    Args:
        headers: of the opening handshake.
        ticket: a REST request to be answered before each connect; None = none.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    ticket: Request | None = None


class Wire(Protocol):
    """A venue on the wire; pure, one module a venue.

    Channels are called the same at all venues: trade, quote, depth, ticker, candle_<interval>, mark_price, index,
    funding, open_interest, liquidation. Two may be one channel of the venue: then both have the same full channel.
    """

    NAME: str
    MARKETS: tuple[str, ...]
    CHANNELS: dict[str, tuple[str, ...]]  # market → names that users may give
    LIMITS: dict[str, Limits]  # by market
    QUIET_CHANNELS: frozenset[str]  # kinds that are silent for long when all is well
    SHARED_CHANNELS: frozenset[str]  # kinds of which one stream may carry several symbols

    def full_channel(self, market: str, channel: str) -> str | None:
        """Complete a channel with what the venue needs to know; None = the market has no such channel."""

    def stream_name(self, venue_symbol: str, full_channel: str) -> str:
        """Name the stream of a symbol; those of one name are one; "" = the venue has none of this symbol."""

    def snapshot_by(self, full_channel: str) -> SnapshotBy:
        """Tell how the book of a channel gets a snapshot."""

    def stream_url(self, market: str, full_channel: str, base: str | None) -> str:
        """Tell the URL that serves a channel (base None = the venue's own host)."""

    def door(self, market: str, base: str | None) -> Door:
        """Tell what connections need besides their URL (base of REST; None = the venue's own host)."""

    def connect_url(self, url: str, ticket: bytes, connection: str) -> str:
        """Complete a URL for one connection by the ticket's body (b"" where there is none) and the connection's name.

        Raises:
            ValueError: the body is no ticket.
        """

    def dialogue(self, market: str, ticket: bytes) -> Dialogue:
        """Begin the dialogue of one connection (ticket b"" = there is none)."""

    def depth_request(self, market: str, venue_symbol: str, base: str | None, books: int) -> Request:
        """Make the request for a depth snapshot; called only where `snapshot_by` says `rest`.

        Args:
            books: how many of the market are fetched, this one included: few may be deeper than many.
        """

    def list_requests(self, market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
        """Make the requests for an instrument list: of these venue symbols, () = of all."""

    def next_page(self, request: Request, body: bytes) -> Request | None:
        """Make the request that follows an answered one of a list; None = that was the last.

        Raises:
            ValueError: the body does not tell.
        """

    def trades_request(self, market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request | None:
        """Make the request for missing trades, or the first page of them; None = the venue tells no past trades.

        Args:
            is_keyed: we have a key of the venue.
        """

    def next_trades(self, request: Request, body: bytes, missing: Missing) -> Request | None:
        """Make the request that follows an answered one of missing trades; None = that was the last.

        Raises:
            ValueError: the body does not tell.
        """


def no_door(market: str, base: str | None) -> Door:
    """Connect by the URL alone: `door` of most venues."""
    del market, base
    return Door()


def same_url(url: str, ticket: bytes, connection: str) -> str:
    """Leave the URL as it is: `connect_url` of most venues."""
    del ticket, connection
    return url


def one_page(request: Request, body: bytes) -> Request | None:
    """End a list with its first page: `next_page` of most venues."""
    del request, body
    return None


def no_past_trades(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> None:
    """Tell no past trades: `trades_request` of venues whose missing trades cannot be asked for."""
    del market, missing, base, is_keyed


def no_more_trades(request: Request, body: bytes, missing: Missing) -> None:
    """End missing trades with their first page: `next_trades` of venues that tell the newest trades alone, or none."""
    del request, body, missing


def seconds_of(missing: Missing) -> tuple[int, int]:
    """Tell the whole seconds that missing trades lie in, as first and last instant, whether or not that one counts.

    >>> seconds_of(Missing(venue_symbol="", first_id=0, last_id=0, after_time_us=1_999_999, until_time_us=3_000_000))
    (1, 4)
    """
    return missing.after_time_us // 1_000_000, missing.until_time_us // 1_000_000 + 1


def no_depth_request(market: str, venue_symbol: str, base: str | None, books: int) -> Request:
    """Refuse: `depth_request` of venues that send no books by REST, where nobody calls it."""
    del market, base, books
    raise NotImplementedError(f"{venue_symbol}: books do not come by REST")
