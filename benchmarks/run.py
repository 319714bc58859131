"""Run benchmarks and write RESULTS.md: `make bench` runs all, `python -m benchmarks.run outage imports` these alone."""

import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    codec,
    demo,
    features,
    feed,
    imports,
    install,
    outage,
    overhead,
    processor,
    recovery,
    replay,
    snapshots,
    soak,
    stages,
    startup,
    subscribe,
    symbols,
    venues,
)

RESULTS = Path(__file__).with_name("RESULTS.md")
BENCHMARKS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "Encoding and decoding a tick": ("python -m benchmarks.codec", codec.measure),
    "One connection, socket to raw record": ("python -m benchmarks.feed", feed.measure),
    "One processor, spot session in the raw topic": (
        "python -m benchmarks.processor spot",
        lambda: processor.measure("spot"),
    ),
    "One processor, USD-M session": ("python -m benchmarks.processor usdm", lambda: processor.measure("usdm")),
    "One processor, COIN-M session": ("python -m benchmarks.processor coinm", lambda: processor.measure("coinm")),
    "Recorded sessions of venues, beside cryptofeed": ("python -m benchmarks.venues", venues.measure),
    "Snapshots of 1,000 symbols at 2,000 deltas/s": ("python -m benchmarks.snapshots", snapshots.measure),
    "1,000 symbols at 10,000 frames/s, socket to cleaned topics": ("python -m benchmarks.symbols", symbols.measure),
    "What exactly once costs": ("python -m benchmarks.overhead", overhead.measure),
    "What outliers, bars and features cost a processor": ("python -m benchmarks.stages", stages.measure_all),
    "Features over arrays": ("python -m benchmarks.features", features.measure),
    "From a death to the next record": ("python -m benchmarks.recovery", recovery.measure),
    "Subscribing to ticks": ("python -m benchmarks.subscribe", subscribe.measure),
    "Whole flow at full speed, socket to both stores": ("python -m benchmarks.demo throughput", demo.throughput),
    "Whole flow at 2,000 frames/s of 20 symbols": ("python -m benchmarks.demo latency", demo.latency),
    "ClickHouse away for 120 s at 5,000 frames/s": ("python -m benchmarks.outage", outage.measure),
    "Memory over a long run at 5,000 frames/s": ("python -m benchmarks.soak", soak.measure),
    "Importing each process": ("python -m benchmarks.imports", imports.measure),
    "Installing, in megabytes": ("python -m benchmarks.install", install.measure),
    "Replay, from raw records to both stores": ("python -m benchmarks.replay", replay.measure),
    "Local stack": ("python -m benchmarks.startup", startup.measure),
}


def main(names: Sequence[str] = ()) -> None:
    """Measure and write, each figure with its command.

    Args:
        names: words of the commands of those that are to run; the figures of others stay. None = all.
    """
    kept = sections(RESULTS.read_text(encoding="utf-8")) if names else {}
    head = ["# Results\n\nWritten by `make bench`, each with its machine and how busy that was before.\n"]
    for title, (command, measure) in BENCHMARKS.items():
        if not names or set(names) & set(re.split(r"[ .]", command)):
            print(title, "...", flush=True)
            where = f"{machine()}, load {os.getloadavg()[1]:.1f}"
            kept[title] = section(title, command, where, measure())
        bodies = [kept[each] for each in BENCHMARKS if each in kept]
        RESULTS.write_text("\n".join(head + bodies), encoding="utf-8")


def section(title: str, command: str, where: str, figures: dict[str, Any]) -> str:
    """Lay out one benchmark."""
    rows = [f"| {name} | {text(value)} |" for name, value in figures.items()]
    return "\n".join([f"## {title}", "", f"`{command}`; {where}", "", "| figure | value |", "|---|--:|", *rows, ""])


def sections(results: str) -> dict[str, str]:
    """Read the benchmarks of an earlier run, by their titles."""
    bodies = re.split(r"^(?=## )", results, flags=re.MULTILINE)[1:]
    return {body.partition("\n")[0].removeprefix("## "): body.rstrip("\n") + "\n" for body in bodies}


def machine() -> str:
    """Tell processor, cores, kernel and Python; load is the mean number of threads that ran or waited to, 5 minutes."""
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
    main(sys.argv[1:])
