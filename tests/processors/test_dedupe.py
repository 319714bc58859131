from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from processors.dedupe import Hole, SeenIds

ids = st.lists(st.integers(0, 60))


@given(ids)
def test_an_id_is_new_once(numbers: list[int]) -> None:
    seen = SeenIds()
    new = [number for number in numbers if seen.add(number)]

    assert sorted(new) == sorted(set(numbers))
    assert not any(seen.add(number) for number in numbers)


@given(ids)
def test_the_order_of_ids_does_not_matter(numbers: list[int]) -> None:
    forward, sorted_first = SeenIds(), SeenIds()
    for number in numbers:
        forward.add(number)
    for number in sorted(numbers):
        sorted_first.add(number)

    assert forward.intervals() == sorted_first.intervals()


@given(ids)
def test_intervals_are_apart_and_go_on_elsewhere(numbers: list[int]) -> None:
    seen = SeenIds()
    for number in numbers:
        seen.add(number)
    intervals = seen.intervals()

    assert {each for start, end in intervals for each in range(start, end + 1)} == set(numbers)
    assert all(end + 1 < start for (_, end), (start, _) in pairwise(intervals))
    assert SeenIds(intervals).intervals() == intervals


def test_a_hole_is_told_before_the_id_that_shows_it() -> None:
    seen = SeenIds([(5, 9)])

    assert seen.hole_before(10) is None
    assert seen.hole_before(13) == Hole(10, 12)
    assert seen.hole_before(2) is None
    assert SeenIds().hole_before(7) is None


def test_ids_below_the_first_are_new_once() -> None:
    seen = SeenIds([(5, 9)])

    assert [seen.add(3), seen.add(4), seen.add(3)] == [True, True, False]
    assert seen.intervals() == [(3, 9)]


def test_the_lowest_hole_is_forgotten_when_there_are_too_many() -> None:
    seen = SeenIds(most_intervals=3)
    for number in (0, 10, 20, 30):
        seen.add(number)

    assert seen.intervals() == [(0, 10), (20, 20), (30, 30)]
    assert not seen.add(5)
    assert seen.add(25)
