"""A sink process: all cleaned and raw topics → one store, until told to stop."""

import gc
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Final

from prometheus_client import make_wsgi_app

from schemas.records import DeadLetter, SinkCommit
from schemas.topics import DEAD_SINK, SINK_COMMIT, raw_topic
from schemas.venues import SYMBOLOGIES
from sinks.chunk import LogWentBackError
from sinks.commits import KafkaCommits
from sinks.drain import Drain, Tools
from sinks.kafka_log import KafkaLog, stored_topics
from sinks.letters import KafkaLetters, Origin
from sinks.rows import RowReader
from sinks.store import Store
from sinks.stores import STORES, make_store
from sinks.watch import ROLLS, STUCK_S, SinkWatch
from sinks.worker import Worker, plugins
from tickerplant.clock import now_us
from tickerplant.connect.api import Api
from tickerplant.connect.failed import forget_failure, note_failure
from tickerplant.connect.names import chosen_topics, connector_of, effective
from tickerplant.connect.serve import FileSteer, beside, common_port
from tickerplant.connect.steering import Steering, Target
from tickerplant.errors import DependencyError, TickerplantError, UserError
from tickerplant.health import PROBE_TIMEOUT_S, Health, watched
from tickerplant.heap import give_back
from tickerplant.kafka import OffsetReader, Publisher, cluster_id, partition_count
from tickerplant.logs import logger
from tickerplant.probes import common_probes
from tickerplant.registry import Registry
from tickerplant.settings import Connector, Settings
from tickerplant.tally import DeadLetterLimit
from tickerplant.watchdog import guarded

TRIM_S: Final = 30.0
LOOK_S: Final = 0.5
TAKE_REST_S: Final = 1.2
FINISH_S: Final = 6.0
"""How long after a signal it may take to read what is there, and then to store it; what is left is the next owner's."""


def run(settings: Settings, store: str, *, task: int = 0, stop: Event | None = None, is_patient: bool = False) -> None:
    """Move records into a store until SIGTERM, SIGINT or `stop`; blocks.

    Args:
        task: number of this process among those of the same store.
        is_patient: wait for servers as long as they are away, instead of raising.

    Raises:
        UserError: a server does not answer at start, a topic or table is missing, a setting does not fit.
        TickerplantError: a topic was made anew under it, and is to be read from its start.
    """
    own = effective(settings, store)
    target = make_store(own, store)
    connector = connector_of(own, store)
    check_connector(connector, STORES[store])
    worker = Worker(settings, store, STORES[store], task)
    health = Health(f"sink-{store}", is_patient=is_patient)
    probes = {**common_probes(own), target.dependency: lambda: target.check(PROBE_TIMEOUT_S)}
    api = Api(
        look=worker.look,
        steer=FileSteer(settings),
        plugins=plugins(),
        version=version("tickerplant"),
        cluster_id=lambda: worker.cluster_id,
    )
    put = beside(api, worker.view, settings)
    health.starts()
    forget_failure(settings, store, task)
    with (
        noted(worker),
        closing(target),
        watched(own, health, probes, put),
        common_port(settings, put(make_wsgi_app())),
    ):
        for topic in stored_topics():
            partition_count(own, topic.name)
        watch = SinkWatch(group_of(own, store), lambda: None if health.missing() else worker.seen(), OffsetReader(own))
        stuck_after_s = max(STUCK_S, ROLLS * target.limits.age_s)
        with told_to_stop(stop or Event()) as stopping, guarded(health.role, stuck_after_s, watch.look):
            try:
                Task(own, target, health, worker, stopping).run()
            except LogWentBackError as error:
                raise TickerplantError(f"{error}: starting again") from error  # whoever supervises it does that


def group_of(settings: Settings, store: str) -> str:
    """Name the consumer group of a store's sinks."""
    return f"tickerplant.sink.{store}{settings.kafka.topic_suffix}"


@contextmanager
def noted(worker: Worker) -> Iterator[None]:
    """Note why a sink ended, where somebody must act, for those who ask the others of this machine."""
    try:
        yield
    except DependencyError:  # it comes back by itself
        raise
    except UserError as error:
        note_failure(worker.settings, worker.view(), str(error))
        raise


def check_connector(connector: Connector, connector_class: str) -> None:
    """Make sure that a connector's settings can be fulfilled.

    Raises:
        UserError: they cannot, and why.
    """
    if connector.connector_class not in {"", connector_class}:
        given = connector.connector_class
        raise UserError(f"connector.class of {connector.name} is {connector_class}, not {given}: leave it out")
    known = {topic.name for topic in (*stored_topics(), *map(raw_topic, SYMBOLOGIES))}
    unknown = [name for name in chosen_topics(connector) if name not in known]
    if unknown:
        raise UserError(f"topics of {connector.name}: {unknown[0]} is not stored; see docs/reference.md")


