"""Ends a process that is alive but stuck: what waits to be done is not done for long, and no server is to blame.

A thread looks every few seconds. What it cannot know (a broker that is away, a process that was stopped and goes on)
never counts as time in which nothing was done. Whoever started the process starts it again; what was not done is done
then.
"""

import faulthandler
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tickerplant.logs import logger

STUCK_CODE: Final = 70
"""Exit code of a process that the watchdog ended (EX_SOFTWARE)."""
LOOK_EVERY_S: Final = 5.0
LOOKS: Final = 10
"""At least so often it is looked before something counts as stuck; between two looks no more than twice the share of
one is counted: the process, or the machine, may have been stopped."""
TELL_S: Final = 5.0
"""A log that takes no line must not keep a stuck process alive."""


@dataclass(frozen=True)
class Work:
    """How far something is.

    Args:
        done: any value that changes whenever something was done.
        is_waiting: there is something to do.
    """

    done: object
    is_waiting: bool = True


Look = Callable[[], Mapping[str, Work] | None]
"""Tells how far everything is, by name; None = that cannot be known, or nothing can be done now."""


class Patience:
    """Adds up for how long each piece of work has waited without anything being done; pure.

    Args:
        stuck_after_s: what is too long.
    """

    def __init__(self, stuck_after_s: float) -> None:
        self.look_every_s = min(LOOK_EVERY_S, stuck_after_s / LOOKS)
        self._stuck_after_s = stuck_after_s
        self._looked_s: float | None = None
        self._works: dict[str, Work] = {}
        self._waited_s: dict[str, float] = {}

    def look(self, now_s: float, works: Mapping[str, Work] | None) -> str | None:
        """Take in what is seen now; returns the name of what is stuck, None = nothing is.

        Args:
            now_s: a clock that never goes back.
            works: None = unknown: all waits begin anew.
        """
        passed_s = 0.0 if self._looked_s is None else min(now_s - self._looked_s, 2 * self.look_every_s)
        self._looked_s = now_s
        before, self._works = self._works, dict(works or {})
        self._waited_s = {
            name: self._waited_s.get(name, 0.0) + passed_s
            for name, work in self._works.items()
            if work.is_waiting and before.get(name) == work
        }
        return next((name for name, waited_s in self._waited_s.items() if waited_s >= self._stuck_after_s), None)


@contextmanager
def guarded(role: str, stuck_after_s: float, look: Look) -> Iterator[None]:
    """Watch this process within the block; where it is stuck, log the stacks of all threads and end it at once.

    Args:
        role: as in logs.
        stuck_after_s: so long work may wait; looks that take longer than a few seconds count for less.
        look: called from a thread of its own.
    """
    stopping = threading.Event()
    args = (role, Patience(stuck_after_s), look, stopping)
    thread = threading.Thread(target=_watch, args=args, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()


def stacks() -> str:
    """Write down where each thread of this process is now."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def _watch(role: str, patience: Patience, look: Look, stopping: threading.Event) -> None:
    while not stopping.wait(patience.look_every_s):
        try:
            works = look()
        except Exception as error:  # noqa: BLE001  # a watchdog that ended would guard nothing
            logger().bind(role=role).warning("watchdog cannot look", reason=f"{type(error).__name__}: {error}")
            works = None
        stuck = patience.look(time.monotonic(), works)
        if stuck is not None and not stopping.is_set():
            _end(role, stuck)


def _end(role: str, stuck: str) -> None:
    """End the process, whatever its other threads hold; the log is told first, if it listens."""
    teller = threading.Thread(target=_tell, args=(role, stuck), daemon=True)
    teller.start()
    teller.join(TELL_S)
    os._exit(STUCK_CODE)


def _tell(role: str, stuck: str) -> None:
    try:
        found = stacks()
    except OSError as error:  # a disk without room
        found = f"not written: {error.strerror}"
    logger().bind(role=role).critical("stuck, ending", what=stuck, code=STUCK_CODE, stacks=found)
