"""Memory and processor time of each role in a demo, from which limits of containers are set.

Run: python -m benchmarks.resources [frames a second]
"""

import json
import subprocess
import sys
import time
from typing import Any

import psutil

ROLES = {
    ("produce",): "producer",
    ("process",): "processor",
    ("sink", "clickhouse"): "sink-clickhouse",
    ("sink", "parquet"): "sink-parquet",
    ("lag-exporter",): "lag-exporter",
}
SECONDS = 60
SAMPLE_S = 0.5
WINDOW_S = 20


def measure(rate: int = 2000) -> dict[str, Any]:
    """Run a minute of 20 symbols; the most memory that was seen, and the cores of the busiest 20 s."""
    command = [sys.executable, "-m", "tickerplant", "demo", "--json", "--seconds", str(SECONDS), "--rate", str(rate)]
    memory_mb: dict[str, int] = {}
    used_s: dict[str, list[tuple[float, float]]] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as demo:
        while demo.poll() is None:
            for process in psutil.Process(demo.pid).children(recursive=True):
                sample(process, memory_mb, used_s)
            time.sleep(SAMPLE_S)
        assert demo.stdout
        found = json.loads(demo.stdout.read())
    return {
        "frames_served": found["frames_served"],
        "memory_most_mb": dict(sorted(memory_mb.items())),
        "cores": {role: share(samples) for role, samples in sorted(used_s.items())},
    }


def sample(process: psutil.Process, memory_mb: dict[str, int], used_s: dict[str, list[tuple[float, float]]]) -> None:
    """Note what a process uses now, if it is a role and still there."""
    try:
        words = tuple(process.cmdline())
        if (role := role_of(words)) is not None:
            memory_mb[role] = max(memory_mb.get(role, 0), process.memory_info().rss // 2**20)
            times = process.cpu_times()
            used_s.setdefault(role, []).append((time.monotonic(), times.user + times.system))
    except psutil.NoSuchProcess:
        pass


def role_of(words: tuple[str, ...]) -> str | None:
    """Tell the role of a command line `... -m tickerplant ROLE ...`; None = it is no role."""
    if "tickerplant" not in words:
        return None
    after = words[words.index("tickerplant") + 1 :]
    return next((role for start, role in ROLES.items() if after[: len(start)] == start), None)


def share(samples: list[tuple[float, float]]) -> float:
    """Cores used in the busiest WINDOW_S."""
    pairs = ((first, last) for at, first in enumerate(samples) for last in samples[at + 1 :])
    wide = [(last[1] - first[1]) / (last[0] - first[0]) for first, last in pairs if last[0] - first[0] >= WINDOW_S]
    return round(max(wide, default=0.0), 2)


if __name__ == "__main__":
    print("resources", measure(*map(int, sys.argv[1:])))
