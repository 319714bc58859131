"""Bitfinex: lists of pairs (conf/pub:list:pair:...), or bare names, → Instruments of the markets spot and derivatives.

Names of streams are pairs behind a t; a colon stands between currencies of which one has more than three letters. Many
currencies have a name of the venue's own: a map of them may stand in the body, behind the pairs.
Source: https://docs.bitfinex.com/reference/rest-public-conf
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from schemas.listing import MALFORMED, Contract, Listing, make_instrument, read_entries
from schemas.records import AssetClass, Instrument
from schemas.symbology import SymbolError

VENUE: Final = "BITFINEX"
MARKETS: Final[tuple[str, ...]] = ("spot", "derivatives")
LIST_PATHS: Final[tuple[str, ...]] = (
    "/conf/pub:list:pair:exchange",
    "/conf/pub:list:pair:exchange,pub:map:currency:sym",
    "/conf/pub:list:pair:future",  # 2021
    "/conf/pub:list:pair:futures",
    "/conf/pub:list:pair:futures,pub:map:currency:sym",
)
PERPETUAL: Final = "F0"  # ends the names of both currencies
PAIR: Final = re.compile(r"(?P<base>[A-Z0-9]{3})(?P<quote>[A-Z0-9]{3})|(?P<long>[A-Z0-9.]+):(?P<other>[A-Z0-9.]+)")
ALIASES: Final = {
    "UST": "USDT", "UDC": "USDC", "TSD": "TUSD", "EUT": "EURT", "EUS": "EURS", "TERRAUST": "USTC", "ALG": "ALGO",
    "AMP": "AMPL", "ATO": "ATOM", "BCHABC": "XEC", "BCHN": "BCH", "DAT": "DATA", "DOG": "MDOGE", "DSH": "DASH",
    "EDO": "PNT", "GNT": "GLM", "IDX": "ID", "IOT": "IOTA", "IQX": "IQ", "LUNA": "LUNC", "LUNA2": "LUNA", "MNA": "MANA",
    "PAS": "PASS", "QSH": "QASH", "QTM": "QTUM", "RBT": "RBTC", "SNG": "SNGLS", "STJ": "STORJ", "VSY": "VSYS",
    "WAX": "WAXP", "WBT": "WBTC", "XCH": "XCHF", "YYW": "YOYOW", "ZBT": "ZB",
}  # fmt: skip
"""As the venue's own map tells them (2026)."""
FIAT: Final = frozenset({"USD", "EUR", "GBP", "JPY", "CNH", "CHF", "TRY"})
METALS: Final = frozenset({"XAG", "XAU"})
STOCK_INDEX: Final = "IX"

_BODY = msgspec.json.Decoder(list[list[msgspec.Raw]])
_NAME = msgspec.json.Decoder(str)
_RENAME = msgspec.json.Decoder(tuple[str, str])


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read a list of pairs; those of the other market are left out.

    Raises:
        ValueError: the body is none, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"Bitfinex has no market {market}, but {', '.join(MARKETS)}")
    try:
        entries = [entry for section in _BODY.decode(body) for entry in section]
    except MALFORMED as error:
        raise ValueError(f"not a list of pairs: {error}") from error
    renames = dict(map(_RENAME.decode, filter(_is_rename, entries)))

    def read(entry: msgspec.Raw) -> Instrument | None:
        pair = _NAME.decode(entry)
        if is_derivative(pair) is not (market == "derivatives"):
            return None
        return _instrument(market, pair, renames, event_time_us)

    return read_entries([entry for entry in entries if not _is_rename(entry)], read)


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name.

    Raises:
        SymbolError: it is no name of this market.

    >>> assumed_instrument("derivatives", "tBTCF0:USTF0", 0).symbol
    'BTC/USDT:PERP'
    """
    pair = venue_symbol.removeprefix("t")
    if market not in MARKETS or pair == venue_symbol or is_derivative(pair) is not (market == "derivatives"):
        raise SymbolError(f"{venue_symbol[:40]!r} is no instrument of Bitfinex's market {market}")
    return _instrument(market, pair, {}, event_time_us, is_assumed=True)


def is_derivative(pair: str) -> bool:
    """Tell whether a pair is a perpetual."""
    return pair.endswith(PERPETUAL) and f"{PERPETUAL}:" in pair


def _is_rename(entry: msgspec.Raw) -> bool:
    """Tell whether an entry is of the map of currencies."""
    try:
        _RENAME.decode(entry)
    except MALFORMED:
        return False
    return True


def _instrument(
    market: str, pair: str, renames: Mapping[str, str], event_time_us: int, *, is_assumed: bool = False
) -> Instrument:
    found = PAIR.fullmatch(pair)
    if found is None:
        raise SymbolError(f"{pair[:40]} is no pair")
    is_perpetual = market == "derivatives"
    base = _currency(found["base"] or found["long"], renames, is_perpetual=is_perpetual)
    quote = _currency(found["quote"] or found["other"], renames, is_perpetual=is_perpetual)
    contract = Contract(
        base,
        quote,
        "PERPETUAL" if is_perpetual else "SPOT",
        settle=quote if is_perpetual else "",
        asset_class=_asset_class(base, quote),
    )
    return make_instrument((VENUE, market, f"t{pair}"), contract, event_time_us, is_assumed=is_assumed)


def _currency(name: str, renames: Mapping[str, str], *, is_perpetual: bool) -> str:
    name = name.removesuffix(PERPETUAL) if is_perpetual else name
    renamed = renames.get(name, ALIASES.get(name, name)).upper()
    return renamed if renamed.isalnum() else name


def _asset_class(base: str, quote: str) -> AssetClass:
    if base in FIAT and (quote in FIAT or quote == "USDT"):
        return "FOREX"
    if base in METALS:
        return "COMMODITY"
    return "EQUITY" if base.endswith(STOCK_INDEX) and len(base) > len(STOCK_INDEX) + 3 else "CRYPTO"
