"""One stream of one symbol as several connections bring it → the items once each, in order: first come, first applied.

While one connection alone carries a stream, `sole` names it and nothing passes through here. Where more do, an item
that one of them brought is redundant when another brings it. An item that leaves something out waits while another
connection may still bring what is missing: one that stands before the hole, until it has passed it, disconnects or is
silent, or patience ends. Time is the raw log's; it may step back a little between connections.
"""

from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from processors.batch import Batch

PATIENCE_US: Final = 1_000_000  # for a hole that another connection may fill, since something last moved
SILENCE_US: Final = 5_000_000  # behind and silent for as long, a connection is gone: a killed producer says no goodbye
RESTART_US: Final = 30_000_000  # all connections behind for as long: the venue's ids have started again
MOST_HELD: Final = 2_000
NOTHING: Final = -1

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Chain(Protocol[T_contra]):
    """What was let through of a stream, by keys that rise: ids, sequences, times."""

    is_exact: bool
    """Keys tell items apart: one that is let through once more is found to be a repeat."""

    @property
    def head(self) -> int:
        """Key of the newest item; `NOTHING` = there was none."""

    def follows(self, item: T_contra, previous: int) -> bool:
        """Tell whether nothing is missing before an item above the head.

        Args:
            previous: key of the item before, on the same connection; `NOTHING` = it is the first.
        """

    def has(self, item: T_contra) -> bool:
        """Tell whether an item not above the head was let through."""


class Carrier(msgspec.Struct, array_like=True):
    """A connection that carries the stream beside others."""

    key: int  # of what it brought last
    behind_since_us: int = 0  # others brought newer items, and it nothing, since then; 0 = it is not behind


class Held(msgspec.Struct, Generic[T], array_like=True):
    """An item that waits for what is missing before it."""

    item: T
    key: int
    previous: int
    connection: str
    recv_time_us: int


_KEY = attrgetter("key")


