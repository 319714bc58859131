"""Checkpoints: their names, the choice of one, and what is read back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerplant.errors import UserError
from tickerplant.replay import checkpoint
from tickerplant.replay.checkpoint import MARGIN_US, Checkpoint, Place, decode, encode, newest_before
from tickerplant.replay.lake import Lake
from tickerplant.settings import ObjectStore


def made(next_offset: int, event_time_us: int = 1_000_000) -> Checkpoint:
    pieces = {"": (b"head",), "BTC/USDT": (bytes(range(256)) * 40, b"change")}
    return Checkpoint(
        topic="raw.binance", partition=3, next_offset=next_offset, event_time_us=event_time_us, pieces=pieces
    )


@given(st.dictionaries(st.text(), st.lists(st.binary()).map(tuple)), st.integers(0, 2**62), st.integers(0, 2**62))
def test_what_was_encoded_is_read_back(pieces: dict[str, tuple[bytes, ...]], next_offset: int, time_us: int) -> None:
    found = Checkpoint(topic="raw.binance", partition=0, next_offset=next_offset, event_time_us=time_us, pieces=pieces)

    assert decode(encode(found)) == found
    assert checkpoint.NAME.fullmatch(found.place.name)


@given(st.lists(st.integers(0, 10**9), unique=True), st.integers(0, 10**9))
def test_the_newest_that_holds_nothing_of_the_range_is_chosen(times_us: list[int], from_us: int) -> None:
    found = [Place(number, time_us) for number, time_us in enumerate(sorted(times_us))]
    chosen = newest_before(found, from_us)

    assert all(each.event_time_us + MARGIN_US > from_us for each in found if chosen is None or each > chosen)
    assert chosen is None or chosen.event_time_us + MARGIN_US <= from_us


def test_a_checkpoint_in_a_folder_is_found_by_offset(tmp_path: Path) -> None:
    lake = Lake(ObjectStore(root=str(tmp_path / "lake")))
    for offset in (20, 5, 100):
        checkpoint.write(lake, made(offset))
    checkpoint.write(lake, made(20))

    places = checkpoint.places(lake, "raw.binance", 3)

    assert [each.next_offset for each in places] == [5, 20, 100]
    assert checkpoint.read(lake, "raw.binance", 3, places[1]) == made(20)
    assert checkpoint.places(lake, "raw.binance", 0) == []


@pytest.mark.parametrize("content", [b"", b"junk", encode(made(1))[:-5]])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, content: bytes) -> None:
    lake = Lake(ObjectStore(root=str(tmp_path)))
    place = Place(1, 1)
    lake.create(f"checkpoint/raw.binance/3/{place.name}", content)

    with pytest.raises(UserError, match=r"no checkpoint.*remove it to use the one before"):
        checkpoint.read(lake, "raw.binance", 3, place)
