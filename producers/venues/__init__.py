"""Wire: one module a venue, with its URLs, requests and limits; explicit registry, checked at load."""

from typing import Final

from producers.venues import (
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
from producers.wire import Wire
from schemas.venues import SYMBOLOGIES

VENUES: Final[dict[str, Wire]] = {
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


def _check(venues: dict[str, Wire]) -> None:
    for name, wire in venues.items():
        if name != wire.NAME or name != name.upper() or name not in SYMBOLOGIES:
            raise RuntimeError(f"venue {name}: names in schemas/venues and producers/venues differ")
        if set(wire.MARKETS) != set(wire.LIMITS) or set(wire.MARKETS) != set(wire.CHANNELS):
            raise RuntimeError(f"venue {name}: not every market has limits and channels")
        if not set(wire.MARKETS) <= set(SYMBOLOGIES[name].MARKETS):
            raise RuntimeError(f"venue {name}: it has markets that schemas/venues does not know")
        for market, channels in wire.CHANNELS.items():
            for channel in channels:
                if wire.full_channel(market, channel) is None:
                    raise RuntimeError(f"venue {name} {market}: the channel {channel} cannot be completed")


_check(VENUES)
