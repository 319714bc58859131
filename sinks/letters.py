"""Rows that a store refused, and records that could not be read → `dlq.sink`."""

import json
from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec

from schemas.codec import Encoder
from schemas.records import DeadLetter
from schemas.topics import DEAD_SINK
from sinks.chunk import Chunk
from sinks.store import Refused, StoreBusyError
from tickerplant.clock import NowUs
from tickerplant.health import KAFKA
from tickerplant.kafka import Publisher

FLUSH_S: Final = 10.0


class Letters(Protocol):
    """Where dead letters go."""

    def send(self, letters: Iterable[DeadLetter]) -> None:
        """Deliver letters; blocks until they are safe.

        Raises:
            StoreBusyError: they are not, for now.
        """


class KafkaLetters:
    """Dead letters as records of `dlq.sink`; may deliver one twice after a crash, never none."""

    def __init__(self, publisher: Publisher, encoder: Encoder[DeadLetter], *, partitions: int, now_us: NowUs) -> None:
        self._publisher = publisher
        self._encoder = encoder
        self._partitions = partitions
        self._now_us = now_us

    def send(self, letters: Iterable[DeadLetter]) -> None:
        """Deliver letters, stamped with the time where they carry none; raises as `Letters.send`."""
        for letter in letters:
            stamped = msgspec.structs.replace(letter, event_time_us=letter.event_time_us or self._now_us())
            partition = letter.source_partition % self._partitions
            self._publisher.send(DEAD_SINK.name, partition, letter.venue.encode(), self._encoder.encode(stamped))
        if self._publisher.flush(FLUSH_S):
            raise StoreBusyError("dead letters could not be delivered yet", KAFKA)


def refused_letter(chunk: Chunk, refused: Refused, store: str) -> DeadLetter:
    """Make the dead letter of a refused row: its payload is the row as JSON, its source the row's own."""
    row = chunk.rows.slice(refused.row, 1).to_pylist()[0]
    return DeadLetter(
        event_time_us=row["event_time_us"],
        recv_time_us=row.get("recv_time_us", 0),
        stage=f"sink.{store}",
        venue=row["venue"],
        market=row.get("market", ""),
        reason=f"{chunk.table.name}: {refused.reason}",
        payload=json.dumps(row, default=_text).encode(),
        source_topic=row["source_topic"],
        source_partition=row["source_partition"],
        source_offset=row["source_offset"],
        source_index=row["source_index"],
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
