"""Log → buffers → store → commit: each row stored once, whatever fails in between.

For each chunk: commit its range as intent, write it, tell that it is stored, commit the offset after it.

crash before the intent    nothing happened; the rows are read again, in whatever chunks
crash after the intent     the next owner builds exactly that range again, under the same name, and the store drops
                           what it has
crash after the write      the same
crash after the commit     nothing is open
partition taken away       buffers are dropped; what had an intent is finished by the next owner
store down                 consumption is paused, polling goes on (the membership survives), the write is repeated
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Final, NamedTuple, Protocol

import numpy as np

from schemas.records import DeadLetter, SinkCommit
from schemas.topics import STORED
from sinks.chunk import Buffer, Chunk, Limits, Span
from sinks.columns import Place
from sinks.commits import Commits, is_told, sink_commit
from sinks.letters import Letters, refused_letter
from sinks.observe import Observer
from sinks.position import Position
from sinks.rows import Entry, RowReader, Run
from sinks.store import Refused, Store, StoreBusyError
from sinks.tables import Table, table_of
from sinks.together import Threads, Together
from tickerplant.clock import NowUs, now_us
from tickerplant.errors import UserError
from tickerplant.health import Health
from tickerplant.logs import logger
from tickerplant.progress import Progress
from tickerplant.tally import DeadLetterLimit, Tally

POLL_ENTRIES: Final = 4000
POLL_S: Final = 0.05
POLL_LEAST_S: Final = 0.001
TOGETHER_LEAST: Final = 64
HELD_BYTES: Final = 48 * 1024 * 1024
"""Encoded bytes in all buffers together; above, the largest chunk is written before its time."""
COMMITS_AGE_S: Final = 1.0
"""Nobody waits for the rows that tell of commits: with each chunk that is stored there is one more of them."""
SHOW_S: Final = 1.0
POLL_LATE_S: Final = 5.0
"""A group takes the partitions of a member that does not poll; between chunks that take long we do."""
QUIET_S: Final = 0.4
"""A poll that brings nothing for so long has reached the end: a fetch waits half of it for more to come."""
STOP_S: Final = 5.0
REST_S: Final = 0.2
WRITES: Final = "writes"
LOST: Final = "lost_records"
REBUILD: Final = "tickerplant replay --from-archive, see docs/replay.md"
COMPACTED: Final = frozenset(topic.name for topic in STORED if topic.retention_ms is None)
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MOST_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """What is known of a partition that was given to us.

    Args:
        position: as the last owner committed it; None = never.
        generation: see `Span`.
        end_offset: offset of the next record to come, where the position does not tell what is stored; else 0.
    """

    position: Position | None
    generation: str
    end_offset: int

    @property
    def doubtful_below(self) -> int:
        """Tell up to which offset the store may have what no commit tells of."""
        known = self.position.doubtful_below if self.position else None
        return self.end_offset if known is None else known


class Listener(Protocol):
    """Told by a log, from within `poll`, whose partitions are whose."""

    def assigned(self, partitions: Mapping[Place, Assigned]) -> None:
        """Take these, from the positions given."""

    def revoked(self, partitions: Iterable[Place]) -> None:
        """Forget these; they are, or will at once be, somebody else's."""


class Log(Protocol):
    """Partitions of records with committed positions: Kafka, or memory in tests."""

    def subscribe(self, listener: Listener) -> None:
        """Ask for partitions; the listener is told from within `poll` which ones are ours."""

    def poll(self, most: int, timeout_s: float) -> Sequence[Run]:
        """Wait for up to so many records (empty = none came in time), each partition's in offset order."""

    def commit(self, positions: Mapping[Place, Position]) -> bool:
        """Commit positions; blocks. False = not all were accepted (a rebalance, the broker is away)."""

    def hold(self) -> None:
        """Stop fetching from all partitions; `poll` goes on keeping the membership."""

    def release(self) -> None:
        """Fetch again."""

    def end_offset(self, place: Place) -> int | None:
        """Tell the end of a partition as last heard, without asking; None = not heard yet."""


