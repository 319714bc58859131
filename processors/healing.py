"""Trades of one symbol that are missing by id → when they are asked for, and whether they came; pure.

A hole is asked for once it has stood for a while, since what is only late fills it by itself; again where that brought
nothing, as no producer may have heard; and it is given up in the end. Time is the raw log's. All else: docs/healing.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

ASK_AFTER_US: Final = 2_000_000
AGAIN_US: Final = (30_000_000, 300_000_000, 600_000_000)
"""After each time it was asked for; at the last one it is given up."""
TOGETHER: Final = 1000
"""Holes that begin within so many ids are asked for at once: a page of trades holds about as many."""
MOST_HOLES: Final = 64

NOT_KNOWN: Final = "the venue does not have them"
NO_ANSWER: Final = f"asked {len(AGAIN_US)} times"
TOO_MANY: Final = "there are too many holes"
RESTARTED: Final = "ids have started again"


class Span(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Ids, or times in µs, first to last."""

    first: int
    last: int


class Wound(msgspec.Struct, array_like=True):
    """A hole that was told of.

    Args:
        left: ids in it that did not come yet, in rising order.
        after_us: exchange time of the newest trade before it; 0 = not known.
        restored: how many of it came by REST.
        absent: how many of it the venue does not have.
        tries: how often it was asked for.
        ends: names of the trades before and after it; "" = they have none.
    """

    first: int
    last: int
    left: list[Span]
    after_us: int
    next_us: int
    restored: int = 0
    absent: int = 0
    tries: int = 0
    ends: tuple[str, str] = ("", "")


class Ask(NamedTuple):
    """Trades to be fetched: ids first to last (0 = they tell no holes), of a time with its ends (0 = not known)."""

    first: int
    last: int
    after_us: int
    until_us: int = 0


class Closed(NamedTuple):
    """A hole of which nothing more is awaited; `missing` = 0: all of it came, `restored` of that by REST."""

    first: int
    last: int
    restored: int
    missing: int
    why: str


class Healing:
    """The holes in one symbol's ids that are not closed, in the order in which they were found."""

    __slots__ = ("next_us", "wounds")

    def __init__(self) -> None:
        self.wounds: list[Wound] = []
        self.next_us = 0  # when `due` may have something to do; 0 = there is no hole

    def open(self, span: Span, after_us: int, now_us: int, ends: tuple[str, str] = ("", "")) -> Closed | None:
        """Note a hole, and what the trades at its ends are called; returns what is given up for it."""
        self.wounds.append(Wound(span.first, span.last, [span], after_us, now_us + ASK_AFTER_US, ends=ends))
        closed = None
        if len(self.wounds) > MOST_HOLES:
            closed = _closed(self.wounds.pop(0), TOO_MANY)
        self._plan()
        return closed

    def since_us(self) -> int:
        """Tell from when on trades are missing that may still come; 0 = none are, or it is not known."""
        return min((each.after_us for each in self.wounds if each.after_us), default=0)

    def fill(self, number: int, *, is_restored: bool) -> Closed | None:
        """Note that an id came, over REST or late; returns the hole that is closed by it."""
        for wound in self.wounds:
            if wound.first <= number <= wound.last and _take(wound, Span(number, number)):
                wound.restored += is_restored
                return self._close(wound)
        return None

    def numbers_of(self, names: Sequence[str]) -> dict[str, int]:
        """Tell the ids of trades that are told by name alone, all from one to another, in rising order.

        Those between the ends of a hole are those of the hole, where they are as many as are missing.
        """
        places = {name: place for place, name in enumerate(names)}
        found: dict[str, int] = {}
        for wound in self.wounds:
            before, after = (places.get(name, -1) for name in wound.ends)
            if before >= 0 and after - before - 1 == wound.last - wound.first + 1:
                found.update(zip(names[before + 1 : after], range(wound.first, wound.last + 1), strict=True))
        return found

    def cover(self, span: Span) -> Iterator[Closed]:
        """Note that the venue has told all trades of some ids: of those that did not come, there are none."""
        for wound in list(self.wounds):
            count = _take(wound, span)
            wound.absent += count
            if count and (closed := self._close(wound)) is not None:
                yield closed

    def due(self, now_us: int) -> Iterator[Ask | Closed]:
        """Tell what is to be asked for at a time, and what is given up."""
        for wound in [each for each in self.wounds if now_us >= each.next_us and each.tries >= len(AGAIN_US)]:
            self.wounds.remove(wound)
            yield _closed(wound, NO_ANSWER)
        while due := [each for each in self.wounds if now_us >= each.next_us]:
            first = due[0].left[0].first
            together = [each for each in due if abs(each.left[0].first - first) < TOGETHER]
            for each in together:
                each.next_us = now_us + AGAIN_US[each.tries]
                each.tries += 1
            ids = [span for each in together for span in (each.left[0].first, each.left[-1].last)]
            yield Ask(min(ids), max(ids), min(each.after_us for each in together))
        self._plan()

    def set_back(self, now_us: int) -> None:
        """Wait for nothing longer than usual, from a time that is before what was the time until now."""
        for each in self.wounds:
            each.next_us = min(each.next_us, now_us + (AGAIN_US[each.tries - 1] if each.tries else ASK_AFTER_US))
        self._plan()

    def clear(self) -> list[Closed]:
        """Give up all holes: the venue's ids have started again."""
        closed = [_closed(each, RESTARTED) for each in self.wounds]
        self.restore([])
        return closed

    def restore(self, wounds: list[Wound]) -> None:
        """Go on from what `wounds` was."""
        self.wounds = wounds
        self._plan()

    def _close(self, wound: Wound) -> Closed | None:
        if wound.left:
            return None
        self.wounds.remove(wound)
        self._plan()
        return _closed(wound, NOT_KNOWN if wound.absent else "")

    def _plan(self) -> None:
        self.next_us = min((each.next_us for each in self.wounds), default=0)


def _closed(wound: Wound, why: str) -> Closed:
    missing = wound.absent + sum(each.last - each.first + 1 for each in wound.left)
    return Closed(wound.first, wound.last, wound.restored, missing, why)


def _take(wound: Wound, span: Span) -> int:
    """Take ids out of those that are left; returns how many there were."""
    left, count = without(wound.left, span)
    if count:
        wound.left = left
    return count


def without(spans: Iterable[Span], gone: Span) -> tuple[list[Span], int]:
    """Take what lies in `gone` (nothing, where its last is below its first) out of spans; tells how much that was."""
    left: list[Span] = []
    count = 0
    for each in spans:
        first, last = max(each.first, gone.first), min(each.last, gone.last)
        if first > last:
            left.append(each)
            continue
        count += last - first + 1
        if each.first < first:
            left.append(Span(each.first, first - 1))
        if last < each.last:
            left.append(Span(last + 1, each.last))
    return left, count
