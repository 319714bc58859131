"""Kafka as we use it: producers that never lose silently, consumers without auto-commit, topics from the catalogue.

The only importer of confluent_kafka, with `refusals.py`, `rights.py` and, for its registry client, `registry.py`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
    libversion,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]  # documented, not in __all__

from schemas.topics import COMMAND, MAX_RECORD_BYTES, Topic
from tickerplant.errors import DependencyError, TickerplantError, UserError
from tickerplant.once import life_of, with_life
from tickerplant.refusals import Told, refusal
from tickerplant.security import kafka_options
from tickerplant.settings import Settings

__all__ = [
    "OFFSET_BEGINNING",
    "BrokerProbe",
    "Consumer",
    "DeliveryError",
    "Headers",
    "KafkaError",
    "KafkaException",
    "Message",
    "OffsetReader",
    "Publisher",
    "Told",
    "TopicPartition",
    "check_broker",
    "client_version",
    "cluster_id",
    "consumer",
    "create_topics",
    "delete_groups",
    "delete_topics",
    "describe_cluster",
    "end_offsets",
    "is_end",
    "is_serving",
    "partition_count",
    "read_to_end",
    "refusal",
    "settled",
    "source_name",
    "topic_lives",
    "topic_partitions",
]

Headers = list[tuple[str, str | bytes | None]]
CONNECT_TIMEOUT_S = 10.0
PROBE_GROUP = "tickerplant.probe"
RECONNECT_MOST_MS = 2000  # the default of 10 s is what records would wait for after a broker is back
REFUSAL_POLL_S = 1.0
SETTLING_POLL_S = 0.1
SETTLING = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  # the library's own errors all start so
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    }
)
"""What a broker, or our own view of it, says for a moment after it started, or after a topic was made."""

T = TypeVar("T")


LEADER_MOVES = frozenset(
    {KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION}
)


class DeliveryError(TickerplantError):
    """Kafka refused a record for good: what was to be written would have a hole, so the process must end."""


@dataclass
class Publisher:
    """An idempotent producer with back pressure; not thread-safe.

    Records are delivered in order per partition, retried for ever (a time-out would leave a hole). A failed delivery
    is raised by the next call.

    Args:
        settings: where the broker is.
        linger_ms: how long librdkafka waits for a batch to fill.
        queue_bytes: records that may wait for the broker; `send` blocks above.
    """

    settings: Settings
    linger_ms: float = 2.0
    queue_bytes: int = 64 * 1024 * 1024
    sent_records: int = 0
    _failure: KafkaError | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Connect lazily: librdkafka does so in the background."""
        self._suffix = self.settings.kafka.topic_suffix
        self._told = Told(self.settings)
        self._producer = Producer(
            {
                **common_config(self.settings),
                "error_cb": self._told,
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": 0,
                "linger.ms": self.linger_ms,
                "compression.type": "lz4",
                "message.max.bytes": MAX_RECORD_BYTES,
                "queue.buffering.max.kbytes": self.queue_bytes // 1024,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._produce: Callable[..., None] = self._producer.produce

    def send(  # noqa: PLR0917  # one call per record on the hot path: positional
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
        on_delivered: Callable[[KafkaError | None, Message], None] | None = None,
        time_us: int = 0,
    ) -> None:
        """Queue one record (value None = tombstone); waits while the queue is full.

        Args:
            on_delivered: called from `poll`, `send` or `flush` when the broker has it; the default notes failures.
            time_us: what Kafka is told of its time, in whole milliseconds; 0 = now.

        Raises:
            DeliveryError: an earlier record could not be delivered.
            UserError: the broker refuses us, or our writing to a topic.
        """
        if self._failure is not None:
            raise self._failed(self._failure)
        name = topic + self._suffix
        callback = on_delivered or self._noted
        while True:
            try:
                # by position: names cost a quarter more, `callback` and `on_delivery` are two of one argument
                self._produce(name, value, key, partition, callback, None, time_us // 1000, headers)
            except BufferError:
                self.poll(0.05)
            except KafkaException as error:  # refused before it is queued, as for a topic that is gone
                raise self._failed(error.args[0], name) from error
            else:
                self.sent_records += 1
                return

    def poll(self, timeout_s: float = 0.0) -> None:
        """Serve delivery callbacks.

        Raises:
            DeliveryError: a record could not be delivered.
            UserError: the broker refuses us, or our writing to a topic.
        """
        try:
            self._producer.poll(timeout_s)
        except (KafkaException, SystemError) as error:
            raise self._ended(error) from error
        if self._failure is not None:
            raise self._failed(self._failure)
        if self._told.refused is not None:
            self._told.check()

    def flush(self, timeout_s: float = 30.0) -> int:
        """Wait until all is delivered or the time is over; returns how many records still wait.

        Raises:
            DeliveryError: a record could not be delivered.
        """
        try:
            left: int = self._producer.flush(timeout_s)
        except (KafkaException, SystemError) as error:
            raise self._ended(error) from error
        self.poll()
        return left

    def waiting_records(self) -> int:
        """Tell how many records are not delivered yet."""
        return len(self._producer)

    def _noted(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failure = error

    def _ended(self, error: BaseException | None) -> TickerplantError:
        """Say why the client ended for good: it raises that itself, at times as the cause of a SystemError."""
        while error is not None and not isinstance(error, KafkaException):
            error = error.__cause__
        if error is None:
            return DeliveryError("Kafka's client ended without a reason")
        self._failure = error.args[0]
        return self._failed(error.args[0])

    def _failed(self, error: KafkaError, topic: str = "") -> TickerplantError:
        what = f"a record of {topic}" if topic else "a record"
        return refusal(self.settings, error) or DeliveryError(f"Kafka refused {what}: {error.str()}")


def common_config(settings: Settings) -> dict[str, Any]:
    """Make the settings that every client of librdkafka shares."""
    common = {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        "log_level": 2,
        "client.id": "tickerplant",
        "reconnect.backoff.max.ms": RECONNECT_MOST_MS,
    }
    return common | kafka_options(settings.kafka)


def consumer(settings: Settings, group: str, told: Told | None = None, /, **config: Any) -> Consumer:
    """Make a consumer: no auto-commit, no offset store, earliest where nothing was committed.

    `told` hears of its errors, from within `poll` and `consume`.
    """
    return Consumer(
        {
            **common_config(settings),
            **({"error_cb": told} if told is not None else {}),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
            "session.timeout.ms": 10_000,
            **config,
        }
    )


def check_broker(settings: Settings, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
    """Make sure that the broker answers.

    Raises:
        DependencyError: it does not.
        UserError: it refuses us.
    """
    topic_partitions(settings, timeout_s)


@dataclass(frozen=True)
class Cluster:
    """What a broker tells of its cluster."""

    cluster_id: str
    brokers: tuple[str, ...]
    topics: int


def describe_cluster(settings: Settings, timeout_s: float) -> Cluster:
    """Ask a broker for its cluster, by a consumer that joins no group: as `BrokerProbe`, and for its reason.

    Raises:
        DependencyError: no broker answers.
        UserError: it refuses us.
    """
    told = Told(settings)
    client = consumer(settings, PROBE_GROUP, told)
    try:
        found = _metadata(client, told, timeout_s)
    finally:
        client.close()
    brokers = tuple(f"{each.host}:{each.port}" for each in found.brokers.values())
    return Cluster(str(found.cluster_id or ""), brokers, len(found.topics))


def client_version() -> str:
    """Tell the version of librdkafka."""
    return str(libversion()[0])


class BrokerProbe:
    """Asks whether a broker answers, over a connection that is kept; for one thread.

    A consumer asks, which never joins a group: an AdminClient ends the process where an answer comes too late
    (`rd_kafka_admin_response_parse: Assertion rko_result`, seen with librdkafka 2.16 and a broker that hung).

    Raises:
        DependencyError: from a call, where none answers within the time.
        UserError: from a call, where we have been refused for a while.
    """

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._told = Told(settings)
        self._topic = COMMAND.name + settings.kafka.topic_suffix
        self._reason = ""
        self._is_up = True
        self._are_all_down = False

    @cached_property
    def _client(self) -> Consumer:
        return consumer(self._settings, PROBE_GROUP, error_cb=self._noted)

    def __call__(self) -> None:
        """Ask for one topic, since there may be many; that the last connection broke is believed without asking."""
        self._are_all_down, self._reason = False, ""
        self._client.poll(0)  # tells `_noted` what happened since the last call
        cause: KafkaException | None = None
        if not (self._is_up and self._are_all_down):
            try:
                self._client.list_topics(self._topic, timeout=self._timeout_s)
            except KafkaException as error:
                self._client.poll(0)
                self._reason, cause = self._reason or error.args[0].str(), error
            else:
                self._is_up = True
                self._client.poll(0)  # what was told of the outage meanwhile is over
                return
        self._is_up = False
        self._told.check()
        reason = self._reason or "no broker can be reached"
        raise DependencyError("kafka", self._settings.kafka.bootstrap_servers, reason) from cause

    def close(self) -> None:
        """Let go of the connection."""
        if (client := self.__dict__.pop("_client", None)) is not None:
            client.close()

    def _noted(self, error: KafkaError) -> None:
        self._told(error)
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  # the library's own errors all start so
            self._are_all_down = True
        else:
            self._reason = error.str()


def is_serving(settings: Settings, timeout_s: float = 1.0) -> bool:
    """Tell whether a broker lets us in and may be used now."""
    admin = AdminClient(common_config(settings))
    try:
        return bool(admin.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def topic_lives(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    """Ask which lives topics (full names) are in: as `OffsetReader.lives`, over a connection of its own.

    Raises:
        KafkaException: the broker does not answer, or refuses.
    """
    return _lives(AdminClient(common_config(settings)), topics)


def _lives(admin: AdminClient, topics: Iterable[str]) -> dict[str, str]:
    futures = admin.describe_topics(TopicCollection(sorted(topics)), request_timeout=CONNECT_TIMEOUT_S)
    found: dict[str, str] = {}
    for name, future in futures.items():
        try:
            found[name] = life_of(str(_awaited(future).topic_id))
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    return found


def cluster_id(settings: Settings) -> str:
    """Ask for the id of the cluster; empty = it is not told.

    Raises:
        DependencyError: the broker does not answer.
        UserError: it refuses us.
    """
    told = Told(settings)
    return str(_metadata(_admin(settings, told), told, CONNECT_TIMEOUT_S).cluster_id or "")


def source_name(settings: Settings, topic: str) -> str:
    """Name a raw topic (without suffix) as the sources of records do that are derived from it now.

    Raises:
        UserError: there is no such topic.
        DependencyError: the broker does not answer.
    """
    name = topic + settings.kafka.topic_suffix
    with closing(OffsetReader(settings)) as reader:
        lives = reader.lives([name])
    if name not in lives:
        raise UserError(f"topic {name} does not exist: run `tickerplant deploy`")
    return with_life(topic, lives[name])


def partition_count(settings: Settings, topic: str, timeout_s: float = CONNECT_TIMEOUT_S) -> int:
    """Ask the broker for the number of partitions of a topic (name without suffix).

    Raises:
        UserError: there is no such topic.
        DependencyError: the broker does not answer.
    """
    topics = topic_partitions(settings, timeout_s)
    found = topics.get(topic + settings.kafka.topic_suffix)
    if found is None:
        raise UserError(f"topic {topic}{settings.kafka.topic_suffix} does not exist: run `tickerplant deploy`")
    return found


def create_topics(settings: Settings, topics: Iterable[Topic]) -> list[str]:
    """Create the topics that do not exist yet, and wait until they are listed.

    Returns:
        Their names; empty = all were there.

    Raises:
        DependencyError: the broker does not answer, or does not list them in time.
        UserError: the broker refuses one, with its reason.
    """
    existing = topic_partitions(settings, CONNECT_TIMEOUT_S)
    suffix = settings.kafka.topic_suffix
    new = [_new_topic(settings, topic) for topic in topics if topic.name + suffix not in existing]
    if not new:
        return []
    admin = AdminClient(common_config(settings))  # held: its end would cancel what it was asked
    futures = admin.create_topics(new)
    created = []
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                refused = refusal(settings, error.args[0])
                raise UserError(f"topic {name} cannot be created: {refused or error.args[0].str()}") from error
        else:
            created.append(name)
    deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
    while missing := set(created) - set(topic_partitions(settings)):  # a role that starts now would not find them
        if time.monotonic() > deadline_s:
            raise DependencyError("kafka", settings.kafka.bootstrap_servers, f"{min(missing)} is not listed yet")
        time.sleep(SETTLING_POLL_S)
    return sorted(created)


def delete_topics(settings: Settings, names: Iterable[str]) -> list[str]:
    """Delete those of these topics (full names) that exist, and wait until they are gone; returns their names.

    Raises:
        DependencyError: the broker does not answer, or they are not gone in time.
        UserError: it refuses.
    """
    doomed = sorted(set(names) & set(topic_partitions(settings)))
    if not doomed:
        return []
    admin = AdminClient(common_config(settings))  # held: its end would cancel what it was asked
    for name, future in admin.delete_topics(doomed).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise UserError(f"topic {name} cannot be deleted: {error.args[0].str()}") from error
    deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
    while set(doomed) & set(topic_partitions(settings)):
        if time.monotonic() > deadline_s:
            raise DependencyError("kafka", settings.kafka.bootstrap_servers, f"{doomed[0]} is not gone yet")
        time.sleep(SETTLING_POLL_S)
    return doomed


def delete_groups(settings: Settings, groups: Iterable[str]) -> None:
    """Forget what consumer groups committed; those that are not there are fine.

    Raises:
        UserError: one of them has members.
    """
    admin = AdminClient(common_config(settings))
    for name, future in admin.delete_consumer_groups(list(groups)).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise UserError(f"consumer group {name} cannot be deleted: {error.args[0].str()}") from error


def read_to_end(client: Consumer, partitions: Mapping[str, int]) -> Iterator[Message]:
    """Read topics (full name → number of partitions) from their beginning to where they end now; blocks.

    Args:
        client: made with `enable.partition.eof`; it is assigned these partitions.

    Raises:
        KafkaException: the broker does not answer, or refuses.
    """
    places = [TopicPartition(name, number, OFFSET_BEGINNING) for name, n in partitions.items() for number in range(n)]
    client.assign(places)
    waiting = {(each.topic, each.partition) for each in places}
    deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
    while waiting:
        for message in client.consume(1000, 0.5):
            deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
            error = message.error()
            if error is None:
                yield message
            elif is_end(error):
                waiting.discard((message.topic(), message.partition()))
            else:
                raise KafkaException(error)
        if waiting and time.monotonic() > deadline_s:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # the library's errors start so


def is_end(error: KafkaError) -> bool:
    """Tell whether an error only says that a partition was read to its end."""
    return error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001  # the library's own errors all start so


def end_offsets(client: Consumer, partitions: Sequence[TopicPartition]) -> dict[tuple[str, int], int]:
    """Ask where partitions end: (topic, partition) → offset of the next record."""
    return {
        (each.topic, each.partition): client.get_watermark_offsets(each, timeout=CONNECT_TIMEOUT_S, cached=False)[1]
        for each in partitions
    }


def cached_end(client: Consumer, topic: str, partition: int) -> int | None:
    """Tell where a partition ends as the last fetch told it: the offset of the next record; None = not known."""
    try:
        _low, high = client.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
    except KafkaException:
        return None
    return int(high) if high >= 0 else None


class OffsetReader:
    """Asks for offsets over connections that it opens when first asked, and keeps; close it.

    Raises:
        DependencyError: from each method, where the broker does not answer.
        UserError: from each method, where it refuses us.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._told = Told(settings)
        self._groups: dict[str, Consumer] = {}

    @cached_property
    def _admin(self) -> AdminClient:
        return _admin(self._settings, self._told)

    def partitions(self) -> dict[str, int]:
        """Ask for all topics: full name → number of partitions."""
        topics = _list_topics(self._admin, self._told, CONNECT_TIMEOUT_S)
        return {name: len(topic.partitions) for name, topic in topics.items()}

    def lives(self, topics: Iterable[str]) -> dict[str, str]:
        """Ask which lives topics (full names) are in: one that was made anew has another; left out = there is none."""
        with self._answering():
            return _lives(self._admin, topics)

    def committed(self, group: str, partitions: Mapping[str, int]) -> dict[tuple[str, int], int]:
        """Ask what a group has committed of topics: (topic, partition) → next offset; left out = nothing yet.

        A consumer asks that never joins the group: an AdminClient ends the process where the group's coordinator is not
        known yet (https://github.com/confluentinc/librdkafka/issues/5040, seen with 2.16).
        """
        if not partitions:
            return {}
        if group not in self._groups:
            self._groups[group] = consumer(self._settings, group)
        with self._answering():
            client, places = self._groups[group], _places(partitions)
            found = settled(lambda: client.committed(places, timeout=CONNECT_TIMEOUT_S))
        return {(each.topic, each.partition): each.offset for each in found if each.offset >= 0}

    def bounds(self, group: str, partitions: Mapping[str, int]) -> dict[tuple[str, int], tuple[int, int]]:
        """Ask where partitions begin and end, as `watermarks`, over a connection that is kept for a group."""
        if group not in self._groups:
            self._groups[group] = consumer(self._settings, group)
        with self._answering():
            ask = partial(self._groups[group].get_watermark_offsets, timeout=CONNECT_TIMEOUT_S, cached=False)
            return {(each.topic, each.partition): ask(each) for each in _places(partitions)}

    def watermarks(self, partitions: Mapping[str, int]) -> dict[tuple[str, int], tuple[int, int]]:
        """Ask where partitions begin and end: (topic, partition) → (oldest offset, offset of the next record)."""
        places = _places(partitions)
        earliest, latest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        first, end = self._offsets(places, earliest), self._offsets(places, latest)
        return {place: (first[place], end[place]) for place in end}

    def offsets_at(self, times_ms: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int | None]:
        """Ask for the first offset written at or after a time, by (topic, partition); None = nothing was since."""
        if not times_ms:
            return {}
        specs = {TopicPartition(*place): OffsetSpec.for_timestamp(time_ms) for place, time_ms in times_ms.items()}
        return {place: offset if offset >= 0 else None for place, offset in self._list_offsets(specs).items()}

    def groups(self) -> dict[str, str]:
        """Ask for all consumer groups: name → state, e.g. `stable`, `empty`."""
        with self._answering():
            result = _awaited(self._admin.list_consumer_groups(request_timeout=CONNECT_TIMEOUT_S))
        return {each.group_id: each.state.name.lower() for each in result.valid}

    @property
    def asked(self) -> list[str]:
        """The groups for which connections are open."""
        return list(self._groups)

    def leave(self, groups: Iterable[str]) -> None:
        """Let go of the connections that were opened for these groups."""
        for group in groups:
            client = self._groups.pop(group, None)
            if client is not None:
                client.close()

    def close(self) -> None:
        """Let go of the connections; librdkafka closes an admin client's with its last reference."""
        self.__dict__.pop("_admin", None)
        self.leave(list(self._groups))

    def _offsets(self, places: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        if not places:
            return {}
        return self._list_offsets(dict.fromkeys(places, spec))

    def _list_offsets(self, specs: dict[TopicPartition, OffsetSpec]) -> dict[tuple[str, int], int]:
        """Ask; once more where leaders have changed: an admin client finds out by another question alone."""
        try:
            return self._ask_offsets(specs)
        except KafkaException as error:
            if error.args[0].code() not in LEADER_MOVES:
                raise self._failed(error) from error
        _list_topics(self._admin, self._told, CONNECT_TIMEOUT_S)
        with self._answering():
            return self._ask_offsets(specs)

    def _ask_offsets(self, specs: dict[TopicPartition, OffsetSpec]) -> dict[tuple[str, int], int]:
        futures = self._admin.list_offsets(specs, request_timeout=CONNECT_TIMEOUT_S)
        return {(each.topic, each.partition): _awaited(future).offset for each, future in futures.items()}

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self._failed(error) from error

    def _failed(self, error: KafkaException) -> UserError:
        """Say why; an admin client that gave no answer in time is let go of: it may never give one again."""
        if error.args[0].code() == KafkaError._TIMED_OUT:  # noqa: SLF001  # the library's own errors all start so
            self.__dict__.pop("_admin", None)
        return refusal(self._settings, error.args[0]) or self._told.missing()


def _awaited(future: Future[Any]) -> Any:
    """Wait for an answer for somewhat longer than the library is to: after a broker hung, some never came.

    Raises:
        KafkaException: it did not come, or is a refusal.
    """
    try:
        return future.result(CONNECT_TIMEOUT_S + REFUSAL_POLL_S)
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None  # noqa: SLF001


def settled(ask: Callable[[], T]) -> T:
    """Ask again, for up to 10 s, while the broker is still finding out who leads what.

    Raises:
        KafkaException: it does not find out, or refuses.
    """
    deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in SETTLING or time.monotonic() > deadline_s:
                raise
        time.sleep(SETTLING_POLL_S)


def _places(partitions: Mapping[str, int]) -> list[TopicPartition]:
    return [TopicPartition(name, number) for name, count in partitions.items() for number in range(count)]


def _new_topic(settings: Settings, topic: Topic) -> NewTopic:
    count = settings.kafka.partitions if topic.is_per_partition else 1
    return NewTopic(topic.name + settings.kafka.topic_suffix, count, settings.kafka.replication, config=topic.configs())


def topic_partitions(settings: Settings, timeout_s: float = CONNECT_TIMEOUT_S) -> dict[str, int]:
    """Ask for all topics: full name → number of partitions.

    Raises:
        DependencyError: the broker does not answer.
        UserError: it refuses us.
    """
    told = Told(settings)
    topics = _list_topics(_admin(settings, told), told, timeout_s)
    return {name: len(topic.partitions) for name, topic in topics.items()}


def _admin(settings: Settings, told: Told) -> AdminClient:
    config: dict[str, Any] = {**common_config(settings), "error_cb": told}
    return AdminClient(config)


def _list_topics(admin: AdminClient, told: Told, timeout_s: float) -> dict[str, Any]:
    return dict(_metadata(admin, told, timeout_s).topics)


def _metadata(client: AdminClient | Consumer, told: Told, timeout_s: float) -> Any:
    """Ask in short turns, so that a refusal is told at once: librdkafka would ask in vain until the time is over."""
    told.forget()
    deadline_s = time.monotonic() + timeout_s
    while True:
        left_s = deadline_s - time.monotonic()
        try:
            return client.list_topics(timeout=min(REFUSAL_POLL_S, max(0.01, left_s)))
        except KafkaException as error:
            client.poll(0)
            if told.is_sure or left_s < REFUSAL_POLL_S:
                raise told.missing() from error
