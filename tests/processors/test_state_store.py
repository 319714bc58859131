from typing import Any

from processors.state_store import Loaded, StateStore, choose
from schemas.records import State


def piece(name: str, next_offset: int, payload: bytes = b"") -> State:
    return State(
        source_topic="raw.binance",
        source_partition=0,
        symbol=name,
        next_offset=next_offset,
        version=1,
        payload=payload or f"{name}@{next_offset}".encode(),
    )


def test_without_a_head_there_is_no_state() -> None:
    assert choose([(0, piece("BTC/USDT", 5))]) == Loaded()


def test_pieces_written_before_their_head_do_not_count() -> None:
    written = [
        (0, piece("A", 10)), (0, piece("B", 10)), (0, piece("", 10)),
        (1, piece("A", 20)),  # the crash came before B and the head
    ]  # fmt: skip

    assert choose(written) == Loaded(10, {"A": b"A@10", "B": b"B@10", "": b"@10"}, {"A": 0, "B": 0})


def test_the_newest_piece_up_to_the_head_counts_whichever_slot_it_has() -> None:
    written = [(0, piece("A", 10)), (0, piece("", 10)), (1, piece("A", 20)), (0, piece("", 20)), (0, piece("A", 30))]

    assert choose(written) == Loaded(20, {"A": b"A@20", "": b"@20"}, {"A": 1})


def test_slots_are_written_in_turn_and_go_on_after_a_restart() -> None:
    outputs: Any = FakeOutputs()
    store = StateStore(outputs, FakeEncoders(), topic="raw.binance", partition=3)  # type: ignore[arg-type]
    store.write({"A": b"1"}, b"h", 1)
    store.write({"A": b"2", "B": b"2"}, b"h", 2)
    heir = StateStore(outputs, FakeEncoders(), topic="raw.binance", partition=3)  # type: ignore[arg-type]
    heir.resume(Loaded(2, {}, {"A": 1, "B": 0}))
    heir.write({"A": b"3", "B": b"3"}, b"h", 3)

    assert [key.removeprefix(b"raw.binance|3|") for key in outputs.keys] == [
        b"A|0", b"|0", b"A|1", b"B|0", b"|0", b"A|0", b"B|1", b"|0",
    ]  # fmt: skip


class FakeEncoders:
    """Encodes nothing: keys alone are looked at."""

    def of(self, _record: type) -> tuple[str, "FakeEncoders"]:
        return "state.processor", self

    def encode(self, state: State) -> bytes:
        return state.payload


class FakeOutputs:
    """Notes the keys of what is written, in order."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []

    def write(self, _topic: str, key: bytes, _value: bytes) -> None:
        self.keys.append(key)
