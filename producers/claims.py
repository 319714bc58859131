"""What the entries of a process want: symbols, of which each is one market's alone, and connections of one address."""

from collections.abc import Iterable

from producers.plan import limits_scope
from schemas.records import Instrument
from tickerplant.errors import UserError
from tickerplant.settings import Venue


class Claims:
    """What the entries of a process want, by canonical symbol; entries of one market may want the same."""

    def __init__(self) -> None:
        self._wanted: dict[Venue, dict[str, str]] = {}  # canonical → venue symbol
        self.connections: dict[Venue, int] = {}

    def connections_beside(self, entry: Venue) -> int:
        """Count the connections of the other entries that have the venue's limits together with this one."""
        others = (each for each in self.connections if each != entry and limits_scope(each) == limits_scope(entry))
        return sum(self.connections[each] for each in others)

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
