"""OKX v5 on the wire: channels, requests and limits of the markets spot, swap, futures and option; pure.

Source: https://www.okx.com/docs-v5/en/#overview-websocket-connect
Source: https://www.okx.com/docs-v5/en/#overview-websocket-subscribe
Source: https://www.okx.com/docs-v5/en/#overview-websocket-notification
Source: https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments
Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history
"""

import re
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
    one_page,
    same_url,
)

NAME: Final = "OKX"
MARKETS: Final[tuple[str, ...]] = ("spot", "swap", "futures", "option")
QUIET_CHANNELS: Final = frozenset({"funding", "liquidation"})  # funding rates come every 30 to 90 s
SHARED_CHANNELS: Final = frozenset({"index", "liquidation"})

STREAM_URL: Final = "wss://ws.okx.com:8443"
REST_URL: Final = "https://www.okx.com"
FAMILIES: Final = ("BTC-USD", "ETH-USD")  # of options, which are listed by family

_LIMITS: Final = Limits(
    streams_per_connection=400,
    streams_per_request=400,
    request_bytes=60_000,  # the venue takes 64 KB
    messages_per_s=3.0,
    messages_per_hour=480,
    weight_per_window=20,
    weight_window_s=2.0,
    life_s=23.5 * 3600,  # none is documented
    connects_per_window=3,
    connects_window_s=1.0,
    connects_per_s=2.0,
    shared_as="all",
)
LIMITS: Final = dict.fromkeys(MARKETS, _LIMITS)

PAST_TRADES: Final = 100  # of a page
INTERVALS: Final = {
    "1s": "1s", "1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H", "2h": "2H", "4h": "4H",
    "6h": "6Hutc", "12h": "12Hutc", "1d": "1Dutc", "2d": "2Dutc", "3d": "3Dutc", "1w": "1Wutc", "1M": "1Mutc",
}  # fmt: skip
"""From six hours on the venue's own days begin at 16:00 UTC, unless it is asked for UTC."""
SPOT_CHANNELS: Final = ("trade", "quote", "depth", "ticker", "candle_1m")
CONTRACT_CHANNELS: Final = (*SPOT_CHANNELS, "mark_price", "open_interest", "liquidation")
CHANNELS: Final = {
    "spot": SPOT_CHANNELS,
    "swap": (*CONTRACT_CHANNELS, "index", "funding"),
    "futures": (*CONTRACT_CHANNELS, "index", "funding"),
    "option": CONTRACT_CHANNELS,
}
OWN_NAMES: Final = {
    "trade": "trades-all", "quote": "bbo-tbt", "depth": "books", "ticker": "tickers",
    "mark_price": "mark-price", "open_interest": "open-interest", "index": "index-tickers", "funding": "funding-rate",
}  # fmt: skip
BUSINESS: Final = frozenset({"trade", "candle"})
SHUTDOWN: Final = "64008"
DATED: Final = re.compile(r"[^-]+-[A-Z0-9]+(_UM)?-\d{6}")  # X-Perps have a day in their names too, and funding
NAMED: Final = re.compile(r"channel:(?P<channel>[^,]+),inst(?:Id|Type):(?P<of>\S+)")


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel; None = the market has no such channel.

    >>> full_channel("swap", "liquidation"), full_channel("spot", "candle_1d"), full_channel("spot", "funding")
    ('liquidation@SWAP', 'candle_1d', None)
    """
    if channel.startswith("candle_") and channel.removeprefix("candle_") in INTERVALS:
        return channel
    liquidations = f"liquidation@{market.upper()}"
    if channel in {"liquidation", liquidations}:
        return liquidations if "liquidation" in CHANNELS[market] else None
    return channel if channel in CHANNELS[market] else None


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a symbol: channel and what it is of.

    An index is told of the swaps and X-Perps named after it, whatever their margin, as is funding: not of what expires.

    >>> stream_name("BTC-USDT-SWAP", "depth"), stream_name("BTC-USDT-SWAP", "index")
    ('books:BTC-USDT-SWAP', 'index-tickers:BTC-USDT')
    >>> stream_name("BTC-USDT-SWAP", "liquidation@SWAP"), stream_name("BTC-USDT", "candle_1h")
    ('liquidation-orders:SWAP', 'candle1H:BTC-USDT')
    >>> stream_name("BTC-USD_UM-SWAP", "index"), stream_name("BTC-USD_UM_XPERP-310404", "index")
    ('index-tickers:BTC-USD', 'index-tickers:BTC-USD')
    >>> stream_name("BTC-USD-261225", "index"), stream_name("BTC-USD-261225", "funding")
    ('', '')
    """
    kind = kind_of(full_channel)
    if kind == "liquidation":
        return f"liquidation-orders:{full_channel.removeprefix('liquidation@')}"
    if kind == "candle":
        return f"candle{INTERVALS[full_channel.removeprefix('candle_')]}:{venue_symbol}"
    if kind in {"funding", "index"} and DATED.fullmatch(venue_symbol):
        return ""
    of = "-".join(venue_symbol.split("-")[:2]).partition("_")[0] if kind == "index" else venue_symbol
    return f"{OWN_NAMES[full_channel]}:{of}"


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot: it is the first message of a subscription."""
    return "resubscribe" if full_channel == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL that serves a channel (base None = the venue's own host)."""
    del market
    return f"{base or STREAM_URL}/ws/v5/{'business' if kind_of(full_channel) in BUSINESS else 'public'}"


