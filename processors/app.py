"""The Faust application: raw topics in, one PartitionWorker a partition, state written and offsets committed in step.

The only importer of Faust. What it must do and what not is in `docs/decisions`: Faust brings the consumer group, its
heartbeats and the fetching; offsets are committed here, after the state as of them is delivered.
"""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import faust
import mode
import uvloop
from faust.types import TP

from processors.errors import StateError, StateVersionError
from processors.fetching import Glances, Handing
from processors.outputs import Encoders, Outputs
from processors.pieces import HEAD, OutputsPiece
from processors.pipeline import Pipeline
from processors.silence import highest
from processors.start import Log, Start, find_start
from processors.state_store import Loaded, StateAwayError, StateStore, damaged, load
from processors.venues import VENUES
from processors.watch import KafkaWitness, Position, works
from processors.worker import LEASE_US, METRIC_STAGE, Captured, OffsetError, PartitionWorker, outputs_of
from processors.written import Written, find_written
from schemas.records import RawFrames, State
from schemas.topics import raw_topic
from tickerplant import metrics
from tickerplant.clock import NowUs, now_us, steady_us
from tickerplant.errors import DependencyError, UserError
from tickerplant.health import Health, watched
from tickerplant.kafka import Consumer, OffsetReader, Publisher, check_broker, consumer, partition_count
from tickerplant.logs import logger
from tickerplant.once import with_life
from tickerplant.probes import common_probes
from tickerplant.progress import Progress
from tickerplant.registry import Registry
from tickerplant.security import kafka_ssl_context
from tickerplant.settings import Kafka, Settings
from tickerplant.tally import DeadLetterLimit
from tickerplant.watchdog import Work, guarded

