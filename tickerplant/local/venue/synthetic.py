"""A seeded market of any number of symbols, in steps of 10 ms of its own time.

Everything that happens follows from seed, symbols and rate alone: who listens, how fast they read and what the clock
says changes when messages are made, never which. Work of many symbols is spread over the steps of a period.
"""

import asyncio
import time
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, count, groupby, zip_longest
from operator import attrgetter
from random import Random
from typing import Any, Final

from tickerplant.clock import NowUs
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.listings import Listing, exchange_info, synthetic_listings
from tickerplant.local.venue.market import SymbolMarket
from tickerplant.local.venue.matching import DeltaFeed
from tickerplant.local.venue.options import SyntheticOptions
from tickerplant.local.venue.streams import depth_interval_ms

STEP_S: Final = 0.01
DEPTH_MS: Final = 100
DEPTH_STEPS: Final = 10
SECOND_STEPS: Final = 100
SLOW_MARK_SECONDS: Final = 3  # between messages of `markPrice` without a speed
LATE_MOST_S: Final = 1.0  # further behind, the market's time is moved instead of caught up


@dataclass(frozen=True, slots=True)
class _Depth:
    """A depth stream of a symbol and what it has not told yet."""

    symbol: SymbolMarket
    key: str
    feed: DeltaFeed

    def tell(self, now_ms: int) -> int:
        return self.symbol.tell_depth(self.key, self.feed, now_ms)


class SyntheticMarket:
    """Makes the markets of all symbols and steps them."""

    def __init__(self, options: SyntheticOptions, hub: Hub, now_us: NowUs) -> None:
        self._options = options
        self._hub = hub
        self._now_us = now_us
        self._random = Random(options.seed)  # noqa: S311  # a market, not a secret
        self._symbols = self._make_symbols()
        self._by_name = {(each.listing.market, each.listing.symbol): each for each in self._symbols}
        self._shares = list(accumulate(1 / rank for rank in range(1, len(self._symbols) + 1)))
        self._depths = [self._depth(each, f"depth@{DEPTH_MS}ms") for each in self._symbols]
        self._other_depths: dict[str, tuple[int, _Depth]] = {}
        self._steps = 0
        self._made = 0
        self._due = 0.0
        hub.on_new_stream = self._see_subscription

    def exchange_info(self, market: str, now_ms: int) -> bytes:
        """List the symbols of a market."""
        return exchange_info(market, [each.listing for each in self._symbols], now_ms)

    def depth(self, market: str, symbol: str, limit: int) -> bytes | None:
        """Give the book as it is; None = no such symbol."""
        found = self._by_name.get((market, symbol))
        return None if found is None else found.depth(limit, self._now_us() // 1000)

    def klines(self, market: str, symbol: str, interval_ms: int, limit: int) -> list[list[Any]] | None:
        """Give the newest candles; None = no such symbol."""
        found = self._by_name.get((market, symbol))
        return None if found is None else found.klines(interval_ms, limit)

    def position(self) -> dict[str, int]:
        """Tell how far it is; `frames_made` counts those, too, that nobody listened to."""
        return {"steps": self._steps, "frames_made": self._made, "symbols": len(self._symbols)}

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
        now_ms = self._now_us() // 1000
        for each in (*self._depths, *(depth for _, depth in self._other_depths.values())):
            self._made += each.tell(now_ms)
        await self._hub.flush()

    def step(self) -> None:
        """Make what happens in 10 ms: what is due by the market's time, then orders up to the rate asked for."""
        now_ms = self._now_us() // 1000
        made = self._tell_periodic(now_ms)
        self._due += self._options.rate_frames * STEP_S - made
        while self._due > 0:
            acted = self._choose().act(now_ms)
            self._due -= acted
            made += acted
        self._steps += 1
        self._made += made

    def _tell_periodic(self, now_ms: int) -> int:
        number = self._steps
        made = sum(each.tell(now_ms) for each in self._depths[number % DEPTH_STEPS :: DEPTH_STEPS])
        for every_steps, depth in self._other_depths.values():
            if number % every_steps == 0:
                depth.tell(now_ms)
        for each in self._symbols[number % SECOND_STEPS :: SECOND_STEPS]:
            made += each.tell_second(now_ms)
            if each.listing.market != "spot":
                made += each.tell_mark("markPrice@1s", now_ms)
                if number // SECOND_STEPS % SLOW_MARK_SECONDS == 0:
                    each.tell_mark("markPrice", now_ms)
        return made

    def _choose(self) -> SymbolMarket:
        """Choose who trades: the n-th symbol n times less often than the first."""
        return self._symbols[bisect(self._shares, self._random.random() * self._shares[-1])]

    def _make_symbols(self) -> list[SymbolMarket]:
        listings = _busiest_first(synthetic_listings(self._options.symbols, self._now_us() // 1000))
        shared = {market: count(1).__next__ for market in ("usdm", "coinm")}  # futures number all books together
        return [
            SymbolMarket(each, self._hub, self._random, shared.get(each.market) or count(1).__next__)
            for each in listings
        ]

    def _depth(self, symbol: SymbolMarket, channel: str) -> _Depth:
        return _Depth(symbol, symbol.key(channel), symbol.new_feed())

    def _see_subscription(self, key: str) -> None:
        """Begin a depth stream of another speed than the usual one when somebody first listens."""
        market, _, stream = key.partition("/")
        interval_ms = depth_interval_ms(market, stream)
        name, _, channel = stream.partition("@")
        symbol = self._by_name.get((market, name.upper()))
        if symbol is None or interval_ms is None or key in self._other_depths or channel == f"depth@{DEPTH_MS}ms":
            return
        every_steps = max(1, interval_ms // round(STEP_S * 1000))
        self._other_depths[key] = (every_steps, self._depth(symbol, channel))


def _busiest_first(listings: list[Listing]) -> list[Listing]:
    """Mix the markets: the first symbols of each, then the second ones, and so on."""
    by_market = (list(group) for _, group in groupby(listings, key=attrgetter("market")))
    return [each for rank in zip_longest(*by_market) for each in rank if each is not None]
