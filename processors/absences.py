"""Times in which trades were lost, where ids tell no hole → when they are asked for, what is taken of answers; pure.

Such a time begins with the loss of the connection, and ends with the next trade. An answer tells the newest trades, or
all of a time; those are taken that lie within, ends included, and are not known. An answer that reaches to an end, and
does not tell the trade that is known there, is of no use: the venue does not have all of it yet, or calls trades
otherwise. Times are the venue's, waits are by the raw log's.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from processors.healing import AGAIN_US, ASK_AFTER_US, NO_ANSWER, Ask, Closed, Span, without

MOST_ABSENCES: Final = 8
MOST_KNOWN: Final = 10_000  # of one time
NEWEST_US: Final = 2**63 - 1
"""The end of what an answer with the newest trades tells."""

TradeId = int | str


class Absence(msgspec.Struct, array_like=True):
    """A time in which trades were lost.

    Args:
        after_us: of the newest trade before.
        until_us: of the first trade after; 0 = there was none yet.
        known: ids of the trades within that are stored.
        next_us: when it is asked for, or given up; `tries`: how often it was.
        restored: how many trades came by REST.
        left: times of which no answer has told all trades; empty = none was of use yet.
        until_id: of the first trade after; None = there was none yet, or its time lies before the loss.
    """

    after_us: int
    until_us: int
    known: list[TradeId]
    next_us: int = 0
    tries: int = 0
    restored: int = 0
    left: list[Span] = []
    until_id: TradeId | None = None

    def has(self, time_us: int) -> bool:
        """Tell whether a time lies within."""
        return self.after_us <= time_us <= self.until_us

    def rest(self) -> list[Span]:
        """List the times of which no answer has told all trades, in rising order."""
        return self.left or [Span(self.after_us, self.until_us)]

    def is_told_by(self, numbers: Collection[TradeId], told: Span) -> bool:
        """Tell whether an answer has the trades that are known at those ends which it reaches to."""
        if told.first <= self.after_us <= told.last and not any(each in numbers for each in self.known):
            return False
        return self.until_id is None or not told.first <= self.until_us <= told.last or self.until_id in numbers


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

    def take(
        self, page: Sequence[tuple[TradeId, int]], from_us: int = 0, until_us: int = 0
    ) -> tuple[set[TradeId], list[Closed]]:
        """Take trades as they came by REST, ids and times: all from one time to another, or the newest ones (0, 0).

        Returns:
            Ids of those that were lost, and what is closed by it: all its time was told.
        """
        numbers = {number for number, _ in page}
        lost: set[TradeId] = set()
        closed = []
        for each in [each for each in self._piece.absences if each.until_us and (page or until_us)]:
            told = Span(from_us, until_us) if until_us else _newest(each, page)
            if not each.is_told_by(numbers, told):
                continue
            found = _found(each, page)
            left, _ = without(each.rest(), told)
            each.known += [number for number, time_us in found.items() if _lies_in(time_us, left)]
            each.restored += len(found.keys() - lost)
            lost.update(found)
            each.left = left
            if not left:
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
            yield Ask(0, 0, min(each.rest()[0].first for each in asked), max(each.rest()[-1].last for each in asked))
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
            last.until_id = number if time_us >= last.after_us else None
            self._plan()
        for each in self._piece.absences:
            if each.has(time_us):
                each.known.append(number)

    def _plan(self) -> None:
        self.next_us = min((each.next_us for each in self._piece.absences if each.until_us), default=0)


def _newest(absence: Absence, page: Sequence[tuple[TradeId, int]]) -> Span:
    """Tell what the newest trades tell: those of their first time may not be all, unless one of them is known."""
    oldest_us = min(time_us for _, time_us in page)
    is_known = any(time_us == oldest_us and number in absence.known for number, time_us in page)
    return Span(oldest_us if is_known else oldest_us + 1, NEWEST_US)


def _found(absence: Absence, page: Sequence[tuple[TradeId, int]]) -> dict[TradeId, int]:
    """Tell which trades of an answer are missing, and their times."""
    known, rest = set(absence.known), absence.rest()
    return {number: time_us for number, time_us in page if number not in known and _lies_in(time_us, rest)}


def _lies_in(time_us: int, spans: Sequence[Span]) -> bool:
    return any(each.first <= time_us <= each.last for each in spans)


def _span(absence: Absence) -> str:
    return f"trades of {absence.after_us} to {absence.until_us}"
