"""What a person asks of the quality of what is stored."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Which rows are asked about.

    Args:
        start_us: first instant (`event_time_us`), µs UTC.
        end_us: first instant after the range, µs UTC.
        venue: in capitals; empty = all.
        symbol: canonical; empty = all.
    """

    start_us: int
    end_us: int
    venue: str = ""
    symbol: str = ""

    def values(self) -> dict[str, Any]:
        """Give what `WHERE` compares with."""
        return {"start": self.start_us, "end": self.end_us, "venue": self.venue, "symbol": self.symbol}


WHOSE = "(%(venue)s = '' OR venue = %(venue)s) AND (%(symbol)s = '' OR symbol = %(symbol)s)"
"""Condition by which questions keep to the venue and symbol of a wish."""
WHERE = f"""event_time_us >= %(start)s AND event_time_us < %(end)s
    AND {WHOSE}"""
"""Condition by which questions keep to a wish."""
