"""Lag of every consumer group that reads topics of ours, in records and in seconds.

Seconds come from when the oldest record that is not committed was written, as a `Timeline` tells it: no record is read.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tickerplant.kafka import OffsetReader
from tickerplant.lag import GROUPS, Lag, Place, group_name, own_topics, topics_of
from tickerplant.logs import logger
from tickerplant.settings import Settings
from tickerplant.timeline import Timeline

MOST_GROUPS: Final = 200
MOST_QUESTIONS: Final = 12
"""Requests to the broker for one reading; what is not known well enough then is asked for by the next."""
IDLE_S: Final = 60.0
"""So often a group is asked again that has committed nothing in topics of ours."""


@dataclass(frozen=True)
class Reading:
    """All lags at one time.

    Args:
        states: of each group in `lags`, as the broker names it.
        lags: in the order of group, topic, partition.
        ends: (topic, partition) → (oldest offset, offset of the next record), of all topics of ours.
        time_s: UTC epoch; `took_s`: how long it took.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    lags: list[Lag] = field(default_factory=list)
    ends: Mapping[Place, tuple[int, int]] = field(default_factory=dict)
    time_s: float = 0.0
    took_s: float = 0.0


class ClusterLagReader:
    """Reads all lags again and again over connections it keeps; close it.

    Raises:
        DependencyError: from `read`, where the broker does not answer.
        UserError: from `read`, where it refuses us.
    """

    def __init__(self, settings: Settings, *, clock_s: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock_s = clock_s
        self._offsets = OffsetReader(settings)
        self._timelines: dict[Place, Timeline] = {}
        self._idle_until_s: dict[str, float] = {}
        self._is_full = False

    def read(self) -> Reading:
        """Read the lag of every group: of ours on all it is to read, of others on what they have committed."""
        began_s = self._clock_s()
        partitions = self._offsets.partitions()
        partitions = {name: partitions[name] for name in own_topics(self._settings, partitions)}
        states = self._groups()
        committed = {group: self._committed(group, partitions) for group in states}
        ends = self._offsets.watermarks(partitions)
        now_s = self._clock_s()
        lags = [
            Lag(group, *place, offset, *ends[place])
            for group in sorted(committed)
            for place, offset in sorted(committed[group].items())
            if place in ends
        ]
        self._learn(lags, ends, int(now_s * 1000))
        timed = [self._timed(lag, now_s) for lag in lags]
        groups = {lag.group for lag in lags}
        states = {group: state for group, state in states.items() if group in groups}
        return Reading(states, timed, ends, now_s, self._clock_s() - began_s)

    def close(self) -> None:
        """Let go of the connections."""
        self._offsets.close()

    def _groups(self) -> dict[str, str]:
        """Ask for the groups; of too many, ours and the first by name."""
        states = self._offsets.groups()
        ours = {group_name(base, self._settings) for base in GROUPS}
        kept = sorted(states, key=lambda group: (group not in ours, group))[:MOST_GROUPS]
        if len(kept) < len(states) and not self._is_full:
            logger().warning("too many consumer groups", groups=len(states), told=MOST_GROUPS)
        self._is_full = len(kept) < len(states)
        self._offsets.leave([group for group in self._offsets.asked if group not in kept])
        return {group: states[group] for group in kept}

    def _committed(self, group: str, partitions: Mapping[str, int]) -> dict[Place, int | None]:
        """Ask what a group has committed; a group of ours is told of all partitions that it is to read."""
        now_s = self._clock_s()
        if self._idle_until_s.get(group, 0.0) > now_s:
            return {}
        found = self._offsets.committed(group, partitions)
        base = next((base for base in GROUPS if group_name(base, self._settings) == group), None)
        if base is not None:
            wanted = topics_of(base, self._settings, partitions)
            return {(name, number): found.get((name, number)) for name in wanted for number in range(partitions[name])}
        if not found:
            self._idle_until_s[group] = now_s + IDLE_S
            self._offsets.leave([group])
        return {**found}

    def _learn(self, lags: list[Lag], ends: Mapping[Place, tuple[int, int]], now_ms: int) -> None:
        """Note where partitions end, and ask the broker about those times that no point is near to."""
        self._timelines = {place: self._timelines.get(place) or Timeline() for place in ends}
        for place, (_first, end) in ends.items():
            self._timelines[place].add(now_ms, end)
        behind = sorted((lag for lag in lags if lag.records), key=lambda lag: lag.next_offset)
        for _ in range(MOST_QUESTIONS):
            questions: dict[Place, int] = {}
            for lag in behind:
                place = (lag.topic, lag.partition)
                time_ms = self._timelines[place].question_ms(lag.next_offset, now_ms)
                if time_ms is not None:
                    questions.setdefault(place, time_ms)
            if not questions:
                return
            for place, offset in self._offsets.offsets_at(questions).items():
                self._timelines[place].add(questions[place], ends[place][1] if offset is None else offset)

    def _timed(self, lag: Lag, now_s: float) -> Lag:
        if not lag.records:
            return replace(lag, seconds=0.0)
        written_ms = self._timelines[lag.topic, lag.partition].written_ms(lag.next_offset)
        return replace(lag, seconds=None if written_ms is None else max(0.0, now_s - written_ms / 1000))
