"""Owners that end anyhow, on real Kafka: topics hold each record once, in order; what others wrote is not searched."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from processors.pieces import OutputsPiece
from processors.written import MARGIN_US, SHORT_RECORDS, find_written
from schemas.records import RawFrames
from schemas.topics import BY_RECORD, CLEANED, TICK, catalogue, raw_topic
from schemas.venues import SYMBOLOGIES
from tickerplant.clock import now_us
from tickerplant.kafka import (
    OFFSET_BEGINNING,
    KafkaException,
    OffsetReader,
    Publisher,
    TopicPartition,
    consumer,
    create_topics,
    source_name,
)
from tickerplant.once import Once, Source, source_of
from tickerplant.registry import Registry
from tickerplant.settings import Settings

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(240),
    # the registry's client keeps its connections open until it is collected
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WAIT_S = 90.0
STOP_S = 20.0
PER_SECOND = 400
KILLS = 3
HOUR_US = 3_600_000_000
TOPIC = raw_topic("binance").name
PROGRAM = """
import sys
from pathlib import Path
from tickerplant.logs import configure_logs
from tickerplant.settings import Settings
from processors.app import run
configure_logs("process")
run(Settings.model_validate_json(Path(sys.argv[1]).read_text()))
"""


@pytest.fixture
def alone(stack: Settings, request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings with topics, group and home of one test's own."""
    suffix = f".{abs(hash(request.node.name)) % 10**8}"
    settings = stack.model_copy(
        update={
            "kafka": stack.kafka.model_copy(update={"topic_suffix": suffix, "partitions": 2}),
            "local": stack.local.model_copy(update={"home": tmp_path}),
            "processor": stack.processor.model_copy(update={"snapshot_s": 0.5}),
        }
    )
    create_topics(settings, catalogue(SYMBOLOGIES))
    eventually(lambda: has_leaders(settings))
    return settings


