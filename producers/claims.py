"""Which market of a venue captures what goes by one canonical symbol: records and state are kept by that."""

from collections.abc import Iterable

from schemas.records import Instrument
from tickerplant.errors import UserError
from tickerplant.settings import Venue


class Claims:
    """What the entries of a process want, by canonical symbol; entries of one market may want the same."""

    def __init__(self) -> None:
        self._wanted: dict[Venue, dict[str, str]] = {}  # canonical → venue symbol

    def hold(self, entry: Venue, instruments: Iterable[Instrument]) -> None:
        """Take down what an entry wants now, in the place of what it wanted before.

        Raises:
            UserError: another market of the venue wants one of these; what the entry wanted before stands.
        """
        wanted = {each.symbol: each.venue_symbol for each in instruments}
        for other, held in self._wanted.items():
            if other.venue.upper() == entry.venue.upper() and other.market != entry.market:
                symbol = min(wanted.keys() & held.keys(), default=None)
                if symbol is not None:
                    raise UserError(
                        f"{entry.venue.upper()}: {held[symbol]} of {other.market} and {wanted[symbol]} of "
                        f"{entry.market} are both {symbol}: capture it from one of these markets"
                    )
        self._wanted[entry] = wanted
