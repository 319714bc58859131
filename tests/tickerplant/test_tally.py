"""When too much cannot be used: in a row, or a share of a window; and what brings it back below."""

from hypothesis import given
from hypothesis import strategies as st

from tickerplant.tally import DeadLetterLimit, Tally

LIMIT = DeadLetterLimit(10, 0.5, 100)


def count(tally: Tally, limit: DeadLetterLimit, stream: str) -> int:
    """Count good (.) and bad (x) ones until the limit is reached; returns how many were counted."""
    for number, each in enumerate(stream, 1):
        if each == "x":
            limit.add_bad(tally)
        else:
            tally.good()
        if limit.is_reached(tally):
            return number
    return len(stream)


def test_so_many_in_a_row_reach_it() -> None:
    tally = Tally()

    assert count(tally, LIMIT, "x" * 9 + "." + "x" * 20) == 20
    assert LIMIT.reason(tally, "frames", "processor").startswith("10 frames in a row could not be used")


def test_alternating_ones_reach_it_within_a_window() -> None:
    tally = Tally()

    assert count(tally, LIMIT, "x." * 100) == 99
    assert LIMIT.reason(tally, "frames", "processor").startswith("50 of 99 frames")


def test_it_stays_reached_while_it_goes_on_so() -> None:
    tally = Tally()
    count(tally, LIMIT, "x." * 100)
    for _ in range(200):
        tally.good()
        LIMIT.add_bad(tally)

        assert LIMIT.is_reached(tally)


def test_good_ones_forgive_it() -> None:
    tally = Tally()
    count(tally, LIMIT, "x." * 100)
    count(Tally(), LIMIT, "")
    for _ in range(20):
        tally.good()
    LIMIT.add_bad(tally)

    assert not LIMIT.is_reached(tally)
    assert tally == Tally(1, 1, 1)


@given(good=st.integers(2, 50), windows=st.integers(1, 20))
def test_a_third_or_less_never_reaches_it(good: int, windows: int) -> None:
    stream = ("x" + "." * good) * (100 * windows // (good + 1))

    assert count(Tally(), LIMIT, stream) == len(stream)


@given(stream=st.text("x.", max_size=300))
def test_dead_letters_of_a_stream_are_bounded_by_windows(stream: str) -> None:
    used = stream[: count(Tally(), LIMIT, stream)]

    assert used.count("x") <= 50 * (len(used) // 50 + 1)
