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

from producers.dialogue import MALFORMED, Talk, Verb
from producers.wire import (
    Answer,
    Dialogue,
    Limits,
    Missing,
    Request,
    SnapshotBy,
    Stream,
    kind_of,
    no_door,
    one_page,
    same_url,
)

NAME: Final = "BINANCE"
MARKETS: Final[tuple[str, ...]] = ("spot", "usdm", "coinm")
QUIET_CHANNELS: Final = frozenset({"forceOrder"})
SHARED_CHANNELS: Final[frozenset[str]] = frozenset()

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
DEEP_BOOK: Final = (5000, 250)  # the same of spot, where it can be afforded
MOST_DEEP_BOOKS: Final = 4  # all at once are let through without a wait, a fifth of a minute's weight
DEPTH_WEIGHTS: Final = {"spot": 50, "usdm": 20, "coinm": 20}
PAST_TRADES: Final = 1000  # of a page
KEYED_PAST_TRADES: Final = 500  # the same where a key is wanted
SPOT_TERMS: Final = (25, "")  # weight, and header of the key
KEYED_TERMS: Final = (20, "X-MBX-APIKEY")
NEWEST_TRADES_WEIGHT: Final = 5
LIST_WEIGHTS: Final = {"spot": 20, "usdm": 1, "coinm": 1}
LIST_SYMBOLS: Final = 100  # asked for by name in one request; more are asked for with the whole list
LIFE_S: Final = 23.5 * 3600  # the venue cuts a connection after 24 h


def _limits(messages_per_s: float, weight_per_minute: int) -> Limits:
    return Limits(
        streams_per_connection=200,  # the venue takes 1,024: fewer are lost with one
        streams_per_request=100,
        messages_per_s=messages_per_s,
        weight_per_window=weight_per_minute,
        life_s=LIFE_S,
    )


LIMITS: Final = {"spot": _limits(4.0, 6000), "usdm": _limits(8.0, 2400), "coinm": _limits(8.0, 2400)}
"""Messages are fewer than the venue takes, 5 and 10 a second: answers to its pings count."""

OWN_NAMES: Final = {
    "agg_trade": "aggTrade", "quote": "bookTicker", "mark_price": "markPrice", "index": "markPrice",
    "funding": "markPrice", "liquidation": "forceOrder",
}  # fmt: skip
"""The venue's channels by our words; its own are understood too."""
FUTURES_ONLY: Final = frozenset({"markPrice", "forceOrder"})
DEFAULT_SPEEDS: Final = {"depth": "depth@100ms", "markPrice": "markPrice@1s"}
SPOT_CHANNELS: Final = ("trade", "agg_trade", "quote", "depth", "candle_1m", "ticker")
FUTURES_CHANNELS: Final = (*SPOT_CHANNELS, "mark_price", "index", "funding", "liquidation")
CHANNELS: Final = {"spot": SPOT_CHANNELS, "usdm": FUTURES_CHANNELS, "coinm": FUTURES_CHANNELS}
CHANNELS_OF_ONE_SPEED: Final = frozenset({"trade", "aggTrade", "bookTicker", "ticker", "forceOrder"})
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


class _PastTrade(msgspec.Struct, frozen=True):
    id: int


_REPLY = msgspec.json.Decoder(_Reply)
_PAST_TRADES = msgspec.json.Decoder(list[_PastTrade])


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel with its default speed; None = the market has no such channel.

    >>> full_channel("spot", "depth"), full_channel("usdm", "candle_5m"), full_channel("spot", "funding")
    ('depth@100ms', 'kline_5m', None)
    """
    own = OWN_NAMES.get(channel, channel)
    own = f"kline_{own.removeprefix('candle_')}" if own.startswith("candle_") else own
    full = DEFAULT_SPEEDS.get(own, own)
    if own in FUTURES_ONLY and market == "spot":
        return None
    is_known = own in CHANNELS_OF_ONE_SPEED or SPEEDS[market].fullmatch(full) or KLINE.fullmatch(full)
    return full if is_known else None


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a symbol.

    >>> stream_name("BTCUSDT", "depth@100ms"), stream_name("BTCUSDT", "depth@250ms")
    ('btcusdt@depth@100ms', 'btcusdt@depth')
    """
    return f"{venue_symbol.lower()}@{UNNAMED_SPEEDS.get(full_channel, full_channel)}"


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot."""
    return "rest" if kind_of(full_channel) == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL of the combined stream that serves a channel (base None = the venue's own host)."""
    root = base or STREAM_URLS[market]
    if market != "usdm":
        return f"{root}/stream"
    route = "public" if full_channel.partition("@")[0] in USDM_PUBLIC else "market"
    return f"{root}/{route}/stream"