@dataclass
class Lane:
    """One partition on its way: the spans for which intent and write have succeeded, until they are committed.

    Args:
        commit: what is to be told of the chunk that is stored and not committed; None = nothing.
        committed: next offset, as far as it is committed; None = nothing is.
        refused: rows that were offered to the store, and those that it refused.
        is_blocked: a record was met that stops the sink: nothing after it is taken.
        due_offset: of the record that is to come; None = the first one there is.
    """

    buffer: Buffer
    progress: Progress
    intended: Span | None = None
    stored: Span | None = None
    commit: SinkCommit | None = None
    committed: int | None = None
    refused: Tally = field(default_factory=Tally)
    is_blocked: bool = False
    due_offset: int | None = None


class Due(NamedTuple):
    """A chunk whose time has come, and the lane it came from; the lane may be lost before the chunk is stored."""

    place: Place
    lane: Lane
    chunk: Chunk


class Written(NamedTuple):
    """A chunk that the store has acknowledged: what it refused, how long it took, and when that was."""

    refused: Sequence[Refused]
    seconds: float
    now_us: int


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a drain works with besides log and store.

    Args:
        is_stopping: asked while waiting for a store; True ends the wait, uncommitted.
        now_s: a clock that never goes back, seconds.
        together_least: so many records of a partition are decoded together; with fewer, one by one is as quick.
        together: makes what does so many writes at the same time.
    """

    reader: RowReader
    letters: Letters
    commits: Commits
    health: Health
    is_stopping: Callable[[], bool] = lambda: False
    now_s: Callable[[], float] = time.monotonic
    now_us: NowUs = now_us
    held_bytes: int = HELD_BYTES
    together_least: int = TOGETHER_LEAST
    together: Callable[[int], Together] = Threads
    limit: DeadLetterLimit = field(default_factory=DeadLetterLimit)


class Drain:
    """Moves records of a log into a store; not thread-safe."""

    def __init__(self, log: Log, store: Store, tools: Tools) -> None:
        self._log = log
        self._store = store
        self._tools = tools
        self._lanes: dict[Place, Lane] = {}
        self._observer = Observer(store.name)
        self._logger = logger()
        self._together = tools.together(store.limits.together)
        self._poll_s = min(POLL_S, store.limits.age_s / 4)
        self._missing: set[str] = set()
        self._stop: UserError | None = None
        self._is_resting = False
        self._shown_s = -SHOW_S
        self._polled_s = tools.now_s()
        self.late = 0  # how often writes have kept us from polling for long
        log.subscribe(self)

    def assigned(self, partitions: Mapping[Place, Assigned]) -> None:
        """Start buffers for partitions; what the last owner left half done is built again first."""
        for place, found in partitions.items():
            self._drop(place)
            self._lanes[place] = self._lane(place, found)
        self._logger.info("partitions assigned", count=len(partitions))

    def revoked(self, partitions: Iterable[Place]) -> None:
        """Drop the buffers of partitions."""
        dropped = [place for place in partitions if self._drop(place)]
        self._logger.info("partitions revoked", count=len(dropped))

    def step(self) -> None:
        """Poll once and write what is due.

        Raises:
            UserError: someone must act.
            LogWentBackError: a topic was made anew under us.
        """
        if self._is_resting:
            self._is_resting = False
            self._log.release()
        self._fill(self._patience_s())
        if self._stop is not None:  # what stands before it is stored first
            self.finish(STOP_S)
            raise self._stop
        self._flush()
        self._show()

    def rest(self) -> None:
        """Take nothing for a moment but what is under way, and store that; partitions stay ours."""
        self._is_resting = True
        self._log.hold()
        self._fill(REST_S)
        for lane in self._lanes.values():
            lane.buffer.close()
        self._flush()
        self._show()

    def offsets(self) -> dict[str, dict[int, int]]:
        """Tell what is committed of the partitions that are ours, from any thread: topic → partition → next offset."""
        found: dict[str, dict[int, int]] = {}
        for (topic, partition), lane in list(self._lanes.items()):
            if lane.committed is not None:
                found.setdefault(topic, {})[partition] = lane.committed
        return found

    def topics(self) -> tuple[str, ...]:
        """List the topics of which partitions are ours."""
        return tuple(sorted({topic for topic, _ in self._lanes}))

    def take_rest(self, within_s: float) -> None:
        """Take what the log holds by now: until a poll brings nothing, or the time is over."""
        until_s = self._tools.now_s() + within_s
        taken = 1
        while taken and self._tools.now_s() < until_s and not self._missing:
            taken = self._fill(min(QUIET_S, within_s))

    def finish(self, within_s: float) -> bool:
        """Write and commit all that is held; False = some of it was left for the next owner."""
        for lane in self._lanes.values():
            lane.buffer.close()
        until_s = self._tools.now_s() + within_s
        while self._due() and self._tools.now_s() < until_s and not self._missing:
            self._flush()
        return not self._due()

    def _lane(self, place: Place, found: Assigned) -> Lane:
        table = table_of(self._tools.reader.name(place[0]))
        buffer = Buffer(
            table,
            place,
            limits=limits_of(table, self._store.limits),
            position=found.position,
            generation=found.generation,
            doubtful_below=found.doubtful_below,
            dead_letter_limit=self._tools.limit,
        )
        progress = self._observer.progress(*place)
        progress.next_offset = found.position.offset if found.position else 0
        progress.hear(found.end_offset)
        refused = found.position.refused.copy() if found.position else Tally()
        committed = found.position.offset if found.position else None
        return Lane(buffer, progress, committed=committed, refused=refused, due_offset=committed)

    def _drop(self, place: Place) -> bool:
        """Forget a partition; False = it was not ours."""
        lane = self._lanes.pop(place, None)
        if lane is not None:
            lane.progress.close()
        return lane is not None

    def _patience_s(self) -> float:
        """Tell how long to wait for records: until the next chunk is old enough, or for a while."""
        old_s = min((lane.buffer.old_s for lane in self._lanes.values()), default=inf)
        return min(self._poll_s, max(POLL_LEAST_S, old_s - self._tools.now_s()))

    def _fill(self, timeout_s: float) -> int:
        """Poll once; returns how many records came.

        They may have waited since the poll before, as while chunks were written, and count as that old; after a longer
        time only for half of what a chunk may be, so that one that catches up still fills.
        """
        runs, count = self._log.poll(POLL_ENTRIES, timeout_s), 0
        now_s = self._tools.now_s()
        came_s, self._polled_s = max(self._polled_s, now_s - self._store.limits.age_s / 2), now_s
        for run in runs:
            self._note_hole(run)
            sizes = [len(value) if value else 0 for value in run.values]
            self._take_run(run, sizes, came_s)
            self._observer.received(run.topic, run.length, sum(sizes))
            count += run.length
        return count

    def _note_hole(self, run: Run) -> None:
        """Tell of records that expired before they could be stored; what is compacted has holes by its nature."""
        lane = self._lanes.get((run.topic, run.partition))
        if lane is None or lane.is_blocked:
            return
        end, first = run.offsets[-1] + 1, lane.due_offset
        lane.due_offset = end
        if first is None or end - first <= run.length or self._tools.reader.name(run.topic) in COMPACTED:
            return
        count, log = end - first - run.length, f"{run.topic} [{run.partition}]"
        self._observer.failed(LOST)
        self._logger.error(
            "records expired before they were stored", log=log, first=first, count=count, rebuild=REBUILD
        )

    def _take_run(self, run: Run, sizes: Sequence[int], now_s: float) -> None:
        """Take records of one partition: together where they can be decoded so, else by halves, a few one by one."""
        lane, reader = self._lanes.get((run.topic, run.partition)), self._tools.reader
        if lane is None or lane.is_blocked:
            return  # revoked by the same poll that brought them, or they stand behind one that stops us
        is_one_by_one = run.length < max(2, self._tools.together_least) or not reader.reads_many(run.topic)
        rows = None if is_one_by_one else reader.read_many(run)
        if is_one_by_one:
            for entry, size_bytes in zip(run.entries(), sizes, strict=True):
                self._take(lane, entry, size_bytes, now_s)
        elif rows is None:
            half = run.length // 2
            self._take_run(run.part(0, half), sizes[:half], now_s)
            self._take_run(run.part(half, run.length), sizes[half:], now_s)
        else:
            offsets = np.array(run.offsets, np.int64)
            lane.buffer.add_all(offsets, rows, sizes=np.array(sizes, np.int64), now_s=now_s)
            lane.progress.next_offset = run.offsets[-1] + 1
        lane.progress.written_us = run.written_us

    def _take(self, lane: Lane, entry: Entry, size_bytes: int, now_s: float) -> None:
        if lane.is_blocked:
            return  # it stands behind one that stops us
        try:
            found = self._tools.reader.read(entry)
            if isinstance(found, DeadLetter):
                self._take_letter(lane, entry, found, now_s)
            else:
                lane.buffer.add(entry.offset, found, size_bytes=size_bytes, now_s=now_s)
        except UserError as error:
            lane.is_blocked, self._stop = True, self._stop or error
        else:
            lane.progress.next_offset = entry.offset + 1

    def _take_letter(self, lane: Lane, entry: Entry, letter: DeadLetter, now_s: float) -> None:
        tally = lane.buffer.unread.copy()
        self._tools.limit.add_bad(tally)
        self._check(tally, "records", f"{entry.topic} [{entry.partition}] offset {entry.offset}", letter)
        lane.buffer.add_letter(entry.offset, letter, now_s=now_s)

    def _due(self) -> list[Due]:
        """Find the oldest due chunk of each partition."""
        sizes = {place: lane.buffer.size_bytes for place, lane in self._lanes.items()}
        if sum(sizes.values()) > self._tools.held_bytes:
            self._lanes[max(sizes, key=sizes.__getitem__)].buffer.close()
        now_s = self._tools.now_s()
        found = ((place, lane, lane.buffer.due(now_s)) for place, lane in self._lanes.items())
        return [Due(place, lane, chunk) for place, lane, chunk in found if chunk]

    def _flush(self) -> None:
        due = self._due()
        if not due:
            self._recovered()  # those who waited for the store are gone
            return
        if self._announce(due):
            together = self._store.limits.together
            for first in range(0, len(due), together):
                self._put(due[first : first + together])
                self._stay()
            self._conclude([each for each in due if self._is_stored(each)])

    def _stay(self) -> None:
        """Tell that we are alive, and our group as well, between two writes that may take long."""
        self._tools.health.beat()
        if self._tools.now_s() - self._polled_s > POLL_LATE_S:
            self.late += 1
            self._fill(0.0)

    def _announce(self, due: Sequence[Due]) -> bool:
        """Commit the intent of every chunk that will be written and has none yet."""
        new = [each for each in due if each.lane.intended != each.chunk.span and not each.chunk.is_empty]
        if new and not self._log.commit({each.place: each.chunk.intent(each.lane.refused) for each in new}):
            return False
        for each in new:
            each.lane.intended = each.chunk.span
        return True

    def _put(self, due: Sequence[Due]) -> None:
        """Write chunks and their dead letters; those of lost partitions, and all if we must stop, may stay unstored."""
        for delay_s in backoff():
            left = [each for each in due if self._is_ours(each) and not self._is_stored(each)]
            if not left:
                return
            found = self._together([partial(self._write, each.chunk) for each in left])
            failures = [self._settle(each, outcome) for each, outcome in zip(left, found, strict=True)]
            failure = next(filter(None, failures), None)
            if failure is None:
                self._recovered()
            else:
                self._wait(failure, delay_s)
            if self._tools.is_stopping():
                return

    def _write(self, chunk: Chunk) -> Written | StoreBusyError:
        """Write a chunk, in whatever thread; touches nothing but the store."""
        begun_s = self._tools.now_s()
        try:
            refused = self._store.write(chunk) if chunk.row_count else ()
        except StoreBusyError as error:
            return error
        return Written(refused, self._tools.now_s() - begun_s, self._tools.now_us())

    def _settle(self, due: Due, outcome: Written | StoreBusyError) -> StoreBusyError | None:
        """Note that a chunk is stored, once its dead letters are delivered; tells why it is not."""
        if isinstance(outcome, StoreBusyError):
            return outcome
        try:
            due.lane.commit = self._stored(due, outcome)
        except StoreBusyError as error:
            return error
        due.lane.stored = due.chunk.span
        return None

    def _stored(self, due: Due, written: Written) -> SinkCommit | None:
        """Deliver the dead letters of a chunk that the store has; returns what is to be told of it.

        Raises:
            StoreBusyError: they cannot be delivered, for now.
        """
        chunk, refused = due.chunk, written.refused
        refusals = [refused_letter(chunk, each, self._store.name) for each in refused]
        tally = self._counted(due, refused)
        if refusals:
            self._check(tally, "rows", f"{chunk.span.topic} [{chunk.span.partition}]", refusals[-1])
        letters = [*chunk.letters, *refusals]
        if letters:
            self._tools.letters.send(letters, due.place)
        for letter in letters:
            self._observer.dead(letter.venue)
        if chunk.row_count:
            self._observer.stored(chunk, seconds=written.seconds, now_us=written.now_us, refused=len(refused))
        due.lane.refused = tally
        if not is_told(chunk):
            return None
        return sink_commit(chunk, stage=f"sink.{self._store.name}", dead_letters=len(letters), now_us=written.now_us)

    def _counted(self, due: Due, refused: Sequence[Refused]) -> Tally:
        """Count the rows of a chunk in their order."""
        tally, next_row = due.lane.refused.copy(), 0
        for each in refused:
            if each.row > next_row:
                tally.good(each.row - next_row)
            self._tools.limit.add_bad(tally)
            next_row = each.row + 1
        if due.chunk.row_count > next_row:
            tally.good(due.chunk.row_count - next_row)
        return tally

    def _check(self, tally: Tally, what: str, place: str, letter: DeadLetter) -> None:
        """Stop where too much cannot be used; what was not committed is read again by the next owner.

        Raises:
            UserError: the limit is reached.
        """
        if self._tools.limit.is_reached(tally):
            raise UserError(f"{self._tools.limit.reason(tally, what, 'sink')}; the last at {place}: {letter.reason}")

    def _wait(self, error: StoreBusyError, delay_s: float) -> None:
        """Let time pass while polling, without taking more than was under way."""
        self._observer.failed(type(error.__cause__ or error).__name__)
        missing = error.dependency or self._store.dependency
        self._missing.add(missing)
        self._tools.health.down(missing, str(error), WRITES)
        until_s = self._tools.now_s() + delay_s
        while self._tools.now_s() < until_s and not self._tools.is_stopping():
            self._tools.health.beat()
            self._log.hold()
            self._fill(min(0.1, delay_s))
            self._show()

    def _recovered(self) -> None:
        if self._missing:
            self._log.release()
            while self._missing:
                self._tools.health.up(self._missing.pop(), WRITES)

    def _conclude(self, stored: Sequence[Due]) -> None:
        """Tell and commit what is stored, and forget it once that is accepted."""
        if not stored or not self._tell([each.lane.commit for each in stored if each.lane.commit]):
            return
        if not self._log.commit({each.place: each.chunk.done(each.lane.refused) for each in stored}):
            return
        for each in stored:
            each.lane.buffer.drop_first()
            each.lane.commit, each.lane.committed = None, each.chunk.span.end + 1
            self._observer.repeated(each.chunk)

    def _show(self) -> None:
        """Tell, once a second, what is held and where the partitions end."""
        now_s = self._tools.now_s()
        if now_s - self._shown_s < SHOW_S:
            return
        self._shown_s = now_s
        self._observer.held(sum(lane.buffer.row_count for lane in self._lanes.values()))
        for place, lane in self._lanes.items():
            lane.progress.hear(self._log.end_offset(place))

    def _tell(self, commits: Sequence[SinkCommit]) -> bool:
        """Tell commits before the offsets: told twice is one row, told never would be a hole."""
        try:
            self._tools.commits.tell(commits)
        except StoreBusyError as error:
            self._logger.warning("commits not told yet", reason=str(error))
            return False
        return True

    def _is_ours(self, due: Due) -> bool:
        return self._lanes.get(due.place) is due.lane

    def _is_stored(self, due: Due) -> bool:
        return self._is_ours(due) and (due.chunk.is_empty or due.lane.stored == due.chunk.span)


def limits_of(table: Table, limits: Limits) -> Limits:
    """Tell when a chunk of a table is full."""
    return replace(limits, age_s=max(limits.age_s, COMMITS_AGE_S)) if table.record is SinkCommit else limits


def backoff() -> Iterator[float]:
    """Give seconds to wait before each next try, for ever."""
    delay_s = BACKOFF_FIRST_S
    while True:
        yield delay_s
        delay_s = min(delay_s * 2, BACKOFF_MOST_S)
