from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from processors.pieces import Piece
from processors.state_store import (
    Loaded,
    Place,
    StateDamagedError,
    StateReadError,
    StateStore,
    choose,
    load,
    load_each,
    newest_records,
    read_states,
)
from schemas.codec import Decoder, Encoder, schema_text
from schemas.records import State
from tickerplant.kafka import TopicPartition
from tickerplant.settings import Settings


def piece(name: str, next_offset: int, payload: bytes = b"", *, life: str = "") -> State:
    return State(
        source_topic="raw.binance",
        source_partition=0,
        symbol=name,
        next_offset=next_offset,
        version=1,
        payload=payload or f"{name}@{next_offset}".encode(),
        life=life,
    )


def test_without_a_head_there_is_no_state() -> None:
    found = choose([(0, piece("BTC/USDT", 5))])

    assert (found.next_offset, found.pieces) == (0, {})


def test_pieces_written_before_their_head_do_not_count() -> None:
    written = [
        (0, piece("A", 10)), (0, piece("B", 10)), (0, piece("", 10)),
        (1, piece("A", 20)),  # the crash came before B and the head
    ]  # fmt: skip

    assert choose(written) == Loaded(
        10,
        {"": (b"@10",), "A": (b"A@10",), "B": (b"B@10",)},
        {"": Place(0, 0, 10), "A": Place(0, 0, 10), "B": Place(0, 0, 10)},
        {0: 10},
        0,
        (b"raw.binance|0|A|1",),
    )


def test_the_newest_piece_up_to_the_head_counts_whichever_slot_it_has() -> None:
    written = [(0, piece("A", 10)), (0, piece("", 10)), (1, piece("A", 20)), (0, piece("", 20)), (0, piece("A", 30))]

    found = choose(written)

    assert found.pieces == {"": (b"@20",), "A": (b"A@20",)}
    assert found.places == {"": Place(0, 0, 20), "A": Place(1, 0, 20)}


def test_the_life_of_the_newest_owner_counts_though_its_offsets_are_lower() -> None:
    first = [(0, piece("A", 900, life="x")), (0, piece("", 900, life="x"))]
    begun = [(0, msgspec.structs.replace(piece("A", 0, b"again", life="y"), epoch=1))]
    head = [(0, msgspec.structs.replace(piece("", 0, life="y"), epoch=1))]
    before, after = choose([*first, *begun]), choose([*first, *begun, *head])

    assert (before.next_offset, before.pieces, before.life) == (900, {"": (b"@900",), "A": (b"A@900",)}, "x")
    assert (after.next_offset, after.pieces, after.life) == (0, {"": (b"@0",), "A": (b"again",)}, "y")
    assert after.limits == {1: 0}


def test_an_heir_in_another_life_goes_on_with_nothing_of_the_state_of_before() -> None:
    outputs, encoders = FakeOutputs(), FakeEncoders()
    heir = StateStore(outputs, encoders, topic="raw.binance", partition=0, epoch=2, life="y")  # type: ignore[arg-type]
    heir.resume(choose([(0, of(1, "A", 7)), (0, msgspec.structs.replace(of(1, "", 7), life="x"))]))
    write(heir, {"A": b"1"}, 7)

    assert outputs.keys == [b"raw.binance|0|A|0|0|2", b"raw.binance|0||0|0|2"]
    assert (encoders.encoded[-1].lineage, encoders.encoded[-1].life) == ("", "y")


def write(store: StateStore, wholes: dict[str, bytes], next_offset: int) -> None:
    for name, payload in wholes.items():
        store.write(Piece(name, payload), next_offset)
    store.write_head(b"h", next_offset)


