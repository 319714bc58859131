"""Meaning: one module a venue that turns frames into items; explicit registry, checked when it is loaded."""

from typing import Final, Protocol

from processors.book_rules import BookRule
from processors.items import AnyItem
from processors.venues import binance
from schemas.records import Frame


class VenueModule(Protocol):
    """What each module of this package offers."""

    NAME: str
    MARKETS: tuple[str, ...]

    def parse(self, market: str, frame: Frame) -> list[AnyItem]:
        """Parse a MESSAGE or HTTP frame.

        Raises:
            FrameError: the frame cannot be used.
        """

    def book_rule(self, market: str) -> BookRule:
        """Tell how update ids of a market's books chain."""


def _registered(*modules: VenueModule) -> dict[str, VenueModule]:
    """Check names and markets, and index by name."""
    found = {module.NAME: module for module in modules}
    if len(found) != len(modules):
        raise ValueError("two venue modules share a name")
    for module in modules:
        if not module.NAME.isupper() or not module.MARKETS:
            raise ValueError(f"{module.NAME}: a venue's name is in capitals, and it has markets")
        for market in module.MARKETS:
            if not module.book_rule(market).ids_are_shared:
                raise ValueError(f"{module.NAME} {market}: a book for each connection is not built yet (decision 13)")
    return found


VENUES: Final[dict[str, VenueModule]] = _registered(binance)
"""By the venue's name in capitals."""
