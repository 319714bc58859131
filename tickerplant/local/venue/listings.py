"""What the venue lists: the symbols of the synthetic market, and exchangeInfo bodies of these or of bare names; pure.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints
Source: https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Exchange-Information
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from schemas.venues.binance import EXPIRY_HOUR, assumed_instrument
from tickerplant.local.venue.numbers import Numbers, numbers_of

NO_DELIVERY_MS: Final = 4_133_404_800_000  # the venue's own value for perpetuals
SHARES: Final = (("spot", 0.5), ("usdm", 0.3), ("coinm", 0.2))
KNOWN: Final = {
    "BTC": 60_000.0, "ETH": 3_000.0, "SOL": 150.0, "BNB": 600.0, "XRP": 0.6, "ADA": 0.45, "DOGE": 0.12, "AVAX": 30.0,
    "LINK": 14.0, "DOT": 6.5, "LTC": 80.0, "TRX": 0.13,
}  # fmt: skip
PRICE_DIGITS: Final = 6  # significant ones, so that a tick is a small part of every price
PRICE_DECIMALS_MOST: Final = 8
BTC_DECIMALS: Final = {"spot": (2, 5), "usdm": (1, 3), "coinm": (1, 0)}  # of price, of size
SIZE_DECIMALS: Final = {"spot": 4, "usdm": 2, "coinm": 0}
CONTRACT_USD: Final = {"BTC": 100}
CONTRACT_USD_OTHERS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One symbol.

    Args:
        start_price: about which its market begins; 0 = known by name only, so tick and lot are not known either.
        delivery_ms: of a dated future; 0 = it has no expiry.
        contract_usd: what a contract is worth; 0 = sizes are in base currency.
    """

    market: str
    symbol: str
    base: str
    quote: str
    numbers: Numbers
    start_price: float
    delivery_ms: int = 0
    contract_usd: int = 0

    @property
    def pair(self) -> str:
        """Name the pair without what kind of contract it is."""
        return self.base + self.quote


