"""What the watchdog of a sink looks at: whether it goes on in partitions that hold more than it has committed.

A consumer may stop without ending: it polls, keeps its partitions and is given nothing. So ends are asked for here, by
a client of its own; how far the sink is, its main loop tells.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from sinks.columns import Place
from tickerplant.errors import UserError
from tickerplant.watchdog import Work

STUCK_S: Final = 150.0
ROLLS: Final = 3
"""So many times the age at which a chunk is written: until then nothing need be committed."""
ASK_S: Final = 30.0


class Seen(NamedTuple):
    """How far a sink is.

    Args:
        offsets: topic → partition → next offset, of what is committed of its partitions.
        late: rises while writes take so long that partitions have to wait for one another.
    """

    offsets: Mapping[str, Mapping[int, int]]
    late: int = 0


class Reader(Protocol):
    """Asks the broker."""

    def bounds(self, group: str, partitions: Mapping[str, int]) -> dict[Place, tuple[int, int]]:
        """Tell where the partitions (topic → number) begin and end; raises UserError where it does not answer."""


class SinkWatch:
    """Looks at one sink; for one thread.

    Args:
        see: looks at the sink; None = it is not to go on now, or cannot.
        reader: asked each half minute.
    """

    def __init__(
        self,
        group: str,
        see: Callable[[], Seen | None],
        reader: Reader,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._group, self._see, self._reader, self._now_s = group, see, reader, now_s
        self._bounds: dict[Place, tuple[int, int]] | None = None
        self._asked_s = -ASK_S

    def look(self) -> Mapping[str, Work] | None:
        """Tell how far it is in each partition; None = nothing can be said."""
        seen = self._see()
        if seen is None:
            return None
        if self._now_s() - self._asked_s >= ASK_S:
            self._asked_s, self._bounds = self._now_s(), self._ask(seen)
        return None if self._bounds is None else works(seen, self._bounds)

    def _ask(self, seen: Seen) -> dict[Place, tuple[int, int]] | None:
        try:
            return self._reader.bounds(self._group, {topic: max(each) + 1 for topic, each in seen.offsets.items()})
        except UserError:  # the broker is away, or refuses us, which others tell
            return None


def works(seen: Seen, bounds: Mapping[Place, tuple[int, int]]) -> dict[str, Work]:
    """Make what the watchdog is told, of how far a sink is and where partitions begin and end."""
    found = {}
    for topic, partitions in seen.offsets.items():
        for partition, next_offset in partitions.items():
            first, end = bounds.get((topic, partition), (0, 0))
            found[f"{topic}:{partition}"] = Work((next_offset, seen.late), is_waiting=end > max(first, next_offset))
    return found
