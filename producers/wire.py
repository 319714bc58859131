"""What the wire modules of `producers/venues` speak in: requests, answers, limits; and what each of them offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a venue lets one address do.

    Args:
        streams_per_connection: more are sharded over several connections.
        streams_per_request: of a subscription.
        messages_per_s: requests sent on one connection.
        weight_per_minute: of REST requests, over all of them.
        life_s: after which a connection is replaced by a new one, before the venue cuts it.
        connects_per_5_minutes: tries to connect, over all connections.
    """

    streams_per_connection: int
    streams_per_request: int
    messages_per_s: float
    weight_per_minute: int
    life_s: float
    connects_per_5_minutes: int = 300


@dataclass(frozen=True, kw_only=True)
class Request:
    """A REST request, and what it costs of `weight_per_minute`."""

    url: str
    weight: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a message that is no market data says.

    Args:
        id: of the request that is answered; None = none.
        refusal: why it was refused; "" = it was not.
        is_shutdown: the venue will soon close this connection.
    """

    id: int | None = None
    refusal: str = ""
    is_shutdown: bool = False


class Wire(Protocol):
    """A venue on the wire; pure, one module a venue."""

    NAME: str
    MARKETS: tuple[str, ...]
    CHANNELS: dict[str, tuple[str, ...]]  # market → names that users may give
    LIMITS: dict[str, Limits]  # by market
    QUIET_CHANNELS: frozenset[str]  # silent for hours when all is well

    def full_channel(self, market: str, channel: str) -> str | None:
        """Complete a channel with its default speed; None = the market has no such channel."""

    def stream_name(self, venue_symbol: str, full_channel: str) -> str:
        """Name the stream of a symbol."""

    def is_depth(self, full_channel: str) -> bool:
        """Tell whether a channel's messages need a depth snapshot to join."""

    def stream_url(self, market: str, full_channel: str, base: str | None) -> str:
        """Tell the URL that serves a channel (base None = the venue's own host)."""

    def subscribe(self, number: int, streams: Sequence[str]) -> bytes:
        """Make the request, with this number as id, that subscribes to streams."""

    def stream_of(self, payload: bytes) -> bytes:
        """Cut the stream's name out of a message; b"" = it has none."""

    def answer(self, payload: bytes) -> Answer | None:
        """Read what is no market data; None = it is neither an answer nor a notice."""

    def depth_request(self, market: str, venue_symbol: str, base: str | None) -> Request:
        """Make the request for a depth snapshot."""

    def list_requests(self, market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
        """Make the requests for an instrument list: of these venue symbols, () = of all."""
