"""Rows that a store refused, and records that could not be read → `dlq.sink`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from schemas.codec import Encoder
from schemas.records import DeadLetter
from schemas.topics import DEAD_SINK
from sinks.chunk import Chunk
from sinks.columns import Place
from sinks.store import Refused, StoreBusyError
from tickerplant.clock import NowUs
from tickerplant.health import KAFKA
from tickerplant.kafka import Headers, Publisher
from tickerplant.masking import mask
from tickerplant.once import without_life

FLUSH_S: Final = 10.0
HEADER_PREFIX: Final = "__connect.errors."


class Letters(Protocol):
    """Where dead letters go."""

    def send(self, letters: Iterable[DeadLetter], place: Place) -> None:
        """Deliver letters of a topic partition; blocks until they are safe.

        Raises:
            StoreBusyError: they are not, for now.
        """


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who makes letters, as Kafka Connect's headers tell it."""

    connector: str
    task: int
    connector_class: str


class KafkaLetters:
    """Dead letters as records of `dlq.sink`; may deliver one twice after a crash, never none.

    Args:
        partitions: of the topic.
        topic: without suffix.
        origin: None = letters carry no headers.
    """

    def __init__(
        self,
        publisher: Publisher,
        encoder: Encoder[DeadLetter],
        *,
        partitions: int,
        now_us: NowUs,
        topic: str = DEAD_SINK.name,
        origin: Origin | None = None,
    ) -> None:
        self._publisher = publisher
        self._encoder = encoder
        self._partitions = partitions
        self._now_us = now_us
        self._topic = topic
        self._origin = origin

    def send(self, letters: Iterable[DeadLetter], place: Place) -> None:
        """Deliver letters, stamped with the time where they carry none; raises as `Letters.send`."""
        for letter in letters:
            stamped = msgspec.structs.replace(letter, event_time_us=letter.event_time_us or self._now_us())
            partition = letter.source_partition % self._partitions
            headers = None if self._origin is None else context_headers(letter, place, self._origin)
            value = self._encoder.encode(stamped)
            self._publisher.send(self._topic, partition, letter.venue.encode(), value, headers)
        if self._publisher.flush(FLUSH_S):
            raise StoreBusyError("dead letters could not be delivered yet", KAFKA)


def context_headers(letter: DeadLetter, place: Place, origin: Origin) -> Headers:
    """Make the headers that Kafka Connect's dead letters carry.

    Of a row that a store refused the offset is not told where its source is another topic's.

    Source: https://cwiki.apache.org/confluence/display/KAFKA/KIP-298%3A+Error+Handling+in+Connect
    """
    kind, _, message = letter.reason.partition(": ")
    is_refused = "." in kind  # it begins with the table then
    own = (without_life(letter.source_topic), letter.source_partition) == place
    values = {
        "topic": place[0],
        "partition": str(place[1]),
        "offset": str(letter.source_offset) if own else None,
        "connector.name": origin.connector,
        "task.id": str(origin.task),
        "stage": "TASK_PUT" if is_refused else "VALUE_CONVERTER",
        "class.name": origin.connector_class if is_refused else "schemas.codec.Decoder",
        "exception.class.name": "sinks.store.Refused" if is_refused else f"schemas.codec.{kind}",
        "exception.message": mask(letter.reason if is_refused else message),
    }
    return [(HEADER_PREFIX + name, value.encode()) for name, value in values.items() if value is not None]


def refused_letter(chunk: Chunk, refused: Refused, store: str) -> DeadLetter:
    """Make the dead letter of a refused row: its payload is the row as JSON, its source the row's own."""
    row = chunk.rows.slice(refused.row, 1).to_pylist()[0]
    return DeadLetter(
        event_time_us=row["event_time_us"],
        recv_time_us=row.get("recv_time_us", 0),
        stage=f"sink.{store}",
        venue=row["venue"],
        market=row.get("market", ""),
        reason=mask(f"{chunk.table.name}: {refused.reason}"),  # a store's own text may tell how we are known to it
        payload=json.dumps(row, default=_text).encode(),
        source_topic=row["source_topic"],
        source_partition=row["source_partition"],
        source_offset=row["source_offset"],
        source_index=row["source_index"],
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
