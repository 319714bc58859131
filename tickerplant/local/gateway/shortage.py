"""Keeps what is acknowledged readable on a disk that fills.

chdb 4.4 reports success for an insert whose last files did not fit: its part has empty marks or checksums, with
`fsync_after_insert` as well (tried 2026-11). So while little room is left, nothing is merged, and new parts are checked
before an insert is acknowledged. Broken ones are taken out, and the insert fails for want of space: tokens of
deduplication leave with their part, so it can be repeated.
"""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tickerplant.local.gateway.faults import NOT_ENOUGH_SPACE, QueryError

NEAR_BYTES: Final = 64 * 1024 * 1024
"""With less room than this parts are checked: no insert should begin above it and meet a full disk."""
CLOCK_S: Final = 2.0  # times of parts are whole seconds

Run = Callable[[str], list[str]]
"""Runs a statement and returns its lines, values parted by tabs."""


class Part(NamedTuple):
    """A part of a table.

    Args:
        table: with its database, quoted.
    """

    table: str
    name: str


class Shortage:
    """What is known of room on the disk, and of parts that it broke; for all sessions of an engine.

    Args:
        folder: on the disk.
        near_bytes: see `NEAR_BYTES`.
    """

    def __init__(self, folder: Path, near_bytes: int = NEAR_BYTES) -> None:
        self._folder = folder
        self._near_bytes = near_bytes
        self._lock = threading.Lock()
        self._broken: set[Part] = set()
        self._taken_out_s = 0.0
        self._is_still = False

    @property
    def is_near(self) -> bool:
        """Whether little room is left."""
        return shutil.disk_usage(self._folder).free < self._near_bytes

    def prepare(self, run: Run) -> None:
        """Stop merges while little room is left, and take out what is broken: before each statement.

        Raises:
            QueryError: 243, something is broken, and there is no room to take it out.
        """
        if self._broken:
            with self._lock:
                self._take_out(run)
        was_still, self._is_still = self._is_still, self.is_near
        if self._is_still:  # each time: it holds for the tables that exist
            run("SYSTEM STOP MERGES")
        elif was_still:
            run("SYSTEM START MERGES")

    def confirm(self, run: Run, begun_s: float) -> None:
        """Look whether all that was written since is there.

        Args:
            begun_s: seconds since the epoch, from before the insert.

        Raises:
            QueryError: 243, it is not.
        """
        if not self.is_near:
            return
        with self._lock:  # another session may take out what this one wrote
            self._broken.update(part for part in _parts_since(run, begun_s - CLOCK_S) if not _is_whole(run, part))
            self._take_out(run)
            if self._taken_out_s >= begun_s:
                raise _missing_space()

    def _take_out(self, run: Run) -> None:
        while self._broken:
            part = next(iter(self._broken))
            self._taken_out_s = time.time()
            try:
                run(f"ALTER TABLE {part.table} DETACH PART '{part.name}'")  # takes a megabyte of room
            except QueryError as error:
                if error.code == NOT_ENOUGH_SPACE:
                    raise
            self._broken.discard(part)  # by now, or gone before with its table
            with contextlib.suppress(QueryError):
                run(f"ALTER TABLE {part.table} DROP DETACHED PART '{part.name}' SETTINGS allow_drop_detached = 1")


def _parts_since(run: Run, seconds: float) -> list[Part]:
    """List parts as inserts made them; merged ones hold what was acknowledged long ago."""
    lines = run(
        "SELECT format('`{}`.`{}`', database, table), name FROM system.parts "  # noqa: S608  # a number
        f"WHERE active AND min_block_number = max_block_number AND modification_time >= toDateTime({int(seconds)})"
    )
    return [Part(*line.split("\t")) for line in lines]


def _is_whole(run: Run, part: Part) -> bool:
    try:
        found = run(f"CHECK TABLE {part.table} PART '{part.name}' SETTINGS check_query_single_value_result = 0")
    except QueryError:
        return False
    return all(line.split("\t")[1] == "1" for line in found)


def _missing_space() -> QueryError:
    return QueryError(NOT_ENOUGH_SPACE, "the disk filled while rows were written: they are not kept")
