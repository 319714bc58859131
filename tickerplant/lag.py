"""Consumer lag: how far each group is behind the end of each partition, from the broker."""

from dataclasses import dataclass

from tickerplant.kafka import TopicPartition, committed_offsets, consumer, end_offsets
from tickerplant.settings import Settings

GROUPS = ("tickerplant.processor", "tickerplant.sink.clickhouse", "tickerplant.sink.parquet")


@dataclass(frozen=True)
class Lag:
    """One partition of one group, in records; `end` is the offset of the next record to come."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int

    @property
    def records(self) -> int:
        """Tell how many records are not committed."""
        return max(0, self.end - self.committed)


def read_lag(settings: Settings, groups: tuple[str, ...] = GROUPS) -> list[Lag]:
    """Read committed and end offsets; partitions that a group never committed are left out.

    Raises:
        DependencyError: the broker does not answer.
    """
    committed = {group: committed_offsets(settings, group) for group in groups}
    partitions = sorted({key for offsets in committed.values() for key in offsets})
    client = consumer(settings, "tickerplant.lag")
    try:
        ends = end_offsets(client, [TopicPartition(topic, number) for topic, number in partitions])
    finally:
        client.close()
    return [
        Lag(group, topic, number, offset, ends[topic, number])
        for group, offsets in committed.items()
        for (topic, number), offset in sorted(offsets.items())
    ]
