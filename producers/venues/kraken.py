"""Kraken on the wire: URLs, channels and limits of the markets spot (WebSocket API 2), spot_v1 (API 1), futures; pure.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-intro
Source: https://docs.kraken.com/api/docs/guides/futures-rate-limits
Source: https://docs.kraken.com/api/docs/rest-api/get-tradable-asset-pairs
"""

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from producers.venues.kraken_talks import FUTURES_MINUTES, FuturesTalk, SpotTalk, SpotV1Talk
from producers.wire import (
    Dialogue,
    Limits,
    Missing,
    Request,
    SnapshotBy,
    kind_of,
    no_depth_request,
    no_door,
    one_page,
    same_url,
)

NAME: Final = "KRAKEN"
MARKETS: Final[tuple[str, ...]] = ("spot", "spot_v1", "futures")
QUIET_CHANNELS: Final[frozenset[str]] = frozenset()
SHARED_CHANNELS: Final[frozenset[str]] = frozenset()

STREAM_URLS: Final = {
    "spot": "wss://ws.kraken.com",
    "spot_v1": "wss://ws.kraken.com",
    "futures": "wss://futures.kraken.com",
}
STREAM_PATHS: Final = {"spot": "/v2", "spot_v1": "/", "futures": "/ws/v1"}
SPOT_REST_URL: Final = "https://api.kraken.com"
FUTURES_REST_URL: Final = "https://futures.kraken.com/derivatives"
LIST_CLASSES: Final = ("currency", "tokenized_asset")  # of pairs, which are listed by class


def _limits(messages_per_s: float, shared_as: str) -> Limits:
    return Limits(
        streams_per_connection=200,
        streams_per_request=50,
        messages_per_s=messages_per_s,
        weight_per_window=60,
        life_s=23.5 * 3600,  # none is documented
        connects_per_window=150,
        connects_window_s=600.0,
        connects_per_s=2.0,
        shared_as=shared_as,
    )


LIMITS: Final = {
    "spot": _limits(5.0, "spot"),  # no number is documented
    "spot_v1": _limits(5.0, "spot"),
    "futures": _limits(50.0, ""),  # 100
}

OLD_NAMES: Final = {"BTC": "XBT", "DOGE": "XDG"}  # of REST and the first API
MINUTES: Final = {
    "1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440, "1w": 10080, "15d": 21600,
}  # fmt: skip
ALL_MINUTES: Final = MINUTES | FUTURES_MINUTES
DEPTHS: Final = ("depth@10", "depth@25", "depth@100", "depth@500", "depth@1000")
DEEPEST: Final = DEPTHS[-1]
SPOT_CHANNELS: Final = ("trade", "quote", "depth", "ticker", "candle_1m")
FUTURES_CHANNELS: Final = (
    "trade", "quote", "depth", "ticker", "candle_1m", "mark_price", "index", "funding", "open_interest", "liquidation",
)  # fmt: skip
CHANNELS: Final = {"spot": SPOT_CHANNELS, "spot_v1": SPOT_CHANNELS, "futures": FUTURES_CHANNELS}
SPOT_SAME: Final = {"quote": "ticker"}  # with each change of the best quote
FUTURES_SAME: Final = {
    "quote": "ticker", "mark_price": "ticker", "index": "ticker", "funding": "ticker", "open_interest": "ticker",
    "liquidation": "trade",
}  # fmt: skip


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel; None = the market has no such channel.

    >>> full_channel("spot", "depth"), full_channel("spot", "quote"), full_channel("futures", "candle_12h")
    ('depth@1000', 'ticker', 'candle_12h')
    """
    if market == "futures":
        kind, _, interval = channel.partition("_")
        is_known = channel in FUTURES_CHANNELS or (kind == "candle" and interval in FUTURES_MINUTES)
        return FUTURES_SAME.get(channel, channel) if is_known else None
    if channel in DEPTHS or (channel.startswith("candle_") and channel.removeprefix("candle_") in MINUTES):
        return channel
    if channel not in SPOT_CHANNELS:
        return None
    if channel == "depth":
        return DEEPEST
    return SPOT_SAME.get(channel, channel) if market == "spot" else channel


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a symbol: channel as our word, what it is told by, symbol.

    >>> stream_name("BTC/USD", "depth@1000"), stream_name("BTC/USD", "candle_1h")
    ('depth@1000 BTC/USD', 'candle@60 BTC/USD')
    """
    if kind_of(full_channel) == "candle":
        return f"candle@{ALL_MINUTES[full_channel.removeprefix('candle_')]} {venue_symbol}"
    return f"{full_channel} {venue_symbol}"


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot: it is the first message of a subscription."""
    return "resubscribe" if kind_of(full_channel) == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL of a market (base None = the venue's own host)."""
    del full_channel
    return (base or STREAM_URLS[market]) + STREAM_PATHS[market]


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return TALKS[market](LIMITS[market])


