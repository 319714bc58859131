"""What names in a folder tell of the offsets that are stored."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sinks.chunk import Span
from sinks.stored import Stored, missing, object_name

LIKE = Span(topic="cleaned.tick", partition=1, generation="Ab-_9z00", start=0, end=0)


def span(start: int, end: int, **changes: object) -> Span:
    values = {"topic": LIKE.topic, "partition": LIKE.partition, "generation": LIKE.generation}
    return Span(**{**values, **changes}, start=start, end=end)  # type: ignore[arg-type]  # changes are of their types


def test_names_of_other_topics_partitions_and_generations_are_passed_over() -> None:
    others = [
        span(0, 9, topic="cleaned.tick-1"),
        span(0, 9, topic="cleaned.tic"),
        span(0, 9, partition=11),
        span(0, 9, generation="zzzzzzzz"),
        span(0, 9, generation=""),
    ]
    names = [*map(object_name, others), *(object_name(each).replace(".p", "-sk3f9x0ab.p") for each in others)]
    names += ["cleaned.tick-1-junk.parquet", "_damaged-" + object_name(span(0, 9)), ""]

    assert Stored(names, LIKE).over(span(0, 100)) == []


def test_an_object_is_found_by_any_of_its_offsets() -> None:
    stored = Stored([object_name(span(10, 19)), object_name(span(20, 20))], LIKE)

    assert stored.over(span(0, 9)) == stored.over(span(21, 30)) == []
    assert [each[:2] for each in stored.over(span(19, 19))] == [(10, 19)]
    assert [each.name for each in stored.over(span(15, 25))] == [object_name(span(10, 19)), object_name(span(20, 20))]


def test_an_object_that_a_swap_wrote_holds_what_it_replaced() -> None:
    names = [object_name(span(10, 19)).replace(".parquet", "-sk3f9x0ab.parquet"), object_name(span(20, 29))]
    stored = Stored(names, LIKE).over(span(0, 100))

    assert [each[:2] for each in stored] == [(10, 19), (20, 29)]
    assert [each.is_swapped for each in stored] == [True, False]


@given(
    ranges=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=8),
    wanted=st.tuples(st.integers(0, 60), st.integers(0, 30)),
)
def test_an_offset_is_missing_where_no_range_holds_it(ranges: list[tuple[int, int]], wanted: tuple[int, int]) -> None:
    first, last = wanted[0], wanted[0] + wanted[1]
    names = [object_name(span(start, start + length)) for start, length in ranges]
    offsets = np.arange(first, last + 1)
    held = {offset for start, length in ranges for offset in range(start, start + length + 1)}
    found = missing(offsets, Stored(names, LIKE).over(span(first, last)))

    assert [offset not in held for offset in offsets.tolist()] == found.tolist()
