"""KuCoin: lists of symbols and active contracts, or bare names, → Instruments of the markets spot and futures.

Source: https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-all-symbols
Source: https://www.kucoin.com/docs-new/rest/futures-trading/market-data/get-all-symbols
"""

import re
from typing import Annotated, Final

import msgspec

from schemas.listing import MALFORMED, Contract, Listing, last_friday_us, make_instrument, ms_us, read_entries, size
from schemas.records import Instrument, InstrumentKind
from schemas.symbology import SymbolError, split_pair

VENUE: Final = "KUCOIN"
MARKETS: Final[tuple[str, ...]] = ("spot", "futures")
LIST_PATHS: Final[tuple[str, ...]] = ("/api/v1/symbols", "/api/v2/symbols", "/api/v1/contracts/active")
NAMES: Final = {"XBT": "BTC"}
"""Currencies that the venue calls by other names than the field does."""
MONTHS: Final = dict(zip("FGHJKMNQUVXZ", range(1, 13), strict=True))
DATED = re.compile(r"(?P<base>[A-Z0-9]+?)M(?P<month>[FGHJKMNQUVXZ])(?P<year>\d\d)")
ASSUMED_WORTH: Final = {"BTC": 0.001, "ETH": 0.01}
"""Of a linear contract, where no list tells; 1 of the coin for others."""

Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Pair(msgspec.Struct, rename="camel", frozen=True):
    symbol: Name
    base_currency: Name
    quote_currency: Name
    base_increment: str = ""
    price_increment: str = ""
    enable_trading: bool = True


class _Futures(msgspec.Struct, rename="camel", frozen=True):
    symbol: Name
    base_currency: Name
    quote_currency: Name
    settle_currency: str = ""
    type: str = ""
    expire_date: int | None = None
    multiplier: float = 1.0
    lot_size: float = 0.0
    tick_size: float = 0.0
    is_inverse: bool = False
    status: str = ""


class _Body(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]


_BODY = msgspec.json.Decoder(_Body)
_PAIR = msgspec.json.Decoder(_Pair)
_FUTURES = msgspec.json.Decoder(_Futures)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read a list of symbols or contracts, those that do not trade included.

    Raises:
        ValueError: the body is none, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"KuCoin has no market {market}, but {', '.join(MARKETS)}")
    try:
        entries = _BODY.decode(body).data
    except MALFORMED as error:
        raise ValueError(f"not a list of symbols or contracts: {error}") from error
    if market == "spot":
        return read_entries(entries, lambda raw: _pair(_PAIR.decode(raw), event_time_us))
    return read_entries(entries, lambda raw: _futures(_FUTURES.decode(raw), event_time_us))


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name; what a contract is worth is known for the large ones only.

    Raises:
        SymbolError: it is no name of this market.

    >>> [assumed_instrument("futures", name, 0).symbol for name in ("XBTUSDTM", "XBTUSDM", "XBTMZ26")]
    ['BTC/USDT:PERP', 'BTC/USD:PERP', 'BTC/USD:20261225']
    """
    if market not in MARKETS:
        raise SymbolError(f"{venue_symbol}: KuCoin has no market {market}, but {', '.join(MARKETS)}")
    contract = _named_pair(venue_symbol) if market == "spot" else _named_futures(venue_symbol)
    return make_instrument((VENUE, market, venue_symbol), contract, event_time_us, is_assumed=True)


def is_inverse(name: str) -> bool:
    """Tell by its name whether a contract counts in USD.

    >>> is_inverse("XBTUSDM"), is_inverse("XBTMZ26"), is_inverse("XBTUSDTM")
    (True, True, False)
    """
    return name.endswith("USDM") or DATED.fullmatch(name) is not None


def _named_pair(name: str) -> Contract:
    base, dash, quote = name.rpartition("-")
    if not (dash and base and quote):
        raise SymbolError(f"{name[:40]!r} is not BASE-QUOTE")
    return Contract(_usual(base), _usual(quote))


def _named_futures(name: str) -> Contract:
    dated = DATED.fullmatch(name)
    if dated and not name.endswith("USDM"):
        base = _usual(dated["base"])
        expiry_time_us = last_friday_us(2000 + int(dated["year"]), MONTHS[dated["month"]])
        return Contract(base, "USD", "FUTURE", expiry_time_us, base, is_inverse=True)
    if not name.endswith("M"):
        raise SymbolError(f"{name[:40]!r} is no contract")
    base, quote = split_pair(name[:-1], ("USDT", "USDC", "USD"))
    base = _usual(base)
    if quote == "USD":
        return Contract(base, quote, "PERPETUAL", 0, base, is_inverse=True)
    return Contract(base, quote, "PERPETUAL", 0, quote, multiplier=ASSUMED_WORTH.get(base, 1.0))


def _pair(entry: _Pair, event_time_us: int) -> Instrument:
    return make_instrument(
        (VENUE, "spot", entry.symbol),
        Contract(_usual(entry.base_currency), _usual(entry.quote_currency)),
        event_time_us,
        tick_size=size(entry.price_increment),
        lot_size=size(entry.base_increment),
        is_trading=entry.enable_trading,
    )


def _futures(entry: _Futures, event_time_us: int) -> Instrument:
    """Make a contract; the multiplier of inverse ones is negative."""
    kind: InstrumentKind = "FUTURE" if entry.expire_date else "PERPETUAL"
    contract = Contract(
        _usual(entry.base_currency),
        _usual(entry.quote_currency),
        kind,
        ms_us(entry.expire_date or 0),
        _usual(entry.settle_currency),
        multiplier=abs(entry.multiplier),
        is_inverse=entry.is_inverse,
    )
    return make_instrument(
        (VENUE, "futures", entry.symbol),
        contract,
        event_time_us,
        tick_size=size(entry.tick_size),
        lot_size=size(entry.lot_size),
        is_trading=entry.status in {"Open", ""},
    )


def _usual(currency: str) -> str:
    return NAMES.get(currency, currency)
