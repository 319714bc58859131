"""Sinks that run are shown and steered by Kafka Connect's API, and several processes of one share its partitions."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]  # documented, not in __all__

from schemas.records import Tick
from schemas.topics import DEAD_SINK, TICK, catalogue
from schemas.venues import SYMBOLOGIES
from sinks import app
from sinks.clickhouse_client import connect
from tickerplant.connect.console import Status, aim, restart, statuses
from tickerplant.connect.serve import gather
from tickerplant.kafka import Publisher, TopicPartition, consumer, create_topics
from tickerplant.registry import Registry
from tickerplant.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PARTITIONS = 4
SPAWN = multiprocessing.get_context("spawn")
Send = Callable[[range], None]


@pytest.fixture
def settings(stack: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """The stack, with a home and topics of this test alone."""
    name = f"s{abs(hash(request.node.name)) % 10**8}"
    own = stack.model_copy(
        update={
            "local": stack.local.model_copy(update={"home": tmp_path}),
            "kafka": stack.kafka.model_copy(update={"topic_suffix": f"-{name}", "partitions": PARTITIONS}),
            "sink": stack.sink.model_copy(update={"flush_ms": 100.0, "flush_rows": 500}),
        }
    )
    create_topics(own, catalogue(SYMBOLOGIES))
    return own


@pytest.fixture
def send(settings: Settings, tick: Any) -> Send:
    """Publishes ticks with these source offsets, in turn to all partitions."""
    registry, publisher = Registry(settings), Publisher(settings)
    encoder = registry.encoder(TICK, Tick)

    def publish(offsets: range) -> None:
        for offset in offsets:
            record = tick(offset, venue="STEERED", topic=source(settings), partition=offset % PARTITIONS)
            publisher.send(TICK.name, offset % PARTITIONS, b"k", encoder.encode(record))
        assert publisher.flush() == 0

    return publish


@pytest.fixture
def start(settings: Settings) -> Iterator[Callable[[int], BaseProcess]]:
    """Starts a ClickHouse sink of a number; what still runs at the end is killed."""
    started: list[BaseProcess] = []

    def begin(task: int) -> BaseProcess:
        process = SPAWN.Process(target=app.run, args=(settings, "clickhouse"), kwargs={"task": task})
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.join(10)


def source(settings: Settings) -> str:
    return f"raw{settings.kafka.topic_suffix}"


def stored(settings: Settings) -> list[int]:
    client = connect(settings.clickhouse)
    query = "SELECT source_offset FROM market_data.tick WHERE source_topic = %(topic)s ORDER BY source_offset"
    rows = client.execute(query, {"topic": source(settings)})
    client.disconnect()
    return [row[0] for row in rows]


def eventually(holds: Callable[[], Any], within_s: float = 180.0) -> Any:
    until_s = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < until_s, "it did not come true in time"
        time.sleep(0.1)
    return found


def sink(settings: Settings) -> Status:
    return next(each for each in statuses(settings) if each.name == "clickhouse")


def states(settings: Settings) -> list[str]:
    return [task.state for task in sink(settings).tasks]


def end_of(settings: Settings) -> int:
    """Count the ticks that the sink has committed."""
    views = gather(settings)
    return sum(sum(view.offsets.get(TICK.name + settings.kafka.topic_suffix, {}).values()) for view in views)


def url_of(settings: Settings) -> str:
    (task,) = sink(settings).tasks
    return f"http://{task.worker}"


def test_a_running_sink_is_shown_paused_and_resumed(settings: Settings, send: Send, start: Any) -> None:
    process = start(0)
    send(range(100))
    eventually(lambda: end_of(settings) == 100)
    url = url_of(settings)
    root, status = httpx.get(f"{url}/").json(), httpx.get(f"{url}/connectors/clickhouse/status").json()
    offsets = httpx.get(f"{url}/connectors/clickhouse/offsets").json()["offsets"]
    paused = httpx.put(f"{url}/connectors/clickhouse/pause")
    eventually(lambda: states(settings) == ["PAUSED"])
    send(range(100, 200))
    held = [end_of(settings) for _ in range(10) if states(settings) == ["PAUSED"]]
    process.terminate()
    process.join(30)
    start(0)
    eventually(lambda: states(settings) == ["PAUSED"])
    resumed = httpx.put(f"{url_of(settings)}/connectors/clickhouse/resume")
    eventually(lambda: end_of(settings) == 200)

    assert (paused.status_code, resumed.status_code) == (202, 202)
    assert root["kafka_cluster_id"]
    assert status["connector"]["state"] == status["tasks"][0]["state"] == "RUNNING"
    assert len([each for each in offsets if each["partition"]["kafka_topic"].startswith("cleaned.tick")]) == PARTITIONS
    assert held == [100] * 10
    assert stored(settings) == list(range(200))


def test_a_stopped_sink_leaves_its_group_and_comes_back(settings: Settings, send: Send, start: Any) -> None:
    start(0)
    send(range(50))
    eventually(lambda: end_of(settings) == 50)
    aim(settings, "clickhouse", "STOPPED")
    eventually(lambda: states(settings) == ["STOPPED"])
    group = f"tickerplant.sink.clickhouse{settings.kafka.topic_suffix}"
    other = consumer(settings, group)
    other.subscribe([TICK.name + settings.kafka.topic_suffix])
    eventually(lambda: (other.poll(0.5), len(other.assignment()) == PARTITIONS)[1])  # nobody else has them
    other.close()
    send(range(50, 80))
    aim(settings, "clickhouse", "RUNNING")
    eventually(lambda: end_of(settings) == 80)

    assert stored(settings) == list(range(80))


def test_a_restart_begins_the_task_anew_in_the_same_process(settings: Settings, send: Send, start: Any) -> None:
    process = start(0)
    send(range(50))
    eventually(lambda: end_of(settings) == 50)
    for task in (None, 0):
        before = members(settings)
        restart(settings, "clickhouse", task)
        eventually(lambda: (found := members(settings)) and found != before)  # noqa: B023  # asked within this turn
    send(range(50, 90))
    eventually(lambda: end_of(settings) == 90)

    assert process.is_alive()
    assert stored(settings) == list(range(90))


def group_of(settings: Settings) -> list[Any]:
    """Ask who is in the sink's group."""
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    group = f"tickerplant.sink.clickhouse{settings.kafka.topic_suffix}"
    found = admin.describe_consumer_groups([group], request_timeout=10)[group].result(20)
    return list(found.members)


