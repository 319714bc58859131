"""A seeded market of any number of symbols, in steps of 10 ms of its own time.

Everything that happens follows from seed, symbols and rate alone: who listens, how fast they read and what the clock
says changes when messages are made, never which. Where the rate is that of what is listened to, the less is, the more
happens, up to twice the rate. Work of many symbols is spread over the steps of a period.
"""

import asyncio
import time
from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate, count, zip_longest
from random import Random
from typing import Final

from tickerplant.clock import NowUs
from tickerplant.local.venue.candles import CandleSeries
from tickerplant.local.venue.depth import DepthStream
from tickerplant.local.venue.dialect import Book, Dialect, Frame, Print, Stream
from tickerplant.local.venue.hub import Hub, Spoil
from tickerplant.local.venue.listings import Listing, assets, next_name, split_symbols
from tickerplant.local.venue.market import BOOK_LEVELS, SymbolMarket, kept_trades
from tickerplant.local.venue.options import SyntheticOptions

STEP_S: Final = 0.01
STEP_MS: Final = 10
DEPTH_STEPS: Final = 10  # between two messages of the depth streams that the rate speaks of
SECOND_STEPS: Final = 100
MADE_MOST: Final = 2
"""So many frames are made for one that is asked for, where too few of them are listened to."""
LATE_MOST_S: Final = 1.0  # further behind, the market's time is moved instead of caught up


@dataclass(frozen=True, slots=True)
class _Periodic:
    """A depth or book stream, told each so many steps; the first steps of the periods of symbols differ."""

    symbol: SymbolMarket
    stream: Stream
    depth: DepthStream | None  # None = whole books
    every_steps: int
    at_step: int

    def tell(self, now_ms: int) -> None:
        if self.depth is None:
            self.symbol.tell_book(self.stream, now_ms)
        else:
            self.symbol.tell_depth(self.depth, now_ms)


