"""What a connection said before that its later frames need: names behind numbers, and how far it has counted."""

from typing import Final

import msgspec

LEFT_US: Final = 10_000_000  # the kept book was unsubscribed, where another one comes whole so long after it


class Memory(msgspec.Struct, array_like=True):
    """Of one connection; part of the state, forgotten when it is closed.

    Args:
        names: what the venue's number of a subscription stands for, e.g. `book tBTCUSD`.
        counts: of what is numbered here, by name.
        sequence: number of its last message, where the venue counts all of a connection; -1 = none came.
        books: by symbol, of how many levels the book is that is kept, and the venue's time of its last message.
    """

    names: dict[int | str, str] = {}
    sequence: int = -1
    counts: dict[str, int] = {}
    books: dict[str, tuple[int, int]] = {}

    def count(self, name: str, first: int | None = None) -> int:
        """Count on where the venue does not: one more than before, or begin with `first`."""
        self.counts[name] = number = self.counts.get(name, 0) + 1 if first is None else first
        return number

    def keeps_book(self, symbol: str, depth: int, time_us: int, *, is_whole: bool) -> bool:
        """Tell whether a message is of the book of a symbol that is kept: the deepest one that this connection brings.

        Each depth is numbered by itself, so that two of them make no book.

        Args:
            is_whole: it is a snapshot, from which a book of another depth can go on.
        """
        kept = self.books.get(symbol)
        if kept is not None and kept[0] != depth:
            if not is_whole or (depth < kept[0] and time_us - kept[1] < LEFT_US):
                return False
        elif kept is None and not is_whole:
            return True
        self.books[symbol] = depth, time_us
        return True

    def counts_on(self, sequence: int) -> tuple[int, int] | None:
        """Note the number of a message; returns the first and last number that are missing before it, None = none."""
        last = self.sequence
        if sequence == last + 1:
            self.sequence = sequence
            return None
        self.sequence = max(sequence, last)
        return (last + 1, sequence - 1) if 0 <= last < sequence - 1 else None