def members(settings: Settings) -> set[str]:
    return {member.member_id for member in group_of(settings)}


def test_two_processes_share_partitions_and_one_that_is_killed_loses_and_doubles_nothing(
    settings: Settings, send: Send, start: Any
) -> None:
    processes = [start(0), start(1)]
    eventually(lambda: states(settings) == ["RUNNING", "RUNNING"] and len(shares(settings)) == 2)
    both = shares(settings)
    send(range(2000))
    eventually(lambda: len(stored(settings)) > 0)
    processes[0].kill()
    send(range(2000, 4000))
    eventually(lambda: len(stored(settings)) >= 4000)
    eventually(lambda: end_of(settings) == 4000)

    assert sorted(len(each) for each in both) == [PARTITIONS // 2] * 2
    assert not set.intersection(*both)
    assert stored(settings) == list(range(4000))
    assert [task.id for task in sink(settings).tasks] == [1]


def shares(settings: Settings) -> list[set[int]]:
    """Tell which partitions of the ticks each member has."""
    topic = TICK.name + settings.kafka.topic_suffix
    places = [member.assignment.topic_partitions for member in group_of(settings)]
    given = [{place.partition for place in each if place.topic == topic} for each in places]
    return [each for each in given if each]


def test_a_dead_letter_carries_the_headers_of_connect(settings: Settings, start: Any) -> None:
    publisher = Publisher(settings)
    publisher.send(TICK.name, 1, b"k", b"\x01junk")
    assert publisher.flush() == 0
    start(3)
    name = DEAD_SINK.name + settings.kafka.topic_suffix
    reader = consumer(settings, f"test.headers{settings.kafka.topic_suffix}")
    reader.assign([TopicPartition(name, number, 0) for number in range(PARTITIONS)])
    message = eventually(lambda: reader.poll(0.5))
    reader.close()
    headers = dict(message.headers())

    assert headers["__connect.errors.topic"] == f"{TICK.name}{settings.kafka.topic_suffix}".encode()
    assert headers["__connect.errors.partition"] == b"1"
    assert headers["__connect.errors.offset"] == b"0"
    assert (headers["__connect.errors.connector.name"], headers["__connect.errors.task.id"]) == (b"clickhouse", b"3")