@dataclass(frozen=True)
class Task:
    """What a sink does: runs, pauses, stops and begins anew as it is wanted of it."""

    settings: Settings
    store: Store
    health: Health
    worker: Worker
    stopping: Event

    def run(self) -> None:
        """Work until told to stop; blocks, raises as `run`."""
        steering = Steering(self.settings, self.store.name)
        while not self.stopping.is_set():
            self.health.beat()
            wish = steering.read()
            if wish.target == "STOPPED":
                self.worker.tell("STOPPED")
                self.health.works()
                self.stopping.wait(LOOK_S)
                continue
            self.store.open()
            self.worker.cluster_id = cluster_id(self.settings)
            self._drain(steering, wish.restarts_of(self.worker.task))

    def _drain(self, steering: Steering, restarts: int) -> None:
        """Move records until the process, or this task alone, is told to end."""
        chosen = chosen_topics(connector_of(self.settings, self.store.name))
        log = KafkaLog(self.settings, group_of(self.settings, self.store.name), chosen)
        try:
            drain = Drain(log, self.store, self._tools(log.lives))
            logger().info("sink started", store=self.store.name)
            self.health.works()
            # Rows are many young containers without cycles: looking for some in them costs as much as decoding.
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            target = self._turn(drain, steering, restarts)
            if target == "RUNNING" and self.stopping.is_set():
                drain.take_rest(TAKE_REST_S)
            is_complete = drain.finish(FINISH_S)
            logger().info("sink stopped", store=self.store.name, is_complete=is_complete)
        finally:
            log.close()

    def _tools(self, lives: Mapping[str, str]) -> Tools:
        name = connector_of(self.settings, self.store.name).name
        origin = Origin(connector=name, task=self.worker.task, connector_class=self.worker.connector_class)
        return make_tools(
            self.settings,
            self.store.name,
            self.health,
            is_stopping=self.stopping.is_set,
            lives=lives,
            origin=origin,
        )

    def _turn(self, drain: Drain, steering: Steering, restarts: int) -> Target:
        """Turn the main loop until told to end; returns what was wanted last."""
        wish, looked_s, trimmed_s = steering.read(), 0.0, time.monotonic()
        while not self.stopping.is_set():
            self.health.beat()
            if time.monotonic() - looked_s >= LOOK_S:
                wish, looked_s = steering.read(), time.monotonic()
                if wish.target == "STOPPED" or wish.restarts_of(self.worker.task) != restarts:
                    self.worker.tell("STOPPED" if wish.target == "STOPPED" else "RESTARTING")
                    break
                self.worker.tell(wish.target, drain)
            if time.monotonic() - trimmed_s >= TRIM_S:
                give_back()  # a burst's rows and blocks are kept by malloc otherwise, in each thread that inserts
                trimmed_s = time.monotonic()
            if wish.target == "PAUSED":
                drain.rest()
            else:
                drain.step()
        return wish.target


def make_tools(
    settings: Settings,
    store: str,
    health: Health,
    *,
    is_stopping: Callable[[], bool],
    lives: Mapping[str, str],
    origin: Origin | None = None,
) -> Tools:
    """Make what a drain into a store (its name) works with.

    Args:
        lives: of topics, by full name; asked at each record.
        origin: stands in the headers of dead letters, where that is set; None = none does.
    """
    registry, publisher = Registry(settings), Publisher(settings)
    registry.learn((*stored_topics(), *map(raw_topic, SYMBOLOGIES)))  # the registry may be away when they are met
    connector = connector_of(settings, store)
    letter_topic = connector.errors_deadletterqueue_topic_name
    has_headers = connector.errors_deadletterqueue_context_headers_enable
    letters = KafkaLetters(
        publisher,
        registry.encoder(DEAD_SINK, DeadLetter),
        partitions=partition_count(settings, letter_topic),
        now_us=now_us,
        topic=letter_topic,
        origin=origin if has_headers else None,
    )
    commits = KafkaCommits(
        publisher, registry.encoder(SINK_COMMIT, SinkCommit), partitions=partition_count(settings, SINK_COMMIT.name)
    )
    suffix = settings.kafka.topic_suffix
    reader = RowReader(
        registry.decoder,
        stage=f"sink.{store}",
        topic_suffix=suffix,
        takes_unknown_ids=settings.registry.unknown_id == "dead_letter",
        lives=lives,
    )
    return Tools(
        reader=reader,
        letters=letters,
        commits=commits,
        health=health,
        is_stopping=is_stopping,
        limit=DeadLetterLimit(
            settings.sink.dead_letter_limit, settings.sink.dead_letter_share, settings.sink.dead_letter_window
        ),
    )


@contextmanager
def told_to_stop(event: Event) -> Iterator[Event]:
    """Set the event on SIGTERM and SIGINT; elsewhere than in the main thread only its owner sets it."""
    if current_thread() is not main_thread():
        yield event
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        event.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