APP_ID: Final = "tickerplant.processor"
ROLE: Final = "process"
BEAT_S: Final = 1.0
SESSION_S: Final = 10.0
STREAM_BUFFER_RECORDS: Final = 4096  # of 32 KiB at most each (producer.record_bytes): bounds memory in a backlog
MOST_WAITING_RECORDS: Final = 50_000
POLL_S: Final = 0.003
FETCH_WAIT_MS: Final = 10
FETCH_LEAST_BYTES: Final = 1
FETCH_BYTES: Final = 4 * 1024 * 1024
GC_ALLOCATIONS: Final = (
    50_000  # the default of 700 costs a third of the time: frames are thousands of short-lived dicts
)
YIELD_EVERY_S: Final = 0.004
CATCH_UP_S: Final = 1.5
HEAR_S: Final = 0.1  # until the last fetch has told where partitions end
SLICE_S: Final = 0.001
MOST_WAITING_STATE_BYTES: Final = 8 * 1024 * 1024
PIECES_PER_S: Final = 300.0  # of state: each takes about 0.1 ms of ours, and as much of the client and the broker
RAREST_S: Final = 3.0  # far below the lease
LAST_SNAPSHOT_S: Final = 5.0
SHOW_S: Final = 0.25
CLOSE_S: Final = 1.0
LOAD_AGAIN_S: Final = 1.0
LIVES_S: Final = 5.0  # how often is asked whether raw topics are the ones they were
SWITCH_S: Final = 0.0005  # Faust fetches in a thread: with the default of 5 ms each hand-over costs up to that
NO_PARTITION: Final = TP("", 0)
REBUILD: Final = "tickerplant replay --from-archive, see docs/replay.md"
T = TypeVar("T")
NEVER_S: Final = 10 * 365 * 86400.0


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a processor works with besides Faust.

    Args:
        connect: makes a consumer of a group that is not joined: by it state and outputs are read.
        partition_counts: of the raw topics, by full name.
        steady_us: a clock that nobody sets.
    """

    publisher: Publisher
    offsets: OffsetReader
    registry: Registry
    partition_counts: Mapping[str, int]
    connect: Callable[..., Consumer] = consumer
    now_us: NowUs = now_us
    steady_us: NowUs = steady_us


class Known(NamedTuple):
    """What is known of a raw partition: its state, where to go on, and what the broker says."""

    loaded: Loaded
    start: Start
    log: Log


def tools(settings: Settings) -> Tools:
    """Make the tools of a process.

    Raises:
        UserError: topics are missing.
        DependencyError: broker or registry does not answer.
    """
    check_broker(settings)
    names = [raw_topic(venue).name for venue in VENUES]
    counts = {name + settings.kafka.topic_suffix: partition_count(settings, name) for name in names}
    return Tools(
        publisher=Publisher(settings),
        offsets=OffsetReader(settings),
        registry=Registry(settings),
        partition_counts=counts,
    )


class Processor:
    """All raw partitions of this process, through rebalances and snapshots.

    Args:
        with_tools: None = made from the settings, as `tools` does.

    Raises:
        UserError: topics or schemas are missing.
        DependencyError: broker or registry does not answer.
    """

    def __init__(self, settings: Settings, with_tools: Tools | None = None) -> None:
        self._tools = with_tools or tools(settings)
        self.settings = settings
        self.venues = {raw_topic(venue).name + settings.kafka.topic_suffix: venue for venue in VENUES}
        self.failure: Exception | None = None
        self.partition_counts = self._tools.partition_counts
        registry = self._tools.registry
        self._encoders = Encoders(registry)
        self._raw_decoder = registry.decoder(RawFrames)
        self._state_decoder = registry.decoder(State)
        self._publisher = self._tools.publisher
        self._workers: dict[TP, PartitionWorker] = {}
        self._progress: dict[TP, Progress] = {}
        self._offsets = self._tools.offsets
        self._lease_us = max(LEASE_US, int(settings.processor.snapshot_s * 3_000_000))
        self._lives: dict[str, str] = {}  # of the raw topics whose partitions were ours, by full name
        self._app: Any = None
        self._yielded_s = time.monotonic()
        self._turns = 0
        self._loading = 0  # calls that load state now
        self._is_settled = False
        self._snapshot_lock: asyncio.Lock | None = None
        self._waits_to_load = False
        self._show_again_s = 0.0
        self._log = logger()

    async def take(self, message: Any) -> None:
        """Process one Kafka message; waits while too much is on its way out, and lets other tasks run now and then."""
        worker = self._workers.get(message.tp)
        if worker is None:  # revoked while it lay in Faust's buffer
            return
        try:
            while self._publisher.waiting_records() > MOST_WAITING_RECORDS or worker.is_over:
                self._publisher.poll()
                await asyncio.sleep(POLL_S)
                if self._workers.get(message.tp) is not worker:  # revoked meanwhile
                    return
            written_us = int(message.timestamp * 1_000_000)
            worker.step(message.offset, message.value, written_us)
            if worker.went_back:
                await self._check_log(message.tp, worker)
                worker.went_back = False
            progress = self._progress[message.tp]
            progress.next_offset, progress.written_us = worker.next_offset, written_us
            self._publisher.poll()
        except UserError as error:  # it comes again at each start: what is done is kept, so that it is not repeated
            self.failure = self.failure or error
            await self._keep()
            raise
        except Exception as error:
            self.failure = self.failure or error
            raise
        if time.monotonic() - self._yielded_s > YIELD_EVERY_S:
            await asyncio.sleep(0)
            self._yielded_s = time.monotonic()

    async def assign(self, app: Any) -> None:
        """Load the state of all assigned partitions and commit its offsets, so that Faust goes on from there.

        What was written after the state is found in the outputs, to be left out; a first snapshot tells so before
        anything is processed, and from where on the next owner has to look.
        """
        self._turns += 1
        generation = app.consumer_generation_id
        self._loading += 1
        try:
            await self._assign(app)
        except Exception as error:
            self.failure = self.failure or error
            await app.crash(error)
            raise
        finally:
            self._loading -= 1
            self._waits_to_load = False
        self._is_settled = app.consumer_generation_id == generation

    def position(self, beat: object) -> Position:
        """Tell the watchdog, from its thread, where this process is; `beat` changes when the event loop turns."""
        workers = self._workers  # replaced as a whole, never changed
        offsets = {(tp.topic, tp.partition): worker.next_offset for tp, worker in workers.items()}
        return Position(beat, self._turns, self._is_settled, self._loading > 0, offsets)

    async def _assign(self, app: Any) -> None:
        _hasten_fetches(app)
        self._app = app
        generation = app.consumer_generation_id
        while self._publisher.waiting_records() and app.consumer_generation_id == generation:
            self._publisher.poll(POLL_S)  # of an assignment before: it must be found, too
            await asyncio.sleep(POLL_S)
        assigned = [tp for tp in sorted(app.consumer.assignment()) if tp.topic in self.venues]
        found: dict[TP, Loaded] = {}
        for number in sorted({tp.partition for tp in assigned}):
            tps = [tp for tp in assigned if tp.partition == number]
            while tps[0] not in found and app.consumer_generation_id == generation:
                await self._load(tps, found)
        logs: dict[TP, Log] | None = None
        while logs is None and app.consumer_generation_id == generation:
            logs = await self._ask(self._logs, found)
        written: Written | None = None
        while logs is not None and written is None and app.consumer_generation_id == generation:
            written = await self._ask(self._find_written, found, logs)
        if logs is None or written is None or app.consumer_generation_id != generation:
            return  # assigned anew meanwhile: another call follows
        starts = {tp: find_start(loaded, logs[tp]) for tp, loaded in found.items()}
        self._workers = {
            tp: self._worker(tp, Known(found[tp], starts[tp], logs[tp]), written, generation) for tp in found
        }
        self._lives = self._lives | {tp.topic: log.life for tp, log in logs.items()}
        self._follow(self._workers)
        offsets = {tp: start.offset for tp, start in starts.items() if start.offset is not None}
        if offsets:
            await _commit(app, offsets)
        await self.snapshot(app)
        self._log.info(
            "partitions assigned",
            partitions=[f"{tp.topic}:{tp.partition}" for tp in assigned],
            records_searched=written.read_records,
            written_before={f"{tp.topic}:{tp.partition}": each.written for tp, each in self._workers.items()},
        )

    async def revoke(self, app: Any) -> None:
        """Take a last snapshot and forget all state: whatever stays assigned is loaded again."""
        self._turns += 1
        self._is_settled = False
        self._app = app
        await self._keep()
        self._workers = {}
        self._follow({})

    async def snapshot(self, app: Any, partitions: Collection[TP] | None = None) -> None:
        """Write the state of partitions (None = all) that moved, and commit their offsets once it is delivered.

        It is as of the moment this is called, or of that of a call before which was cancelled in the midst of it.
        """
        self._snapshot_lock = self._snapshot_lock or asyncio.Lock()
        async with self._snapshot_lock:
            mine = {tp: each for tp, each in self._workers.items() if partitions is None or tp in partitions}
            moved = {tp: each for tp, each in mine.items() if each.is_due}
            if not await self._is_owner(app, moved):  # its pieces would stand in the place of the new owner's
                return
            captured = {tp: worker.capture() for tp, worker in moved.items()}
            for tp, worker in moved.items():
                await self._write_pieces(tp, worker, captured[tp])
                await self._delivered(worker, captured[tp].mark)
            if not await self._is_owner(app, moved):
                return
            kept = {tp: worker for tp, worker in moved.items() if self._workers.get(tp) is worker}
            marks = {tp: worker.write_head(captured[tp]) for tp, worker in kept.items()}
            for tp, worker in kept.items():
                await self._delivered(worker, marks[tp])
                worker.stands(captured[tp])
            offsets = {tp: captured[tp].next_offset for tp in kept if captured[tp].next_offset}
            if offsets and await _commit(app, offsets):
                for tp in offsets:
                    kept[tp].clean()

    async def snapshot_for_ever(self, app: Any) -> None:
        """Write a snapshot of each partition in its turn, so that no message waits for those of all."""
        while not app.should_stop:
            turns = sorted(self._workers)
            pieces = sum(worker.captured_pieces for worker in self._workers.values())
            pause_s = snapshot_every_s(self.settings.processor.snapshot_s, pieces) / max(1, len(turns))
            for partition in turns or [NO_PARTITION]:
                await asyncio.sleep(pause_s)
                self._show_all(app)
                try:
                    await self.snapshot(app, [partition])
                except Exception as error:
                    self.failure = self.failure or error
                    await app.crash(error)
                    raise

    async def catch_up(self, app: Any) -> None:
        """Let what the raw topics hold by now be processed, for a moment: whoever starts next has less to do."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + CATCH_UP_S
        await asyncio.sleep(HEAR_S)
        while loop.time() < until_s:
            self._show(app)
            if not any(progress.lag_records() > 0 for progress in self._progress.values()):
                return
            await asyncio.sleep(POLL_S)

    def close(self) -> None:
        """Wait for what is still on its way."""
        self._publisher.flush(CLOSE_S)
        self._offsets.close()

    async def _keep(self) -> None:
        """Take a last snapshot of what is whole."""
        try:
            await asyncio.wait_for(self._last_snapshot(), LAST_SNAPSHOT_S)
        except TimeoutError:
            metrics.ERRORS.labels(METRIC_STAGE, "last_snapshot").inc()
            self._log.warning("last snapshot not delivered in time", seconds=LAST_SNAPSHOT_S)

    async def _last_snapshot(self) -> None:
        """Take a snapshot once all is delivered: its head tells the true ends of outputs, so nothing is searched."""
        for worker in self._workers.values():
            await self._delivered(worker, worker.outputs.mark())
        await self.snapshot(self._app)

    async def _load(self, tps: Sequence[TP], found: dict[TP, Loaded]) -> None:
        """Load the state of one partition of several topics; where the broker is away, leave it for another try."""
        names = {tp: raw_topic(self.venues[tp.topic]).name for tp in tps}
        ask = partial(load, connect=self._tools.connect)
        loaded = await self._ask(ask, self.settings, self._state_decoder, list(names.values()), tps[0].partition)
        if loaded is not None:
            found |= {tp: loaded[name] for tp, name in names.items()}

    async def _ask(self, question: Callable[..., T], *args: Any) -> T | None:
        """Ask the broker in a thread; None = it is away, and some time has passed. The first of many tries is told."""
        try:
            return await asyncio.get_running_loop().run_in_executor(None, question, *args)
        except (StateAwayError, DependencyError) as error:
            if not self._waits_to_load:
                self._log.warning("state not loaded yet", reason=str(error))
            self._waits_to_load = True
            await asyncio.sleep(LOAD_AGAIN_S)
            return None

    def _logs(self, tps: Collection[TP]) -> dict[TP, Log]:
        """Ask which lives raw topics are in, and what is kept of them; blocks."""
        counts = {tp.topic: self.partition_counts[tp.topic] for tp in tps}
        lives, spans = self._offsets.lives(counts), self._offsets.watermarks(counts)
        if missing := sorted(set(counts) - set(lives)):
            raise StateAwayError(f"topic {missing[0]} does not exist")
        return {
            tp: Log(name=f"{tp.topic}:{tp.partition}", life=lives[tp.topic], first=first, end=end)
            for tp in tps
            for first, end in [spans[tp.topic, tp.partition]]
        }

    def _find_written(self, found: Mapping[TP, Loaded], logs: Mapping[TP, Log]) -> Written:
        """Find what was written after these states; blocks. An older program named no lives in sources."""
        heads: dict[tuple[str, int], OutputsPiece | None] = {}
        for tp, loaded in found.items():
            topic = raw_topic(self.venues[tp.topic]).name
            names = [with_life(topic, logs[tp].life), *([] if loaded.life else [topic])]
            with _told_as_damaged(topic, tp.partition):
                heads |= dict.fromkeys([(name, tp.partition) for name in names], outputs_of(loaded))
        tools = self._tools
        return find_written(self.settings, self._offsets, heads, now_us=tools.now_us(), connect=tools.connect)

    async def _is_owner(self, app: Any, workers: Mapping[TP, PartitionWorker]) -> bool:
        """Ask whether partitions are ours still, where another may have them: a woken one must not undo its state.

        All are forgotten where not: they will be assigned anew.
        """
        doubted = {tp: each.captured_offset for tp, each in workers.items() if each.until_us and each.is_over}
        if not doubted or await _commit(app, doubted):
            return True
        self._log.warning("partitions are another's", partitions=[f"{tp.topic}:{tp.partition}" for tp in doubted])
        self._workers = {}
        self._follow({})
        return False

    def _worker(self, tp: TP, known: Known, written: Written, generation: int = 0) -> PartitionWorker:
        loaded, start, log = known
        venue = self.venues[tp.topic]
        topic = raw_topic(venue).name
        source = with_life(topic, log.life)
        processor = self.settings.processor
        limit = DeadLetterLimit(processor.dead_letter_limit, processor.dead_letter_share, processor.dead_letter_window)
        pipeline = Pipeline(
            venue,
            source,
            tp.partition,
            partition_count=self.partition_counts[tp.topic],
            keyframe_us=int(processor.keyframe_s * 1_000_000),
            limit=limit,
            windows_s=self.settings.features.in_force,
            follows_trades=processor.follows_trades,
        )
        ends = written.ends_of(tp.partition)
        outputs = Outputs(self._publisher, self._encoders, topic=source, partition=tp.partition, ends=ends)
        epoch = max(generation, loaded.newest_epoch + 1)  # a group that was deleted counts from 1 again
        store = StateStore(outputs, self._encoders, topic=topic, partition=tp.partition, epoch=epoch, life=log.life)
        worker = PartitionWorker(
            pipeline,
            outputs,
            store,
            decoder=self._raw_decoder,
            venue=venue,
            topic=topic,
            partition=tp.partition,
            limit=limit,
            takes_unknown_ids=self.settings.registry.unknown_id == "dead_letter",
            now_us=self._tools.now_us,
            steady_us=self._tools.steady_us,
            lease_us=self._lease_us,
        )
        marks = highest(*(written.marks.get((name, tp.partition), {}) for name in (source, topic)))
        with _told_as_damaged(topic, tp.partition):
            worker.resume(loaded, marks)
        worker.start(start, marks)
        if start.loss is not None:
            metrics.ERRORS.labels(METRIC_STAGE, "lost_records").inc()
            first, last, why = start.loss.first, start.loss.last, start.loss.why
            self._log.error("raw records are lost", log=log.name, first=first, last=last, why=why, rebuild=REBUILD)
        return worker

    async def watch_logs(self, app: Any) -> None:
        """End this process where a raw topic is made anew under it: offsets of before mean nothing then."""
        while not app.should_stop:
            await asyncio.sleep(LIVES_S)
            try:
                await self._check_lives()
            except Exception as error:
                self.failure = self.failure or error
                await app.crash(error)
                raise

    async def _check_log(self, tp: TP, worker: PartitionWorker) -> None:
        """Make sure that a raw partition that went back is the one it was, and whole.

        Raises:
            OffsetError: the topic was made anew.
            UserError: records that were processed are not in it any more.
        """
        logs = await self._ask(self._logs, [tp])
        if logs is not None:
            if logs[tp].life != self._lives.get(tp.topic):
                raise OffsetError(f"{tp.topic} was made anew: starting again")
            find_start(Loaded(worker.next_offset, {HEAD: ()}, life=logs[tp].life), logs[tp])

    async def _check_lives(self) -> None:
        """Make sure that raw topics are the ones they were; one that is gone is not assigned, and may come back.

        Raises:
            OffsetError: one was made anew.
        """
        known, asked = self._lives, sorted(self._lives)
        try:
            found = await asyncio.get_running_loop().run_in_executor(None, self._offsets.lives, asked)
        except DependencyError:
            return  # it is told elsewhere, and asked again
        for topic, life in found.items():
            if self._lives is known and life != known[topic]:
                raise OffsetError(f"{topic} was made anew: starting again")

    async def _write_pieces(self, tp: TP, worker: PartitionWorker, captured: Captured) -> None:
        """Write a snapshot's pieces, a slice at a time, with messages processed in between, while it is our partition.

        Pieces of another owner must not be overwritten by ours.
        """
        waiting_bytes = 0
        while self._workers.get(tp) is worker and (written_bytes := worker.write_pieces(captured, SLICE_S)):
            waiting_bytes += written_bytes
            if waiting_bytes > MOST_WAITING_STATE_BYTES:
                await self._delivered(worker, worker.outputs.mark())
                waiting_bytes = 0
            await asyncio.sleep(0)

    async def _delivered(self, worker: PartitionWorker, mark: dict[str, int]) -> None:
        while not worker.outputs.is_delivered(mark):
            self._publisher.poll()
            await asyncio.sleep(POLL_S)

    def _follow(self, workers: Mapping[TP, PartitionWorker]) -> None:
        """Show the positions of these partitions, and of no others."""
        for progress in self._progress.values():
            progress.close()
        self._progress = {tp: Progress(METRIC_STAGE, tp.topic, tp.partition) for tp in workers}
        for tp, worker in workers.items():
            self._progress[tp].next_offset = worker.next_offset

    def _show(self, app: Any) -> None:
        """Tell what waits for Kafka, and where the partitions end as the last fetch told."""
        metrics.QUEUE.labels(METRIC_STAGE).set(self._publisher.waiting_records())
        for tp, progress in self._progress.items():
            with suppress(AssertionError):  # of aiokafka: taken away by a rebalance that we are not told of yet
                progress.hear(app.consumer.highwater(tp))

    def _show_all(self, app: Any) -> None:
        """Tell how things stand, not at each turn: it takes a look at each symbol."""
        now_s = time.monotonic()
        if now_s >= self._show_again_s:
            self._show_again_s = now_s + SHOW_S
            self._show(app)
            self._show_books()

    def _show_books(self) -> None:
        for name, venue in self.venues.items():
            counts = [worker.pipeline.books() for tp, worker in self._workers.items() if tp.topic == name]
            metrics.BOOKS.labels(venue, "valid").set(sum(valid for valid, _ in counts))
            metrics.BOOKS.labels(venue, "invalid").set(sum(invalid for _, invalid in counts))
        self._show_leads()
        self._show_offsets()

    def _show_leads(self) -> None:
        """Tell who leads; producers that are gone are told no more."""
        metrics.LEADS.clear()
        for tp, worker in self._workers.items():
            for producer, count in worker.pipeline.leads().items():
                metrics.LEADS.labels(self.venues[tp.topic], producer).inc(count)

    def _show_offsets(self) -> None:
        """Tell how far the venues' clocks are from ours; venues of which nothing comes are told no more."""
        offsets_us: dict[str, int] = {}
        for tp, worker in self._workers.items():
            offset_us, venue = worker.clock_offset.lately_us(worker.pipeline.clock_us), self.venues[tp.topic]
            if offset_us is not None:
                offsets_us[venue] = min(offset_us, offsets_us.get(venue, offset_us))
        metrics.CLOCK_OFFSET.clear()
        for venue, offset_us in offsets_us.items():
            metrics.CLOCK_OFFSET.labels(venue).set(offset_us / 1e6)


