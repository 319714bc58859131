"""Deribit: public/get_instruments bodies, or bare names, → Instruments of the markets futures, options and spot.

Names are the same in all markets, so that one session may hold several. Amounts of inverse futures are in USD, all
others in base currency, so no contract is worth more than 1. The volatility index DVOL, which no list names, is listed
with the options it is made of, as `btc_usd`. Combos are left out: their prices may be negative.
Source: https://docs.deribit.com/api-reference/market-data/public-get_instruments
"""

import re
from typing import Annotated, Final

import msgspec

from schemas.listing import MALFORMED, Contract, Listing, day_us, make_instrument, ms_us, read_entries, size
from schemas.records import Instrument
from schemas.symbology import SymbolError

VENUE: Final = "DERIBIT"
MARKETS: Final[tuple[str, ...]] = ("futures", "options", "spot")
LIST_PATHS: Final[tuple[str, ...]] = ("/public/get_instruments",)
VOLATILITY_INDICES: Final = {"BTC": "btc_usd", "ETH": "eth_usd"}
VOLATILITY_SUFFIX: Final = "DVOL"
COMBOS: Final = frozenset({"future_combo", "option_combo"})
USD: Final = "USD"
NAME = re.compile(
    r"(?P<base>[A-Z0-9]+)(_(?P<quote>[A-Z0-9]+))?"
    r"(-((?P<perpetual>PERPETUAL)|(?P<day>\d{1,2}[A-Z]{3}\d{2})(-(?P<strike>\d+(d\d+)?)-(?P<right>[CP]))?))?"
)
INDEX_NAME = re.compile(r"(?P<base>[a-z0-9]+)_(?P<quote>[a-z0-9]+)")

Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Entry(msgspec.Struct, frozen=True):
    """An instrument; counter currency and instrument type came in 2022."""

    instrument_name: Name
    kind: Name
    base_currency: Name
    quote_currency: Name
    counter_currency: str = ""
    settlement_currency: str = ""
    instrument_type: str = ""
    future_type: str = ""
    expiration_timestamp: int = 0  # ms
    tick_size: float = 0.0
    min_trade_amount: float = 0.0
    is_active: bool = True


class _Body(msgspec.Struct, frozen=True):
    result: list[msgspec.Raw]


_BODY = msgspec.json.Decoder(_Body)
_ENTRY = msgspec.json.Decoder(_Entry)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read a get_instruments body, whatever it lists, those that do not trade included; with DVOL behind its options.

    Raises:
        ValueError: the body is none, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"Deribit has no market {market}, but {', '.join(MARKETS)}")
    try:
        entries = _BODY.decode(body).result
    except MALFORMED as error:
        raise ValueError(f"not a get_instruments body: {error}") from error
    listing = read_entries(entries, lambda raw: _instrument(market, _ENTRY.decode(raw), event_time_us))
    bases = {each.base for each in listing.instruments if each.kind == "OPTION" and each.settle == each.base}
    names = [name for base, name in VOLATILITY_INDICES.items() if base in bases]
    listing.instruments.extend(_volatility_index(market, name, event_time_us) for name in names)
    return listing


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name.

    Raises:
        SymbolError: it is no name of Deribit, or that of a combo.

    >>> assumed_instrument("options", "MATIC_USDC-9MAR24-1d02-C", 0).symbol
    'MATIC/USDC:20240309:1.02:C'
    """
    if market not in MARKETS:
        raise SymbolError(f"{venue_symbol}: Deribit has no market {market}, but {', '.join(MARKETS)}")
    if INDEX_NAME.fullmatch(venue_symbol):
        return _volatility_index(market, venue_symbol, event_time_us, is_assumed=True)
    place = (VENUE, market, venue_symbol)
    return make_instrument(place, _contract(venue_symbol, None), event_time_us, is_assumed=True)


def _instrument(market: str, entry: _Entry, event_time_us: int) -> Instrument:
    if entry.kind in COMBOS:
        raise ValueError(f"{entry.instrument_name} is a combo, whose prices may be negative")
    return make_instrument(
        (VENUE, market, entry.instrument_name),
        _contract(entry.instrument_name, entry),
        event_time_us,
        tick_size=size(entry.tick_size),
        lot_size=size(entry.min_trade_amount),
        is_trading=entry.is_active,
    )


def _contract(name: str, entry: _Entry | None) -> Contract:
    """Tell what an instrument is by its name, and where there is an entry, by that."""
    found = NAME.fullmatch(name)
    if found is None:
        raise SymbolError(f"{name[:40]!r} is no future, option or spot pair of Deribit")
    base, quote = found["base"], found["quote"] or USD
    if not (found["perpetual"] or found["day"]):
        if not found["quote"]:
            raise SymbolError(f"{name[:40]!r} names no second currency")
        return Contract(base, quote)
    settle, is_linear = quote if found["quote"] else base, bool(found["quote"])
    if entry is not None:
        base, settle = entry.base_currency, entry.settlement_currency or settle
        quote = entry.counter_currency or quote
        is_linear = "linear" in {entry.instrument_type, entry.future_type} if entry.counter_currency else is_linear
    if found["perpetual"]:
        return Contract(base, quote, "PERPETUAL", settle=settle, is_inverse=not is_linear)
    try:
        expiry_time_us = ms_us(entry.expiration_timestamp) if entry else day_us(found["day"], "%d%b%y")
    except ValueError as error:
        raise SymbolError(f"{name[:40]}: {error}") from None
    if found["strike"]:
        strike = found["strike"].replace("d", ".")
        return Contract(base, quote, "OPTION", expiry_time_us, settle, strike, found["right"])
    return Contract(base, quote, "FUTURE", expiry_time_us, settle, is_inverse=not is_linear)


def _volatility_index(market: str, name: str, event_time_us: int, *, is_assumed: bool = False) -> Instrument:
    base, _, quote = name.upper().partition("_")
    contract = Contract(base, quote, "INDEX", suffix=VOLATILITY_SUFFIX)
    return make_instrument((VENUE, market, name), contract, event_time_us, is_assumed=is_assumed)
