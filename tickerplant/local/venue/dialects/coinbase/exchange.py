"""Coinbase's Exchange feed: books without numbers, matches with the maker's side; pure.

Source: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

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

KINDS: Final[dict[str, Kind]] = {"matches": "trade", "ticker": "quote", "level2_batch": "depth"}
TOLD_AS: Final = {"level2_batch": "level2_50"}  # in answers
KEYED: Final = frozenset({"level2", "full"})
BOOK_MS: Final = 50
PATIENCE_S: Final = 5.0  # without a subscription
MAKER_SIDES: Final = {True: "sell", False: "buy"}  # by whether the aggressor buys
ORDER_ID: Final = "00000000-0000-4000-8000-{:012x}"


class ExchangeConversation(Conversation):
    """Types of requests: subscribe, unsubscribe. An answer tells all that is subscribed then."""

    tick_s = 1.0

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._heard: dict[tuple[str, str], Stream] = {}  # by channel and product
        self._has_subscribed = False

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do a request; one with an error in it does nothing else."""
        del now
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return (_error("Malformed JSON", ""),)
        kind = request.get("type") if isinstance(request, Mapping) else None
        if kind not in {"subscribe", "unsubscribe"}:
            return (_error("Type has to be either subscribe or unsubscribe", ""),)
        wanted = list(_wanted(request))
        for channel, product in wanted:
            if channel in KEYED:
                return (_error("Failed to subscribe", f"{channel} channel requires authentication"),)
            if channel not in KINDS:
                return (_error("Failed to subscribe", f"{channel} is not a valid channel"),)
            if self._symbols.listing("exchange", product) is None:
                return (_error("Failed to subscribe", f"{product} is not a valid product"),)
        changes = self._subscribe(wanted) if kind == "subscribe" else self._unsubscribe(wanted)
        return (self._told(), *changes)

    def tick(self, now: Now) -> Iterable[Action]:
        """End a connection that asks for nothing."""
        is_idle = not self._has_subscribed and now.s > PATIENCE_S
        return (Close(1008, "no subscription"),) if is_idle else ()

    def _subscribe(self, wanted: Sequence[tuple[str, str]]) -> list[Action]:
        self._has_subscribed = True
        new = [each for each in dict.fromkeys(wanted) if each not in self._heard]
        self._heard.update((each, _stream(*each)) for each in new)
        return [Subscribe(self._heard[each], with_first=True) for each in new]

    def _unsubscribe(self, wanted: Sequence[tuple[str, str]]) -> list[Action]:
        gone = [self._heard.pop(each, None) for each in wanted]
        return [Unsubscribe(stream) for stream in gone if stream is not None]

    def _told(self) -> Say:
        products: dict[str, list[str]] = {}
        for channel, product in self._heard:
            products.setdefault(channel, []).append(product)
        channels = [
            {"name": TOLD_AS.get(channel, channel), "product_ids": names, "account_ids": None}
            for channel, names in products.items()
        ]
        return Say(msgspec.json.encode({"type": "subscriptions", "channels": channels}))


class ExchangeWriter(Writer):
    """Writes the messages of one product."""

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write a message for each trade."""
        del stream, now_ms
        return [self._match("match", each) for each in prints]

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write a ticker; none before the first trade."""
        del stream
        day, quote, numbers = view.day, view.quote, self.listing.numbers
        if day is None:
            return ()
        body = {
            "type": "ticker",
            "sequence": view.update_id,
            "product_id": self.listing.symbol,
            "price": numbers.price(day.last),
            "open_24h": numbers.price(day.open),
            "volume_24h": numbers.size(day.volume),
            "low_24h": numbers.price(day.low),
            "high_24h": numbers.price(day.high),
            "volume_30d": numbers.size(day.volume),
            "best_bid": numbers.price(quote.bid),
            "best_bid_size": numbers.size(quote.bid_size),
            "best_ask": numbers.price(quote.ask),
            "best_ask_size": numbers.size(quote.ask_size),
            "side": "buy",
            "time": iso(now_ms),
            "trade_id": day.last_id,
            "last_size": numbers.size(day.last_lots),
        }
        return (Frame(msgspec.json.encode(body)),)

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write what changed."""
        del stream
        changes = [*_changes("buy", change.bids), *_changes("sell", change.asks)]
        body = {"type": "l2update", "product_id": self.listing.symbol, "changes": changes, "time": iso(now_ms)}
        return (Frame(msgspec.json.encode(body), change.last_id, change.last_id),)

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a snapshot."""
        del stream
        sides = {"asks": book.asks, "bids": book.bids}
        body = {"type": "snapshot", "product_id": book.symbol, **sides, "time": iso(now_ms)}
        return (Frame(msgspec.json.encode(body), book.last_id, book.last_id),)

    def first(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the last trade, or a ticker."""
        if stream.kind == "quote":
            return self.quote(stream, view, now_ms)
        return [self._match("last_match", each) for each in view.recent(1)]

    def _match(self, kind: str, made: Print) -> Frame:
        body = {
            "type": kind,
            "trade_id": made.number,
            "maker_order_id": ORDER_ID.format(2 * made.number),
            "taker_order_id": ORDER_ID.format(2 * made.number + 1),
            "side": MAKER_SIDES[made.is_buy],
            "size": made.size,
            "price": made.price,
            "product_id": self.listing.symbol,
            "sequence": made.number,
            "time": iso(made.time_ms),
        }
        return Frame(msgspec.json.encode(body), made.number, made.number)


def past_trade(made: Print) -> dict[str, Any]:
    """Make a row of an answer of past trades."""
    side = MAKER_SIDES[made.is_buy]
    return {"trade_id": made.number, "side": side, "size": made.size, "price": made.price, "time": iso(made.time_ms)}


def _wanted(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield channel and product of all that a request names: products for all channels, or for one."""
    shared = [str(each) for each in request.get("product_ids") or ()]
    for channel in request.get("channels") or ():
        if isinstance(channel, Mapping):
            own = [str(each) for each in channel.get("product_ids", shared)]
            yield from ((str(channel.get("name")), product) for product in own)
        else:
            yield from ((str(channel), product) for product in shared)


def _stream(channel: str, product: str) -> Stream:
    name = f"{channel}:{product}"
    return Stream(market="exchange", name=name, kind=KINDS[channel], symbol=product, channel=channel, every_ms=BOOK_MS)


def _changes(side: str, levels: Levels) -> list[tuple[str, str, str]]:
    return [(side, price, size) for price, size in levels]


def _error(message: str, reason: str) -> Say:
    body = {"type": "error", "message": message, **({"reason": reason} if reason else {})}
    return Say(msgspec.json.encode(body))
