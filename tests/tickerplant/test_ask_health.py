"""`tickerplant health`: exit code 0 only when every role there is answers that it is well."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tickerplant.ask_health import ask_roles, is_good
from tickerplant.cli import cli
from tickerplant.health import LIVE_S, Health, watched
from tickerplant.processes import notes_folder
from tickerplant.settings import Local, Settings

DEAD_PID = 2**22 + 1


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TICKERPLANT_LOCAL__HOME", str(tmp_path))
    return Settings(local=Local(home=tmp_path))


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def role(settings: Settings, clock: list[float]) -> Iterator[Health]:
    health = Health("process", now_s=lambda: clock[0])
    with watched(settings, health, {}):
        yield health


def note(settings: Settings, role: str, pid: int, port: int) -> Path:
    path = notes_folder(settings) / f"metrics-{role}-{pid}-{port}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"role": role, "pid": pid, "port": port}))
    return path


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["health", *arguments], standalone_mode=False)
    out, err = capsys.readouterr()
    return code, out, err


def test_roles_that_are_ready_are_good(settings: Settings, role: Health) -> None:
    found = ask_roles(settings, "ready")

    assert is_good(found)
    assert [(each.role, each.pid, each.missing) for each in found] == [(role.role, os.getpid(), ())]


@pytest.mark.usefixtures("settings")
def test_no_role_at_all_is_not_good(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys)

    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str], role: Health, clock: list[float]) -> None:
    role.down("kafka", "Connection refused")
    clock[0] += 7

    code, out, _ = command(capsys)

    assert code == 1
    assert out.split(maxsplit=1) == ["process", "not ready: kafka (Connection refused, for 7 s)\n"]


def test_json_is_one_object(capsys: pytest.CaptureFixture[str], role: Health) -> None:
    role.down("registry", "refused")

    code, out, _ = command(capsys, "--json")

    found: dict[str, Any] = json.loads(out)
    assert (code, found["ready"]) == (1, False)
    assert found["roles"][0]["missing"][0]["dependency"] == "registry"


def test_a_live_role_may_miss_things(capsys: pytest.CaptureFixture[str], role: Health) -> None:
    role.down("kafka", "refused")

    assert command(capsys, "--live")[0] == 0


def test_a_stuck_main_loop_is_not_live(capsys: pytest.CaptureFixture[str], role: Health, clock: list[float]) -> None:
    clock[0] += LIVE_S

    code, out, _ = command(capsys, "--live")

    assert (code, role.missing()) == (1, [])
    assert "stuck" in out


@pytest.mark.usefixtures("role")
def test_one_role_can_be_asked_alone(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    note(settings, "produce", DEAD_PID, 1)

    assert command(capsys, "--role", "process")[0] == 0
    assert command(capsys, "--role", "produce")[0] == 1
    assert command(capsys, "--role", "sink-parquet")[0] == 1
    assert command(capsys)[0] == 1


@pytest.mark.parametrize(("pid", "word"), [(DEAD_PID, "died"), (os.getpid(), "answer")], ids=["dead", "alive"])
def test_a_process_that_died_or_does_not_answer_is_not_good(settings: Settings, pid: int, word: str) -> None:
    note(settings, "produce", pid, 1)

    [found] = ask_roles(settings, "ready")

    assert not found.is_good
    assert word in found.trouble


def test_another_role_on_a_noted_port_is_not_good(settings: Settings, role: Health) -> None:
    [mine] = notes_folder(settings).glob("metrics-*.json")
    note(settings, "produce", os.getpid(), json.loads(mine.read_text())["port"])

    assert [each.is_good for each in ask_roles(settings, "ready")] == [role.role == "process", False]


def test_a_note_that_is_just_being_written_is_passed_over(settings: Settings) -> None:
    note(settings, "produce", DEAD_PID, 1).write_text("{")

    assert ask_roles(settings, "ready") == []
