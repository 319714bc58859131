"""Coinbase's Advanced Trade feed: one number over all messages of a connection, trades the newest first; pure.

Source: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tickerplant.local.venue.candles import Candle
from tickerplant.local.venue.dialect import (
    Action,
    Book,
    BookChange,
    Close,
    Conversation,
    Frame,
    Kind,
    Levels,
    Now,
    Print,
    Say,
    Stream,
    Subscribe,
    SymbolView,
    Unsubscribe,
    Writer,
)
from tickerplant.local.venue.dialect import Market as Symbols
from tickerplant.local.venue.text import iso

KINDS: Final[dict[str, Kind]] = {
    "market_trades": "trade", "ticker": "quote", "level2": "depth", "candles": "candle",
}  # fmt: skip
BOOK_MS: Final = 50
CANDLE_MS: Final = 300_000
PATIENCE_S: Final = 5.0  # without a subscription
BEAT_S: Final = 1.0
RECENT: Final = 100
NUMBER: Final = re.compile(rb'"sequence_num":\d+')
MAKER_SIDES: Final = {True: "SELL", False: "BUY"}  # by whether the aggressor buys


class AdvancedConversation(Conversation):
    """Types of requests: subscribe, unsubscribe; of one channel each. Heartbeats are a channel as well."""

    tick_s = 0.25
    does_finish = True

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._heard: dict[tuple[str, str], Stream] = {}  # by channel and product
        self._has_subscribed = False
        self._has_heartbeats = False
        self._beats = 0
        self._beat_s = 0.0
        self._number = -1

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do a request; one with an error in it does nothing else."""
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return (_error("malformed message"),)
        kind = request.get("type") if isinstance(request, Mapping) else None
        if kind not in {"subscribe", "unsubscribe"}:
            return (_error("unknown type"),)
        channel, products = str(request.get("channel")), [str(each) for each in request.get("product_ids") or ()]
        self._has_subscribed = True
        if channel == "heartbeats":
            self._has_heartbeats = kind == "subscribe"
            return (self._told(now),)
        if channel not in KINDS:
            return (_error(f"channel {channel} is not available"),)
        unknown = [each for each in products if self._symbols.listing("advanced", each) is None]
        if unknown or not products:
            return (_error(f"product ids are not valid: {unknown}"),)
        changes = self._subscribe(channel, products) if kind == "subscribe" else self._unsubscribe(channel, products)
        return (self._told(now), *changes)

    def tick(self, now: Now) -> Iterable[Action]:
        """Send a heartbeat each second, and end a connection that asks for nothing."""
        if not self._has_subscribed and now.s > PATIENCE_S:
            return (Close(1008, "no subscription"),)
        if not self._has_heartbeats or now.s - self._beat_s < BEAT_S:
            return ()
        self._beat_s = now.s
        self._beats += 1
        event = {"current_time": f"{iso(now.ms)} +0000 UTC", "heartbeat_counter": self._beats}
        return (Say(_message("heartbeats", [event], now.ms), is_finished=False),)

    def finish(self, stream: Stream | None, payload: bytes) -> bytes:
        """Give a message the next number."""
        del stream
        return self.replay(payload)

    def replay(self, payload: bytes) -> bytes:
        """Give a recorded message a number of this connection."""
        self._number += 1
        return NUMBER.sub(b'"sequence_num":%d' % self._number, payload, count=1)

    def _subscribe(self, channel: str, products: Iterable[str]) -> list[Action]:
        new = [each for each in dict.fromkeys(products) if (channel, each) not in self._heard]
        self._heard.update(((channel, each), _stream(channel, each)) for each in new)
        return [Subscribe(self._heard[channel, each], with_first=True) for each in new]

    def _unsubscribe(self, channel: str, products: Iterable[str]) -> list[Action]:
        gone = [self._heard.pop((channel, each), None) for each in products]
        return [Unsubscribe(stream) for stream in gone if stream is not None]

    def _told(self, now: Now) -> Say:
        subscriptions: dict[str, list[str]] = {"heartbeats": ["heartbeats"]} if self._has_heartbeats else {}
        for channel, product in self._heard:
            subscriptions.setdefault(channel, []).append(product)
        event = {"subscriptions": subscriptions}
        return Say(_message("subscriptions", [event], now.ms), is_finished=False)