class _Past(msgspec.Struct, frozen=True):
    """An answer of past trades: by the venue's own name of the pair, and `last`."""

    result: dict[str, msgspec.Raw]


class _PastTrade(msgspec.Struct, frozen=True, array_like=True):
    price: msgspec.Raw
    volume: msgspec.Raw
    time: msgspec.Raw
    side: msgspec.Raw
    order: msgspec.Raw
    miscellaneous: msgspec.Raw
    trade_id: int


_PAST = msgspec.json.Decoder(_Past)
_PAST_TRADES = msgspec.json.Decoder(list[_PastTrade])
_LAST = msgspec.json.Decoder(str)


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request | None:
    """Make the request for missing trades by the time of the one before them; None = the venue tells none.

    The first API of spot has no ids, of futures the newest are told. What follows # is not sent: it names the pair as
    the stream does, for whoever reads the answer.
    Source: https://docs.kraken.com/api/docs/rest-api/get-recent-trades
    Source: https://docs.kraken.com/api-reference/market-data/get-trade-history
    """
    del is_keyed
    if market == "futures":
        return Request(url=f"{base or FUTURES_REST_URL}/api/v3/history?symbol={quote(missing.venue_symbol)}", weight=1)
    if market != "spot" or not missing.after_time_us:
        return None
    names = (OLD_NAMES.get(each, each) for each in missing.venue_symbol.partition("/")[::2])
    head = f"{base or SPOT_REST_URL}/0/public/Trades?pair={quote(''.join(names))}"
    return _past_trades(head, (missing.after_time_us - 1) * 1000, missing)


def next_trades(request: Request, body: bytes, missing: Missing) -> Request | None:
    """Make the request for the page that follows; None = that was the last.

    Raises:
        ValueError: the body holds no trades.
    """
    if "#" not in request.url:
        return None
    result = _PAST.decode(body).result
    last = int(_LAST.decode(result.pop("last", msgspec.Raw(b""))))
    trades = [each for rows in result.values() for each in _PAST_TRADES.decode(rows)]
    head, _, since = request.url.partition("#")[0].partition("&since=")
    if not trades or max(each.trade_id for each in trades) >= missing.last_id or last <= int(since):
        return None
    return _past_trades(head, last, missing)


def _past_trades(head: str, since_ns: int, missing: Missing) -> Request:
    return Request(url=f"{head}&since={since_ns}#{quote(missing.venue_symbol)}", weight=1)


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the requests for an instrument list; it comes whole, whatever is wanted, pairs by class."""
    del symbols
    if market == "futures":
        return [Request(url=f"{base or FUTURES_REST_URL}/api/v3/instruments", weight=1)]
    url = f"{base or SPOT_REST_URL}/0/public/AssetPairs"
    return [Request(url=f"{url}?aclass_base={each}", weight=1) for each in LIST_CLASSES]


TALKS: Final[dict[str, Callable[[Limits], Dialogue]]] = {
    "spot": SpotTalk,
    "spot_v1": SpotV1Talk,
    "futures": FuturesTalk,
}
depth_request = no_depth_request
door = no_door
connect_url = same_url
next_page = one_page
