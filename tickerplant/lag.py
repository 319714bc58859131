"""Consumer lag: how far each group is behind the end of each partition it reads, from the broker."""

from contextlib import closing
from dataclasses import dataclass

from schemas.topics import CLEANED, RAW_PREFIX
from tickerplant.kafka import OffsetReader
from tickerplant.settings import Settings

PROCESSOR = "tickerplant.processor"
SINKS = ("tickerplant.sink.clickhouse", "tickerplant.sink.parquet")
GROUPS = (PROCESSOR, *SINKS)


@dataclass(frozen=True)
class Lag:
    """One partition of one group, in records.

    Args:
        committed: next offset that the group will read; None = it never committed here.
        first: oldest offset that is kept; `end`: offset of the next record to come.
    """

    group: str
    topic: str
    partition: int
    committed: int | None
    first: int
    end: int

    @property
    def records(self) -> int:
        """Tell how many records are not committed."""
        start = self.first if self.committed is None else max(self.committed, self.first)
        return max(0, self.end - start)


class LagReader:
    """Reads lags again and again over connections it keeps; close it.

    Raises:
        DependencyError: from each method, where the broker does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._offsets = OffsetReader(settings)

    def read(self) -> list[Lag]:
        """Read the lag of every group on every partition it is to read, whether it ever committed there or not."""
        partitions = self._offsets.partitions()
        wanted = {group: _topics_of(group, self._settings, list(partitions)) for group in GROUPS}
        ends = self._offsets.watermarks({name: partitions[name] for name in wanted[SINKS[0]]})
        lags = []
        for group, topics in wanted.items():
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


def _topics_of(group: str, settings: Settings, existing: list[str]) -> list[str]:
    """List the topics that a group reads: processors raw ones, sinks all that can be stored."""
    suffix = settings.kafka.topic_suffix
    raw = [name for name in existing if name.startswith(RAW_PREFIX) and name.endswith(suffix)]
    if group == PROCESSOR:
        return raw
    return raw + [topic.name + suffix for topic in CLEANED if topic.name + suffix in existing]
