"""Binance on the wire: URLs, streams, requests and limits of the markets spot, usdm and coinm; pure.

Source: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
Source: https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams
"""

import json
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from producers.wire import Answer, Limits, Request

NAME: Final = "BINANCE"
MARKETS: Final[tuple[str, ...]] = ("spot", "usdm", "coinm")
QUIET_CHANNELS: Final = frozenset({"forceOrder"})

STREAM_URLS: Final = {
    "spot": "wss://stream.binance.com:9443",
    "usdm": "wss://fstream.binance.com",
    "coinm": "wss://dstream.binance.com",
}
REST_URLS: Final = {
    "spot": "https://api.binance.com",
    "usdm": "https://fapi.binance.com",
    "coinm": "https://dapi.binance.com",
}
REST_PATHS: Final = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}
DEPTH_LEVELS: Final = 1000
DEPTH_WEIGHTS: Final = {"spot": 50, "usdm": 20, "coinm": 20}
LIST_WEIGHTS: Final = {"spot": 20, "usdm": 1, "coinm": 1}
LIST_SYMBOLS: Final = 100  # asked for by name in one request; more are asked for with the whole list
LIFE_S: Final = 23.5 * 3600  # the venue cuts a connection after 24 h


def _limits(streams_per_connection: int, weight_per_minute: int) -> Limits:
    return Limits(
        streams_per_connection=streams_per_connection,
        streams_per_request=100,
        messages_per_s=5.0,
        weight_per_minute=weight_per_minute,
        life_s=LIFE_S,
    )


LIMITS: Final = {"spot": _limits(1024, 6000), "usdm": _limits(200, 2400), "coinm": _limits(200, 2400)}

DEFAULT_SPEEDS: Final = {"depth": "depth@100ms", "markPrice": "markPrice@1s"}
SPOT_CHANNELS: Final = ("trade", "aggTrade", "bookTicker", "depth", "kline_1m", "ticker")
FUTURES_CHANNELS: Final = (*SPOT_CHANNELS, "markPrice", "forceOrder")
CHANNELS: Final = {"spot": SPOT_CHANNELS, "usdm": FUTURES_CHANNELS, "coinm": FUTURES_CHANNELS}
SPEEDS: Final = {
    "spot": re.compile(r"depth@(100|1000)ms"),
    "usdm": re.compile(r"depth@(0|100|250|500)ms|markPrice@[13]s"),
    "coinm": re.compile(r"depth@(0|100|250|500)ms|markPrice@[13]s"),
}
# At these speeds the venue's streams carry none in their names.
UNNAMED_SPEEDS: Final = {"depth@1000ms": "depth", "depth@250ms": "depth", "markPrice@3s": "markPrice"}
KLINE: Final = re.compile(r"kline_(1s|1m|3m|5m|15m|30m|1h|2h|4h|6h|8h|12h|1d|3d|1w|1M)")

# USD-M splits its channels over two paths since 2026-04-23; a stream asked for on the other one stays silent.
USDM_PUBLIC: Final = frozenset({"depth", "bookTicker", "trade"})
STREAM_FIELD: Final = b'{"stream":"'
STREAM_AT: Final = len(STREAM_FIELD)


class _Refusal(msgspec.Struct, frozen=True):
    code: int = 0
    msg: str = ""


class _Reply(msgspec.Struct, frozen=True):
    id: int | None = None
    error: _Refusal | None = None
    e: str = ""
    stream: str = ""


_REPLY = msgspec.json.Decoder(_Reply)


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel with its default speed; None = the market has no such channel.

    >>> full_channel("spot", "depth")
    'depth@100ms'
    """
    full = DEFAULT_SPEEDS.get(channel, channel)
    is_known = channel in CHANNELS[market] or SPEEDS[market].fullmatch(full) or KLINE.fullmatch(full)
    return full if is_known else None


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a symbol.

    >>> stream_name("BTCUSDT", "depth@100ms"), stream_name("BTCUSDT", "depth@250ms")
    ('btcusdt@depth@100ms', 'btcusdt@depth')
    """
    return f"{venue_symbol.lower()}@{UNNAMED_SPEEDS.get(full_channel, full_channel)}"


def is_depth(full_channel: str) -> bool:
    """Tell whether a channel's messages need a depth snapshot to join."""
    return full_channel.startswith("depth")


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL of the combined stream that serves a channel (base None = the venue's own host)."""
    root = base or STREAM_URLS[market]
    if market != "usdm":
        return f"{root}/stream"
    route = "public" if full_channel.partition("@")[0] in USDM_PUBLIC else "market"
    return f"{root}/{route}/stream"


def subscribe(number: int, streams: Sequence[str]) -> bytes:
    """Make the request, with this number as id, that subscribes to streams.

    >>> subscribe(1, ["btcusdt@trade"])
    b'{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}'
    """
    request = {"method": "SUBSCRIBE", "params": list(streams), "id": number}
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()


def stream_of(payload: bytes) -> bytes:
    """Cut the stream's name out of a message of the combined stream; b"" = it is none."""
    if not payload.startswith(STREAM_FIELD):
        return b""
    return payload[STREAM_AT : payload.find(b'"', STREAM_AT)]


def answer(payload: bytes) -> Answer | None:
    """Read what is no market data: an answer to a request, or the notice of a shutdown; None = neither."""
    try:
        reply = _REPLY.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if reply.e == "serverShutdown" or "serverShutdown" in reply.stream:
        return Answer(is_shutdown=True)
    if reply.error is not None:
        return Answer(id=reply.id, refusal=f"{reply.error.code} {reply.error.msg}")
    return None if reply.id is None else Answer(id=reply.id)


def depth_request(market: str, venue_symbol: str, base: str | None) -> Request:
    """Make the request for a depth snapshot."""
    url = f"{_rest(market, base)}/depth?symbol={quote(venue_symbol)}&limit={DEPTH_LEVELS}"
    return Request(url=url, weight=DEPTH_WEIGHTS[market])


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the requests for an instrument list: only of these venue symbols where the market can, () = of all."""
    url = f"{_rest(market, base)}/exchangeInfo"
    weight = LIST_WEIGHTS[market]
    if market != "spot":
        return [Request(url=url, weight=weight)]
    if not 0 < len(symbols) <= LIST_SYMBOLS:
        return [Request(url=f"{url}?showPermissionSets=false", weight=weight)]
    names = quote(json.dumps(list(symbols), separators=(",", ":"), ensure_ascii=False))
    return [Request(url=f"{url}?symbols={names}&showPermissionSets=false", weight=weight)]


def _rest(market: str, base: str | None) -> str:
    return (base or REST_URLS[market]) + REST_PATHS[market]
