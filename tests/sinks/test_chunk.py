from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.chunk import Buffer, Chunk, Limits, LogWentBackError
from sinks.columns import columns
from sinks.position import METADATA_BYTES, Position, PositionError, read_position
from sinks.tables import TABLES, table_of

PLACE = ("cleaned.tick", 3)


def buffer(*, rows: int = 4, size_bytes: int = 10**9, age_s: float = 10.0, **values: Any) -> Buffer:
    limits = Limits(rows=rows, size_bytes=size_bytes, age_s=age_s)
    return Buffer(TABLES["cleaned.tick"], PLACE, limits=limits, **values)


@pytest.fixture
def row(tick: Any) -> Any:
    """Makes the row of a tick."""
    return lambda offset, index=0: msgspec.to_builtins(tick(offset, index))


def drain(source: Buffer) -> list[Chunk]:
    """Take all closed chunks."""
    found = []
    while chunk := source.due(0.0):
        found.append(chunk)
        source.drop_first()
    return found


def spans(chunks: list[Chunk]) -> list[tuple[int, int]]:
    return [(chunk.span.start, chunk.span.end) for chunk in chunks]


def offsets(chunks: list[Chunk]) -> list[int]:
    return [offset for chunk in chunks for offset in chunk.rows["source_offset"].to_pylist()]


def test_a_chunk_closes_when_it_has_its_rows(row: Any) -> None:
    source = buffer(rows=2)
    for offset in range(5):
        source.add(offset, [row(offset)], size_bytes=1, now_s=0.0)

    assert spans(drain(source)) == [(0, 1), (2, 3)]


def test_a_chunk_closes_when_it_has_its_bytes(row: Any) -> None:
    source = buffer(size_bytes=30)
    for offset in range(5):
        source.add(offset, [row(offset)], size_bytes=15, now_s=0.0)

    assert spans(drain(source)) == [(0, 1), (2, 3)]


def test_a_chunk_closes_at_its_age_and_not_before(row: Any) -> None:
    source = buffer(age_s=1.0)
    source.add(7, [row(7)], size_bytes=1, now_s=5.0)

    assert source.due(5.9) is None
    assert spans([source.due(6.0)]) == [(7, 7)]  # type: ignore[list-item]


def test_a_due_chunk_stays_the_same_until_it_is_dropped(row: Any) -> None:
    source = buffer(rows=1)
    source.add(0, [row(0)], size_bytes=1, now_s=0.0)
    first = source.due(0.0)
    source.add(1, [row(1)], size_bytes=1, now_s=0.0)

    assert source.due(99.0) is first


def test_an_empty_buffer_has_nothing_due() -> None:
    source = buffer()
    source.close()

    assert source.due(1e9) is None
    assert source.size_bytes == 0


def test_one_huge_record_is_one_chunk(row: Any) -> None:
    source = buffer(rows=10)
    source.add(0, [row(0, index) for index in range(5000)], size_bytes=1, now_s=0.0)
    (chunk,) = drain(source)

    assert (chunk.row_count, chunk.span.end) == (5000, 0)


def test_offsets_that_go_back_are_refused(row: Any) -> None:
    source = buffer()
    source.add(5, [row(5)], size_bytes=1, now_s=0.0)

    with pytest.raises(LogWentBackError, match=r"cleaned\.tick \[3\] gave offset 4 after 5"):
        source.add(4, [row(4)], size_bytes=1, now_s=0.0)


def test_offsets_may_have_holes(row: Any) -> None:
    source = buffer(rows=2)
    for offset in (3, 10, 11, 50):
        source.add(offset, [row(offset)], size_bytes=1, now_s=0.0)

    assert spans(drain(source)) == [(3, 10), (11, 50)]


def test_repeats_move_the_range_and_are_counted(row: Any) -> None:
    source = buffer(rows=3)
    for offset, source_offset in enumerate([0, 1, 0, 1, 2]):
        source.add(offset, [row(source_offset)], size_bytes=1, now_s=0.0)
    (chunk,) = drain(source)

    assert (chunk.span.end, chunk.repeats, offsets([chunk])) == (4, 2, [0, 1, 2])


