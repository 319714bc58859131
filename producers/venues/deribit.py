"""Deribit on the wire: JSON-RPC over WebSocket, without a key; pure.

Source: https://docs.deribit.com/articles/notifications
Source: https://docs.deribit.com/articles/rate-limits
"""

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from producers.dialogue import MALFORMED, Talk, Verb, cut
from producers.wire import (
    Answer,
    Dialogue,
    Limits,
    Missing,
    Request,
    SnapshotBy,
    Stream,
    kind_of,
    no_depth_request,
    no_door,
    one_page,
    same_url,
)
from schemas.venues.deribit import VOLATILITY_INDICES

NAME: Final = "DERIBIT"
MARKETS: Final[tuple[str, ...]] = ("futures", "options", "spot")
KINDS: Final = {"futures": "future", "options": "option", "spot": "spot"}
QUIET_CHANNELS: Final[frozenset[str]] = frozenset()
SHARED_CHANNELS: Final = frozenset({"volatility_index"})
STREAM_URL: Final = "wss://www.deribit.com"
REST_URL: Final = "https://www.deribit.com"
HEARTBEAT_S: Final = 30  # after which the venue asks whether we are there
PAST_TRADES_PATH: Final = "/api/v2/public/get_last_trades_by_instrument"
PAST_TRADES: Final = 1000  # of a page
LIFE_S: Final = 24 * 3600.0  # the venue names no limit
ALL_CHANNELS: Final = ("trade", "quote", "depth", "ticker", "candle_1m", "mark_price", "index")
CHANNELS: Final = {
    "futures": (*ALL_CHANNELS, "funding", "open_interest", "liquidation"),
    "options": (*ALL_CHANNELS, "open_interest", "liquidation", "volatility_index"),
    "spot": ALL_CHANNELS,
}
FULL_NAMES: Final = {
    "depth": "depth@100ms", "trade": "trade@100ms", "liquidation": "trade@100ms", "ticker": "ticker@100ms",
    "mark_price": "ticker@100ms", "index": "ticker@100ms", "funding": "ticker@100ms", "open_interest": "ticker@100ms",
}  # fmt: skip
"""Liquidations are told with trades; all facts about a contract with its ticker."""
TEMPLATES: Final = {
    "trade": "trades.{}.{}", "depth": "book.{}.{}", "ticker": "ticker.{}.{}", "quote": "quote.{}",
    "candle": "chart.trades.{}.{}",
}  # fmt: skip
INTERVAL_NAMES: Final = {
    "1m": "1", "3m": "3", "5m": "5", "10m": "10", "15m": "15", "30m": "30", "1h": "60", "2h": "120", "3h": "180",
    "6h": "360", "12h": "720", "1d": "1D",
}  # fmt: skip
SPEED: Final = re.compile(r"(depth|trade|ticker)@(100ms|agg2)")
INDEX_NAME: Final = re.compile(r"[a-z0-9]+_[a-z0-9]+")
VOLATILITY: Final = "deribit_volatility_index."
LIMIT: Final = Limits(
    streams_per_connection=500,
    streams_per_request=200,
    messages_per_s=3.0,
    weight_per_window=60,
    life_s=LIFE_S,
    connects_per_s=1.0,  # requests of all connections cost credits of the address
    connections=32,
    shared_as="all",
)
LIMITS: Final = dict.fromkeys(MARKETS, LIMIT)


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel with its speed; None = the market has no such channel.

    >>> full_channel("futures", "funding"), full_channel("spot", "candle_1h"), full_channel("spot", "funding")
    ('ticker@100ms', 'candle_1h', None)
    """
    full = FULL_NAMES.get(channel, channel)
    if kind_of(full) == "candle":
        return full if full.removeprefix("candle_") in INTERVAL_NAMES else None
    return full if channel in CHANNELS[market] or SPEED.fullmatch(channel) else None


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the venue's channel; an option leads to the volatility index of its base currency, where there is one.

    >>> stream_name("BTC-PERPETUAL", "depth@100ms"), stream_name("BTC-25DEC26-60000-C", "volatility_index")
    ('book.BTC-PERPETUAL.100ms', 'deribit_volatility_index.btc_usd')
    >>> stream_name("SOL_USDC-25DEC26-200-C", "volatility_index"), stream_name("btc_usd", "depth@100ms")
    ('', '')
    """
    kind, speed = kind_of(full_channel), full_channel.partition("@")[2]
    if kind == "volatility_index":
        index = VOLATILITY_INDICES.get(re.split("[-_]", venue_symbol)[0].upper())
        return f"{VOLATILITY}{index}" if index else ""
    if INDEX_NAME.fullmatch(venue_symbol):
        return ""  # an index has nothing else
    return TEMPLATES[kind].format(venue_symbol, INTERVAL_NAMES.get(full_channel.removeprefix("candle_"), speed))


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot: it is the first message."""
    return "resubscribe" if kind_of(full_channel) == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL (base None = the venue's own host)."""
    del market, full_channel
    return f"{base or STREAM_URL}/ws/api/v2"


