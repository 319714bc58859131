"""Coinbase: product lists, or bare names, → Instruments of the feeds `exchange` and `advanced`.

Both feeds tell of the same spot books, under the same names: capture one of them. Derivatives are on `advanced` alone.
Source: https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducts
Source: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products
"""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from schemas.listing import MALFORMED, Contract, Listing, make_instrument, ms_us, read_entries, size
from schemas.records import Instrument
from schemas.symbology import SymbolError

VENUE: Final = "COINBASE"
MARKETS: Final[tuple[str, ...]] = ("exchange", "advanced")
LIST_PATHS: Final[tuple[str, ...]] = ("/products",)
PERPETUAL_SUFFIX: Final = "-PERP-INTX"
PERPETUAL_QUOTE: Final = "USDC"

Name = Annotated[str, msgspec.Meta(min_length=1)]
Code = Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]*$")]
Expiry = Annotated[str, msgspec.Meta(pattern="Z$")]


class _Product(msgspec.Struct, frozen=True):
    """One entry of the Exchange list."""

    id: Name
    base_currency: Name
    quote_currency: Name
    quote_increment: str = ""
    base_increment: str = ""
    status: str = "online"
    trading_disabled: bool = False


class _Future(msgspec.Struct, frozen=True):
    """What `advanced` tells of a derivative."""

    contract_root_unit: Name
    contract_size: str
    contract_code: Code = ""
    contract_expiry: Expiry | None = None
    contract_expiry_type: str = ""


class _AdvancedProduct(msgspec.Struct, frozen=True):
    """One entry of the Advanced Trade list; `alias` = the product whose book it shows."""

    product_id: Name
    quote_currency_id: Name
    base_currency_id: str = ""
    product_type: str = "SPOT"
    price_increment: str = ""
    base_increment: str = ""
    alias: str = ""
    trading_disabled: bool = False
    is_disabled: bool = False
    view_only: bool = False
    future_product_details: _Future | None = None


class _AdvancedList(msgspec.Struct, frozen=True):
    products: list[msgspec.Raw]


_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_PRODUCT = msgspec.json.Decoder(_Product)
_ADVANCED_LIST = msgspec.json.Decoder(_AdvancedList)
_ADVANCED_PRODUCT = msgspec.json.Decoder(_AdvancedProduct)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read a product list, those that do not trade included; aliases (BTC-USDC of BTC-USD) are left out.

    Raises:
        ValueError: the body is no product list, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"Coinbase has no market {market}, but {', '.join(MARKETS)}")
    try:
        if market == "exchange":
            return read_entries(_LIST.decode(body), lambda raw: _product(_PRODUCT.decode(raw), event_time_us))
        products = _ADVANCED_LIST.decode(body).products
    except MALFORMED as error:
        raise ValueError(f"not a product list: {error}") from error
    return read_entries(products, lambda raw: _advanced_product(_ADVANCED_PRODUCT.decode(raw), event_time_us))


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name; what a dated future is of, the list alone tells.

    Raises:
        SymbolError: it is neither BASE-QUOTE nor BASE-PERP-INTX.

    >>> assumed_instrument("advanced", "BTC-PERP-INTX", 0).symbol
    'BTC/USDC:PERP'
    """
    if market not in MARKETS:
        raise SymbolError(f"{venue_symbol}: Coinbase has no market {market}, but {', '.join(MARKETS)}")
    place = (VENUE, market, venue_symbol)
    if market == "advanced" and venue_symbol.endswith(PERPETUAL_SUFFIX):
        base = venue_symbol.removesuffix(PERPETUAL_SUFFIX)
        contract = Contract(base, PERPETUAL_QUOTE, "PERPETUAL", settle=PERPETUAL_QUOTE)
        return make_instrument(place, contract, event_time_us, is_assumed=True)
    base, _, quote = venue_symbol.partition("-")
    if not quote or "-" in quote:
        raise SymbolError(f"{venue_symbol[:40]}: not BASE-QUOTE; only an instrument list tells what it is")
    return make_instrument(place, Contract(base, quote), event_time_us, is_assumed=True)


def _product(entry: _Product, event_time_us: int) -> Instrument:
    return make_instrument(
        (VENUE, "exchange", entry.id),
        Contract(entry.base_currency, entry.quote_currency),
        event_time_us,
        tick_size=size(entry.quote_increment),
        lot_size=size(entry.base_increment),
        is_trading=entry.status == "online" and not entry.trading_disabled,
    )


def _advanced_product(entry: _AdvancedProduct, event_time_us: int) -> Instrument:
    if entry.alias:
        raise ValueError(f"the same book as {entry.alias}: capture that one")
    return make_instrument(
        (VENUE, "advanced", entry.product_id),
        _contract(entry),
        event_time_us,
        tick_size=size(entry.price_increment),
        lot_size=size(entry.base_increment),
        is_trading=not (entry.trading_disabled or entry.is_disabled or entry.view_only),
    )


def _contract(entry: _AdvancedProduct) -> Contract:
    """Tell what a product is; contracts of one underlying and expiry differ in size, so their code is in the symbol."""
    future, quote = entry.future_product_details, entry.quote_currency_id
    if entry.product_type == "SPOT":
        return Contract(entry.base_currency_id, quote)
    if entry.product_type != "FUTURE" or future is None:
        raise ValueError(f"product type {entry.product_type} is not known")
    base, worth = future.contract_root_unit, float(future.contract_size)
    if future.contract_expiry_type == "PERPETUAL":
        return Contract(base, quote, "PERPETUAL", settle=quote, multiplier=worth)
    if not future.contract_code:
        raise ValueError(f"{entry.product_id}: a future without a code")
    expiry_ms = int(datetime.fromisoformat(future.contract_expiry or "").timestamp()) * 1000
    return Contract(base, quote, "FUTURE", ms_us(expiry_ms), quote, multiplier=worth, suffix=future.contract_code)
