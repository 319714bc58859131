"""Flags of records: names, and how they are written."""

from typing import Final

LATE: Final = "LATE"
OFF_BOOK: Final = "OFF_BOOK"
CROSSED: Final = "CROSSED"
UNJOINED: Final = "UNJOINED"

LATE_AFTER_US: Final = 1_000_000


def join_flags(*flags: str) -> str:
    """Write flags in alphabetical order, separated by commas; empty ones are left out.

    >>> join_flags(OFF_BOOK, "", LATE)
    'LATE,OFF_BOOK'
    """
    return ",".join(sorted(flag for flag in flags if flag))


class Lateness:
    """Tells what lies more than a second behind the newest of its kind."""

    __slots__ = ("newest_us",)

    def __init__(self, newest_us: dict[str, int] | None = None) -> None:
        self.newest_us = newest_us or {}

    def flag(self, kind: str, exchange_time_us: int) -> str:
        """Flag an item by its exchange time (0 = none: never late)."""
        newest_us = self.newest_us.get(kind, 0)
        if exchange_time_us >= newest_us:
            self.newest_us[kind] = exchange_time_us
            return ""
        return LATE if exchange_time_us and newest_us - exchange_time_us > LATE_AFTER_US else ""
