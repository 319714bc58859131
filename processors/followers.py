"""Books of connections that are not the lead, where each connection numbers updates by itself: kept, not published."""

from msgspec import structs

from processors.book_keeper import BookKeeper, PublishDelta
from processors.book_rules import BookRule
from processors.items import BookDelta
from schemas.records import Instrument


class Followers:
    """Books of one symbol by connection, the lead's aside.

    Args:
        rule: how its books hold together.
        keyframe_us: how often the lead's is published.
    """

    __slots__ = ("_keyframe_us", "_rule", "keepers", "lead_heard_us")

    def __init__(self, rule: BookRule, keyframe_us: int) -> None:
        self.keepers: dict[str, BookKeeper] = {}
        self.lead_heard_us = 0  # when the lead last brought something
        self._rule, self._keyframe_us = rule, keyframe_us

    def keeper(self, connection: str, instrument: Instrument) -> BookKeeper:
        """Find or make the book of a connection."""
        found = self.keepers.get(connection)
        if found is None:
            found = self.keepers[connection] = BookKeeper(self._rule, self._keyframe_us, instrument)
        return found

    def leave(self, connection: str) -> BookKeeper | None:
        """Take out the book of a connection that is lost, or leads from now on; None = there is none."""
        return self.keepers.pop(connection, None)

    def first_valid(self) -> tuple[str, BookKeeper] | None:
        """Find the connection whose book stands for longest; None = none does."""
        valid = [(keeper.stood_time_us, name) for name, keeper in self.keepers.items() if keeper.is_valid]
        return (min(valid)[1], self.keepers[min(valid)[1]]) if valid else None

    def __contains__(self, connection: str) -> bool:
        return connection in self.keepers


def with_cuts(delta: BookDelta, effect: PublishDelta) -> BookDelta:
    """Add the levels that fell out of the book with a delta, as removed: those who rebuild it need no rule for that."""
    return structs.replace(
        delta,
        bid_prices=[*delta.bid_prices, *effect.cut_bids],
        bid_sizes=[*delta.bid_sizes, *([0.0] * len(effect.cut_bids))],
        ask_prices=[*delta.ask_prices, *effect.cut_asks],
        ask_sizes=[*delta.ask_sizes, *([0.0] * len(effect.cut_asks))],
    )
