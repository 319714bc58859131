"""Kraken: AssetPairs and futures instruments bodies, or names, → Instruments of the markets spot, spot_v1, futures.

Both spot markets are the same pairs, under the names that each WebSocket API gives them: XBT/USD the first, BTC/USD the
second. Of two futures that are alike the inverse one has its currency of settlement in its symbol.
Source: https://docs.kraken.com/api/docs/rest-api/get-tradable-asset-pairs
Source: https://docs.kraken.com/api/docs/futures-api/trading/get-instruments
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from schemas.listing import MALFORMED, Contract, Listing, day_us, make_instrument, ms_us, read_entries, size
from schemas.records import AssetClass, Instrument
from schemas.symbology import SymbolError, split_pair

VENUE: Final = "KRAKEN"
MARKETS: Final[tuple[str, ...]] = ("spot", "spot_v1", "futures")
LIST_PATHS: Final[tuple[str, ...]] = ("/public/AssetPairs", "/api/v3/instruments")
ALIASES: Final = {"XBT": "BTC", "XDG": "DOGE"}
FIAT: Final = frozenset({"USD", "EUR", "GBP", "CAD", "JPY", "AUD", "CHF", "AED"})
TRADING: Final = frozenset({"", "online", "limit_only", "reduce_only"})  # lists of 2021 tell no status
FUTURE: Final = re.compile(r"(?P<life>[PF])(?P<sort>[IFV])_(?P<pair>[A-Z0-9]+?)(_(?P<day>\d{6}))?")
FUTURES_QUOTES: Final = ("USDT", "USDC", "USD", "EUR", "GBP", "XBT", "ETH")
EXPIRY_HOUR: Final = 16  # 16:00 in London
MOST_DECIMALS: Final = 30

Name = Annotated[str, msgspec.Meta(min_length=1)]
Decimals = Annotated[int, msgspec.Meta(ge=-MOST_DECIMALS, le=MOST_DECIMALS)]


class _Pair(msgspec.Struct, frozen=True):
    wsname: str = ""
    aclass_base: str = ""
    pair_decimals: Decimals | None = None
    lot_decimals: Decimals | None = None
    tick_size: str = ""
    status: str = ""


class _Pairs(msgspec.Struct, frozen=True):
    result: dict[str, msgspec.Raw]


class _Future(msgspec.Struct, frozen=True, rename="camel"):
    symbol: Name
    type: str = ""
    tradeable: bool = True
    base: str = ""
    quote: str = ""
    last_trading_time: str = ""
    tick_size: float = 0.0
    contract_size: float = 1.0
    contract_value_trade_precision: Decimals | None = None


class _Futures(msgspec.Struct, frozen=True):
    instruments: list[msgspec.Raw]


_PAIRS = msgspec.json.Decoder(_Pairs)
_PAIR = msgspec.json.Decoder(_Pair)
_FUTURES = msgspec.json.Decoder(_Futures)
_FUTURE = msgspec.json.Decoder(_Future)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read an AssetPairs body, or a futures one; pairs without a name of the WebSocket API and indices are left out.

    Raises:
        ValueError: the body is none, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"Kraken has no market {market}, but {', '.join(MARKETS)}")
    try:
        if market == "futures":
            entries = _FUTURES.decode(body).instruments
            return read_entries(entries, lambda raw: _future(_FUTURE.decode(raw), event_time_us))
        pairs = _PAIRS.decode(body).result
    except MALFORMED as error:
        raise ValueError(f"not a list of Kraken's market {market}: {error}") from error
    return read_entries(pairs.values(), lambda raw: _pair(market, _PAIR.decode(raw), event_time_us))


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name.

    Raises:
        SymbolError: it is no name of this market.

    >>> assumed_instrument("spot_v1", "XBT/USD", 0).symbol, assumed_instrument("futures", "PI_XBTUSD", 0).symbol
    ('BTC/USD', 'BTC/USD:PERP:BTC')
    """
    if market not in MARKETS:
        raise SymbolError(f"{venue_symbol[:40]}: Kraken has no market {market}, but {', '.join(MARKETS)}")
    try:
        contract = _future_contract(venue_symbol) if market == "futures" else _pair_contract(venue_symbol)
        return make_instrument((VENUE, market, venue_symbol), contract, event_time_us, is_assumed=True)
    except ValueError as error:
        raise SymbolError(f"{venue_symbol[:40]}: {error}") from None


def _pair(market: str, entry: _Pair, event_time_us: int) -> Instrument | None:
    if not entry.wsname:  # of a dark pool
        return None
    contract = _pair_contract(entry.wsname, entry.aclass_base)
    name = entry.wsname if market == "spot_v1" else f"{contract.base}/{contract.quote}"
    return make_instrument(
        (VENUE, market, name),
        contract,
        event_time_us,
        tick_size=size(entry.tick_size) or _unit(entry.pair_decimals),
        lot_size=_unit(entry.lot_decimals),
        is_trading=entry.status in TRADING,
    )


def _pair_contract(name: str, asset_class: str = "") -> Contract:
    base, _, quote = name.partition("/")
    if not (base and quote):
        raise SymbolError(f"{name[:40]} is not BASE/QUOTE")
    base, quote = ALIASES.get(base, base), ALIASES.get(quote, quote)
    kind: AssetClass = "FOREX" if {base, quote} <= FIAT else "CRYPTO"
    return Contract(base, quote, asset_class="EQUITY" if asset_class == "tokenized_asset" else kind)


def _future(entry: _Future, event_time_us: int) -> Instrument | None:
    """Make an instrument; names are told in small letters by lists of 2021, and taken so by the WebSocket API."""
    if "index" in entry.type:
        return None
    name = entry.symbol.upper()
    contract = _future_contract(name, entry)
    return make_instrument(
        (VENUE, "futures", name),
        contract,
        event_time_us,
        tick_size=size(entry.tick_size),
        lot_size=_unit(entry.contract_value_trade_precision),
        is_trading=entry.tradeable,
    )


def _future_contract(name: str, entry: _Future | None = None) -> Contract:
    """Tell a contract by its name: P(erpetual) or F(uture); I(nverse), F(lexible: linear, in USD) or V(anilla)."""
    found = FUTURE.fullmatch(name)
    if found is None or (found["life"] == "F") != bool(found["day"]):
        raise SymbolError(f"{name[:40]} is no name of a future")
    base, quote = (entry.base, entry.quote) if entry and entry.base else split_pair(found["pair"], FUTURES_QUOTES)
    base, quote = ALIASES.get(base, base), ALIASES.get(quote, quote)
    is_inverse = found["sort"] == "I"
    settle = base if is_inverse else "USD" if found["sort"] == "F" else quote
    expiry_time_us = 0
    if found["day"]:
        told = entry.last_trading_time if entry else ""
        expiry_time_us = _instant_us(told) if told else day_us(found["day"], hour=EXPIRY_HOUR)
    return Contract(
        base,
        quote,
        "FUTURE" if found["day"] else "PERPETUAL",
        expiry_time_us,
        settle,
        multiplier=entry.contract_size if entry else 1.0,
        is_inverse=is_inverse,
        suffix=settle if is_inverse else "",
    )


def _instant_us(text: str) -> int:
    instant = datetime.fromisoformat(text)
    return ms_us(int(instant.replace(tzinfo=instant.tzinfo or UTC).timestamp()) * 1000)


def _unit(decimals: int | None) -> float | None:
    """Tell the smallest step of so many decimals; None = not told."""
    return None if decimals is None else float(f"1e{-decimals}")
