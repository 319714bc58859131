"""Coinbase on the wire: the Exchange feed and Advanced Trade, both without a key; pure.

Advanced Trade closes channels that say nothing for a minute or so, unless `heartbeats` are subscribed.
Source: https://docs.cdp.coinbase.com/exchange/websocket-feed/overview
Source: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

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
    seconds_of,
)

NAME: Final = "COINBASE"
MARKETS: Final[tuple[str, ...]] = ("exchange", "advanced")
QUIET_CHANNELS: Final[frozenset[str]] = frozenset()
SHARED_CHANNELS: Final[frozenset[str]] = frozenset()
STREAM_URLS: Final = {
    "exchange": "wss://ws-feed.exchange.coinbase.com",
    "advanced": "wss://advanced-trade-ws.coinbase.com",
}
REST_URLS: Final = {"exchange": "https://api.exchange.coinbase.com", "advanced": "https://api.coinbase.com"}
ADVANCED_LIST: Final = "/api/v3/brokerage/market/products"
LIST_SYMBOLS: Final = 50  # asked for by name in one request; more are asked for with the whole list
PAST_TRADES: Final = 1000  # of a page
SECONDS_CHARS: Final = len("2026-01-01T00:00:00")
LIFE_S: Final = 24 * 3600.0  # the venue names no limit
OWN_NAMES: Final = {
    "exchange": {"trade": "matches", "quote": "ticker", "ticker": "ticker", "depth": "level2_batch"},
    "advanced": {
        "trade": "market_trades", "quote": "ticker", "ticker": "ticker", "depth": "level2", "candle_5m": "candles",
    },
}  # fmt: skip
"""The venue's channels by our words: `level2` of the Exchange feed needs a key, `level2_batch` does not."""
CHANNELS: Final = {market: tuple(names) for market, names in OWN_NAMES.items()}
FULL_NAMES: Final = {"quote": "ticker"}  # one channel of the venue
TYPES: Final = {
    b"match": b"matches", b"last_match": b"matches", b"ticker": b"ticker", b"snapshot": b"level2_batch",
    b"l2update": b"level2_batch", b"l2_data": b"level2", b"market_trades": b"market_trades", b"candles": b"candles",
}  # fmt: skip
"""The channel of a message by its type (Exchange feed), or by what the message calls it (Advanced Trade)."""


def _limits(streams_per_connection: int, connects_per_s: float) -> Limits:
    return Limits(
        streams_per_connection=streams_per_connection,
        streams_per_request=50,
        messages_per_s=4.0,
        weight_per_window=300,
        life_s=LIFE_S,
        connects_per_s=connects_per_s,
    )


LIMITS: Final = {"exchange": _limits(100, 2.0), "advanced": _limits(50, 1.0)}
"""An address may send 8 messages a second over all its connections, each of which begins with three and five."""


def full_channel(market: str, channel: str) -> str | None:
    """Complete a channel; None = the market has no such channel.

    >>> full_channel("advanced", "quote"), full_channel("exchange", "candle_5m")
    ('ticker', None)
    """
    return FULL_NAMES.get(channel, channel) if channel in OWN_NAMES[market] else None


def stream_name(venue_symbol: str, full_channel: str) -> str:
    """Name the stream of a symbol by our word: what the venue calls it differs by feed."""
    return f"{full_channel}:{venue_symbol}"


def snapshot_by(full_channel: str) -> SnapshotBy:
    """Tell how the book of a channel gets a snapshot: it is the first message."""
    return "resubscribe" if kind_of(full_channel) == "depth" else "none"


def stream_url(market: str, full_channel: str, base: str | None) -> str:
    """Tell the URL of a feed (base None = the venue's own host)."""
    del full_channel
    return f"{base or STREAM_URLS[market]}/"


class _Channel(msgspec.Struct, frozen=True):
    name: str
    product_ids: list[str] | None = None


class _Event(msgspec.Struct, frozen=True):
    subscriptions: dict[str, list[str]] = {}


class _Reply(msgspec.Struct, frozen=True):
    """Answers of both feeds: which subscriptions there are now, or an error."""

    type: str = ""
    channel: str = ""
    message: str = ""
    reason: str = ""
    channels: list[_Channel] = []
    events: msgspec.Raw = msgspec.Raw(b"[]")


class _PastTrade(msgspec.Struct, frozen=True):
    trade_id: int


class _AdvancedTrade(msgspec.Struct, frozen=True):
    time: str


class _AdvancedTrades(msgspec.Struct, frozen=True):
    trades: list[_AdvancedTrade]


_REPLY = msgspec.json.Decoder(_Reply)
_PAST_TRADES = msgspec.json.Decoder(list[_PastTrade])
_ADVANCED_TRADES = msgspec.json.Decoder(_AdvancedTrades)
_EVENTS = msgspec.json.Decoder(list[_Event])


