"""Offsets of venues' clocks, apart from jitter."""

from hypothesis import given
from hypothesis import strategies as st

from processors.clock_offset import HALF_US, ClockOffset

NOW_US = 1_795_910_400_000_000
WAYS = st.lists(st.tuples(st.integers(0, HALF_US), st.integers(-2_000_000, 2_000_000)), min_size=1, max_size=40)


@given(WAYS)
def test_the_offset_is_the_least_of_the_last_half_minute_or_more(steps: list[tuple[int, int]]) -> None:
    offset, time_us, came = ClockOffset(), NOW_US, []
    for after_us, way_us in steps:
        time_us += after_us
        came.append((time_us, way_us))
        jitter_us = offset.add(time_us, time_us - way_us)

        assert offset.offset_us is not None
        assert jitter_us == way_us - offset.offset_us >= 0
        assert offset.offset_us <= min(way for at_us, way in came if time_us - at_us < HALF_US // 2 or at_us == time_us)
        assert offset.offset_us >= min(way for at_us, way in came if time_us - at_us <= 2 * HALF_US)


def test_a_clock_that_is_set_is_believed_after_a_minute() -> None:
    offset = ClockOffset()
    for second in range(200):
        behind_us = -1_500_000 if second < 100 else 40_000
        offset.add(NOW_US + second * 1_000_000, NOW_US + second * 1_000_000 - behind_us)
        if second == 99:
            assert offset.offset_us == -1_500_000
        if second >= 160:
            assert offset.offset_us == 40_000


def test_a_venue_that_fell_silent_has_no_offset_after_a_minute() -> None:
    offset = ClockOffset()
    assert offset.lately_us(NOW_US) is None

    offset.add(NOW_US, NOW_US - 700)
    assert [offset.lately_us(NOW_US + after_us) for after_us in (0, HALF_US, 2 * HALF_US)] == [700, 700, None]


def test_receive_times_that_go_back_begin_anew() -> None:
    offset = ClockOffset()
    offset.add(NOW_US, NOW_US + 500)

    assert offset.add(NOW_US - 10 * HALF_US, NOW_US - 10 * HALF_US - 700) == 0
    assert offset.offset_us == 700
