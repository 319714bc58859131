"""A stage's position: lag in records and seconds as of the moment somebody asks."""

from collections.abc import Iterator
from math import isnan

import pytest
from prometheus_client import REGISTRY

from tickerplant.progress import Progress

LABELS = {"stage": "test_progress", "topic": "raw.binance", "partition": "3"}


class Clock:
    def __init__(self) -> None:
        self.us = 1_000_000_000

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Iterator[Progress]:
    made = Progress("test_progress", "raw.binance", 3, now_us=clock)
    yield made
    made.close()


def shown(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, LABELS)


def test_before_the_end_is_known_nothing_is_claimed(progress: Progress) -> None:
    progress.hear(None)

    assert isnan(progress.lag_records())
    assert isnan(progress.lag_seconds())


def test_a_stage_at_the_end_has_no_lag_however_old_its_last_record_is(progress: Progress, clock: Clock) -> None:
    progress.next_offset, progress.written_us = 10, clock.us
    progress.hear(10)
    clock.us += 3_600_000_000

    assert (shown("stage_lag_records"), shown("stage_lag_seconds")) == (0, 0)


def test_a_stage_behind_shows_the_age_of_what_it_takes(progress: Progress, clock: Clock) -> None:
    progress.next_offset, progress.written_us = 4, clock.us - 90_000_000
    progress.hear(10)

    assert (shown("stage_lag_records"), shown("stage_lag_seconds")) == (6, 90)


def test_a_record_after_a_long_silence_is_not_taken_for_an_old_one(progress: Progress, clock: Clock) -> None:
    progress.next_offset, progress.written_us = 10, clock.us
    progress.hear(10)
    clock.us += 3_600_000_000
    progress.hear(10)
    clock.us += 2_000_000
    progress.hear(11)

    assert progress.lag_seconds() == 2


def test_a_stage_that_hangs_shows_a_lag_that_grows(progress: Progress, clock: Clock) -> None:
    progress.next_offset, progress.written_us = 4, clock.us
    progress.hear(10)
    clock.us += 5_000_000
    before = shown("stage_lag_seconds")
    clock.us += 5_000_000

    assert (before, shown("stage_lag_seconds")) == (5, 10)


def test_what_was_taken_before_the_end_was_heard_is_no_negative_lag(progress: Progress) -> None:
    progress.next_offset = 12
    progress.hear(10)

    assert progress.lag_records() == 0


def test_a_partition_of_another_is_not_shown(progress: Progress) -> None:
    progress.hear(10)
    progress.close()

    assert shown("stage_lag_records") is None
    assert shown("stage_lag_seconds") is None
