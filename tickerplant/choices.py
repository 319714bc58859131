"""What a person names among what there is: found, or refused in one line that lists what there is."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from tickerplant.errors import UserError

T = TypeVar("T")


def chosen_venue(given: str, known: Mapping[str, T]) -> T:
    """Find a venue by its name, in capitals or not.

    Args:
        known: by names in capitals.

    Raises:
        UserError: it is not known.
    """
    found = known.get(given.upper())
    if found is None:
        raise UserError(f"venue {given or repr(given)} is not known: choose of {', '.join(sorted(known))}")
    return found


def check_market(venue: str, given: str, known: Iterable[str]) -> None:
    """Make sure that a venue has a market.

    Raises:
        UserError: it has not.
    """
    markets = tuple(known)
    if given not in markets:
        raise UserError(f"{venue.upper()} has no market {given or repr(given)}: choose of {', '.join(markets)}")


def check_symbol(given: str) -> None:
    """Make sure that a symbol is written as ours are; whether a venue lists it is another matter.

    Raises:
        UserError: it is not.
    """
    pair = given.partition(":")[0]
    if not all(pair.partition("/")) or pair != pair.upper():
        how = "BTC/USDT, ETH/USDT:PERP, BTC/USD:20261225"
        raise UserError(f"symbol {given or repr(given)} is not written as ours are: {how}")


def check_options(given: Iterable[str], known: Iterable[str]) -> None:
    """Make sure that each named option is one that there is.

    Raises:
        UserError: one is not.
    """
    names = sorted(known)
    for name in given:
        if name not in names:
            raise UserError(f"there is no option {name}: there are {', '.join(names)}")
