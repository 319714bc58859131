"""Hyperliquid on the wire: one subscription a message, lists by POST; pure.

Since 2026-07 whole books of 20 levels come each 5 s; `depth@fast` are those of 5 levels each 0.5 s.
Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket
Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/rate-limits-and-user-limits
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec

from producers.dialogue import MALFORMED, Talk, Verb, cut
from producers.wire import (
    Answer,
    Dialogue,
    Limits,
    Request,
    SnapshotBy,
    Stream,
    kind_of,
    no_depth_request,
    no_door,
    no_more_trades,
    no_past_trades,
    one_page,
    same_url,
)

NAME: Final = "HYPERLIQUID"
MARKETS: Final[tuple[str, ...]] = ("perp", "spot")
QUIET_CHANNELS: Final[frozenset[str]] = frozenset()
SHARED_CHANNELS: Final[frozenset[str]] = frozenset()
STREAM_URL: Final = "wss://api.hyperliquid.xyz"
REST_URL: Final = "https://api.hyperliquid.xyz"
LISTS: Final = {"perp": b'{"type":"allPerpMetas"}', "spot": b'{"type":"spotMeta"}'}
LIST_WEIGHT: Final = 20
LIFE_S: Final = 24 * 3600.0  # the venue names no limit
SPOT_CHANNELS: Final = ("trade", "quote", "depth", "candle_1m", "ticker")
CHANNELS: Final = {
    "perp": (*SPOT_CHANNELS, "mark_price", "index", "funding", "open_interest"),
    "spot": SPOT_CHANNELS,
}
FULL_NAMES: Final = dict.fromkeys(("mark_price", "index", "funding", "open_interest"), "ticker")
"""One channel of the venue tells all that is known of a coin."""
TYPES: Final = {
    "trade": "trades", "quote": "bbo", "depth": "l2Book", "candle": "candle", "ticker": "activeAssetCtx",
}  # fmt: skip
INTERVALS: Final = frozenset({"1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "3d", "1w", "1M"})
FAST: Final = "depth@fast"
SPOT_CONTEXT: Final = b"activeSpotAssetCtx"
LIMIT: Final = Limits(
    streams_per_connection=100,  # 1,000 subscriptions and 10 connections an address
    streams_per_request=1,
    messages_per_s=20.0,
    weight_per_window=1200,
    life_s=LIFE_S,
    connects_per_window=30,
    connects_window_s=60.0,
    connections=10,
    shared_as="all",
)
LIMITS: Final = dict.fromkeys(MARKETS, LIMIT)


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel; None = the market has no such channel.

    >>> full_channel("perp", "funding"), full_channel("spot", "candle_4h"), full_channel("spot", "funding")
    ('ticker', 'candle_4h', None)
    """
    if kind_of(channel) == "candle":
        return channel if channel.removeprefix("candle_") in INTERVALS else None
    return FULL_NAMES.get(channel, channel) if channel in CHANNELS[market] or channel == FAST else None


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a coin: what its messages tell of it.

    >>> stream_name("xyz:TSLA", "candle_5m"), stream_name("@107", "depth@fast")
    ('candle:xyz:TSLA:5m', 'l2Book:@107')
    """
    name = f"{TYPES[kind_of(full_channel)]}:{venue_symbol}"
    return f"{name}:{full_channel.removeprefix('candle_')}" if kind_of(full_channel) == "candle" else name


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot: each message is one."""
    return "resubscribe" if kind_of(full_channel) == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL (base None = the venue's own host)."""
    del market, full_channel
    return f"{base or STREAM_URL}/ws"


class _Subscription(msgspec.Struct, frozen=True):
    type: str
    coin: str = ""
    interval: str = ""

    @property
    def name(self) -> str:
        return ":".join(part for part in (self.type, self.coin, self.interval) if part)


class _Answered(msgspec.Struct, frozen=True):
    method: str
    subscription: _Subscription


class _Reply(msgspec.Struct, frozen=True):
    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


_REPLY = msgspec.json.Decoder(_Reply)
_ANSWERED = msgspec.json.Decoder(_Answered)
_TEXT = msgspec.json.Decoder(str)
_SUBSCRIPTION = msgspec.json.Decoder(_Subscription)


class HyperliquidTalk(Talk):
    """One stream a request; answers and errors repeat what was asked for."""

    PING: ClassVar[bytes] = b'{"method":"ping"}'
    PING_EVERY_S: ClassVar[float] = 30.0

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request that subscribes to a stream, or ends that."""
        del number
        (stream,) = streams
        wish: dict[str, Any] = {"type": TYPES[stream.kind], "coin": stream.venue_symbol}
        if stream.kind == "candle":
            wish["interval"] = stream.channel.removeprefix("candle_")
        if stream.channel == FAST:
            wish["fast"] = True
        return msgspec.json.encode({"method": verb, "subscription": wish})

    def stream_of(self, payload: bytes) -> bytes:
        """Tell channel and coin of a message, and the interval of a candle; b"" = it is no market data."""
        channel = cut(payload, b'"channel":"')
        if channel == b"candle":
            return b"candle:%s:%s" % (cut(payload, b'"s":"'), cut(payload, b'"i":"'))
        coin = cut(payload, b'"coin":"')
        if channel in {b"subscriptionResponse", b"error"} or not coin:
            return b""
        return b"%s:%s" % (b"activeAssetCtx" if channel == SPOT_CONTEXT else channel, coin)

    def answer(self, payload: bytes) -> Answer | None:
        """Read what is no market data; None = it is no answer."""
        try:
            reply = _REPLY.decode(payload)
            if reply.channel == "subscriptionResponse":
                answered = _ANSWERED.decode(reply.data)
                return Answer(subscribed=(answered.subscription.name,) if answered.method == "subscribe" else ())
            if reply.channel == "error":
                return _refusal(_TEXT.decode(reply.data))
        except MALFORMED:
            return None
        return Answer() if reply.channel == "pong" else None


def _refusal(text: str) -> Answer:
    """Read an error: it repeats the subscription that it is about; one that there was already is none."""
    try:
        name = _SUBSCRIPTION.decode(text[text.find("{") :].encode(errors="replace")).name
    except MALFORMED:
        return Answer(refusal=text)
    if text.startswith("Already subscribed"):
        return Answer(subscribed=(name,))
    return Answer() if text.startswith("Already unsubscribed") else Answer(refused=(name,), refusal=text)


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return HyperliquidTalk(LIMITS[market])


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the request for all coins of a market: all exchanges of perpetuals, or all spot pairs with their tokens."""
    del symbols
    return [Request(url=f"{base or REST_URL}/info", weight=LIST_WEIGHT, method="POST", body=LISTS[market])]


depth_request = no_depth_request
door = no_door
connect_url = same_url
next_page = one_page
trades_request = no_past_trades
next_trades = no_more_trades
