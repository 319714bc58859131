"""Gate v4 on the wire: channels, requests, limits of the markets spot, futures (USDT), inverse (BTC), delivery; pure.

Source: https://www.gate.io/docs/developers/apiv4/ws/en/
Source: https://www.gate.io/docs/developers/futures/ws/en/
Source: https://www.gate.com/docs/developers/apiv4/en/#query-market-transaction-records
"""

from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import quote

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
    one_page,
    same_url,
    seconds_of,
)

NAME: Final = "GATE"
MARKETS: Final[tuple[str, ...]] = ("spot", "futures", "inverse", "delivery")
QUIET_CHANNELS: Final = frozenset({"liquidation"})
SHARED_CHANNELS: Final[frozenset[str]] = frozenset()

STREAM_URLS: Final = {
    "spot": "wss://api.gateio.ws",
    "futures": "wss://fx-ws.gateio.ws",
    "inverse": "wss://fx-ws.gateio.ws",
    "delivery": "wss://fx-ws.gateio.ws",
}
STREAM_PATHS: Final = {
    "spot": "/ws/v4/", "futures": "/v4/ws/usdt", "inverse": "/v4/ws/btc", "delivery": "/v4/ws/delivery/usdt",
}  # fmt: skip
REST_URL: Final = "https://api.gateio.ws"
REST_PATHS: Final = {
    "spot": "/api/v4/spot", "futures": "/api/v4/futures/usdt", "inverse": "/api/v4/futures/btc",
    "delivery": "/api/v4/delivery/usdt",
}  # fmt: skip
DEPTH_LEVELS: Final = 100
PAST_TRADES: Final = 1000  # of a page
DECIMAL_SIZES: Final = {"X-Gate-Size-Decimal": "1"}


def _limits(shared_as: str) -> Limits:
    return Limits(
        streams_per_connection=100,
        streams_per_request=100,
        messages_per_s=10.0,
        weight_per_window=200,
        weight_window_s=10.0,
        life_s=23.5 * 3600,  # none is documented
        connections=100,
        shared_as=shared_as,
    )


LIMITS: Final = {each: _limits("" if each == "spot" else "futures") for each in MARKETS}  # by host

INTERVALS: Final = {
    "10s": "10s", "1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "4h": "4h", "8h": "8h", "1d": "1d",
    "1w": "7d",
}  # fmt: skip
SPOT_CHANNELS: Final = ("trade", "quote", "depth", "ticker", "candle_1m")
FUTURES_CHANNELS: Final = (*SPOT_CHANNELS, "mark_price", "index", "funding", "open_interest", "liquidation")
CHANNELS: Final = {
    "spot": SPOT_CHANNELS,
    "futures": FUTURES_CHANNELS,
    "inverse": FUTURES_CHANNELS,
    "delivery": (*SPOT_CHANNELS, "mark_price", "index", "open_interest"),
}
OF_TICKERS: Final = frozenset({"mark_price", "index", "funding", "open_interest"})
OWN_NAMES: Final = {
    "trade": "trades", "quote": "book_ticker", "depth": "order_book_update", "ticker": "tickers",
    "candle": "candlesticks", "liquidation": "public_liquidates",
}  # fmt: skip
UPGRADE: Final = "upgrade"
BY_CURRENCY_PAIR: Final = (b'"currency_pair":"', b'"contract":"')
SYMBOL_FIELDS: Final = {
    b"trades": BY_CURRENCY_PAIR, b"tickers": BY_CURRENCY_PAIR, b"public_liquidates": BY_CURRENCY_PAIR,
    b"book_ticker": (b'"s":"',), b"order_book_update": (b'"s":"',), b"candlesticks": (b'"n":"',),
}  # fmt: skip


