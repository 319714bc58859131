"""How update ids of a book chain: does a delta join a snapshot, does it follow the one before, what is missing."""

from typing import Protocol

from processors.items import BookDelta


class BookRule(Protocol):
    """A venue's rule; deltas that a snapshot contains (last id <= the snapshot's) are sorted out before.

    `ids_are_shared`: all connections number the same update alike, so that it may be taken from whichever is first.
    Where each connection counts for itself (OKX, Kraken), each needs a book of its own, one of which is published, and
    the lead changes at a snapshot; that is not built, and such a rule is refused.
    """

    ids_are_shared: bool

    def joins(self, snapshot_sequence: int, delta: BookDelta) -> bool:
        """Tell whether a delta above a snapshot is the first to be applied to it."""

    def follows(self, last_sequence: int, delta: BookDelta) -> bool:
        """Tell whether nothing is missing between the last id applied and a delta above it."""

    def missing(self, last_sequence: int, delta: BookDelta) -> tuple[int, int]:
        """Name the first and last id missing before a delta that does not follow."""

    def start(self, delta: BookDelta) -> int:
        """Name the first id that a delta accounts for."""


class FirstIdRule:
    """The first id of a delta is the last one before it plus 1; a delta may overlap what it joins."""

    ids_are_shared = True

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


class PreviousIdRule:
    """A delta names the last id of the one before it (pu); ids between pu and U changed other books.

    The documented first delta has U <= L <= u; one with pu <= L < U follows the snapshot just as well, since no delta
    lies between pu and U.
    """

    ids_are_shared = True

    def joins(self, snapshot_sequence: int, delta: BookDelta) -> bool:
        """Check pu <= L."""
        return delta.previous_sequence <= snapshot_sequence

    def follows(self, last_sequence: int, delta: BookDelta) -> bool:
        """Check pu == last u."""
        return delta.previous_sequence == last_sequence

    def missing(self, last_sequence: int, delta: BookDelta) -> tuple[int, int]:
        """From last u + 1 to pu."""
        return last_sequence + 1, max(delta.previous_sequence, last_sequence + 1)

    def start(self, delta: BookDelta) -> int:
        """Go on from pu."""
        return delta.previous_sequence + 1