class _Params(msgspec.Struct, frozen=True):
    type: str = ""


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""
    data: Any = None


class _Reply(msgspec.Struct, frozen=True):
    id: int | None = None
    result: Any = None
    error: _Error | None = None
    method: str = ""
    params: _Params | None = None


class _PastTrade(msgspec.Struct, frozen=True):
    trade_seq: int


class _PastTrades(msgspec.Struct, frozen=True):
    trades: list[_PastTrade]
    has_more: bool


class _Past(msgspec.Struct, frozen=True):
    result: _PastTrades


_REPLY = msgspec.json.Decoder(_Reply)
_PAST = msgspec.json.Decoder(_Past)


class DeribitTalk(Talk):
    """Requests with ids; an answer names the channels that were granted; heartbeats are answered."""

    def opening(self) -> Sequence[bytes]:
        """Ask to be asked whether we are there, so that a dead connection is noticed by both."""
        return (_call("public/set_heartbeat", 0, {"interval": HEARTBEAT_S}),)

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request, with this number as id, that subscribes to channels, or ends that."""
        return _call(f"public/{verb}", number, {"channels": [each.name for each in streams]})

    def stream_of(self, payload: bytes) -> bytes:
        """Cut the channel out of a notification; b"" = it is none."""
        return cut(payload, b'"channel":"')

    def answer(self, payload: bytes) -> Answer | None:
        """Read what is no market data; None = neither an answer nor a heartbeat."""
        try:
            reply = _REPLY.decode(payload)
        except MALFORMED:
            return None
        if reply.method == "heartbeat":
            is_asked = reply.params is not None and reply.params.type == "test_request"
            return Answer(sends=(_call("public/test", 0, {}),) if is_asked else ())
        if reply.error is not None:
            text = f"{reply.error.code} {reply.error.message} {reply.error.data or ''}".strip()
            return Answer() if reply.id == 0 else self.rejected(reply.id, text)
        return None if reply.id is None else self._granted(reply.id, reply.result)

    def _granted(self, number: int, result: object) -> Answer:
        """Take the channels that are named for granted, and those that are not for refused."""
        asked = self.accepted(number).subscribed
        named = [each for each in result if isinstance(each, str)] if isinstance(result, list) else []
        refused = tuple(each for each in asked if each not in named)
        reason = "the answer does not name it" if refused else ""
        return Answer(subscribed=tuple(each for each in asked if each in named), refused=refused, refusal=reason)


def _call(method: str, number: int, parameters: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters})


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return DeribitTalk(LIMITS[market])


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request:
    """Make the request for missing trades, by `trade_seq`, from the first on.

    Source: https://docs.deribit.com/api-reference/market-data/public-get_last_trades_by_instrument
    """
    del market, is_keyed
    query = urlencode({"instrument_name": missing.venue_symbol, "count": PAST_TRADES, "sorting": "asc"})
    return _past_trades(f"{base or REST_URL}{PAST_TRADES_PATH}?{query}", missing.first_id, missing.last_id)


def next_trades(request: Request, body: bytes, missing: Missing) -> Request | None:
    """Make the request for the page that follows; None = that was the last.

    Raises:
        ValueError: the body holds no trades.
    """
    result = _PAST.decode(body).result
    if not result.has_more or not result.trades:
        return None
    head = request.url.partition("&start_seq=")[0]
    return _past_trades(head, max(each.trade_seq for each in result.trades) + 1, missing.last_id)


def _past_trades(head: str, first: int, last: int) -> Request:
    return Request(url=f"{head}&start_seq={first}&end_seq={last}", weight=1)


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the request for the instruments of a market, of all currencies."""
    del symbols
    path = "/api/v2/public/get_instruments"
    return [Request(url=f"{base or REST_URL}{path}?currency=any&kind={KINDS[market]}&expired=false", weight=1)]


depth_request = no_depth_request
door = no_door
connect_url = same_url
next_page = one_page
