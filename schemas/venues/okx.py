"""OKX v5: public/instruments bodies, or bare names, → Instruments of the markets spot, swap, futures and option.

Names are the same in all markets, so that one session may hold several. Contracts of one pair whose margin is another
coin (BTC-USD-SWAP, BTC-USD_UM-SWAP) have the sort of margin at the end of their symbols.
Source: https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments
"""

import re
from typing import Annotated, Final

import msgspec

from schemas.listing import MALFORMED, Contract, Listing, day_us, make_instrument, ms_us, read_entries, size
from schemas.records import Instrument, InstrumentKind
from schemas.symbology import SymbolError

VENUE: Final = "OKX"
MARKETS: Final[tuple[str, ...]] = ("spot", "swap", "futures", "option")
LIST_PATHS: Final[tuple[str, ...]] = ("/api/v5/public/instruments",)
KINDS: Final[dict[str, InstrumentKind]] = {
    "SPOT": "SPOT", "SWAP": "PERPETUAL", "FUTURES": "FUTURE", "OPTION": "OPTION",
}  # fmt: skip
ASSUMED_WORTH: Final = {
    "BTC-USD": 100.0, "BTC-USDT": 0.01, "BTC-USDC": 0.01, "ETH-USDT": 0.1, "ETH-USDC": 0.1,
}  # fmt: skip
"""Of a contract, where no list tells; inverse ones of other coins are worth 10 USD, linear ones 1 of the coin."""
ASSUMED_INVERSE_WORTH: Final = 10.0
SORTS: Final = frozenset({"linear", "inverse"})
OPTION_WORTH: Final = {"BTC": 0.01, "ETH": 0.1}
NAME = re.compile(
    r"(?P<base>[A-Z0-9$]+)-(?P<quote>[A-Z0-9]+)(_(?P<margin>[A-Z_]+))?"
    r"(-(SWAP|(?P<day>\d{6})(-(?P<strike>[0-9.]+)-(?P<right>[CP]))?))?"
)
INVERSE = re.compile(r"[^-]+-USD-(SWAP|\d{6})")

Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Entry(msgspec.Struct, rename="camel", frozen=True):
    inst_id: Name
    inst_type: Name
    base_ccy: str = ""
    quote_ccy: str = ""
    settle_ccy: str = ""
    uly: str = ""
    inst_family: str = ""
    ct_val: str = ""
    ct_mult: str = ""
    ct_type: str = ""
    exp_time: str = ""
    stk: str = ""
    opt_type: str = ""
    tick_sz: str = ""
    lot_sz: str = ""
    state: str = ""


class _Body(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]


_BODY = msgspec.json.Decoder(_Body)
_ENTRY = msgspec.json.Decoder(_Entry)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read a public/instruments body, whatever type it lists, those that do not trade included.

    Raises:
        ValueError: the body is none, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"OKX has no market {market}, but {', '.join(MARKETS)}")
    try:
        entries = _BODY.decode(body).data
    except MALFORMED as error:
        raise ValueError(f"not a public/instruments body: {error}") from error
    return read_entries(entries, lambda raw: _instrument(market, _ENTRY.decode(raw), event_time_us))


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name; what a contract is worth is known for the large ones only.

    Raises:
        SymbolError: it is no name of OKX.

    >>> assumed_instrument("option", "BTC-USD-261225-60000-C", 0).symbol
    'BTC/USD:20261225:60000:C'
    >>> assumed_instrument("swap", "BTC-USD_UM-SWAP", 0).symbol
    'BTC/USD:PERP:UM'
    """
    found = NAME.fullmatch(venue_symbol)
    if market not in MARKETS or found is None:
        raise SymbolError(f"{venue_symbol[:40]!r} is no instrument of OKX's market {market}")
    base, quote, margin = found["base"], found["quote"], margin_of(venue_symbol)
    is_in_coin = quote == "USD" and not margin
    try:
        expiry_time_us = day_us(found["day"]) if found["day"] else 0
    except ValueError as error:
        raise SymbolError(f"{venue_symbol}: {error}") from None
    kind: InstrumentKind = "SPOT"
    if "-SWAP" in venue_symbol:
        kind = "PERPETUAL"
    elif found["day"]:
        kind = "OPTION" if found["strike"] else "FUTURE"
    contract = Contract(
        base,
        quote,
        kind,
        expiry_time_us,
        "" if kind == "SPOT" else base if is_in_coin else quote,
        found["strike"] or "",
        found["right"] or "",
        1.0 if margin else _assumed_worth(kind, base, quote),
        is_inverse=is_inverse(venue_symbol),
        suffix=margin,
    )
    return make_instrument((VENUE, market, venue_symbol), contract, event_time_us, is_assumed=True)


def _assumed_worth(kind: InstrumentKind, base: str, quote: str) -> float:
    if kind == "SPOT":
        return 1.0
    if kind == "OPTION":
        return OPTION_WORTH.get(base, 1.0)
    return ASSUMED_WORTH.get(f"{base}-{quote}", ASSUMED_INVERSE_WORTH if quote == "USD" else 1.0)


def is_inverse(inst_id: str) -> bool:
    """Tell by its name whether an instrument counts in USD: futures and swaps against USD with margin in the coin.

    >>> is_inverse("BTC-USD-SWAP"), is_inverse("BTC-USD-261225-60000-C"), is_inverse("BTC-USD_UM-SWAP")
    (True, False, False)
    """
    return INVERSE.fullmatch(inst_id) is not None


def margin_of(inst_id: str) -> str:
    """Tell the sort of margin that a name tells; "" = it tells none, as most.

    >>> margin_of("BTC-USD_UM-SWAP"), margin_of("BTC-USD_UM_XPERP-310404"), margin_of("BTC-USD-SWAP")
    ('UM', 'UM_XPERP', '')
    """
    return "".join(inst_id.split("-")[1:2]).partition("_")[2]


def _instrument(market: str, entry: _Entry, event_time_us: int) -> Instrument:
    kind = KINDS.get(entry.inst_type)
    if kind is None:
        raise ValueError(f"instrument type {entry.inst_type} is not known")
    family = entry.inst_family.partition("_")[0]
    base, _, quote = (entry.uly or family or f"{entry.base_ccy}-{entry.quote_ccy}").partition("-")
    if kind == "SPOT":
        base, quote = entry.base_ccy, entry.quote_ccy
    elif not entry.ct_val or (not entry.ct_mult if kind == "OPTION" else entry.ct_type not in SORTS):
        raise ValueError(f"{entry.inst_id}: it is not told what a contract is worth")
    contract = Contract(
        base,
        quote,
        kind,
        ms_us(entry.exp_time) if kind in {"FUTURE", "OPTION"} else 0,
        entry.settle_ccy,
        entry.stk,
        entry.opt_type,
        float(entry.ct_val) * float(entry.ct_mult or 1) if kind != "SPOT" else 1.0,
        is_inverse=entry.ct_type == "inverse" and kind != "OPTION",
        suffix=margin_of(entry.inst_id),
    )
    return make_instrument(
        (VENUE, market, entry.inst_id),
        contract,
        event_time_us,
        tick_size=size(entry.tick_sz),
        lot_size=size(entry.lot_sz),
        is_trading=entry.state == "live",
    )
