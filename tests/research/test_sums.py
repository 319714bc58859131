"""Sums of seconds over windows are those that a loop gives, to the last bit."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tickerplant.research.sums import (
    counts_over_windows,
    distinct,
    held,
    last_in_seconds,
    over_windows,
    per_second,
    taken,
)

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)
SECONDS = st.lists(st.integers(0, 30), max_size=40).map(sorted)
LENGTHS = st.sets(st.integers(1, 50), min_size=1, max_size=4).map(sorted)


def longs(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(-1e6, 1e6)), max_size=60))
def test_a_second_adds_its_items_one_by_one(items: list[tuple[int, float]]) -> None:
    expected = [0.0] * 10
    for second, value in items:
        expected[second] += value
    seconds = longs([second for second, _ in items])

    assert per_second(seconds, 10, np.array([value for _, value in items])).tolist() == expected
    assert per_second(seconds, 10).tolist() == [sum(second == each for second, _ in items) for each in range(10)]


@given(VALUES, LENGTHS)
def test_a_window_is_added_from_its_newest_second_to_its_oldest(values: list[float], lengths_s: list[int]) -> None:
    found = over_windows(np.array(values), lengths_s)

    for length_s, sums in zip(lengths_s, found, strict=True):
        for now, total in enumerate(sums.tolist()):
            expected = values[now]
            for second in range(now - 1, max(-1, now - length_s), -1):
                expected += values[second]
            assert total == expected


@given(st.lists(st.booleans(), min_size=1, max_size=40), LENGTHS)
def test_a_window_counts_its_seconds(flags: list[bool], lengths_s: list[int]) -> None:
    found = counts_over_windows(np.array(flags), lengths_s)

    for length_s, counts in zip(lengths_s, found, strict=True):
        assert counts.tolist() == [sum(flags[max(0, now + 1 - length_s) : now + 1]) for now in range(len(flags))]


@given(SECONDS, st.sampled_from([1, 10_000_000]))
def test_different_values_are_listed_once_however_far_apart(seconds: list[int], step: int) -> None:
    assert distinct(longs([each * step for each in seconds])).tolist() == sorted({each * step for each in seconds})


@given(SECONDS)
def test_the_last_item_of_each_second_is_found(seconds: list[int]) -> None:
    ends = [place for place, (one, other) in enumerate(pairwise([*seconds, -1])) if one != other]

    assert last_in_seconds(longs(seconds)).tolist() == ends


@given(SECONDS.map(lambda found: sorted(set(found))), st.integers(0, 40), st.integers(1, 10))
def test_a_second_holds_what_came_last_as_long_as_it_may(seconds: list[int], count: int, most_s: int) -> None:
    places = held(longs(seconds), count, most_s)
    expected = [
        max((place for place, at in enumerate(seconds) if now - most_s < at <= now), default=-1) for now in range(count)
    ]

    assert places.tolist() == expected
    assert np.isnan(taken(np.array(seconds, float), places)).tolist() == [place < 0 for place in expected]
