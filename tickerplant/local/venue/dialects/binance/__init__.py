"""Binance as the simulated venue speaks it: spot, USD-M, COIN-M."""

import re
from typing import Final

from tickerplant.local.venue.dialect import MarketTerms
from tickerplant.local.venue.dialects.binance.conversation import ENDPOINTS, converse
from tickerplant.local.venue.dialects.binance.listings import listings
from tickerplant.local.venue.dialects.binance.rest import routes
from tickerplant.local.venue.dialects.binance.writer import BinanceWriter as writer  # noqa: N813  # makes one

__all__ = ["CHECKSUM", "ENDPOINTS", "MARKETS", "NAME", "converse", "listings", "routes", "writer"]

NAME: Final = "BINANCE"
MARKETS: Final = {
    "spot": MarketTerms(share=0.5, has_aggregates=True),
    "usdm": MarketTerms(share=0.3, are_ids_shared=True, has_aggregates=True, has_marks=True),
    "coinm": MarketTerms(share=0.2, are_ids_shared=True, has_aggregates=True, has_marks=True),
}
CHECKSUM: Final[re.Pattern[bytes] | None] = None
