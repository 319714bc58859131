"""Seconds that are over → features over windows of them.

The order of summation is part of the definition: within a second in the order of items, over a window from its newest
second to its oldest. No sum is ever taken from another, so no value depends on what has left its window.
"""

import math
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from processors.features.formulas import LEAST, illiquidity, imbalance, vwap

Column = list[float | None]
"""One value for each window; None = the window holds no data for it."""


class Second(msgspec.Struct, array_like=True, gc=False):
    """What a second adds to the windows that hold it.

    Args:
        mid: at its end; None = there is none.
        trades: how many.
        volume: traded, base currency; `bought` and `sold` are the aggressor's, where the venue tells.
        notional: traded, quote currency.
        changes: of the best quote, that `flow` is the order flow of.
    """

    mid: float | None = None
    trades: int = 0
    volume: float = 0.0
    notional: float = 0.0
    bought: float = 0.0
    sold: float = 0.0
    changes: int = 0
    flow: float = 0.0


class Windowed(msgspec.Struct):
    """Features over each window of w seconds; None where the window holds no data for one.

    Args:
        mid_return: `ln(mid / mid w seconds before)`, a fraction; source: the definition of a logarithmic return.
        mid_volatility: `sqrt(sum(r * r))`, r the mid's logarithmic returns over single seconds; a fraction, not
            annualised. Source: Andersen, Bollerslev, Diebold and Labys, Modeling and forecasting realized volatility,
            Econometrica 71 (2003), its realized variance's root.
        trade_rate: `trades / w`, 1 / s; source: counting.
        volume: `sum(size)`, base currency; source: counting.
        vwap: `sum(price * size) / sum(size)`, quote currency; source: see `formulas.vwap`.
        signed_volume: `bought - sold` by the aggressor, base currency. Source: order imbalance in shares of Chordia,
            Roll and Subrahmanyam, Order imbalance, liquidity, and market returns, J. of Financial Economics 65 (2002).
        trade_imbalance: `(bought - sold) / (bought + sold)`, -1 to 1; source: `formulas.imbalance`.
        order_flow_imbalance: sum of `formulas.order_flow` over changes of the best quote, base currency. Source: Cont,
            Kukanov and Stoikov, The price impact of order book events, J. of Financial Econometrics 12 (2014).
        illiquidity: mean of `|r| / sum(price * size)` over seconds that have trades and a return, 1 / quote currency.
            Source: Amihud, Illiquidity and stock returns, J. of Financial Markets 5 (2002), equation 1.
    """

    mid_return: Column
    mid_volatility: Column
    trade_rate: Column
    volume: Column
    vwap: Column
    signed_volume: Column
    trade_imbalance: Column
    order_flow_imbalance: Column
    illiquidity: Column


SILENT: Final = Second()


class _Count:
    """Counts over windows: differences of integers are exact.

    A ring of what was counted so far, zeros where nothing was yet: a quarter of the memory of as many Python integers.
    """

    __slots__ = ("_at", "_so_far")

    def __init__(self, most: int) -> None:
        self._so_far = array("q", bytes(8 * (most + 1)))
        self._at = 0  # of the newest

    def push(self, count: int) -> None:
        so_far, before = self._so_far, self._at
        self._at = at = before + 1 if before + 1 < len(so_far) else 0
        so_far[at] = so_far[before] + count

    def over(self, lengths_s: Sequence[int]) -> list[int]:
        so_far, at = self._so_far, self._at
        now = so_far[at]
        return [now - so_far[at - length_s] for length_s in lengths_s]  # an index below 0 counts from the end


