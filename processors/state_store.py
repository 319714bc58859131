"""State of one raw partition in `state.processor`: pieces first, the head last; the newest head tells which ones count.

A name has several slots, each a key of the topic: two for whole pieces, written in turn, and behind them one for each
change since the last whole one. What belongs to the head before is not overwritten until the next head stands, so a
crash at any point leaves a state as of one offset. A payload larger than a record should be lies in several, its parts.

Each owner has an epoch, higher than those of all before, and keys of its own. What one writes that was taken for dead
overwrites nothing of its successor's, and does not count: a head tells of each epoch before up to which offset it does.

Offsets belong to one life of the raw topic: where it was made anew, all is written again, and none of before counts.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from processors.outputs import Encoders, Outputs
from processors.pieces import HEAD, STATE_VERSION, Piece
from schemas.codec import CodecError, Decoder
from schemas.records import State
from schemas.topics import STATE
from tickerplant.errors import TickerplantError, UserError
from tickerplant.kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition, consumer, end_offsets
from tickerplant.settings import Settings

LOAD_GROUP: Final = "tickerplant.processor.state"
POLL_S: Final = 0.1
POLL_RECORDS: Final = 1000
LOAD_TIMEOUT_S: Final = 60.0
WHOLE_SLOTS: Final = (0, 1)
FIRST_CHANGE_SLOT: Final = 2
KEY_PARTS: Final = 6  # topic, partition, name, slot, part, epoch
PART_BYTES: Final = 512 * 1024  # many brokers take records of up to 1 MB


class StateReadError(TickerplantError):
    """The state topic cannot be read."""


class StateDamagedError(UserError):
    """A record of the state, or what it holds, cannot be read: whoever goes on without it makes other records."""


class StateAwayError(StateReadError):
    """The broker does not give the state now; it may later."""


class Place(NamedTuple):
    """Where the state of a name ends.

    Slot of its whole piece, changes behind that, `next_offset` of the last one, epochs of all of these.
    """

    whole_slot: int = 1
    changes: int = 0
    next_offset: int = -1
    epochs: tuple[int, ...] = (0,)

    def after(self, next_offset: int, epoch: int, *, is_whole: bool) -> "Place":
        """Tell where it ends once another piece is written."""
        if is_whole:
            return Place(1 - self.whole_slot, 0, next_offset, (epoch,))
        epochs = self.epochs if epoch in self.epochs else (*self.epochs, epoch)
        return Place(self.whole_slot, self.changes + 1, next_offset, epochs)

    @property
    def slot(self) -> int:
        """Slot of the last piece."""
        return FIRST_CHANGE_SLOT + self.changes - 1 if self.changes else self.whole_slot


@dataclass(frozen=True)
class Loaded:
    """State as of `next_offset`: of each name the whole piece and its changes, in order of names; empty = none.

    Args:
        limits: of each epoch that it is made of, the offset up to which its pieces count.
        newest_epoch: of all that was met, whether it counts or not.
        life: of the raw topic, to which offsets belong; empty = a program wrote it that did not know.
        stale: keys of what does not count.
    """

    next_offset: int = 0
    pieces: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    limits: dict[int, int] = field(default_factory=dict)
    newest_epoch: int = -1
    stale: tuple[bytes, ...] = field(default=(), repr=False)
    life: str = ""


Records = dict[bytes, tuple[int, bytes]]
"""Key → offset and value."""
Slots = Mapping[int, Mapping[int, State]]
"""Slot → epoch → piece."""


def choose(states: Iterable[tuple[int, State]]) -> Loaded:
    """Choose the pieces that belong to the newest head, of (slot, state) in the order they were written."""
    written = {(state.symbol, slot, state.epoch, state.part): state for slot, state in states}
    newest_epoch = max((state.epoch for state in written.values()), default=-1)
    found = _joined(written)
    heads = [head for epochs in found.get(HEAD, {}).values() for head in epochs.values()]
    if not heads:
        return Loaded(newest_epoch=newest_epoch)
    newest = max(heads, key=lambda head: (head.epoch, head.next_offset))
    limits = _limits(newest.lineage) | {newest.epoch: newest.next_offset}
    chains = {name: _newest_chain(_counting(found[name], limits)) for name in sorted(found)}
    chains = {name: chain for name, chain in chains.items() if chain[0]}
    used = {(state.symbol, slot, state.epoch) for chain in chains.values() for slot, state in _slots(*chain)}
    stale = (_key(state, slot) for (name, slot, epoch, _), state in written.items() if (name, slot, epoch) not in used)
    return Loaded(
        newest.next_offset,
        {name: tuple(state.payload for state in chain) for name, (chain, _) in chains.items()},
        {name: _place(chain, slot) for name, (chain, slot) in chains.items()},
        limits,
        newest_epoch,
        tuple(stale),
        newest.life,
    )


def _joined(written: Mapping[tuple[str, int, int, int], State]) -> dict[str, dict[int, dict[int, State]]]:
    """Put parts together: name → slot → epoch → piece; those of which a part is missing are left out."""
    parts: dict[tuple[str, int, int], dict[int, State]] = {}
    for (name, slot, epoch, part), state in written.items():
        parts.setdefault((name, slot, epoch), {})[part] = state
    found: dict[str, dict[int, dict[int, State]]] = {}
    for (name, slot, epoch), each in parts.items():
        members = [each.get(number) for number in range(each[0].parts)] if 0 in each else []
        mates = [member for member in members if member and member.next_offset == each[0].next_offset]
        if members and len(mates) == len(members):
            payload = b"".join(member.payload for member in mates)
            whole = msgspec.structs.replace(each[0], payload=payload)
            found.setdefault(name, {}).setdefault(slot, {})[epoch] = whole
    return found


def _counting(slots: Slots, limits: Mapping[int, int]) -> dict[int, State]:
    """Keep of each slot what its latest owner has written, of what counts."""
    counting = {}
    for slot, epochs in slots.items():
        mine = [state for epoch, state in epochs.items() if state.next_offset <= limits.get(epoch, -1)]
        if mine:
            counting[slot] = max(mine, key=lambda state: state.epoch)
    return counting


def _newest_chain(slots: Mapping[int, State]) -> tuple[list[State], int]:
    """Find the whole piece that leads furthest, with its changes and its slot; [] = none."""
    best: tuple[list[State], int] = ([], 0)
    for whole_slot in WHOLE_SLOTS:
        whole = slots.get(whole_slot)
        if whole is None:
            continue
        chain = [whole]
        while (change := slots.get(FIRST_CHANGE_SLOT + len(chain) - 1)) is not None:
            if change.previous_offset != chain[-1].next_offset:
                break
            chain.append(change)
        if not best[0] or chain[-1].next_offset > best[0][-1].next_offset:
            best = chain, whole_slot
    return best


def _slots(chain: Iterable[State], whole_slot: int) -> Iterator[tuple[int, State]]:
    """Tell the slot of each piece of a chain."""
    for number, state in enumerate(chain):
        yield FIRST_CHANGE_SLOT + number - 1 if number else whole_slot, state


def _place(chain: list[State], whole_slot: int) -> Place:
    return Place(whole_slot, len(chain) - 1, chain[-1].next_offset, tuple({state.epoch: None for state in chain}))


def load(
    settings: Settings,
    decoder: Decoder[State],
    topics: Collection[str],
    partition: int,
    *,
    connect: Callable[..., Consumer] = consumer,
) -> dict[str, Loaded]:
    """Read the state of one partition of several raw topics, by topic; blocks.

    Raises:
        StateAwayError: the topic cannot be read now.
        StateDamagedError: a record is damaged.
    """
    return {topic: _sound(each) for topic, each in load_each(settings, decoder, topics, partition, connect).items()}


def _sound(found: Loaded | StateDamagedError) -> Loaded:
    if isinstance(found, StateDamagedError):
        raise found
    return found


def load_each(
    settings: Settings,
    decoder: Decoder[State],
    topics: Collection[str],
    partition: int,
    connect: Callable[..., Consumer] = consumer,
) -> dict[str, Loaded | StateDamagedError]:
    """Read as `load` does; of a topic whose state is damaged what is damaged, and of the others the state.

    Raises:
        StateAwayError: the topic cannot be read now.
    """
    client = connect(settings, LOAD_GROUP)
    where = TopicPartition(STATE.name + settings.kafka.topic_suffix, partition, OFFSET_BEGINNING)
    try:
        records = newest_records(client, where)
        return {topic: _chosen(records, where, decoder, topic) for topic in topics}
    except KafkaException as error:
        raise StateAwayError(f"{where.topic}:{where.partition}: {error}") from error
    finally:
        client.close()


def _chosen(records: Records, where: TopicPartition, decoder: Decoder[State], topic: str) -> Loaded | StateDamagedError:
    try:
        return choose(read_states(records, where, decoder, topic))
    except StateDamagedError as error:
        return error


def read_states(
    records: Records, where: TopicPartition, decoder: Decoder[State], topic: str
) -> Iterator[tuple[int, State]]:
    """Decode those of a raw topic to (slot, state).

    Raises:
        StateDamagedError: a record is damaged.
    """
    prefix = f"{topic}|".encode()
    for key, (offset, value) in records.items():
        if not key.startswith(prefix):
            continue
        try:
            state = decoder.decode(value)
            yield int(key.decode().removeprefix(_prefix(state)).partition("|")[0]), state
        except (CodecError, ValueError) as error:
            place = f"{where.topic}:{where.partition} offset {offset}"
            raise damaged(f"{place}: {error}", topic, where.partition) from error


def newest_records(client: Consumer, where: TopicPartition) -> Records:
    """Read the last record of each key up to the end there is now, in the order they were written.

    What was overwritten or deleted lies in the topic for a while; it is not kept in memory.

    Raises:
        StateAwayError: the end is not reached in time, or the broker refuses.
    """
    end = end_offsets(client, [where])[where.topic, where.partition]
    client.assign([where])
    position, polls_left = 0, int(LOAD_TIMEOUT_S / POLL_S)
    found: Records = {}
    while position < end:
        polls_left -= 1
        if polls_left < 0:
            raise StateAwayError(f"{where.topic}:{where.partition} could not be read to {end} in {LOAD_TIMEOUT_S} s")
        for message in client.consume(POLL_RECORDS, POLL_S):
            if message.error() is not None:
                raise StateAwayError(f"{where.topic}:{where.partition}: {message.error()}")
            offset, key, value = message.offset() or 0, message.key(), message.value()
            position = offset + 1
            if isinstance(key, bytes):
                found.pop(key, None)
                if isinstance(value, bytes):
                    found[key] = (offset, value)
    return found


class StateStore:
    """Writes the state of one raw partition.

    Args:
        topic: raw topic, without suffix.
        epoch: of this owner, above that of all before; 0 = there are no others.
        life: of the raw topic.
    """

    def __init__(
        self, outputs: Outputs, encoders: Encoders, *, topic: str, partition: int, epoch: int = 0, life: str = ""
    ) -> None:
        self.life = life
        self._outputs = outputs
        self._topic_name, self._encoder = encoders.of(State)
        self._topic, self._partition, self._epoch = topic, partition, epoch
        self._places: dict[str, Place] = {}
        self._limits: dict[int, int] = {}
        self._stale: tuple[bytes, ...] = ()

    def resume(self, loaded: Loaded) -> None:
        """Go on from a loaded state, so that its slots are not the next to be overwritten.

        One of another life leaves nothing to go on from: all is to be written again.
        """
        self._stale = loaded.stale
        if loaded.life in {"", self.life}:
            self._places = dict(loaded.places)
            self._limits = {epoch: limit for epoch, limit in loaded.limits.items() if epoch != self._epoch}

    def write(self, piece: Piece, next_offset: int) -> None:
        """Queue a piece of the state as of an offset; at most one of each name before `write_head`.

        One that is written again as of the same offset, as heads are, takes its own place: the last one counts.
        """
        self._write(piece, next_offset)

    def write_head(self, head: bytes, next_offset: int) -> None:
        """Queue the head, after all pieces that are new: the state stands once it is delivered."""
        epochs = {epoch for name, place in self._places.items() if name != HEAD for epoch in place.epochs}
        self._limits = {epoch: limit for epoch, limit in self._limits.items() if epoch in epochs}
        lineage = " ".join(f"{epoch}:{limit}" for epoch, limit in sorted(self._limits.items()))
        self._write(Piece(HEAD, head), next_offset, lineage)

    def clean(self) -> None:
        """Delete what did not count when the state was loaded; only for who owns the partition now and has a head."""
        for key in self._stale:
            self._outputs.write(self._topic_name, key, None)
        self._stale = ()

    def _write(self, piece: Piece, next_offset: int, lineage: str = "") -> None:
        before = self._places.get(piece.name, Place())
        is_again = piece.is_whole and before.next_offset == next_offset
        place = before.after(next_offset, self._epoch, is_whole=piece.is_whole)
        if is_again:
            place = place._replace(whole_slot=before.whole_slot)
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
                epoch=self._epoch,
                lineage=lineage,
                life=self.life,
            )
            self._outputs.write(self._topic_name, _key(state, place.slot), self._encoder.encode(state))


def _limits(lineage: str) -> dict[int, int]:
    pairs = (pair.partition(":") for pair in lineage.split())
    return {int(epoch): int(limit) for epoch, _, limit in pairs}


def damaged(what: str, topic: str, partition: int) -> StateDamagedError:
    """Say what is damaged of the state of a raw partition, and what to do."""
    return StateDamagedError(
        f"the state of {topic}:{partition} cannot be used: {what}. Stop the processors, then "
        f"`tickerplant checkpoint --restore {topic}:{partition}` goes back to its last checkpoint"
    )


def _key(state: State, slot: int) -> bytes:
    """Make the key of a piece; part and epoch are left out where they are 0, as they were before there were any."""
    part = f"|{state.part}" if state.part or state.epoch else ""
    epoch = f"|{state.epoch}" if state.epoch else ""
    return f"{_prefix(state)}{slot}{part}{epoch}".encode()


def epoch_of(key: bytes) -> int:
    """Tell who wrote under a key; 0 = it names nobody.

    >>> epoch_of(b"raw.binance|1|BTC/USDT|0|0|7"), epoch_of(b"raw.binance|1|BTC/USDT|0")
    (7, 0)
    """
    parts = key.decode("utf-8", "replace").split("|")
    return int(parts[KEY_PARTS - 1]) if len(parts) == KEY_PARTS and parts[-1].isdigit() else 0


def _prefix(state: State) -> str:
    return f"{state.source_topic}|{state.source_partition}|{state.symbol}|"
