"""Names: one module a venue that turns its instrument list, or a bare symbol, into Instruments; explicit registry."""

from typing import Final, Protocol

from schemas.listing import Listing
from schemas.records import Instrument
from schemas.venues import (
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


class SymbologyModule(Protocol):
    """What each module of this package offers."""

    MARKETS: tuple[str, ...]
    LIST_PATHS: tuple[str, ...]
    """How URLs of instrument lists end, their query left out: to find them in recordings."""

    def read_list(self, market: str, body: bytes, event_time_us: int) -> Listing:
        """Read an instrument list as the venue sent it.

        Raises:
            ValueError: the body is no instrument list, or the market is unknown.
        """

    def assumed_instrument(self, market: str, venue_symbol: str, event_time_us: int) -> Instrument:
        """Derive an instrument from its name alone.

        Raises:
            SymbolError: the name does not tell.
        """


SYMBOLOGIES: Final[dict[str, SymbologyModule]] = {
    "BINANCE": binance,
    "BITFINEX": bitfinex,
    "BYBIT": bybit,
    "COINBASE": coinbase,
    "DERIBIT": deribit,
    "GATE": gate,
    "HTX": htx,
    "HYPERLIQUID": hyperliquid,
    "KRAKEN": kraken,
    "KUCOIN": kucoin,
    "OKX": okx,
}
"""By the venue's name in capitals."""
