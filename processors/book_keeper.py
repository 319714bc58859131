"""One symbol's book through its life: deltas buffered, a snapshot joined, gaps found, snapshots asked for, keyframes.

invalid --snapshot joins--> valid --gap, disconnect--> invalid. Time is the raw log's. What is to be published comes
back as effects, to be carried out at once: a PublishSnapshot means the book as it is now.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from processors.book import Book, TextBook
from processors.book_rules import BookRule
from processors.dedupe import Holes
from processors.items import BookChecksum, BookDelta, BookSnapshot
from schemas.records import Instrument
from schemas.symbology import partition_of

MOST_BUFFERED_DELTAS: Final = 2_000
MOST_BUFFERED_LEVELS: Final = 40_000
PATIENCE_US: Final = 30_000_000  # the producer fetches a snapshot by itself after it subscribes
FIRST_WAIT_US: Final = 2_000_000
MOST_WAIT_US: Final = 60_000_000
STABLE_US: Final = 120_000_000  # one that began to stand later, and had to wait meanwhile, is one more failure
EMPTY_BELIEVED: Final = 3  # times in a row that a venue has to say that there are no levels while updates come


class PublishDelta(msgspec.Struct, frozen=True, gc=False):
    """Publish the delta at hand; snapshot_id 0 = it is applied to no book.

    Args:
        cut_bids: prices of levels that fell out of the book with it, without a word of the venue; `cut_asks` as well.
    """

    snapshot_id: int
    cut_bids: tuple[float, ...] = ()
    cut_asks: tuple[float, ...] = ()


class PublishSnapshot(msgspec.Struct, frozen=True, gc=False):
    """Publish the whole book as it is now."""

    is_keyframe: bool


class Report(msgspec.Struct, frozen=True, gc=False):
    """Publish a quality event."""

    kind: str
    from_sequence: int = 0
    to_sequence: int = 0
    count: int = 1
    detail: str = ""


class Resnapshot(msgspec.Struct, frozen=True, gc=False):
    """Ask the producer for a snapshot."""

    reason: str


Effect = PublishDelta | PublishSnapshot | Report | Resnapshot
UNJOINED: Final = PublishDelta(0)
LATE: Final = Report("OUT_OF_ORDER")
CROSSED: Final = Report("CROSSED")
LOCKED: Final = Report("LOCKED")
STALE: Final = Report("STALE")


PHASES: Final = 61
"""Into which first keyframes are spread; none of a partition's count, which symbols are chosen by as well."""


