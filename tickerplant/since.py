"""Times as people give and read them: `30m` before now, or ISO 8601; µs since the UTC epoch inside."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from tickerplant.errors import UserError

SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
US: Final = 1_000_000
FURTHEST_US: Final = 2.0**62


def since_us(text: str, now_us: int) -> int:
    """Read `90s`, `30m`, `2h`, `7d` before now, or an ISO 8601 time (UTC where it names no zone), as µs.

    Raises:
        UserError: it is neither, or before 1970.

    >>> since_us("1m", 100_000_000)
    40000000
    """
    span = SPAN.fullmatch(text)
    if span:
        back_us = min(float(span[1]) * UNITS[span[2]] * US, FURTHEST_US)
        return _in_epoch(text, now_us - int(back_us))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{text!r} is no time: give 30m, 2h, 7d, or e.g. 2026-11-21T09:00") from None
    since_epoch = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return _in_epoch(text, since_epoch // timedelta(microseconds=1))


def past_us(text: str, now_us: int) -> int:
    """Read a time as `since_us` does, where only one that is over makes sense.

    Raises:
        UserError: it is no time, before 1970, or still to come.
    """
    time_us = since_us(text, now_us)
    if time_us > now_us:
        raise UserError(f"{text!r} is still to come: give a time that is over, e.g. 30m or 2h")
    return time_us


def _in_epoch(text: str, time_us: int) -> int:
    if time_us < 0:
        raise UserError(f"{text!r} is before 1970: give a later time")
    return time_us


def time_text(time_us: int) -> str:
    """Write a time to the second; one that no calendar has as it is.

    >>> time_text(0)
    '1970-01-01T00:00:00Z'
    """
    try:
        return f"{datetime.fromtimestamp(time_us / US, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{time_us} µs"


def shown(text: str, most_chars: int) -> str:
    """Shorten what others wrote to one line that a terminal can show."""
    line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:most_chars])
    return line + ("…" if len(text) > most_chars else "")
