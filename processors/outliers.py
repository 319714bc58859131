"""Trade prices of one symbol → which lie over 5 sigma from their recent past; pure, told at once, never revised.

    m = median of the last 31 prices
    d = |ln(price / m)|
    sigma = max(95 % quantile of the last 256 d / 1.96, median of the last 8 d / 0.6745, 0.1 bp, half a tick)
            * sqrt(1 + time since the last trade but one / time that the prices up to it took, at least 1 s)
    outlier: d > 5 sigma, and |ln(price / median of the last 3 prices)| > 5 sigma

For normal returns both estimates are the standard deviation. Returns of trades are not: most are 0, so that their
median says nothing; the quantile is what one bad print in twenty cannot move. The median of the last 8 follows a market
that begins to move. Two prints at a new level make it one. Trades of a time that is over are judged by
what was known then, restored ones by those around them, and are no part of the past. See docs/quality.md.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence
from math import log, sqrt
from typing import Final

import msgspec

from processors.trail import Mark, Trail, TrailPiece

PRICES: Final = 31
DEVIATIONS: Final = 256
LATEST_PRICES: Final = 3
LATEST_DEVIATIONS: Final = 8
FEWEST: Final = 32
"""Deviations without which nothing is judged."""
QUANTILE: Final = 0.95
QUANTILE_SIGMAS: Final = 1.959964
MEDIAN_SIGMAS: Final = 0.6744898
LEAST_SIGMA: Final = 1e-5
FAR_SIGMAS: Final = 5.0
LEAST_FAR: Final = FAR_SIGMAS * LEAST_SIGMA
"""No deviation up to here is far, whatever sigma is."""
BURST_BITS: Final = 2**64 - 1
BURST: Final = 8
"""Outliers among the last 64 trades that are a burst."""
SHORT_US: Final = 1_000_000
BACK_US: Final = 2_000_000
SILENT_US: Final = 3600_000_000
SILENCES: Final = 8
"""After so long without a trade, and so many times what the 31 prices took, all begins anew."""


class OutliersPiece(msgspec.Struct, array_like=True):
    """State of `Outliers`; in a change, `prices` and `deviations` are those that came since."""

    is_whole: bool = True
    prices: list[tuple[float, int]] = []
    deviations: list[float] = []
    newest_us: int = 0
    lately: int = 0
    trail: TrailPiece = msgspec.field(default_factory=TrailPiece)


def verdicts(trades: Iterable[tuple[float, int]], tick_size: float | None) -> list[bool | None]:
    """Judge trades that followed one another (price, time in µs; oldest first) as if they came just now.

    Returns:
        Of each, whether it is an outlier; None = too few came before it to tell.
    """
    outliers = Outliers(tick_size)
    found: list[bool | None] = []
    for price, time_us in trades:
        is_known = outliers.sigma(price, time_us) is not None
        is_far = outliers.is_outlier(price, time_us)
        found.append(is_far if is_known else None)
    return found


class Outliers:
    """Judges the trades of one symbol, in the order in which they came.

    Args:
        tick_size: of the symbol's prices; None = not known.
    """

    __slots__ = (
        "_by_age", "_by_deviation", "_by_price", "_deviations", "_fresh_deviations", "_fresh_prices", "_lately",
        "_newest_us", "_trail", "tick_size",
    )  # fmt: skip

    def __init__(self, tick_size: float | None = None) -> None:
        self.tick_size = tick_size
        self._lately = 0  # a bit for each of the last 64 trades, the newest is the lowest: 1 = an outlier
        self._fresh_prices = self._fresh_deviations = 0
        self._trail = Trail()
        self._begin()

    def is_outlier(self, price: float, time_us: int) -> bool:
        """Judge a price (above 0) and take it in; `time_us` is the exchange's, for want of one that of receipt."""
        if time_us - self._newest_us > SILENT_US and self._is_over(time_us):
            self._begin()
        by_price = self._by_price
        if not by_price:
            self._add_price(price, time_us)
            return False
        deviation = abs(log(price / by_price[len(by_price) // 2]))
        is_far = deviation > LEAST_FAR and self._is_far(deviation, price, time_us)
        self._add_price(price, time_us)
        self._add_deviation(deviation)
        if is_far or self._lately:
            self._lately = (self._lately << 1 | is_far) & BURST_BITS
        if self._newest_us >= self._trail.next_us and not is_far and len(self._by_deviation) >= FEWEST:
            self._trail.add(self._mark())
        return is_far

    def was_outlier(self, price: float, time_us: int) -> bool:
        """Judge a price of a time that is over, since it came late or was fetched later; it is no part of the past.

        It must lie far from the price before that time and from the one after it, and not between the two: where trades
        are missing, the market may have gone from one to the other at any time.
        """
        found = self._trail.around(time_us)
        if found is None:
            return False
        before, after = found
        if after is None:
            after = self._mark() if len(self._by_deviation) >= FEWEST else before
        is_between = min(before.price, after.price) < price < max(before.price, after.price)
        return not is_between and all(each.is_far(price, time_us, FAR_SIGMAS) for each in (before, after))

    @property
    def is_burst(self) -> bool:
        """Tell whether many of the last trades were outliers."""
        return self._lately.bit_count() >= BURST

    def sigma(self, price: float, time_us: int) -> float | None:
        """Tell sigma of the log-return of a trade that comes at a time; None = too few came before."""
        if len(self._by_deviation) < FEWEST or (time_us - self._newest_us > SILENT_US and self._is_over(time_us)):
            return None
        return self._sigma(price) * self._stretch(time_us)

    def follow(self) -> None:
        """Note from now on what comes."""
        self._trail.follow()
        self._fresh_prices = self._fresh_deviations = 0

    def capture(self, *, is_whole: bool) -> OutliersPiece:
        """Tell all that is needed to go on elsewhere, or what came since `follow`."""
        prices, deviations = list(self._by_age), list(self._deviations)
        is_whole = is_whole or self._fresh_deviations >= DEVIATIONS
        if not is_whole:
            prices = prices[len(prices) - min(self._fresh_prices, len(prices)) :]
            deviations = deviations[len(deviations) - min(self._fresh_deviations, len(deviations)) :]
        trail = self._trail.capture(is_whole=is_whole)
        return OutliersPiece(is_whole, prices, deviations, self._newest_us, self._lately, trail)

    def restore(self, pieces: Sequence[OutliersPiece]) -> None:
        """Go on from a whole capture and the changes behind it, in order."""
        first = max((number for number, piece in enumerate(pieces) if piece.is_whole), default=0)
        for piece in pieces[first:]:
            for price, time_us in piece.prices:
                self._add_price(price, time_us)
            for deviation in piece.deviations:
                self._add_deviation(deviation)
            self._newest_us, self._lately = piece.newest_us, piece.lately
            self._trail.restore(piece.trail)
        self.follow()

    def _begin(self) -> None:
        self._by_age: deque[tuple[float, int]] = deque()
        self._by_price: list[float] = []
        self._deviations: deque[float] = deque()
        self._by_deviation: list[float] = []
        self._newest_us = 0
        self._fresh_prices = self._fresh_deviations = DEVIATIONS  # what was captured before is not gone on with

    def _is_far(self, deviation: float, price: float, time_us: int) -> bool:
        if len(self._by_deviation) < FEWEST or deviation <= FAR_SIGMAS * self._slow_sigma():
            return False
        sigma = self.sigma(price, time_us)
        if sigma is None or deviation <= FAR_SIGMAS * sigma:
            return False
        latest = sorted(price for price, _ in list(self._by_age)[-LATEST_PRICES:])
        return abs(log(price / latest[len(latest) // 2])) > FAR_SIGMAS * sigma

    def _mark(self) -> Mark:
        """Tell what is known as of the newest price; there must be enough."""
        price, took_us = self._by_age[-1][0], max(SHORT_US, self._newest_us - self._by_age[0][1])
        return Mark(self._newest_us, price, self._sigma(price), took_us)

    def _is_over(self, time_us: int) -> bool:
        """Tell whether a silence is long for this symbol, so that nothing is known any more."""
        if len(self._by_deviation) < FEWEST:
            return False
        return time_us - self._newest_us > SILENCES * (self._newest_us - self._by_age[0][1])

    def _sigma(self, price: float) -> float:
        """Tell sigma of a trade that comes at once."""
        latest = sorted(list(self._deviations)[-LATEST_DEVIATIONS:])
        floor = max(LEAST_SIGMA, (self.tick_size or 0.0) / 2 / price)
        return max(self._slow_sigma(), latest[len(latest) // 2] / MEDIAN_SIGMAS, floor)

    def _slow_sigma(self) -> float:
        by_deviation = self._by_deviation
        return by_deviation[int(len(by_deviation) * QUANTILE)] / QUANTILE_SIGMAS

    def _stretch(self, time_us: int) -> float:
        """Tell how much further a price may have gone, by the square root of time, since the last trade but one.

        The last one may be the first at a new level, which counts for one once another follows.
        """
        before_us = self._by_age[-2][1]
        took_us = max(SHORT_US, before_us - self._by_age[0][1])
        return sqrt(1 + max(0, time_us - before_us) / took_us)

    def _add_price(self, price: float, time_us: int) -> None:
        by_age, by_price = self._by_age, self._by_price
        left = by_age.popleft()[0] if len(by_age) >= PRICES else None
        by_age.append((price, time_us))
        if left != price:
            if left is not None:
                del by_price[bisect_left(by_price, left)]
            insort(by_price, price)
        self._fresh_prices += 1
        if time_us > self._newest_us:
            self._newest_us = time_us
        elif self._newest_us - time_us > BACK_US:  # the newest was wrong: see `Lateness`
            self._newest_us, self._trail.next_us = time_us, 0

    def _add_deviation(self, deviation: float) -> None:
        deviations, by_deviation = self._deviations, self._by_deviation
        left = deviations.popleft() if len(deviations) >= DEVIATIONS else None
        deviations.append(deviation)
        if left != deviation:
            if left is not None:
                del by_deviation[bisect_left(by_deviation, left)]
            insort(by_deviation, deviation)
        self._fresh_deviations += 1