def test_rows_of_one_raw_record_are_told_apart_by_their_index(row: Any) -> None:
    source = buffer(rows=3)
    for offset, index in enumerate([0, 2, 1, 5, 6]):
        source.add(offset, [row(0, index)], size_bytes=1, now_s=0.0)
    (chunk, *_) = drain(source)

    assert chunk.rows["source_index"].to_pylist() == [0, 2, 5]


def test_a_topic_without_source_ids_keeps_all_rows(row: Any) -> None:
    source = Buffer(table_of("dlq.sink"), ("dlq.sink", 0), limits=Limits(rows=2, size_bytes=1, age_s=1.0))

    assert not source.table.drops_repeats


def test_without_a_commit_what_was_there_at_the_start_is_doubtful(row: Any) -> None:
    source = buffer(rows=1, doubtful_below=1)
    for offset in range(2):
        source.add(offset, [row(offset)], size_bytes=1, now_s=0.0)

    assert [chunk.is_doubtful for chunk in drain(source)] == [True, False]


def test_a_pending_range_is_built_in_full_before_anything_else(row: Any) -> None:
    source = buffer(rows=2, position=Position(offset=3, pending_end=8))
    for offset in range(3, 13):
        source.add(offset, [row(offset)], size_bytes=1, now_s=0.0)
    chunks = drain(source)

    assert spans(chunks) == [(3, 8), (9, 10), (11, 12)]
    assert [chunk.is_doubtful for chunk in chunks] == [True, False, False]


def test_a_pending_range_keeps_its_name_where_records_are_gone(row: Any) -> None:
    source = buffer(rows=2, position=Position(offset=3, pending_end=8))
    source.add(5, [row(5)], size_bytes=1, now_s=0.0)
    source.close()
    early = source.due(1e9)
    source.add(11, [row(11)], size_bytes=1, now_s=0.0)

    assert early is None
    assert spans(drain(source)) == [(3, 8)]


@given(
    count=st.integers(0, 60),
    rows=st.integers(1, 9),
    sizes=st.lists(st.integers(1, 50), min_size=1),
    size_bytes=st.integers(1, 200),
    closes=st.sets(st.integers(0, 60)),
)
def test_boundaries_neither_lose_nor_double_a_row(
    count: int, rows: int, sizes: Any, *, size_bytes: int, closes: Any
) -> None:
    source = buffer(rows=rows, size_bytes=size_bytes)
    for offset in range(count):
        source.add(offset, [ROW | {"source_offset": offset}], size_bytes=sizes[offset % len(sizes)], now_s=0.0)
        if offset in closes:
            source.close()
    source.close()
    chunks = drain(source)
    ends = [chunk.span.end for chunk in chunks]

    assert list(range(count)) == offsets(chunks)
    assert [0, *(end + 1 for end in ends)][: len(chunks)] == [chunk.span.start for chunk in chunks]


@given(
    sources=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20), st.integers(0, 2)), max_size=50),
    stops=st.sets(st.integers(0, 50)),
)
def test_marks_that_travel_in_metadata_give_the_same_rows_as_one_owner(sources: Any, stops: Any) -> None:
    taken = []
    source = buffer(rows=10**6)
    for offset, (partition, source_offset, index) in enumerate(sources):
        each = {"source_partition": partition, "source_offset": source_offset, "source_index": index}
        source.add(offset, [ROW | each], size_bytes=1, now_s=0.0)
        if offset in stops:
            source.close()
            (chunk,) = drain(source)
            taken.append(chunk)
            done = chunk.done()
            source = buffer(rows=10**6, position=read_position(done.offset, done.metadata()))
    source.close()
    taken += drain(source)
    highest: dict[int, tuple[int, int]] = {}
    expected = []
    for partition, source_offset, index in sources:
        if (source_offset, index) > highest.get(partition, (-1, -1)):
            highest[partition] = (source_offset, index)
            expected.append((partition, source_offset, index))
    names = ("source_partition", "source_offset", "source_index")
    found = [each for chunk in taken for each in zip(*(chunk.rows[name].to_pylist() for name in names), strict=True)]

    assert expected == found


