"""How much of what comes may be unusable before a process stops, instead of emptying a topic into the dead letters.

A tally is a function of the log alone and is kept with the position in it, so that a process that is started again
goes on counting: it stops at the next one that it cannot use, before that is a dead letter, as often as it is started;
until a version can use it, or the limit is raised.
"""

from dataclasses import dataclass
from typing import Final

import msgspec


class Tally(msgspec.Struct, array_like=True):
    """What could not be used: in a row, and of what was seen in a window, which begins with the first bad one."""

    in_a_row: int = 0
    seen: int = 0
    bad: int = 0

    def good(self, count: int = 1) -> None:
        """Note what could be used."""
        self.in_a_row = 0
        self.seen += count

    def copy(self) -> "Tally":
        """Make another one that is counted on by itself."""
        return Tally(self.in_a_row, self.seen, self.bad)


@dataclass(frozen=True)
class DeadLetterLimit:
    """Where to stop.

    Args:
        in_a_row: so many in a row.
        share: of a window, of which half alternating good and bad frames are.
        window: so many make a window.
    """

    in_a_row: int = 1000
    share: float = 0.5
    window: int = 10_000

    def add_bad(self, tally: Tally) -> None:
        """Count one that could not be used; where a window is over that did not reach the limit, another begins."""
        tally.in_a_row += 1
        tally.seen += 1
        tally.bad += 1
        if tally.bad == 1 or (tally.seen > self.window and not self._is_share_reached(tally)):
            tally.seen = tally.bad = 1

    def is_reached(self, tally: Tally) -> bool:
        """Tell whether to stop."""
        return tally.in_a_row >= self.in_a_row or self._is_share_reached(tally)

    def _is_share_reached(self, tally: Tally) -> bool:
        return tally.bad >= self.share * max(self.window, tally.seen)

    def reason(self, tally: Tally, what: str, settings: str) -> str:
        """Say why, and what to do; `what` are frames, records or rows, `settings` the section that sets the limit."""
        if tally.in_a_row >= self.in_a_row:
            count, name = f"{tally.in_a_row} {what} in a row", "dead_letter_limit"
        else:
            count, name = f"{tally.bad} of {tally.seen} {what}", "dead_letter_share"
        help_text = f"`tickerplant dead-letters` lists them; mend the cause or raise {settings}.{name}"
        return f"{count} could not be used: {help_text}"


DEFAULT_LIMIT: Final = DeadLetterLimit()
