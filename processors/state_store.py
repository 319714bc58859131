"""State of one raw partition in `state.processor`: pieces first, the head last; the newest head tells which ones count.

A name has several slots, each a key of the topic: two for whole pieces, written in turn, and behind them one for each
change since the last whole one. What belongs to the head before is not overwritten until the next head stands, so a
crash at any point leaves a state as of one offset. A payload larger than a record should be lies in several, its parts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from processors.outputs import Encoders, Outputs
from processors.pieces import HEAD, STATE_VERSION, Piece
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
WHOLE_SLOTS: Final = (0, 1)
FIRST_CHANGE_SLOT: Final = 2
PART_BYTES: Final = 512 * 1024  # many brokers take records of up to 1 MB


class StateReadError(TickerplantError):
    """The state topic cannot be read."""


class StateAwayError(StateReadError):
    """The broker does not give the state now; it may later."""


class Place(NamedTuple):
    """Where the state of a name ends: slot of its whole piece, changes behind that, `next_offset` of the last one."""

    whole_slot: int = 1
    changes: int = 0
    next_offset: int = -1

    def after(self, next_offset: int, *, is_whole: bool) -> "Place":
        """Tell where it ends once another piece is written."""
        if is_whole:
            return Place(1 - self.whole_slot, 0, next_offset)
        return Place(self.whole_slot, self.changes + 1, next_offset)

    @property
    def slot(self) -> int:
        """Slot of the last piece."""
        return FIRST_CHANGE_SLOT + self.changes - 1 if self.changes else self.whole_slot


@dataclass(frozen=True)
class Loaded:
    """State as of `next_offset`: of each name the whole piece and its changes, in order of names; empty = none."""

    next_offset: int = 0
    pieces: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)


def choose(states: Iterable[tuple[int, State]]) -> Loaded:
    """Choose the pieces that belong to the newest head, of (slot, state) in the order they were written."""
    found = _joined(states)
    heads = found.pop(HEAD, {})
    if not heads:
        return Loaded()
    newest = max(heads.values(), key=lambda head: head.next_offset).next_offset
    chains = {name: _newest_chain(found[name], newest) for name in sorted(found)}
    chains = {HEAD: _newest_chain(heads, newest)} | {name: chain for name, chain in chains.items() if chain[0]}
    return Loaded(
        newest,
        {name: tuple(state.payload for state in chain) for name, (chain, _) in chains.items()},
        {name: Place(slot, len(chain) - 1, chain[-1].next_offset) for name, (chain, slot) in chains.items()},
    )


def _joined(states: Iterable[tuple[int, State]]) -> dict[str, dict[int, State]]:
    """Put parts together: name → slot → piece; those of which a part is missing are left out."""
    parts: dict[tuple[str, int], dict[int, State]] = {}
    for slot, state in states:
        parts.setdefault((state.symbol, slot), {})[state.part] = state
    found: dict[str, dict[int, State]] = {}
    for (name, slot), each in parts.items():
        members = [each.get(number) for number in range(each[0].parts)] if 0 in each else []
        mates = [member for member in members if member and member.next_offset == each[0].next_offset]
        if members and len(mates) == len(members):
            payload = b"".join(member.payload for member in mates)
            found.setdefault(name, {})[slot] = msgspec.structs.replace(each[0], payload=payload)
    return found


def _newest_chain(slots: Mapping[int, State], head_offset: int) -> tuple[list[State], int]:
    """Find the whole piece that leads furthest without passing the head, with its changes and its slot; [] = none."""
    best: tuple[list[State], int] = ([], 0)
    for whole_slot in WHOLE_SLOTS:
        whole = slots.get(whole_slot)
        if whole is None or whole.next_offset > head_offset:
            continue
        chain = [whole]
        while (change := slots.get(FIRST_CHANGE_SLOT + len(chain) - 1)) is not None:
            if change.previous_offset != chain[-1].next_offset or change.next_offset > head_offset:
                break
            chain.append(change)
        if not best[0] or chain[-1].next_offset > best[0][-1].next_offset:
            best = chain, whole_slot
    return best


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
        self._places: dict[str, Place] = {}

    def resume(self, loaded: Loaded) -> None:
        """Go on from a loaded state, so that its slots are not the next to be overwritten."""
        self._places = dict(loaded.places)

    def write(self, piece: Piece, next_offset: int) -> None:
        """Queue a piece of the state as of an offset; at most one of each name before `write_head`.

        One that is written again as of the same offset, as heads are, takes its own place: the last one counts.
        """
        before = self._places.get(piece.name, Place())
        is_again = piece.is_whole and before.next_offset == next_offset
        place = before if is_again else before.after(next_offset, is_whole=piece.is_whole)
        self._places[piece.name] = place
        count = max(1, -(-len(piece.payload) // PART_BYTES))
        for part in range(count):
            state = State(
                source_topic=self._topic,
                source_partition=self._partition,
                symbol=piece.name,
                next_offset=next_offset,
                version=STATE_VERSION,
                payload=piece.payload[part * PART_BYTES : (part + 1) * PART_BYTES],
                previous_offset=-1 if piece.is_whole else before.next_offset,
                part=part,
                parts=count,
            )
            self._outputs.write(self._topic_name, _key(state, place.slot), self._encoder.encode(state))

    def write_head(self, head: bytes, next_offset: int) -> None:
        """Queue the head, after all pieces that are new: the state stands once it is delivered."""
        self.write(Piece(HEAD, head), next_offset)


def _key(state: State, slot: int) -> bytes:
    part = f"|{state.part}" if state.part else ""
    return f"{_prefix(state)}{slot}{part}".encode()


def _prefix(state: State) -> str:
    return f"{state.source_topic}|{state.source_partition}|{state.symbol}|"


def _read(
    decoder: Decoder[State], key: bytes | str | None, value: bytes | str | None, topic: str
) -> Iterable[tuple[int, State]]:
    """Yield slot and state, where the record is one of this raw topic."""
    if not isinstance(key, bytes) or not isinstance(value, bytes):
        return
    state = decoder.decode(value)
    if state.source_topic == topic:
        yield int(key.decode().removeprefix(_prefix(state)).partition("|")[0]), state
