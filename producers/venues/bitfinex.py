"""Bitfinex on the wire: channels, requests and limits of the markets spot and derivatives; pure.

Source: https://docs.bitfinex.com/docs/ws-general
Source: https://docs.bitfinex.com/docs/ws-public
Source: https://docs.bitfinex.com/reference/rest-public-conf
Source: https://docs.bitfinex.com/reference/rest-public-trades
"""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from producers.dialogue import MALFORMED, Talk, Verb
from producers.wire import (
    Answer,
    Ask,
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

NAME: Final = "BITFINEX"
MARKETS: Final[tuple[str, ...]] = ("spot", "derivatives")
QUIET_CHANNELS: Final[frozenset[str]] = frozenset()  # every channel has a heartbeat
SHARED_CHANNELS: Final = frozenset({"liquidation"})

STREAM_URL: Final = "wss://api-pub.bitfinex.com"
REST_URL: Final = "https://api-pub.bitfinex.com"
LISTS: Final = {"spot": "pub:list:pair:exchange", "derivatives": "pub:list:pair:futures"}
PAST_TRADES: Final = 5000  # of a page; the venue gives up to 10,000
FLAGS: Final = 32_768 + 65_536 + 131_072  # time and number of each message, checksums of books

_LIMITS: Final = Limits(
    streams_per_connection=25,
    streams_per_request=1,
    messages_per_s=5.0,
    weight_per_window=15,
    life_s=23.5 * 3600,  # none is documented
    connects_per_window=20,
    connects_window_s=60.0,
    connects_per_s=1.0,
    shared_as="all",
)
LIMITS: Final = dict.fromkeys(MARKETS, _LIMITS)

INTERVALS: Final = {
    "1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "3h": "3h", "6h": "6h", "12h": "12h", "1d": "1D",
    "1w": "1W", "14d": "14D", "1M": "1M",
}  # fmt: skip
DEPTHS: Final = ("depth@25", "depth@100", "depth@250")
DEEPEST: Final = DEPTHS[-1]
SPOT_CHANNELS: Final = ("trade", "quote", "depth", "ticker", "candle_1m")
IN_STATUS: Final = ("mark_price", "index", "funding", "open_interest")
STATUS: Final = IN_STATUS[0]
CHANNELS: Final = {"spot": SPOT_CHANNELS, "derivatives": (*SPOT_CHANNELS, *IN_STATUS, "liquidation")}
ALL: Final = "global"  # symbols of liquidations
BOOK: Final = {"prec": "P0", "freq": "F0"}
BEST_ALONE: Final = "1"  # level of a book that gives quotes
ALREADY: Final = 10301
NOT_SUBSCRIBED: Final = 10400
STARTS_AGAIN: Final = frozenset({20051, 20061})  # it restarts, or its maintenance is over: subscribe anew


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel; None = the market has no such channel.

    >>> full_channel("spot", "depth"), full_channel("derivatives", "funding"), full_channel("spot", "funding")
    ('depth@250', 'mark_price', None)
    """
    if channel in DEPTHS or (channel.startswith("candle_") and channel.removeprefix("candle_") in INTERVALS):
        return channel
    if channel not in CHANNELS[market]:
        return None
    if channel == "depth":
        return DEEPEST
    return STATUS if channel in IN_STATUS else channel


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a symbol.

    >>> stream_name("tBTCUSD", "depth@250"), stream_name("tBTCUSD", "candle_1d")
    ('depth@250 tBTCUSD', 'candle@1D tBTCUSD')
    """
    if kind_of(full_channel) == "candle":
        return f"candle@{INTERVALS[full_channel.removeprefix('candle_')]} {venue_symbol}"
    return f"{full_channel} {ALL if full_channel == 'liquidation' else venue_symbol}"


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot: it is the first message of a subscription."""
    return "resubscribe" if kind_of(full_channel) == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL (base None = the venue's own host)."""
    del market, full_channel
    return f"{base or STREAM_URL}/ws/2"


class _Event(msgspec.Struct, frozen=True):
    event: str = ""
    channel: str = ""
    chanId: int = 0  # noqa: N815  # the venue's name
    symbol: str = ""
    key: str = ""
    len: str | int = ""
    code: int = 0
    msg: str = ""


_EVENT = msgspec.json.Decoder(_Event)


class BitfinexTalk(Talk):
    """A request for each stream; messages tell theirs by a number that the answer gave."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._names: dict[bytes, bytes] = {}  # by the channel's number, as it stands in messages

    def opening(self) -> Sequence[bytes]:
        """Wish for numbers, times and checksums."""
        return (msgspec.json.encode({"event": "conf", "flags": FLAGS}),)

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request that subscribes to a stream."""
        del verb, number
        return msgspec.json.encode({"event": "subscribe", **_subject(streams[0].name)})

    def unsubscribe(self, streams: Sequence[Stream]) -> Sequence[Ask]:
        """End what has a number; the others were not granted yet, and are not ended."""
        names = {each.name.encode() for each in streams}
        channels = [channel for channel, name in self._names.items() if name in names]
        return [Ask(payload=b'{"event":"unsubscribe","chanId":' + channel + b"}") for channel in channels]

    def stream_of(self, payload: bytes) -> bytes:
        """Tell the stream by the number of its channel, heartbeats included."""
        if payload[:1] != b"[":
            return b""
        return self._names.get(payload[1 : payload.find(b",")], b"")

    def answer(self, payload: bytes) -> Answer | None:
        """Read an event."""
        try:
            event = _EVENT.decode(payload)
        except MALFORMED:
            return None
        if event.event == "subscribed":
            name = _name(event)
            self._names[str(event.chanId).encode()] = name.encode()
            return Answer(subscribed=(name,))
        if event.event == "unsubscribed":
            self._names.pop(str(event.chanId).encode(), None)
            return Answer()
        if event.event == "error":
            return self._error(event)
        if event.event == "info" and event.code in STARTS_AGAIN:
            return Answer(shutdown=f"{event.code} {event.msg}")
        return None

    def _error(self, event: _Event) -> Answer:
        """Tell which stream is refused; what was subscribed to already is, and what is gone already does no harm."""
        refusal = f"{event.code} {event.msg}"
        if not event.channel:
            return Answer() if event.code == NOT_SUBSCRIBED else Answer(refusal=refusal)
        name = _name(event)
        return Answer(subscribed=(name,)) if event.code == ALREADY else Answer(refused=(name,), refusal=refusal)


def _subject(name: str) -> dict[str, Any]:
    """Say what a stream is of, as requests do."""
    channel, _, symbol = name.partition(" ")
    kind, _, detail = channel.partition("@")
    subjects: dict[str, dict[str, Any]] = {
        "trade": {"channel": "trades", "symbol": symbol},
        "ticker": {"channel": "ticker", "symbol": symbol},
        "depth": {"channel": "book", "symbol": symbol, **BOOK, "len": detail},
        "quote": {"channel": "book", "symbol": symbol, **BOOK, "len": BEST_ALONE},
        "candle": {"channel": "candles", "key": f"trade:{detail}:{symbol}"},
        STATUS: {"channel": "status", "key": f"deriv:{symbol}"},
        "liquidation": {"channel": "status", "key": f"liq:{symbol}"},
    }
    return subjects[kind]


def _name(event: _Event) -> str:
    """Name the stream that an answer is about."""
    kind, _, rest = event.key.partition(":")
    if event.channel == "candles":
        interval, _, symbol = rest.partition(":")
        return f"candle@{interval} {symbol}"
    if event.channel == "status":
        return f"{'liquidation' if kind == 'liq' else STATUS} {rest}"
    if event.channel == "book":
        return f"quote {event.symbol}" if str(event.len) == BEST_ALONE else f"depth@{event.len} {event.symbol}"
    return f"{'trade' if event.channel == 'trades' else event.channel} {event.symbol}"


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return BitfinexTalk(LIMITS[market])


class _PastTrade(msgspec.Struct, frozen=True, array_like=True):
    id: int
    time_ms: int


_PAST_TRADES = msgspec.json.Decoder(list[_PastTrade])


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request | None:
    """Make the request for the trades of the time in which some are missing; None = it is not known."""
    del market, is_keyed
    if not missing.after_time_us or not missing.until_time_us:
        return None
    end_ms = missing.until_time_us // 1000 + 1
    path = f"/v2/trades/{quote(missing.venue_symbol, safe=':')}/hist"
    head = f"{base or REST_URL}{path}?limit={PAST_TRADES}&sort=1&end={end_ms}"
    return Request(url=f"{head}&start={missing.after_time_us // 1000}", weight=1)


def next_trades(request: Request, body: bytes, missing: Missing) -> Request | None:
    """Make the request for the page that follows, from the last time of this one on; None = that was the last.

    Raises:
        ValueError: the body holds no trades.
    """
    del missing
    trades = _PAST_TRADES.decode(body)
    head, _, start = request.url.partition("&start=")
    if len(trades) < PAST_TRADES or trades[-1].time_ms <= int(start):
        return None
    return Request(url=f"{head}&start={trades[-1].time_ms}", weight=1)


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the request for a list of pairs, with the venue's own names of currencies; it comes whole."""
    del symbols
    return [Request(url=f"{base or REST_URL}/v2/conf/{LISTS[market]},pub:map:currency:sym", weight=1)]


depth_request = no_depth_request
door = no_door
connect_url = same_url
next_page = one_page
