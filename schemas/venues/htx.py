"""HTX: lists of symbols and contracts, or bare names, → Instruments of the markets spot, linear and coin.

Source: https://www.htx.com/en-us/opend/newApiPages/?id=7ec516fc-7773-11ed-9966-0242ac110003
Source: https://www.htx.com/en-us/opend/newApiPages/?id=8cb7189d-77b5-11ed-9966-0242ac110003
"""

import re
from typing import Annotated, Final

import msgspec

from schemas.listing import MALFORMED, Contract, Listing, day_us, make_instrument, ms_us, read_entries, size
from schemas.records import Instrument, InstrumentKind
from schemas.symbology import SymbolError, split_pair

VENUE: Final = "HTX"
MARKETS: Final[tuple[str, ...]] = ("spot", "linear", "coin")
LIST_PATHS: Final[tuple[str, ...]] = (
    "/v1/common/symbols", "/linear-swap-api/v1/swap_contract_info", "/swap-api/v1/swap_contract_info",
)  # fmt: skip
QUOTES: Final = (
    "USDT",
    "USDC",
    "USDD",
    "HUSD",
    "TUSD",
    "BTC",
    "ETH",
    "HT",
    "TRX",
    "EUR",
    "EURT",
    "GBP",
    "BRL",
    "TRY",
    "UAH",
)
CONTRACT = re.compile(r"(?P<base>[A-Z0-9]+)-(?P<quote>USDT|USD)(-(?P<day>\d{6}))?")
ASSUMED_COIN_USD: Final = {"BTC": 100.0}
ASSUMED_COIN_USD_OTHERS: Final = 10.0
ASSUMED_LINEAR: Final = {"BTC": 0.001, "ETH": 0.01}
"""Base currency of a contract, where no list tells; 1 for others."""

Name = Annotated[str, msgspec.Meta(min_length=1)]
Digits = Annotated[int, msgspec.Meta(ge=0, le=30)]


class _Pair(msgspec.Struct, rename="kebab", frozen=True):
    symbol: Name
    base_currency: Name
    quote_currency: Name
    price_precision: Digits | None = None
    amount_precision: Digits | None = None
    state: str = ""


class _Swap(msgspec.Struct, frozen=True):
    symbol: Name
    contract_code: Name
    contract_size: float
    price_tick: float = 0.0
    delivery_time: str = ""
    contract_status: int = 0


class _Body(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]


_BODY = msgspec.json.Decoder(_Body)
_PAIR = msgspec.json.Decoder(_Pair)
_SWAP = msgspec.json.Decoder(_Swap)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read a list of symbols or contracts, those that do not trade included.

    Raises:
        ValueError: the body is none, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"HTX has no market {market}, but {', '.join(MARKETS)}")
    try:
        entries = _BODY.decode(body).data
    except MALFORMED as error:
        raise ValueError(f"not a list of symbols or contracts: {error}") from error
    if market == "spot":
        return read_entries(entries, lambda raw: _pair(_PAIR.decode(raw), event_time_us))
    return read_entries(entries, lambda raw: _swap(market, _SWAP.decode(raw), event_time_us))


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name; what a contract is worth is known for the large ones only.

    Raises:
        SymbolError: it is no name of this market.

    >>> assumed_instrument("spot", "btcusdt", 0).symbol, assumed_instrument("coin", "BTC-USD", 0).symbol
    ('BTC/USDT', 'BTC/USD:PERP')
    """
    if market not in MARKETS:
        raise SymbolError(f"{venue_symbol}: HTX has no market {market}, but {', '.join(MARKETS)}")
    if market == "spot":
        if "-" in venue_symbol:
            raise SymbolError(f"{venue_symbol[:40]!r} is a contract, none of the market spot")
        contract = Contract(*split_pair(venue_symbol.upper(), QUOTES))
    else:
        contract = _named(venue_symbol, None)
        if contract.is_inverse != (market == "coin"):
            raise SymbolError(f"{venue_symbol} is none of the market {market}")
    return make_instrument((VENUE, market, venue_symbol), contract, event_time_us, is_assumed=True)


def _named(name: str, worth: float | None) -> Contract:
    """Read the name of a contract; worth None = what is usual."""
    found = CONTRACT.fullmatch(name)
    if found is None:
        raise SymbolError(f"{name[:40]!r} is no contract")
    base, quote = found["base"], found["quote"]
    try:
        expiry_time_us = day_us(found["day"]) if found["day"] else 0
    except ValueError as error:
        raise SymbolError(f"{name}: {error}") from None
    kind: InstrumentKind = "FUTURE" if expiry_time_us else "PERPETUAL"
    if quote == "USD":
        usual = ASSUMED_COIN_USD.get(base, ASSUMED_COIN_USD_OTHERS)
        return Contract(base, quote, kind, expiry_time_us, base, multiplier=worth or usual, is_inverse=True)
    return Contract(base, quote, kind, expiry_time_us, quote, multiplier=worth or ASSUMED_LINEAR.get(base, 1.0))


def _pair(entry: _Pair, event_time_us: int) -> Instrument:
    return make_instrument(
        (VENUE, "spot", entry.symbol),
        Contract(entry.base_currency.upper(), entry.quote_currency.upper()),
        event_time_us,
        tick_size=_step(entry.price_precision),
        lot_size=_step(entry.amount_precision),
        is_trading=entry.state == "online",
    )


def _swap(market: str, entry: _Swap, event_time_us: int) -> Instrument:
    contract = _named(entry.contract_code, entry.contract_size)
    if contract.kind == "FUTURE":
        contract = contract._replace(expiry_time_us=ms_us(entry.delivery_time) or contract.expiry_time_us)
    return make_instrument(
        (VENUE, market, entry.contract_code),
        contract,
        event_time_us,
        tick_size=size(entry.price_tick),
        lot_size=1.0,
        is_trading=entry.contract_status == 1,
    )


def _step(digits: int | None) -> float | None:
    return None if digits is None else float(f"1e-{digits}")