def eventually(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def has_leaders(settings: Settings) -> bool:
    try:
        return all(sources(settings, topic.name) == [] for topic in CLEANED)
    except KafkaException:
        return False


@contextmanager
def processor(settings: Settings, name: str = "process") -> Iterator[subprocess.Popen[bytes]]:
    """A processor process, ended if it still runs."""
    path = settings.local.home / "settings.json"
    path.write_text(settings.model_dump_json())
    with (settings.local.home / f"{name}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=log, stderr=log, env=os.environ)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


class Load:
    """Publishes raw records at a steady pace, from a thread, until stopped."""

    def __init__(self, settings: Settings, feed: Any) -> None:
        self.records: list[RawFrames] = []
        self._settings, self._feed = settings, feed
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        encoder, publisher = (
            Registry(self._settings).encoder(raw_topic("binance"), RawFrames),
            Publisher(self._settings),
        )
        while not self._stopped.wait(1 / PER_SECOND):
            record = self._record(len(self.records))
            publisher.send(TOPIC, 0, b"0", encoder.encode(record))
            self.records.append(record)
        publisher.flush()

    def _record(self, number: int) -> RawFrames:
        """Make a list of instruments first, then trades and deltas, and now and then what cannot be used."""
        if number == 0:
            listing = b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT"}]}'
            first: RawFrames = self._feed.record(self._feed.frame(listing, "INSTRUMENTS"))
            return first
        frames = [self._feed.message("btcusdt@trade", t=number)]
        frames.append(self._feed.message("btcusdt@depth@100ms", U=number, u=number))
        if number % 50 == 10:
            frames += [self._feed.snapshot(number, [["1.0", "1"]]), self._feed.frame(b"?")]
        record: RawFrames = self._feed.record(*frames)
        return record


def sources(settings: Settings, topic: str, partition: int = 0) -> list[Source]:
    """Read the sources of all there is."""
    found: list[Source] = []
    place = TopicPartition(topic + settings.kafka.topic_suffix, partition, OFFSET_BEGINNING)
    with closing(consumer(settings, "test.reader")) as client:
        end = client.get_watermark_offsets(place, timeout=10)[1]
        client.assign([place])
        offset = 0
        while offset < end:
            for message in client.consume(5000, 0.1):
                source = source_of(message.headers())
                assert source is not None
                found.append(source)
                offset = (message.offset() or 0) + 1
    return found


def count(settings: Settings) -> int:
    """Count the ticks there are."""
    place = TopicPartition(TICK.name + settings.kafka.topic_suffix, 0)
    with closing(consumer(settings, "test.reader")) as client:
        return client.get_watermark_offsets(place, timeout=10)[1]


def expected(settings: Settings, new_run: Any, records: list[RawFrames]) -> dict[str, list[Source]]:
    """What the pipeline gives for these, run here: sources by topic."""
    run_here = new_run("spot", assume_instruments=False, partition_count=2)
    for record in records:
        run_here.take_record(record)
    found: dict[str, list[Source]] = {topic.name: [] for topic in CLEANED}
    origin = source_name(settings, TOPIC)
    for each in run_here.records:
        found[BY_RECORD[type(each)].name].append(Source(origin, 0, each.source_offset, each.source_index))
    return found


def all_sources(settings: Settings) -> dict[str, list[Source]]:
    return {topic.name: sources(settings, topic.name) for topic in CLEANED}


def test_killed_at_any_time_topics_hold_each_record_once_in_order(alone: Settings, new_run: Any) -> None:
    chance = random.Random(21)
    with Load(alone, new_run("spot").feed) as load:
        for number in range(KILLS):
            with processor(alone) as process:
                seen = count(alone)
                eventually(lambda: count(alone) > seen)  # noqa: B023  # asked within this turn
                time.sleep(chance.random())
                process.send_signal(signal.SIGTERM if number == 1 else signal.SIGKILL)
                process.wait(STOP_S)
        load.stop()
        with processor(alone):
            wanted = expected(alone, new_run, load.records)
            eventually(lambda: count(alone) >= len(wanted[TICK.name]))
            eventually(lambda: all_sources(alone) == wanted)


def test_a_second_worker_of_the_same_identity_joins_and_leaves_under_load_and_nothing_is_doubled(
    alone: Settings, new_run: Any
) -> None:
    """One settings file, one home, one client id: the group alone tells the two apart."""
    with Load(alone, new_run("spot").feed) as load, processor(alone, "first"):
        eventually(lambda: count(alone) > 0)
        with processor(alone, "second") as second:
            eventually(lambda: (alone.local.home / "second.log").read_text().count("partitions assigned") > 0)
            second.send_signal(signal.SIGTERM)
            second.wait(STOP_S)
        load.stop()
        wanted = expected(alone, new_run, load.records)
        eventually(lambda: count(alone) >= len(wanted[TICK.name]))

        assert all_sources(alone) == wanted


def test_one_paused_past_its_session_and_woken_repeats_only_what_readers_drop(alone: Settings, new_run: Any) -> None:
    with Load(alone, new_run("spot").feed) as load, processor(alone, "first") as first:
        eventually(lambda: count(alone) > 0)
        first.send_signal(signal.SIGSTOP)
        with processor(alone, "second"):
            seen = count(alone)
            eventually(lambda: count(alone) > seen + PER_SECOND)
            first.send_signal(signal.SIGCONT)
            log = alone.local.home / "first.log"
            before = log.read_text().count("partitions assigned")
            eventually(lambda: log.read_text().count("partitions assigned") > before)
            load.stop()
            wanted = expected(alone, new_run, load.records)
            once = Once()

            def read_once() -> dict[str, list[Source]]:
                once.__init__()  # type: ignore[misc]  # a reader that begins anew
                return {
                    name: [each for each in found if once.is_new((name, 0), each)]
                    for name, found in all_sources(alone).items()
                }

            eventually(lambda: count(alone) >= len(wanted[TICK.name]))
            eventually(lambda: read_once() == wanted)


def stuff(settings: Settings, source: str, number: int, time_us: int, first: int = 0) -> None:
    """Write records of a source, stamped at a time."""
    publisher = Publisher(settings)
    for each in range(first, first + number):
        publisher.send(TICK.name, 0, b"k", b"v" * 100, [("source", f"{source}:{each}:0".encode())], None, time_us)
    publisher.flush()


def test_what_others_wrote_an_hour_long_is_not_searched(alone: Settings) -> None:
    """Of ours some is written after the head; then others write on: within the time of ours, and long after."""
    since_us = now_us() - HOUR_US
    stuff(alone, "raw.other:0", SHORT_RECORDS, since_us - 2 * MARGIN_US)
    stuff(alone, f"{TOPIC}:0", 500, since_us + 1000)
    stuff(alone, "raw.other:0", SHORT_RECORDS, since_us + MARGIN_US, SHORT_RECORDS)
    stuff(alone, "raw.other:0", 5 * SHORT_RECORDS, since_us + HOUR_US, 2 * SHORT_RECORDS)
    head = OutputsPiece(since_us, since_us + 8_000_000, {}, {})
    offsets = OffsetReader(alone)
    began_s = time.monotonic()
    written = find_written(alone, offsets, {(TOPIC, 0): head, (TOPIC, 1): head}, now_us=now_us())
    offsets.close()

    assert written.marks == {(TOPIC, 0): {TICK.name: (499, 0)}, (TOPIC, 1): {}}
    assert 500 <= written.read_records <= 500 + SHORT_RECORDS
    assert written.ends_of(0)[TICK.name] == 7 * SHORT_RECORDS + 500
    assert time.monotonic() - began_s < WAIT_S


def test_two_venues_outputs_are_searched_in_one_reading(alone: Settings) -> None:
    for origin in (TOPIC, "raw.other", TOPIC):
        stuff(alone, f"{origin}:0", 100, now_us(), 50 if origin == TOPIC else 0)
    heads = {(name, 0): OutputsPiece(0, 0, {TICK.name: start}, {}) for name, start in ((TOPIC, 50), ("raw.other", 20))}
    offsets = OffsetReader(alone)
    written = find_written(alone, offsets, heads | {("raw.none", 0): None}, now_us=now_us())
    offsets.close()

    assert written.read_records == 280
    assert written.marks == {
        (TOPIC, 0): {TICK.name: (149, 0)},
        ("raw.other", 0): {TICK.name: (99, 0)},
        ("raw.none", 0): {},
    }
