"""The supervisor keeps roles alive, tells a user's mistake, and drains in the order of the flow."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tickerplant.errors import UserError
from tickerplant.settings import Divergence, Settings, Venue
from tickerplant.supervise import Role, Supervisor, roles_of

SCRIPT = """
import os, signal, sys, time
role = sys.argv[1]
if role == "mistaken":
    print("tickerplant: no such venue")
    sys.exit(2)
if role == "spoiled" and os.path.exists(sys.argv[2] + ".spoiled"):
    open(sys.argv[2] + ".spoiled", "a").write("started\\n")
    print("tickerplant: ClickHouse refuses us")
    sys.exit(2)
if role == "hungry":
    open(sys.argv[2] + "." + role, "a").write("started\\n")
    sys.exit(75)
def stop(*_):
    open(sys.argv[2], "a").write(role + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if role == "deaf" else stop)
open(sys.argv[2] + "." + role, "a").write("started\\n")
while True:
    time.sleep(0.01)
"""


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def make(*names: str) -> Supervisor:
        script = tmp_path / "role.py"
        script.write_text(SCRIPT, encoding="utf-8")
        arguments = [(name, (name, str(tmp_path / "stopped"))) for name in names]
        roles = [Role(*each, number) for number, each in enumerate(arguments)]
        made.append(Supervisor(tmp_path / "x.toml", roles, tmp_path / "logs", (sys.executable, str(script))))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition did not come true"
        time.sleep(0.01)


def starts(folder: Path, role: str) -> int:
    note = folder / f"stopped.{role}"
    return len(note.read_text().splitlines()) if note.exists() else 0


def test_roles_drain_each_after_those_that_feed_it() -> None:
    venue = Venue(venue="BINANCE", market="spot", symbols=("BTCUSDT",))

    names = [role.name for role in roles_of(Settings(venues=(venue,)))]

    assert names == ["produce", "process", "sink-clickhouse", "sink-parquet", "checkpoint", "lag-exporter"]


def test_without_venues_no_producer_runs() -> None:
    assert "produce" not in [role.name for role in roles_of(Settings())]


def test_venues_are_compared_where_that_is_wanted() -> None:
    names = [role.name for role in roles_of(Settings(divergence=Divergence(enabled=True)))]

    assert "compare" not in [role.name for role in roles_of(Settings())]
    assert names.index("compare") > names.index("process")


def test_every_role_is_told_to_wait_for_servers_that_are_away() -> None:
    """Without it the end of a role would count as a mistake of the user, which ends all roles."""
    venue = Venue(venue="BINANCE", market="spot", symbols=("BTCUSDT",))
    told = {role.name for role in roles_of(Settings(venues=(venue,))) if "--wait" in role.arguments}

    assert told == {"produce", "process", "sink-clickhouse", "sink-parquet"}  # the lag exporter waits by itself


def test_a_role_that_misses_a_server_is_started_again(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = supervise("hungry")
    supervisor.start()

    until(lambda: (supervisor.restart_dead(), starts(tmp_path, "hungry") == 2)[1])


def test_all_roles_start_and_stop_in_order(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = supervise("first", "second", "third")
    supervisor.start()
    until(lambda: all(starts(tmp_path, role) for role in ("first", "second", "third")))

    supervisor.stop()

    assert (tmp_path / "stopped").read_text().split() == ["first", "second", "third"]


def test_what_does_not_end_is_killed_and_the_others_drain(
    supervise: Callable[..., Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickerplant.supervise.STOP_WAIT_S", 0.2)
    supervisor = supervise("deaf", "second")
    supervisor.start()
    until(lambda: all(starts(tmp_path, role) for role in ("deaf", "second")))

    supervisor.stop()

    assert (tmp_path / "stopped").read_text().split() == ["second"]
    assert not supervisor.children


def test_sinks_drain_together_since_none_feeds_another() -> None:
    stages = {role.name: role.stage for role in roles_of(Settings())}

    assert stages["process"] < stages["sink-clickhouse"] == stages["sink-parquet"]


def test_a_killed_process_is_started_again(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = supervise("only")
    supervisor.start()
    until(lambda: starts(tmp_path, "only"))
    os.kill(supervisor.pids()["only"], 9)

    until(lambda: (supervisor.restart_dead(), starts(tmp_path, "only") == 2)[1])

    assert supervisor.children[0].restarts == supervisor.kills("only") == 1
    assert supervisor.kills("other") == 0


def test_a_role_that_cannot_run_is_told_with_its_own_words(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise("mistaken")
    supervisor.start()

    with pytest.raises(UserError, match="mistaken cannot run: no such venue"):
        until(supervisor.restart_dead)


def test_one_that_has_run_and_is_refused_later_ends_no_other_and_is_tried_again(
    supervise: Callable[..., Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a sink whose password was changed: what the venue sends meanwhile would be gone for ever."""
    monkeypatch.setattr("tickerplant.supervise.STABLE_AFTER_S", 0.0)
    monkeypatch.setattr("tickerplant.supervise.RESTART_MOST_S", 0.01)
    supervisor = supervise("other", "spoiled")
    supervisor.spares_others = True
    supervisor.start()
    until(lambda: (supervisor.restart_dead(), starts(tmp_path, "other") == starts(tmp_path, "spoiled") == 1)[1])
    os.kill(supervisor.pids()["spoiled"], 9)

    until(lambda: (supervisor.restart_dead(), starts(tmp_path, "spoiled") >= 4)[1])

    assert supervisor.restarts()["other"] == 0
    assert starts(tmp_path, "other") == 1


