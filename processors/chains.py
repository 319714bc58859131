"""How items of a stream chain: trades by their ids, book updates by the book's rule, others by keys that rise."""

from collections.abc import Callable

from processors.book_keeper import BookKeeper
from processors.dedupe import SeenIds
from processors.items import AggTrade, BookDelta, Trade
from processors.line import NOTHING


class TradeChain:
    """Ids without holes."""

    is_exact = True

    def __init__(self, seen: SeenIds) -> None:
        self._seen = seen

    @property
    def head(self) -> int:
        """Highest id seen."""
        return self._seen.high

    def follows(self, item: Trade | AggTrade, previous: int) -> bool:
        """Look for the next id, or the first."""
        del previous
        return item.trade_id == self._seen.high + 1 or self._seen.high == NOTHING

    def has(self, item: Trade | AggTrade) -> bool:
        """Look for its id."""
        return item.trade_id in self._seen


class BookChain:
    """Updates of a book, each after the one before."""

    is_exact = True

    def __init__(self, keeper: BookKeeper) -> None:
        self._keeper = keeper

    @property
    def head(self) -> int:
        """Last update id, applied or not."""
        return self._keeper.last_seen or NOTHING

    def follows(self, item: BookDelta, previous: int) -> bool:
        """Ask the book's rule."""
        del previous
        return self._keeper.follows(item)

    def has(self, item: BookDelta) -> bool:
        """Look whether it lies in a hole."""
        return not self._keeper.missed(item)


class Rising:
    """Keys that only rise: what is missing is told by connection alone, since each brings all in order.

    Args:
        head: tells the key let through last; `NOTHING` = there was none.
    """

    is_exact = False

    def __init__(self, head: Callable[[], int]) -> None:
        self._head = head

    @property
    def head(self) -> int:
        """Key let through last."""
        return self._head()

    def follows(self, item: object, previous: int) -> bool:
        """Go on from a connection that has met the head; of a new one it is not known what it left out."""
        del item
        head = self._head()
        return NOTHING < previous <= head or head == NOTHING

    def has(self, item: object) -> bool:
        """Take all that is not above the head for seen."""
        del item
        return True
