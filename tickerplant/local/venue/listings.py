"""Symbols of a market: which assets a synthetic one trades, and what those of a recording are by their names; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from schemas.records import Instrument
from schemas.venues import SYMBOLOGIES
from tickerplant.local.venue.numbers import Numbers

KNOWN: Final = {
    "BTC": 60_000.0, "ETH": 3_000.0, "SOL": 150.0, "BNB": 600.0, "XRP": 0.6, "ADA": 0.45, "DOGE": 0.12, "AVAX": 30.0,
    "LINK": 14.0, "DOT": 6.5, "LTC": 80.0, "TRX": 0.13,
}  # fmt: skip
PRICE_DIGITS: Final = 6  # significant ones, so that a tick is a small part of every price
DECIMALS_MOST: Final = 8
EXPIRY_HOUR: Final = 8
WEEK: Final = timedelta(days=7)
FRIDAY: Final = 4


class Asset(NamedTuple):
    """What a synthetic market trades, and about which price in dollars."""

    base: str
    price: float


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One symbol.

    Args:
        numbers: decimals of prices, and of sizes in the venue's unit: base currency, or contracts.
        start_price: about which its market begins; 0 = known by name only, so tick and lot are not known either.
        is_perpetual: it is a perpetual contract.
        delivery_ms: of a dated future; 0 = it has no expiry.
        contract: what a size of 1 is worth: in base currency, of inverse contracts in quote currency.
    """

    market: str
    symbol: str
    base: str
    quote: str
    numbers: Numbers
    start_price: float
    is_perpetual: bool = False
    delivery_ms: int = 0
    contract: float = 1.0
    is_inverse: bool = False

    @property
    def pair(self) -> str:
        """Name the pair without what kind of contract it is."""
        return self.base + self.quote

    def amount(self, price: int, lots: int) -> float:
        """Tell what a trade is worth: in quote currency, of inverse contracts in base currency."""
        size = lots * self.contract / self.numbers.size_scale
        return size * self.numbers.price_scale / price if self.is_inverse else size * price / self.numbers.price_scale


def assets(count: int) -> list[Asset]:
    """Name so many assets, the best known first."""
    invented = (f"SYN{number:04d}" for number in range(1, count + 1))
    return [_asset(name) for name in [*KNOWN, *invented][:count]]


def split_symbols(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Share symbols out to markets, each at least one where there are enough; the first gets what rounding leaves.

    >>> split_symbols(20, {"spot": 0.5, "usdm": 0.3, "coinm": 0.2})
    {'spot': 10, 'usdm': 6, 'coinm': 4}
    """
    counts = {market: int(count * share) for market, share in shares.items()}
    if count >= len(shares):
        counts = {market: max(1, number) for market, number in counts.items()}
    first = next(iter(counts))
    counts[first] += count - sum(counts.values())
    return counts


def with_a_future(chosen: Sequence[Asset]) -> list[tuple[Asset, bool]]:
    """Put a dated future (True) of the first asset behind the first two, in the place of the last one.

    >>> [(asset.base, is_dated) for asset, is_dated in with_a_future(assets(3))]
    [('BTC', False), ('ETH', False), ('BTC', True)]
    """
    plain = [(asset, False) for asset in chosen]
    return plain if len(plain) <= 2 else [*plain[:2], (chosen[0], True), *plain[2:-1]]


def quarter_end_ms(now_ms: int) -> int:
    """Find the next quarter's last Friday, 8:00 UTC, that is at least a week away."""
    day = (datetime.fromtimestamp(now_ms / 1000, UTC) + WEEK).replace(
        hour=EXPIRY_HOUR, minute=0, second=0, microsecond=0
    )
    while not (day.month % 3 == 0 and day.weekday() == FRIDAY and (day + WEEK).month != day.month):
        day += timedelta(days=1)
    return int(day.timestamp()) * 1000


def price_decimals(price: float) -> int:
    """Tell how many decimals a price of this size has.

    >>> price_decimals(60_000.0), price_decimals(0.12)
    (1, 5)
    """
    return min(DECIMALS_MOST, PRICE_DIGITS - len(str(int(price))))


def named(venue: str, market: str, name: str) -> Listing:
    """Make a listing of a symbol that is known by its name only.

    Raises:
        SymbolError: it is no name of this market.
    """
    return listing_of(SYMBOLOGIES[venue].assumed_instrument(market, name, 0))


def next_name(names: Sequence[str], name: str) -> str:
    """Name what stands behind a name, the first behind the last; of one that is not among them: itself."""
    return names[(names.index(name) + 1) % len(names)] if name in names else name


def listing_of(instrument: Instrument) -> Listing:
    """Make the listing of an instrument; prices and sizes are in their own units."""
    return Listing(
        market=instrument.market,
        symbol=instrument.venue_symbol,
        base=instrument.base,
        quote=instrument.quote,
        numbers=Numbers(_decimals(instrument.tick_size), _decimals(instrument.lot_size), 1, 1),
        start_price=0.0,
        is_perpetual=instrument.kind == "PERPETUAL",
        delivery_ms=instrument.expiry_time_us // 1000,
        contract=instrument.contract_multiplier,
        is_inverse=instrument.is_inverse,
    )


def _decimals(step: float | None) -> int:
    """Count the decimals of a tick or lot; None = it is not known, so as many as can be.

    >>> _decimals(0.005), _decimals(10.0), _decimals(1e-8)
    (3, 0, 8)
    """
    return DECIMALS_MOST if not step else len(f"{step:.10f}".rstrip("0").partition(".")[2])


def _asset(name: str) -> Asset:
    return Asset(name, KNOWN.get(name) or 0.5 + int(name.removeprefix("SYN")) * 37 % 499)
