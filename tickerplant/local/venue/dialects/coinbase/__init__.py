"""Coinbase as the simulated venue speaks it: the Exchange feed and Advanced Trade, each a market of its own.

Products of the two differ (USD, EUR): one processor takes each symbol from one feed.
"""

from tickerplant.local.venue.dialects.coinbase.venue import (
    CHECKSUM,
    ENDPOINTS,
    MARKETS,
    NAME,
    converse,
    listings,
    routes,
    writer,
)

__all__ = ["CHECKSUM", "ENDPOINTS", "MARKETS", "NAME", "converse", "listings", "routes", "writer"]
