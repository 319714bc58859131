"""State of one raw partition in `state.processor`: pieces first, the head last; the newest head tells which ones count.

Each piece has two slots, written in turn: while the head of a snapshot is not written yet, the piece that belongs to
the head before stands in the other slot. So a crash at any point leaves a state as of one offset.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from processors.outputs import Encoders, Outputs
from processors.pieces import HEAD, STATE_VERSION
from schemas.codec import CodecError, Decoder
from schemas.records import State
from schemas.topics import STATE
from tickerplant.errors import TickerplantError
from tickerplant.kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition, consumer, end_offsets
from tickerplant.settings import Settings

LOAD_GROUP: Final = "tickerplant.processor.state"
POLL_S: Final = 0.1
POLL_RECORDS: Final = 1000
LOAD_TIMEOUT_S: Final = 60.0


class StateReadError(TickerplantError):
    """The state topic cannot be read."""


class StateAwayError(StateReadError):
    """The broker does not give the state now; it may later."""


@dataclass(frozen=True)
class Loaded:
    """State as of `next_offset`: pieces by name, the head among them; empty = there is none."""

    next_offset: int = 0
    pieces: dict[str, bytes] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)


def choose(states: Iterable[tuple[int, State]]) -> Loaded:
    """Choose the pieces that belong to the newest head, of (slot, state) in the order they were written."""
    newest: dict[tuple[str, int], State] = {(state.symbol, slot): state for slot, state in states}
    head = newest.pop((HEAD, 0), None)
    if head is None:
        return Loaded()
    chosen: dict[str, tuple[int, State]] = {}
    for (name, slot), state in newest.items():
        if state.next_offset > head.next_offset:
            continue
        if name not in chosen or state.next_offset > chosen[name][1].next_offset:
            chosen[name] = (slot, state)
    pieces = {name: state.payload for name, (_, state) in chosen.items()}
    slots = {name: slot for name, (slot, _) in chosen.items()}
    return Loaded(head.next_offset, {**pieces, HEAD: head.payload}, slots)


def load(settings: Settings, decoder: Decoder[State], topic: str, partition: int) -> Loaded:
    """Read the state of a raw partition; blocks.

    Raises:
        StateReadError: the topic cannot be read.
        StateAwayError: not now.
    """
    client = consumer(settings, LOAD_GROUP)
    where = TopicPartition(STATE.name + settings.kafka.topic_suffix, partition, OFFSET_BEGINNING)
    try:
        return choose(read_states(client, where, decoder, topic))
    except KafkaException as error:
        raise StateAwayError(f"{where.topic}:{where.partition}: {error}") from error
    except CodecError as error:
        raise StateReadError(f"{where.topic}:{partition}: {error}") from error
    finally:
        client.close()


def read_states(
    client: Consumer, where: TopicPartition, decoder: Decoder[State], topic: str
) -> Iterator[tuple[int, State]]:
    """Read (slot, state) of a raw topic up to the end there is now, one by one: what was written lately is large.

    Raises:
        StateAwayError: the end is not reached in time, or the broker refuses.
    """
    end = end_offsets(client, [where])[where.topic, where.partition]
    client.assign([where])
    position, polls_left = 0, int(LOAD_TIMEOUT_S / POLL_S)
    while position < end:
        polls_left -= 1
        if polls_left < 0:
            raise StateAwayError(f"{where.topic}:{where.partition} could not be read to {end} in {LOAD_TIMEOUT_S} s")
        for message in client.consume(POLL_RECORDS, POLL_S):
            if message.error() is not None:
                raise StateAwayError(f"{where.topic}:{where.partition}: {message.error()}")
            position = (message.offset() or 0) + 1
            yield from _read(decoder, message.key(), message.value(), topic)


class StateStore:
    """Writes the state of one raw partition."""

    def __init__(self, outputs: Outputs, encoders: Encoders, *, topic: str, partition: int) -> None:
        self._outputs = outputs
        self._topic_name, self._encoder = encoders.of(State)
        self._topic, self._partition = topic, partition
        self._slots: dict[str, int] = {}

    def resume(self, loaded: Loaded) -> None:
        """Go on from a loaded state, so that its slots are not the next to be overwritten."""
        self._slots = dict(loaded.slots)

    def write(self, pieces: Mapping[str, bytes], head: bytes, next_offset: int) -> None:
        """Queue pieces, then the head; the state stands once the head is delivered."""
        for name, payload in pieces.items():
            self._slots[name] = 1 - self._slots.get(name, 1)
            self._send(name, self._slots[name], payload, next_offset)
        self._send(HEAD, 0, head, next_offset)

    def _send(self, name: str, slot: int, payload: bytes, next_offset: int) -> None:
        state = State(
            source_topic=self._topic,
            source_partition=self._partition,
            symbol=name,
            next_offset=next_offset,
            version=STATE_VERSION,
            payload=payload,
        )
        key = f"{self._topic}|{self._partition}|{name}|{slot}"
        self._outputs.write(self._topic_name, key.encode(), self._encoder.encode(state))


def _read(
    decoder: Decoder[State], key: bytes | str | None, value: bytes | str | None, topic: str
) -> Iterable[tuple[int, State]]:
    """Yield slot and state, where the record is one of this raw topic."""
    if not isinstance(key, bytes) or not isinstance(value, bytes):
        return
    state = decoder.decode(value)
    if state.source_topic == topic:
        yield int(key.rpartition(b"|")[2]), state
