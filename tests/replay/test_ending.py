"""A replay that is told to stop, or killed, leaves no process behind, however long its tasks would last."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest

from tickerplant.replay.run import SPAWN, ending

HOURS_S = 36_000.0
PATIENCE_S = 60.0
KILLED = f"""
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from tickerplant.replay.run import SPAWN, _enter

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=SPAWN, initializer=_enter, initargs=([],))
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, {HOURS_S})
    time.sleep({HOURS_S})
"""


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # whoever adopted it may not look
    except psutil.NoSuchProcess:
        return False


def eventually(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_what_fails_or_is_told_to_stop_waits_for_no_task() -> None:
    pool = ProcessPoolExecutor(1, mp_context=SPAWN)
    pids: list[int] = []
    tasks: list[Future[None]] = []

    def work() -> None:
        with ending(pool):
            pids.append(pool.submit(os.getpid).result())
            tasks.append(pool.submit(time.sleep, HOURS_S))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()

    assert tasks[0].done()
    assert not runs(pids[0])


def test_a_process_of_a_replay_that_was_killed_ends(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()

    eventually(lambda: not runs(pid))
