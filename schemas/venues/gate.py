"""Gate v4: lists of pairs and contracts, or bare names, → Instruments of spot, futures (USDT), inverse and delivery.

Source: https://www.gate.io/docs/developers/apiv4/#list-all-currency-pairs-supported
Source: https://www.gate.io/docs/developers/apiv4/#list-all-futures-contracts
Source: https://www.gate.io/docs/developers/apiv4/#delivery
"""

import re
from typing import Annotated, Any, Final

import msgspec

from schemas.listing import MALFORMED, Contract, Listing, day_us, make_instrument, read_entries, size
from schemas.records import Instrument, InstrumentKind
from schemas.symbology import SymbolError

VENUE: Final = "GATE"
MARKETS: Final[tuple[str, ...]] = ("spot", "futures", "inverse", "delivery")
LIST_PATHS: Final[tuple[str, ...]] = (
    "/spot/currency_pairs", "/futures/usdt/contracts", "/futures/btc/contracts", "/delivery/usdt/contracts",
)  # fmt: skip
NAME = re.compile(r"(?P<base>[^_]+)_(?P<quote>[A-Z0-9]+?)(_(?P<day>\d{8}))?")
ASSUMED_WORTH: Final = {"BTC_USDT": 0.0001, "ETH_USDT": 0.01}
"""Of a contract, where no list tells; 1 of the base currency for others, 1 USD for inverse ones."""

Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Pair(msgspec.Struct, frozen=True):
    id: Name
    base: Name
    quote: Name
    precision: Annotated[int, msgspec.Meta(ge=0, le=30)] | None = None
    amount_precision: Annotated[int, msgspec.Meta(ge=0, le=30)] | None = None
    trade_status: str = ""


class _Futures(msgspec.Struct, frozen=True):
    name: Name
    type: str = "direct"
    quanto_multiplier: str = ""
    order_price_round: str = ""
    in_delisting: bool = False
    order_size_min: Any = None


_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_PAIR = msgspec.json.Decoder(_Pair)
_FUTURES = msgspec.json.Decoder(_Futures)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read a list of pairs or contracts, those that do not trade included.

    Raises:
        ValueError: the body is none, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"Gate has no market {market}, but {', '.join(MARKETS)}")
    try:
        entries = _LIST.decode(body)
    except MALFORMED as error:
        raise ValueError(f"not a list of pairs or contracts: {error}") from error
    if market == "spot":
        return read_entries(entries, lambda raw: _pair(_PAIR.decode(raw), event_time_us))
    return read_entries(entries, lambda raw: _futures(market, _FUTURES.decode(raw), event_time_us))


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name; what a contract is worth is known for the large ones only.

    Raises:
        SymbolError: it is no name of this market.

    >>> assumed_instrument("inverse", "BTC_USD", 0).symbol, assumed_instrument("futures", "BTC_USDT_20261225", 0).symbol
    ('BTC/USD:PERP', 'BTC/USDT:20261225')
    """
    if market not in MARKETS:
        raise SymbolError(f"{venue_symbol}: Gate has no market {market}, but {', '.join(MARKETS)}")
    worth = ASSUMED_WORTH.get("_".join(venue_symbol.split("_")[:2]), 1.0)  # dated ones as the perpetual
    contract = _named(market, venue_symbol, worth, is_inverse=is_inverse(venue_symbol))
    is_other = contract.is_inverse != (market == "inverse") or (market == "delivery" and contract.kind != "FUTURE")
    if market != "spot" and is_other:
        raise SymbolError(f"{venue_symbol} is none of the market {market}")
    return make_instrument((VENUE, market, venue_symbol), contract, event_time_us, is_assumed=True)


def is_inverse(name: str) -> bool:
    """Tell by its name whether a contract counts in USD: of BTC; others against USD are settled in BTC too (quanto).

    >>> is_inverse("BTC_USD"), is_inverse("BTC_USD_20261225"), is_inverse("BTC_USDT"), is_inverse("ETH_USD")
    (True, True, False, False)
    """
    found = NAME.fullmatch(name)
    return found is not None and (found["base"], found["quote"]) == ("BTC", "USD")


def _named(market: str, name: str, worth: float, *, is_inverse: bool) -> Contract:
    found = NAME.fullmatch(name)
    if found is None:
        raise SymbolError(f"{name[:40]!r} is not BASE_QUOTE")
    base, quote = found["base"], found["quote"]
    if market == "spot":
        return Contract(base, quote)
    try:
        expiry_time_us = day_us(found["day"], "%Y%m%d") if found["day"] else 0
    except ValueError as error:
        raise SymbolError(f"{name}: {error}") from None
    if quote == "USD" and not is_inverse:
        raise SymbolError(f"{name[:40]} is a quanto contract: what it is worth of {base} changes with the price of BTC")
    kind: InstrumentKind = "FUTURE" if expiry_time_us else "PERPETUAL"
    settle = base if is_inverse else quote
    return Contract(base, quote, kind, expiry_time_us, settle, multiplier=worth, is_inverse=is_inverse)


def _pair(entry: _Pair, event_time_us: int) -> Instrument:
    return make_instrument(
        (VENUE, "spot", entry.id),
        Contract(entry.base, entry.quote),
        event_time_us,
        tick_size=_step(entry.precision),
        lot_size=_step(entry.amount_precision),
        is_trading=entry.trade_status in {"tradable", "buyable", "sellable"},
    )


def _futures(market: str, entry: _Futures, event_time_us: int) -> Instrument:
    """Make a contract; a multiplier of 0 stands for 1 USD (BTC_USD)."""
    return make_instrument(
        (VENUE, market, entry.name),
        _named(market, entry.name, size(entry.quanto_multiplier) or 1.0, is_inverse=entry.type == "inverse"),
        event_time_us,
        tick_size=size(entry.order_price_round),
        lot_size=1.0,
        is_trading=not entry.in_delisting,
    )


def _step(digits: int | None) -> float | None:
    return None if digits is None else float(f"1e-{digits}")
