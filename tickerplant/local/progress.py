"""Bytes arrived → a line on stderr each second."""

import sys
import threading
import time
from collections.abc import Callable

LINE_EVERY_S = 1.0
MEGABYTE = 1_000_000


class Progress:
    """Progress of one server's downloads; may be fed by several threads.

    Args:
        name: what is downloaded.
        total_bytes: how much it will be.
        write: takes each line (None = stderr).
        now_s: a monotonic clock in seconds.
    """

    def __init__(
        self,
        name: str,
        total_bytes: int,
        *,
        write: Callable[[str], None] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._total_bytes = total_bytes
        self._write = write or _to_stderr
        self._now_s = now_s
        self._lock = threading.Lock()
        self._arrived_bytes = 0
        self._line_at_s = now_s()
        self._write(f"{name}: downloading {total_bytes / MEGABYTE:.0f} MB, once")

    def add(self, size_bytes: int) -> None:
        """Count a piece that arrived."""
        with self._lock:
            self._arrived_bytes += size_bytes
            if self._now_s() - self._line_at_s >= LINE_EVERY_S:
                self._line_at_s = self._now_s()
                arrived_mb, total_mb = self._arrived_bytes / MEGABYTE, self._total_bytes / MEGABYTE
                self._write(f"{self._name}: {arrived_mb:.0f} of {total_mb:.0f} MB")

    def done(self) -> None:
        """Say that all has arrived."""
        self._write(f"{self._name}: downloaded and verified")


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