def snapshot_every_s(wanted_s: float, pieces: int) -> float:
    """Tell how often each partition's state is written, if the last snapshots had so many pieces.

    >>> snapshot_every_s(1.0, 100), snapshot_every_s(1.0, 600), snapshot_every_s(1.0, 5000), snapshot_every_s(4.0, 9)
    (1.0, 2.0, 3.0, 4.0)
    """
    return max(wanted_s, min(RAREST_S, pieces / PIECES_PER_S))


def run(settings: Settings, *, is_patient: bool = False) -> None:
    """Process until SIGTERM or SIGINT; the last state is written then.

    Args:
        is_patient: wait for broker and registry as long as they are away, instead of raising.

    Raises:
        UserError: topics or schemas are missing, or too many frames in a row could not be used.
        DependencyError: broker or registry does not answer.
    """
    health = Health(ROLE, is_patient=is_patient)
    health.starts()
    with watched(settings, health, common_probes(settings)):
        processor = Processor(settings)
        group = APP_ID + settings.kafka.topic_suffix
        witness = KafkaWitness(OffsetReader(settings), group, processor.partition_counts)
        with guarded(ROLE, settings.processor.stuck_after_s, partial(_look, processor, health, witness)):
            _run(settings, processor, health)


def _look(processor: Processor, health: Health, witness: KafkaWitness) -> Mapping[str, Work] | None:
    return works(processor.position(health.work()), witness.ask())


