"""A stream of one symbol as it moves, by the watermark → where it is silent for far longer than usual; pure."""

from typing import Final

import msgspec

LEAST_US: Final = 60_000_000
PAUSES: Final = 5
"""Silent for over a minute and over so many times its longest pause of late, a stream is stale."""
FEWEST: Final = 16
LEAST_UNKNOWN_US: Final = 900_000_000
"""The same where it moved, but less often than that: its pauses are hardly known yet."""
FORGOTTEN: Final = 64  # a part of the longest pause, each time it moves


class Pulse(msgspec.Struct, array_like=True):
    """What is remembered of one stream, in beats of the watermark: pauses within one are not told apart."""

    moved_us: int = 0  # beat in which it moved last; 0 = it never came
    count: int = 0
    longest_us: int = 0  # pause of late
    is_stale: bool = False
    since_us: int = 0  # beat after which the silence began that was told last
    heard_us: int = 0  # beat in which it ended; 0 = that was told, or it has not

    def move(self, beat_us: int) -> None:
        """Note that it moved, for the first time in a beat."""
        if self.moved_us:
            self.longest_us = max(beat_us - self.moved_us, self.longest_us - self.longest_us // FORGOTTEN)
            self.count += 1
        if self.is_stale:
            self.heard_us = beat_us
        self.moved_us, self.is_stale = beat_us, False

    def is_due(self, now_us: int) -> bool:
        """Tell whether it is silent for far too long, and that was not told yet."""
        if self.is_stale or not self.count:  # of what came once, as a list at subscription, nothing can be said
            return False
        least_us = LEAST_US if self.count >= FEWEST else LEAST_UNKNOWN_US
        return now_us - self.moved_us > max(least_us, PAUSES * self.longest_us)

    def tell(self, now_us: int) -> str:
        """Say for how long it is silent; not again until it moves."""
        self.is_stale, self.since_us = True, self.moved_us
        silent_s, usual_s = (now_us - self.moved_us) // 1_000_000, self.longest_us // 1_000_000
        return f"nothing for {silent_s} s, lately never for over {usual_s} s"

    def tell_end(self) -> str:
        """Say how long the silence was that has ended; not again until the next one has."""
        silent_s = max(0, self.heard_us - self.since_us) // 1_000_000
        self.heard_us = 0
        return f"heard again after {silent_s} s"

    def rest(self, now_us: int) -> None:
        """Count the silence from now on: what was before says nothing about the venue."""
        if self.moved_us:
            self.moved_us = now_us