def test_slots_are_written_in_turn_and_go_on_after_a_restart() -> None:
    outputs: Any = FakeOutputs()
    store = StateStore(outputs, FakeEncoders(), topic="raw.binance", partition=3)  # type: ignore[arg-type]
    write(store, {"A": b"1"}, 1)
    write(store, {"A": b"2", "B": b"2"}, 2)
    heir = StateStore(outputs, FakeEncoders(), topic="raw.binance", partition=3)  # type: ignore[arg-type]
    heir.resume(Loaded(2, {}, {"": Place(1, 0, 2), "A": Place(1, 0, 2), "B": Place(0, 0, 2)}))
    write(heir, {"A": b"3", "B": b"3"}, 3)

    assert [key.removeprefix(b"raw.binance|3|") for key in outputs.keys] == [
        b"A|0", b"|0", b"A|1", b"B|0", b"|1", b"A|0", b"B|1", b"|0",
    ]  # fmt: skip


def of(owner: int, name: str, next_offset: int, lineage: str = "") -> State:
    """A piece of an owner's."""
    payload = f"{name}@{next_offset} of {owner}".encode()
    return msgspec.structs.replace(piece(name, next_offset, payload), epoch=owner, lineage=lineage)


def test_what_an_owner_wrote_after_another_took_over_does_not_count_and_stands_in_nobodys_way() -> None:
    """Owner 1 wrote A, B and a head as of 10, and was paused in a snapshot as of 20; owner 2 went on from 10."""
    before = [(0, of(1, "A", 10)), (0, of(1, "B", 10)), (0, of(1, "", 10))]
    since = [(1, of(2, "A", 15)), (1, of(2, "", 15, "1:10"))]
    late = [(1, of(1, "A", 20)), (1, of(1, "B", 20)), (1, of(1, "", 20))]
    found = choose([*before, *since, *late])

    assert found.pieces == {"": (b"@15 of 2",), "A": (b"A@15 of 2",), "B": (b"B@10 of 1",)}
    assert found.limits == {1: 10, 2: 15}
    assert found.newest_epoch == 2
    assert {f"raw.binance|0|{name}|1|0|1".encode() for name in "AB"} < set(found.stale)


def test_an_heir_writes_keys_of_its_own_and_deletes_what_does_not_count_when_told() -> None:
    outputs: Any = FakeOutputs()
    store = StateStore(outputs, FakeEncoders(), topic="raw.binance", partition=0, epoch=2)  # type: ignore[arg-type]
    store.resume(choose([(0, of(1, "A", 10)), (0, of(1, "", 10)), (1, of(1, "A", 20))]))
    write(store, {"A": b"3"}, 30)
    before = list(outputs.keys)
    store.clean()
    store.clean()

    assert before == [b"raw.binance|0|A|1|0|2", b"raw.binance|0||1|0|2"]
    assert outputs.keys[2:] == [b"raw.binance|0|A|1|0|1"]


def test_a_head_names_the_epochs_that_are_in_use_and_no_others() -> None:
    encoders = FakeEncoders()
    store = StateStore(FakeOutputs(), encoders, topic="raw.binance", partition=0, epoch=3)  # type: ignore[arg-type]
    store.resume(choose([(0, of(1, "A", 5)), (0, of(2, "B", 9)), (0, of(2, "", 10, "1:7"))]))
    lineages = []
    for name, offset in (("C", 11), ("A", 12), ("B", 13)):
        write(store, {name: b"x"}, offset)
        lineages.append(encoders.encoded[-1].lineage)

    assert lineages == ["1:7 2:10", "2:10", ""]


class MemoryMessage(NamedTuple):
    """A message as the library gives it: by methods."""

    at: int
    name: bytes | None
    content: bytes | None
    problem: str | None = None

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.name

    def value(self) -> bytes | None:
        return self.content

    def error(self) -> str | None:
        return self.problem


class MemoryConsumer:
    """A partition of messages, given two at a time; the end may be further off than the last of them."""

    def __init__(self, messages: list[MemoryMessage], end: int | None = None) -> None:
        self.messages, self.end = messages, len(messages) if end is None else end
        self.taken = 0

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        return 0, self.end

    def assign(self, _partitions: Any) -> None:
        self.taken = 0

    def consume(self, *_: Any) -> list[MemoryMessage]:
        self.taken += 2
        return self.messages[self.taken - 2 : self.taken]

    def close(self) -> None:
        pass


