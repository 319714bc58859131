"""A sink process: all cleaned and raw topics → one store, until told to stop."""

import gc
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Final

from schemas.records import DeadLetter, SinkCommit
from schemas.topics import DEAD_SINK, SINK_COMMIT, raw_topic
from schemas.venues import SYMBOLOGIES
from sinks.chunk import LogWentBackError
from sinks.commits import KafkaCommits
from sinks.drain import Drain, Tools
from sinks.kafka_log import KafkaLog, stored_topics
from sinks.letters import KafkaLetters
from sinks.rows import RowReader
from sinks.store import Store
from sinks.stores import make_store
from tickerplant.clock import now_us
from tickerplant.errors import UserError
from tickerplant.health import PROBE_TIMEOUT_S, Health, watched
from tickerplant.kafka import Publisher, partition_count
from tickerplant.logs import logger
from tickerplant.probes import common_probes
from tickerplant.registry import Registry
from tickerplant.settings import Settings
from tickerplant.tally import DeadLetterLimit

TAKE_REST_S: Final = 1.2
FINISH_S: Final = 6.0
"""How long after a signal it may take to read what is there, and then to store it; what is left is the next owner's."""


def run(settings: Settings, store: str, *, stop: Event | None = None, is_patient: bool = False) -> None:
    """Move records into a store until SIGTERM, SIGINT or `stop`; blocks.

    Args:
        is_patient: wait for servers as long as they are away, instead of raising.

    Raises:
        UserError: a server does not answer at start, a topic or table is missing, a schema is unknown.
    """
    target = make_store(settings, store)
    health = Health(f"sink-{store}", is_patient=is_patient)
    probes = {**common_probes(settings), target.dependency: lambda: target.check(PROBE_TIMEOUT_S)}
    health.starts()
    with closing(target), watched(settings, health, probes):
        for topic in stored_topics():
            partition_count(settings, topic.name)
        target.open()
        with _stopping(stop or Event()) as stopping:
            try:
                _drain(settings, target, health, stopping)
            except LogWentBackError as error:
                raise UserError(f"{error}: start the sink again") from error


def _drain(settings: Settings, store: Store, health: Health, stopping: Event) -> None:
    log = KafkaLog(settings, f"tickerplant.sink.{store.name}{settings.kafka.topic_suffix}")
    try:
        drain = Drain(log, store, _tools(settings, store, health, stopping))
        logger().info("sink started", store=store.name)
        health.works()
        # Rows are many young containers without cycles: looking for some in them costs as much as decoding.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        while not stopping.is_set():
            health.beat()
            drain.step()
        drain.take_rest(TAKE_REST_S)
        is_complete = drain.finish(FINISH_S)
        logger().info("sink stopped", store=store.name, is_complete=is_complete)
    finally:
        log.close()


def _tools(settings: Settings, store: Store, health: Health, stopping: Event) -> Tools:
    registry, publisher = Registry(settings), Publisher(settings)
    registry.learn((*stored_topics(), *map(raw_topic, SYMBOLOGIES)))  # the registry may be away when they are met
    letters = KafkaLetters(
        publisher,
        registry.encoder(DEAD_SINK, DeadLetter),
        partitions=partition_count(settings, DEAD_SINK.name),
        now_us=now_us,
    )
    commits = KafkaCommits(
        publisher, registry.encoder(SINK_COMMIT, SinkCommit), partitions=partition_count(settings, SINK_COMMIT.name)
    )
    suffix = settings.kafka.topic_suffix
    reader = RowReader(
        registry.decoder,
        stage=f"sink.{store.name}",
        topic_suffix=suffix,
        takes_unknown_ids=settings.registry.unknown_id == "dead_letter",
    )
    return Tools(
        reader=reader,
        letters=letters,
        commits=commits,
        health=health,
        is_stopping=stopping.is_set,
        limit=DeadLetterLimit(
            settings.sink.dead_letter_limit, settings.sink.dead_letter_share, settings.sink.dead_letter_window
        ),
    )


@contextmanager
def _stopping(event: Event) -> Iterator[Event]:
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
