"""When a record was written, from points alone: asked for where they are too far apart."""

from hypothesis import given
from hypothesis import strategies as st

from tickerplant.timeline import FINEST_MS, FINEST_SHARE, MOST_POINTS, Timeline

NOW_MS = 1_800_000_000_000


def timeline(*points: tuple[int, int]) -> Timeline:
    made = Timeline()
    for age_ms, offset in points:
        made.add(NOW_MS - age_ms, offset)
    return made


def test_between_two_points_the_time_is_interpolated() -> None:
    assert timeline((10_000, 100), (0, 200)).written_ms(150) == NOW_MS - 5_000


def test_what_was_written_before_all_points_is_not_known_and_asked_for() -> None:
    known = timeline((5_000, 100), (0, 200))

    assert known.written_ms(99) is None
    question_ms = known.question_ms(99, NOW_MS)
    assert question_ms is not None
    assert question_ms < NOW_MS - 5_000


def test_what_is_not_there_yet_has_no_time_and_no_question() -> None:
    known = timeline((0, 200))

    assert known.written_ms(200) is None
    assert known.question_ms(200, NOW_MS) is None


def test_a_topic_made_anew_begins_again() -> None:
    known = timeline((10_000, 500), (5_000, 3), (0, 9))

    assert known.written_ms(3) == NOW_MS - 5_000
    assert len(known) == 2


def test_an_answer_that_contradicts_what_was_seen_is_left_out() -> None:
    known = timeline((10_000, 100), (0, 200))
    known.add(NOW_MS - 5_000, 300)
    known.add(NOW_MS - 20_000, 150)

    assert len(known) == 2


def test_a_quiet_partition_keeps_the_first_and_the_last_look() -> None:
    known = timeline(*((age_ms, 7) for age_ms in range(100_000, -1, -1000)))

    assert len(known) == 2


def test_memory_is_bounded_and_recent_points_are_kept() -> None:
    known = timeline(*((10_000_000 - number * 1000, number) for number in range(5000)))

    assert len(known) <= MOST_POINTS
    assert known.written_ms(4990) == NOW_MS - (10_000_000 - 4990 * 1000)


@given(st.lists(st.integers(0, 86_400_000), min_size=1, max_size=200), st.data())
def test_asking_the_broker_until_nothing_is_asked_gives_the_age_within_what_is_promised(
    ages: list[int], data: st.DataObject
) -> None:
    written = sorted(NOW_MS - 1 - age for age in ages)
    offset = data.draw(st.integers(0, len(written) - 1))
    known = timeline((0, len(written)))

    for _ in range(60):
        question_ms = known.question_ms(offset, NOW_MS)
        if question_ms is None:
            break
        known.add(question_ms, sum(time_ms < question_ms for time_ms in written))

    assert question_ms is None
    told_ms = known.written_ms(offset)
    assert told_ms is not None
    age_ms = NOW_MS - written[offset]
    assert abs(told_ms - written[offset]) <= max(FINEST_MS, FINEST_SHARE * age_ms)