def read(client: MemoryConsumer) -> Iterator[tuple[int, State]]:
    where = TopicPartition("state.processor", 0)
    records = newest_records(client, where)  # type: ignore[arg-type]
    return read_states(records, where, Decoder(State, lambda _: schema_text(State)), "raw.binance")


def message(at: int, state: State, slot: int) -> MemoryMessage:
    return MemoryMessage(at, f"raw.binance|0|A|{slot}".encode(), Encoder(State, 1).encode(state))


def test_states_are_the_last_of_each_key_in_the_order_of_writing_others_left_out() -> None:
    client = MemoryConsumer(
        [
            message(0, piece("A", 1), 0),
            message(1, piece("A", 2), 1),
            MemoryMessage(2, b"raw.okx|0|A|0", b"of another venue"),
            message(3, piece("A", 3), 0),
            MemoryMessage(4, b"k", None),
        ]
    )

    assert list(read(client)) == [(1, piece("A", 2)), (0, piece("A", 3))]


def test_a_deleted_record_is_no_state_though_it_lies_in_the_topic_still() -> None:
    client = MemoryConsumer([message(0, piece("A", 1), 0), MemoryMessage(1, b"raw.binance|0|A|0", None)])

    assert list(read(client)) == []


@pytest.mark.parametrize("key", [b"raw.binance|0|A|0", b"raw.binance|0|A|what"])
def test_a_damaged_record_is_one_line_with_its_place_and_what_to_do(key: bytes) -> None:
    value = b"junk" if key.endswith(b"0") else Encoder(State, 1).encode(piece("A", 1))
    with pytest.raises(
        StateDamagedError, match=r"state\.processor:0 offset 0: .*checkpoint --restore raw\.binance:0"
    ) as told:
        list(read(MemoryConsumer([MemoryMessage(0, key, value)])))

    assert "\n" not in str(told.value)


def test_what_is_damaged_of_one_topic_leaves_the_states_of_others() -> None:
    junk = MemoryMessage(0, b"raw.okx|0|A|0", b"junk")
    head = MemoryMessage(2, b"raw.binance|0||0", Encoder(State, 1).encode(piece("", 7)))
    client: Any = MemoryConsumer([junk, message(1, piece("A", 7), 0), head])
    given: Any = Settings(), Decoder(State, lambda _: schema_text(State)), ["raw.binance", "raw.okx"], 0
    found = load_each(*given, connect=lambda *_: client)

    assert isinstance(found["raw.okx"], StateDamagedError)
    assert isinstance(found["raw.binance"], Loaded)
    assert found["raw.binance"].next_offset == 7
    with pytest.raises(StateDamagedError, match=r"--restore raw\.okx:0"):
        load(*given, connect=lambda *_: client)


def test_a_damaged_record_that_was_overwritten_does_no_harm() -> None:
    client = MemoryConsumer([MemoryMessage(0, b"raw.binance|0|A|0", b"junk"), message(1, piece("A", 1), 0)])

    assert list(read(client)) == [(0, piece("A", 1))]


def test_a_refusal_of_the_broker_is_told() -> None:
    with pytest.raises(StateReadError, match=r"state\.processor:0: gone"):
        list(read(MemoryConsumer([MemoryMessage(0, None, None, "gone")])))


def test_an_end_that_is_not_reached_is_told() -> None:
    with pytest.raises(StateReadError, match="could not be read to 5"):
        list(read(MemoryConsumer([], end=5)))


class FakeEncoders:
    """Encodes nothing: keys and states are looked at."""

    def __init__(self) -> None:
        self.encoded: list[State] = []

    def of(self, _record: type) -> tuple[str, "FakeEncoders"]:
        return "state.processor", self

    def encode(self, state: State) -> bytes:
        self.encoded.append(state)
        return state.payload


class FakeOutputs:
    """Notes the keys of what is written, in order."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []

    def write(self, _topic: str, key: bytes, _value: bytes | None) -> None:
        self.keys.append(key)
