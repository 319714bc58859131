"""What the watchdog of a processor looks at: its event loop, and how far it is in each raw partition.

Faust may stop without ending: an agent that hangs, a consumer that fetches nothing after a rebalance, commits that are
never answered (github.com/robinhood/faust issues 175, 523, 532, 640). So heads and commits are asked for here, by
a client of its own, not taken from Faust.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from tickerplant.errors import UserError
from tickerplant.kafka import OffsetReader
from tickerplant.watchdog import Work

LOOP: Final = "event loop"
ASSIGNMENT: Final = "assignment of partitions"
Place = tuple[str, int]
"""Full topic name, partition."""


@dataclass(frozen=True)
class Position:
    """Where a processor says that it is.

    Args:
        beat: changes whenever the event loop turns.
        turns: changes with each assignment that is taken or given.
        is_settled: partitions were given, and their state is loaded.
        is_loading: state is being loaded now, which may take long.
        next_offsets: of the partitions that are its own.
    """

    beat: object
    turns: int
    is_settled: bool
    is_loading: bool
    next_offsets: Mapping[Place, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What the broker tells.

    Args:
        bounds: of all raw partitions: oldest offset, offset of the next record.
        committed: by the group; left out = nothing yet.
    """

    bounds: Mapping[Place, tuple[int, int]]
    committed: Mapping[Place, int]


class Witness(Protocol):
    """Asks the broker."""

    def ask(self) -> Facts | None:
        """Tell how things are; None = it does not answer."""


def works(mine: Position, facts: Facts | None) -> Mapping[str, Work] | None:
    """Make what the watchdog is told; None = the broker is away, which excuses everything."""
    if facts is None:
        return None
    found = {LOOP: Work(mine.beat)}
    if mine.is_loading:
        return found
    if not mine.is_settled:
        done = (mine.turns, tuple(sorted(facts.committed.items())))
        return found | {ASSIGNMENT: Work(done, is_waiting=any(_waits(facts, place) for place in facts.bounds))}
    for place, next_offset in mine.next_offsets.items():
        first, end = facts.bounds.get(place, (0, 0))
        name = f"{place[0]}:{place[1]}"
        found[name] = Work(next_offset, is_waiting=end > max(first, next_offset))
        committed = facts.committed.get(place, 0)
        found[f"commits of {name}"] = Work(committed, is_waiting=committed < next_offset)
    return found


class KafkaWitness:
    """Asks over connections of its own; for one thread."""

    def __init__(self, reader: OffsetReader, group: str, partitions: Mapping[str, int]) -> None:
        self._reader = reader
        self._group = group
        self._partitions = partitions

    def ask(self) -> Facts | None:
        """Tell how things are; None = the broker does not answer."""
        try:
            return Facts(
                self._reader.bounds(self._group, self._partitions),
                self._reader.committed(self._group, self._partitions),
            )
        except UserError:  # the broker is away, or refuses us, which others tell
            return None


def _waits(facts: Facts, place: Place) -> bool:
    first, end = facts.bounds[place]
    return end > max(first, facts.committed.get(place, 0))