class Line(Generic[T]):
    """One stream of one symbol.

    Args:
        chain: what was let through.
        emit: lets an item through as if there were one connection: it reports holes and repeats by itself.
        restart: forgets what was let through, since keys start again.
        most_held: more items do not wait.
    """

    __slots__ = (
        "_chain", "_emit", "_most_held", "_restart", "carriers", "held", "lead", "lead_before", "lost_since_us", "sole",
        "waits_since_us",
    )  # fmt: skip

    def __init__(
        self,
        chain: Chain[T],
        emit: Callable[[Batch, T], None],
        restart: Callable[[Batch], None],
        most_held: int = MOST_HELD,
    ) -> None:
        self.sole = ""  # the one connection that carries the stream; empty = none, or see `carriers`
        self.carriers: dict[str, Carrier] = {}
        self.lead = ""  # the one of `carriers` that brought the head
        self.lead_before = ""  # the lead until then, while an item is let through
        self.held: list[Held[T]] = []  # by key
        self.waits_since_us = 0  # when something moved last, while items are held
        self.lost_since_us = 0  # since when all carriers are behind the head; 0 = they are not
        self._chain, self._emit, self._restart, self._most_held = chain, emit, restart, most_held

    def take(self, batch: Batch, item: T, key: int) -> None:
        """Take in an item of a connection that is not the sole one."""
        now_us, connection = batch.recv_time_us, batch.connection
        if self.sole:
            self.carriers[self.sole] = Carrier(self._chain.head)
            self.lead, self.sole = self.sole, ""
        carrier = self.carriers.get(connection)
        previous = NOTHING
        if carrier is None:
            carrier = self.carriers[connection] = Carrier(key)
        else:
            previous, carrier.key = carrier.key, key
        head = self._chain.head
        if key > head:
            if not self.held and self._chain.follows(item, previous):
                self._let(batch, item, connection)
            else:
                self._hold(batch, Held(item, key, previous, connection, now_us))
        elif self._is_due(item, key, previous, connection):
            self._emit(batch, item)
        else:
            batch.note_redundant(connection)
        carrier.behind_since_us = now_us  # heard just now; `settle` puts it right where it is not behind
        self.settle(batch)

    def leave(self, batch: Batch, connection: str) -> bool:
        """Note that a connection is gone; True = it carried this stream."""
        if self.sole == connection:
            self.sole = ""
            return True
        if self.carriers.pop(connection, None) is None:
            return False
        self.settle(batch)
        return True

    def set_back(self, now_us: int) -> None:
        """Count what waits from a time that is before what was the time until now."""
        self.waits_since_us = min(self.waits_since_us, now_us)
        self.lost_since_us = min(self.lost_since_us, now_us)
        for carrier in self.carriers.values():
            carrier.behind_since_us = min(carrier.behind_since_us, now_us)

    def flush(self, batch: Batch) -> None:
        """Let through all that waits; for files that end, not for streams."""
        while self.held:
            self._let_first(batch)

    def settle(self, batch: Batch) -> None:
        """Let through what need not wait any longer, and forget who is gone."""
        now_us = batch.recv_time_us
        while self.held and not self._must_wait(now_us):
            self._let_first(batch)
        head = self._chain.head
        is_lost = True
        for connection, carrier in list(self.carriers.items()):
            if carrier.key >= head:
                carrier.behind_since_us, is_lost = 0, False
            elif not carrier.behind_since_us:
                carrier.behind_since_us = now_us
            elif now_us - carrier.behind_since_us > SILENCE_US:
                del self.carriers[connection]
        if is_lost:
            self._find(batch)
        else:
            self.lost_since_us = 0
            if len(self.carriers) == 1 and not self.held:
                (self.sole,) = self.carriers
                self.carriers.clear()

    @property
    def is_carried(self) -> bool:
        """Tell whether a connection brings this stream."""
        return bool(self.sole or self.carriers)

    def _is_due(self, item: T, key: int, previous: int, connection: str) -> bool:
        """Tell whether an item not above the head is let through: a late one, or one that its connection repeats.

        What a repeat is to give is for `emit` to say. Where keys do not tell items apart, only the connection that
        brought the head can repeat it.
        """
        if key > previous:
            return not self._chain.has(item)
        return self._chain.is_exact or (previous == self._chain.head and connection == self.lead)

    def _must_wait(self, now_us: int) -> bool:
        first, head = self.held[0], self._chain.head
        if first.key <= head or self._chain.follows(first.item, first.previous):
            return False
        if len(self.held) > self._most_held or now_us - self.waits_since_us >= PATIENCE_US:
            return False
        return any(carrier.key <= head for carrier in self.carriers.values())

    def _hold(self, batch: Batch, held: Held[T]) -> None:
        at = bisect_left(self.held, held.key, key=_KEY)
        if at < len(self.held) and self.held[at].key == held.key:
            batch.note_redundant(held.connection)
            return
        if not self.held:
            self.waits_since_us = held.recv_time_us
        self.held.insert(at, held)

    def _let_first(self, batch: Batch) -> None:
        first = self.held.pop(0)
        if first.key <= self._chain.head and self._chain.has(first.item):
            batch.note_redundant(first.connection)
            return
        now_us, batch.recv_time_us = batch.recv_time_us, first.recv_time_us
        self._let(batch, first.item, first.connection)
        batch.recv_time_us = self.waits_since_us = now_us

    def _let(self, batch: Batch, item: T, connection: str) -> None:
        """Let the newest item through."""
        self.lead_before, self.lead = self.lead, connection
        self._emit(batch, item)
        self.lead_before = ""

    def _find(self, batch: Batch) -> None:
        """All are behind the head: they will reach it, or the venue's keys have started again."""
        now_us = batch.recv_time_us
        if not self.carriers or not self.lost_since_us:
            self.lost_since_us = now_us if self.carriers else 0
        elif now_us - self.lost_since_us > RESTART_US:
            self.lost_since_us = 0
            self._restart(batch)
