"""KuCoin on the wire: tokens, topics, requests and limits of the markets spot and futures; pure.

Source: https://www.kucoin.com/docs-new/websocket-api/base-info/introduction
Source: https://www.kucoin.com/docs-new/rate-limit
Source: https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-trade-history
Source: https://www.kucoin.com/docs-new/rest/futures-trading/market-data/get-trade-history
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from producers.dialogue import MALFORMED, Talk, Verb, cut
from producers.wire import (
    Answer,
    Dialogue,
    Door,
    Limits,
    Missing,
    Request,
    SnapshotBy,
    Stream,
    kind_of,
    no_more_trades,
    one_page,
)

NAME: Final = "KUCOIN"
MARKETS: Final[tuple[str, ...]] = ("spot", "futures")
QUIET_CHANNELS: Final[frozenset[str]] = frozenset()
SHARED_CHANNELS: Final[frozenset[str]] = frozenset()

STREAM_URLS: Final = {"spot": "wss://ws-api-spot.kucoin.com", "futures": "wss://ws-api-futures.kucoin.com"}
REST_URLS: Final = {"spot": "https://api.kucoin.com", "futures": "https://api-futures.kucoin.com"}
BULLET_WEIGHT: Final = 10
DEPTH_WEIGHTS: Final = {"spot": 2, "futures": 3}
PAST_TRADES: Final = {"spot": "/api/v1/market/histories", "futures": "/api/v1/trade/history"}
PAST_WEIGHTS: Final = {"spot": 3, "futures": 5}

_LIMITS: Final = Limits(
    streams_per_connection=300,
    streams_per_request=100,
    messages_per_s=9.0,  # 100 in 10 s; what is above is ignored without a word
    weight_per_window=2000,
    weight_window_s=30.0,
    life_s=23.5 * 3600,  # of a token: 24 h
    connections=150,
    connects_per_window=30,
    connects_window_s=60.0,
    connects_per_s=1.0,
    shared_as="all",
)
LIMITS: Final = dict.fromkeys(MARKETS, _LIMITS)

INTERVALS: Final = {
    "1m": "1min", "3m": "3min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1hour", "2h": "2hour",
    "4h": "4hour", "6h": "6hour", "8h": "8hour", "12h": "12hour", "1d": "1day", "1w": "1week",
}  # fmt: skip
SPOT_CHANNELS: Final = ("trade", "quote", "depth", "ticker", "candle_1m")
CHANNELS: Final = {"spot": SPOT_CHANNELS, "futures": (*SPOT_CHANNELS, "mark_price", "index", "funding")}
TOPICS: Final = {
    "spot": {
        "trade": "/market/match", "quote": "/market/ticker", "depth": "/market/level2", "ticker": "/market/snapshot",
        "candle": "/market/candles",
    },
    "futures": {
        "trade": "/contractMarket/execution", "quote": "/contractMarket/tickerV2", "depth": "/contractMarket/level2",
        "ticker": "/contractMarket/snapshot", "candle": "/contractMarket/limitCandle",
        "mark_price": "/contract/instrument",
    },
}  # fmt: skip
INSTRUMENT_CHANNELS: Final = frozenset({"index", "funding"})  # told with mark prices


class _Server(msgspec.Struct, frozen=True, rename="camel"):
    endpoint: str
    ping_interval: int = 18_000  # ms


class _Token(msgspec.Struct, frozen=True, rename="camel"):
    token: str
    instance_servers: list[_Server]


class _Ticket(msgspec.Struct, frozen=True):
    data: _Token


class _Reply(msgspec.Struct, frozen=True):
    type: str = ""
    id: str = ""
    code: int | str = ""
    data: msgspec.Raw = msgspec.Raw(b'""')


_TICKET = msgspec.json.Decoder(_Ticket)
_REPLY = msgspec.json.Decoder(_Reply)


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel with its topic; None = the market has no such channel.

    >>> full_channel("spot", "trade"), full_channel("futures", "funding"), full_channel("spot", "candle_1h")
    ('trade@/market/match', 'mark_price@/contract/instrument', 'candle_1h@/market/candles')
    """
    kind = "mark_price" if channel in INSTRUMENT_CHANNELS else kind_of(channel)
    if kind == "candle" and channel.removeprefix("candle_") not in INTERVALS:
        return None
    topic = TOPICS[market].get(kind)
    return None if topic is None else f"{kind if kind == 'mark_price' else channel}@{topic}"


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a symbol: its topic.

    >>> stream_name("BTC-USDT", "candle_1h@/market/candles"), stream_name("XBTUSDTM", "depth@/contractMarket/level2")
    ('/market/candles:BTC-USDT_1hour', '/contractMarket/level2:XBTUSDTM')
    """
    channel, _, topic = full_channel.partition("@")
    if kind_of(channel) == "candle":
        return f"{topic}:{venue_symbol}_{INTERVALS[channel.removeprefix('candle_')]}"
    return f"{topic}:{venue_symbol}"


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot."""
    return "rest" if kind_of(full_channel) == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL of a market; the token tells the one to connect to."""
    del full_channel
    return base or STREAM_URLS[market]


def door(market: str, base: str | None) -> Door:
    """Ask for a token before each connect."""
    url = f"{base or REST_URLS[market]}/api/v1/bullet-public"
    return Door(ticket=Request(url=url, weight=BULLET_WEIGHT, method="POST"))


def connect_url(url: str, ticket: bytes, connection: str) -> str:
    """Complete a URL by the token.

    Raises:
        ValueError: the body is no token.
    """
    del url
    try:
        data = _TICKET.decode(ticket).data
    except MALFORMED as error:
        raise ValueError(f"not a token: {error}") from error
    if not data.instance_servers:
        raise ValueError("a token without servers")
    return f"{data.instance_servers[0].endpoint}?{urlencode({'token': data.token, 'connectId': connection})}"


next_page = one_page
next_trades = no_more_trades


class KucoinTalk(Talk):
    """Topics with many symbols, after the venue's welcome; pings as often as the token says.

    Args:
        ping_every_s: as the token tells.
    """

    PING = b'{"id":"ping","type":"ping"}'
    waits_for_welcome = True

    def __init__(self, market: str, ping_every_s: float) -> None:
        super().__init__(LIMITS[market])
        self.PING_EVERY_S = ping_every_s  # type: ignore[misc]  # of this connection

    def topic(self, stream: Stream) -> str:
        """Tell the topic, the symbol left out."""
        return stream.name.partition(":")[0]

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request, with this number as id, that subscribes to a topic, or ends that."""
        names = ",".join(each.name.partition(":")[2] for each in streams)
        topic = f"{self.topic(streams[0])}:{names}"
        return msgspec.json.encode({"id": str(number), "type": verb, "topic": topic, "response": True})

    def stream_of(self, payload: bytes) -> bytes:
        """Cut the topic out; b"" = it has none."""
        return cut(payload, b'"topic":"')

    def answer(self, payload: bytes) -> Answer | None:
        """Read what is no market data."""
        try:
            reply = _REPLY.decode(payload)
        except MALFORMED:
            return None
        if reply.type == "welcome":
            return Answer(is_welcome=True)
        if reply.type == "ack":
            return self.accepted(reply.id)
        if reply.type == "error":
            return self.rejected(reply.id, f"{reply.code} {bytes(reply.data).decode(errors='replace')}")
        return Answer() if reply.type == "pong" else None


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    try:
        servers = _TICKET.decode(ticket).data.instance_servers
    except MALFORMED:
        servers = []
    interval_ms = servers[0].ping_interval if servers else _Server(endpoint="").ping_interval
    return KucoinTalk(market, max(interval_ms, 1000) / 1000)


def depth_request(market: str, venue_symbol: str, base: str | None, books: int) -> Request:
    """Make the request for a depth snapshot: 100 levels of spot, all of futures."""
    del books
    path = "/api/v1/market/orderbook/level2_100" if market == "spot" else "/api/v1/level2/snapshot"
    url = f"{base or REST_URLS[market]}{path}?symbol={quote(venue_symbol)}"
    return Request(url=url, weight=DEPTH_WEIGHTS[market])


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request:
    """Make the request for the newest trades, a hundred: older ones are not told."""
    del is_keyed
    url = f"{base or REST_URLS[market]}{PAST_TRADES[market]}?symbol={quote(missing.venue_symbol)}"
    return Request(url=url, weight=PAST_WEIGHTS[market])


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the request for an instrument list; it comes whole, whatever is wanted."""
    del symbols
    path = "/api/v2/symbols" if market == "spot" else "/api/v1/contracts/active"
    return [Request(url=(base or REST_URLS[market]) + path, weight=4)]
