"""CLOCK frames of one raw partition → how far its time has come, and when nobody captured."""

from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

MINUTE_US: Final = 60_000_000
LATENESS_US: Final = 5_000_000
"""What comes so long after the end of its minute is not late."""
BEAT_US: Final = 5_000_000
UNWATCHED_US: Final = 10_000_000
"""CLOCK frames come once a second from each producer; where none came for so long, none of them captured."""
BELIEVED: Final = 3
SETTLED_US: Final = 3600_000_000
"""A clock that was set ahead is taken back without loss for so long."""
MOST_STEPS: Final = 32
"""Of one hour; of more, the oldest are believed before their hour is over."""


class Unwatched(NamedTuple):
    """A time in which nobody captured; `is_revoked`: it was told before, and was only a clock that was set ahead."""

    from_us: int
    to_us: int
    is_revoked: bool = False


class Step(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A step ahead, from one time to another."""

    left_us: int
    reached_us: int

    @property
    def length_us(self) -> int:
        """Tell how far it went."""
        return self.reached_us - self.left_us


class WatermarkPiece(msgspec.Struct, array_like=True):
    """State of a `Watermark`; `left_us` and `reached_us` are all that programs of before know of steps."""

    clock_us: int = 0
    other_us: int = 0
    count: int = 0
    left_us: int = 0
    reached_us: int = 0
    steps: list[Step] = []
    lag_us: int | None = None


class Watermark:
    """The time of one raw partition: that of its newest CLOCK frame.

    One that is over 10 s away is believed once three in a row tell so: after a stop of all producers, or where a clock
    was set. A single wrong one, or that of one producer among several, moves nothing.

    Each step ahead settles after an hour, whatever steps follow it. Until then what was known before it is to be kept,
    since a step back may tell that it was a clock set wrongly: `settled_us` is the edge by which things are forgotten.

    Args:
        follows_trades: a recording is played back, perhaps at another pace than its own: time is that of its newest
            trade, and goes on from there with the CLOCK frames.
    """

    __slots__ = ("_count", "_lag_us", "_other_us", "_steps", "beat_us", "clock_us", "edge_us", "settled_us")

    def __init__(self, *, follows_trades: bool = False) -> None:
        self._lag_us = None if follows_trades else 0  # how far time is behind CLOCK frames; None = no trade came yet
        self.clock_us = self.edge_us = 0  # 0 = there was no CLOCK frame yet; minutes before the edge are closed
        self.beat_us = 0  # the clock, down to 5 s: by which symbols are seen to be silent
        self.settled_us = 0  # the edge, or that of before a step ahead which is not settled
        self._other_us = self._count = 0  # a time that was told lately, over 10 s away, and how often in a row
        self._steps: list[Step] = []  # those ahead that are not settled, in their order

    def hear(self, clock_us: int) -> Unwatched | None:
        """Take in a CLOCK frame; returns the time in which nobody captured, None = somebody did."""
        if self._lag_us is None:
            return None
        before, clock_us = self.clock_us, clock_us - self._lag_us
        if not before or abs(clock_us - before) <= UNWATCHED_US:
            self._set(max(before, clock_us))
            return None
        self._count = self._count + 1 if abs(clock_us - self._other_us) <= UNWATCHED_US else 1
        self._other_us = clock_us
        if self._count < BELIEVED:
            return None
        return self._step_ahead(clock_us) if clock_us > before else self._step_back(clock_us)

    def follow(self, recv_time_us: int, exchange_time_us: int) -> None:
        """Take in a trade that was played back; only where trades are followed."""
        lag_us = recv_time_us - exchange_time_us
        if self._lag_us is None or lag_us < self._lag_us:
            self._lag_us = lag_us
            self._set(max(self.clock_us, exchange_time_us))

    def from_recv(self, recv_time_us: int) -> int:
        """Tell what a time of ours is in the time of trades; 0 = before the first of those that are followed."""
        return 0 if self._lag_us is None else recv_time_us - self._lag_us

    def capture(self) -> WatermarkPiece:
        """Tell all that is needed to go on elsewhere."""
        steps = self._steps
        whole = (steps[0].left_us, steps[-1].reached_us) if steps else (0, 0)
        return WatermarkPiece(self.clock_us, self._other_us, self._count, *whole, list(steps), self._lag_us)

    def restore(self, piece: WatermarkPiece) -> None:
        """Go on from what `capture` told."""
        self._lag_us = piece.lag_us if self._lag_us is None else 0
        self._steps = list(piece.steps)
        if piece.left_us and not piece.steps:
            self._steps = [Step(piece.left_us, piece.reached_us)]
        self._set(piece.clock_us)
        self._other_us, self._count = piece.other_us, piece.count

    def _step_ahead(self, clock_us: int) -> Unwatched:
        before = self.clock_us
        self._steps.append(Step(before, clock_us))
        del self._steps[:-MOST_STEPS]
        self._set(clock_us)
        return Unwatched(before, clock_us)

    def _step_back(self, clock_us: int) -> Unwatched | None:
        """Go back; a step ahead is taken back by more than half of it, the newest first."""
        back_us, taken = self.clock_us - clock_us, list[Step]()
        while self._steps and back_us > self._steps[-1].length_us // 2:
            taken.append(self._steps.pop())
            back_us -= taken[-1].length_us
        self._set(clock_us)
        return Unwatched(taken[-1].left_us, taken[0].reached_us, is_revoked=True) if taken else None

    def _set(self, clock_us: int) -> None:
        self.clock_us = clock_us
        self.edge_us = _edge(clock_us)
        now_us = clock_us + (self._lag_us or 0)
        self.beat_us = now_us - now_us % BEAT_US
        steps = self._steps
        while steps and self._settling_us() >= SETTLED_US:
            del steps[0]
        self.settled_us = min(self.edge_us, _edge(steps[0].left_us)) if steps else self.edge_us
        self._other_us = self._count = 0

    def _settling_us(self) -> int:
        """Tell how long the clock has gone on since the first step, by the edge: within a minute nothing changes."""
        steps = self._steps
        return self.edge_us - steps[-1].reached_us + sum(b.left_us - a.reached_us for a, b in pairwise(steps))


def _edge(clock_us: int) -> int:
    return max(0, clock_us - LATENESS_US) // MINUTE_US * MINUTE_US
