from threading import Barrier, current_thread

import pytest

from sinks.together import Threads

PATIENCE_S = 30.0


def test_jobs_run_at_the_same_time_and_answer_in_their_order() -> None:
    all_three = Barrier(3)
    found = Threads(3)([lambda number=number: (all_three.wait(PATIENCE_S), number)[1] for number in range(3)])

    assert found == [0, 1, 2]


def test_more_jobs_than_may_run_are_done_one_after_another() -> None:
    names = set(Threads(2)([lambda: current_thread().name] * 20))

    assert len(names) <= 2


def test_one_job_needs_no_thread() -> None:
    assert Threads(4)([current_thread]) == [current_thread()]
    assert Threads(1)([current_thread] * 3) == [current_thread()] * 3


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_told_once_all_have_ended(failing: int) -> None:
    ended: list[int] = []
    both = Barrier(2)

    def job(number: int) -> None:
        both.wait(PATIENCE_S)
        if number == failing:
            raise ValueError(number)
        ended.append(number)

    with pytest.raises(ValueError, match=str(failing)):
        Threads(2)([lambda: job(0), lambda: job(1)])

    assert ended == [1 - failing]