class SyntheticMarket:
    """Makes the markets of all symbols and steps them."""

    def __init__(self, options: SyntheticOptions, dialect: Dialect, hub: Hub, now_us: NowUs) -> None:
        self._options = options
        self._dialect = dialect
        self._hub = hub
        self._now_us = now_us
        self._random = Random(options.seed)  # noqa: S311  # a market, not a secret
        self._symbols = self._make_symbols()
        self._places = {(each.listing.market, each.listing.symbol): place for place, each in enumerate(self._symbols)}
        self._shares = list(accumulate(1 / rank for rank in range(1, len(self._symbols) + 1)))
        self._periodic: dict[str, _Periodic] = {}
        self._steps = 0
        self._made = 0
        self._due = self._room = 0.0  # frames that are to be heard, and that may be made
        hub.told = self

    def listings(self, market: str) -> list[Listing]:
        """List the symbols of a market."""
        return [each.listing for each in self._symbols if each.listing.market == market]

    def listing(self, market: str, symbol: str) -> Listing | None:
        """Find a symbol; None = not listed."""
        found = self._find(market, symbol)
        return None if found is None else found.listing

    def book(self, market: str, symbol: str, levels: int) -> Book | None:
        """Give the book as it is; None = no such symbol."""
        found = self._find(market, symbol)
        return None if found is None else found.book(levels, self._now_ms())

    def candles(self, market: str, symbol: str) -> CandleSeries | None:
        """Give the minutes of a symbol; None = no such symbol."""
        found = self._find(market, symbol)
        return None if found is None else found.candles

    def trades(self, market: str, symbol: str, from_id: int, most: int) -> list[Print] | None:
        """Give trades from an id on, or the newest; None = no such symbol."""
        found = self._find(market, symbol)
        return None if found is None else found.trades(from_id, most)

    def recorded_instruments(self, market: str) -> bytes | None:
        """There is no recording."""
        del market
        return None

    def recorded_numbers(self) -> dict[str, int]:
        """There is no recording."""
        return {}

    def position(self) -> dict[str, int]:
        """Tell how far it is; `frames_made` counts those, too, that nobody listened to."""
        return {"steps": self._steps, "frames_made": self._made, "symbols": len(self._symbols)}

    def begin(self, stream: Stream) -> None:
        """Begin to gather what a depth stream tells."""
        symbol = self._find(stream.market, stream.symbol)
        if symbol is None or stream.key in self._periodic or stream.kind not in {"depth", "book"}:
            return
        depth = symbol.depth(stream) if stream.kind == "depth" else None
        every_steps = max(1, stream.every_ms // STEP_MS)
        place = self._places[stream.market, stream.symbol]
        self._periodic[stream.key] = _Periodic(symbol, stream, depth, every_steps, place % every_steps)

    def neighbour(self, market: str, symbol: str) -> str:
        """Name the symbol listed next, or the same where there is no other."""
        return next_name([each.symbol for each in self.listings(market)], symbol)

    def first(self, stream: Stream, spoil: Spoil) -> Iterable[Frame]:
        """Write what joins with a stream; a depth stream first tells what it has to tell."""
        symbol, now_ms = self._find(stream.market, stream.symbol), self._now_ms()
        if symbol is None:
            return ()
        if stream.kind not in {"depth", "book"}:
            return symbol.writer.first(stream, symbol, now_ms)
        self.begin(stream)
        periodic = self._periodic[stream.key]
        if periodic.depth is None:
            return symbol.writer.book(stream, spoil(symbol.book(stream.levels or BOOK_LEVELS, now_ms)), now_ms)
        periodic.tell(now_ms)
        return symbol.writer.book(stream, spoil(periodic.depth.whole(now_ms)), now_ms)

    async def run(self, is_stopping: Callable[[], bool]) -> None:
        """Trade until told to stop, then tell the last changes of all books."""
        next_s = time.monotonic()
        while not is_stopping():
            self.step()
            await self._hub.flush()
            next_s += STEP_S
            wait_s = next_s - time.monotonic()
            if wait_s < -LATE_MOST_S:
                next_s -= wait_s
            await asyncio.sleep(max(0.0, wait_s))
        now_ms = self._now_ms()
        for each in self._periodic.values():
            each.tell(now_ms)
        await self._hub.flush()

    def step(self) -> None:
        """Make what happens in 10 ms: what is due by the market's time, then orders up to the rate asked for.

        All that is made counts; with `is_rate_heard`, what somebody listens to, as soon as anybody does.
        """
        now_ms, hub, before = self._now_ms(), self._hub, self._hub.published
        made = self._tell_periodic(now_ms)
        is_heard = self._options.is_rate_heard and hub.is_heard
        wanted = self._options.rate_frames * STEP_S
        self._due += wanted - (hub.published - before if is_heard else made)
        self._room += wanted * MADE_MOST - made
        while self._due > 0 and self._room > 0:
            before = hub.published
            acted = self._choose().act(now_ms)
            self._due -= hub.published - before if is_heard else acted
            self._room -= acted
            made += acted
        self._due = min(self._due, wanted)  # what the bound left out is not made up for
        self._room = min(self._room, wanted * MADE_MOST)
        self._steps += 1
        self._made += made

    def _tell_periodic(self, now_ms: int) -> int:
        number = self._steps
        made = sum(each.count_change() for each in self._symbols[number % DEPTH_STEPS :: DEPTH_STEPS])
        for periodic in self._periodic.values():
            if number % periodic.every_steps == periodic.at_step:
                periodic.tell(now_ms)
        for symbol in self._symbols[number % SECOND_STEPS :: SECOND_STEPS]:
            made += symbol.tell_second(now_ms, number // SECOND_STEPS)
        return made

    def _choose(self) -> SymbolMarket:
        """Choose who trades: the n-th symbol n times less often than the first."""
        return self._symbols[bisect(self._shares, self._random.random() * self._shares[-1])]

    def _make_symbols(self) -> list[SymbolMarket]:
        """Make the symbols, the busiest first: the first ones of each market, then the second ones, and so on."""
        wanted = self._options.markets or tuple(self._dialect.MARKETS)
        terms = {name: each for name, each in self._dialect.MARKETS.items() if name in wanted and each.share}
        whole = sum(each.share for each in terms.values())
        counts = split_symbols(self._options.symbols, {name: each.share / whole for name, each in terms.items()})
        shared = {name: count(1).__next__ for name, each in terms.items() if each.are_ids_shared}
        listed = [self._dialect.listings(name, assets(most), self._now_ms()) for name, most in counts.items()]
        kept = kept_trades(sum(map(len, listed)))
        return [
            SymbolMarket(
                each,
                self._dialect.writer(each),
                terms[each.market],
                hub=self._hub,
                random=self._random,
                next_id=shared.get(each.market) or count(1).__next__,
                kept_trades=kept,
            )
            for rank in zip_longest(*listed)
            for each in rank
            if each is not None
        ]

    def _find(self, market: str, symbol: str) -> SymbolMarket | None:
        place = self._places.get((market, symbol))
        return None if place is None else self._symbols[place]

    def _now_ms(self) -> int:
        return self._now_us() // 1000