class CoinbaseTalk(Talk):
    """Requests without ids, of one channel each; an answer tells all that is subscribed, an error is of the oldest."""

    def __init__(self, market: str) -> None:
        super().__init__(LIMITS[market])
        self._own = OWN_NAMES[market]
        self._words = {own.encode(): word for word, own in self._own.items() if word not in FULL_NAMES}

    def topic(self, stream: Stream) -> str:
        """Tell the venue's channel: a request is of one."""
        return self._own[stream.channel]

    def stream_of(self, payload: bytes) -> bytes:
        """Tell the channel and the (first) product of a message; b"" = it is no market data."""
        kind = cut(payload, b'"channel":"') or cut(payload, b'"type":"')
        word = self._words.get(TYPES.get(kind, kind))
        return b"%s:%s" % (word.encode(), cut(payload, b'"product_id":"')) if word else b""

    def answer(self, payload: bytes) -> Answer | None:
        """Read what is no market data; None = it is no answer."""
        try:
            reply = _REPLY.decode(payload)
            if reply.type == "error":
                return self._failed(f"{reply.message} {reply.reason}".strip())
            if reply.type == "subscriptions":
                return self._told((each.name, each.product_ids or ()) for each in reply.channels)
            if reply.channel == "subscriptions":
                found = _EVENTS.decode(reply.events)
                return self._told(each for event in found for each in event.subscriptions.items())
        except MALFORMED:
            return None
        return Answer() if reply.channel == "heartbeats" or reply.type == "heartbeat" else None

    def _told(self, channels: Iterable[tuple[str, Iterable[str]]]) -> Answer:
        """Take all that is named for subscribed; what was asked for and is among it, was granted."""
        names = set()
        for channel, products in channels:
            own = "level2_batch" if channel.startswith("level2_") else channel  # it is called level2_50 there
            word = self._words.get(own.encode())
            names |= {f"{word}:{product}" for product in products if word}
        for number in [number for number, asked in self.asked.items() if names.issuperset(asked)]:
            del self.asked[number]
        return Answer(subscribed=tuple(sorted(names)))

    def _failed(self, text: str) -> Answer:
        """Take an error for the answer to the oldest request that is not answered."""
        return self.rejected(next(iter(self.asked), ""), text)


class ExchangeTalk(CoinbaseTalk):
    """Requests of the Exchange feed."""

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request that subscribes to products of one channel, or ends that."""
        del number
        products = [each.venue_symbol for each in streams]
        request = {"type": verb, "product_ids": products, "channels": [self.topic(streams[0])]}
        return msgspec.json.encode(request)


class AdvancedTalk(CoinbaseTalk):
    """Requests of Advanced Trade."""

    def opening(self) -> Sequence[bytes]:
        """Ask for heartbeats, which keep quiet channels open."""
        return (msgspec.json.encode({"type": "subscribe", "channel": "heartbeats"}),)

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make the request that subscribes to products of one channel, or ends that."""
        del number
        products = [each.venue_symbol for each in streams]
        return msgspec.json.encode({"type": verb, "product_ids": products, "channel": self.topic(streams[0])})


def dialogue(market: str, ticket: bytes) -> Dialogue:
    """Begin the dialogue of one connection."""
    del ticket
    return ExchangeTalk(market) if market == "exchange" else AdvancedTalk(market)


def trades_request(market: str, missing: Missing, base: str | None, *, is_keyed: bool) -> Request | None:
    """Make the request for missing trades, from the last one backwards; None = it is not known when some are missing.

    Advanced Trade tells them by time.
    Source: https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades
    Source: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-market-trades
    """
    del is_keyed
    root, product = base or REST_URLS[market], quote(missing.venue_symbol, safe="")
    if market == "exchange":
        url = f"{root}/products/{product}/trades?limit={PAST_TRADES}"
        return Request(url=f"{url}&after={missing.last_id + 1}", weight=1)
    if not missing.after_time_us or not missing.until_time_us:
        return None
    start_s, end_s = seconds_of(missing)
    url = f"{root}{ADVANCED_LIST}/{product}/ticker?limit={PAST_TRADES}&start={start_s}"
    return Request(url=f"{url}&end={end_s}", weight=1)


def next_trades(request: Request, body: bytes, missing: Missing) -> Request | None:
    """Make the request for the page that follows; None = that was the last.

    Raises:
        ValueError: the body holds no trades.
    """
    head, _, after = request.url.partition("&after=")
    if not after:
        return _older_trades(request, body)
    ids = [each.trade_id for each in _PAST_TRADES.decode(body)]
    if not ids or min(ids) <= missing.first_id or min(ids) >= int(after):
        return None
    return Request(url=f"{head}&after={min(ids)}", weight=1)


def _older_trades(request: Request, body: bytes) -> Request | None:
    """Make the request of Advanced Trade for older ones, with those of the oldest second once more."""
    times = [each.time for each in _ADVANCED_TRADES.decode(body).trades]
    head, _, end_s = request.url.partition("&end=")
    if len(times) < PAST_TRADES:
        return None
    oldest_s = int(datetime.fromisoformat(f"{min(times)[:SECONDS_CHARS]}+00:00").timestamp())
    return Request(url=f"{head}&end={oldest_s + 1}", weight=1) if oldest_s + 1 < int(end_s) else None


def list_requests(market: str, symbols: Sequence[str], base: str | None) -> list[Request]:
    """Make the request for a product list: only of these products where the market can, () = of all."""
    root = base or REST_URLS[market]
    if market == "exchange":
        return [Request(url=f"{root}/products", weight=1)]
    wanted = list(dict.fromkeys(each.upper() for each in symbols))
    if not 0 < len(wanted) <= LIST_SYMBOLS:
        return [Request(url=f"{root}{ADVANCED_LIST}", weight=1)]
    return [Request(url=f"{root}{ADVANCED_LIST}?{urlencode([('product_ids', each) for each in wanted])}", weight=1)]


depth_request = no_depth_request
door = no_door
connect_url = same_url
next_page = one_page
