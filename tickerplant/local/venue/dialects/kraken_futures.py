"""Kraken's futures as the simulated venue speaks them: feeds of products, books by seq, one level a message.

Source: https://docs.kraken.com/api/docs/futures-api/websocket/book
Source: https://docs.kraken.com/api/docs/futures-api/trading/get-instruments
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tickerplant.local.venue.candles import MINUTE_MS, Candle
from tickerplant.local.venue.dialect import (
    Action,
    Answer,
    Ask,
    Book,
    BookChange,
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
from tickerplant.local.venue.listings import Asset, Listing, price_decimals, quarter_end_ms, with_a_future
from tickerplant.local.venue.numbers import numbers_of
from tickerplant.local.venue.past import newest_first
from tickerplant.local.venue.text import iso

MARKET: Final = "futures"
ALIASES: Final = {"BTC": "XBT", "DOGE": "XDG"}
KINDS: Final[dict[str, Kind]] = {"book": "depth", "trade": "trade", "ticker": "ticker"}
CANDLES: Final = {
    f"candles_trade_{word}": minutes * MINUTE_MS
    for word, minutes in (
        ("1m", 1), ("5m", 5), ("15m", 15), ("30m", 30), ("1h", 60), ("4h", 240), ("12h", 720), ("1d", 1440),
        ("1w", 10080),
    )
}  # fmt: skip
"""Feed → interval in ms."""
HEARTBEAT: Final = "heartbeat"
BOOK_MS: Final = 50
TRADES_AT_FIRST: Final = 100
PAST_TRADES: Final = 100
SIZE_DECIMALS: Final = 4
INVERSE_AT: Final = 3  # in the list, where there are as many: a contract of one dollar


def listings(assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List perpetuals, a dated future among them, and one that is inverse."""
    expiry_ms = quarter_end_ms(now_ms)
    return [
        _listing(asset, expiry_ms if is_dated else 0, is_inverse=number == INVERSE_AT)
        for number, (asset, is_dated) in enumerate(with_a_future(assets))
    ]


def instruments(ask: Ask) -> Answer:
    """Answer the list of instruments."""
    rows = [_instrument(each) for each in ask.market.listings(MARKET)]
    return Answer(msgspec.json.encode({"result": "success", "instruments": rows}))


def past_trades(ask: Ask) -> Answer:
    """Answer the newest trades, newest first; `trade_id` counts those of the answer."""
    found = newest_first(ask, MARKET, ask.query.get("symbol", "").upper(), PAST_TRADES)
    if found is None:
        return Answer(msgspec.json.encode({"result": "error", "error": "contractNotFound"}))
    rows = [
        {
            "time": iso(each.time_ms, 3),
            "trade_id": len(found) - place,
            "price": float(each.price),
            "size": float(each.size),
            "side": "buy" if each.is_buy else "sell",
            "type": "fill",
            "uid": uid(each.number),
        }
        for place, each in enumerate(found)
    ]
    return Answer(msgspec.json.encode({"result": "success", "history": rows, "serverTime": iso(ask.now_ms, 3)}))


def uid(number: int) -> str:
    """Write the name of a trade as UUIDs look."""
    return f"00000000-0000-4000-8000-{number:012d}"


