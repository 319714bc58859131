"""Servers of the local stack that ended for want of room on the disk: started again once there is room."""

import time
from collections.abc import Callable
from typing import Final

from tickerplant.errors import UserError
from tickerplant.local import stack
from tickerplant.logs import logger
from tickerplant.room import Reserve
from tickerplant.settings import Settings

LOOK_EVERY_S: Final = 2.0
AGAIN_S: Final = 30.0


class Reviver:
    """Looks now and then; a server that ended for another reason is left alone: it may have been ended on purpose.

    Args:
        reserve: of the stack's disk.
        died: names the servers that ended by themselves.
        start: starts servers by name; raises UserError or OSError where it cannot.
    """

    def __init__(
        self,
        reserve: Reserve,
        *,
        died: Callable[[], list[str]],
        start: Callable[[list[str]], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reserve = reserve
        self._died = died
        self._start = start
        self._now_s = now_s
        self._next_s = 0.0
        self._before: set[str] = set()
        self._starved: set[str] = set()

    def look(self) -> None:
        """Look, if it is time to; starting servers blocks for some seconds."""
        if self._now_s() < self._next_s:
            return
        self._next_s = self._now_s() + LOOK_EVERY_S
        had_room = self._reserve.has_room
        has_room = self._reserve.look()
        died = set(self._died())
        if not (had_room and has_room):
            self._starved |= died - self._before
        self._before = died
        self._starved &= died
        if has_room and self._starved:
            self._revive()

    def _revive(self) -> None:
        names = sorted(self._starved)
        try:
            self._start(names)
        except (UserError, OSError) as error:
            self._next_s = self._now_s() + AGAIN_S
            logger().error("servers cannot be started again", servers=names, reason=str(error))
        else:
            self._starved.clear()
            logger().info("servers that had ended on a full disk are started again", servers=names)


def local_reviver(settings: Settings, reserve: Reserve) -> Reviver:
    """Make the reviver of the local stack."""

    def start(names: list[str]) -> None:
        stack.up(settings, lambda _line: None, servers=tuple(each for each in stack.SERVERS if each.name in names))

    return Reviver(reserve, died=lambda: stack.died(settings), start=start)
