"""Resident memory of each process over a long run at 5,000 frames/s: how much it grows after the first minutes.

Run: python -m benchmarks.soak [MINUTES]
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.recovery import Load, running
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.local import stack
from tickerplant.settings import Settings
from tickerplant.supervise import Supervisor

MINUTES = 20.0
WARM_MINUTES = 5.0
RATE_HZ = 5000
SAMPLE_S = 2.0
WINDOW_S = 60.0
ROLES = ("produce", "process", "sink-clickhouse", "sink-parquet", "lag-exporter")
KILOBYTE = 1024


def measure(minutes: float = MINUTES) -> dict[str, Any]:
    """Run; the figures of each process are megabytes after the first minutes and at the end, and growth in percent."""
    samples: dict[str, list[tuple[float, float]]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="bench") as folder,
        running(Path(folder), ROLES, Load(rate=RATE_HZ, is_rate_heard=True)) as (settings, supervisor),
    ):
        venue, began_s = SimulatedVenue(settings), time.monotonic()
        served = int(venue.status()["frames_served"])
        while (now_s := time.monotonic() - began_s) < 60 * minutes:
            for name, megabytes in memory(settings, supervisor).items():
                samples.setdefault(name, []).append((now_s, megabytes))
            time.sleep(SAMPLE_S)
        rate = (int(venue.status()["frames_served"]) - served) / now_s
        restarts = sum(supervisor.restarts().values())
    warm_s = 60 * min(WARM_MINUTES, minutes / 2)
    found = {name: growth(each, warm_s) for name, each in samples.items()}
    return {"minutes": minutes, "frames_per_s": round(rate), "restarts": restarts} | found


def growth(samples: list[tuple[float, float]], warm_s: float) -> str:
    """Compare the first minute after the warm-up with the last one, by medians."""
    end_s = samples[-1][0]
    first = statistics.median(each for at_s, each in samples if warm_s <= at_s <= warm_s + WINDOW_S)
    last = statistics.median(each for at_s, each in samples if at_s >= end_s - WINDOW_S)
    return f"{first:.0f} to {last:.0f} MB, {100 * (last / first - 1):+.1f} %"


def memory(settings: Settings, supervisor: Supervisor) -> dict[str, float]:
    """Ask what each role and server holds, megabytes; one that ends just now is left out."""
    roles = {name: resident_mb(pid) for name, pid in supervisor.pids().items()}
    servers = {row.name: float(row.memory_mb) for row in stack.status(settings) if row.memory_mb}
    return {name: each for name, each in (roles | servers).items() if each}


def resident_mb(pid: int) -> float:
    """Read the resident set of a process; 0 = it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    lines = (line.split() for line in text.splitlines() if line.startswith("VmRSS"))
    return next((int(words[1]) / KILOBYTE for words in lines), 0.0)


if __name__ == "__main__":
    print("soak", measure(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES))
