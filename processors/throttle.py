"""Things that may happen often, reported seldom: at once the first time, then as counts, by the raw log's time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

MOST_KEYS: Final = 10_000
DEFAULT_EVERY_US: Final = 1_000_000
EVERY_US: Final[dict[str, int]] = {"UNKNOWN_FIELD": 600_000_000, "UNKNOWN_SYMBOL": 60_000_000}
"""Least time between two reports of a kind (a quality event's), where it is not a second."""


class What(msgspec.Struct, frozen=True, gc=False):
    """What is counted together."""

    kind: str
    market: str = ""
    channel: str = ""
    detail: str = ""


@dataclass(slots=True)
class Pending:
    """Not reported yet, and when it may be."""

    count: int
    next_time_us: int


class Throttle:
    """Counts by kind, market, channel and detail."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[What, Pending] = {}

    def note(self, what: What, time_us: int, count: int = 1) -> int:
        """Note that it happened; returns how often it did since the last report, 0 = not to be reported now."""
        pending = self._pending.get(what)
        if pending is None:
            if len(self._pending) >= MOST_KEYS:
                self._pending.clear()
            self._pending[what] = Pending(0, time_us + EVERY_US.get(what.kind, DEFAULT_EVERY_US))
            return count
        pending.count += count
        return self._take(what, pending, time_us) if time_us >= pending.next_time_us else 0

    def due(self, time_us: int) -> Iterator[tuple[What, int]]:
        """Report what waits and is due, in the order in which it first happened; forget what is over."""
        for what, pending in list(self._pending.items()):
            if time_us < pending.next_time_us:
                continue
            if pending.count:
                yield what, self._take(what, pending, time_us)
            else:
                del self._pending[what]

    def set_back(self, now_us: int) -> None:
        """Wait for nothing longer than usual, from a time that is before what was the time until now."""
        for what, pending in self._pending.items():
            latest_us = now_us + EVERY_US.get(what.kind, DEFAULT_EVERY_US)
            pending.next_time_us = min(pending.next_time_us, latest_us)

    def rest(self) -> Iterator[tuple[What, int]]:
        """Report all that waits, due or not."""
        for what, pending in self._pending.items():
            if pending.count:
                yield what, pending.count
                pending.count = 0

    def capture(self) -> list[tuple[What, int, int]]:
        """Tell all that is needed to go on elsewhere."""
        return [(what, pending.count, pending.next_time_us) for what, pending in self._pending.items()]

    def restore(self, entries: list[tuple[What, int, int]]) -> None:
        """Go on from what `capture` told."""
        self._pending = {what: Pending(count, next_us) for what, count, next_us in entries}

    def __len__(self) -> int:
        return len(self._pending)

    def _take(self, what: What, pending: Pending, time_us: int) -> int:
        count = pending.count
        pending.count = 0
        pending.next_time_us = time_us + EVERY_US.get(what.kind, DEFAULT_EVERY_US)
        return count