@given(
    sources=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(0, 2)), max_size=40),
    holes=st.lists(st.integers(1, 3), min_size=40, max_size=40),
    limits=st.tuples(st.integers(1, 9), st.integers(1, 60)),
    pending_end=st.none() | st.integers(0, 40),
    cuts=st.sets(st.integers(1, 39)),
    doubtful_below=st.integers(0, 30),
)
def test_records_taken_together_give_the_chunks_of_one_after_the_other(
    sources: Any, holes: Any, *, limits: tuple[int, int], pending_end: int | None, cuts: Any, doubtful_below: int
) -> None:
    offsets_ = np.cumsum(holes)[: len(sources)]
    sizes = (offsets_ * 7) % 11 + 1
    names = ("source_partition", "source_offset", "source_index")
    rows = [ROW | dict(zip(names, each, strict=True)) for each in sources]
    position = None if pending_end is None else Position(offset=0, pending_end=pending_end)
    one, many = (
        buffer(rows=limits[0], size_bytes=limits[1], position=position, doubtful_below=doubtful_below) for _ in range(2)
    )
    for offset, each, size in zip(offsets_.tolist(), rows, sizes.tolist(), strict=True):
        one.add(offset, [each], size_bytes=size, now_s=0.0)
    for start, end in pairwise(sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})):
        part = columns(many.table.schema, rows[start:end])
        many.add_all(offsets_[start:end], part, sizes=sizes[start:end], now_s=0.0)
    for each in (one, many):
        each.close()
    pairs = list(zip(drain(one), drain(many), strict=True))

    assert many.unread == one.unread
    for expected, found in pairs:
        assert (found.span, found.repeats, found.size_bytes) == (expected.span, expected.repeats, expected.size_bytes)
        assert (found.intent(), found.done()) == (expected.intent(), expected.done())
        assert found.rows.equals(expected.rows)
        assert repr(found.offsets) == repr(expected.offsets)


def test_records_taken_together_up_to_an_offset_that_goes_back_are_kept(row: Any) -> None:
    source = buffer()
    part = columns(source.table.schema, [row(5), row(6), row(7)])

    with pytest.raises(LogWentBackError, match=r"cleaned\.tick \[3\] gave offset 4 after 6"):
        source.add_all(np.array([5, 6, 4]), part, sizes=np.ones(3, int), now_s=0.0)
    assert source.row_count == 2


def test_a_position_without_metadata_has_nothing_pending() -> None:
    assert read_position(5, None) == read_position(5, "") == Position(offset=5, doubtful_below=None)


def test_metadata_of_somebody_else_is_refused() -> None:
    with pytest.raises(PositionError, match="not ours"):
        read_position(5, "faust")


@given(
    st.none() | st.integers(0, 2**62),
    st.dictionaries(
        st.tuples(st.text(max_size=20), st.integers(0, 999)),
        st.tuples(st.integers(0, 2**62), st.integers(0, 2**31 - 1)),
        max_size=9,
    ),
)
def test_a_position_survives_the_broker(pending_end: int | None, marks: Any) -> None:
    position = Position(offset=9, pending_end=pending_end, marks=marks)

    assert position == read_position(9, position.metadata())


def test_sixty_sources_fit_and_too_many_are_refused() -> None:
    marks = {(f"raw.venue_{number:02d}", number): (2**40, 99) for number in range(60)}
    fits = Position(offset=0, pending_end=2**40, marks=marks).metadata()
    marks |= {(f"raw.other_{number:02d}", number): (2**40, 99) for number in range(60)}

    assert len(fits) <= METADATA_BYTES
    with pytest.raises(PositionError, match="marks of 120 sources"):
        Position(offset=0, marks=marks).metadata()


ROW = {
    "event_time_us": 1,
    "exchange_time_us": 1,
    "recv_time_us": 1,
    "venue": "V",
    "symbol": "S",
    "asset_class": "CRYPTO",
    "kind": "TRADE",
    "price": 1.0,
    "quantity": 1.0,
    "side": "BUY",
    "bid": None,
    "ask": None,
    "bid_size": None,
    "ask_size": None,
    "sequence_id": 1,
    "trade_id": "",
    "venue_sequence": 0,
    "flags": "",
    "source_topic": "raw.v",
    "source_partition": 0,
    "source_offset": 0,
    "source_index": 0,
}
