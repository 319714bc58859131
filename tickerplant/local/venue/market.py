"""One synthetic symbol: its book, what happens in it, and who is told of it."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, islice
from operator import itemgetter
from random import Random
from typing import Final

from tickerplant.local.venue.candles import MINUTE_MS, Candle, CandleSeries
from tickerplant.local.venue.depth import DepthStream, book_of
from tickerplant.local.venue.dialect import Book, DayStatistics, Frame, MarketTerms, Marks, Print, Quote, Stream, Writer
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.listings import Listing
from tickerplant.local.venue.matching import Fill, OrderBook
from tickerplant.local.venue.traders import Traders

FUNDING_MS: Final = 28_800_000
FUNDING_RATE: Final = 0.0001
OPEN_INTEREST: Final = 1000.0
RECENT_TRADES: Final = 100
KEPT_TRADES: Final = 30_000
"""Of a symbol, for who asks for past ones; fewer where symbols are many."""
KEPT_TOGETHER: Final = 600_000
BOOK_LEVELS: Final = 1000  # of a whole book, unless its stream has fewer
LIQUIDATED: Final = 25  # of so many orders that match on a derivative, one is a liquidation
MARKED: Final = ("mark_price", "funding", "open_interest", "other")


def kept_trades(symbols: int) -> int:
    """Tell how many past trades each of so many symbols keeps."""
    return max(RECENT_TRADES, min(KEPT_TRADES, KEPT_TOGETHER // max(symbols, 1)))


class SymbolMarket:
    """Trades one symbol. Methods tell how many messages came of it, whether or not anybody listens.

    Args:
        next_id: gives ids of book updates.
        kept_trades: so many past trades can be asked for.
    """

    def __init__(
        self,
        listing: Listing,
        writer: Writer,
        terms: MarketTerms,
        *,
        hub: Hub,
        random: Random,
        next_id: Callable[[], int],
        kept_trades: int,
    ) -> None:
        self.listing = listing
        self.candles = CandleSeries()
        self.writer = writer
        self._terms = terms
        self._hub = hub
        self._numbers = listing.numbers
        self._matching = OrderBook(next_id)
        self._traders = Traders(self._matching, random, start=round(listing.start_price * self._numbers.price_scale))
        self._quote = self._best()
        self._day: DayStatistics | None = None
        self._trade_id = 0
        self._aggregate_id = 0
        self._recent: deque[Print] = deque(maxlen=kept_trades)
        self._has_news = False  # trades since candles and statistics were told last
        self._closed_ms = 0  # opening of the candle that was told as closed last
        self._seen_id = self._matching.update_id  # of the book, when it was last looked at for changes
        self._heard = hub.streams_of(listing.market, listing.symbol)  # by kind

    @property
    def quote(self) -> Quote:
        """The best of both sides."""
        return self._quote

    @property
    def day(self) -> DayStatistics | None:
        """Statistics; None = no trade yet."""
        return self._day

    @property
    def update_id(self) -> int:
        """Of the book's last change."""
        return self._matching.update_id

    def marks(self, now_ms: int) -> Marks:
        """Mark and index price (the middle of the book), funding of a perpetual, open interest (always the same)."""
        middle = (self._quote.bid + self._quote.ask) / 2 / self._numbers.price_scale
        if not self.listing.is_perpetual:
            return Marks(middle, middle, 0.0, 0, OPEN_INTEREST)
        return Marks(middle, middle, FUNDING_RATE, now_ms - now_ms % FUNDING_MS + FUNDING_MS, OPEN_INTEREST)

    def recent(self, most: int) -> list[Print]:
        """List the newest trades, oldest first."""
        return list(islice(self._recent, max(0, len(self._recent) - min(most, RECENT_TRADES)), None))

    def trades(self, from_id: int, most: int) -> list[Print]:
        """List trades from an id on, oldest first; from_id below 0 = the newest."""
        kept = self._recent
        if not kept:
            return []
        first = max(0, len(kept) - most if from_id < 0 else from_id - kept[0].number)
        return list(islice(kept, first, first + most))

    def depth(self, stream: Stream) -> DepthStream:
        """Begin a depth stream."""
        return DepthStream(stream, self._matching, self._numbers)

    def book(self, levels: int, now_ms: int) -> Book:
        """Give the book as it stands."""
        return book_of(self.listing.symbol, self._matching, self._numbers, levels, now_ms)

    def act(self, now_ms: int) -> int:
        """Let one order arrive."""
        is_buy, fills = self._traders.act()
        made = self._tell_trades(fills, now_ms, is_buy=is_buy) if fills else 0
        return made + self._tell_quote(now_ms)

    def count_change(self) -> int:
        """Tell 1 if the book has changed since this was asked last: a depth message is due, else 0."""
        seen, self._seen_id = self._seen_id, self._matching.update_id
        return int(seen != self._seen_id)

    def tell_depth(self, depth: DepthStream, now_ms: int) -> None:
        """Tell what has changed in the book since the stream told last; nothing = no message."""
        change = depth.next()
        if change is not None and self._hub.listeners(depth.stream.key):
            self._hub.publish_all(depth.stream, self.writer.depth(depth.stream, change, now_ms))

    def tell_book(self, stream: Stream, now_ms: int) -> None:
        """Tell the whole book."""
        book = self.book(stream.levels or BOOK_LEVELS, now_ms)
        self._hub.publish_all(stream, self.writer.book(stream, book, now_ms))

    def tell_second(self, now_ms: int, number: int) -> int:
        """Tell candle and statistics where there were trades, and marks; number: of this second."""
        made = self._tell_candles(now_ms)
        if self._terms.has_marks:
            made += 1
            for stream in self._streams(MARKED):
                if number % max(1, stream.every_ms // 1000) == 0:
                    self._hub.publish_all(stream, self.writer.marks(stream, self, now_ms))
        if not self._has_news:
            return made
        self._has_news = False
        for stream in self._streams(("ticker",)):
            self._hub.publish_all(stream, self.writer.ticker(stream, self, now_ms))
        return made + 1

    def _tell_trades(self, fills: list[Fill], now_ms: int, *, is_buy: bool) -> int:
        prints = [self._print(fill, now_ms, is_buy=is_buy) for fill in fills]
        self._has_news = True
        self._tell("trade", prints, now_ms)
        totals = [self._aggregate(list(group)) for _, group in groupby(prints, key=itemgetter(1))]
        self._tell("aggregate", totals, now_ms)
        if self._terms.has_marks and self._aggregate_id % LIQUIDATED == 0:
            self._tell("liquidation", totals[-1:], now_ms)
        return len(prints) + (len(totals) if self._terms.has_aggregates else 0)

    def _tell(self, kind: str, prints: Sequence[Print], now_ms: int) -> None:
        for stream in self._streams((kind,)):
            self._hub.publish_all(stream, self.writer.trades(stream, prints, now_ms))

    def _print(self, fill: Fill, now_ms: int, *, is_buy: bool) -> Print:
        """Take a trade into candles and statistics, and write it down."""
        self._trade_id += 1
        number, (price, lots) = self._trade_id, fill
        amount = self.listing.amount(price, lots)
        self.candles.minute(now_ms, number, price).add(number, price, lots, amount, is_buy=is_buy)
        if self._day is None:
            self._day = DayStatistics(now_ms, price, price, price)
        self._day.add(number, price, lots, amount)
        made = Print(number, self._numbers.price(price), self._numbers.size(lots), is_buy, now_ms, number, number)
        self._recent.append(made)
        return made

    def _aggregate(self, prints: list[Print]) -> Print:
        """Sum up the trades of one price."""
        self._aggregate_id += 1
        first, last = prints[0], prints[-1]
        lots = sum(round(float(each.size) * self._numbers.size_scale) for each in prints)
        return first._replace(number=self._aggregate_id, size=self._numbers.size(lots), last_id=last.number)

    def _tell_quote(self, now_ms: int) -> int:
        quote = self._best()
        if quote == self._quote:
            return 0
        self._quote = quote
        for stream in self._streams(("quote",)):
            self._hub.publish_all(stream, self.writer.quote(stream, self, now_ms))
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
            for stream in self._streams(("candle",)):
                self._hub.publish_all(stream, self._candle(stream, candle, now_ms, is_closed=is_closed))
        return made

    def _candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a minute, or the longer interval that it is the newest minute of."""
        if stream.every_ms <= MINUTE_MS:
            return self.writer.candle(stream, candle, now_ms, is_closed=is_closed)
        longer = [each for each in self.candles.merged(stream.every_ms) if each.open_ms <= candle.open_ms][-1]
        is_over = is_closed and now_ms >= longer.open_ms + stream.every_ms
        return self.writer.candle(stream, longer, now_ms, is_closed=is_over)

    def _open_candles(self) -> list[Candle]:
        minutes = self.candles.minutes
        newest = [minutes[-place] for place in (2, 1) if place <= len(minutes)]
        return [candle for candle in newest if candle.open_ms > self._closed_ms]

    def _streams(self, kinds: Iterable[str]) -> list[Stream]:
        """List the streams of these kinds that somebody listens to."""
        return [stream for kind in kinds for stream in self._heard.get(kind, {}).values()]

    def _best(self) -> Quote:
        bids, asks = self._matching.bids, self._matching.asks
        return Quote(bids.best(), bids.best_size(), asks.best(), asks.best_size())