door = no_door
connect_url = same_url
next_page = one_page


class BinanceTalk(Talk):
    """Requests of the combined stream."""

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request, with this number as id, that subscribes to streams, or ends that."""
        request = {"method": verb.upper(), "params": [each.name for each in streams], "id": number}
        return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()

    def stream_of(self, payload: bytes) -> bytes:
        """Cut the stream's name out of a message of the combined stream; b"" = it is none."""
        if not payload.startswith(STREAM_FIELD):
            return b""
        return payload[STREAM_AT : payload.find(b'"', STREAM_AT)]

    def answer(self, payload: bytes) -> Answer | None:
        """Read what is no market data: an answer to a request, or the notice of a shutdown; None = neither."""
        try:
            reply = _REPLY.decode(payload)
        except MALFORMED:
            return None
        if reply.e == "serverShutdown" or "serverShutdown" in reply.stream:
            return Answer(shutdown="the venue shuts this connection down")
        if reply.error is not None:
            return self.rejected(reply.id, f"{reply.error.code} {reply.error.msg}")
        return None if reply.id is None else self.accepted(reply.id)


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return BinanceTalk(LIMITS[market])


def depth_request(market: str, venue_symbol: str, base: str | None, books: int) -> Request:
    """Make the request for a depth snapshot: of spot the deepest there is, as long as few books are kept."""
    is_deep = market == "spot" and books <= MOST_DEEP_BOOKS
    levels, weight = DEEP_BOOK if is_deep else (DEPTH_LEVELS, DEPTH_WEIGHTS[market])
    url = f"{_rest(market, base)}/depth?symbol={quote(venue_symbol)}&limit={levels}"
    return Request(url=url, weight=weight)


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request:
    """Make the request for missing trades from the first on; of futures, which want a key for that, else the newest.

    Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#old-trade-lookup
    Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Old-Trades-Lookup
    Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Recent-Trades-List
    """
    root, symbol = _rest(market, base), quote(missing.venue_symbol)
    if market == "spot":
        return _old_trades(f"{root}/historicalTrades?symbol={symbol}&limit={PAST_TRADES}", missing.first_id, SPOT_TERMS)
    if is_keyed:
        head = f"{root}/historicalTrades?symbol={symbol}&limit={KEYED_PAST_TRADES}"
        return _old_trades(head, missing.first_id, KEYED_TERMS)
    return Request(url=f"{root}/trades?symbol={symbol}&limit={PAST_TRADES}", weight=NEWEST_TRADES_WEIGHT)


def next_trades(request: Request, body: bytes, missing: Missing) -> Request | None:
    """Make the request for the page that follows; None = that was the last.

    Raises:
        ValueError: the body holds no trades.
    """
    head, from_id, _ = request.url.partition("&fromId=")
    ids = [each.id for each in _PAST_TRADES.decode(body)]
    if not from_id or not ids or max(ids) >= missing.last_id:
        return None
    return _old_trades(head, max(ids) + 1, (request.weight, request.key_header))


def _old_trades(head: str, from_id: int, terms: tuple[float, str]) -> Request:
    weight, key_header = terms
    return Request(url=f"{head}&fromId={from_id}", weight=weight, key_header=key_header)


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the requests for an instrument list: only of these venue symbols where the market can, () = of all."""
    url = f"{_rest(market, base)}/exchangeInfo"
    weight = LIST_WEIGHTS[market]
    if market != "spot":
        return [Request(url=url, weight=weight)]
    wanted = list(dict.fromkeys(each.upper() for each in symbols))
    if not 0 < len(wanted) <= LIST_SYMBOLS:
        return [Request(url=f"{url}?showPermissionSets=false", weight=weight)]
    names = quote(json.dumps(wanted, separators=(",", ":"), ensure_ascii=False))
    return [Request(url=f"{url}?symbols={names}&showPermissionSets=false", weight=weight)]


def _rest(market: str, base: str | None) -> str:
    return (base or REST_URLS[market]) + REST_PATHS[market]
