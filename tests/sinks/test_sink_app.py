"""Both sinks on the real stack: Kafka, registry, ClickHouse, S3."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.dataset as ds
import pytest
import tomli_w
from pyarrow.fs import FSSpecHandler, PyFileSystem

from schemas.records import Frame, RawFrames, Source, Tick
from schemas.topics import DEAD_SINK, TICK, catalogue, raw_topic
from schemas.venues import SYMBOLOGIES
from sinks import app, watch
from sinks.clickhouse_client import connect
from sinks.member import Member
from sinks.places import Bucket
from tickerplant.connect.serve import gather
from tickerplant.errors import UserError
from tickerplant.kafka import Publisher, TopicPartition, consumer, create_topics
from tickerplant.registry import Registry
from tickerplant.settings import Settings
from tickerplant.watchdog import STUCK_CODE

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

VENUE = "SINKTEST"
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def settings(stack: Settings, request: pytest.FixtureRequest) -> Settings:
    """The stack, with topics and a lake of this test alone."""
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    own = stack.model_copy(
        update={
            "kafka": stack.kafka.model_copy(update={"topic_suffix": f"-{name}", "partitions": 2}),
            "object_store": stack.object_store.model_copy(update={"root": f"s3://tickerplant/{name}"}),
            "sink": stack.sink.model_copy(update={"flush_ms": 100.0, "flush_rows": 500, "parquet_roll_s": 0.3}),
        }
    )
    create_topics(own, catalogue(SYMBOLOGIES))
    return own


@pytest.fixture
def send(settings: Settings, tick: Any) -> Callable[..., None]:
    """Publishes ticks with these source offsets to partition 0 of cleaned.tick."""
    registry, publisher = Registry(settings), Publisher(settings)
    encoder = registry.encoder(TICK, Tick)

    def publish(offsets: Any) -> None:
        for offset in offsets:
            record = tick(offset, venue=VENUE, topic=f"raw{settings.kafka.topic_suffix}")
            publisher.send(TICK.name, 0, b"k", encoder.encode(record))
        assert publisher.flush() == 0

    return publish


@pytest.fixture
def sinks(settings: Settings) -> Iterator[Callable[..., BaseProcess]]:
    """Starts sink processes; what still runs at the end is killed."""
    started: list[BaseProcess] = []

    def start(store: str, run: Callable[[Settings, str], None] = app.run) -> BaseProcess:
        process = SPAWN.Process(target=run, args=(settings, store))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join(10)


def eventually(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    until_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until_s, "it did not come true in time"
        time.sleep(0.05)


def in_clickhouse(settings: Settings) -> list[int]:
    client = connect(settings.clickhouse)
    query = "SELECT source_offset FROM market_data.tick WHERE source_topic = %(topic)s ORDER BY source_offset"
    rows = client.execute(query, {"topic": f"raw{settings.kafka.topic_suffix}"})
    client.disconnect()
    return [row[0] for row in rows]


def in_lake(settings: Settings) -> list[int]:
    bucket = Bucket(settings.object_store)
    root = settings.object_store.root.removeprefix("s3://")
    if not bucket._fs.exists(f"{root}/cleaned/tick"):
        return []
    files = PyFileSystem(FSSpecHandler(bucket._fs))
    dataset = ds.dataset(f"{root}/cleaned/tick", filesystem=files, partitioning="hive")
    if not dataset.files:  # its folder comes before the object itself
        return []
    return sorted(dataset.to_table()["source_offset"].to_pylist())


READERS = {"clickhouse": in_clickhouse, "parquet": in_lake}


@pytest.mark.parametrize("store", sorted(READERS))
def test_killed_sinks_leave_every_row_once(settings: Settings, send: Any, sinks: Any, *, store: str) -> None:
    read = READERS[store]
    send(range(4000))
    for round_number in range(2):
        process = sinks(store)
        before = len(read(settings))
        eventually(lambda: len(read(settings)) > before)  # noqa: B023  # called within the round
        process.kill()
        process.join(10)
        send(range(4000 + round_number * 1000 - 200, 4000 + (round_number + 1) * 1000))
    sinks(store)
    eventually(lambda: len(read(settings)) >= 6000)

    assert list(range(6000)) == read(settings)


def starve(settings: Settings, store: str) -> None:
    """Run a sink whose consumer gives nothing any more after the first hundred records."""
    fetch, came = Member.fetch, [0]

    def fetch_some(self: Member, most: int, timeout_s: float) -> list[Any]:
        found = fetch(self, most, timeout_s)
        came[0] += len(found)
        return found if came[0] <= 100 else []

    with (
        patch.multiple(app, STUCK_S=2.0, ROLLS=0),
        patch.object(watch, "ASK_S", 0.2),
        patch.object(Member, "fetch", fetch_some),
    ):
        app.run(settings, store)


def test_a_sink_that_is_given_nothing_though_there_is_more_is_ended_and_the_next_one_goes_on(
    settings: Settings, send: Any, sinks: Any
) -> None:
    send(range(100))
    process = sinks("parquet", starve)
    eventually(lambda: len(in_lake(settings)) == 100)
    send(range(100, 150))
    process.join(60)

    assert process.exitcode == STUCK_CODE
    sinks("parquet")
    eventually(lambda: in_lake(settings) == list(range(150)))


def test_a_sink_drains_and_stops_when_told(settings: Settings, send: Any, sinks: Any) -> None:
    process = sinks("parquet")
    send(range(100))
    eventually(lambda: bool(in_lake(settings)))
    send(range(100, 150))
    process.terminate()
    process.join(10)

    assert process.exitcode == 0


def test_raw_frames_and_unreadable_records_arrive(settings: Settings, sinks: Any) -> None:
    topic = raw_topic("BINANCE")
    frame = Frame(source=0, number=0, kind="MESSAGE", recv_time_us=1_795_248_000_000_000, payload=b"\xff\x00")
    sources = [Source(market="spot", connection="c")]
    record = RawFrames(venue=VENUE, event_time_us=1_795_248_000_000_000, sources=sources, frames=[frame] * 3)
    publisher = Publisher(settings)
    publisher.send(TICK.name, 1, b"k", b"\x01junk")
    publisher.send(TICK.name, 1, b"k", b"\x00\x7f\xff\xff\xffof a registry that is not ours")
    publisher.send(topic.name, 1, b"1", Registry(settings).encoder(topic, RawFrames).encode(record))
    publisher.flush()
    sinks("clickhouse")
    client = connect(settings.clickhouse)
    frames = f"SELECT count() FROM market_data.tick_raw WHERE venue = '{VENUE}' AND hex(payload) = 'FF00'"
    letters = (
        "SELECT lower(hex(payload)) FROM metadata.dead_letters WHERE startsWith(source_topic, %(topic)s) "
        "ORDER BY source_offset"
    )
    values = {"topic": f"{TICK.name}{settings.kafka.topic_suffix}@"}
    eventually(lambda: client.execute(frames) == [(3,)])
    eventually(lambda: len(client.execute(letters, values)) == 2)
    found = client.execute(letters, values)
    client.disconnect()

    assert [hexadecimal for (hexadecimal,) in found] == [
        b"\x01junk".hex(),
        b"\x00\x7f\xff\xff\xffof a registry that is not ours".hex(),
    ]


def test_a_poisoned_topic_stops_the_sink_each_time_with_one_line_and_no_more_letters(
    settings: Settings, send: Any, tmp_path: Path
) -> None:
    sections = {
        "sink": settings.sink.model_copy(update={"dead_letter_limit": 20}),
        "local": settings.local.model_copy(update={"home": tmp_path}),
    }
    own = settings.model_copy(update=sections)
    send(range(50))
    publisher = Publisher(own)
    for _ in range(200):
        publisher.send(TICK.name, 0, b"k", b"\x01junk")
    publisher.flush()
    path = tmp_path / "settings.toml"
    path.write_text(tomli_w.dumps(with_secrets(own)))
    command = [sys.executable, "-m", "tickerplant", "sink", "parquet", "--config", str(path)]
    ends = [subprocess.run(command, check=False, capture_output=True, text=True, timeout=120) for _ in range(2)]
    with closing(consumer(own, "test.letters")) as client:
        name = DEAD_SINK.name + own.kafka.topic_suffix
        letters = sum(client.get_watermark_offsets(TopicPartition(name, part), timeout=10)[1] for part in (0, 1))

    (failed,) = [each.trace for view in gather(own) for each in view.tasks if each.state == "FAILED"]
    assert "20 records in a row" in failed
    assert [end.returncode for end in ends] == [2, 2]
    assert all("20 records in a row could not be used" in end.stderr.splitlines()[-1] for end in ends)
    assert letters == 19
    assert list(range(50)) == in_lake(settings)


def with_secrets(settings: Settings) -> dict[str, Any]:
    """Make settings as a file holds them; secrets print as asterisks."""
    values = settings.model_dump(mode="json", exclude_none=True)
    for name in ("access_key", "secret_key"):
        values["object_store"][name] = getattr(settings.object_store, name).get_secret_value()
    values["clickhouse"]["password"] = settings.clickhouse.password.get_secret_value()
    return values


def test_missing_topics_are_a_clear_error(settings: Settings) -> None:
    kafka = settings.kafka.model_copy(update={"topic_suffix": "-nowhere"})

    with pytest.raises(UserError, match="run `tickerplant deploy`"):
        app.run(settings.model_copy(update={"kafka": kafka}), "parquet")


@pytest.mark.parametrize("store", ["clickhouse", "parquet"])
def test_what_is_stored_is_told_with_its_time(settings: Settings, send: Any, sinks: Any, *, store: str) -> None:
    topic = TICK.name + settings.kafka.topic_suffix
    query = "SELECT sum(row_count) FROM metadata.sink_commits FINAL WHERE topic = %(topic)s AND stage = %(stage)s"
    reader = connect(settings.clickhouse)
    send(range(1000))
    for each in {store, "clickhouse"}:
        sinks(each)

    eventually(lambda: reader.execute(query, {"topic": topic, "stage": f"sink.{store}"}) == [(1000,)])
    last = "SELECT max(end_offset), min(commit_time_us) FROM metadata.sink_commits WHERE topic = %(topic)s"
    assert reader.execute(last, {"topic": topic})[0][0] == 999
    reader.disconnect()