class _Failure(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Reply(msgspec.Struct, frozen=True):
    channel: str = ""
    event: str = ""
    id: int | None = None
    error: _Failure | None = None


class _Said(msgspec.Struct, frozen=True):
    type: str = ""
    msg: str = ""


class _System(msgspec.Struct, frozen=True):
    """What the venue says of its service."""

    channel: Literal["spot.system", "futures.system"]
    result: _Said


_REPLY = msgspec.json.Decoder(_Reply)
_SYSTEM = msgspec.json.Decoder(_System)


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel; None = the market has no such channel. What tickers tell is one channel with them.

    >>> full_channel("futures", "funding"), full_channel("spot", "candle_1w"), full_channel("spot", "funding")
    ('ticker', 'candle_1w', None)
    """
    if channel.startswith("candle_") and channel.removeprefix("candle_") in INTERVALS:
        return channel
    if channel not in CHANNELS[market]:
        return None
    return "ticker" if channel in OF_TICKERS else channel


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a symbol, the market's prefix left out.

    >>> stream_name("BTC_USDT", "depth"), stream_name("BTC_USDT", "candle_1w")
    ('order_book_update:BTC_USDT', 'candlesticks:7d_BTC_USDT')
    """
    kind = kind_of(full_channel)
    if kind == "candle":
        return f"{OWN_NAMES[kind]}:{INTERVALS[full_channel.removeprefix('candle_')]}_{venue_symbol}"
    return f"{OWN_NAMES[kind]}:{venue_symbol}"


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot."""
    return "rest" if full_channel == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL that serves a market (base None = the venue's own host)."""
    del full_channel
    return (base or STREAM_URLS[market]) + STREAM_PATHS[market]


def door(market: str, base: str | None) -> Door:
    """Ask for sizes of contracts with their decimals."""
    del base
    return Door() if market == "spot" else Door(headers=DECIMAL_SIZES)


connect_url = same_url
next_page = one_page


class GateTalk(Talk):
    """A request a channel, of many symbols; books and candles take a symbol a request. Pings name the market."""

    PING = b"ping"
    PING_EVERY_S = 15.0

    def __init__(self, market: str) -> None:
        super().__init__(LIMITS[market])
        self._prefix = "spot" if market == "spot" else "futures"

    def topic(self, stream: Stream) -> str:
        """Tell what is asked for by itself, and what with others."""
        channel, _, of = stream.name.partition(":")
        return f"{channel}:{of}" if channel in {"order_book_update", "candlesticks"} else channel

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request, with this number as id, that subscribes to a channel, or ends that."""
        channel = streams[0].name.partition(":")[0]
        names = [each.name.partition(":")[2] for each in streams]
        if channel == "order_book_update":
            names.append("100ms")  # with a level, what falls out of the best is never told again
        elif channel == "candlesticks":
            names = list(names[0].split("_", 1))
        request = {
            "time": number,
            "id": number,
            "channel": f"{self._prefix}.{channel}",
            "event": verb,
            "payload": names,
        }
        return msgspec.json.encode(request)

    def ping(self, now_us: int) -> bytes:
        """Make the venue's own ping."""
        return msgspec.json.encode({"time": now_us // 1_000_000, "channel": f"{self._prefix}.ping"})

    def stream_of(self, payload: bytes) -> bytes:
        """Tell the stream by channel and symbol; b"" = it is no update."""
        if b'"event":"update"' not in payload:
            return b""
        channel = cut(payload, b'"channel":"').partition(b".")[2]
        for field in SYMBOL_FIELDS.get(channel, ()):
            symbol = cut(payload, field)
            if symbol:
                return channel + b":" + symbol
        return b""

    def answer(self, payload: bytes) -> Answer | None:
        """Read what is no market data."""
        try:
            reply = _REPLY.decode(payload)
        except MALFORMED:
            return None
        if reply.event in {"subscribe", "unsubscribe"} and reply.id is not None:
            if reply.error is not None and reply.error.code:
                return self.rejected(reply.id, f"{reply.error.code} {reply.error.message}")
            return self.accepted(reply.id)
        if reply.channel.endswith(".system"):
            return _announced(payload)
        return Answer() if reply.channel.endswith(".pong") else None


def _announced(payload: bytes) -> Answer | None:
    """Read that the connection will be closed for an upgrade, as is said since 2026-02."""
    try:
        said = _SYSTEM.decode(payload).result
    except MALFORMED:
        return None
    return Answer(shutdown=said.msg or said.type) if said.type == UPGRADE else None


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return GateTalk(market)


def depth_request(market: str, venue_symbol: str, base: str | None, books: int) -> Request:
    """Make the request for a depth snapshot, with its update id."""
    del books
    url = f"{_rest(market, base)}/order_book?{_named(market, venue_symbol)}&limit={DEPTH_LEVELS}&with_id=true"
    return Request(url=url, weight=1, headers=_sizes(market))


class _PastTrade(msgspec.Struct, frozen=True):
    create_time: msgspec.Raw  # seconds, of spot as text, of contracts with a fraction


_PAST_TRADES = msgspec.json.Decoder(list[_PastTrade])


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request | None:
    """Make the request for the newest trades of the time in which some are missing; None = it is not known."""
    del is_keyed
    if not missing.after_time_us or not missing.until_time_us:
        return None
    first_s, end_s = seconds_of(missing)
    url = f"{_rest(market, base)}/trades?{_named(market, missing.venue_symbol)}&limit={PAST_TRADES}&from={first_s}"
    return Request(url=f"{url}&to={end_s}", weight=1, headers=_sizes(market))


def next_trades(request: Request, body: bytes, missing: Missing) -> Request | None:
    """Make the request for older ones, with those of the oldest second once more; None = that was the last.

    Raises:
        ValueError: the body holds no trades.
    """
    del missing
    seconds = [int(bytes(each.create_time).strip(b'"').partition(b".")[0]) for each in _PAST_TRADES.decode(body)]
    head, _, end_s = request.url.partition("&to=")
    if len(seconds) < PAST_TRADES or min(seconds) + 1 >= int(end_s):
        return None
    return Request(url=f"{head}&to={min(seconds) + 1}", weight=1, headers=request.headers)


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the request for an instrument list; it comes whole, whatever is wanted."""
    del symbols
    path = "/currency_pairs" if market == "spot" else "/contracts"
    return [Request(url=_rest(market, base) + path, weight=1)]


def _named(market: str, venue_symbol: str) -> str:
    return f"{'currency_pair' if market == 'spot' else 'contract'}={quote(venue_symbol)}"


def _sizes(market: str) -> tuple[tuple[str, str], ...]:
    return () if market == "spot" else tuple(DECIMAL_SIZES.items())


def _rest(market: str, base: str | None) -> str:
    return (base or REST_URL) + REST_PATHS[market]
