"""Kafka as we use it: topics from the catalogue, records in order, lag by partition, one line where nobody answers."""

from concurrent.futures import Future
from contextlib import closing

import pytest

from schemas.records import RawFrames
from schemas.topics import STORED, Topic
from tickerplant import kafka
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import (
    DeliveryError,
    KafkaError,
    OffsetReader,
    Publisher,
    TopicPartition,
    check_broker,
    consumer,
    create_topics,
    end_offsets,
    partition_count,
    topic_lives,
)
from tickerplant.lag import GROUPS, PROCESSOR, SINKS, Lag, LagReader, read_lag
from tickerplant.settings import Kafka, Settings

SUFFIX = ".kafka-tests"
NAME = "raw.sample"
SAMPLE = Topic(name=NAME, record=RawFrames, key="partition", retention_ms=60_000)
NOBODY = Settings(kafka=Kafka(bootstrap_servers="127.0.0.1:1"))


@pytest.fixture(scope="module")
def alone(stack: Settings) -> Settings:
    """Settings of topics of our own, of which there is one, with two partitions."""
    own = stack.kafka.model_copy(update={"topic_suffix": SUFFIX, "partitions": 2})
    settings = stack.model_copy(update={"kafka": own})
    create_topics(settings, [SAMPLE])
    return settings


@pytest.mark.stack
def test_topics_are_created_once_as_the_catalogue_says(alone: Settings) -> None:
    single = Topic(name="single", record=RawFrames, key="", retention_ms=None, is_per_partition=False)

    assert create_topics(alone, [SAMPLE, single]) == ["single" + SUFFIX]
    assert create_topics(alone, [SAMPLE, single]) == []
    assert (partition_count(alone, NAME), partition_count(alone, "single")) == (2, 1)


@pytest.mark.stack
def test_a_topic_the_broker_refuses_is_told(alone: Settings) -> None:
    with pytest.raises(UserError, match="cannot be created"):
        create_topics(alone, [Topic(name="no/slash", record=RawFrames, key="", retention_ms=1)])


@pytest.mark.stack
def test_a_missing_topic_says_how_to_make_it(alone: Settings) -> None:
    with pytest.raises(UserError, match=r"topic absent\.kafka-tests does not exist: run `tickerplant deploy`"):
        partition_count(alone, "absent")


@pytest.mark.stack
def test_records_come_in_order_with_key_and_headers(alone: Settings) -> None:
    publisher = Publisher(alone)
    with closing(consumer(alone, "test.kafka")) as client:
        place = TopicPartition(NAME + SUFFIX, 1)
        begin = end_offsets(client, [place])[NAME + SUFFIX, 1]
        for number in range(5):
            publisher.send(NAME, 1, b"key", str(number).encode(), [("source", b"x:0:0:0")])
        assert publisher.flush() == 0
        client.assign([TopicPartition(NAME + SUFFIX, 1, begin)])
        messages = client.consume(5, 10.0)

    assert [message.value() for message in messages] == [b"0", b"1", b"2", b"3", b"4"]
    assert (messages[0].key(), messages[0].headers()) == (b"key", [("source", b"x:0:0:0")])
    assert (publisher.sent_records, publisher.waiting_records()) == (5, 0)


@pytest.mark.stack
def test_a_full_queue_makes_send_wait_and_loses_nothing(alone: Settings) -> None:
    publisher = Publisher(alone, queue_bytes=1024 * 1024)
    for _ in range(100):
        publisher.send(NAME, 0, None, bytes(100_000))

    assert publisher.flush() == 0


@pytest.mark.stack
def test_a_refused_record_is_raised_by_the_next_call(alone: Settings) -> None:
    publisher = Publisher(alone)
    publisher.send(NAME, 99, None, b"there is no partition 99")

    with pytest.raises(DeliveryError, match="Kafka refused a record"):
        publisher.flush()
    with pytest.raises(DeliveryError, match="Kafka refused a record"):
        publisher.send(NAME, 0, None, b"x")


