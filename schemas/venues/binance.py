"""Binance: exchangeInfo bodies, or bare names, → Instruments of the markets spot, usdm and coinm.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Exchange-Information
Source: https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Exchange-Information
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from schemas.listing import FIRST_MS, LAST_MS, MALFORMED, MOST_SIZE, Listing, read_entries, size
from schemas.records import AssetClass, Instrument, InstrumentKind
from schemas.symbology import SymbolError, canonical_symbol, split_pair

VENUE: Final = "BINANCE"
MARKETS: Final[tuple[str, ...]] = ("spot", "usdm", "coinm")
LIST_PATHS: Final[tuple[str, ...]] = ("/exchangeInfo",)
SPOT_QUOTES: Final = (
    "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "RLUSD", "USD1", "USDP", "USDS", "USD", "U", "DAI", "PAX", "UST", "VAI",
    "BTC", "ETH", "BNB", "SOL", "XRP", "TRX", "DOGE", "DOT",
    "AEUR", "EURI", "EUR", "TRY", "GBP", "AUD", "BRL", "RUB", "UAH", "NGN", "ZAR", "JPY", "MXN", "PLN", "RON", "ARS",
    "COP", "CZK", "IDRT", "BIDR", "IDR", "BKRW", "BVND", "GYEN",
)  # fmt: skip
QUOTES: Final = {
    "spot": SPOT_QUOTES,
    "usdm": ("USDT", "USDC", "FDUSD", "BUSD", "USD1", "BTC"),
    "coinm": ("USD",),  # TUSD among them would read DOTUSD_PERP as DO/TUSD
}
COINM_CONTRACT_USD: Final = {"BTC": 100.0}  # all other bases:
COINM_CONTRACT_USD_OTHERS: Final = 10.0
EXPIRY_HOUR: Final = 8  # dated futures are delivered at 08:00 UTC
DATED = re.compile(r"(?P<pair>.+)_(?P<day>\d{6})")
PERPETUAL_SUFFIX: Final = "_PERP"
CLASSES: Final[dict[str, AssetClass]] = {"EQUITY": "EQUITY", "COMMODITY": "COMMODITY", "FOREX": "FOREX"}


Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Filter(msgspec.Struct, rename="camel", frozen=True):
    filter_type: str = ""
    tick_size: str = ""
    step_size: str = ""


class _Entry(msgspec.Struct, rename="camel", frozen=True):
    """One symbol of a list; fields that a market does not have keep their defaults."""

    symbol: Name
    base_asset: Name
    quote_asset: Name
    margin_asset: str = ""
    status: str = ""  # spot, USD-M
    contract_status: str = ""  # COIN-M
    contract_type: str = ""
    delivery_date: int = 0  # ms
    contract_size: Annotated[float, msgspec.Meta(gt=0, le=MOST_SIZE)] | None = None  # COIN-M
    underlying_type: str = ""
    filters: list[_Filter] = []


class _List(msgspec.Struct, frozen=True):
    symbols: list[msgspec.Raw]


_LIST = msgspec.json.Decoder(_List)
_ENTRY = msgspec.json.Decoder(_Entry)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read an exchangeInfo body, in its order, those that do not trade included; entries of unknown shape are left out.

    Raises:
        ValueError: the body is no exchangeInfo, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"Binance has no market {market}, but {', '.join(MARKETS)}")
    try:
        entries = _LIST.decode(body).symbols
    except MALFORMED as error:
        raise ValueError(f"not an exchangeInfo body: {error}") from error
    return read_entries(entries, lambda raw: _instrument(market, _ENTRY.decode(raw), event_time_us))


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name: pair, expiry and, for COIN-M, what a contract is worth.

    Raises:
        SymbolError: no known quote currency ends the pair, or it is no name of this market.

    >>> assumed_instrument("coinm", "BTCUSD_261225", 0).symbol
    'BTC/USD:20261225'
    """
    if market not in MARKETS:
        raise SymbolError(f"{venue_symbol}: Binance has no market {market}, but {', '.join(MARKETS)}")
    pair, kind, expiry_time_us = _parts(market, venue_symbol)
    base, quote = split_pair(pair, QUOTES[market])
    is_inverse = market == "coinm"
    multiplier = COINM_CONTRACT_USD.get(base, COINM_CONTRACT_USD_OTHERS) if is_inverse else 1.0
    settle = "" if market == "spot" else base if is_inverse else quote
    return Instrument(
        event_time_us=event_time_us,
        venue=VENUE,
        market=market,
        venue_symbol=venue_symbol,
        symbol=canonical_symbol(base, quote, expiry_time_us=expiry_time_us, perpetual=kind == "PERPETUAL"),
        asset_class="CRYPTO",
        kind=kind,
        base=base,
        quote=quote,
        settle=settle,
        expiry_time_us=expiry_time_us,
        contract_multiplier=multiplier,
        is_inverse=is_inverse,
        is_assumed=True,
    )


