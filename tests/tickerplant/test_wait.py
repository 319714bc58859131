"""A role that starts while its servers are away: a person is told in one line, a supervised role waits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tickerplant.ask_health import ask_roles
from tickerplant.cli.roles import run_role
from tickerplant.errors import DEPENDENCY_AWAY_CODE, DependencyError
from tickerplant.settings import Local, Settings

pytestmark = pytest.mark.timeout(300)

ROLES = {"produce": ("produce",), "process": ("process",), "sink-parquet": ("sink", "parquet")}
NOBODY = """
[kafka]
bootstrap_servers = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[object_store]
endpoint_url = "http://127.0.0.1:1"
[[venues]]
venue = "BINANCE"
market = "spot"
symbols = ["BTCUSDT"]
[local]
home = "{home}"
"""
Start = Callable[..., dict[str, subprocess.Popen[str]]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "nobody.toml").write_text(NOBODY.format(home=tmp_path))
    return Settings(local=Local(home=tmp_path))


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Starts all roles; what still runs in the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_all(*options: str) -> dict[str, subprocess.Popen[str]]:
        config = str(settings.local.home / "nobody.toml")
        for arguments in ROLES.values():
            command = [sys.executable, "-m", "tickerplant", *arguments, *options, "--config", config]
            started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ))
        return dict(zip(ROLES, started, strict=True))

    yield start_all
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("settings")
def test_a_person_is_told_in_one_line_with_exit_code_2(start: Start) -> None:
    for role, process in start().items():
        _, error = process.communicate(timeout=60)

        assert (role, process.returncode) == (role, 2)
        assert error.count("\n") == 1, error
        assert error.startswith("tickerplant: kafka does not answer at 127.0.0.1:1: "), error


def test_a_role_told_to_wait_is_live_and_says_what_it_misses(start: Start, settings: Settings) -> None:
    processes = start("--wait")
    expected = {role: {"kafka", "registry"} for role in ROLES}
    expected["sink-parquet"] |= {"object_store"}
    deadline_s = time.monotonic() + 60
    while missing_of(settings) != expected:
        assert time.monotonic() < deadline_s, missing_of(settings)
        time.sleep(0.1)

    assert all(each.is_good for each in ask_roles(settings, "live"))
    for role, process in processes.items():
        assert process.stderr is not None
        # what was not reached yet is missing, too; that it was asked for in vain is told a little later
        told = [process.stderr.readline() for _ in expected[role]]
        process.send_signal(signal.SIGTERM)
        assert (role, process.wait(30)) == (role, 0)
        events = [json.loads(line) for line in (*told, *process.stderr)]
        assert {each["dependency"] for each in events} == expected[role]
        assert len(events) == len(expected[role])  # each is told once, however often it is asked


def test_a_role_told_to_wait_that_loses_a_server_asks_to_be_started_again(capsys: pytest.CaptureFixture[str]) -> None:
    def lose() -> None:
        raise DependencyError("kafka", "127.0.0.1:1")

    with pytest.raises(SystemExit) as ended:
        run_role(lose, as_json=False, is_patient=True)

    assert ended.value.code == DEPENDENCY_AWAY_CODE
    assert capsys.readouterr().err.count("\n") == 1


def test_a_person_gets_the_error_itself() -> None:
    def lose() -> None:
        raise DependencyError("kafka", "127.0.0.1:1")

    with pytest.raises(DependencyError):
        run_role(lose, as_json=False, is_patient=False)


def missing_of(settings: Settings) -> dict[str, set[str]]:
    """What each role has asked in vain, by its own reason."""
    found, other = ask_roles(settings, "ready"), {"not reached yet", "the role is starting"}
    return {each.role: {one.dependency for one in each.missing if one.reason not in other} for each in found}
