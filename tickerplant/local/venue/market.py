"""One synthetic symbol: its book, what happens in it, and the messages that tell of it."""

from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from random import Random
from typing import Any, Final

from tickerplant.local.venue.candles import MINUTE_MS, Candle, CandleSeries
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.klines import kline_rows
from tickerplant.local.venue.listings import Listing
from tickerplant.local.venue.matching import DeltaFeed, Fill, OrderBook
from tickerplant.local.venue.traders import Traders
from tickerplant.local.venue.wire import DayStatistics, Quote, Wire

FUNDING_MS: Final = 28_800_000
FUNDING_RATE: Final = 0.0001


class SymbolMarket:
    """Trades one symbol. Methods tell how many messages came of it, whether or not anybody listens.

    Args:
        next_id: gives ids of book updates.
    """

    def __init__(self, listing: Listing, hub: Hub, random: Random, next_id: Callable[[], int]) -> None:
        self.listing = listing
        self._hub = hub
        self._numbers = listing.numbers
        self._wire = Wire(listing)
        self._book = OrderBook(next_id)
        self._traders = Traders(self._book, random, start=round(listing.start_price * self._numbers.price_scale))
        self._quote = self._best()
        self._candles = CandleSeries()
        self._day: DayStatistics | None = None
        self._trade_id = 0
        self._aggregate_id = 0
        self._has_news = False  # trades since candles and statistics were told last
        self._closed_ms = 0  # opening of the candle that was told as closed last
        self._trade_key = self.key("trade")
        self._aggregate_key = self.key("aggTrade")
        self._quote_key = self.key("bookTicker")
        self._kline_key = self.key("kline_1m")
        self._ticker_key = self.key("ticker")

    def key(self, channel: str) -> str:
        """Name a stream of this symbol for the hub."""
        return f"{self.listing.market}/{self._wire.stream(channel)}"

    def new_feed(self) -> DeltaFeed:
        """Begin to gather the changes of the book."""
        feed = DeltaFeed(self._book.update_id)
        self._book.feeds.append(feed)
        return feed

    def act(self, now_ms: int) -> int:
        """Let one order arrive."""
        is_buy, fills = self._traders.act()
        made = self._tell_trades(fills, now_ms, is_buy=is_buy) if fills else 0
        return made + self._tell_quote(now_ms)

    def tell_depth(self, key: str, feed: DeltaFeed, now_ms: int) -> int:
        """Tell what has changed in the book since the feed was told last; nothing = no message."""
        if not feed.first_id:
            return 0
        bids, asks = feed.take(self._book.bids), feed.take(self._book.asks)
        ids = feed.first_id, self._book.update_id, feed.last_id
        feed.first_id, feed.last_id = 0, self._book.update_id
        if self._hub.listeners(key):
            self._hub.publish(key, self._wire.depth(key.partition("/")[2], ids, bids, asks, now_ms))
        return 1

    def tell_second(self, now_ms: int) -> int:
        """Tell candle and day statistics, where there were trades."""
        made = self._tell_candles(now_ms)
        if not self._has_news or self._day is None:
            return made
        self._has_news = False
        if self._hub.listeners(self._ticker_key):
            self._hub.publish(self._ticker_key, self._wire.ticker(self._day, self._quote, now_ms))
        return made + 1

    def tell_mark(self, channel: str, now_ms: int) -> int:
        """Tell mark and index price (the middle of the book), and the funding of a perpetual."""
        key = self.key(channel)
        if self._hub.listeners(key):
            middle = (self._quote.bid + self._quote.ask) / 2 / self._numbers.price_scale
            next_ms = 0 if self.listing.delivery_ms else now_ms - now_ms % FUNDING_MS + FUNDING_MS
            stream = self._wire.stream(channel)
            message = self._wire.mark_price(stream, middle, rate=FUNDING_RATE, next_ms=next_ms, time_ms=now_ms)
            self._hub.publish(key, message)
        return 1

    def depth(self, limit: int, now_ms: int) -> bytes:
        """Make the body of a depth answer."""
        book = self._book
        return self._wire.snapshot(book.update_id, book.bids.levels(limit), book.asks.levels(limit), now_ms)

    def klines(self, interval_ms: int, limit: int) -> list[list[Any]]:
        """Make the rows of a klines answer."""
        return kline_rows(self._candles, interval_ms, limit, self._numbers)

    def _tell_trades(self, fills: list[Fill], now_ms: int, *, is_buy: bool) -> int:
        made = 0
        for price, group in groupby(fills, key=itemgetter(0)):
            first_id, total = self._trade_id + 1, 0
            for fill in group:
                total += fill.lots
                self._tell_trade(fill, now_ms, is_buy=is_buy)
                made += 1
            self._aggregate_id += 1
            made += 1
            if self._hub.listeners(self._aggregate_key):
                ids = range(first_id, self._trade_id + 1)
                message = self._wire.aggregate(self._aggregate_id, price, total, now_ms, ids=ids, is_buy=is_buy)
                self._hub.publish(self._aggregate_key, message)
        self._has_news = True
        return made

    def _tell_trade(self, fill: Fill, now_ms: int, *, is_buy: bool) -> None:
        self._trade_id += 1
        number, (price, lots) = self._trade_id, fill
        if self._hub.listeners(self._trade_key):
            message = self._wire.trade(number, price, lots, now_ms, is_buy=is_buy)
            self._hub.publish(self._trade_key, message, (self.listing.market, self.listing.symbol, number))
        amount = self._amount(price, lots)
        self._candles.minute(now_ms, number, price).add(number, price, lots, amount, is_buy=is_buy)
        if self._day is None:
            self._day = DayStatistics(now_ms, price, price, price)
        self._day.add(number, price, lots, amount)

    def _amount(self, price: int, lots: int) -> float:
        """Tell what a trade is worth: in quote currency, of inverse contracts in base currency."""
        if self.listing.contract_usd:
            return lots * self.listing.contract_usd * self._numbers.price_scale / price
        return price * lots / (self._numbers.price_scale * self._numbers.size_scale)

    def _tell_quote(self, now_ms: int) -> int:
        quote = self._best()
        if quote == self._quote:
            return 0
        self._quote = quote
        if self._hub.listeners(self._quote_key):
            self._hub.publish(self._quote_key, self._wire.book_ticker(self._book.update_id, quote, now_ms))
        return 1

    def _tell_candles(self, now_ms: int) -> int:
        """Tell the running candle if it has news, and any older one once, as closed."""
        made = 0
        for candle in self._open_candles():
            is_closed = now_ms >= candle.open_ms + MINUTE_MS
            if not is_closed and not self._has_news:
                continue
            made += 1
            if is_closed:
                self._closed_ms = candle.open_ms
            if self._hub.listeners(self._kline_key):
                self._hub.publish(self._kline_key, self._wire.kline(candle, now_ms, is_closed=is_closed))
        return made

    def _open_candles(self) -> list[Candle]:
        minutes = self._candles.minutes
        newest = [minutes[-place] for place in (2, 1) if place <= len(minutes)]
        return [candle for candle in newest if candle.open_ms > self._closed_ms]

    def _best(self) -> Quote:
        bids, asks = self._book.bids, self._book.asks
        return Quote(bids.best(), bids.best_size(), asks.best(), asks.best_size())
