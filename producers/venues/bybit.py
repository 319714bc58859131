"""Bybit v5 on the wire: topics, requests and limits of the markets spot, linear and inverse; pure.

Source: https://bybit-exchange.github.io/docs/v5/ws/connect
Source: https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
Source: https://bybit-exchange.github.io/docs/v5/market/instrument
Source: https://bybit-exchange.github.io/docs/v5/rate-limit
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

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
    no_more_trades,
    same_url,
)

NAME: Final = "BYBIT"
MARKETS: Final[tuple[str, ...]] = ("spot", "linear", "inverse")
QUIET_CHANNELS: Final = frozenset({"liquidation"})
SHARED_CHANNELS: Final[frozenset[str]] = frozenset()

STREAM_URL: Final = "wss://stream.bybit.com"
REST_URL: Final = "https://api.bybit.com"
LIST_PATH: Final = "/v5/market/instruments-info"
PAGE: Final = 1000
PAST_TRADES: Final = {"spot": 60, "linear": 1000, "inverse": 1000}


def _limits(streams_per_request: int) -> Limits:
    return Limits(
        streams_per_connection=500,  # the venue takes 21,000 characters of topics on a connection: 42 a topic
        streams_per_request=streams_per_request,
        messages_per_s=10.0,
        weight_per_window=600,
        weight_window_s=5.0,
        life_s=23.5 * 3600,  # none is documented
        connects_per_window=500,
        connects_window_s=300.0,
        connects_per_s=5.0,
        bans={403: 600.0},  # "access too frequent": for ten minutes
        shared_as="all",
    )


LIMITS: Final = {"spot": _limits(10), "linear": _limits(100), "inverse": _limits(100)}

INTERVALS: Final = {
    "1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120", "4h": "240", "6h": "360",
    "12h": "720", "1d": "D", "1w": "W", "1M": "M",
}  # fmt: skip
BOOKS: Final = ("depth@50", "depth@200", "depth@1000")
SPOT_CHANNELS: Final = ("trade", "quote", "depth", "ticker", "candle_1m")
CONTRACT_CHANNELS: Final = (*SPOT_CHANNELS, "mark_price", "index", "funding", "open_interest", "liquidation")
CHANNELS: Final = {"spot": SPOT_CHANNELS, "linear": CONTRACT_CHANNELS, "inverse": CONTRACT_CHANNELS}
IN_TICKER: Final = frozenset({"mark_price", "index", "funding", "open_interest"})
TOPICS: Final = {"trade": "publicTrade", "quote": "orderbook.1", "ticker": "tickers", "liquidation": "allLiquidation"}

ALREADY: Final = "already subscribed"
TOPIC_FIELD: Final = b'{"topic":"'
TOPIC_AT: Final = len(TOPIC_FIELD)


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel; None = the market has no such channel.

    >>> full_channel("linear", "depth"), full_channel("linear", "funding"), full_channel("spot", "funding")
    ('depth@1000', 'ticker', None)
    """
    if channel == "depth":
        return "depth@1000"
    if channel in BOOKS or (channel.startswith("candle_") and channel.removeprefix("candle_") in INTERVALS):
        return channel
    if channel not in CHANNELS[market]:
        return None
    return "ticker" if channel in IN_TICKER else channel


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the topic of a symbol.

    >>> stream_name("BTCUSDT", "depth@200"), stream_name("BTCUSDT", "candle_1h")
    ('orderbook.200.BTCUSDT', 'kline.60.BTCUSDT')
    """
    kind = kind_of(full_channel)
    if kind == "depth":
        topic = f"orderbook.{full_channel.removeprefix('depth@')}"
    elif kind == "candle":
        topic = f"kline.{INTERVALS[full_channel.removeprefix('candle_')]}"
    else:
        topic = TOPICS[full_channel]
    return f"{topic}.{venue_symbol}"


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot: it is the first message of a topic."""
    return "resubscribe" if kind_of(full_channel) == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL that serves a channel (base None = the venue's own host)."""
    del full_channel
    return f"{base or STREAM_URL}/v5/public/{market}"


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    fail_topics: tuple[str, ...] = ()


class _Reply(msgspec.Struct, frozen=True):
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""
    data: _Data | None = None


_REPLY = msgspec.json.Decoder(_Reply)


class BybitTalk(Talk):
    """Requests with `req_id`, which answers repeat; pings of JSON."""

    PING = b'{"op":"ping"}'

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request, with this number as id, that subscribes to topics, or ends that."""
        return msgspec.json.encode({"req_id": str(number), "op": verb, "args": [each.name for each in streams]})

    def stream_of(self, payload: bytes) -> bytes:
        """Cut the topic out of a message; b"" = it has none."""
        if payload.startswith(TOPIC_FIELD):
            return payload[TOPIC_AT : payload.find(b'"', TOPIC_AT)]
        return cut(payload, b'"topic":"')

    def answer(self, payload: bytes) -> Answer | None:
        """Read an answer to a request; a refusal is of the whole request, unless it names topics."""
        try:
            reply = _REPLY.decode(payload)
        except MALFORMED:
            return None
        if reply.success is None or reply.op in {"ping", "pong"}:
            return None
        if reply.success:
            return self.accepted(reply.req_id)
        failed = reply.data.fail_topics if reply.data else ()
        answer = self.rejected(reply.req_id, reply.ret_msg)
        if ALREADY in reply.ret_msg and len(answer.refused) == 1:
            return Answer(subscribed=answer.refused)
        if not failed or not set(failed) < set(answer.refused):
            return answer
        granted = tuple(name for name in answer.refused if name not in failed)
        return Answer(subscribed=granted, refused=failed, refusal=answer.refusal)


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return BybitTalk(LIMITS[market])


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request:
    """Make the request for the newest trades: older ones are not told.

    Source: https://bybit-exchange.github.io/docs/v5/market/recent-trade
    """
    del is_keyed
    query = f"category={market}&symbol={quote(missing.venue_symbol)}&limit={PAST_TRADES[market]}"
    return Request(url=f"{base or REST_URL}/v5/market/recent-trade?{query}", weight=1)


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the request for the first page of an instrument list; it comes whole, whatever is wanted."""
    del symbols
    page = "" if market == "spot" else f"&limit={PAGE}"  # spot comes in one page
    return [Request(url=f"{base or REST_URL}{LIST_PATH}?category={market}{page}", weight=1)]


class _Result(msgspec.Struct, frozen=True, rename="camel"):
    next_page_cursor: str | None = None


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    result: _Result
    ret_code: int = 0
    ret_msg: str = ""


_PAGE = msgspec.json.Decoder(_Page)


def next_page(request: Request, body: bytes) -> Request | None:
    """Make the request that the page's cursor stands for; None = it was the last page.

    Raises:
        ValueError: the body is no page, but an error for example.
    """
    try:
        page = _PAGE.decode(body)
    except MALFORMED as error:
        raise ValueError(f"not a page of instruments: {error}") from error
    if page.ret_code:
        raise ValueError(f"{page.ret_code} {page.ret_msg[:100]}")
    cursor = page.result.next_page_cursor
    if not cursor:
        return None
    url = request.url.partition("&cursor=")[0]
    return Request(url=f"{url}&cursor={quote(cursor, safe='%')}", weight=request.weight)  # it comes encoded already


depth_request = no_depth_request
door = no_door
connect_url = same_url
next_trades = no_more_trades
