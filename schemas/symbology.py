"""Canonical symbols, and the way between them and a venue's own.

BTC/USDT           spot
ETH/USDT:PERP      perpetual
BTC/USD:20261225   dated future, by UTC expiry day
BTC/USD:20261225:60000:C   option
BTC/USD:PERP:UM   one of several that are alike but for their margin, by the venue's word for it
AAPL, EUR/USD      equity, forex
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final
from zlib import crc32

from schemas.records import Instrument

SEPARATORS: Final = frozenset("/:@|, ")


class SymbolError(ValueError):
    """A symbol that is unknown, or two instruments that claim the same name."""


def canonical_symbol(base: str, quote: str, *, expiry_time_us: int = 0, perpetual: bool = False) -> str:
    """Name a spot pair, a perpetual, or a dated future (expiry in µs since the UTC epoch; 0 = none).

    Raises:
        SymbolError: base or quote is empty, or has what separates parts of symbols, keys and names of state.

    >>> canonical_symbol("btc", "USD", expiry_time_us=1_798_185_600_000_000)
    'BTC/USD:20261225'
    """
    for name in (base, quote):
        if not name or not name.isprintable() or not SEPARATORS.isdisjoint(name):
            raise SymbolError(f"{name[:40]!r} cannot stand in a symbol")
    pair = f"{base.upper()}/{quote.upper()}"
    if perpetual:
        return f"{pair}:PERP"
    if expiry_time_us:
        return f"{pair}:{datetime.fromtimestamp(expiry_time_us // 1_000_000, UTC):%Y%m%d}"
    return pair


def split_pair(name: str, quotes: Iterable[str]) -> tuple[str, str]:
    """Split a venue's run-together pair by the longest quote currency that ends it.

    Raises:
        SymbolError: none of the quotes ends it, or nothing is left for the base.

    >>> split_pair("BTCFDUSD", ["USD", "FDUSD"])
    ('BTC', 'FDUSD')
    """
    for quote in sorted(quotes, key=len, reverse=True):
        if name.endswith(quote) and len(name) > len(quote):
            return name[: -len(quote)], quote
    raise SymbolError(f"{name}: no known quote currency ends it")


def partition_of(symbol: str, count: int) -> int:
    """Tell the partition of a canonical symbol: the same for all topics and venues, stable for ever.

    >>> partition_of("BTC/USDT", 4) == partition_of("BTC/USDT", 4)
    True
    """
    return crc32(symbol.encode()) % count


class Symbology:
    """Instruments of one venue, found by (market, venue symbol) or by canonical symbol."""

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self._by_venue: dict[tuple[str, str], Instrument] = {}
        self._by_symbol: dict[str, Instrument] = {}
        self.update(instruments)

    def update(self, instruments: Iterable[Instrument]) -> list[Instrument]:
        """Take in instruments; a later one replaces an earlier one of its name. Returns those that are new or changed.

        Where an instrument that trades and one that does not share a canonical symbol, the one that trades is found.
        """
        changed = [each for each in instruments if self._is_news(each)]
        for each in changed:
            self._by_venue[each.market, each.venue_symbol] = each
            known = self._by_symbol.get(each.symbol)
            if known is None or each.is_trading or known.venue_symbol == each.venue_symbol:
                self._by_symbol[each.symbol] = each
        return changed

    def find(self, market: str, venue_symbol: str) -> Instrument | None:
        """Find by the venue's name; None = not listed."""
        return self._by_venue.get((market, venue_symbol))

    def by_symbol(self, symbol: str) -> Instrument:
        """Find by canonical symbol.

        Raises:
            SymbolError: the venue does not list it.
        """
        try:
            return self._by_symbol[symbol]
        except KeyError:
            raise SymbolError(f"{symbol} is not listed") from None

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_venue.values())

    def __len__(self) -> int:
        return len(self._by_venue)

    def _is_news(self, instrument: Instrument) -> bool:
        known = self._by_venue.get((instrument.market, instrument.venue_symbol))
        return known is None or _facts(known) != _facts(instrument)


def _facts(instrument: Instrument) -> tuple[object, ...]:
    """All but when and where from the list came."""
    return (
        instrument.symbol,
        instrument.kind,
        instrument.settle,
        instrument.tick_size,
        instrument.lot_size,
        instrument.contract_multiplier,
        instrument.is_inverse,
        instrument.is_trading,
        instrument.is_assumed,
    )
