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
"""With less room than this, or where as much came or went meanwhile, parts are checked."""
CLOCK_S: Final = 2.0  # times of parts are whole seconds
GONE: Final = frozenset({60, 81, 232})
"""Unknown table, unknown database, no such part: it left with what it was part of."""

Run = Callable[[str], list[str]]
"""Runs a statement on a connection that no client can stop; returns its lines, values parted by tabs."""


class Part(NamedTuple):
    """A part of a table.

    Args:
        table: with its database, quoted.
    """

    table: str
    name: str


class Begun(NamedTuple):
    """When a statement began, seconds since the epoch, and the room there was."""

    time_s: float
    room_bytes: int


class Shortage:
    """What is known of room on the disk, and of parts that may be broken; for all sessions of an engine.

    Args:
        folder: on the disk.
        run: see `Run`.
        near_bytes: see `NEAR_BYTES`.
    """

    def __init__(self, folder: Path, run: Run, near_bytes: int = NEAR_BYTES) -> None:
        self._folder = folder
        self._run = run
        self._near_bytes = near_bytes
        self._lock = threading.Lock()
        self._suspects: set[Part] = set()
        self._taken_out_s = 0.0
        self._is_still = False

    def begin(self) -> Begun:
        """Stop merges while little room is left, and take out what is broken: before each statement.

        Raises:
            QueryError: 243, something may be broken, and there is no room to look at it or to take it out.
        """
        begun = Begun(time.time(), self._room_bytes())
        is_near = begun.room_bytes < self._near_bytes
        if is_near or self._is_still or self._suspects:
            with self._lock:
                self._clear()
                if is_near:  # each time: it holds for the tables that exist
                    self._is_still = True
                    self._run("SYSTEM STOP MERGES")
                elif self._is_still:
                    self._run("SYSTEM START MERGES")
                    self._is_still = False
        return begun

    def confirm(self, begun: Begun) -> None:
        """Look whether all that was written since is there.

        Raises:
            QueryError: 243, it is not, or that cannot be told.
        """
        room_bytes = self._room_bytes()
        changed_bytes = abs(room_bytes - begun.room_bytes)
        if min(room_bytes, begun.room_bytes) >= self._near_bytes > changed_bytes:
            return
        with self._lock:  # another session may take out what this one wrote
            self._suspects.update(self._parts_since(begun.time_s - CLOCK_S))
            self._clear()
            if self._taken_out_s >= begun.time_s:
                raise QueryError(NOT_ENOUGH_SPACE, "the disk filled while rows were written: they are not kept")

    def _room_bytes(self) -> int:
        return shutil.disk_usage(self._folder).free

    def _parts_since(self, seconds: float) -> list[Part]:
        """List parts as inserts made them; merged ones hold what was acknowledged long ago."""
        lines = self._ask(
            "SELECT format('`{}`.`{}`', database, table), name FROM system.parts "  # noqa: S608  # a number
            f"WHERE active AND min_block_number = max_block_number AND modification_time >= toDateTime({int(seconds)})"
        )
        return [Part(*line.split("\t")) for line in lines]

    def _clear(self) -> None:
        """Leave no suspects: each is whole, or taken out."""
        while self._suspects:
            part = next(iter(self._suspects))
            if not self._is_whole(part):
                self._take_out(part)
            self._suspects.discard(part)

    def _is_whole(self, part: Part) -> bool:
        found = self._ask(f"CHECK TABLE {part.table} PART '{part.name}' SETTINGS check_query_single_value_result = 0")
        return all(line.split("\t")[1] == "1" for line in found)

    def _take_out(self, part: Part) -> None:
        self._taken_out_s = time.time()
        self._ask(f"ALTER TABLE {part.table} DETACH PART '{part.name}'")  # takes a megabyte of room
        with contextlib.suppress(QueryError):
            self._run(f"ALTER TABLE {part.table} DROP DETACHED PART '{part.name}' SETTINGS allow_drop_detached = 1")

    def _ask(self, sql: str) -> list[str]:
        """Run a statement about a part; one that is gone has nothing to tell.

        Raises:
            QueryError: 243, whatever the reason is: what is not known to be kept is repeated.
        """
        try:
            return self._run(sql)
        except QueryError as error:
            if error.code in GONE:
                return []
            raise QueryError(NOT_ENOUGH_SPACE, f"new parts cannot be looked at: {error.text[:300]}") from error
