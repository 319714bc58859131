"""Run all benchmarks and write RESULTS.md: `make bench`."""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import codec, demo, feed, processor, snapshots, startup

RESULTS = Path(__file__).with_name("RESULTS.md")
BENCHMARKS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "Encoding a tick": ("python -m benchmarks.codec", codec.measure),
    "One connection, socket to raw record": ("python -m benchmarks.feed", feed.measure),
    "One processor, spot session in the raw topic": (
        "python -m benchmarks.processor spot",
        lambda: processor.measure("spot"),
    ),
    "One processor, USD-M session": ("python -m benchmarks.processor usdm", lambda: processor.measure("usdm")),
    "One processor, COIN-M session": ("python -m benchmarks.processor coinm", lambda: processor.measure("coinm")),
    "Snapshots of 1,000 symbols at 2,000 deltas/s": ("python -m benchmarks.snapshots", snapshots.measure),
    "Whole flow at full speed, socket to both stores": ("python -m benchmarks.demo throughput", demo.throughput),
    "Whole flow at 2,000 frames/s of 20 symbols": ("python -m benchmarks.demo latency", demo.latency),
    "Local stack": ("python -m benchmarks.startup", startup.measure),
}


def main() -> None:
    """Measure and write, each figure with its command."""
    lines = ["# Results", "", f"Machine: {machine()}. Written by `make bench`.", ""]
    for title, (command, measure) in BENCHMARKS.items():
        print(title, "...", flush=True)
        lines += [f"## {title}", "", f"`{command}`", "", "| figure | value |", "|---|--:|"]
        lines += [f"| {name} | {text(value)} |" for name, value in measure().items()]
        lines.append("")
        RESULTS.write_text("\n".join(lines), encoding="utf-8")


def machine() -> str:
    """Tell processor, cores, kernel and Python."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = cpus[0].partition(": ")[2] if cpus else platform.processor()
    return (
        f"{model}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )


def text(value: Any) -> str:
    """Lay out a figure; a group of figures goes into one cell."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {text(each)}" for name, each in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)


if __name__ == "__main__":
    main()
