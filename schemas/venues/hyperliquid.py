"""Hyperliquid: meta and spotMeta bodies, or bare names, → Instruments of the markets perp and spot.

Names are the same in both markets: `BTC` and `xyz:TSLA` (of a builder's exchange) are perpetuals, `PURR/USDC` and
`@107` spot pairs. Two pairs may have tokens of one name: the later one has its number in its symbol.
Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint/perpetuals
Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint/spot
"""

import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import structs

from schemas.listing import MALFORMED, Contract, Listing, make_instrument, read_entries
from schemas.records import Instrument
from schemas.symbology import SymbolError

VENUE: Final = "HYPERLIQUID"
MARKETS: Final[tuple[str, ...]] = ("perp", "spot")
LIST_PATHS: Final[tuple[str, ...]] = ("/info",)
COLLATERALS: Final = {0: "USDC", 235: "USDE", 268: "USDT0", 360: "USDH"}
"""By number of the token; a list of perpetuals tells no more."""
ASSUMED_PAIRS: Final = {"@107": "HYPE", "@142": "UBTC", "@151": "UETH"}
DOLLAR: Final = "USDC"
MOST_DECIMALS: Final = 20
PERPETUAL = re.compile(r"((?P<dex>[a-z0-9]+):)?(?P<coin>[A-Za-z0-9._-]+)")
PAIR = re.compile(r"(?P<base>[A-Za-z0-9._-]+)/(?P<quote>[A-Za-z0-9._-]+)|@(?P<number>\d{1,9})")

Decimals = Annotated[int, msgspec.Meta(ge=0, le=MOST_DECIMALS)]


class _Perpetual(msgspec.Struct, rename="camel", frozen=True):
    name: str
    sz_decimals: Decimals
    is_delisted: bool | None = None


class _Token(msgspec.Struct, rename="camel", frozen=True):
    name: str
    index: int
    sz_decimals: Decimals = 0


class _Pair(msgspec.Struct, frozen=True):
    name: str
    index: int
    tokens: tuple[int, int]


class _Meta(msgspec.Struct, rename="camel", frozen=True):
    """A list of perpetuals, of one exchange; or of spot pairs, with tokens."""

    universe: list[msgspec.Raw]
    collateral_token: int = 0
    tokens: list[msgspec.Raw] = []


_META = msgspec.json.Decoder(_Meta)
_METAS = msgspec.json.Decoder(list[msgspec.Raw])
_PERPETUAL = msgspec.json.Decoder(_Perpetual)
_TOKEN = msgspec.json.Decoder(_Token)
_PAIR = msgspec.json.Decoder(_Pair)


def read_list(market: str, body: bytes, event_time_us: int) -> Listing:
    """Read a meta, allPerpMetas or spotMeta body, those that do not trade included.

    Raises:
        ValueError: the body is none, or the market is unknown.
    """
    if market not in MARKETS:
        raise ValueError(f"Hyperliquid has no market {market}, but {', '.join(MARKETS)}")
    try:
        metas = [_META.decode(each) for each in (_METAS.decode(body) if body.lstrip()[:1] == b"[" else [body])]
        tokens = {token.index: token for meta in metas for token in map(_TOKEN.decode, meta.tokens)}
    except MALFORMED as error:
        raise ValueError(f"not a meta body: {error}") from error
    listings = [_listing(meta, tokens, event_time_us) for meta in metas]
    listed = [each for listing in listings for each in listing.instruments]
    return Listing(_told_apart(listed), [each for listing in listings for each in listing.unreadable])


def assumed_instrument(market: str, venue_symbol: str, event_time_us: int) -> Instrument:
    """Derive an instrument from its name; what `@107` is of, is known for a few, the others are named by number.

    Raises:
        SymbolError: it is no name of Hyperliquid.

    >>> assumed_instrument("perp", "xyz:TSLA", 0).symbol, assumed_instrument("spot", "@107", 0).symbol
    ('TSLA/USDC:PERP:XYZ', 'HYPE/USDC')
    """
    if market not in MARKETS:
        raise SymbolError(f"{venue_symbol}: Hyperliquid has no market {market}, but {', '.join(MARKETS)}")
    pair = PAIR.fullmatch(venue_symbol)
    if pair and pair["number"]:
        contract = Contract(ASSUMED_PAIRS.get(venue_symbol, f"SPOT{pair['number']}"), DOLLAR)
    elif pair:
        contract = Contract(pair["base"], pair["quote"])
    else:
        contract = _perpetual(venue_symbol, DOLLAR)
    return make_instrument((VENUE, market, venue_symbol), contract, event_time_us, is_assumed=True)


def _listing(meta: _Meta, tokens: dict[int, _Token], event_time_us: int) -> Listing:
    if meta.tokens:
        return read_entries(meta.universe, lambda raw: _spot(_PAIR.decode(raw), tokens, event_time_us))
    collateral = COLLATERALS.get(meta.collateral_token, f"TOKEN{meta.collateral_token}")

    def make(raw: msgspec.Raw) -> Instrument:
        entry = _PERPETUAL.decode(raw)
        place, contract = (VENUE, "perp", entry.name), _perpetual(entry.name, collateral)
        lot_size, is_trading = 10.0**-entry.sz_decimals, not entry.is_delisted
        return make_instrument(place, contract, event_time_us, lot_size=lot_size, is_trading=is_trading)

    return read_entries(meta.universe, make)


def _perpetual(name: str, collateral: str) -> Contract:
    found = PERPETUAL.fullmatch(name)
    if found is None:
        raise SymbolError(f"{name[:40]!r} is no perpetual of Hyperliquid")
    suffix = (found["dex"] or "").upper()
    return Contract(found["coin"], collateral, "PERPETUAL", settle=collateral, suffix=suffix)


def _spot(entry: _Pair, tokens: dict[int, _Token], event_time_us: int) -> Instrument:
    base, quote = (tokens.get(number) for number in entry.tokens)
    if base is None or quote is None or PAIR.fullmatch(entry.name) is None:
        raise ValueError(f"{entry.name[:40]!r} of tokens {entry.tokens} names no pair")
    place = (VENUE, "spot", entry.name)
    return make_instrument(place, Contract(base.name, quote.name), event_time_us, lot_size=10.0**-base.sz_decimals)


def _told_apart(listed: list[Instrument]) -> list[Instrument]:
    """Add its number to the symbol of a pair whose tokens are named like those of one before it."""
    taken: set[str] = set()
    found: list[Instrument] = []
    for each in listed:
        changes: dict[str, Any] = {}
        if each.symbol in taken:
            changes["symbol"] = f"{each.symbol}:{each.venue_symbol.rpartition('@')[2].replace('/', '-')}"
        taken.add(changes.get("symbol", each.symbol))
        found.append(structs.replace(each, **changes) if changes else each)
    return found
