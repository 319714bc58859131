"""What a producer counts is what the raw topic holds, once it has drained; what Kafka refuses ends it, in one line."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented, not in __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from schemas.records import RawFrames
from schemas.topics import catalogue, raw_topic
from tickerplant.demo.options import write_settings
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.kafka import (
    OFFSET_BEGINNING,
    TopicPartition,
    consumer,
    create_topics,
    end_offsets,
    partition_count,
)
from tickerplant.local import background
from tickerplant.local.ports import with_local
from tickerplant.registry import Registry
from tickerplant.settings import Settings, Venue

WAIT_S = 60.0
ENOUGH_RECORDS = 200
RAW = raw_topic("binance").name

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(240),
    # the registry's client keeps its connections open until it is collected
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


@pytest.fixture
def settings(stack: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings with topics of their own, and a market that goes on, on the session's stack."""
    port = with_local(Settings(), tmp_path, keep_free_ports=False).local.simulator_port
    local = stack.local.model_copy(update={"home": tmp_path, "simulator_port": port})
    address = f"127.0.0.1:{port}/binance/spot"
    venue = Venue(
        venue="BINANCE", market="spot", symbols=("*",), websocket_url=f"ws://{address}", rest_url=f"http://{address}"
    )
    kafka = stack.kafka.model_copy(update={"topic_suffix": f".{tmp_path.name}", "partitions": 2})
    ours = stack.model_copy(update={"local": local, "kafka": kafka, "venues": (venue,)})
    create_topics(ours, catalogue(["binance"]))
    arguments = ["tickerplant.local.venue", "--port", str(port), "--symbols", "5", "--rate", "1000"]
    background.start(ours, background.VENUE, arguments)
    try:
        until(SimulatedVenue(ours).is_up, "the venue answers")
        SimulatedVenue(ours).start()
        yield ours
    finally:
        background.stop(ours, print)


@contextmanager
def producer(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    config = settings.local.home / "settings.toml"
    write_settings(settings, config)
    command = [sys.executable, "-m", "tickerplant", "produce", "--json", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def places(settings: Settings) -> list[TopicPartition]:
    name = RAW + settings.kafka.topic_suffix
    return [TopicPartition(name, number, OFFSET_BEGINNING) for number in range(partition_count(settings, RAW))]


def records(settings: Settings) -> int:
    with closing(consumer(settings, "test.totals")) as client:
        return sum(end_offsets(client, places(settings)).values())


def raw(settings: Settings) -> list[RawFrames]:
    decoder, found = Registry(settings).decoder(RawFrames), []
    with closing(consumer(settings, "test.totals")) as client:
        end = sum(end_offsets(client, places(settings)).values())
        client.assign(places(settings))
        while len(found) < end:
            found += [decoder.decode(message.value() or b"") for message in client.consume(1000, 0.2)]
    return found


def test_what_was_read_counted_and_stored_is_the_same(settings: Settings) -> None:
    """Stopped while the market goes on: the frames counted at the sockets are those that Kafka has, in order."""
    with producer(settings) as process:
        until(lambda: records(settings) > ENOUGH_RECORDS, "raw records come")
        process.terminate()
        begin_s = time.monotonic()
        out, _ = process.communicate(timeout=WAIT_S)
        seconds = time.monotonic() - begin_s
    found, totals = raw(settings), json.loads(out)

    assert process.returncode == 0
    assert seconds < 10
    assert (totals["received"], totals["sent"]) == (sum(len(each.frames) for each in found), len(found))
    numbers: dict[str, list[int]] = {}
    for each in found:
        for frame in each.frames:
            source = each.sources[frame.source]
            if not source.connection.startswith("clock-"):
                numbers.setdefault(source.connection, []).append(frame.number)
    assert all(sorted(each) == list(range(len(each))) for each in numbers.values())


def test_a_record_that_kafka_refuses_ends_the_producer_in_one_line(settings: Settings) -> None:
    """The broker takes no record any more: it is larger than the topic allows."""
    with producer(settings) as process:
        until(lambda: records(settings) > ENOUGH_RECORDS, "raw records come")
        limit(settings, "max.message.bytes", "100")
        _, errors = process.communicate(timeout=WAIT_S)

    assert process.returncode == 1
    assert "Kafka refused a record" in errors.strip().splitlines()[-1]
    assert "Traceback" not in errors


def test_a_topic_that_is_deleted_ends_the_producer_and_the_next_one_says_what_to_do(settings: Settings) -> None:
    with producer(settings) as process:
        until(lambda: records(settings) > ENOUGH_RECORDS, "raw records come")
        client = admin(settings)  # held: its end would cancel what it was asked
        for future in client.delete_topics([RAW + settings.kafka.topic_suffix]).values():
            future.result(timeout=10)
        _, errors = process.communicate(timeout=2 * WAIT_S)
    with producer(settings) as process:
        _, again = process.communicate(timeout=WAIT_S)

    assert process.returncode == 2
    assert "run `tickerplant deploy`" in again
    assert RAW in errors.strip().splitlines()[-1]
    assert "Traceback" not in errors


def admin(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})


def limit(settings: Settings, name: str, value: str) -> None:
    """Change a setting of the raw topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, RAW + settings.kafka.topic_suffix, incremental_configs=[entry])
    client = admin(settings)
    for future in client.incremental_alter_configs([resource]).values():
        future.result(timeout=10)
