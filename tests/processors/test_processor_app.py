"""The Faust application on real Kafka: recovery, drain, dead letters, and errors before Faust starts."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from confluent_kafka.admin import AdminClient

from processors.app import run
from schemas.codec import Decoder
from schemas.records import DeadLetter, Depth, QualityEvent, RawFrames, Tick
from schemas.topics import BY_RECORD, catalogue, raw_topic
from schemas.venues import SYMBOLOGIES
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import (
    OFFSET_BEGINNING,
    KafkaException,
    OffsetReader,
    Publisher,
    TopicPartition,
    consumer,
    create_topics,
    delete_topics,
    source_name,
)
from tickerplant.registry import Registry
from tickerplant.replay.keeper import keep_once
from tickerplant.replay.restore import restore
from tickerplant.settings import Settings
from tickerplant.watchdog import STUCK_CODE

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(180),
    # the registry's client keeps its connections open until it is collected
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WAIT_S = 60.0
RECORDS = 400
RAW = raw_topic("binance")
STOP_S = 10.0
PROGRAM = """
import sys
from pathlib import Path
from tickerplant.logs import configure_logs
from tickerplant.settings import Settings
from processors.app import run
configure_logs("process")
exec(sys.argv[2])
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
            "processor": stack.processor.model_copy(update={"snapshot_s": 0.2, "dead_letter_limit": 5}),
        }
    )
    create_topics(settings, catalogue(SYMBOLOGIES))
    eventually(lambda: has_leaders(settings))
    return settings


HANGS = {
    "step": """
import threading
from processors.worker import PartitionWorker
PartitionWorker.step = lambda *_: threading.Event().wait()
""",
    "take": """
import asyncio
from processors.app import Processor
async def take(*_):
    await asyncio.Event().wait()
Processor.take = take
""",
    "_commit": """
import asyncio
from processors import app
async def hang(*_):
    await asyncio.Event().wait()
app._commit = hang
""",
}
"""What stands still, by the name of the function: the event loop, the agent alone, the commits."""


