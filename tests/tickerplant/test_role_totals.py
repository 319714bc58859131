"""A role that was told to stop drains, ends with code 0 and, if asked, tells what it did as one JSON object."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tickerplant.demo.options import write_settings
from tickerplant.processes import find_processes
from tickerplant.settings import Settings

WAIT_S = 30.0


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "condition did not come true"
        time.sleep(0.05)


@pytest.mark.stack
@pytest.mark.parametrize("arguments", [["process"], ["sink", "clickhouse"], ["sink", "parquet"]])
def test_a_role_tells_what_it_did(stack: Settings, tmp_path: Path, arguments: list[str]) -> None:
    config = tmp_path / "settings.toml"
    local = stack.local.model_copy(update={"home": tmp_path})
    write_settings(stack.model_copy(update={"local": local}), config)
    command = [sys.executable, "-m", "tickerplant", *arguments, "--json", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as role:
        until(lambda: find_processes(stack.model_copy(update={"local": local})))
        role.terminate()
        out = role.communicate(timeout=WAIT_S)[0]

    assert role.returncode == 0
    assert set(json.loads(out)) == {"received", "sent", "dead_letters", "errors", "rows"}
