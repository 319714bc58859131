"""Seconds until the local stack is up, with downloads cached, and the memory of its servers.

Run: python -m benchmarks.startup
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from tickerplant.local import stack
from tickerplant.local.ports import with_local
from tickerplant.settings import Settings


def measure() -> dict[str, Any]:
    """Start an empty stack, then the same one again, with data."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = with_local(Settings(), Path(folder), keep_free_ports=False)
        try:
            empty_s = seconds_up(settings)
            memory = {row.name: row.memory_mb for row in stack.status(settings)}
            stack.down(settings, silent)
            again_s = seconds_up(settings)
        finally:
            stack.down(settings, silent)
    return {"empty_s": empty_s, "again_s": again_s, "memory_mb": memory}


def seconds_up(settings: Settings) -> float:
    """Time one `up`."""
    began_s = time.monotonic()
    stack.up(settings, silent)
    return round(time.monotonic() - began_s, 1)


def silent(_line: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    print("startup", measure())
