"""Times in which trades were lost, where ids tell no hole → when they are asked for, what is taken of answers; pure.

Such a time begins with the loss of the connection, and ends with the next trade. What is asked for are the newest
trades; those are taken that lie within, ends included, and are not known. Times are the venue's, waits are by the raw
log's.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from processors.healing import AGAIN_US, ASK_AFTER_US, NO_ANSWER, Ask, Closed

MOST_ABSENCES: Final = 8
MOST_KNOWN: Final = 10_000  # of one time

TradeId = int | str


class Absence(msgspec.Struct, array_like=True):
    """A time in which trades were lost.

    Args:
        after_us: of the newest trade before.
        until_us: of the first trade after; 0 = there was none yet.
        known: ids of the trades within that are stored.
        next_us: when it is asked for, or given up; `tries`: how often it was.
        restored: how many trades came by REST.
    """

    after_us: int
    until_us: int
    known: list[TradeId]
    next_us: int = 0
    tries: int = 0
    restored: int = 0

    def has(self, time_us: int) -> bool:
        """Tell whether a time lies within."""
        return self.after_us <= time_us <= self.until_us


class AbsencesPiece(msgspec.Struct, array_like=True):
    """State of `Absences`."""

    newest_us: int = 0
    newest: list[TradeId] = []
    absences: list[Absence] = []


class Absences:
    """The times that are not closed, of one symbol."""

    __slots__ = ("_piece", "next_us")

    def __init__(self) -> None:
        self._piece = AbsencesPiece()
        self.next_us = 0  # when `due` may have something to do; 0 = not before another trade

    def note(self, number: TradeId, time_us: int, now_us: int) -> None:
        """Take note of a trade that the stream has told."""
        piece = self._piece
        if time_us > piece.newest_us:
            piece.newest_us, piece.newest = time_us, [number]
        elif time_us == piece.newest_us and time_us:
            piece.newest.append(number)
            del piece.newest[:-MOST_KNOWN]
        if piece.absences:
            self._end(number, time_us, now_us)

    def begin(self) -> None:
        """Note that trades are lost from the newest one on."""
        piece = self._piece
        if piece.newest_us and not (piece.absences and not piece.absences[-1].until_us):
            piece.absences.append(Absence(piece.newest_us, 0, list(piece.newest)))
            del piece.absences[:-MOST_ABSENCES]

    def since_us(self) -> int:
        """Tell from when on trades are missing that may still come; 0 = none are."""
        return min((each.after_us for each in self._piece.absences), default=0)

    def take(self, page: Sequence[tuple[TradeId, int]]) -> tuple[set[TradeId], list[Closed]]:
        """Take the newest trades as they came by REST, ids and times, without holes.

        Returns:
            Ids of those that were lost, and what is closed by it: the page goes back to before the loss.
        """
        oldest_us = min((time_us for _, time_us in page), default=0)
        oldest = {number for number, time_us in page if time_us == oldest_us}
        lost: set[TradeId] = set()
        closed = []
        for each in [each for each in self._piece.absences if each.until_us and page]:
            reaches = oldest_us < each.after_us or bool(oldest.intersection(each.known))
            found = [number for number, time_us in page if each.has(time_us) and number not in each.known]
            each.known += found
            each.restored += len(set(found) - lost)
            lost.update(found)
            if reaches:
                self._piece.absences.remove(each)
                closed.append(Closed(0, 0, each.restored, 0, _span(each)))
        self._plan()
        return lost, closed

    def due(self, now_us: int) -> Iterator[Ask | Closed]:
        """Tell what is to be asked for at a time, and what is given up."""
        waiting = [each for each in self._piece.absences if each.until_us and now_us >= each.next_us]
        for each in waiting:
            if each.tries >= len(AGAIN_US):
                self._piece.absences.remove(each)
                yield Closed(0, 0, each.restored, 1, f"{_span(each)}: {NO_ANSWER}")
        asked = [each for each in waiting if each.tries < len(AGAIN_US)]
        for each in asked:
            each.next_us = now_us + AGAIN_US[each.tries]
            each.tries += 1
        if asked:
            yield Ask(0, 0, min(each.after_us for each in asked))
        self._plan()

    def set_back(self, now_us: int) -> None:
        """Wait for nothing longer than usual, from a time that is before what was the time until now."""
        for each in self._piece.absences:
            each.next_us = min(each.next_us, now_us + (AGAIN_US[each.tries - 1] if each.tries else ASK_AFTER_US))
        self._plan()

    def capture(self) -> AbsencesPiece:
        """Tell all that is needed to go on elsewhere."""
        return self._piece

    def restore(self, piece: AbsencesPiece) -> None:
        """Go on from what `capture` told."""
        self._piece = piece
        self._plan()

    def _end(self, number: TradeId, time_us: int, now_us: int) -> None:
        last = self._piece.absences[-1]
        if not last.until_us:
            last.until_us, last.next_us = max(time_us, last.after_us), now_us + ASK_AFTER_US
            self._plan()
        for each in self._piece.absences:
            if each.has(time_us):
                each.known.append(number)

    def _plan(self) -> None:
        self.next_us = min((each.next_us for each in self._piece.absences if each.until_us), default=0)


def _span(absence: Absence) -> str:
    return f"trades of {absence.after_us} to {absence.until_us}"
