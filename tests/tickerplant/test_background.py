"""What outlives the command that started it is found again by its pid file, and can be stopped."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tickerplant.errors import UserError
from tickerplant.local import background, process
from tickerplant.local.server import Home
from tickerplant.settings import Local, Settings

SPEAKER = """
import os, sys, time
print(os.environ.get("TICKERPLANT_LOG_LEVEL", "unset"), *sys.argv[1:], flush=True)
time.sleep(60)
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "speaker.py").write_text(SPEAKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TICKERPLANT_LOG_LEVEL", "debug")
    return Settings(local=Local(home=tmp_path / "home"))


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "condition did not come true"
        time.sleep(0.01)


def test_it_runs_with_its_arguments_alone_until_it_is_stopped(settings: Settings) -> None:
    home = Home.of(settings)
    background.start(settings, background.VENUE, ["speaker", "--port", "1"])
    running = process.read_pid_file(home.pid_file(background.VENUE))
    assert running is not None
    assert os.getsid(running.pid) == running.pid

    until(lambda: process.last_lines(home.log(background.VENUE), 1))
    said: list[str] = []
    background.stop(settings, said.append)

    assert process.last_lines(home.log(background.VENUE), 1) == ["unset --port 1"]
    assert said == ["venue: stopped"]
    assert not psutil.pid_exists(running.pid)


def test_the_roles_stop_before_the_venue(settings: Settings) -> None:
    for name in (background.VENUE, background.ROLES):
        background.start(settings, name, ["speaker"])
    said: list[str] = []

    background.stop(settings, said.append)

    assert said == ["run: stopped", "venue: stopped"]


def test_stopping_nothing_is_quiet(settings: Settings) -> None:
    said: list[str] = []

    background.stop(settings, said.append)

    assert said == []


def test_who_finds_its_port_taken_ends_in_one_line_and_the_other_is_not_taken_for_it(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        background.start(settings, background.VENUE, ["tickerplant.local.venue", "--port", str(port)])

        with pytest.raises(UserError, match=f"venue has ended: .*{port}"):
            until(lambda: background.serves(settings, background.VENUE, port))
    background.stop(settings, lambda _line: None)


def test_who_listens_is_seen_to_serve(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    background.start(settings, background.VENUE, ["tickerplant.local.venue", "--port", str(port)])

    until(lambda: background.serves(settings, background.VENUE, port))
    background.stop(settings, lambda _line: None)
