"""Shells complete commands, options, and the names that commands take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from sinks.stores import STORES
from tickerplant.cli import cli
from tickerplant.completion import PROGRAM, SHELLS, VARIABLE, script
from tickerplant.local.venue.faults import CATALOGUE

BASH = """
eval "$(tickerplant completion bash)"
COMP_WORDS=(tickerplant sink click)
COMP_CWORD=2
_tickerplant_completion tickerplant
printf '%s' "${COMPREPLY[*]}"
"""


def completed(*words: str) -> set[str]:
    *before, begun = words
    return {each.value for each in ShellComplete(cli, {}, PROGRAM, VARIABLE).get_completions(before, begun)}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("dead",), {"dead-letters"}),
        (("sink", ""), set(STORES)),
        (("convert", "--venue", "bin"), {"binance"}),
        (("convert", "--venue", "binance", "--market", ""), {"spot", "usdm", "coinm"}),
        (("demo", "--fault", "dis"), {"disconnect="}),
        (("replay", "--topic", "raw.bin"), {"raw.binance"}),
        (("lag", "--group", "tickerplant.p"), {"tickerplant.processor"}),
        (("acls", "--role", "prod"), {"produce"}),
        (("health", "--role", "sink-p"), {"sink-parquet"}),
        (("completion", ""), set(SHELLS)),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_names_are_those_that_commands_take(words: tuple[str, ...], expected: set[str]) -> None:
    assert completed(*words) == expected


def test_every_fault_is_offered() -> None:
    assert completed("demo", "--fault", "") == {f"{name}=" for name in CATALOGUE}


def test_logs_are_those_of_the_settings_at_hand(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text(f'[local]\nhome = "{tmp_path}"\n')
    (tmp_path / "logs").mkdir()
    for name in ("broker.log", "process.log", "process.log.1"):
        (tmp_path / "logs" / name).touch()

    assert completed("logs", "--config", str(config), "") == {"broker", "process"}


def test_settings_that_cannot_be_read_complete_nothing_and_say_nothing(tmp_path: Path) -> None:
    assert completed("logs", "--config", str(tmp_path / "absent.toml"), "") == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_that_asks_our_command(shell: str) -> None:
    text = script(cli, shell)

    assert f"{VARIABLE}={shell}_complete" in text
    assert PROGRAM in text


def test_bash_completes_by_the_script() -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-c", BASH], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("clickhouse", "")
