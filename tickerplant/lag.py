"""Consumer lag of our own groups, from the broker: how far each is behind the end of each partition it is to read."""

import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from schemas.topics import RAW_PREFIX, STORED, catalogue
from tickerplant.connect.names import chosen_topics, connector_of
from tickerplant.kafka import OffsetReader
from tickerplant.settings import Settings

PROCESSOR: Final = "tickerplant.processor"
SINKS: Final = ("tickerplant.sink.clickhouse", "tickerplant.sink.parquet")
GROUPS: Final = (PROCESSOR, *SINKS)
RAW_NAME: Final = re.compile(re.escape(RAW_PREFIX) + "[a-z0-9_]+")

Place = tuple[str, int]
"""Topic, as the broker names it, and partition."""


@dataclass(frozen=True)
class Lag:
    """One partition of one group.

    Args:
        committed: next offset that the group will read; None = it never committed here.
        first: oldest offset that is kept; `end`: offset of the next record to come.
        seconds: how long the oldest record that is not committed has waited; None = not known.
    """

    group: str
    topic: str
    partition: int
    committed: int | None
    first: int
    end: int
    seconds: float | None = None

    @property
    def next_offset(self) -> int:
        """Offset of the first record that is kept and not committed."""
        return self.first if self.committed is None else max(self.committed, self.first)

    @property
    def records(self) -> int:
        """Tell how many records are not committed."""
        return max(0, self.end - self.next_offset)


class LagReader:
    """Reads lags again and again over connections it keeps; close it.

    Raises:
        DependencyError: from each method, where the broker does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._offsets = OffsetReader(settings)

    def read(self) -> list[Lag]:
        """Read the lag of every group of ours on every partition it is to read, whether it ever committed or not."""
        partitions = self._offsets.partitions()
        wanted = {group: topics_of(group, self._settings, partitions) for group in GROUPS}
        named = {name for topics in wanted.values() for name in topics}
        ends = self._offsets.watermarks({name: count for name, count in partitions.items() if name in named})
        lags = []
        for base, topics in wanted.items():
            group = group_name(base, self._settings)
            committed = self._offsets.committed(group, {name: partitions[name] for name in topics})
            mine = [place for place in ends if place[0] in topics]
            lags += [Lag(group, *place, committed.get(place), *ends[place]) for place in mine]
        return lags

    def close(self) -> None:
        """Let go of the connections."""
        self._offsets.close()


def read_lag(settings: Settings) -> list[Lag]:
    """Read all lags once.

    Raises:
        DependencyError: the broker does not answer.
    """
    with closing(LagReader(settings)) as reader:
        return reader.read()


def group_name(base: str, settings: Settings) -> str:
    """Name one of our groups as the broker knows it: with the suffix of its topics."""
    return base + settings.kafka.topic_suffix


def own_topics(settings: Settings, existing: Iterable[str]) -> list[str]:
    """List those topics that are of this deployment: in the catalogue or raw, with its suffix."""
    suffix = settings.kafka.topic_suffix
    names = {topic.name + suffix for topic in catalogue(())}
    return [name for name in existing if name in names or _is_raw(name, suffix)]


def topics_of(group: str, settings: Settings, existing: Iterable[str]) -> list[str]:
    """List the topics that a group of ours reads: processors raw ones, sinks all that can be stored, or those set."""
    suffix = settings.kafka.topic_suffix
    stored = () if group == PROCESSOR else STORED
    names = {topic.name + suffix for topic in stored}
    found = [name for name in existing if name in names or _is_raw(name, suffix)]
    chosen = () if group == PROCESSOR else chosen_topics(connector_of(settings, group.rpartition(".")[2]))
    return [name for name in found if name.removesuffix(suffix) in chosen] if chosen else found


def _is_raw(name: str, suffix: str) -> bool:
    return name.endswith(suffix) and RAW_NAME.fullmatch(name.removesuffix(suffix)) is not None