class _Arg(msgspec.Struct, frozen=True, rename="camel"):
    channel: str = ""
    inst_id: str = ""
    inst_type: str = ""

    @property
    def name(self) -> str:
        return f"{self.channel}:{self.inst_id or self.inst_type}"


class _Event(msgspec.Struct, frozen=True):
    event: str = ""
    arg: _Arg = _Arg()
    id: str = ""
    code: str = ""
    msg: str = ""


_EVENT = msgspec.json.Decoder(_Event)


class OkxTalk(Talk):
    """Answers name one stream each, errors name it in their text alone; pings are the word."""

    PING = b"ping"

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._names: dict[bytes, bytes] = {}  # by the `arg` of messages

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request, with this number as id, that subscribes to channels, or ends that."""
        args = [_arg(each.name) for each in streams]
        return msgspec.json.encode({"id": str(number), "op": verb, "args": args})

    def stream_of(self, payload: bytes) -> bytes:
        """Tell the stream by the `arg` that a message begins with; b"" = it has none."""
        if not payload.startswith(b'{"arg":'):
            return b""
        arg = payload[: payload.find(b"}")]
        name = self._names.get(arg)
        if name is None:
            of = cut(arg, b'"instId":"') or cut(arg, b'"instType":"')
            name = cut(arg, b'"channel":"') + b":" + of
            if self._is_asked(name.decode(errors="replace")):
                self._names[arg] = name
        return name

    def answer(self, payload: bytes) -> Answer | None:
        """Read what is no market data."""
        try:
            event = _EVENT.decode(payload)
        except MALFORMED:
            return None
        if event.event == "subscribe":
            return Answer(subscribed=(event.arg.name,))
        if event.event == "notice":
            return Answer(shutdown=f"{event.code} {event.msg}") if event.code == SHUTDOWN else Answer()
        return self._error(event) if event.event == "error" else None

    def _error(self, event: _Event) -> Answer:
        refusal = f"{event.code} {event.msg}"
        named = NAMED.search(event.msg)
        if named and self._is_asked(name := f"{named['channel']}:{named['of']}"):
            return Answer(refused=(name,), refusal=refusal)
        asked = self.asked.get(event.id)
        return Answer() if asked == () else Answer(refused=asked or (), refusal=refusal)

    def _is_asked(self, name: str) -> bool:
        return any(name in names for names in self.asked.values())


def _arg(name: str) -> dict[str, str]:
    channel, _, of = name.partition(":")
    return {"channel": channel, "instType" if channel == "liquidation-orders" else "instId": of}


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return OkxTalk(LIMITS[market])


class _PastTrade(msgspec.Struct, frozen=True, rename="camel"):
    trade_id: str


class _PastTrades(msgspec.Struct, frozen=True):
    code: str
    data: list[_PastTrade]
    msg: str = ""


_PAST_TRADES = msgspec.json.Decoder(_PastTrades)


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request:
    """Make the request for missing trades, from the last one backwards."""
    del market, is_keyed
    symbol = quote(missing.venue_symbol, safe="")
    url = f"{base or REST_URL}/api/v5/market/history-trades?instId={symbol}&type=1&limit={PAST_TRADES}"
    return Request(url=f"{url}&after={missing.last_id + 1}", weight=1)


def next_trades(request: Request, body: bytes, missing: Missing) -> Request | None:
    """Make the request for the page that follows; None = that was the last.

    Raises:
        ValueError: the body holds no trades.
    """
    page = _PAST_TRADES.decode(body)
    if page.code != "0":
        raise ValueError(f"{page.code} {page.msg[:100]}")
    ids = [int(each.trade_id) for each in page.data]
    head, _, after = request.url.partition("&after=")
    if not ids or min(ids) <= missing.first_id or min(ids) >= int(after):
        return None
    return Request(url=f"{head}&after={min(ids)}", weight=1)


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the requests for an instrument list; it comes whole, whatever is wanted, options by family."""
    del symbols
    url = f"{base or REST_URL}/api/v5/public/instruments?instType={market.upper()}"
    if market != "option":
        return [Request(url=url, weight=1)]
    return [Request(url=f"{url}&instFamily={family}", weight=1) for family in FAMILIES]


depth_request = no_depth_request
door = no_door
connect_url = same_url
next_page = one_page
