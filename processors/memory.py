"""What a connection said before that its later frames need: names behind numbers, and how far it has counted."""

import msgspec


class Memory(msgspec.Struct, array_like=True):
    """Of one connection; part of the state, forgotten when it is closed.

    Args:
        names: what the venue's number of a subscription stands for, e.g. `book tBTCUSD`.
        counts: of what is numbered here, by name.
        sequence: number of its last message, where the venue counts all of a connection; -1 = none came.
    """

    names: dict[int | str, str] = {}
    sequence: int = -1
    counts: dict[str, int] = {}

    def count(self, name: str, first: int | None = None) -> int:
        """Count on where the venue does not: one more than before, or begin with `first`."""
        self.counts[name] = number = self.counts.get(name, 0) + 1 if first is None else first
        return number

    def counts_on(self, sequence: int) -> tuple[int, int] | None:
        """Note the number of a message; returns the first and last number that are missing before it, None = none."""
        last = self.sequence
        if sequence == last + 1:
            self.sequence = sequence
            return None
        self.sequence = max(sequence, last)
        return (last + 1, sequence - 1) if 0 <= last < sequence - 1 else None
