"""Any role and any server is killed or paused at any moment, several at once; then all is drained and held against raw.

`make kill SECONDS=600 SEED=7` runs the same for longer; what is done, and in which order, follows from the seed.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from processors.pipeline import Pipeline
from schemas.codec import Encoder
from schemas.records import Depth, QualityEvent, RawFrames, Tick
from schemas.topics import BY_RECORD, raw_topic
from tickerplant.demo.accounts import Accounts, account
from tickerplant.demo.report import Findings
from tickerplant.errors import UserError
from tickerplant.kafka import OFFSET_BEGINNING, Message, TopicPartition, consumer, partition_count
from tickerplant.once import Once, source_of
from tickerplant.registry import Registry
from tickerplant.scrape import scrape
from tickerplant.settings import Settings
from tickerplant.supervise import RESTART_FIRST_S

SECONDS = float(os.environ.get("KILL_SECONDS", "20"))
SEED = int(os.environ.get("KILL_SEED", "1"))
RATE = int(os.environ.get("KILL_RATE", "200"))
PAUSE_S = 12.0  # longer than the session of a consumer, 10 s
STOP_S = 10.0
SETTLE_S = 90.0
ROLES = ("produce", "process", "sink-clickhouse", "sink-parquet")
SERVERS = ("broker", "clickhouse", "s3")
SHAPES = (Tick, Depth, QualityEvent)

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(600 + 3 * SECONDS),
    # the registry's client keeps its connections open until it is collected
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@dataclass(frozen=True)
class Blow:
    """What is done at one moment, and how long it is waited before.

    Args:
        number: SIGSTOP = paused for `PAUSE_S`, then SIGCONT; servers that were killed are started again.
    """

    wait_s: float
    victims: tuple[str, ...]
    number: signal.Signals


def blows(seed: int) -> Iterator[Blow]:
    """What a seed does, without end: each role is killed once first, then anything may happen."""
    chance = random.Random(seed)  # reproducible
    for victim in chance.sample(ROLES, len(ROLES)):
        yield Blow(chance.uniform(0.5, 2), (victim,), signal.SIGKILL)
    while True:
        victims = chance.sample((*ROLES, *SERVERS), chance.choice((1, 1, 2, 3)))
        are_roles = all(each in ROLES for each in victims)
        number = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        yield Blow(chance.uniform(0.5, 6), tuple(victims), number if are_roles else signal.SIGKILL)


def tell(text: str) -> None:
    """Say what is done, for those who run the long version with `-s`."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def start(line: Any, servers: list[str]) -> None:
    """Start servers; while one was away, somebody may have been given its port for a connection."""
    deadline_s = time.monotonic() + SETTLE_S
    while servers:
        try:
            line.start(servers)
        except UserError:
            assert time.monotonic() < deadline_s
            time.sleep(1)
        else:
            return


def strike(line: Any, blow: Blow) -> None:
    """Do it."""
    roles = [each for each in blow.victims if each in ROLES]
    servers = [each for each in blow.victims if each in SERVERS]
    children = [child for child in line.supervisor.children if child.role.name in roles]
    for child in children:
        child.wait_s = RESTART_FIRST_S  # or those that are often killed are away for most of the time
        os.kill(child.process.pid, blow.number)
    line.signal(servers, signal.SIGKILL)
    start(line, servers)
    if blow.number == signal.SIGSTOP:
        time.sleep(PAUSE_S)
        for child in children:
            os.kill(child.process.pid, signal.SIGCONT)


@dataclass(frozen=True)
class Drain:
    """How the roles ended, under load.

    Args:
        codes: by slot, what each process ended with.
        left: what is not committed: (group, topic, partition) → records.
    """

    seconds: float
    codes: Mapping[str, int | None]
    left: Mapping[tuple[str, str, int], int]


@dataclass(frozen=True)
class Story:
    """What was done, and what was left of it.

    Args:
        restarts: by slot.
        grown: by topic, how many records a second start of processor and sinks added, without new input.
    """

    done: tuple[Blow, ...]
    restarts: Mapping[str, int]
    drain: Drain
    grown: Mapping[str, int]
    findings: Findings
    accounts: Accounts
    settings: Settings


def drain(line: Any) -> Drain:
    """End all roles while the market goes on."""
    line.stopping.set()
    line.keeper.join()
    children = list(line.supervisor.children)
    begin_s = time.monotonic()
    line.supervisor.stop()
    seconds = time.monotonic() - begin_s
    codes = {child.role.name: child.process.returncode for child in children}
    lags = {(each.group, each.topic, each.partition): each.records for each in line.lags.read() if each.records}
    return Drain(seconds, codes, lags)


def messages(settings: Settings, topic: str, partition: int) -> Iterator[Message]:
    """Read a partition (name without suffix) from its beginning to its end."""
    place = TopicPartition(topic + settings.kafka.topic_suffix, partition, OFFSET_BEGINNING)
    with closing(consumer(settings, "test.kills")) as client:
        end = client.get_watermark_offsets(place, timeout=10)[1]
        client.assign([place])
        position = 0
        while position < end:
            for message in client.consume(1000, 0.5):
                assert message.error() is None
                position = (message.offset() or 0) + 1
                yield message