class Windows:
    """Remembers as many seconds as the longest window needs.

    Args:
        lengths_s: of the windows, rising.
    """

    def __init__(self, lengths_s: Sequence[int]) -> None:
        self.lengths_s = tuple(lengths_s)
        self._most = most = self.lengths_s[-1]
        self.fresh = 0  # seconds added since this was set to 0
        self.seconds: deque[Second] = deque(maxlen=most + 1)  # the newest first, as all of these
        self._volumes: deque[float] = deque(maxlen=most)
        self._notionals: deque[float] = deque(maxlen=most)
        self._bought: deque[float] = deque(maxlen=most)
        self._sold: deque[float] = deque(maxlen=most)
        self._flows: deque[float] = deque(maxlen=most)
        self._squares: deque[float] = deque(maxlen=most)  # of returns
        self._ratios: deque[float] = deque(maxlen=most)  # of illiquidity
        self._trades, self._changes, self._returns, self._ratio_count = (_Count(most) for _ in range(4))

    def push(self, second: Second) -> None:
        """Add the second that follows the last one."""
        self._volumes.appendleft(second.volume)
        self._notionals.appendleft(second.notional)
        self._bought.appendleft(second.bought)
        self._sold.appendleft(second.sold)
        self._flows.appendleft(second.flow)
        self._trades.push(second.trades)
        self._changes.push(second.changes)
        self._push_return(self._last_return(second), second.notional)
        self.seconds.appendleft(second)
        self.fresh += 1

    def skip(self, count: int) -> None:
        """Add so many seconds in which nothing came."""
        for _ in range(min(count, self._most + 1)):
            self.push(SILENT)

    def features(self) -> Windowed:
        """Tell the features at the end of the last second."""
        lengths_s = self.lengths_s
        trades, changes = self._trades.over(lengths_s), self._changes.over(lengths_s)
        nothing: Column = [None] * len(trades)
        volumes, vwaps, signed, imbalances = self._traded(trades) if trades[-1] else [nothing] * 4
        return Windowed(
            mid_return=[self._return(length_s) for length_s in lengths_s],
            mid_volatility=self._volatility(),
            trade_rate=[count / length_s if count else None for count, length_s in zip(trades, lengths_s, strict=True)],
            volume=volumes,
            vwap=vwaps,
            signed_volume=signed,
            trade_imbalance=imbalances,
            order_flow_imbalance=_where(changes, self._totals(self._flows)) if changes[-1] else nothing,
            illiquidity=self._illiquidity(),
        )

    def _last_return(self, second: Second) -> float | None:
        """Tell the logarithmic return of the mid over a second."""
        before = self.seconds[0].mid if self.seconds else None
        return None if before is None or second.mid is None else math.log(second.mid / before)

    def _push_return(self, change: float | None, notional: float) -> None:
        ratio = illiquidity(abs(change), notional) if change is not None and notional > LEAST else None
        self._squares.appendleft(0.0 if change is None else change * change)
        self._returns.push(0 if change is None else 1)
        self._ratios.appendleft(0.0 if ratio is None else ratio)
        self._ratio_count.push(0 if ratio is None else 1)

    def _return(self, length_s: int) -> float | None:
        """Tell `ln(mid / mid a window before)`, a fraction; None where one of the two is missing."""
        seconds = self.seconds
        now = seconds[0].mid
        before = seconds[length_s].mid if length_s < len(seconds) else None
        return None if now is None or before is None else math.log(now / before)

    def _volatility(self) -> Column:
        """Tell `sqrt(sum(r * r))` of returns over seconds, a fraction; None unless each second of the window has one.

        Source: the root of the realized variance of Andersen, Bollerslev, Diebold and Labys (2003): see `Windowed`.
        """
        lengths_s = self.lengths_s
        counts = self._returns.over(lengths_s)
        if counts[0] < lengths_s[0]:
            return [None] * len(lengths_s)
        wholes = zip(counts, lengths_s, self._totals(self._squares), strict=True)
        return [math.sqrt(total) if count == length_s else None for count, length_s, total in wholes]

    def _traded(self, trades: Sequence[int]) -> list[Column]:
        """Tell volume, vwap, signed volume and trade imbalance as `Windowed` defines them.

        There is a trade in some window.
        """
        volumes, notionals = self._totals(self._volumes), self._totals(self._notionals)
        sides = list(zip(self._totals(self._bought), self._totals(self._sold), strict=True))
        return [
            _where(trades, volumes),
            [vwap(*each) if each[1] else None for each in zip(notionals, volumes, strict=True)],
            [buy - sell if buy or sell else None for buy, sell in sides],
            [imbalance(buy, sell) if buy or sell else None for buy, sell in sides],
        ]

    def _illiquidity(self) -> Column:
        """Tell the mean of `formulas.illiquidity` over those seconds of each window that have trades and a return."""
        counts = self._ratio_count.over(self.lengths_s)
        if not counts[-1]:
            return [None] * len(counts)
        pairs = zip(counts, self._totals(self._ratios), strict=True)
        return [total / count if count else None for count, total in pairs]

    def _totals(self, values: Iterable[float]) -> list[float]:
        """Add up the newest values, for each window; not by `sum`, which rounds otherwise from Python 3.12 on."""
        totals = list(accumulate(values))
        last = len(totals) - 1
        return [totals[min(length_s - 1, last)] for length_s in self.lengths_s]


def _where(counts: Sequence[int], totals: Sequence[float]) -> Column:
    return [total if count else None for count, total in zip(counts, totals, strict=True)]
