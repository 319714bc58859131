"""Rebuilt rows in the place of live ones, in both stores: one swap at a time, and what a killed one left is undone.

Tables first, then the lake. A swap may be killed after any step: done again as a whole it completes what is missing.
"""

import fcntl
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from tickerplant.errors import UserError
from tickerplant.replay.span import Range
from tickerplant.replay.swap_lake import swap_lake
from tickerplant.replay.swap_tables import open_tables, swap_tables
from tickerplant.settings import Settings


def swap(live: Settings, replay: Settings, span: Range) -> Generator[str]:
    """Put rebuilt rows in place, a step at a time; yields what was done.

    Raises:
        UserError: another swap runs or was faster, or live rows were altered meanwhile.
        DependencyError: a store does not answer.
    """
    with _only_swap(live):
        yield from swap_tables(live, replay, span)
        yield from swap_lake(live, replay, span)


def undo_killed(live: Settings, replay: Settings) -> None:
    """Let inserts into live tables again which a killed swap has closed, as it would have done; blocks.

    What it had put in place stays there.

    Raises:
        UserError: another swap runs.
        DependencyError: ClickHouse does not answer.
    """
    with _only_swap(live):
        open_tables(live, replay)


@contextmanager
def _only_swap(live: Settings) -> Iterator[None]:
    """Let no other swap run from the same home: each opens the tables that the other has closed."""
    path = live.local.home / "run" / "swap.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError("another swap runs: wait until it is done") from None
        yield
