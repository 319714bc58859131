"""Consumer lag: how far each group is behind the end of each partition it reads, from the broker."""

from dataclasses import dataclass

from schemas.topics import CLEANED
from tickerplant.kafka import TopicPartition, committed_offsets, consumer, topic_partitions, watermarks
from tickerplant.settings import Settings

PROCESSOR = "tickerplant.processor"
SINKS = ("tickerplant.sink.clickhouse", "tickerplant.sink.parquet")
RAW_PREFIX = "raw."


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


def read_lag(settings: Settings) -> list[Lag]:
    """Read the lag of every group on every partition it is to read, whether it ever committed there or not.

    Raises:
        DependencyError: the broker does not answer.
    """
    partitions = topic_partitions(settings)
    wanted = {group: _topics_of(group, settings, list(partitions)) for group in (PROCESSOR, *SINKS)}
    places = [TopicPartition(name, number) for name in wanted[SINKS[0]] for number in range(partitions[name])]
    client = consumer(settings, "tickerplant.lag")
    try:
        ends = watermarks(client, places)
    finally:
        client.close()
    lags = []
    for group, topics in wanted.items():
        committed = committed_offsets(settings, group)
        mine = [place for place in ends if place[0] in topics]
        lags += [Lag(group, *place, committed.get(place), *ends[place]) for place in mine]
    return lags


def _topics_of(group: str, settings: Settings, existing: list[str]) -> list[str]:
    """List the topics that a group reads: processors raw ones, sinks all that can be stored."""
    suffix = settings.kafka.topic_suffix
    raw = [name for name in existing if name.startswith(RAW_PREFIX) and name.endswith(suffix)]
    if group == PROCESSOR:
        return raw
    return raw + [topic.name + suffix for topic in CLEANED if topic.name + suffix in existing]
