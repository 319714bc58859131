"""Run benchmarks: `make bench` runs all, `python -m benchmarks.run outage imports` these alone.

Figures go to results.json, and with the words of each benchmark to docs/performance.md and its picture.
"""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import (
    books,
    codec,
    demo,
    features,
    feed,
    imports,
    install,
    outage,
    overhead,
    page,
    processor,
    recovery,
    replay,
    results,
    snapshots,
    soak,
    stages,
    startup,
    subscribe,
    symbols,
    venues,
)

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
    "A book of 1,000 levels a side, beside others": ("python -m benchmarks.books", books.measure),
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

# What limits us, told with the figures of a benchmark.
WORDS: dict[str, str] = {
    "A book of 1,000 levels a side, beside others": """\
A level that is applied costs one or two accesses of a dictionary of floats, in a loop of the interpreter, as at
order_book, whose users write that loop themselves; ours adds a call a delta and one a side. Tried and left out:
`dict.update(zip(...))` (a tenth slower than the loop, since it makes a tuple a level) and an order that is always
kept (deltas that nobody looks at then cost twice as much). Kept: no `zip(strict=True)` and no calls with a star in
the loop (a third of the time), and the order kept up by bisection for 16 deltas after each look; order_book sorts all
again when it is read after a delta. ccxt's best levels are the cheapest, as they are its own pairs, not copies: they
change with the next delta.""",
}


def main(names: Sequence[str] = ()) -> None:
    """Measure and write, each figure with its command.

    Args:
        names: words of the commands of those that are to run; the figures of others stay. None = all.
    """
    kept = results.read()
    for title, (command, measure) in BENCHMARKS.items():
        if not names or set(names) & set(re.split(r"[ .]", command)):
            print(title, "...", flush=True)
            where = results.machine()
            kept[title] = results.measured(command, where, measure())
            write(kept)


def write(kept: dict[str, results.Result]) -> None:
    """Write what is known of the benchmarks that there are, in their order."""
    found = {title: kept[title] for title in BENCHMARKS if title in kept}
    results.write(found)
    page.PAGE.write_text(page.page(found, WORDS), encoding="utf-8")
    page.PICTURE.write_text(page.picture(found), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--page"]:
        write(results.read())
    else:
        main(sys.argv[1:])