class FuturesConversation(Conversation):
    """Events: subscribe and unsubscribe, of feeds and products; each product is answered by itself."""

    tick_s = 0.5

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._beats = False
        self._beat_s = 0.0

    def open(self, now: Now) -> Iterable[Action]:
        """Greet."""
        del now
        return (_say({"event": "info", "version": 1}),)

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do an event."""
        del now
        try:
            event = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            event = None
        verb = event.get("event") if isinstance(event, Mapping) else None
        if verb not in {"subscribe", "unsubscribe"}:
            return (_say({"event": "alert", "message": "Bad request"}),)
        feed, products = str(event.get("feed")), event.get("product_ids") or []
        if feed == HEARTBEAT:
            self._beats = verb == "subscribe"
            return (_say({"event": f"{verb}d", "feed": feed}),)
        if feed not in KINDS | CANDLES or not products:
            return (_say({"event": "error", "message": "Invalid feed" if products else "Invalid product id"}),)
        return [action for product in products for action in self._one(str(verb), feed, str(product).upper())]

    def tick(self, now: Now) -> Iterable[Action]:
        """Send a heartbeat each second to those who want it."""
        if not self._beats or now.s - self._beat_s < 1.0:
            return ()
        self._beat_s = now.s
        return (_say({"feed": HEARTBEAT, "time": now.ms}),)

    def _one(self, verb: str, feed: str, product: str) -> Iterable[Action]:
        if self._symbols.listing(MARKET, product) is None:
            return (_say({"event": "error", "message": "Invalid product id"}),)
        kind = KINDS.get(feed, "candle")
        every_ms = CANDLES.get(feed, BOOK_MS if kind == "depth" else 1000)
        name = f"{feed}:{product}"
        stream = Stream(market=MARKET, name=name, kind=kind, symbol=product, channel=feed, every_ms=every_ms)
        answer = _say({"event": f"{verb}d", "feed": feed, "product_ids": [product]})
        return (answer, Subscribe(stream, with_first=True)) if verb == "subscribe" else (Unsubscribe(stream), answer)


class FuturesWriter(Writer):
    """Writes the feeds of one product; numbers are unquoted."""

    def trade_id(self, number: int) -> str:
        """Write an id as messages have it."""
        return uid(number)

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write a message a trade."""
        del stream, now_ms
        return [Frame(_encode(self._trade(each)), each.number, each.number) for each in prints]

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write a message for each change of a level, with its id."""
        del stream
        head = f'{{"feed":"book","product_id":"{self.listing.symbol}","side":"'
        return [
            Frame(
                (
                    f'{head}{"buy" if each.is_bid else "sell"}","seq":{each.update_id},"price":{each.price},'
                    f'"qty":{each.size},"timestamp":{now_ms}}}'
                ).encode(),
                each.update_id,
                each.update_id,
            )
            for each in change.each()
        ]

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a snapshot."""
        del stream
        text = (
            f'{{"feed":"book_snapshot","product_id":"{self.listing.symbol}","timestamp":{now_ms},"seq":{book.last_id},'
            f'"tickSize":null,"bids":[{_levels(book.bids)}],"asks":[{_levels(book.asks)}]}}'
        )
        return (Frame(text.encode(), book.last_id, book.last_id),)

    def first(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write recent trades, the newest first, a ticker, or a candle; nothing where nobody has traded yet."""
        if stream.kind == "candle":
            found = list(view.candles.merged(stream.every_ms))[-1:]
            return [Frame(self._candle(f"{stream.channel}_snapshot", each)) for each in found]
        if stream.kind != "trade":
            return self.ticker(stream, view, now_ms)
        prints = view.recent(TRADES_AT_FIRST)
        if not prints:
            return ()
        rows = [self._trade(each) for each in reversed(prints)]
        ids = (prints[0].number, prints[-1].number)
        return (Frame(_encode({"feed": "trade_snapshot", "product_id": self.listing.symbol, "trades": rows}), *ids),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle; nothing says that it is closed."""
        del now_ms, is_closed
        return (Frame(self._candle(stream.channel, candle)),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write statistics, marks and funding."""
        del stream
        quote, day, marks = view.quote, view.day, view.marks(now_ms)
        opened, last = (day.open, day.last) if day else (quote.bid, quote.bid)
        high, low, volume = (day.high, day.low, day.volume) if day else (quote.bid, quote.bid, 0)
        price, size = self._price, self._size
        funding = {
            "relative_funding_rate": marks.funding_rate,
            "relative_funding_rate_prediction": marks.funding_rate,
            "funding_rate": marks.funding_rate * marks.mark_price,
            "funding_rate_prediction": marks.funding_rate * marks.mark_price,
            "next_funding_rate_time": marks.funding_ms,
        }
        body = {
            "time": now_ms,
            "product_id": self.listing.symbol,
            **(funding if marks.funding_ms else {}),
            "feed": "ticker",
            "bid": price(quote.bid),
            "ask": price(quote.ask),
            "bid_size": size(quote.bid_size),
            "ask_size": size(quote.ask_size),
            "volume": size(volume),
            "index": marks.index_price,
            "last": price(last),
            "change": round((last / opened - 1) * 100, 4),
            "suspended": False,
            "tag": "perpetual" if self.listing.is_perpetual else "quarter",
            "pair": f"{self.listing.base}:{self.listing.quote}",
            "openInterest": marks.open_interest,
            "markPrice": marks.mark_price,
            "maturityTime": self.listing.delivery_ms,
            "post_only": False,
            "open": price(opened),
            "high": price(high),
            "low": price(low),
        }
        return (Frame(_encode(body)),)

    def _trade(self, made: Print) -> dict[str, Any]:
        return {
            "feed": "trade",
            "product_id": self.listing.symbol,
            "uid": self.trade_id(made.number),
            "side": "buy" if made.is_buy else "sell",
            "type": "fill",
            "seq": made.number,
            "time": made.time_ms,
            "qty": float(made.size),
            "price": float(made.price),
        }

    def _candle(self, feed: str, candle: Candle) -> bytes:
        price, size = self.listing.numbers.price, self.listing.numbers.size
        row = {
            "time": candle.open_ms,
            "open": price(candle.open),
            "high": price(candle.high),
            "low": price(candle.low),
            "close": price(candle.close),
            "volume": size(candle.volume),
        }
        return _encode({"feed": feed, "candle": row, "product_id": self.listing.symbol})

    def _price(self, ticks: float) -> float:
        return float(self.listing.numbers.price(ticks))

    def _size(self, lots: float) -> float:
        return float(self.listing.numbers.size(lots))


def _listing(asset: Asset, expiry_ms: int, *, is_inverse: bool) -> Listing:
    sort = "I" if is_inverse else "F"
    day = f"_{datetime.fromtimestamp(expiry_ms / 1000, UTC):%y%m%d}" if expiry_ms else ""
    return Listing(
        market=MARKET,
        symbol=f"{'F' if expiry_ms else 'P'}{sort}_{ALIASES.get(asset.base, asset.base)}USD{day}",
        base=asset.base,
        quote="USD",
        numbers=numbers_of(price_decimals(asset.price), 0 if is_inverse else SIZE_DECIMALS),
        start_price=asset.price,
        is_perpetual=not expiry_ms,
        delivery_ms=expiry_ms,
        is_inverse=is_inverse,
    )


def _instrument(listing: Listing) -> dict[str, Any]:
    expiry = {"lastTradingTime": iso(listing.delivery_ms, 3)} if listing.delivery_ms else {}
    return {
        "symbol": listing.symbol,
        "type": "futures_inverse" if listing.is_inverse else "flexible_futures",
        **expiry,
        "tickSize": float(listing.numbers.price(1)),
        "contractSize": 1,
        "tradeable": True,
        "contractValueTradePrecision": listing.numbers.size_decimals,
        "base": listing.base,
        "quote": listing.quote,
        "pair": f"{listing.base}:{listing.quote}",
    }


def _levels(levels: Levels) -> str:
    return ",".join([f'{{"price":{price},"qty":{size}}}' for price, size in levels])


def _say(body: Mapping[str, Any]) -> Say:
    return Say(_encode(body))


def _encode(body: object) -> bytes:
    return msgspec.json.encode(body)
