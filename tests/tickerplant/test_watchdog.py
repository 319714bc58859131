"""The watchdog ends what is alive and does nothing, and nothing else."""

import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerplant.watchdog import STUCK_CODE, Patience, Work, guarded, stacks

STUCK_S = 60.0
PROGRAM = """
import sys, threading, time
from tickerplant.health import Health
from tickerplant.logs import configure_logs
from tickerplant.watchdog import guarded

configure_logs("tester")
health = Health("tester")

def beat_for(seconds):
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        health.beat()
        time.sleep(0.01)

def hang_here():
    threading.Event().wait()

with guarded("tester", float(sys.argv[1]), lambda: {"main loop": health.work()}):
    beat_for(2 * float(sys.argv[1]))
    print("still here", flush=True)
    if sys.argv[2] == "hang":
        hang_here()
"""


def first_stuck(looks: Sequence[tuple[float, dict[str, Work] | None]], stuck_after_s: float = STUCK_S) -> float | None:
    """Tell when something is first called stuck."""
    patience = Patience(stuck_after_s)
    return next((now_s for now_s, works in looks if patience.look(now_s, works)), None)


def looks(
    seconds: int, done: object = 1, *, is_waiting: bool = True, begin_s: int = 0
) -> list[tuple[float, dict[str, Work]]]:
    return [(float(now_s), {"work": Work(done, is_waiting)}) for now_s in range(begin_s, begin_s + seconds)]


def test_work_that_waits_while_nothing_is_done_is_stuck_after_its_time() -> None:
    assert first_stuck(looks(100)) == STUCK_S


def test_what_has_nothing_to_do_is_never_stuck() -> None:
    assert first_stuck(looks(10_000, is_waiting=False)) is None


def test_time_with_nothing_to_do_does_not_count() -> None:
    idle = looks(1000, is_waiting=False)

    assert first_stuck([*idle, *looks(59, begin_s=1000)]) is None
    assert first_stuck([*idle, *looks(100, begin_s=1000)]) == 1060


def test_whatever_is_done_begins_the_time_anew() -> None:
    done = [entry for number in range(100) for entry in looks(50, done=number, begin_s=50 * number)]

    assert first_stuck(done) is None


def test_an_unknown_moment_begins_the_time_anew() -> None:
    """A broker that is away: nobody can tell what waits, and nothing can be done."""
    assert first_stuck([*looks(55), (55.0, None), *looks(55, begin_s=56)]) is None


def test_a_process_that_was_stopped_and_goes_on_is_not_stuck() -> None:
    """The clock went on by an hour between two looks."""
    assert first_stuck([*looks(10), *looks(40, begin_s=3610)]) is None


def test_what_is_stuck_is_named() -> None:
    patience = Patience(1.0)
    for now_s in range(20):
        found = patience.look(now_s / 10, {"good": Work(now_s), "bad": Work(0)})

    assert found == "bad"


@given(st.lists(st.tuples(st.floats(0.01, 1e6), st.booleans(), st.booleans(), st.integers(0, 3)), max_size=200))
def test_nothing_is_stuck_that_was_not_seen_waiting_for_so_long(seen: list[tuple[float, bool, bool, int]]) -> None:
    patience, now_s, since_s = Patience(STUCK_S), 0.0, 0.0
    before: Work | None = None
    for passed_s, is_known, is_waiting, done in seen:
        now_s += passed_s
        work = Work(done, is_waiting) if is_known else None
        if work != before or not is_waiting:
            since_s = now_s
        before = work
        stuck = patience.look(now_s, None if work is None else {"work": work})

        assert stuck is None or now_s - since_s >= STUCK_S - 1e-6


def test_the_stacks_of_all_threads_are_told() -> None:
    assert "test_the_stacks_of_all_threads_are_told" in stacks()


@pytest.mark.parametrize(("ending", "code"), [("hang", STUCK_CODE), ("return", 0)])
def test_a_process_that_hangs_ends_with_a_code_of_its_own_and_one_that_works_does_not(ending: str, code: int) -> None:
    command = [sys.executable, "-c", PROGRAM, "0.5", ending]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)

    assert (done.returncode, done.stdout) == (code, "still here\n")
    assert ("hang_here" in done.stderr) == (ending == "hang")


def test_a_look_that_fails_is_no_reason_to_end() -> None:
    failed = []

    def look() -> dict[str, Work]:
        failed.append(1)
        raise OSError("no")

    with guarded("tester", 0.01, look):
        while len(failed) < 50:
            pass
