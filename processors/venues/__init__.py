"""Meaning: one module a venue that turns frames into items; explicit registry, checked when it is loaded."""

from typing import Final, Protocol

from processors.book_rules import BookRule
from processors.facts import Facts
from processors.items import AnyItem
from processors.memory import Memory
from processors.venues import (
    binance,
    bitfinex,
    bybit,
    coinbase,
    deribit,
    gate,
    htx,
    hyperliquid,
    kraken,
    kucoin,
    okx,
)
from schemas.records import Frame


class VenueModule(Protocol):
    """What each module of this package offers."""

    NAME: str
    MARKETS: tuple[str, ...]
    FACTS: dict[str, Facts]  # by market

    def parse(self, market: str, frame: Frame, memory: Memory) -> list[AnyItem]:
        """Parse a MESSAGE or HTTP frame.

        Args:
            memory: of the frame's connection; for what its later frames need, and nothing else.

        Raises:
            FrameError: the frame cannot be used.
        """

    def book_rule(self, market: str) -> BookRule:
        """Tell how a market's books hold together."""

    def trades_are_counted(self, market: str) -> bool:
        """Tell whether ids of a symbol's trades rise by one, so that a hole is a loss; else they tell trades apart."""


def _registered(*modules: VenueModule) -> dict[str, VenueModule]:
    """Check names and markets, and index by name."""
    found = {module.NAME: module for module in modules}
    if len(found) != len(modules):
        raise ValueError("two venue modules share a name")
    for module in modules:
        if not module.NAME.isupper() or not module.MARKETS:
            raise ValueError(f"{module.NAME}: a venue's name is in capitals, and it has markets")
        if set(module.FACTS) != set(module.MARKETS):
            raise ValueError(f"{module.NAME}: not every market has facts")
        for market in module.MARKETS:
            module.book_rule(market)
            module.trades_are_counted(market)
    return found


VENUES: Final[dict[str, VenueModule]] = _registered(
    binance,
    bitfinex,
    bybit,
    coinbase,
    deribit,
    gate,
    htx,
    hyperliquid,
    kraken,
    kucoin,
    okx,
)
"""By the venue's name in capitals."""
