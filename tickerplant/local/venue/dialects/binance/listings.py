"""Binance's symbols and exchangeInfo bodies.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints
Source: https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Exchange-Information
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tickerplant.local.venue.listings import Asset, Listing, price_decimals, quarter_end_ms, with_a_future
from tickerplant.local.venue.numbers import Numbers, numbers_of

NO_DELIVERY_MS: Final = 4_133_404_800_000  # the venue's own value for perpetuals
BTC_DECIMALS: Final = {"spot": (2, 5), "usdm": (1, 3), "coinm": (1, 0)}  # of price, of size
SIZE_DECIMALS: Final = {"spot": 4, "usdm": 2, "coinm": 0}
CONTRACT_USD: Final = {"BTC": 100}
CONTRACT_USD_OTHERS: Final = 10


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market."""
    if market == "spot":
        return [_listing(market, each, 0) for each in assets]
    delivery_ms = quarter_end_ms(now_ms)
    return [_listing(market, each, delivery_ms if is_dated else 0) for each, is_dated in with_a_future(assets)]


def exchange_info(market: str, listed: Iterable[Listing], now_ms: int) -> bytes:
    """Make the instrument list of a market."""
    entries = [_entry(each) for each in listed]
    info = {"timezone": "UTC", "serverTime": now_ms, "rateLimits": _rate_limits(market), "exchangeFilters": []}
    return msgspec.json.encode(info | {"symbols": entries})


def _listing(market: str, asset: Asset, delivery_ms: int) -> Listing:
    is_inverse = market == "coinm"
    quote = "USD" if is_inverse else "USDT"
    return Listing(
        market=market,
        symbol=asset.base + quote + _suffix(market, delivery_ms),
        base=asset.base,
        quote=quote,
        numbers=numbers_of(*_decimals(market, asset)),
        start_price=asset.price,
        is_perpetual=market != "spot" and not delivery_ms,
        delivery_ms=delivery_ms,
        contract=CONTRACT_USD.get(asset.base, CONTRACT_USD_OTHERS) if is_inverse else 1.0,
        is_inverse=is_inverse,
    )


def _decimals(market: str, asset: Asset) -> tuple[int, int]:
    if asset.base == "BTC":
        return BTC_DECIMALS[market]
    return price_decimals(asset.price), SIZE_DECIMALS[market]


def _suffix(market: str, delivery_ms: int) -> str:
    if delivery_ms:
        return f"_{datetime.fromtimestamp(delivery_ms / 1000, UTC):%y%m%d}"
    return "_PERP" if market == "coinm" else ""


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
    state = (
        {"contractStatus": "TRADING", "contractSize": int(listing.contract)}
        if listing.is_inverse
        else {"status": "TRADING"}
    )
    return state | {
        "pair": listing.pair,
        "contractType": "CURRENT_QUARTER" if listing.delivery_ms else "PERPETUAL",
        "deliveryDate": listing.delivery_ms or NO_DELIVERY_MS,
        "marginAsset": listing.base if listing.is_inverse else listing.quote,
        "pricePrecision": listing.numbers.price_decimals,
        "quantityPrecision": 0 if listing.is_inverse else listing.numbers.size_decimals,
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