class BookKeeper:
    """Keeps one book.

    Args:
        rule: how the venue's update ids chain.
        keyframe_us: how often the whole of a valid book is published; first after half of that or more, by symbol.
        instrument: what it is; replaced when the venue's list changes.
    """

    def __init__(self, rule: BookRule, keyframe_us: int, instrument: Instrument) -> None:
        self.book = Book()
        self.instrument = instrument
        self.most_levels = 0  # a side; 0 = the venue tells each level that goes
        self.moved_time_us = 0  # when the exchange time of what came last rose; kept where the rule looks at it
        self.is_valid = False
        self.snapshot_id = 0  # of the book that stands; rises with every snapshot and keyframe
        self.sequence = 0  # last update id the book contains
        self.exchange_time_us = 0  # of what the book contains
        self.last_seen = 0  # last update id of the stream, applied or not
        self.holes = Holes()  # ids up to last_seen that no delta brought
        self._rule = rule
        self._is_timeless = not (rule.is_in_time or rule.stale_after_us or rule.is_blind)
        self._keyframe_us = keyframe_us
        # Books that began together shall not be published together for ever.
        self._first_keyframe_us = keyframe_us - keyframe_us * partition_of(instrument.symbol, PHASES) // (2 * PHASES)
        self.plain: Sequence[Effect] = (UNJOINED,)  # what comes back for a delta that is to be published as it is
        self._plain_id = 0
        self.is_joined = False  # a delta was applied after the snapshot
        self.is_chained = False  # the next delta should follow last_seen
        self.buffer: deque[BookDelta] = deque()
        self._buffered_levels = 0
        self._fresh_deltas = 0  # appended to the buffer since `follow`
        self.next_keyframe_us = 0
        self.request_at_us = 0  # earliest time of the next request; 0 = at once
        self.request_wait_us = FIRST_WAIT_US
        self.last_request_us = 0
        self.reason = "no snapshot came"
        self.stood_time_us = 0  # when the book last began to stand
        self.empty_snapshots = 0  # in a row
        self.is_denied = False  # the book was given up for what it held, and a snapshot is owed
        self.last_mark = 0  # of what the last delta told, where it has no number to tell it by; 0 = none

    def follows(self, delta: BookDelta) -> bool:
        """Tell whether nothing is missing before a delta above `last_seen`."""
        return not self.is_chained or self._rule.follows(self.last_seen, delta)

    def missed(self, delta: BookDelta) -> bool:
        """Tell whether a delta not above `last_seen` never came."""
        return delta.sequence in self.holes

    def on_delta(self, delta: BookDelta, now_us: int) -> Sequence[Effect]:
        """Take in a delta with sizes in base currency; nothing comes back for one that was seen before."""
        last, sequence = self.last_seen, delta.sequence
        if (
            sequence > last >= self.sequence
            and self.is_joined
            and self.is_valid
            and self.is_chained
            and self._is_timeless
            and self._rule.follows(last, delta)
        ):  # as most do
            self.last_seen = sequence
            return self._take(last, delta, now_us, is_gap=False)
        if self._rule.is_blind and delta.exchange_time_us:
            return self._on_blind_delta(delta, now_us)
        return self._on_other_delta(delta, now_us)

    def on_checksum(self, item: BookChecksum, now_us: int) -> Sequence[Effect]:
        """Hold a valid book against its checksum."""
        if not self.is_valid or self._is_sum(item.checksum):
            return ()
        return self._deny(item.checksum, now_us)

    def on_snapshot(self, snapshot: BookSnapshot, now_us: int) -> Sequence[Effect]:
        """Take in a snapshot: join the buffered deltas, or ask for another; older than a valid book = ignored.

        One that came in the stream replaces the book, whatever it was.
        """
        if snapshot.is_in_stream:
            return self._take_from_stream(snapshot, now_us)
        if self.is_valid and snapshot.sequence <= self.sequence:
            return ()
        doubt = self._doubt(snapshot)
        if doubt:
            return self._refuse(doubt, now_us)
        while self.buffer and self.buffer[0].sequence <= snapshot.sequence:
            self._drop_oldest()
        if self.buffer and not self._rule.joins(snapshot.sequence, self.buffer[0]):
            first_id = self.buffer[0].first_sequence
            return self._refuse(f"snapshot {snapshot.sequence} is older than the first delta {first_id}", now_us)
        wait_us = self.request_wait_us
        self._stand(snapshot, now_us)
        count = len(self.buffer)
        for delta in self.buffer:
            self._apply(delta)
        if self.most_levels:
            self.book.cut(self.most_levels)
        self._clear_buffer()
        if self.book.is_crossed():
            self.is_valid, self.request_wait_us = False, wait_us
            return (self._crossed(), *self._refuse(f"with snapshot {snapshot.sequence} the book is crossed", now_us))
        return (PublishSnapshot(is_keyframe=False), Report("BOOK_READY", to_sequence=self.sequence, count=count))

    def on_clock(self, now_us: int) -> Sequence[Effect]:
        """Publish a keyframe, or ask for a snapshot, where it is time."""
        if not self.is_due(now_us):
            return ()
        if self._is_stale(now_us):
            self.is_denied = True
            reason = f"its time has stood still since {self.exchange_time_us}"
            return (STALE, *self._reset(reason), *self._request(reason, now_us))
        return self._check(now_us) if self.is_valid else self._request(self.reason, now_us)

    def is_due(self, now_us: int) -> bool:
        """Tell whether `on_clock` would do anything."""
        if self.is_valid:
            return now_us >= self.next_keyframe_us or self._is_stale(now_us)
        return (bool(self.buffer) or self.is_denied) and now_us >= self.request_at_us

    def level_count(self) -> int:
        """Count the levels of the book and of the deltas that wait."""
        return len(self.book) + self._buffered_levels

    def follow(self) -> None:
        """Note from now on what changes, for `book.changes` and `kept_deltas`."""
        self.book.follow()
        self._fresh_deltas = 0

    def kept_deltas(self) -> int:
        """Tell how many deltas at the buffer's start were there at `follow`; those after them are new."""
        return max(0, len(self.buffer) - self._fresh_deltas)

    def restore_buffer(self, kept: int, fresh: Iterable[BookDelta]) -> None:
        """Keep so many deltas at the buffer's end, and append those that came after."""
        while len(self.buffer) > kept:
            self._drop_oldest()
        for delta in fresh:
            self._append(delta)

    def repeats(self, exchange_time_us: int, now_us: int) -> bool:
        """Tell whether a book of this time is the one that was given up because its time stood still.

        A time far below that one's is not: it is of a venue whose clock was set back.
        """
        most_us = self._rule.stale_after_us
        if not most_us or self.is_valid or now_us - self.moved_time_us <= most_us:
            return False
        return self.exchange_time_us > 0 and 0 <= self.exchange_time_us - exchange_time_us <= most_us

    def on_disconnect(self, reason: str, now_us: int) -> Sequence[Effect]:
        """Give up the book: what comes next does not follow."""
        self._clear_buffer()
        self.is_chained = self.is_denied = False
        self.request_at_us = now_us + PATIENCE_US
        return self._reset(reason)

    def set_back(self, now_us: int) -> None:
        """Wait for nothing longer than usual, from a time that is before what was the time until now."""
        self.next_keyframe_us = min(self.next_keyframe_us, now_us + self._keyframe_us)
        self.request_at_us = min(self.request_at_us, now_us + MOST_WAIT_US)
        self.last_request_us = min(self.last_request_us, now_us)
        self.stood_time_us = min(self.stood_time_us, now_us)
        self.moved_time_us = min(self.moved_time_us, now_us)

    def restart(self, now_us: int, reason: str = "update ids start again") -> Sequence[Effect]:
        """Give up the book and forget the stream's ids: the venue counts anew, or nobody knows what is missing."""
        effects = self.on_disconnect(reason, now_us)
        self.last_seen, self.request_at_us = 0, 0
        self.is_denied = True
        self.holes = Holes()
        return (*effects, *self._request(reason, now_us))

    def distrust(self, reason: str, now_us: int) -> Sequence[Effect]:
        """Give up the book, since a change of it was lost; a snapshot is asked for no more often than others are."""
        self._clear_buffer()
        self.is_chained, self.is_denied = False, True
        return (*self._reset(reason), *self._request(reason, now_us))

    def announce(self, snapshot_id: int, now_us: int) -> Sequence[Effect]:
        """Publish a book that was kept silently, above the last snapshot id that was published."""
        self.snapshot_id = snapshot_id + 1
        self.next_keyframe_us = now_us + self._keyframe_us
        return (PublishSnapshot(is_keyframe=False), Report("BOOK_READY", to_sequence=self.sequence, count=0))

    def _take_from_stream(self, snapshot: BookSnapshot, now_us: int) -> Sequence[Effect]:
        if snapshot.is_top and (self.buffer or (self.is_valid and not 0 < self.most_levels <= snapshot.most_levels)):
            return ()
        is_late = self._is_behind(snapshot) or self._is_older(snapshot)
        return (LATE,) if is_late else self._replace(snapshot, now_us)

    def _on_blind_delta(self, delta: BookDelta, now_us: int) -> Sequence[Effect]:
        """Take in a delta without a number: one that is the last once more is left out, one of an older time is told.

        Whether that one matters, its checksum says and those that follow.
        """
        mark = mark_of(delta)
        if mark == self.last_mark:
            return ()
        self.last_mark = mark
        is_late = self.is_valid and self.is_joined and delta.exchange_time_us < self.exchange_time_us
        effects = self._on_other_delta(delta, now_us)
        return (LATE, *effects) if is_late and not self._rule.is_in_time else effects

    def _on_other_delta(self, delta: BookDelta, now_us: int) -> Sequence[Effect]:
        """Take in a delta that does not simply follow the one before in a book that stands."""
        if self._rule.is_in_time and self._is_behind(delta):
            return self._fall_behind(delta, now_us)
        last = self.last_seen
        if delta.sequence <= last:
            if not (self.is_chained and self._rule.falls_back(last, delta)):
                return self._take_late(delta)
            self.sequence = min(self.sequence, delta.sequence - 1)
        if self._rule.stale_after_us and delta.exchange_time_us > self.exchange_time_us:
            self.moved_time_us = now_us
        is_gap = False
        if not self.is_chained or not self._rule.follows(last, delta):
            is_gap = self.is_chained
            self.holes.add(last + 1, self._rule.start(delta) - 1)
        self.last_seen, self.is_chained = delta.sequence, True
        if not self.is_valid:
            return self._buffer_delta(delta, last, now_us, is_gap=is_gap)
        if delta.sequence <= self.sequence:
            return self._pass_by(last, delta, now_us, is_gap=is_gap)
        if is_gap if self.is_joined else not self._rule.joins(self.sequence, delta):
            return self._lose(delta, now_us)
        return self._take(last, delta, now_us, is_gap=is_gap)

    def _replace(self, snapshot: BookSnapshot, now_us: int) -> Sequence[Effect]:
        """Take a snapshot of the stream for the book: what came before it is in it."""
        if self.repeats(snapshot.exchange_time_us, now_us):
            return ()
        doubt = self._doubt(snapshot)
        if doubt:
            return (*self._reset(doubt), *self._refuse(doubt, now_us))
        was_valid = self.is_valid
        if self._rule.stale_after_us and snapshot.exchange_time_us > self.exchange_time_us:
            self.moved_time_us = now_us
        self._clear_buffer()
        self._stand(snapshot, now_us)
        self.last_seen, self.is_chained, self.is_joined = snapshot.sequence, True, True
        if snapshot.checksum is not None and not self._is_sum(snapshot.checksum):
            return self._deny(snapshot.checksum, now_us)
        published = PublishSnapshot(is_keyframe=False)
        return (published,) if was_valid else (published, Report("BOOK_READY", to_sequence=self.sequence, count=0))

    def _take(self, last: int, delta: BookDelta, now_us: int, *, is_gap: bool) -> Sequence[Effect]:
        """Apply a delta that fits, and look at the book that comes of it."""
        self._apply(delta)
        published = self._published()
        if delta.checksum is not None and not self._is_sum(delta.checksum):
            return (*published, *self._deny(delta.checksum, now_us))
        if is_gap:  # the snapshot bridges it: the book is right, the record of changes is not whole
            published = (self._gap(last, delta), *published)
        return (*published, *self._check(now_us)) if now_us >= self.next_keyframe_us else published

    def _published(self) -> Sequence[Effect]:
        """Publish the delta just applied, with the levels that it pushed out of the book."""
        if self.most_levels:
            bids, asks = self.book.cut(self.most_levels)
            if bids or asks:
                return (PublishDelta(self.snapshot_id, tuple(bids), tuple(asks)),)
        if self._plain_id != self.snapshot_id:
            self.plain, self._plain_id = (PublishDelta(self.snapshot_id),), self.snapshot_id
        return self.plain

    def _is_sum(self, checksum: int) -> bool:
        """Tell whether the book has this checksum, as far as can be told."""
        rule = self._rule.checksum
        if rule is None or not isinstance(self.book, TextBook):
            return True
        best = self.book.best_texts(rule.levels)
        return best is None or rule.fits(*best, self.instrument, checksum)

    def _deny(self, checksum: int, now_us: int) -> Sequence[Effect]:
        """Give up a book that does not have its checksum."""
        reason = f"the book does not have the checksum {checksum}"
        self.is_chained, self.is_denied = False, True
        return (Report("CHECKSUM", to_sequence=self.sequence), *self._reset(reason), *self._request(reason, now_us))

    def _is_behind(self, item: BookDelta | BookSnapshot) -> bool:
        """Tell whether something is older than the book that stands, at a venue whose times never fall."""
        return self._rule.is_in_time and self.is_valid and 0 < item.exchange_time_us < self.exchange_time_us

    def _is_older(self, snapshot: BookSnapshot) -> bool:
        """Tell whether a snapshot lies before the book that stands, by number and time: a venue counts anew later."""
        is_before = snapshot.sequence < self.sequence and 0 < snapshot.exchange_time_us < self.exchange_time_us
        return self._rule.has_ids and self.is_valid and is_before

    def _fall_behind(self, delta: BookDelta, now_us: int) -> Sequence[Effect]:
        """Give up a book whose updates came in another order than they were made."""
        self.last_seen, self.is_chained, self.is_denied = delta.sequence, False, True
        reason = "an update came after newer ones"
        return (LATE, *self._reset(reason), *self._request(reason, now_us), UNJOINED)

    def _is_stale(self, now_us: int) -> bool:
        most_us = self._rule.stale_after_us
        return bool(most_us) and self.is_valid and now_us - self.moved_time_us > most_us

    def _doubt(self, snapshot: BookSnapshot) -> str:
        """Say why a snapshot cannot be right; empty = it can."""
        bids, asks = snapshot.bid_prices, snapshot.ask_prices
        was_empty = self.is_valid and len(self.book) == 0
        is_empty = not bids and not asks and self.last_seen > 0 and not was_empty
        self.empty_snapshots = self.empty_snapshots + 1 if is_empty else 0
        if 0 < self.empty_snapshots < EMPTY_BELIEVED:
            return f"snapshot {snapshot.sequence} has no levels"
        return f"snapshot {snapshot.sequence} is crossed" if bids and asks and max(bids) >= min(asks) else ""

    def _refuse(self, reason: str, now_us: int) -> Sequence[Effect]:
        """Ask for another snapshot than the one that came: there is none to be patient for any more."""
        if self.is_valid:
            return ()
        earliest_us = self.last_request_us + self.request_wait_us if self.last_request_us else now_us
        self.request_at_us = min(self.request_at_us, earliest_us)
        return self._request(reason, now_us)

    def _pass_by(self, last: int, delta: BookDelta, now_us: int, *, is_gap: bool) -> Sequence[Effect]:
        """Publish a delta that the snapshot contains, as history; if they still come much later, it was a wrong one."""
        gap = (self._gap(last, delta),) if is_gap else ()
        if now_us < self.stood_time_us + PATIENCE_US:
            return (*gap, UNJOINED)
        reason = f"snapshot {self.sequence} is ahead of the stream"
        return (*gap, *self._reset(reason), *self._request(reason, now_us), UNJOINED)

    def _take_late(self, delta: BookDelta) -> Sequence[Effect]:
        """Publish what was missed, as history; what came before gives nothing."""
        if not self.missed(delta):
            return ()
        self.holes.fill(self._rule.start(delta), delta.sequence)
        return (UNJOINED, LATE)

    def _buffer_delta(self, delta: BookDelta, last: int, now_us: int, *, is_gap: bool) -> Sequence[Effect]:
        """Keep a delta for the snapshot to come; the oldest give way, since a late snapshot needs the newest."""
        effects: list[Effect] = []
        if is_gap:
            self._clear_buffer()
            effects.append(self._gap(last, delta))
        self._append(delta)
        while len(self.buffer) > MOST_BUFFERED_DELTAS or self._buffered_levels > MOST_BUFFERED_LEVELS:
            self._drop_oldest()
        if self.request_at_us == 0 and self.last_request_us == 0:
            self.request_at_us = now_us + PATIENCE_US
        return (*effects, *self._request(self.reason, now_us), UNJOINED)

    def _lose(self, delta: BookDelta, now_us: int) -> Sequence[Effect]:
        gap = self._gap(self.sequence, delta)
        reset = self._reset(f"updates {gap.from_sequence} to {gap.to_sequence} are missing")
        self._append(delta)
        return (gap, *reset, *self._request("gap", now_us), UNJOINED)

    def _gap(self, last: int, delta: BookDelta) -> Report:
        first, final = self._rule.missing(last, delta)
        return Report("GAP", from_sequence=first, to_sequence=final)

    def _reset(self, reason: str) -> Sequence[Effect]:
        if not self.is_valid:
            return ()
        self.is_valid = False
        self.book.clear()
        return (Report("BOOK_RESET", from_sequence=self.sequence, detail=reason),)

    def _request(self, reason: str, now_us: int) -> Sequence[Effect]:
        """Ask for a snapshot, unless it is too early; then a later call does."""
        self.reason = reason
        if now_us < self.request_at_us:
            return ()
        if self.last_request_us <= self.stood_time_us and now_us - self.stood_time_us >= STABLE_US:
            self.request_wait_us = FIRST_WAIT_US
        self.last_request_us = now_us
        self.request_at_us = now_us + self.request_wait_us
        self.request_wait_us = min(2 * self.request_wait_us, MOST_WAIT_US)
        return (Resnapshot(reason),)

    def _stand(self, snapshot: BookSnapshot, now_us: int) -> None:
        bids, asks = (snapshot.bid_prices, snapshot.bid_sizes), (snapshot.ask_prices, snapshot.ask_sizes)
        if (snapshot.texts is not None) is not isinstance(self.book, TextBook):
            self.book = Book() if snapshot.texts is None else TextBook()
        self.book.replace(bids, asks, snapshot.texts)
        self.most_levels = snapshot.most_levels
        self.sequence, self.exchange_time_us = snapshot.sequence, snapshot.exchange_time_us
        self.is_valid, self.is_joined, self.is_denied = True, False, False
        self.stood_time_us = now_us
        self.last_mark = 0
        self.snapshot_id += 1
        self.next_keyframe_us = now_us + self._first_keyframe_us
        self.request_at_us = self.last_request_us + self.request_wait_us if self.last_request_us else 0
        self.reason = "no snapshot came"

    def _apply(self, delta: BookDelta) -> None:
        self.book.apply((delta.bid_prices, delta.bid_sizes), (delta.ask_prices, delta.ask_sizes), delta.texts)
        self.sequence, self.exchange_time_us = delta.sequence, delta.exchange_time_us
        self.is_joined = True
        if delta.most_levels:
            self.most_levels = delta.most_levels

    def _check(self, now_us: int) -> Sequence[Effect]:
        """Publish a keyframe, unless the book is seen to be wrong."""
        if self.book.is_crossed():
            reason = "the book is crossed"
            return (self._crossed(), *self._reset(reason), *self._request(reason, now_us))
        self.snapshot_id += 1
        self.next_keyframe_us = now_us + self._keyframe_us
        return (PublishSnapshot(is_keyframe=True),)

    def _crossed(self) -> Report:
        return LOCKED if self.book.is_locked() else CROSSED

    def _append(self, delta: BookDelta) -> None:
        self.buffer.append(delta)
        self._buffered_levels += level_count(delta)
        self._fresh_deltas += 1

    def _drop_oldest(self) -> None:
        self._buffered_levels -= level_count(self.buffer.popleft())

    def _clear_buffer(self) -> None:
        self.buffer.clear()
        self._buffered_levels = self._fresh_deltas = 0


def mark_of(delta: BookDelta) -> int:
    """Make a number of all that a delta tells, its own number left out: the same on each machine."""
    sides = (delta.bid_prices, delta.bid_sizes, delta.ask_prices, delta.ask_sizes)
    return hash((delta.exchange_time_us, delta.checksum or 0, *map(tuple, sides)))


def level_count(delta: BookDelta) -> int:
    """Count the levels of a delta."""
    return len(delta.bid_prices) + len(delta.ask_prices)
