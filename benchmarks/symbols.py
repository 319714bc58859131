"""A thousand symbols of one venue at 10,000 frames/s: from the socket to the cleaned topics, without stores.

The simulated venue (Bybit, linear: books begin in the stream) serves trades, best quotes and depth over as many
connections as are planned; one producer and one processor carry them. Broker, registry and the venue itself share the
cores, so the figures name who used how much of a core. All is of the seconds after the first ones.

Run: python -m benchmarks.symbols [frames a second] [symbols]
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.recovery import Load, running
from tickerplant.local import background
from tickerplant.local.process import read_pid_file
from tickerplant.local.server import Home
from tickerplant.scrape import Scrape, bucket_quantile, scrape
from tickerplant.settings import Settings

RATE = 10_000
SYMBOLS = 1000
WARM_S = 45
WINDOW_S = 40
ROLES = ("produce", "process")
SHARES = {"p50": 0.5, "p99": 0.99}
SERVERS = (background.VENUE, "broker")


@dataclass(frozen=True)
class Sample:
    """What processes tell of themselves at one time, and the CPU seconds that each has used."""

    time_s: float
    found: Scrape
    used_s: dict[str, float]


def measure(rate: int = RATE, symbols: int = SYMBOLS) -> dict[str, Any]:
    """Let the market run, and compare what processes tell at the beginning and at the end of a window."""
    load = Load("bybit", "linear", ("trade", "quote", "depth"), symbols, rate, is_rate_heard=True)
    with tempfile.TemporaryDirectory(prefix="bench") as folder, running(Path(folder), ROLES, load) as (settings, _):
        time.sleep(WARM_S)
        before = sample(settings)
        time.sleep(WINDOW_S)
        after = sample(settings)
        memory_mb = {each.role: each.memory_bytes // 2**20 for each in after.found.processes}
    seconds = after.time_s - before.time_s
    frames = {role: received(after, role) - received(before, role) for role in ROLES}
    return {
        **{f"{role}_frames_per_s": round(count / seconds) for role, count in frames.items()},
        "connections": int(after.found.total("connector_connections", state="connected")),
        "books": {state: int(count) for state, count in after.found.by_label("processor_books", "state").items()},
        "socket_to_cleaned_ms": {name: quantile_ms(before, after, share) for name, share in SHARES.items()},
        "memory_mb": memory_mb,
        "cores": {name: round((used - before.used_s[name]) / seconds, 2) for name, used in after.used_s.items()},
    }


def sample(settings: Settings) -> Sample:
    """Ask all processes."""
    found = scrape(settings)
    pids = {each.role: each.pid for each in found.processes}
    servers = {name: read_pid_file(Home.of(settings).pid_file(name)) for name in SERVERS}
    pids |= {name: running.pid for name, running in servers.items() if running is not None}
    times = {name: psutil.Process(pid).cpu_times() for name, pid in pids.items()}
    return Sample(time.monotonic(), found, {name: each.user + each.system for name, each in times.items()})


def received(sample: Sample, role: str) -> float:
    """Count the frames that a role took in."""
    return sample.found.total("stage_received_total", stage=role)


def quantile_ms(before: Sample, after: Sample, share: float) -> float | None:
    """Estimate a quantile of what was observed between two samples; None = nothing was."""
    counts = [each.found.by_label("stage_latency_seconds_bucket", "le", stage="process") for each in (before, after)]
    buckets = sorted((float(bound), count - counts[0].get(bound, 0.0)) for bound, count in counts[1].items())
    seconds = bucket_quantile(buckets, share)
    return None if seconds is None else round(1000 * seconds, 1)


if __name__ == "__main__":
    print("symbols", measure(*map(int, sys.argv[1:])))