def _run(settings: Settings, processor: Processor, health: Health) -> None:
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 100)
    sys.setswitchinterval(SWITCH_S)
    for name in ("aiokafka", "faust", "mode"):  # Faust lets them make debug lines by the thousand, and shows none
        logging.getLogger(name).setLevel(logging.WARNING)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    app = make_app(settings, processor, health)
    worker = _Worker(
        app, loop=loop, loglevel=logging.WARNING, quiet=True, redirect_stdouts=False, override_logging=False
    )
    worker.before_stop = partial(processor.catch_up, app)
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        if processor.failure is None and stop.code not in {0, None}:
            raise
    finally:
        processor.close()
    if processor.failure is not None:
        raise processor.failure


class _Worker(faust.Worker):
    """Told to stop, does something first, while all still runs: the hooks of an application come after its consumer."""

    before_stop: Callable[[], Awaitable[None]]

    async def _stop_on_signal(self, signal: Any) -> None:
        await self.before_stop()
        await super()._stop_on_signal(signal)


def make_app(settings: Settings, processor: Processor, health: Health) -> Any:
    """Make the application: an agent for each raw topic, and hooks on assignment, revocation and shutdown."""
    app = faust.App(
        APP_ID + settings.kafka.topic_suffix,
        broker=[f"kafka://{server}" for server in settings.kafka.bootstrap_servers.split(",")],
        agent_supervisor=mode.CrashingSupervisor,
        autodiscover=False,
        broker_credentials=credentials(settings.kafka),
        broker_commit_livelock_soft_timeout=NEVER_S,  # Faust's own commits are off
        broker_heartbeat_interval=SESSION_S / 5,
        broker_session_timeout=SESSION_S,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        datadir=settings.local.home / "run" / "faust",
        key_serializer="raw",
        stream_buffer_maxsize=STREAM_BUFFER_RECORDS,
        stream_processing_timeout=NEVER_S,
        stream_wait_empty=False,
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        value_serializer="raw",
        web_enabled=False,
    )
    for name in processor.venues:
        topic = app.topic(name, key_type=bytes, value_type=bytes)
        app.agent(topic, name=name, concurrency=1)(_agent_function(processor))
    _connect(app, processor, health)
    return app


