"""Keep libraries and tables that no process of ours uses out of it: they cost its start, and memory."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

LAZY_DATES: Final = "CLICKHOUSE_DRIVER_LASY_DATE_LUT"
"""Spelt so by clickhouse-driver; with no range of dates in it, a table of 146,000 days waits for its use."""
GC_ALLOCATIONS: Final = 50_000
"""An import makes next to no garbage: looking for it each 700 objects takes a tenth of the time of all imports."""


class KeptOut(MetaPathFinder):
    """Refuses to import some libraries."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse these, and leave all else to the next finder."""
        del path, target
        if fullname in self._names:
            raise ModuleNotFoundError(f"{fullname} is kept out of this process", name=fullname)
        return None


@contextmanager
def kept_out(*names: str) -> Iterator[None]:
    """Let imports of libraries fail meanwhile, as if they were not installed, if they are not imported yet."""
    finder = KeptOut(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def travelling_light() -> Iterator[None]:
    """Do without what is nothing to any command of ours; to be entered before they are imported."""
    os.environ.setdefault(LAZY_DATES, "none")  # 0.1 s and 30 MB
    gc.set_threshold(GC_ALLOCATIONS)  # processors and sinks set their own once they work
    # pyarrow imports pandas where it finds it: half a second and 64 MB; httpx its own command line, with rich.
    with kept_out("pandas", "httpx._main"):
        yield


MODULES: Final = {
    "produce": ("tickerplant.cli", "producers.app"),
    "process": ("tickerplant.cli", "processors.app"),
    "sink clickhouse": ("tickerplant.cli", "sinks.app", "sinks.clickhouse"),
    "sink parquet": ("tickerplant.cli", "sinks.app", "sinks.parquet", "s3fs"),
    "checkpoint": ("tickerplant.cli", "tickerplant.replay.keeper", "s3fs"),
    "lag-exporter": ("tickerplant.cli", "tickerplant.lag_exporter"),
    "compare": ("tickerplant.cli", "processors.compare"),
    "run": ("tickerplant.cli", "tickerplant.supervise"),
    "demo": ("tickerplant.cli", "tickerplant.demo.run"),
    "gateway": ("tickerplant.local.gateway.__main__",),
    "simulated venue": ("tickerplant.local.venue.__main__",),
    "subscriber": ("tickerplant.subscription",),
}
"""What each process of ours imports before it works: held small by a test, and measured by `benchmarks.startup`."""


def import_program(process: str) -> str:
    """Make the Python program that imports what a process does, in the same order."""
    first, *others = MODULES[process]
    if not others:
        return f"import {first}"
    return f"import {first}\nwith {first}.travelling_light():\n    import {', '.join(others)}"
