"""How a venue's books hold together: does a delta join a snapshot, does it follow the one before, what is missing."""

from collections.abc import Sequence
from typing import ClassVar

from processors.items import BookDelta
from schemas.records import Instrument

TextLevel = tuple[str, str]
"""Price and size in the digits that were sent."""


class Checksum:
    """A venue's checksum of the best levels of a book."""

    levels: ClassVar[int]  # of each side

    def of(self, bids: Sequence[TextLevel], asks: Sequence[TextLevel], instrument: Instrument) -> int:
        """Make it of the best levels, the best first."""
        raise NotImplementedError

    def fits(self, bids: Sequence[TextLevel], asks: Sequence[TextLevel], instrument: Instrument, checksum: int) -> bool:
        """Tell whether these best levels have a checksum."""
        return self.of(bids, asks, instrument) == checksum


class BookRule:
    """A venue's rule; deltas that a snapshot contains (last id <= the snapshot's) are sorted out before.

    Args:
        ids_are_shared: all connections number the same update alike, so that it may be taken from whichever is first;
            else each connection has a book of its own, one of which is published.
        checksum: None = the venue sends none.
        stale_after_us: a book whose exchange time stands still for so long is no longer believed; 0 = it is.
        is_in_time: times of a book never fall: what is older than the book came late.
    """

    has_ids = True
    """The venue numbers updates; else they are counted as they come."""
    WORDS: ClassVar[str] = ""
    """The rule, as `docs/venues.md` says it."""
    is_blind = False
    """Nothing shows that an update was left out, or not wherever in the book it was."""

    def __init__(
        self,
        *,
        ids_are_shared: bool = True,
        checksum: Checksum | None = None,
        stale_after_us: int = 0,
        is_in_time: bool = False,
    ) -> None:
        self.ids_are_shared = ids_are_shared
        self.checksum = checksum
        self.stale_after_us = stale_after_us
        self.is_in_time = is_in_time

    def in_words(self) -> str:
        """Say by what the books are held together, and what shows that they are not."""
        parts = [self.WORDS]
        if self.checksum is not None:
            parts.append(f"checksum of the best {self.checksum.levels} levels of each side")
        if self.is_in_time:
            parts.append("times never fall")
        if self.stale_after_us:
            parts.append(f"not believed once its time stands still for {self.stale_after_us // 1_000_000} s")
        parts.append("the same on all connections" if self.ids_are_shared else "a book a connection")
        return "; ".join(parts)

    def joins(self, snapshot_sequence: int, delta: BookDelta) -> bool:
        """Tell whether a delta above a snapshot is the first to be applied to it."""
        raise NotImplementedError

    def follows(self, last_sequence: int, delta: BookDelta) -> bool:
        """Tell whether nothing is missing between the last id applied and a delta above it."""
        raise NotImplementedError

    def falls_back(self, last_sequence: int, delta: BookDelta) -> bool:
        """Tell whether a delta not above the last id follows it all the same: the venue counts anew."""
        del last_sequence, delta
        return False

    def missing(self, last_sequence: int, delta: BookDelta) -> tuple[int, int]:
        """Name the first and last id missing before a delta that does not follow."""
        raise NotImplementedError

    def start(self, delta: BookDelta) -> int:
        """Name the first id that a delta accounts for."""
        raise NotImplementedError


class FirstIdRule(BookRule):
    """The first id of a delta is the last one before it plus 1; a delta may overlap what it joins."""

    WORDS = "an update begins with the id after the last one"

    def joins(self, snapshot_sequence: int, delta: BookDelta) -> bool:
        """U <= L + 1."""
        return delta.first_sequence <= snapshot_sequence + 1

    def follows(self, last_sequence: int, delta: BookDelta) -> bool:
        """U <= last u + 1."""
        return delta.first_sequence <= last_sequence + 1

    def missing(self, last_sequence: int, delta: BookDelta) -> tuple[int, int]:
        """From last u + 1 to U - 1."""
        return last_sequence + 1, delta.first_sequence - 1

    def start(self, delta: BookDelta) -> int:
        """U."""
        return delta.first_sequence


class PreviousIdRule(BookRule):
    """A delta names the last id of the one before it (pu); ids between pu and U changed other books.

    The documented first delta has U <= L <= u; one with pu <= L < U follows the snapshot just as well, since no delta
    lies between pu and U.
    """

    WORDS = "an update names the id of the one before it"

    def joins(self, snapshot_sequence: int, delta: BookDelta) -> bool:
        """Check pu <= L."""
        return delta.previous_sequence <= snapshot_sequence

    def follows(self, last_sequence: int, delta: BookDelta) -> bool:
        """Check pu == last u."""
        return delta.previous_sequence == last_sequence

    def falls_back(self, last_sequence: int, delta: BookDelta) -> bool:
        """Check u < pu == last u: only a venue that counts anew sends that."""
        return delta.sequence < delta.previous_sequence == last_sequence

    def missing(self, last_sequence: int, delta: BookDelta) -> tuple[int, int]:
        """From last u + 1 to pu."""
        return last_sequence + 1, max(delta.previous_sequence, last_sequence + 1)

    def start(self, delta: BookDelta) -> int:
        """Go on from pu."""
        return delta.previous_sequence + 1


class OverlappingRule(PreviousIdRule):
    """The same of a venue that cuts the stream of updates differently on each connection, at ids that all share.

    An update may begin before the last id that is known: sizes are absolute, so it tells all that came after that one.
    """

    def joins(self, snapshot_sequence: int, delta: BookDelta) -> bool:
        """Check pu <= L, or U <= L."""
        return delta.previous_sequence <= snapshot_sequence or delta.first_sequence <= snapshot_sequence

    def follows(self, last_sequence: int, delta: BookDelta) -> bool:
        """Check pu == last u, or U <= last u."""
        return delta.previous_sequence == last_sequence or delta.first_sequence <= last_sequence


class CountedRule(FirstIdRule):
    """Updates have no ids: they are counted as they come, and what is lost shows by checksums or on the connection.

    Where neither is sent, what came late shows by its time, and what is lost by a book that is crossed. Books that are
    watched for standing still are whole each time: there a message that is lost costs nothing.

    Two connections cannot be compared, so each has a book of its own.
    """

    has_ids = False
    WORDS = "updates have no ids"

    def in_words(self) -> str:
        """Say as well where all messages of a connection are numbered: their parser gives `ConnectionGap`."""
        numbered = "; all messages of a connection are numbered" if self.is_numbered_by_connection else ""
        return super().in_words() + numbered

    def __init__(
        self,
        *,
        checksum: Checksum | None = None,
        stale_after_us: int = 0,
        is_in_time: bool = False,
        is_numbered_by_connection: bool = False,
    ) -> None:
        self.is_numbered_by_connection = is_numbered_by_connection
        self.is_blind = not is_numbered_by_connection and not stale_after_us  # checksums are of the best levels alone
        super().__init__(ids_are_shared=False, checksum=checksum, stale_after_us=stale_after_us, is_in_time=is_in_time)