def synthetic_listings(count: int, now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market of `count` symbols, best known first within each market.

    >>> [each.symbol for each in synthetic_listings(6, 1_767_225_600_000)]
    ['BTCUSDT', 'ETHUSDT', 'SOLUSDT', 'BTCUSDT', 'ETHUSDT', 'BTCUSD_PERP']
    """
    counts = _split(count)
    return [each for market, most in counts.items() for each in _market_listings(market, most, now_ms)]


def exchange_info(market: str, listings: Iterable[Listing], now_ms: int) -> bytes:
    """Make the instrument list of a market."""
    entries = [_entry(each) for each in listings if each.market == market]
    info = {"timezone": "UTC", "serverTime": now_ms, "rateLimits": _rate_limits(market), "exchangeFilters": []}
    return msgspec.json.encode(info | {"symbols": entries})


def exchange_info_of_names(market: str, names: Iterable[str], now_ms: int) -> bytes:
    """Make the instrument list of a market from its symbols' names alone.

    Raises:
        SymbolError: a name is none of this market.
    """
    return exchange_info(market, [_named(market, name) for name in names], now_ms)


def _split(count: int) -> dict[str, int]:
    """Share symbols out to the markets, spot getting what rounding leaves."""
    counts = {market: int(count * share) for market, share in SHARES}
    for market, _ in SHARES:
        if count >= len(SHARES):
            counts[market] = max(1, counts[market])
    counts["spot"] += count - sum(counts.values())
    return counts


def _market_listings(market: str, count: int, now_ms: int) -> list[Listing]:
    """Two best known perpetuals, then a dated future, then the others."""
    names = [*KNOWN, *(f"SYN{number:04d}" for number in range(1, count + 1))][:count]
    listings = [_listing(market, base, 0) for base in names]
    if market != "spot" and count >= 3:
        listings[2:] = [_listing(market, "BTC", _quarter_end_ms(now_ms)), *listings[2:-1]]
    return listings


def _listing(market: str, base: str, delivery_ms: int) -> Listing:
    price = KNOWN.get(base) or 0.5 + int(base.removeprefix("SYN")) * 37 % 499
    quote = "USD" if market == "coinm" else "USDT"
    return Listing(
        market=market,
        symbol=base + quote + _suffix(market, delivery_ms),
        base=base,
        quote=quote,
        numbers=numbers_of(*_decimals(market, base, price)),
        start_price=price,
        delivery_ms=delivery_ms,
        contract_usd=CONTRACT_USD.get(base, CONTRACT_USD_OTHERS) if market == "coinm" else 0,
    )


def _named(market: str, name: str) -> Listing:
    assumed = assumed_instrument(market, name, 0)
    return Listing(
        market=market,
        symbol=name,
        base=assumed.base,
        quote=assumed.quote,
        numbers=numbers_of(PRICE_DECIMALS_MOST, 0 if market == "coinm" else PRICE_DECIMALS_MOST),
        start_price=0.0,
        delivery_ms=assumed.expiry_time_us // 1000,
        contract_usd=int(assumed.contract_multiplier) if market == "coinm" else 0,
    )


def _decimals(market: str, base: str, price: float) -> tuple[int, int]:
    if base == "BTC":
        return BTC_DECIMALS[market]
    return min(PRICE_DECIMALS_MOST, PRICE_DIGITS - len(str(int(price)))), SIZE_DECIMALS[market]


def _suffix(market: str, delivery_ms: int) -> str:
    if delivery_ms:
        return f"_{datetime.fromtimestamp(delivery_ms / 1000, UTC):%y%m%d}"
    return "_PERP" if market == "coinm" else ""


def _quarter_end_ms(now_ms: int) -> int:
    """Find the next quarter's last Friday that is at least a week away."""
    earliest = datetime.fromtimestamp(now_ms / 1000, UTC) + timedelta(days=7)
    day = earliest.replace(hour=EXPIRY_HOUR, minute=0, second=0, microsecond=0)
    while not (day.month % 3 == 0 and day.weekday() == 4 and (day + timedelta(days=7)).month != day.month):
        day += timedelta(days=1)
    return int(day.timestamp()) * 1000


def _entry(listing: Listing) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "symbol": listing.symbol,
        "baseAsset": listing.base,
        "quoteAsset": listing.quote,
        "filters": _filters(listing.numbers) if listing.start_price else [],
        "orderTypes": ["LIMIT", "MARKET"],
    }
    if listing.market == "spot":
        precision = {"baseAssetPrecision": 8, "quoteAssetPrecision": 8, "quotePrecision": 8}
        return entry | precision | {"status": "TRADING", "isSpotTradingAllowed": True, "permissions": ["SPOT"]}
    return entry | _contract(listing)


def _contract(listing: Listing) -> dict[str, Any]:
    inverse = listing.market == "coinm"
    state = {"contractStatus": "TRADING", "contractSize": listing.contract_usd} if inverse else {"status": "TRADING"}
    return state | {
        "pair": listing.pair,
        "contractType": "CURRENT_QUARTER" if listing.delivery_ms else "PERPETUAL",
        "deliveryDate": listing.delivery_ms or NO_DELIVERY_MS,
        "marginAsset": listing.base if inverse else listing.quote,
        "pricePrecision": listing.numbers.price_decimals,
        "quantityPrecision": listing.numbers.size_decimals,
        "underlyingType": "COIN",
    }


def _filters(numbers: Numbers) -> list[dict[str, str]]:
    tick, lot = numbers.price(1), numbers.size(1)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": numbers.price(10**15), "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": numbers.size(10**15), "stepSize": lot},
    ]


def _rate_limits(market: str) -> list[dict[str, Any]]:
    limit = 6000 if market == "spot" else 2400
    return [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit}]
