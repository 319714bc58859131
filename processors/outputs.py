"""Derived records → Kafka: encoded, keyed, with their source in the headers, counted until they are delivered."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from processors.batch import Batch
from schemas.codec import Encoder
from schemas.records import Bar, ControlCommand, DeadLetter, Derived, Instrument, Record
from schemas.topics import BY_RECORD, COMMAND, STATE, Topic
from tickerplant.kafka import DeliveryError, Headers, KafkaError, Message, Publisher
from tickerplant.registry import Registry

MOST_KEYS: Final = 100_000
NUMBERS: Final = [b"%d" % number for number in range(4096)]
"""Indexes of most records, as they stand in their sources."""


class Deliveries:
    """Counts records of one topic and partition on their way; delivered in order, so counts tell how far.

    Args:
        first_offset: none of the records is written below it.
    """

    __slots__ = ("_first_offset", "_last", "delivered", "sent")

    def __init__(self, first_offset: int = 0) -> None:
        self.sent = 0
        self.delivered = 0
        self._first_offset = first_offset
        self._last: Message | None = None

    @property
    def next_offset(self) -> int:
        """An offset that no record is below which is not delivered yet."""
        offset = None if self._last is None else self._last.offset()  # None = a repeat that the broker dropped
        return self._first_offset if offset is None else offset + 1

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        """Note a delivery; called by the publisher.

        Raises:
            DeliveryError: the record was refused, so there would be a hole.
        """
        if error is not None:
            raise DeliveryError(f"Kafka refused a record: {error.str()}")
        self.delivered += 1
        self._last = message


class Encoders:
    """Encoders of all that a processor writes, by the registry's ids.

    Raises:
        UserError: a schema was not registered.
        DependencyError: the registry does not answer.
    """

    def __init__(self, registry: Registry) -> None:
        topics: list[Topic] = [*BY_RECORD.values(), COMMAND, STATE]
        self._found: dict[type[Record], tuple[str, Encoder[Any]]] = {
            topic.record: (topic.name, registry.encoder(topic, topic.record)) for topic in topics
        }

    def of(self, record: type[Record]) -> tuple[str, Encoder[Any]]:
        """Find topic and encoder of a record class."""
        return self._found[record]


class Way(NamedTuple):
    """How records of a class go to their topic; `key` None = they are keyed by venue and symbol."""

    topic: str
    encode: Callable[[Any], bytes]
    key: Callable[[Any], bytes] | None
    deliveries: Deliveries
    on_delivered: Callable[[KafkaError | None, Message], None]  # theirs, bound once: half of what calling them costs


KEYS: Final[dict[type[Derived], Callable[[Any], bytes]]] = {
    Instrument: lambda record: f"{record.venue}|{record.market}|{record.venue_symbol}".encode(),
    DeadLetter: lambda record: record.venue.encode(),
    Bar: lambda record: f"{record.venue}|{record.symbol}|{record.interval}".encode(),
}
"""Keys as the topic catalogue says, of what is not keyed by venue and symbol."""


class Outputs:
    """Writes what one raw partition gives to the same partition of each topic.

    Args:
        topic: the raw topic, as it stands in the sources.
        ends: where the topics end, as far as known; nothing of ours is under way to them.
    """

    def __init__(
        self,
        publisher: Publisher,
        encoders: Encoders,
        *,
        topic: str,
        partition: int,
        ends: Mapping[str, int] | None = None,
    ) -> None:
        self.publisher = publisher
        self._encoders = encoders
        self._partition = partition
        self._source = f"{topic}:{partition}:"
        self._first_ends = dict(ends or {})
        self._deliveries: dict[str, Deliveries] = {}
        self._ways: dict[type[Derived], Way] = {}
        self._keys: dict[str, bytes] = {}  # by symbol: a raw topic is of one venue

    def send(self, batch: Batch) -> Counter[str]:
        """Queue all records and commands of a batch; returns how many went to each topic."""
        source = f"{self._source}{batch.offset}:".encode()
        ways, keys, partition, send = self._ways, self._keys, self._partition, self.publisher.send
        for record in batch.records:
            topic, encode, key_of, deliveries, on_delivered = ways.get(type(record)) or self._way(type(record))
            index = record.source_index
            number = NUMBERS[index] if index < len(NUMBERS) else b"%d" % index
            key = key_of(record) if key_of else keys.get(record.symbol) or self._key(record)  # type: ignore[attr-defined]  # such have one
            deliveries.sent += 1
            send(topic, partition, key, encode(record), [("source", source + number)], on_delivered)
        for command in batch.commands:
            self._send_command(command)
        kinds = Counter(map(type, batch.records))
        return Counter({ways[kind].topic: count for kind, count in kinds.items()})

    def write(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Queue a record of another kind to the same partition; None = a tombstone."""
        self._queue(topic, self._partition, key, value)

    def mark(self) -> dict[str, int]:
        """Tell what is queued by now, for `is_delivered`."""
        return {topic: deliveries.sent for topic, deliveries in self._deliveries.items()}

    def is_delivered(self, mark: Mapping[str, int]) -> bool:
        """Tell whether all that was queued at a mark is with the broker."""
        return all(self._deliveries[topic].delivered >= sent for topic, sent in mark.items())

    def ends(self) -> dict[str, int]:
        """Tell, for each output, an offset that none of the records is below which are not delivered yet."""
        sent = {topic: each.next_offset for topic, each in self._deliveries.items() if topic in self._first_ends}
        return self._first_ends | sent

    def _queue(
        self, topic: str, partition: int, key: bytes, value: bytes | None, headers: Headers | None = None
    ) -> None:
        deliveries = self._deliveries_to(topic)
        deliveries.sent += 1
        self.publisher.send(topic, partition, key, value, headers, deliveries)

    def _deliveries_to(self, topic: str) -> Deliveries:
        deliveries = self._deliveries.get(topic)
        if deliveries is None:
            deliveries = self._deliveries[topic] = Deliveries(self._first_ends.get(topic, 0))
        return deliveries

    def _way(self, kind: type[Derived]) -> Way:
        topic, encoder = self._encoders.of(kind)
        deliveries = self._deliveries_to(topic)
        way = self._ways[kind] = Way(topic, encoder.encode, KEYS.get(kind), deliveries, deliveries.__call__)
        return way

    def _send_command(self, command: ControlCommand) -> None:
        topic, encoder = self._encoders.of(ControlCommand)
        self._queue(topic, 0, command.venue.encode(), encoder.encode(command))

    def _key(self, record: Any) -> bytes:
        """Key a record by venue and symbol."""
        if len(self._keys) >= MOST_KEYS:
            self._keys.clear()
        key = self._keys[record.symbol] = f"{record.venue}|{record.symbol}".encode()
        return key
