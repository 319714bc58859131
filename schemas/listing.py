"""What modules of `schemas/venues` share: lists read entry by entry, sizes and expiries checked, instruments made."""

from calendar import FRIDAY, monthrange
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from schemas.records import AssetClass, Instrument, InstrumentKind
from schemas.symbology import canonical_symbol

MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be."""
LEAST_SIZE: Final = 1e-30
MOST_SIZE: Final = 1e15
FIRST_MS: Final = 946_684_800_000  # 2000-01-01
LAST_MS: Final = 4_102_444_800_000  # 2100-01-01
ENTRY_CHARS: Final = 80
EXPIRING: Final = frozenset({"FUTURE", "OPTION"})


class Listing(NamedTuple):
    """A list as it was read.

    Args:
        instruments: in the list's order.
        unreadable: entries that were left out, each with the reason.
    """

    instruments: list[Instrument]
    unreadable: list[str]


class Contract(NamedTuple):
    """What an instrument is, apart from where it is traded.

    Args:
        expiry_time_us: µs since the UTC epoch; 0 = never.
        settle: currency; empty for spot.
        strike: as it stands in symbols, e.g. `60000`; of options.
        right: C or P; of options.
        multiplier: base currency (or quote currency, of inverse contracts) that one unit of the venue's sizes is.
    """

    base: str
    quote: str
    kind: InstrumentKind = "SPOT"
    expiry_time_us: int = 0
    settle: str = ""
    strike: str = ""
    right: str = ""
    multiplier: float = 1.0
    is_inverse: bool = False
    suffix: str = ""
    asset_class: AssetClass = "CRYPTO"


def read_entries(entries: Iterable[msgspec.Raw], make: Callable[[msgspec.Raw], Instrument | None]) -> Listing:
    """Make an instrument of each entry; None = the entry is of another market.

    Args:
        make: may raise ValueError, OverflowError or OSError for an entry of unknown shape: it is left out.
    """
    listing = Listing([], [])
    for entry in entries:
        try:
            instrument = make(entry)
        except (ValueError, OverflowError, OSError, RecursionError) as error:
            listing.unreadable.append(f"{bytes(entry)[:ENTRY_CHARS]!r}: {error}")
        else:
            if instrument is not None:
                listing.instruments.append(instrument)
    return listing


def make_instrument(
    place: tuple[str, str, str],
    contract: Contract,
    event_time_us: int,
    *,
    tick_size: float | None = None,
    lot_size: float | None = None,
    is_trading: bool = True,
    is_assumed: bool = False,
) -> Instrument:
    """Make an instrument.

    Args:
        place: venue, market, and the venue's name for it.
        tick_size, lot_size: None = the venue tells none.

    Raises:
        SymbolError: base or quote cannot stand in a symbol.
        ValueError: the multiplier is no size, or what tells a contract from others is missing.
    """
    venue, market, venue_symbol = place
    if contract.kind in EXPIRING and not contract.expiry_time_us:
        raise ValueError(f"a contract of the kind {contract.kind} that never expires")
    if contract.kind == "OPTION" and not (contract.strike and contract.right):
        raise ValueError("an option without strike or right")
    if not LEAST_SIZE <= contract.multiplier <= MOST_SIZE:
        raise ValueError(f"{contract.multiplier} is no contract size")
    return Instrument(
        event_time_us=event_time_us,
        venue=venue,
        market=market,
        venue_symbol=venue_symbol,
        symbol=symbol_of(contract),
        asset_class=contract.asset_class,
        kind=contract.kind,
        base=contract.base,
        quote=contract.quote,
        settle=contract.settle,
        expiry_time_us=contract.expiry_time_us,
        tick_size=tick_size,
        lot_size=lot_size,
        contract_multiplier=contract.multiplier,
        is_inverse=contract.is_inverse,
        is_trading=is_trading,
        is_assumed=is_assumed,
    )


def symbol_of(contract: Contract) -> str:
    """Name a contract: `suffix` tells two apart that are alike otherwise (settled in other currencies).

    >>> symbol_of(Contract("BTC", "USD", "OPTION", 1_798_185_600_000_000, strike="60000", right="C"))
    'BTC/USD:20261225:60000:C'
    """
    symbol = canonical_symbol(
        contract.base,
        contract.quote,
        expiry_time_us=contract.expiry_time_us,
        perpetual=contract.kind == "PERPETUAL",
    )
    parts = (symbol, contract.strike, contract.right, contract.suffix)
    return ":".join(part for part in parts if part)


def size(text: str | float) -> float | None:
    """Read a tick or lot size; 0 and "" = the venue sets none.

    Raises:
        ValueError: it is no size.
    """
    value = float(text or 0)
    if not (value == 0.0 or LEAST_SIZE <= value <= MOST_SIZE):
        raise ValueError(f"{str(text)[:40]} is no size")
    return value or None


def ms_us(instant_ms: str | int) -> int:
    """Read an expiry in ms since the UTC epoch; 0 and "" = never.

    Raises:
        ValueError: it is not of this century.
    """
    value = int(instant_ms or 0)
    if value and not FIRST_MS <= value < LAST_MS:
        raise ValueError(f"{value} ms is no time of this century")
    return value * 1000


def day_us(day: str, form: str = "%y%m%d", hour: int = 8) -> int:
    """Read the day of an expiry; at most venues contracts expire at 08:00 UTC.

    Raises:
        ValueError: it is no such day, or not of this century.

    >>> day_us("261225"), day_us("25DEC26", "%d%b%y")
    (1798185600000000, 1798185600000000)
    """
    expiry = datetime.strptime(day, form).replace(hour=hour, tzinfo=UTC)
    value = int(expiry.timestamp()) * 1000
    if not FIRST_MS <= value < LAST_MS:
        raise ValueError(f"{day} is no day of this century")
    return value * 1000


def last_friday_us(year: int, month: int) -> int:
    """Tell when a quarterly contract expires: 08:00 UTC of the last Friday of its month.

    >>> last_friday_us(2026, 12)
    1798185600000000
    """
    last = date(year, month, monthrange(year, month)[1])
    return day_us(f"{last - timedelta((last.weekday() - FRIDAY) % 7):%Y%m%d}", "%Y%m%d")
