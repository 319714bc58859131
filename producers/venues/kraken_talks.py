"""What is said on connections to Kraken: one dialogue for each of its APIs; pure.

Names of streams are channel and symbol, `depth@1000 BTC/USD`, whatever the API calls the channel.
Source: https://docs.kraken.com/api/docs/websocket-v2/book
Source: https://docs.kraken.com/api/docs/websocket-v1/subscribe
Source: https://docs.kraken.com/api/docs/futures-api/websocket/book
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from producers.dialogue import MALFORMED, Talk, Verb, cut
from producers.wire import Answer, Ask, Limits, Stream

OWN_NAMES: Final = {"depth": "book", "candle": "ohlc", "quote": "spread"}
PARAMETERS: Final = {"depth": "depth", "candle": "interval"}
OUR_NAMES: Final = {own: ours for ours, own in OWN_NAMES.items()}
METHOD_FIELD: Final = b'"method":"'
PRODUCT_FIELD: Final = b'"product_id":"'
TAIL_BYTES: Final = 100  # of a message of the first API: its last two elements are in there
ALREADY: Final = "Already subscribed"


def parts(name: str) -> tuple[str, str, str]:
    """Take channel, parameter and symbol out of a stream's name.

    >>> parts("depth@1000 BTC/USD"), parts("trade BTC/USD")
    (('depth', '1000', 'BTC/USD'), ('trade', '', 'BTC/USD'))
    """
    channel, _, symbol = name.partition(" ")
    kind, _, parameter = channel.partition("@")
    return kind, parameter, symbol


def name_of(own: str, parameter: object, symbol: str) -> str:
    """Name the stream that the venue calls so.

    >>> name_of("book", 1000, "BTC/USD"), name_of("trade", "", "BTC/USD")
    ('depth@1000 BTC/USD', 'trade BTC/USD')
    """
    ours = OUR_NAMES.get(own, own)
    return f"{ours}@{parameter} {symbol}" if ours in PARAMETERS else f"{ours} {symbol}"


class KrakenTalk(Talk):
    """Requests are of one channel, with what it needs to know."""

    def topic(self, stream: Stream) -> str:
        """Share a channel with its parameter."""
        return stream.name.partition(" ")[0]


class _Result(msgspec.Struct, frozen=True):
    channel: str = ""
    symbol: str = ""
    depth: int = 0
    interval: int = 0


class _Reply(msgspec.Struct, frozen=True):
    method: str = ""
    success: bool | None = None
    error: str = ""
    symbol: str = ""
    req_id: int | None = None
    result: _Result = _Result()


_REPLY = msgspec.json.Decoder(_Reply)


class SpotTalk(KrakenTalk):
    """API 2: each symbol of a request is answered by itself."""

    PING = b'{"method":"ping"}'

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._names: dict[bytes, bytes] = {}  # by what messages tell: channel and symbol

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request, with this number as id, that subscribes to a channel of symbols, or ends that."""
        kind, parameter, _ = parts(streams[0].name)
        own = OWN_NAMES.get(kind, kind)
        params: dict[str, Any] = {"channel": own, "symbol": [parts(each.name)[2] for each in streams]}
        if parameter:
            params[PARAMETERS[kind]] = int(parameter)
        if kind == "ticker" and verb == "subscribe":
            params["event_trigger"] = "bbo"
        for each in streams:
            self._names[f"{own} {parts(each.name)[2]}".encode()] = each.name.encode()
        return msgspec.json.encode({"method": verb, "params": params, "req_id": number})

    def stream_of(self, payload: bytes) -> bytes:
        """Tell the stream by channel and first symbol of a message; answers tell both as well, and are none of it."""
        if METHOD_FIELD in payload:
            return b""
        return self._names.get(cut(payload, b'"channel":"') + b" " + cut(payload, b'"symbol":"'), b"")

    def answer(self, payload: bytes) -> Answer | None:
        """Read an answer to a request; what channels say of the system is for the processors."""
        try:
            reply = _REPLY.decode(payload)
        except MALFORMED:
            return None
        if reply.success is None and not reply.error:
            return None
        if reply.success:
            result = reply.result
            name = name_of(result.channel, result.depth or result.interval, result.symbol)
            return Answer(subscribed=(name,)) if reply.method == "subscribe" else Answer()
        return self._refusal(reply)

    def _refusal(self, reply: _Reply) -> Answer:
        """Tell which stream of a request is refused: where its symbol is named, that alone."""
        asked = self.asked.get(str(reply.req_id))
        if asked == ():
            return Answer()
        named = tuple(name for name in asked or () if reply.symbol and name.endswith(f" {reply.symbol}"))
        if reply.error == ALREADY:
            return Answer(subscribed=named)
        return Answer(refused=named or asked or (), refusal=reply.error or "no reason given")


class _Subscription(msgspec.Struct, frozen=True):
    name: str = ""
    depth: int = 0
    interval: int = 0


class _Status(msgspec.Struct, frozen=True, rename={"error": "errorMessage"}):
    event: str = ""
    status: str = ""
    pair: str = ""
    reqid: int | None = None
    error: str = ""
    subscription: _Subscription = _Subscription()


