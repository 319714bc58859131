"""What objects of the lake say of the order of their rows: never more than holds."""

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.rising import ID, Rising, SourceId, heard, in_turn, rising, said

IDS = st.builds(
    SourceId, st.sampled_from(["raw.a", "raw.b@x"]), st.integers(0, 1), st.integers(0, 5), st.integers(0, 3)
)


def rows_of(ids: list[SourceId]) -> pa.Table:
    return pa.table({name: [each[at] for each in ids] for at, name in enumerate(ID)})


@settings(max_examples=200)
@given(st.one_of(st.lists(IDS, max_size=8), st.lists(IDS, max_size=8, unique=True).map(sorted)))
def test_rows_rise_where_each_id_is_above_the_one_before(ids: list[SourceId]) -> None:
    do_rise = bool(ids) and all(one < other for one, other in pairwise(ids))

    assert rising(rows_of(ids)) == (Rising(ids[0], ids[-1]) if do_rise else None)


def test_rows_without_ids_do_not_rise() -> None:
    ids = [SourceId("raw.a", 0, 1, 0), SourceId("raw.a", 0, 2, 0)]

    assert rising(rows_of(ids).drop_columns(["source_index"])) is None
    assert rising(pa.table({name: pa.array([None, 1]) for name in ID})) is None


def test_what_is_said_is_heard() -> None:
    found = Rising(SourceId("raw.a@é", 0, 1, 0), SourceId("raw.a@é", 3, 2**60, 7))

    assert heard({name.encode(): text.encode() for name, text in said(found).items()}) == found


@pytest.mark.parametrize("metadata", [None, {}, {b"rising": b"yes"}, {b"rising": b"[[1, 2, 3, 4], []]"}])
def test_what_others_say_is_not_believed(metadata: dict[bytes, bytes] | None) -> None:
    assert heard(metadata) is None


@settings(max_examples=100)
@given(st.lists(st.lists(IDS, min_size=1, max_size=4, unique=True).map(sorted), max_size=4))
def test_objects_are_put_in_the_order_in_which_all_rows_rise_or_in_none(objects: list[list[SourceId]]) -> None:
    order = in_turn([Rising(ids[0], ids[-1]) for ids in objects])

    if order is not None:
        rows = [each for number in order for each in objects[number]]
        assert all(one < other for one, other in pairwise(rows))
    else:
        spans = sorted((ids[0], ids[-1]) for ids in objects)
        assert any(later <= end for (_, end), (later, _) in pairwise(spans))
