"""What the entries of a process want: symbols, of which each is one market's alone, and connections of one address."""

from collections.abc import Callable, Collection, Iterable

from producers.plan import limits_scope
from schemas.records import Instrument
from tickerplant.errors import UserError
from tickerplant.settings import Venue


class Claims:
    """What the entries of a process want, by canonical symbol; entries of one market may want the same.

    What settings want goes before what was wished besides, whoever lists its instruments first.
    """

    def __init__(self) -> None:
        self._wanted: dict[Venue, dict[str, str]] = {}  # canonical → venue symbol
        self._wished: dict[Venue, set[str]] = {}  # canonical: those of them that the settings do not want
        self._on_loss: dict[Venue, Callable[[], None]] = {}
        self.connections: dict[Venue, int] = {}

    def on_loss(self, entry: Venue, call: Callable[[], None]) -> None:
        """Call whenever an entry loses a symbol to one whose settings want it."""
        self._on_loss[entry] = call

    def connections_beside(self, entry: Venue) -> int:
        """Count the connections of the other entries that have the venue's limits together with this one."""
        others = (each for each in self.connections if each != entry and limits_scope(each) == limits_scope(entry))
        return sum(self.connections[each] for each in others)

    def hold(self, entry: Venue, instruments: Iterable[Instrument], wished: Collection[str] = ()) -> None:
        """Take down what an entry wants now, in the place of what it wanted before.

        Args:
            wished: canonical symbols of those that its settings do not want.

        Raises:
            UserError: another market of the venue wants one of these; what the entry wanted before stands.
        """
        wanted = {each.symbol: each.venue_symbol for each in instruments}
        lost: dict[Venue, set[str]] = {}
        for other, held in self._wanted.items():
            if other.venue.upper() == entry.venue.upper() and other.market != entry.market:
                both = wanted.keys() & held.keys()
                lost[other] = {each for each in both if each in self._wished[other] and each not in wished}
                symbol = min(both - lost[other], default=None)
                if symbol is not None:
                    raise UserError(
                        f"{entry.venue.upper()}: {held[symbol]} of {other.market} and {wanted[symbol]} of "
                        f"{entry.market} are both {symbol}: capture it from one of these markets"
                    )
        self._wanted[entry], self._wished[entry] = wanted, set(wished)
        for other in filter(lost.get, lost):
            for symbol in lost[other]:
                del self._wanted[other][symbol]
            if other in self._on_loss:
                self._on_loss[other]()
