"""The reader's filter: repeats of a source are dropped, nothing else is."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerplant.once import Once, Source, SourceError, read_source, source_of

PLACE = ("cleaned.tick", 0)


def test_a_source_is_read_from_its_header() -> None:
    headers = [("other", b"x"), ("source", b"raw.binance:1:1000:3")]

    assert source_of(headers) == Source("raw.binance", 1, 1000, 3)
    assert read_source("raw.a:b:0:0:0") == Source("raw.a:b", 0, 0, 0)


def test_records_without_a_source_have_none() -> None:
    assert source_of(None) is None
    assert source_of([("trace", b"1")]) is None


@pytest.mark.parametrize("text", ["", "raw.binance", "raw.binance:1:x:3", "1:2:3"])
def test_a_source_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(SourceError, match="is no source"):
        read_source(text)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 3)), unique=True), st.data())
def test_what_is_written_again_from_any_point_is_dropped(ids: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """A woken processor repeats the tail of its output, after what the one that took over wrote."""
    rising = sorted(ids)
    again_from = data.draw(st.integers(0, len(rising)))
    again_to = data.draw(st.integers(again_from, len(rising)))
    once = Once()
    written = [*rising[:again_to], *rising[again_from:again_to], *rising[again_to:]]

    read = [each for each in written if once.is_new(PLACE, Source("raw.a", *each))]

    assert read == _first_of_each(written)
    assert sorted(read) == rising


@given(
    st.lists(
        st.tuples(st.sampled_from(("raw.a", "raw.b:c")), st.integers(0, 2), st.integers(0, 99), st.integers(0, 11))
    )
)
def test_a_header_says_the_same_as_the_source_that_it_is(ids: list[tuple[str, int, int, int]]) -> None:
    by_source, by_header = Once(), Once()
    for each in ids:
        header = ":".join(map(str, each)).encode()

        assert by_header.is_new_header(PLACE, header) == by_source.is_new(PLACE, Source(*each))
    assert by_header.marks(PLACE) == by_source.marks(PLACE)


@pytest.mark.parametrize(
    "header", [b"", b"raw.binance", b"raw.binance:1:x:3", b"1:2:3", b"raw.binance:x:1:3", b"\xff:1"]
)
def test_a_header_that_cannot_be_read_is_told(header: bytes) -> None:
    with pytest.raises(SourceError, match="is no source"):
        Once().is_new_header(PLACE, header)


def _first_of_each(written: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return list(dict.fromkeys(written))


def test_sources_and_partitions_are_told_apart() -> None:
    once = Once()
    source = Source("raw.a", 0, 7, 1)

    assert once.is_new(PLACE, source)
    assert once.is_new(("cleaned.tick", 1), source)
    assert once.is_new(PLACE, dataclasses.replace(source, topic="raw.b"))
    assert once.is_new(PLACE, dataclasses.replace(source, partition=1))
    assert not once.is_new(PLACE, source)


def test_marks_that_were_kept_go_on() -> None:
    first, second = Once(), Once()
    first.is_new(PLACE, Source("raw.a", 0, 7, 1))
    second.resume(PLACE, first.marks(PLACE))

    assert not second.is_new(PLACE, Source("raw.a", 0, 7, 1))
    assert second.is_new(PLACE, Source("raw.a", 0, 7, 2))