def ends(settings: Settings) -> dict[str, int]:
    """Count what the topics that processors write hold."""
    counts = {}
    with closing(consumer(settings, "test.kills")) as client:
        for topic in BY_RECORD.values():
            places = [TopicPartition(topic.name, number) for number in range(partition_count(settings, topic.name))]
            counts[topic.name] = sum(client.get_watermark_offsets(each, timeout=10)[1] for each in places)
    return counts


def start_again(line: Any, until: Callable[..., None]) -> dict[str, int]:
    """Start and stop all but the producer, and tell what that added to topics."""
    before = ends(line.settings)
    line.supervisor.roles = [role for role in line.supervisor.roles if role.name != "produce"]
    line.supervisor.start()
    until(lambda: len(line.roles()) == len(line.supervisor.roles) and not line.missing(), "all are ready again")
    until(lambda: not any(each.records for _ in range(2) for each in line.lags.read()), "all is stored")
    line.supervisor.stop()
    return {name: count - before[name] for name, count in ends(line.settings).items() if count != before[name]}


def has_settled(line: Any) -> bool:
    books = scrape(line.settings, ("processor_books",)).by_label("processor_books", "state")
    are_there = len(line.roles()) == len(line.supervisor.roles) and not line.missing()
    return are_there and books.get("valid", 0) > 0 and not books.get("invalid")


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, pipeline: Any, settings_in: Any, eventually: Any
) -> Iterator[Story]:
    settings = settings_in(tmp_path_factory.mktemp("kills"))
    done: list[Blow] = []
    with pipeline(settings, RATE) as line:
        end_s = time.monotonic() + SECONDS
        for blow in blows(SEED):
            if time.monotonic() + blow.wait_s > end_s:
                break
            time.sleep(blow.wait_s)
            strike(line, blow)
            done.append(blow)
            tell(f"seed {SEED}: {blow.number.name} {', '.join(blow.victims)} after {blow.wait_s:.1f} s")
        eventually(lambda: has_settled(line), "all are ready, all books stand", SETTLE_S)
        restarts = line.supervisor.restarts()
        drained = drain(line)
        grown = start_again(line, eventually)
        findings = line.finish()
        accounts = account(line.venue.truth(["spot"], has_books=False), findings.topics, findings.frames_served)
        books = line.venue.truth(["spot"], has_books=True).books
        tell(f"seed {SEED}: {restarts}, {drained}, {grown}, {findings.summary()}, {len(books)}")
        yield Story(tuple(done), restarts, drained, grown, findings, accounts, settings)


def test_every_role_was_killed_and_came_back(story: Story) -> None:
    assert all(story.restarts[role] for role in ROLES)


def test_what_the_raw_topic_does_not_hold_is_told(story: Story) -> None:
    """Frames that a killed producer had read: the ids of trades show each hole; books are joined anew."""
    assert story.findings.topics.raw.frames > 0
    assert story.accounts.adds_up, story.accounts


def test_cleaned_topics_hold_what_raw_gives_each_once_in_order(story: Story) -> None:
    """Read as subscribers do, which drop repeats; held against a pipeline that was never killed."""
    registry = Registry(story.settings)
    decoder = registry.decoder(RawFrames)
    encoders: dict[type, Encoder[Any]] = {shape: registry.encoder(BY_RECORD[shape], shape) for shape in SHAPES}
    topic = raw_topic("binance").name
    count = partition_count(story.settings, topic)
    keyframe_us = int(story.settings.processor.keyframe_s * 1_000_000)
    for partition in range(count):
        pipeline = Pipeline("BINANCE", topic, partition, partition_count=count, keyframe_us=keyframe_us)
        expected: dict[type, list[bytes]] = {shape: [] for shape in SHAPES}
        for message in messages(story.settings, topic, partition):
            for record in pipeline.process(message.offset() or 0, decoder.decode(message.value() or b"")).records:
                if type(record) in expected:
                    expected[type(record)].append(encoders[type(record)].encode(record))
        for shape, values in expected.items():
            assert read_once(story.settings, BY_RECORD[shape].name, partition) == values, (shape, partition)


def read_once(settings: Settings, topic: str, partition: int) -> list[bytes]:
    """Read the values of a partition, without repeats."""
    once, values = Once(), []
    for message in messages(settings, topic, partition):
        source = source_of(message.headers())
        assert source is not None
        if once.is_new((topic, partition), source):
            values.append(message.value() or b"")
    return values


@pytest.mark.parametrize("store", ["clickhouse", "parquet"])
def test_each_record_is_in_each_store_once(story: Story, store: str) -> None:
    topics, tables = story.findings.topics, story.findings.stored[store]

    assert {name: (count.rows, count.distinct) for name, count in tables.items()} == {
        "tick": (len(topics.ticks.sources),) * 2,
        "depth": (len(topics.depth.sources),) * 2,
    }


def test_under_load_all_roles_drain_in_time_by_themselves(story: Story) -> None:
    assert story.drain.seconds < STOP_S
    assert set(story.drain.codes.values()) == {0}


def test_after_a_drain_nothing_is_left_to_be_read_again(story: Story) -> None:
    assert story.drain.left == {}


def test_a_second_start_says_nothing_of_what_is_done(story: Story) -> None:
    assert story.grown == {}


def test_a_seed_does_the_same_each_time() -> None:
    first, second = blows(3), blows(3)

    assert [next(first) for _ in range(50)] == [next(second) for _ in range(50)]
