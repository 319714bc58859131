"""Dialects: one module a venue, with its protocol as the simulated venue speaks it; explicit registry."""

from typing import Final

from tickerplant.choices import chosen_venue
from tickerplant.local.venue.dialect import Dialect
from tickerplant.local.venue.dialects import (
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


def _registered(*dialects: Dialect) -> dict[str, Dialect]:
    """Check names, markets and endpoints, and index by name."""
    found = {each.NAME: each for each in dialects}
    if len(found) != len(dialects):
        raise RuntimeError("two dialects share a name")
    for name, dialect in found.items():
        if name != name.upper():
            raise RuntimeError(f"dialect {name}: a venue's name is in capitals")
        if {each.market for each in dialect.ENDPOINTS} != set(dialect.MARKETS):
            raise RuntimeError(f"dialect {name}: not every market has an endpoint")
    return found


DIALECTS: Final[dict[str, Dialect]] = _registered(
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


def find_dialect(venue: str) -> Dialect:
    """Look up a dialect.

    Raises:
        UserError: the simulated venue does not speak it.
    """
    return chosen_venue(venue, DIALECTS)
