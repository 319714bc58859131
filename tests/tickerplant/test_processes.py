"""Processes are found by notes, which are whole or not there; those of the dead stay for who asks what is missing."""

import json
import os
from pathlib import Path

import pytest

from tickerplant.ask_health import ask_roles
from tickerplant.processes import (
    Process,
    address,
    find_processes,
    forget_dead,
    leave_note,
    noted_processes,
    notes_folder,
    remove_note,
)
from tickerplant.settings import Local, Metrics, Settings

DEAD = 2**22 + 1


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(local=Local(home=tmp_path))


def dead(settings: Settings, role: str) -> Path:
    path = notes_folder(settings) / f"metrics-{role}-{DEAD}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"role": role, "pid": DEAD, "port": 1}))
    return path


def test_a_process_is_found_from_its_note_to_the_end(settings: Settings) -> None:
    leave_note(settings, "process", 7)

    assert find_processes(settings) == [Process("process", os.getpid(), 7)]
    assert [each.name for each in notes_folder(settings).iterdir()] == [f"metrics-process-{os.getpid()}.json"]

    remove_note(settings, "process")

    assert noted_processes(settings) == []


def test_whoever_lists_those_that_live_leaves_the_dead_to_who_asks_for_health(settings: Settings) -> None:
    dead(settings, "process")

    assert find_processes(settings) == []
    assert [each.trouble for each in ask_roles(settings, "live")] == [f"process {DEAD} died"]


@pytest.mark.parametrize("text", ["{", "[]", '{"role": "process"}', '{"role": "process", "pid": "x", "port": 1}'])
def test_what_is_no_note_of_ours_is_passed_over_and_stays(settings: Settings, text: str) -> None:
    other = dead(settings, "process")
    other.write_text(text)

    assert noted_processes(settings) == []
    assert other.exists()


def test_who_starts_takes_the_place_of_the_dead_of_its_role(settings: Settings) -> None:
    mine, other = dead(settings, "process"), dead(settings, "produce")
    leave_note(settings, "process", 7)

    assert (mine.exists(), other.exists()) == (False, True)

    forget_dead(settings)

    assert noted_processes(settings) == [Process("process", os.getpid(), 7)]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1:7"), ("0.0.0.0", "127.0.0.1:7"), ("::", "127.0.0.1:7"), ("::1", "[::1]:7"), ("h", "h:7")],
)
def test_a_process_is_asked_where_it_listens(host: str, expected: str) -> None:
    assert address(Settings(metrics=Metrics(host=host)), 7) == expected
