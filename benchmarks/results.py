"""What was measured, kept in results.json: each benchmark with its command, its machine, and how busy that was."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.turns import Turns

RESULTS: Final = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Result:
    """One benchmark.

    Attributes:
        figures: values by name, a group of them as a dict.
        turns: what was compared with peers, by the work that was done.
    """

    command: str
    machine: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    turns: Mapping[str, Turns] = field(default_factory=dict)


def measured(command: str, machine: str, found: Mapping[str, Any]) -> Result:
    """Part what a benchmark tells."""
    turns = {name: value for name, value in found.items() if isinstance(value, Turns)}
    return Result(command, machine, {name: value for name, value in found.items() if name not in turns}, turns)


def read(path: Path = RESULTS) -> dict[str, Result]:
    """Read all, by title; a file that was removed counts as empty, so that a machine may start anew."""
    if not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    return {
        title: Result(**each | {"turns": {name: Turns(**turns) for name, turns in each["turns"].items()}})
        for title, each in kept.items()
    }


def write(results: Mapping[str, Result], path: Path = RESULTS) -> None:
    """Write all."""
    kept = {title: asdict(each) for title, each in results.items()}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> str:
    """Tell processor, cores, kernel, Python, load (the mean number of threads that ran or waited, 5 minutes), and when.

    When is the day and the commit, with `-dirty` where something is changed beside it.
    """
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = cpus[0].partition(": ")[2] if cpus else platform.processor()
    kernel, python = platform.release().split("-")[0], platform.python_version()
    where = f"{model}, {os.cpu_count()} cores, Linux {kernel}, Python {python}"
    return f"{where}, load {os.getloadavg()[1]:.1f}; {datetime.now(tz=UTC):%Y-%m-%d} {commit()}".rstrip()


def commit() -> str:
    """Tell the commit that is measured; empty = this is no clone."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=RESULTS.parent, check=False).stdout.strip()
    except OSError:
        return ""