def credentials(kafka: Kafka) -> Any:
    """Make what Faust needs to be let in; None = the broker asks for nothing."""
    context = kafka_ssl_context(kafka)
    if kafka.sasl_password is not None:
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def _agent_function(processor: Processor) -> Any:
    async def process(stream: AsyncIterable[Any]) -> None:
        stream.enable_acks = False  # type: ignore[attr-defined]  # a stream of Faust
        async for event in stream.events():  # type: ignore[attr-defined]  # the same
            await processor.take(event.message)

    return process


def _connect(app: Any, processor: Processor, health: Health) -> None:
    """Connect hooks; Faust calls them with keyword arguments of its own."""

    async def on_rebalance_complete(sender: Any, **_: Any) -> None:
        await processor.assign(sender)
        health.works()

    async def on_partitions_revoked(sender: Any, _revoked: set[TP], **_: Any) -> None:
        await processor.revoke(sender)

    async def on_before_shutdown(sender: Any, **_: Any) -> None:
        await processor.revoke(sender)

    async def snapshots() -> None:
        await processor.snapshot_for_ever(app)

    async def beats() -> None:
        while not app.should_stop:
            health.beat()
            await asyncio.sleep(BEAT_S)

    app.on_rebalance_complete.connect(on_rebalance_complete, weak=False)
    app.on_partitions_revoked.connect(on_partitions_revoked, weak=False)
    app.on_before_shutdown.connect(on_before_shutdown, weak=False)

    async def lives() -> None:
        await processor.watch_logs(app)

    app.task(snapshots)
    app.task(beats)
    app.task(lives)