def _parts(market: str, name: str) -> tuple[str, InstrumentKind, int]:
    """Split a name into pair, kind and expiry."""
    if market == "spot":
        return name, "SPOT", 0
    dated = DATED.fullmatch(name)
    if dated:
        return dated["pair"], "FUTURE", _expiry_time_us(name, dated["day"])
    if market == "coinm" and not name.endswith(PERPETUAL_SUFFIX):
        raise SymbolError(f"{name}: names of COIN-M futures end in _PERP or _YYMMDD")
    return name.removesuffix(PERPETUAL_SUFFIX), "PERPETUAL", 0


def _expiry_time_us(name: str, day: str) -> int:
    try:
        expiry = datetime.strptime(f"20{day}", "%Y%m%d").replace(hour=EXPIRY_HOUR, tzinfo=UTC)
    except ValueError:
        raise SymbolError(f"{name}: {day} is no day YYMMDD") from None
    return int(expiry.timestamp()) * 1_000_000


def _instrument(market: str, entry: _Entry, event_time_us: int) -> Instrument:
    kind = _kind(market, entry)
    expiry_time_us = entry.delivery_date * 1000 if kind == "FUTURE" else 0
    if market == "coinm" and entry.contract_size is None:
        raise ValueError(f"{entry.symbol}: it is not told what a contract is worth")
    if kind == "FUTURE" and not FIRST_MS <= entry.delivery_date < LAST_MS:
        raise ValueError(f"delivery date {entry.delivery_date} of {entry.symbol} is not in this century")
    return Instrument(
        event_time_us=event_time_us,
        venue=VENUE,
        market=market,
        venue_symbol=entry.symbol,
        symbol=canonical_symbol(
            entry.base_asset, entry.quote_asset, expiry_time_us=expiry_time_us, perpetual=kind == "PERPETUAL"
        ),
        asset_class=_asset_class(entry.underlying_type),
        kind=kind,
        base=entry.base_asset,
        quote=entry.quote_asset,
        settle=entry.margin_asset,
        expiry_time_us=expiry_time_us,
        tick_size=size(_filter(entry, "PRICE_FILTER").tick_size),
        lot_size=size(_filter(entry, "LOT_SIZE").step_size),
        contract_multiplier=(market == "coinm" and entry.contract_size) or 1.0,
        is_inverse=market == "coinm",
        is_trading="TRADING" in {entry.status, entry.contract_status},
    )


def _kind(market: str, entry: _Entry) -> InstrumentKind:
    """Tell the kind; TRADIFI_PERPETUAL and PERPETUAL_DELIVERING are perpetuals, a type not yet set ("") by the name."""
    if market == "spot":
        return "SPOT"
    if "PERPETUAL" in entry.contract_type:
        return "PERPETUAL"
    if DATED.fullmatch(entry.symbol) and entry.delivery_date > 0:
        return "FUTURE"
    if entry.contract_type == "":
        return "PERPETUAL"
    raise ValueError(f"contract type {entry.contract_type} of {entry.symbol} is not known")


def _asset_class(underlying_type: str) -> AssetClass:
    """COIN, INDEX, PREMARKET → CRYPTO; EQUITY and KR_EQUITY → EQUITY; COMMODITY → COMMODITY."""
    return CLASSES.get(underlying_type.rpartition("_")[2], "CRYPTO")


def _filter(entry: _Entry, filter_type: str) -> _Filter:
    return next((each for each in entry.filters if each.filter_type == filter_type), _Filter())