@contextmanager
def processor(settings: Settings, folder: Path, first: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A processor process that runs a piece of code first, ended if it still runs."""
    path = folder / "settings.json"
    path.write_text(settings.model_dump_json())
    with (folder / "process.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path), first], stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def publish(settings: Settings, values: list[bytes], partition: int = 0) -> None:
    publisher = Publisher(settings)
    for value in values:
        publisher.send(RAW.name, partition, b"0", value)
    publisher.flush()


def encoded(settings: Settings, records: list[RawFrames]) -> list[bytes]:
    encoder = Registry(settings).encoder(RAW, RawFrames)
    return [encoder.encode(record) for record in records]


def read(settings: Settings, shape: type, partition: int = 0) -> list[Any]:
    """Read all there is of a class."""
    decoder: Decoder[Any] = Registry(settings).decoder(shape)
    name = BY_RECORD[shape].name + settings.kafka.topic_suffix
    values: list[bytes] = []
    with closing(consumer(settings, "test.reader")) as client:
        end = client.get_watermark_offsets(TopicPartition(name, partition), timeout=10)[1]
        client.assign([TopicPartition(name, partition, OFFSET_BEGINNING)])
        while len(values) < end:
            values += [message.value() for message in client.consume(1000, 0.2)]  # type: ignore[misc]
    return [decoder.decode(value) for value in values]


def eventually(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def has_leaders(settings: Settings) -> bool:
    """Tell whether new topics can be read."""
    try:
        return all(read(settings, shape) == [] for shape in BY_RECORD)
    except KafkaException:
        return False


def stream(new_run: Any, count: int = RECORDS) -> list[RawFrames]:
    """Raw records: a list, then trades and deltas in turn, with a snapshot among them."""
    feed = new_run("spot").feed
    body = b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[]}]}'
    records = [feed.record(feed.frame(body, "INSTRUMENTS"))]
    for number in range(1, count):
        frames = [feed.message("btcusdt@trade", t=number), feed.message("btcusdt@depth@100ms", U=number, u=number)]
        if number == 10:
            frames.append(feed.snapshot(number, [["1.0", "1"]]))
        records.append(feed.record(*frames))
    return records


def expected(settings: Settings, new_run: Any, records: list[RawFrames], shape: type) -> list[Any]:
    """What the pipeline gives for these, run here."""
    run_here = new_run("spot", assume_instruments=False, topic=source_name(settings, RAW.name))
    for record in records:
        run_here.take_record(record)
    return list(run_here.of(shape))


def distinct(records: list[Any]) -> list[Any]:
    """Drop repeats as a sink does: by source."""
    return list({(each.source_topic, each.source_offset, each.source_index): each for each in records}.values())


def test_output_on_kafka_is_that_of_the_pipeline(alone: Settings, tmp_path: Path, new_run: Any) -> None:
    records = stream(new_run)
    with processor(alone, tmp_path) as process:
        publish(alone, encoded(alone, records))
        eventually(lambda: len(read(alone, Tick)) == RECORDS - 1)
        process.send_signal(signal.SIGTERM)

        assert process.wait(STOP_S) == 0
    assert read(alone, Tick) == expected(alone, new_run, records, Tick)
    assert read(alone, Depth) == expected(alone, new_run, records, Depth)


def test_killed_and_started_again_topics_hold_each_record_once(alone: Settings, tmp_path: Path, new_run: Any) -> None:
    records = stream(new_run)
    values = encoded(alone, records)
    for number in range(4):
        with processor(alone, tmp_path) as process:
            seen = len(read(alone, Tick))
            publish(alone, values[number * RECORDS // 4 : (number + 1) * RECORDS // 4])
            eventually(lambda: len(read(alone, Tick)) > seen)  # noqa: B023  # asked within this turn
            process.kill()
    with processor(alone, tmp_path):
        eventually(lambda: len(read(alone, Tick)) >= RECORDS - 1)
        eventually(lambda: len(read(alone, Depth)) >= RECORDS)  # a snapshot among them

    assert read(alone, Tick) == expected(alone, new_run, records, Tick)
    assert read(alone, Depth) == expected(alone, new_run, records, Depth)


def test_after_a_drain_nothing_is_repeated(alone: Settings, tmp_path: Path, new_run: Any) -> None:
    values = encoded(alone, stream(new_run))
    for half in (values[: RECORDS // 2], values[RECORDS // 2 :]):
        with processor(alone, tmp_path) as process:
            before = len(read(alone, Tick))
            publish(alone, half)
            eventually(lambda: len(read(alone, Tick)) >= before + len(half) - 1)  # noqa: B023  # asked within this turn
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)

    assert [each.sequence_id for each in read(alone, Tick)] == list(range(1, RECORDS))


def test_records_that_cannot_be_decoded_are_dead_letters(alone: Settings, tmp_path: Path, new_run: Any) -> None:
    good = encoded(alone, stream(new_run, 5))
    unknown_schema = b"\x00\x7f\xff\xff\xff"
    with processor(alone, tmp_path):
        publish(alone, [good[0], b"garbage", unknown_schema, *good[1:]])
        eventually(lambda: len(read(alone, Tick)) == 4)

    assert [each.payload for each in read(alone, DeadLetter)] == [b"garbage", unknown_schema]


def stopped(settings: Settings, folder: Path) -> tuple[int, str]:
    """Run the role as users do until it stops; returns exit code and the last line of its output."""
    path = folder / "settings.toml"
    path.write_text(tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True)))
    command = [sys.executable, "-m", "tickerplant", "process", "--config", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=2 * WAIT_S)
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_a_poisoned_topic_stops_the_process_each_time_with_one_line_and_bounded_letters(
    alone: Settings, tmp_path: Path, new_run: Any
) -> None:
    limits = {"dead_letter_limit": 100, "dead_letter_window": 40, "dead_letter_share": 0.3}
    settings = alone.model_copy(update={"processor": alone.processor.model_copy(update=limits)})
    good = encoded(alone, stream(new_run, 100))
    publish(alone, [good[0], *(value for each in good[1:] for value in (each, b"garbage"))])
    ends = [stopped(settings, tmp_path) for _ in range(3)]

    assert [code for code, _ in ends] == [2, 2, 2]
    assert all(
        re.match(r"tickerplant: \d+ of \d+ frames could not be used: .*dead_letter_share", line) for _, line in ends
    )
    assert {len(distinct(read(alone, DeadLetter))), len(read(alone, DeadLetter))} == {12}


def test_an_unknown_schema_id_stops_the_process_that_is_told_so_and_is_read_again(
    alone: Settings, tmp_path: Path, new_run: Any
) -> None:
    strict = alone.model_copy(update={"registry": alone.registry.model_copy(update={"unknown_id": "stop"})})
    good = encoded(alone, stream(new_run, 5))
    publish(alone, [*good[:3], b"\x00\x7f\xff\xff\xff", *good[3:]])
    ends = [stopped(strict, tmp_path) for _ in range(2)]

    assert [code for code, _ in ends] == [2, 2]
    assert all("offset 3: schema id 2147483647" in line and "raw.binance-value" in line for _, line in ends)
    assert read(alone, DeadLetter) == []
    assert len(read(alone, Tick)) == 2


@pytest.mark.parametrize("hang", HANGS)
def test_a_processor_that_stands_still_is_ended_and_what_it_left_is_processed_by_the_next(
    alone: Settings, tmp_path: Path, new_run: Any, hang: str
) -> None:
    records = stream(new_run, 20)
    settings = alone.model_copy(update={"processor": alone.processor.model_copy(update={"stuck_after_s": 3.0})})
    with processor(settings, tmp_path, HANGS[hang]) as process:
        publish(settings, encoded(settings, records))
        eventually(lambda: process.poll() is not None)

        assert process.returncode == STUCK_CODE
    assert (tmp_path / "process.log").read_text().count("stuck, ending") == 1

    with processor(alone, tmp_path):  # patient again: the group waits for the one that ended
        eventually(lambda: distinct(read(settings, Tick)) == expected(alone, new_run, records, Tick))


def test_a_processor_that_was_paused_for_longer_than_its_patience_goes_on(
    alone: Settings, tmp_path: Path, new_run: Any
) -> None:
    """What waits when it wakes up has waited for all that time, and it is not its fault."""
    values = encoded(alone, stream(new_run, 20))
    settings = alone.model_copy(update={"processor": alone.processor.model_copy(update={"stuck_after_s": 5.0})})
    with processor(settings, tmp_path) as process:
        publish(settings, values[:10])
        eventually(lambda: len(read(settings, Tick)) == 9)
        process.send_signal(signal.SIGSTOP)
        publish(settings, values[10:])
        begin_s = time.monotonic()
        eventually(lambda: time.monotonic() - begin_s > 12)
        process.send_signal(signal.SIGCONT)
        eventually(lambda: len(distinct(read(settings, Tick))) == 19)

        assert process.poll() is None


def test_a_topic_made_anew_under_it_ends_the_process_and_the_next_one_takes_it_for_another(
    alone: Settings, tmp_path: Path, new_run: Any
) -> None:
    """Readers that drop repeats by source must drop none of its records, though their offsets are those of before."""
    first, second = stream(new_run, 20), stream(new_run, 30)
    with processor(alone, tmp_path) as process:
        publish(alone, encoded(alone, first))
        eventually(lambda: len(read(alone, Tick)) == 19)
        before = expected(alone, new_run, first, Tick)
        name = RAW.name + alone.kafka.topic_suffix
        delete_topics(alone, [name])
        eventually(lambda: not exists(alone, name))
        create_topics(alone, [RAW])
        eventually(lambda: exists(alone, name))
        publish(alone, encoded(alone, second))
        eventually(lambda: process.poll() is not None)

        assert process.returncode == 1
    with processor(alone, tmp_path):
        eventually(lambda: len(distinct(read(alone, Tick))) == 19 + 10)

    ticks = distinct(read(alone, Tick))
    assert ticks[:19] == before
    assert {each.source_topic for each in ticks[19:]} == {source_name(alone, RAW.name)} != {before[0].source_topic}
    assert [each.sequence_id for each in ticks] == list(range(1, 30))
    assert [each.kind for each in read(alone, QualityEvent)].count("RAW_LOSS") == 1


def exists(settings: Settings, name: str) -> bool:
    with closing(OffsetReader(settings)) as reader:
        return name in reader.lives([name])


def test_what_was_not_kept_until_it_could_be_processed_is_told_with_its_offsets(
    alone: Settings, tmp_path: Path, new_run: Any
) -> None:
    records = stream(new_run, 60)
    values = encoded(alone, records)
    with processor(alone, tmp_path):
        publish(alone, values[:20])
        eventually(lambda: len(read(alone, Tick)) == 19)
    publish(alone, values[20:40])
    kept = TopicPartition(RAW.name + alone.kafka.topic_suffix, 0, 40)
    admin = AdminClient(
        {"bootstrap.servers": alone.kafka.bootstrap_servers}
    )  # held: its end would cancel what it was asked
    admin.delete_records([kept])[kept].result(WAIT_S)
    publish(alone, values[40:])
    with processor(alone, tmp_path):
        eventually(lambda: len(read(alone, Tick)) == 39)

    (loss,) = [each for each in read(alone, QualityEvent) if each.kind == "RAW_LOSS"]
    assert (loss.to_sequence, loss.source_offset, loss.source_partition) == (39, 40, 0)
    assert loss.from_sequence + loss.count == 40
    assert "raw records are lost" in (tmp_path / "process.log").read_text()


def test_damaged_state_stops_it_with_one_line_and_a_checkpoint_in_its_place_goes_on_exactly(
    alone: Settings, tmp_path: Path, new_run: Any
) -> None:
    lake = alone.object_store.model_copy(update={"root": str(tmp_path / "lake")})
    settings = alone.model_copy(update={"object_store": lake})
    records = stream(new_run, 60)
    values = encoded(settings, records)
    with processor(settings, tmp_path) as process:
        publish(settings, values[:20])
        eventually(lambda: any(each["partition"] == 0 for each in keep_once(settings).written))
        publish(settings, values[20:40])
        eventually(lambda: len(read(settings, Tick)) == 39)
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_S)
    publisher = Publisher(settings)
    for slot in (0, 1):
        publisher.send("state.processor", 0, f"raw.binance|0||{slot}".encode(), b"junk")
    publisher.flush()
    code, line = stopped(settings, tmp_path)

    assert code == 2
    assert re.match(
        r"tickerplant: the state of raw\.binance:0 .* offset \d+: .*`tickerplant checkpoint --restore", line
    )
    eventually(lambda: restore(settings, "raw.binance:0")["next_offset"] > 0)
    publish(settings, values[40:])
    with processor(settings, tmp_path):
        eventually(lambda: len(read(settings, Tick)) >= 59)

    assert read(settings, Tick) == expected(settings, new_run, records, Tick)
    assert read(settings, Depth) == expected(settings, new_run, records, Depth)


def test_without_a_broker_it_says_so(alone: Settings) -> None:
    kafka = alone.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})

    with pytest.raises(DependencyError, match="kafka"):
        run(alone.model_copy(update={"kafka": kafka}))


def test_without_a_registry_it_says_so(alone: Settings) -> None:
    registry = alone.registry.model_copy(update={"url": "http://127.0.0.1:9"})

    with pytest.raises(DependencyError, match="registry"):
        run(alone.model_copy(update={"registry": registry}))


def test_without_topics_it_says_what_to_do(alone: Settings) -> None:
    kafka = alone.kafka.model_copy(update={"topic_suffix": ".nowhere"})

    with pytest.raises(UserError, match="tickerplant deploy"):
        run(alone.model_copy(update={"kafka": kafka}))
