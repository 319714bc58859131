"""Bybit v5: instruments-info bodies, or bare names, → Instruments of the markets spot, linear and inverse.

Source: https://bybit-exchange.github.io/docs/v5/market/instrument
"""

import re
from typing import Annotated, Final

import msgspec

from schemas.listing import (
    MALFORMED,
    Contract,
    Listing,
    day_us,
    last_friday_us,
    make_instrument,
    ms_us,
    read_entries,
    size,
)
from schemas.records import AssetClass, Instrument
from schemas.symbology import SymbolError, split_pair

VENUE: Final = "BYBIT"
MARKETS: Final[tuple[str, ...]] = ("spot", "linear", "inverse")
LIST_PATHS: Final[tuple[str, ...]] = ("/v5/market/instruments-info",)
QUOTES: Final = ("USDT", "USDC", "USDE", "USD1", "USDQ", "USDR", "DAI", "BRZ", "EUR", "BRL", "PLN", "TRY", "BTC", "ETH",
                 "MNT", "SOL")  # fmt: skip
MONTHS: Final = dict(zip("FGHJKMNQUVXZ", range(1, 13), strict=True))
DATED_USDC = re.compile(r"(?P<base>[A-Z0-9]+)(?P<quote>USDT)?-(?P<day>\d{1,2}[A-Z]{3}\d\d)")
DATED_INVERSE = re.compile(r"(?P<base>[A-Z0-9]+)USD(?P<month>[FGHJKMNQUVXZ])(?P<year>\d\d)")

CLASSES: Final[dict[str, AssetClass]] = {"stock": "EQUITY", "xstocks": "EQUITY", "commodity": "COMMODITY"}

Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Filter(msgspec.Struct, rename="camel", frozen=True):
    tick_size: str = ""
    qty_step: str = ""
    base_precision: str = ""


class _Entry(msgspec.Struct, rename="camel", frozen=True):
    symbol: Name
    base_coin: Name
    quote_coin: Name
    settle_coin: str = ""
    contract_type: str = ""
    status: str = ""
    delivery_time: str = ""
    symbol_type: str = ""
    price_filter: _Filter = _Filter()
    lot_size_filter: _Filter = _Filter()


class _Result(msgspec.Struct, frozen=True):
    category: str
    list: list[msgspec.Raw]


class _Body(msgspec.Struct, frozen=True):
    result: _Result


_BODY = msgspec.json.Decoder(_Body)
_ENTRY = msgspec.json.Decoder(_Entry)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read an instruments-info body, those that do not trade included.

    Raises:
        ValueError: the body is none, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"Bybit has no market {market}, but {', '.join(MARKETS)}")
    try:
        result = _BODY.decode(body).result
    except MALFORMED as error:
        raise ValueError(f"not an instruments-info body: {error}") from error
    if result.category != market:
        return Listing([], [])
    return read_entries(result.list, lambda raw: _instrument(market, _ENTRY.decode(raw), event_time_us))


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name.

    Raises:
        SymbolError: it is no name of this market.

    >>> assumed_instrument("inverse", "BTCUSDZ26", 0).symbol, assumed_instrument("linear", "BTCPERP", 0).symbol
    ('BTC/USD:20261225', 'BTC/USDC:PERP')
    """
    if market not in MARKETS:
        raise SymbolError(f"{venue_symbol}: Bybit has no market {market}, but {', '.join(MARKETS)}")
    try:
        contract = _named(market, venue_symbol)
    except SymbolError:
        raise
    except ValueError as error:
        raise SymbolError(f"{venue_symbol}: {error}") from None
    return make_instrument((VENUE, market, venue_symbol), contract, event_time_us, is_assumed=True)


def _named(market: str, name: str) -> Contract:
    if market == "spot":
        return Contract(*split_pair(name, QUOTES))
    if market == "linear":
        return _named_linear(name)
    dated = DATED_INVERSE.fullmatch(name)
    if dated:
        expiry_time_us = last_friday_us(2000 + int(dated["year"]), MONTHS[dated["month"]])
        return Contract(dated["base"], "USD", "FUTURE", expiry_time_us, dated["base"], is_inverse=True)
    base, quote = split_pair(name, ("USD",))
    return Contract(base, quote, "PERPETUAL", 0, base, is_inverse=True)


def _named_linear(name: str) -> Contract:
    dated = DATED_USDC.fullmatch(name)
    if dated:
        quote = dated["quote"] or "USDC"
        return Contract(dated["base"], quote, "FUTURE", day_us(dated["day"], "%d%b%y"), quote)
    if name.endswith("PERP"):
        return Contract(name.removesuffix("PERP"), "USDC", "PERPETUAL", 0, "USDC")
    base, quote = split_pair(name, ("USDT", "USDC"))
    return Contract(base, quote, "PERPETUAL", 0, quote)


def _instrument(market: str, entry: _Entry, event_time_us: int) -> Instrument:
    is_spot = market == "spot"
    is_dated = "Futures" in entry.contract_type
    if not (is_spot or (entry.settle_coin and (is_dated or "Perpetual" in entry.contract_type))):
        raise ValueError(f"{entry.symbol}: a contract of type {entry.contract_type[:40]!r} in {entry.settle_coin!r}")
    quote = entry.settle_coin if market == "linear" else entry.quote_coin
    contract = Contract(
        entry.base_coin,
        quote,
        "SPOT" if is_spot else "FUTURE" if is_dated else "PERPETUAL",
        ms_us(entry.delivery_time) if is_dated else 0,
        "" if is_spot else entry.settle_coin,
        is_inverse=market == "inverse",
        asset_class=CLASSES.get(entry.symbol_type, "CRYPTO"),
    )
    return make_instrument(
        (VENUE, market, entry.symbol),
        contract,
        event_time_us,
        tick_size=size(entry.price_filter.tick_size),
        lot_size=size(entry.lot_size_filter.qty_step or entry.lot_size_filter.base_precision),
        is_trading=entry.status == "Trading",
    )
