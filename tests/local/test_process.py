"""Detached processes are found again, never confused with others, and end when told."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tickerplant.local import process
from tickerplant.local.process import Running

SLEEPER = "import time; print('hello', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('hello', flush=True); time.sleep(60)"


@dataclass(frozen=True)
class Child:
    pid_file: Path
    log: Path

    def start(self, program: str) -> Running:
        command = (sys.executable, "-c", program)
        environment = process.child_environment({"COLOUR": "red"})
        return process.start(command, self.pid_file, log=self.log, environment=environment)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child(tmp_path / "run" / "child.json", tmp_path / "logs" / "child.log")
    yield child
    process.stop(child.pid_file, wait_s=1)


def eventually(condition: Callable[[], object], wait_s: float = 10) -> None:
    deadline_s = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not come true"
        time.sleep(0.01)


def append(path: Path, text: str) -> int:
    with path.open("a") as file:
        return file.write(text)


def test_a_started_process_is_found_by_its_pid_file(child: Child) -> None:
    running = child.start(SLEEPER)

    found = process.find(process.read_pid_file(child.pid_file))

    assert found is not None
    assert running.pid == found.pid


def test_a_process_has_a_session_of_its_own(child: Child) -> None:
    running = child.start(SLEEPER)

    assert running.pid == os.getsid(running.pid)


def test_stdout_and_stderr_are_in_the_log(child: Child) -> None:
    child.start("import sys; print('out', flush=True); print('err', file=sys.stderr)")

    eventually(lambda: process.last_lines(child.log, 9) == ["out", "err"])


def test_the_log_of_the_run_before_is_kept(child: Child) -> None:
    child.start("print(1)")
    eventually(lambda: process.last_lines(child.log, 9) == ["1"])
    child.start("print(2)")
    eventually(lambda: process.last_lines(child.log, 9) == ["2"])

    assert process.last_lines(child.log.with_name("child.log.1"), 9) == ["1"]


def test_a_child_gets_few_names_of_our_environment(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    child.start("import os; print(os.environ.get('COLOUR'), os.environ.get('JAVA_TOOL_OPTIONS'))")

    eventually(lambda: process.last_lines(child.log, 9) == ["red None"])


def test_a_stopped_process_is_gone_and_so_is_its_pid_file(child: Child) -> None:
    running = child.start(SLEEPER)

    assert process.stop(child.pid_file)
    assert not psutil.pid_exists(running.pid)
    assert not child.pid_file.exists()


def test_a_process_that_ignores_the_request_is_killed(child: Child) -> None:
    running = child.start(STUBBORN)
    eventually(lambda: process.last_lines(child.log, 1) == ["hello"])

    assert process.stop(child.pid_file, wait_s=0.1)
    assert not psutil.pid_exists(running.pid)


def test_an_ended_process_is_not_found(child: Child) -> None:
    running = child.start("")

    eventually(lambda: process.find(running) is None)
    assert not process.stop(child.pid_file)


def test_a_pid_that_belongs_to_another_now_is_left_alone(child: Child) -> None:
    running = child.start(SLEEPER)
    old = Running(pid=running.pid, created_s=running.created_s - 60)
    content = child.pid_file.read_text()
    child.pid_file.write_text(content.replace(str(running.created_s), str(old.created_s)))

    assert process.find(old) is None
    assert not process.stop(child.pid_file)
    assert process.find(running) is not None
    child.pid_file.write_text(content)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"pid": "x", "created_s": 1}', "\x00"])
def test_a_damaged_pid_file_means_not_running(child: Child, content: str) -> None:
    child.pid_file.parent.mkdir()
    child.pid_file.write_text(content)

    assert process.read_pid_file(child.pid_file) is None
    assert not process.stop(child.pid_file)
    assert not child.pid_file.exists()


def test_a_missing_log_has_no_lines(tmp_path: Path) -> None:
    assert process.last_lines(tmp_path / "absent.log", 5) == []


def test_following_yields_whole_lines_across_a_restart(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("one\ntwo\n")
    script: Iterator[Callable[[], object]] = iter(
        [
            lambda: append(log, "thr"),
            lambda: append(log, "ee\nfour\n"),
            lambda: (log.rename(tmp_path / "x.log.1"), log.write_text("five\n")),
        ]
    )

    def poll() -> bool:
        step = next(script, None)
        return step is not None and step() is not None

    assert list(process.follow_lines(log, 1, poll=poll)) == ["two", "three", "four", "five"]
