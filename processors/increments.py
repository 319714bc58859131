"""When to write all of a symbol again instead of what changed."""

from typing import Final
from zlib import crc32

FEW_LEVELS: Final = 64
FEWEST_CHANGES, MORE_CHANGES = 24, 17


class Increments:
    """Counts the changes written since all of a symbol was.

    All is written again once the changes add up to as much, so at most twice of what changed is written; or once there
    are many, so that a restart reads few. How many differs from symbol to symbol: not all are due at the same time.
    """

    __slots__ = ("_count", "_levels", "_most")

    def __init__(self, symbol: str) -> None:
        self._count = self._levels = 0
        self._most = FEWEST_CHANGES + crc32(symbol.encode()) % MORE_CHANGES

    def accept(self, levels: int, whole_levels: int) -> bool:
        """Tell whether a change of so many levels, of a symbol that has so many, is to be written as one."""
        if self._count >= self._most or self._levels + levels > max(FEW_LEVELS, whole_levels):
            return False
        self.add(levels)
        return True

    def add(self, levels: int) -> None:
        """Note that a change was written."""
        self._count += 1
        self._levels += levels

    def expire(self) -> None:
        """Let all be written at the next time."""
        self._count = self._most

    def restart(self) -> None:
        """Note that all was written."""
        self._count = self._levels = 0