@contextmanager
def _told_as_damaged(topic: str, partition: int) -> Iterator[None]:
    """Say of state that cannot be read what to do.

    Raises:
        UserError: it cannot.
    """
    try:
        yield
    except StateVersionError as error:
        raise UserError(f"{topic}:{partition}: {error}") from error
    except StateError as error:
        raise damaged(str(error), topic, partition) from error


def _hasten_fetches(app: Any) -> None:
    """Shorten what a fetch waits for quiet partitions: a busy one that is not in it has to wait as well.

    Faust sets 1.5 s and offers no setting (faust-streaming 0.15.3, aiokafka 0.14). The rest is in `fetching.py`.
    """
    client = app.consumer
    fetcher = client._thread._ensure_consumer()._fetcher  # noqa: SLF001  # there is no public way
    fetcher._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001
    fetcher._fetch_min_bytes = FETCH_LEAST_BYTES  # noqa: SLF001
    if not isinstance(fetcher._get_actions_per_node, Glances):  # noqa: SLF001
        fetcher._get_actions_per_node = Glances(fetcher._get_actions_per_node)  # noqa: SLF001
    if not isinstance(client.wait_first, Handing):
        client.wait_first = Handing(client.wait_first)


async def _commit(app: Any, offsets: Mapping[TP, int]) -> bool:
    """Commit offsets past Faust's own bookkeeping, which needs every message acknowledged in turn.

    Returns whether the coordinator took them: not, where the partitions are another's.
    """
    return bool(await app.consumer._thread.commit(offsets))  # noqa: SLF001  # there is no public way (faust-streaming 0.15.3)