_STATUS = msgspec.json.Decoder(_Status)


class SpotV1Talk(KrakenTalk):
    """API 1: each pair of a request is answered by itself, and by its name."""

    PING = b'{"event":"ping"}'

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request, with this number as id, that subscribes to a channel of pairs, or ends that."""
        kind, parameter, _ = parts(streams[0].name)
        subscription: dict[str, Any] = {"name": OWN_NAMES.get(kind, kind)}
        if parameter:
            subscription[PARAMETERS[kind]] = int(parameter)
        pairs = [parts(each.name)[2] for each in streams]
        return msgspec.json.encode({"event": verb, "reqid": number, "pair": pairs, "subscription": subscription})

    def stream_of(self, payload: bytes) -> bytes:
        """Tell the stream by the last two elements of an array: `..., "book-1000", "XBT/USD"]`."""
        if payload[:1] != b"[":
            return b""
        words = payload[-TAIL_BYTES:].rsplit(b'"', 4)
        if len(words) < 5:
            return b""
        own, _, parameter = words[1].partition(b"-")
        return name_of(own.decode(errors="replace"), parameter.decode(errors="replace"), _text(words[3])).encode()

    def answer(self, payload: bytes) -> Answer | None:
        """Read an answer to a request."""
        try:
            reply = _STATUS.decode(payload)
        except MALFORMED:
            return None
        if reply.event == "error":
            return self._refusal(reply, self.asked.get(str(reply.reqid)))
        if reply.event != "subscriptionStatus":
            return None
        told = reply.subscription
        name = name_of(told.name, told.depth or told.interval, reply.pair)
        if reply.status == "subscribed":
            return Answer(subscribed=(name,))
        if reply.status != "error":
            return Answer()
        asked = self.asked.get(str(reply.reqid))
        return self._refusal(reply, (name,) if asked and name in asked else asked)

    def _refusal(self, reply: _Status, names: tuple[str, ...] | None) -> Answer:
        return Answer() if names == () else Answer(refused=names or (), refusal=reply.error or "no reason given")


FUTURES_MINUTES: Final = {
    "1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "12h": 720, "1d": 1440, "1w": 10080,
}  # fmt: skip
CANDLES: Final = {str(minutes): f"candles_trade_{word}" for word, minutes in FUTURES_MINUTES.items()}
"""Feeds by the minutes of a candle."""
FEEDS: Final[Mapping[bytes, str]] = {
    b"book": "depth", b"book_snapshot": "depth", b"trade": "trade", b"trade_snapshot": "trade", b"ticker": "ticker",
} | {
    f"{feed}{end}".encode(): f"candle@{minutes}" for minutes, feed in CANDLES.items() for end in ("", "_snapshot")
}  # fmt: skip


class _Event(msgspec.Struct, frozen=True):
    event: str = ""
    feed: str = ""
    product_ids: tuple[str, ...] = ()
    message: str = ""


_EVENT = msgspec.json.Decoder(_Event)


class FuturesTalk(KrakenTalk):
    """Requests have no ids: answers name the feed and products, errors only say what is wrong with one request."""

    FAILED: ClassVar[str] = "subscribed_failed"

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._waiting: list[tuple[str, ...]] = []  # requests, the oldest first: names that are not answered yet

    def subscribe(self, streams: Sequence[Stream]) -> Sequence[Ask]:
        """Note what waits for an answer."""
        asks = super().subscribe(streams)
        self._waiting += [ask.names for ask in asks]
        return asks

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request that subscribes to a feed of products, or ends that."""
        del number
        kind, minutes, _ = parts(streams[0].name)
        feed = CANDLES[minutes] if kind == "candle" else OWN_NAMES.get(kind, kind)
        products = [parts(each.name)[2] for each in streams]
        return msgspec.json.encode({"event": verb, "feed": feed, "product_ids": products})

    def stream_of(self, payload: bytes) -> bytes:
        """Tell the stream by feed and product."""
        kind = FEEDS.get(cut(payload, b'"feed":"'), "")
        product = _text(cut(payload, PRODUCT_FIELD)).upper()
        return f"{kind} {product}".encode() if kind else b""

    def answer(self, payload: bytes) -> Answer | None:
        """Read an answer to a request."""
        try:
            event = _EVENT.decode(payload)
        except MALFORMED:
            return None
        if event.event in {"error", "alert"}:
            return self._refuse_oldest(event.message)
        if event.event not in {"subscribed", self.FAILED}:
            return None
        kind = FEEDS.get(event.feed.encode(), event.feed)
        names = tuple(f"{kind} {product.upper()}" for product in event.product_ids)
        self._settle(names)
        if event.event == self.FAILED:
            return Answer(refused=names, refusal=event.message or "no reason given")
        return Answer(subscribed=names)

    def _settle(self, names: Sequence[str]) -> None:
        left = [tuple(name for name in waiting if name not in names) for waiting in self._waiting]
        self._waiting = [waiting for waiting in left if waiting]

    def _refuse_oldest(self, why: str) -> Answer:
        refused = self._waiting.pop(0) if self._waiting else ()
        return Answer(refused=refused, refusal=why or "no reason given") if refused else Answer()


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
