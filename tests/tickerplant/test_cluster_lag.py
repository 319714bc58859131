"""Lag of every group on real Kafka: ours and strangers', in records and seconds, gone when the group is gone."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from confluent_kafka.admin import AdminClient

from schemas.records import RawFrames, Tick
from schemas.topics import RAW_PREFIX, Topic
from tickerplant import cluster_lag
from tickerplant.cluster_lag import ClusterLagReader
from tickerplant.errors import DependencyError
from tickerplant.kafka import Publisher, TopicPartition, consumer, create_topics
from tickerplant.lag import PROCESSOR, Lag
from tickerplant.settings import Kafka, Settings

pytestmark = pytest.mark.stack
SUFFIX = ".cluster-lag"
RAW = f"{RAW_PREFIX}sample"
RAW_TOPIC = Topic(name=RAW, record=RawFrames, key="", retention_ms=7 * 86_400_000)
TICK = Topic(name="cleaned.tick", record=Tick, key="", retention_ms=7 * 86_400_000)
FOREIGN = Topic(name="orders", record=Tick, key="", retention_ms=7 * 86_400_000)


@pytest.fixture(scope="module")
def alone(stack: Settings) -> Settings:
    """Settings of topics of our own, two partitions each; ten records an hour old in partition 0, one new in each."""
    own = stack.kafka.model_copy(update={"topic_suffix": SUFFIX, "partitions": 2})
    settings = stack.model_copy(update={"kafka": own})
    create_topics(settings, [RAW_TOPIC, TICK, FOREIGN])
    now_ms = int(time.time() * 1000)
    publisher = Publisher(settings)
    for name in (RAW, TICK.name, FOREIGN.name):
        for number in range(10):
            publisher._producer.produce(
                name + SUFFIX, str(number), partition=0, timestamp=now_ms - 3_600_000 + number * 60_000
            )
        publisher.send(name, 0, None, b"x")
        publisher.send(name, 1, None, b"x")
    publisher.flush()
    return settings


@pytest.fixture
def commit(alone: Settings) -> Iterator[Callable[..., None]]:
    """Commit offsets as a group, which is deleted in the end."""
    groups = set()

    def commit_one(group: str, topic: str, partition: int, offset: int) -> None:
        groups.add(group)
        with closing(consumer(alone, group)) as client:
            client.commit(offsets=[TopicPartition(topic + SUFFIX, partition, offset)], asynchronous=False)

    yield commit_one
    delete_groups(alone, groups)


def delete_groups(settings: Settings, groups: set[str]) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    for future in admin.delete_consumer_groups(list(groups)).values():
        future.result()


def lags_of(settings: Settings, group: str) -> dict[tuple[str, int], Lag]:
    with closing(ClusterLagReader(settings)) as reader:
        return {(each.topic, each.partition): each for each in reader.read().lags if each.group == group}


def test_a_stranger_is_told_where_it_has_committed_and_nowhere_else(
    alone: Settings, commit: Callable[..., None]
) -> None:
    commit("stranger", TICK.name, 0, 4)
    commit("stranger", FOREIGN.name, 0, 4)

    lags = lags_of(alone, "stranger")

    assert set(lags) == {(TICK.name + SUFFIX, 0)}
    assert (lags[TICK.name + SUFFIX, 0].records, lags[TICK.name + SUFFIX, 0].committed) == (7, 4)


def test_a_group_that_reads_nothing_of_ours_is_not_told(alone: Settings, commit: Callable[..., None]) -> None:
    commit("elsewhere", FOREIGN.name, 0, 4)

    assert lags_of(alone, "elsewhere") == {}


def test_our_processor_is_told_of_each_raw_partition_committed_or_not(
    alone: Settings, commit: Callable[..., None]
) -> None:
    commit(PROCESSOR + SUFFIX, RAW, 1, 1)

    lags = lags_of(alone, PROCESSOR + SUFFIX)

    assert {place: (lag.committed, lag.records) for place, lag in lags.items()} == {
        (RAW + SUFFIX, 0): (None, 11),
        (RAW + SUFFIX, 1): (1, 0),
    }


def test_seconds_are_the_age_of_the_oldest_record_not_committed_at_the_first_look(
    alone: Settings, commit: Callable[..., None]
) -> None:
    commit("slow", TICK.name, 0, 5)
    commit("slower", TICK.name, 0, 0)
    commit("slowest", TICK.name, 1, 1)

    place = (TICK.name + SUFFIX, 0)
    assert lags_of(alone, "slow")[place].seconds == pytest.approx(3300, rel=0.1)
    assert lags_of(alone, "slower")[place].seconds == pytest.approx(3600, rel=0.1)
    assert lags_of(alone, "slowest")[TICK.name + SUFFIX, 1].seconds == 0


def test_a_group_that_is_gone_is_gone_from_the_next_reading(alone: Settings, commit: Callable[..., None]) -> None:
    commit("lasting", TICK.name, 0, 4)
    with closing(consumer(alone, "passing")) as client:
        client.commit(offsets=[TopicPartition(TICK.name + SUFFIX, 0, 4)], asynchronous=False)
    with closing(ClusterLagReader(alone)) as reader:
        before = reader.read()
        delete_groups(alone, {"passing"})
        after = reader.read()

    assert {"lasting", "passing"} <= set(before.states)
    assert "passing" not in after.states
    assert "lasting" in after.states


def test_too_many_groups_are_bounded_ours_first(
    alone: Settings, commit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_lag, "MOST_GROUPS", 1)
    commit("a-stranger", TICK.name, 0, 4)
    commit(PROCESSOR + SUFFIX, RAW, 1, 1)

    with closing(ClusterLagReader(alone)) as reader:
        assert set(reader.read().states) == {PROCESSOR + SUFFIX}


def test_a_broker_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickerplant.kafka.CONNECT_TIMEOUT_S", 0.3)
    nobody = Settings(kafka=Kafka(bootstrap_servers="127.0.0.1:1"))

    with closing(ClusterLagReader(nobody)) as reader, pytest.raises(DependencyError):
        reader.read()