def test_a_process_that_cannot_be_started_now_is_started_later(
    supervise: Callable[..., Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log folder that takes no file, as on a full disk."""
    monkeypatch.setattr("tickerplant.supervise.RESTART_MOST_S", 0.01)
    supervisor = supervise("only")
    supervisor.start()
    until(lambda: starts(tmp_path, "only"))
    os.kill(supervisor.pids()["only"], 9)
    (tmp_path / "logs").rename(tmp_path / "away")
    until(lambda: (supervisor.restart_dead(), supervisor.children[0].due_s)[1])
    due_s = supervisor.children[0].due_s
    until(lambda: (supervisor.restart_dead(), supervisor.children[0].due_s != due_s)[1])
    (tmp_path / "away").rename(tmp_path / "logs")

    until(lambda: (supervisor.restart_dead(), starts(tmp_path, "only") == 2)[1])


def test_one_role_can_be_stopped_alone(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = supervise("first", "second")
    supervisor.start()
    until(lambda: starts(tmp_path, "first") and starts(tmp_path, "second"))

    supervisor.stop(["first"])

    assert list(supervisor.pids()) == ["second"]


def test_signals_of_a_terminal_reach_no_role_so_that_they_drain_in_order(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise("first", "second")
    supervisor.start()
    groups = {os.getpgid(pid) for pid in supervisor.pids().values()}

    assert os.getpgrp() not in groups
    assert len(groups) == 2


SUPERVISOR = """
import sys
from pathlib import Path
from tickerplant.supervise import Role, Supervisor
role = Role("process", ("process", "--wait"), processes=2)
supervisor = Supervisor(Path(sys.argv[1]), [role], Path(sys.argv[2]))
supervisor.start()
print(*supervisor.pids().values(), flush=True)
sys.stdin.read()
"""
NOBODY = """
[kafka]
bootstrap_servers = "127.0.0.1:1"
[local]
home = "{home}"
"""


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.timeout(120)
def test_roles_end_by_themselves_where_their_supervisor_is_killed(tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text(NOBODY.format(home=tmp_path))
    command = [sys.executable, "-c", SUPERVISOR, str(config), str(tmp_path / "logs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        try:
            until(lambda: len(list((tmp_path / "run").glob("metrics-process-*"))) == 2, 60)  # they wait for servers
            supervisor.kill()

            until(lambda: not any(map(runs, pids)), 60)
        finally:
            for pid in filter(runs, pids):
                os.kill(pid, signal.SIGKILL)


DEAF = """
import signal, time
from tickerplant import supervised
supervised.STOP_WAIT_S = 0.1
signal.signal(signal.SIGTERM, signal.SIG_IGN)
supervised.end_with_supervisor()
time.sleep(60)
"""


def test_one_that_does_not_drain_without_its_supervisor_is_killed() -> None:
    done = subprocess.run([sys.executable, "-c", DEAF], stdin=subprocess.DEVNULL, timeout=50, check=False)

    assert done.returncode == -signal.SIGKILL