class AdvancedWriter(Writer):
    """Writes the messages of one product."""

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write the trades of an order, the newest first."""
        del stream
        return (self._trades("update", prints, now_ms),)

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write a ticker; none before the first trade."""
        del stream
        return self._ticker("update", view, now_ms)

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write what changed."""
        del stream
        return (self._levels("update", (change.bids, change.asks), change.last_id, now_ms),)

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a snapshot."""
        del stream
        return (self._levels("snapshot", (book.bids, book.asks), book.last_id, now_ms),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle; that it is closed shows by the time alone."""
        del stream, is_closed
        price, size = self.listing.numbers.price, self.listing.numbers.size
        data = {
            "start": str(candle.open_ms // 1000),
            "high": price(candle.high),
            "low": price(candle.low),
            "open": price(candle.open),
            "close": price(candle.close),
            "volume": size(candle.volume),
            "product_id": self.listing.symbol,
        }
        return (Frame(_message("candles", [{"type": "update", "candles": [data]}], now_ms)),)

    def first(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the last trades, or a ticker."""
        if stream.kind == "quote":
            return self._ticker("snapshot", view, now_ms)
        recent = view.recent(RECENT) if stream.kind == "trade" else []
        return (self._trades("snapshot", recent, now_ms),) if recent else ()

    def _trades(self, kind: str, prints: Sequence[Print], now_ms: int) -> Frame:
        trades = [advanced_trade(self.listing.symbol, each) for each in reversed(prints)]
        body = _message("market_trades", [{"type": kind, "trades": trades}], now_ms)
        return Frame(body, prints[0].number, prints[-1].number)

    def _ticker(self, kind: str, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        day, quote, numbers = view.day, view.quote, self.listing.numbers
        if day is None:
            return ()
        data = {
            "type": "ticker",
            "product_id": self.listing.symbol,
            "price": numbers.price(day.last),
            "volume_24_h": numbers.size(day.volume),
            "low_24_h": numbers.price(day.low),
            "high_24_h": numbers.price(day.high),
            "low_52_w": numbers.price(day.low),
            "high_52_w": numbers.price(day.high),
            "price_percent_chg_24_h": f"{(day.last / day.open - 1) * 100:.4f}",
            "best_bid": numbers.price(quote.bid),
            "best_bid_quantity": numbers.size(quote.bid_size),
            "best_ask": numbers.price(quote.ask),
            "best_ask_quantity": numbers.size(quote.ask_size),
        }
        return (Frame(_message("ticker", [{"type": kind, "tickers": [data]}], now_ms)),)

    def _levels(self, kind: str, sides: tuple[Levels, Levels], last_id: int, now_ms: int) -> Frame:
        time = iso(now_ms) if kind == "update" else "1970-01-01T00:00:00Z"
        updates = [
            {"side": side, "event_time": time, "price_level": price, "new_quantity": size}
            for side, levels in zip(("bid", "offer"), sides, strict=True)
            for price, size in levels
        ]
        event = {"type": kind, "product_id": self.listing.symbol, "updates": updates}
        return Frame(_message("l2_data", [event], now_ms), last_id, last_id)


def advanced_trade(product: str, made: Print) -> dict[str, str]:
    """Write a trade, as the stream and REST have it."""
    return {
        "product_id": product,
        "trade_id": str(made.number),
        "price": made.price,
        "size": made.size,
        "time": iso(made.time_ms),
        "side": MAKER_SIDES[made.is_buy],
    }


def _stream(channel: str, product: str) -> Stream:
    return Stream(
        market="advanced",
        name=f"{channel}:{product}",
        kind=KINDS[channel],
        symbol=product,
        channel=channel,
        every_ms=CANDLE_MS if channel == "candles" else BOOK_MS,
    )


def _message(channel: str, events: list[dict[str, Any]], now_ms: int) -> bytes:
    """Write a message, whose number is the connection's."""
    head = {"channel": channel, "client_id": "", "timestamp": iso(now_ms, 9), "sequence_num": 0}
    return msgspec.json.encode({**head, "events": events})


def _error(message: str) -> Say:
    return Say(msgspec.json.encode({"type": "error", "message": message}))