@pytest.mark.stack
def test_a_caller_can_be_told_of_each_delivery(alone: Settings) -> None:
    publisher, told = Publisher(alone), list[KafkaError | None]()
    publisher.send(NAME, 0, None, b"x", on_delivered=lambda error, _message: told.append(error))

    publisher.flush()

    assert told == [None]


@pytest.mark.stack
def test_a_topic_has_one_life_and_one_that_is_absent_has_none(alone: Settings) -> None:
    full = NAME + SUFFIX
    found = topic_lives(alone, [full, "absent" + SUFFIX])

    assert found.keys() == {full}
    assert topic_lives(alone, [full]) == found


@pytest.mark.stack
def test_commits_are_read_back_and_an_unknown_group_has_none(alone: Settings) -> None:
    with closing(consumer(alone, "test.kafka.commits")) as client:
        client.commit(offsets=[TopicPartition(NAME + SUFFIX, 0, 3)], asynchronous=False)
    with closing(OffsetReader(alone)) as reader:
        committed = reader.committed("test.kafka.commits", {NAME + SUFFIX: 2})
        unknown = reader.committed("test.kafka.nobody", {NAME + SUFFIX: 2})

    assert committed == {(NAME + SUFFIX, 0): 3}
    assert unknown == {}


@pytest.mark.stack
def test_before_a_deploy_there_is_no_lag(alone: Settings) -> None:
    nothing = alone.kafka.model_copy(update={"topic_suffix": ".never-deployed"})

    assert read_lag(alone.model_copy(update={"kafka": nothing})) == []


@pytest.mark.stack
def test_lag_counts_partitions_nobody_committed_and_only_topics_of_its_suffix(alone: Settings) -> None:
    publisher = Publisher(alone)
    publisher.send(NAME, 0, None, b"x")
    publisher.flush()

    lags = [each for each in read_lag(alone) if each.topic == NAME + SUFFIX]

    assert {each.group for each in lags} == {group + SUFFIX for group in GROUPS}
    assert {each.partition for each in lags if each.group == PROCESSOR + SUFFIX} == {0, 1}
    assert all(each.topic.endswith(SUFFIX) for each in read_lag(alone))
    assert next(each for each in lags if each.partition == 0).records > 0


@pytest.mark.stack
def test_processors_lag_on_raw_topics_alone_and_sinks_on_all(stack: Settings) -> None:
    with closing(LagReader(stack)) as reader:
        topics = {group: {each.topic for each in reader.read() if each.group == group} for group in GROUPS}

    assert "raw.binance" in topics[PROCESSOR]
    assert "cleaned.tick" not in topics[PROCESSOR]
    assert all({"raw.binance", *(topic.name for topic in STORED)} <= topics[sink] for sink in SINKS)


@pytest.mark.parametrize(
    ("committed", "first", "end", "records"),
    [(None, 0, 10, 10), (None, 4, 10, 6), (3, 0, 10, 7), (3, 5, 10, 5), (10, 0, 10, 0), (12, 0, 10, 0)],
)
def test_lag_is_what_is_kept_and_not_committed(committed: int | None, first: int, end: int, records: int) -> None:
    assert Lag("g", "t", 0, committed, first, end).records == records


def test_a_broker_that_does_not_answer_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "CONNECT_TIMEOUT_S", 0.3)

    with pytest.raises(DependencyError, match=r"^kafka does not answer at 127\.0\.0\.1:1: [^\n]*$"):
        check_broker(NOBODY, 0.3)
    with pytest.raises(DependencyError), closing(LagReader(NOBODY)) as reader:
        reader.read()


def test_an_answer_that_never_comes_counts_as_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen after a broker had hung: the reader of lags waited for ever."""

    class Silent:
        def list_consumer_groups(self, **_options: object) -> Future[object]:
            return Future()

    monkeypatch.setattr(kafka, "CONNECT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(kafka, "REFUSAL_POLL_S", 0.1)
    with closing(OffsetReader(NOBODY)) as reader:
        monkeypatch.setitem(reader.__dict__, "_admin", Silent())

        with pytest.raises(DependencyError):
            reader.groups()
        assert not isinstance(reader._admin, Silent)
