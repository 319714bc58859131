"""A processor but for Faust and the broker: raw bytes in, all records encoded as they go to Kafka, state written.

Its metrics, its snapshots and its stages are those of the process; records and state are dropped once they are encoded.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from processors.outputs import Encoders, Outputs
from processors.pipeline import Pipeline
from processors.state_store import StateStore
from processors.worker import PartitionWorker
from schemas.codec import Decoder, Encoder, schema_text
from schemas.records import RawFrames
from schemas.topics import BY_RECORD, COMMAND, STATE, raw_topic
from tickerplant.clock import now_us
from tickerplant.kafka import Publisher
from tickerplant.tally import DEFAULT_LIMIT

SCHEMA_ID: Final = 1
FOR_EVER_S: Final = 1e9


class Nowhere:
    """Takes records as a publisher does."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}  # by topic

    def send(self, topic: str, *_: object) -> None:
        """Count a record, and drop it."""
        self.counts[topic] = self.counts.get(topic, 0) + 1


class PlainEncoders(Encoders):
    """Encodes without a registry."""

    def __init__(self) -> None:
        topics = (*BY_RECORD.values(), COMMAND, STATE)
        self._found = {topic.record: (topic.name, Encoder(topic.record, SCHEMA_ID)) for topic in topics}


def outputs_to(nowhere: Nowhere, encoders: Encoders, topic: str) -> Outputs:
    """Make outputs that end nowhere."""
    return Outputs(cast(Publisher, nowhere), encoders, topic=topic, partition=0)


class MemoryWorker:
    """One raw partition of a venue.

    Args:
        windows_s: of features; empty = there are none.
    """

    def __init__(self, venue: str, windows_s: Sequence[int] = ()) -> None:
        topic, encoders = raw_topic(venue).name, PlainEncoders()
        self.nowhere = Nowhere()
        self.pipeline = Pipeline(venue, topic, 0, windows_s=windows_s)
        outputs = self._outputs = outputs_to(self.nowhere, encoders, topic)
        self._decoder = Decoder(RawFrames, lambda _: schema_text(RawFrames))
        self._worker = PartitionWorker(
            self.pipeline,
            outputs,
            StateStore(outputs, encoders, topic=topic, partition=0, epoch=1),
            decoder=self._decoder,
            venue=venue,
            topic=topic,
            partition=0,
            limit=DEFAULT_LIMIT,
            now_us=now_us,
        )
        self._offset = 0

    def step(self, value: bytes, time_us: int) -> None:
        """Process the next raw record, encoded."""
        self._worker.step(self._offset, value, time_us)
        self._offset += 1

    def timed(self) -> dict[str, list[float]]:
        """Time from now on what is done with raw records; returns the seconds by stage and record, which grow."""
        found: dict[str, list[float]] = {"decode": [], "process": [], "send": []}

        def wrapped(stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def timed(*arguments: Any) -> Any:
                began_s = time.process_time()
                try:
                    return call(*arguments)
                finally:
                    found[stage].append(time.process_time() - began_s)

            return timed

        for stage, owner in (("decode", self._decoder), ("process", self.pipeline), ("send", self._outputs)):
            setattr(owner, stage, wrapped(stage, getattr(owner, stage)))
        return found

    @property
    def pieces(self) -> int:
        """How many pieces the last snapshot had."""
        return self._worker.captured_pieces

    def snapshot(self) -> float:
        """Write what changed since the last one; returns the processor seconds that it took."""
        began_s = time.process_time()
        captured = self._worker.capture()
        while self._worker.write_pieces(captured, FOR_EVER_S):
            pass
        self._worker.write_head(captured)
        return time.process_time() - began_s


def raw_encoder() -> Encoder[RawFrames]:
    """Make what encodes raw records for a `MemoryWorker`."""
    return Encoder(RawFrames, SCHEMA_ID)


def cpu_us(seconds: float, count: int) -> float:
    """Tell microseconds a piece."""
    return round(seconds / count * 1e6, 2)
