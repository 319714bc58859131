"""How far a stage is in one partition that it reads: gauges that are worked out when somebody asks for them.

What a group has committed is behind what it has done: processors commit with each snapshot, sinks with each chunk. A
stage knows its position; telling it costs nothing per message, and a stage that hangs shows a lag that grows.
"""

from math import nan

from tickerplant import metrics
from tickerplant.clock import NowUs, now_us


class Progress:
    """The position of a stage in a partition, shown until `close`.

    Whoever reads sets `next_offset` and `written_us` (when the record last taken was written to Kafka), and tells the
    end of the partition, as it hears of it, by `hear`.
    """

    def __init__(self, stage: str, topic: str, partition: int, *, now_us: NowUs = now_us) -> None:
        self.next_offset = 0
        self.written_us = 0
        self._end_offset: int | None = None
        self._caught_up_us = 0
        self._now_us = now_us
        self._labels = (stage, topic, str(partition))
        metrics.LAG.labels(*self._labels).set_function(self.lag_records)
        metrics.LAG_SECONDS.labels(*self._labels).set_function(self.lag_seconds)

    def hear(self, end_offset: int | None) -> None:
        """Note the offset of the next record to come; None = not known."""
        if end_offset is not None:
            self._end_offset = end_offset
        self.lag_seconds()

    def lag_records(self) -> float:
        """Tell how many records are there and not taken; NaN = not known yet."""
        return nan if self._end_offset is None else max(0, self._end_offset - self.next_offset)

    def lag_seconds(self) -> float:
        """Tell how long the oldest record that is not taken has waited; 0 = all are taken, NaN = not known yet.

        It was written after the last one that was taken, and after the end was last reached.
        """
        time_us = self._now_us()
        if self.lag_records() == 0:
            self._caught_up_us = time_us
        since_us = max(self.written_us, self._caught_up_us)
        return max(0, time_us - since_us) / 1e6 if since_us and self._end_offset is not None else nan

    def close(self) -> None:
        """Show it no more: the partition is another's."""
        metrics.LAG.remove(*self._labels)
        metrics.LAG_SECONDS.remove(*self._labels)
