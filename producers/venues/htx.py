"""HTX on the wire: streams, requests and limits of the markets spot, linear and coin; frames are gzip; pure.

Source: https://www.htx.com/en-us/opend/newApiPages/?id=7ec53241-7773-11ed-9966-0242ac110003
Source: https://www.htx.com/en-us/opend/newApiPages/?id=8cb7de1c-77b5-11ed-9966-0242ac110003
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from producers.dialogue import ANSWER_BYTES, MALFORMED, Talk, Verb, cut, inflated
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
    no_more_trades,
    one_page,
    same_url,
)

NAME: Final = "HTX"
MARKETS: Final[tuple[str, ...]] = ("spot", "linear", "coin")
QUIET_CHANNELS: Final = frozenset({"funding", "liquidation"})
SHARED_CHANNELS: Final[frozenset[str]] = frozenset()

STREAM_URLS: Final = {"spot": "wss://api.huobi.pro", "linear": "wss://api.hbdm.com", "coin": "wss://api.hbdm.com"}
SWAP_PATHS: Final = {"linear": "/linear-swap", "coin": "/swap"}
REST_URLS: Final = {"spot": "https://api.huobi.pro", "linear": "https://api.hbdm.com", "coin": "https://api.hbdm.com"}
LIST_PATHS: Final = {
    "spot": "/v1/common/symbols",
    "linear": "/linear-swap-api/v1/swap_contract_info?business_type=all",
    "coin": "/swap-api/v1/swap_contract_info",
}

PAST_TRADES: Final = {
    "spot": "/market/history/trade?symbol=",
    "linear": "/linear-swap-ex/market/history/trade?contract_code=",
    "coin": "/swap-ex/market/history/trade?contract_code=",
}
NEWEST: Final = 2000  # trades, the most that are told

_LIMITS: Final = Limits(
    streams_per_connection=100,
    streams_per_request=1,
    messages_per_s=20.0,
    weight_per_window=10,
    weight_window_s=1.0,
    life_s=23.5 * 3600,  # none is documented
)
LIMITS: Final = dict.fromkeys(MARKETS, _LIMITS)

INTERVALS: Final = {
    "1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "60min", "4h": "4hour", "1d": "1day",
    "1w": "1week", "1M": "1mon",
}  # fmt: skip
SPOT_CHANNELS: Final = ("trade", "quote", "depth", "ticker", "candle_1m")
SWAP_CHANNELS: Final = (*SPOT_CHANNELS, "mark_price", "index", "funding", "liquidation")
CHANNELS: Final = {"spot": SPOT_CHANNELS, "linear": SWAP_CHANNELS, "coin": SWAP_CHANNELS}
SPOT_DEPTH: Final = "depth@mbp.400"
SWAP_DEPTH: Final = "depth@depth.size_150.high_freq"
RESTS: Final = {
    "trade": "trade.detail", "quote": "bbo", "ticker": "detail", "mark_price": "mark_price.1min", "index": "index.1min",
    SPOT_DEPTH: "mbp.400", SWAP_DEPTH: "depth.size_150.high_freq",
}  # fmt: skip
NOTIFIED: Final = {"funding": "funding_rate", "liquidation": "liquidation_orders"}
OF_INDEX: Final = frozenset({"mark_price", "index"})


class _Reply(msgspec.Struct, frozen=True):
    id: str | int | None = None
    cid: str = ""
    op: str = ""
    ts: int | str = 0
    ping: int | None = None
    status: str = ""
    subbed: str = ""
    unsubbed: str = ""
    topic: str = ""
    rep: str = ""
    code: int | str = msgspec.field(name="err-code", default="")
    message: str = msgspec.field(name="err-msg", default="")


_REPLY = msgspec.json.Decoder(_Reply)


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel; None = the market has no such channel.

    >>> full_channel("spot", "depth"), full_channel("coin", "candle_1h"), full_channel("spot", "funding")
    ('depth@mbp.400', 'candle_1h', None)
    """
    if channel.startswith("candle_") and channel.removeprefix("candle_") in INTERVALS:
        return channel
    if channel not in CHANNELS[market]:
        return None
    if channel == "depth":
        return SPOT_DEPTH if market == "spot" else SWAP_DEPTH
    return channel


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a symbol.

    >>> stream_name("btcusdt", "candle_1h"), stream_name("BTC-USDT", "funding")
    ('market.btcusdt.kline.60min', 'public.BTC-USDT.funding_rate')
    """
    if full_channel in NOTIFIED:
        return f"public.{venue_symbol}.{NOTIFIED[full_channel]}"
    if kind_of(full_channel) == "candle":
        return f"market.{venue_symbol}.kline.{INTERVALS[full_channel.removeprefix('candle_')]}"
    return f"market.{venue_symbol}.{RESTS[full_channel]}"


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot: asked for on spot, in the stream elsewhere."""
    if full_channel == SPOT_DEPTH:
        return "message"
    return "resubscribe" if full_channel == SWAP_DEPTH else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL that serves a channel (base None = the venue's own host).

    >>> stream_url("spot", "depth@mbp.400", None), stream_url("coin", "funding", None)
    ('wss://api.huobi.pro/feed', 'wss://api.hbdm.com/swap-notification')
    """
    root = base or STREAM_URLS[market]
    if market == "spot":
        return f"{root}/feed" if full_channel == SPOT_DEPTH else f"{root}/ws"
    if full_channel in NOTIFIED:
        return f"{root}{SWAP_PATHS[market]}-notification"
    return f"{root}/ws_index" if full_channel in OF_INDEX else f"{root}{SWAP_PATHS[market]}-ws"


door = no_door
connect_url = same_url
next_page = one_page
depth_request = no_depth_request
next_trades = no_more_trades


class HtxTalk(Talk):
    """A request a stream; pings of the venue are owed an answer, frames are looked at unpacked."""

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request, with this number as id, that subscribes to a stream, or ends that."""
        word, name = verb.removesuffix("scribe"), streams[0].name
        if name.startswith("public."):
            return msgspec.json.encode({"op": word, "cid": str(number), "topic": name})
        request = {word: name, "id": str(number)}
        if name.endswith("high_freq"):
            request["data_type"] = "incremental"
        return msgspec.json.encode(request)

    def snapshot(self, streams: Sequence[Stream]) -> Sequence[Ask]:
        """Ask for the book of each stream."""
        asks = []
        for each in streams:
            self.number += 1
            self.asked[str(self.number)] = ()  # a refusal does no harm: the book is asked for again
            asks.append(Ask(payload=msgspec.json.encode({"req": each.name, "id": str(self.number)})))
        return asks

    def stream_of(self, payload: bytes) -> bytes:
        """Cut the stream's name out; b"" = it has none."""
        head = inflated(payload)
        if b'"op":"notify"' in head:
            return cut(head, b'"topic":"')
        return cut(head, b'"ch":"')

    def answer(self, payload: bytes) -> Answer | None:
        """Read what is no market data."""
        body = inflated(payload, ANSWER_BYTES)
        if b'"rep":"' in body[:200]:
            self.asked.pop(cut(body[:200], b'"id":"').decode(errors="replace"), None)
            return Answer()  # a snapshot that was asked for: larger than what is looked at
        try:
            reply = _REPLY.decode(body)
        except MALFORMED:
            return None
        if reply.ping is not None:
            return Answer(sends=(msgspec.json.encode({"pong": reply.ping}),))
        if reply.op == "ping":
            return Answer(sends=(msgspec.json.encode({"op": "pong", "ts": reply.ts}),))
        number = reply.cid or reply.id
        if reply.status == "error" or reply.op == "error" or reply.code not in {"", 0}:
            return self.rejected(number, f"{reply.code} {reply.message}".strip())
        return self.accepted(number) if reply.status == "ok" or reply.op in {"sub", "unsub"} else None


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return HtxTalk(LIMITS[market])


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request:
    """Make the request for the newest trades: older ones are not told."""
    del is_keyed
    path = f"{PAST_TRADES[market]}{quote(missing.venue_symbol)}&size={NEWEST}"
    return Request(url=(base or REST_URLS[market]) + path, weight=1)


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the request for an instrument list; it comes whole, whatever is wanted."""
    del symbols
    return [Request(url=(base or REST_URLS[market]) + LIST_PATHS[market], weight=1)]
