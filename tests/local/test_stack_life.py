"""Starting, stopping and failing of the stack, on small servers of our own; the real ones in test_stack_restart."""

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import httpx
import psutil
import pytest

from tickerplant.errors import UserError
from tickerplant.local import process, stack
from tickerplant.local.ports import with_local
from tickerplant.local.server import Launch, Listener, Server
from tickerplant.settings import Settings

SERVE = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
HTTPServer(("127.0.0.1", int(sys.argv[1])), BaseHTTPRequestHandler).serve_forever()
"""
DIE = "import sys; sys.exit('no room left for the moon')"


class Small:
    """A real HTTP server on the object store's port."""

    name: ClassVar[str] = "small"
    program: ClassVar[str] = SERVE

    def __init__(self, settings: Settings) -> None:
        self.port = settings.local.s3_port

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return (Listener(port=self.port, setting="local.s3_port"),)

    def prepare(self) -> Launch:
        return Launch(command=(sys.executable, "-c", self.program, str(self.port)))

    def is_ready(self) -> bool:
        try:
            httpx.get(f"http://127.0.0.1:{self.port}/", trust_env=False)
        except httpx.TransportError:
            return False
        return True

    def finish(self) -> None:
        pass


class Other(Small):
    name = "other"

    def __init__(self, settings: Settings) -> None:
        self.port = settings.local.registry_port


class Dying(Other):
    name = "dying"
    program = DIE


class Beaten(Small):
    """A server whose port somebody else takes, between the look at it and the start."""

    name = "beaten"
    rivals: ClassVar[list[HTTPServer]] = []

    def prepare(self) -> Launch:
        rival = HTTPServer(("127.0.0.1", self.port), BaseHTTPRequestHandler)
        self.rivals.append(rival)
        Thread(target=rival.serve_forever, args=(0.02,), daemon=True).start()
        return super().prepare()


SMALL: tuple[type[Server], ...] = (Small, Other)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = with_local(Settings(), tmp_path / "home", keep_free_ports=False)
    yield settings
    stack.down(settings, lambda _: None, servers=(Small, Other, Dying))


def pids(settings: Settings) -> list[int | None]:
    return [row.pid for row in stack.status(settings, servers=SMALL)]


def eventually(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s, "did not come true"
        time.sleep(0.01)


def test_before_the_first_up_all_is_stopped(settings: Settings) -> None:
    rows = stack.status(settings)

    assert {"stopped"} == {row.state for row in rows}
    assert [server.name for server in stack.SERVERS] == [row.name for row in rows]


def test_up_starts_all_and_says_one_line_each(settings: Settings) -> None:
    lines = list[str]()

    stack.up(settings, lines.append, servers=SMALL)

    assert {"running"} == {row.state for row in stack.status(settings, servers=SMALL)}
    assert sorted(line.partition(":")[0] for line in lines) == ["other", "small"]


def test_a_running_server_tells_its_memory_and_age(settings: Settings) -> None:
    stack.up(settings, print, servers=SMALL)

    (row, _) = stack.status(settings, servers=SMALL)

    assert row.memory_mb is not None
    assert row.memory_mb > 0
    assert row.uptime_s is not None
    assert 0 <= row.uptime_s < 60


def test_a_second_up_leaves_what_runs_alone(settings: Settings) -> None:
    stack.up(settings, print, servers=SMALL)
    before, lines = pids(settings), list[str]()

    stack.up(settings, lines.append, servers=SMALL)

    assert before == pids(settings)
    assert all("already running" in line for line in lines)


def test_up_starts_only_what_is_missing(settings: Settings) -> None:
    stack.up(settings, print, servers=(Small,))
    small, none = pids(settings)

    stack.up(settings, print, servers=SMALL)

    assert none is None
    assert small == pids(settings)[0]
    assert pids(settings)[1] is not None


def test_a_server_that_ended_by_itself_died_and_up_starts_it_again(settings: Settings) -> None:
    stack.up(settings, print, servers=SMALL)
    victim = psutil.Process(pids(settings)[0])
    victim.kill()
    eventually(lambda: stack.status(settings, servers=SMALL)[0].state == "died")

    stack.up(settings, print, servers=SMALL)

    assert stack.status(settings, servers=SMALL)[0].state == "running"


def test_down_ends_all_and_twice_is_once(settings: Settings) -> None:
    stack.up(settings, print, servers=SMALL)
    before = pids(settings)

    stack.down(settings, print, servers=SMALL)
    stack.down(settings, print, servers=SMALL)

    assert not any(psutil.pid_exists(pid) for pid in before if pid is not None)
    assert {"stopped"} == {row.state for row in stack.status(settings, servers=SMALL)}


def test_down_without_a_home_makes_none(settings: Settings) -> None:
    stack.down(settings, print)

    assert not settings.local.home.exists()


def test_a_port_in_use_stops_up_before_anything_starts(settings: Settings) -> None:
    with (
        socket.create_server(("127.0.0.1", settings.local.s3_port)),
        pytest.raises(UserError, match=r"of small is in use.*local\.s3_port"),
    ):
        stack.up(settings, print, servers=SMALL)

    assert pids(settings) == [None, None]


def test_a_server_that_dies_at_its_start_shows_its_last_words(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"(?s)dying ended at its start.*no room left for the moon"):
        stack.up(settings, print, servers=(Dying,))


def test_a_stranger_who_answers_on_its_port_is_not_taken_for_a_server(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"beaten ended at its start(.|\n)*Address already in use"):
        stack.up(settings, print, servers=(Beaten,))

    for rival in Beaten.rivals:
        rival.shutdown()
        rival.server_close()


def test_when_one_cannot_start_the_others_are_not_left_behind(settings: Settings) -> None:
    with pytest.raises(UserError, match="dying"):
        stack.up(settings, print, servers=(Small, Dying))

    assert None is pids(settings)[0]


def test_what_ran_before_survives_a_failed_up(settings: Settings) -> None:
    stack.up(settings, print, servers=(Small,))
    before = pids(settings)[0]

    with pytest.raises(UserError, match="dying"):
        stack.up(settings, print, servers=(Small, Dying))

    assert before == pids(settings)[0]


def test_a_stale_pid_file_does_not_count_as_running(settings: Settings) -> None:
    stack.up(settings, print, servers=(Small,))
    pid_file = settings.local.home / "run" / "small.json"
    note = json.loads(pid_file.read_text())
    stack.down(settings, print, servers=(Small,))
    pid_file.write_text(json.dumps(note | {"pid": 1}))

    stack.up(settings, print, servers=(Small,))

    assert pids(settings)[0] not in (None, 1)


def test_the_log_of_a_role_is_shown_like_that_of_a_server(settings: Settings) -> None:
    log = settings.local.home / "logs" / "produce.log"
    log.parent.mkdir(parents=True)
    log.write_text("a\nb\nc\n")

    assert list(stack.logs(settings, "produce", lines=2)) == ["b", "c"]


def test_an_unknown_log_names_those_there_are(settings: Settings) -> None:
    log = settings.local.home / "logs" / "produce.log"
    log.parent.mkdir(parents=True)
    log.write_text("")

    with pytest.raises(UserError, match=r"no log of produc .*there are: produce"):
        stack.logs(settings, "produc")


def test_a_server_started_by_an_up_that_was_killed_is_waited_for(settings: Settings) -> None:
    server = Small(settings)
    log, pid_file = settings.local.home / "logs" / "small.log", settings.local.home / "run" / "small.json"
    process.start(server.prepare().command, pid_file, log=log, environment=process.child_environment({}))

    stack.up(settings, print, servers=(Small,))

    assert server.is_ready()
