"""Pages of instrument lists, as they come → what traded and a whole list no longer names; pure.

A producer notes at the end of a page's request which page it is of how many, where the list is whole.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.listing import Listing
from schemas.records import Frame

PAGE: Final = re.compile(r"#page=(?P<page>\d{1,6})/(?P<pages>\d{1,6})")
MOST_READINGS: Final = 16


class Reading(msgspec.Struct, array_like=True):
    """A list whose last page has not come: how many have, and what none of them names."""

    page: int
    absent: list[str]


class Listings:
    """The lists that are being read, by the connection that brings them; part of the state."""

    __slots__ = ("readings",)

    def __init__(self) -> None:
        self.readings: dict[str, Reading] = {}

    def take(
        self, connection: str, frame: Frame, listing: Listing, trading: Callable[[], list[str]]
    ) -> list[str] | None:
        """Take in a page.

        Args:
            trading: tells the venue's names of what trades.

        Returns:
            Those of them that the whole list does not name; None = it has not come whole.
        """
        found = PAGE.search(frame.request)
        if found is None:
            return None
        page, pages = int(found["page"]), int(found["pages"])
        before = self.readings.pop(connection, None)
        if not listing.instruments or (page != 1 and (before is None or before.page != page - 1)):
            return None  # as a page that names nothing: rather a refusal
        named = {each.venue_symbol for each in listing.instruments}
        absent = [each for each in (trading() if page == 1 or before is None else before.absent) if each not in named]
        if listing.unreadable:  # it may be among these
            absent = [each for each in absent if f'"{each}"'.encode() not in frame.payload]
        if page >= pages:
            return absent
        self.readings[connection] = Reading(page, absent)
        if len(self.readings) > MOST_READINGS:
            del self.readings[next(iter(self.readings))]
        return None
