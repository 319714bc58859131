"""Flags of records: names, and how they are written."""

from typing import Final

import msgspec

from processors.batch import Batch

LATE: Final = "LATE"
OFF_BOOK: Final = "OFF_BOOK"
CROSSED: Final = "CROSSED"
LOCKED: Final = "LOCKED"
UNJOINED: Final = "UNJOINED"
CLOCK_STEP: Final = "CLOCK_STEP"
OUTLIER: Final = "OUTLIER"
BACKFILL: Final = "BACKFILL"
PAST: Final = "PAST"
INCONSISTENT: Final = "INCONSISTENT"

LATE_AFTER_US: Final = 1_000_000
BELIEVED: Final = 3
BELIEVED_US: Final = 5_000_000
"""So many late items in a row, over so long, tell that the newest time was wrong."""
AHEAD_US: Final = 600_000_000  # clocks of venues run ahead by seconds
FIRST_RECV_US: Final = 1_000_000_000_000_000  # September 2001: receive times before are none, but counters or 0


def join_flags(*flags: str) -> str:
    """Write flags in alphabetical order, separated by commas; empty ones are left out.

    >>> join_flags(OFF_BOOK, "", LATE)
    'LATE,OFF_BOOK'
    """
    return ",".join(sorted(flag for flag in flags if flag))


def is_ahead(exchange_time_us: int, recv_time_us: int) -> bool:
    """Tell whether an exchange time lies further ahead of the receive time (0 = not known) than any clock should."""
    return exchange_time_us - recv_time_us > AHEAD_US and recv_time_us > FIRST_RECV_US


class LateRun(msgspec.Struct, array_like=True):
    """Late items since the newest one."""

    behind_us: int  # time of the newest one
    since_us: int  # receive time of the first of them
    count: int = 0
    newest_us: int = 0  # among them


class Lateness:
    """Tells what lies more than a second behind the newest of its kind, or so far ahead that its time is wrong.

    A newest time that nothing comes up to for seconds was wrong itself, or the venue's clock was set back.
    """

    __slots__ = ("horizon_us", "newest_us", "runs")

    def __init__(self, newest_us: dict[str, int] | None = None) -> None:
        self.newest_us = newest_us or {}
        self.runs: dict[str, LateRun] = {}
        self.horizon_us = 0  # times up to here were found to be no further ahead than they may: spares looking again

    def flag(self, kind: str, exchange_time_us: int, batch: Batch) -> str:
        """Flag an item by its exchange time (0 = none: never late); a wrong one makes no later item late."""
        newest_us = self.newest_us.get(kind, 0)
        if exchange_time_us >= newest_us:
            if exchange_time_us > self.horizon_us and self._is_beyond(exchange_time_us, batch.recv_time_us):
                return CLOCK_STEP
            self.newest_us[kind] = exchange_time_us
            return ""
        if not exchange_time_us or newest_us - exchange_time_us <= LATE_AFTER_US:
            return ""
        if is_ahead(newest_us, batch.recv_time_us):  # of an item that came before wrong times were told
            self.newest_us[kind] = 0
            return self.flag(kind, exchange_time_us, batch)
        return self._late(kind, exchange_time_us, batch)

    def flag_restored(self, kind: str, exchange_time_us: int, batch: Batch) -> str:
        """Flag an item that was fetched later: it tells nothing about what the newest time is."""
        if is_ahead(exchange_time_us, batch.recv_time_us):
            return CLOCK_STEP
        return LATE if 0 < exchange_time_us < self.newest_us.get(kind, 0) - LATE_AFTER_US else ""

    def _late(self, kind: str, exchange_time_us: int, batch: Batch) -> str:
        """Flag a late item, unless it is one of a run that tells that the newest time was wrong."""
        behind_us, run = self.newest_us[kind], self.runs.get(kind)
        if run is None or run.behind_us != behind_us:
            run = self.runs[kind] = LateRun(behind_us, batch.recv_time_us)
        run.count += 1
        run.newest_us = max(run.newest_us, exchange_time_us)
        if run.count < BELIEVED or batch.recv_time_us - run.since_us < BELIEVED_US:
            return LATE
        del self.runs[kind]
        self.newest_us[kind] = run.newest_us
        return self.flag(kind, exchange_time_us, batch)

    def _is_beyond(self, exchange_time_us: int, recv_time_us: int) -> bool:
        """Move the horizon to where it may be, and tell whether a time lies beyond all the same."""
        if is_ahead(exchange_time_us, recv_time_us):
            return True
        self.horizon_us = max(exchange_time_us, recv_time_us + AHEAD_US)
        return False
