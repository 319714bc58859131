"""What people ask of a venue's messages, said beside the code that reads them: `docs/venues.md` is made of it."""

from typing import NamedTuple


class Facts(NamedTuple):
    """Of one market.

    Args:
        side: which field says who was the aggressor, and how.
        times: the venue's times that are used, with their units.
        sizes: the unit of sizes as they come.
        since: from when on messages have the shape that is read, as a date or year; older ones in brackets.
        past_trades: how trades that are missing by id are fetched; "" = they are not, and a GAP stays.
    """

    side: str
    times: str
    sizes: str
    since: str
    past_trades: str = ""
