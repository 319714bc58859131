"""Kafka as a `Log`: consumer group, positions in offset commits, pause and resume."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from threading import Event, Thread
from typing import Any, Final

from schemas.topics import DEAD_SINK, STORED, Topic
from sinks.chunk import LogWentBackError
from sinks.columns import Place
from sinks.drain import Assigned, Listener
from sinks.member import Member
from sinks.position import Position, PositionError, read_position
from sinks.rows import Run
from tickerplant.errors import DependencyError, TickerplantError, UserError
from tickerplant.kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    OffsetReader,
    Told,
    TopicPartition,
    cached_end,
    refusal,
    topic_lives,
)
from tickerplant.logs import logger
from tickerplant.settings import Settings

RAW_PATTERN: Final = r"^raw\.[a-z0-9_]+"
TIMEOUT_S: Final = 10.0
ASSIGN_S: Final = 60.0
AGAIN_S: Final = 0.5
LIVES_S: Final = 5.0  # how often is asked whether topics are the ones they were
FETCH_WAIT_SHARE: Final = 0.2  # of the time after which a chunk is flushed
CONFIG: Final[dict[str, str | float | bool]] = {
    # Memory: what librdkafka fetches ahead comes on top of our own buffers.
    "queued.max.messages.kbytes": 8 * 1024,
    "queued.min.messages": 20_000,
    # What is queued lasts for a tenth of a second; librdkafka would wait for a whole one before it fetches again.
    "fetch.queue.backoff.ms": 50,
    # Chunks wait for far longer: few large fetches spare the broker, and with it the latency of those before us.
    "fetch.min.bytes": 128 * 1024,
    "topic.metadata.refresh.interval.ms": 30_000,  # a new venue's raw topic is found within this time
}


class KafkaLog:
    """All topics that sinks store, as one member of a consumer group.

    Args:
        settings: where the broker is, and the suffix of topics.
        group: consumer group.
        topics: without suffix; empty = all that are stored.
    """

    def __init__(self, settings: Settings, group: str, topics: Sequence[str] = ()) -> None:
        self._settings = settings
        wait_ms = max(1, int(settings.sink.flush_ms * FETCH_WAIT_SHARE))
        self._group = group
        self._topics = subscription(settings.kafka.topic_suffix, topics)
        self._config = {**CONFIG, "fetch.wait.max.ms": wait_ms}
        self._told = Told(settings)
        self._listener: Listener | None = None
        self._member = self._new_member()
        self._ours: set[Place] = set()
        self.lives: dict[str, str] = {}  # of the topics that were assigned, by full name
        self._anew: tuple[str, str] | None = None  # a topic that has another life now, and which
        self._closing = Event()
        self._complained: set[int] = set()
        self._logger = logger()

    def subscribe(self, listener: Listener) -> None:
        """Join the group; the listener is told which partitions are ours from within `poll` and `commit`."""
        self._listener = listener
        self._join(listener)
        Thread(target=self._watch_lives, name="lives", daemon=True).start()

    def poll(self, most: int, timeout_s: float) -> list[Run]:
        """Wait for records.

        Raises:
            UserError: the broker refuses us for good.
            LogWentBackError: a topic of ours was made anew.
        """
        if self._anew is not None:
            self._check_life(*self._anew)
        messages = self._member.fetch(most, timeout_s)
        if any(map(Message.error, messages)):
            messages = [message for message in messages if self._is_record(message)]
        if self._told.refused is not None:
            self._told.check()
        return list(runs_of(messages))

    def commit(self, positions: Mapping[Place, Position]) -> bool:
        """Commit positions and wait for the broker; False = try again, or the partitions are not ours any more.

        Raises:
            UserError: a position does not fit into a commit.
            TickerplantError: a commit is never answered, and the group cannot be left.
        """
        try:
            is_known = self._member.commit([_offset(place, position) for place, position in positions.items()])
        except KafkaException as error:
            self._complain("offsets not committed", error.args[0])
            return False
        except PositionError as error:
            raise UserError(f"too many sources feed one partition: {error}; use more partitions") from error
        if is_known:
            self._complained.clear()
        elif self._member.is_stuck(DEAD_SINK.name + self._settings.kafka.topic_suffix):
            self._join_anew()
        return is_known

    def hold(self) -> None:
        """Pause all partitions that are ours."""
        self._member.hold()

    def release(self) -> None:
        """Resume all partitions that are ours."""
        self._member.release()

    def end_offset(self, place: Place) -> int | None:
        """Tell the end as the last fetch told it."""
        return cached_end(self._member.client, *place)

    def close(self) -> None:
        """Leave the group."""
        self._closing.set()
        self._member.leave()

    def _new_member(self) -> Member:
        return Member(self._settings, self._group, self._told, self._config)

    def _join(self, listener: Listener) -> None:
        def on_assign(partitions: list[TopicPartition]) -> None:
            found = self._assigned(partitions)
            self._ours.update(found)
            listener.assigned(found)

        def on_revoke(partitions: list[TopicPartition]) -> None:
            gone = [(each.topic, each.partition) for each in partitions]
            self._ours.difference_update(gone)
            listener.revoked(gone)

        self._member.subscribe(self._topics, on_assign, on_revoke)

    def _join_anew(self) -> None:
        """Give all partitions up and come back as another member: the group's next generation fences what hangs.

        Raises:
            TickerplantError: the group cannot be left. For a member that is heard of and asks for nothing it would wait
                for minutes; once this process has ended, for a session.
        """
        self._logger.warning("a commit is not answered, joining anew", group=self._group)
        if self._listener is not None:
            self._listener.revoked(sorted(self._ours))
            self._ours.clear()
            if not self._member.leave():
                raise TickerplantError(f"group {self._group} answers no commit and cannot be left: starting again")
            self._member = self._new_member()
            self._join(self._listener)

    def _assigned(self, partitions: list[TopicPartition]) -> dict[Place, Assigned]:
        """Ask where the last owners stood, and which topics these are; a broker that just started may need a while.

        Raises:
            DependencyError: it does not answer.
        """
        client = self._member.client
        deadline_s = time.monotonic() + ASSIGN_S
        while True:
            try:
                self._learn({each.topic for each in partitions})
                found = client.committed(partitions, timeout=TIMEOUT_S)
                assigned = {(each.topic, each.partition): self._one_assigned(client, each) for each in found}
            except KafkaException as error:
                refused = refusal(self._settings, error.args[0])
                if refused or time.monotonic() > deadline_s:
                    address = self._settings.kafka.bootstrap_servers
                    raise refused or DependencyError("kafka", address, str(error.args[0])) from error
            else:
                begin_where_nothing_counts(partitions, found, assigned)
                return assigned
            time.sleep(AGAIN_S)

    def _one_assigned(self, client: Consumer, committed: TopicPartition) -> Assigned:
        position = _position(committed) if committed.offset >= 0 else None
        life = self.lives[committed.topic]
        if position is not None and position.life not in {"", life}:
            self._logger.warning("offset of another topic of this name", topic=committed.topic, life=position.life)
            position = None
        is_known = position is not None and position.doubtful_below is not None
        end = 0 if is_known else client.get_watermark_offsets(committed, timeout=TIMEOUT_S, cached=False)[1]
        return Assigned(position=position, generation=life, end_offset=end)

    def _learn(self, topics: Collection[str]) -> None:
        """Ask for the lives of topics: one that was gone for a while may have been made anew.

        Raises:
            KafkaException: the broker does not answer, or knows nothing of a topic that was never ours.
        """
        if not topics:
            return
        self.lives.update(topic_lives(self._settings, topics))
        if not set(topics) <= set(self.lives):
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))

    def _watch_lives(self) -> None:
        """Ask now and then, in a thread, whether topics were made anew: one that is longer gives no offset twice."""
        with closing(OffsetReader(self._settings)) as reader:
            while not self._closing.wait(LIVES_S):
                known = dict(self.lives)
                try:
                    found = reader.lives(known) if known else {}
                except UserError:  # the broker is away, or refuses us, which others tell
                    continue
                changed = [(name, life) for name, life in found.items() if life != known[name]]
                self._anew = changed[0] if changed else None

    def _check_life(self, topic: str, life: str) -> None:
        """Make sure that a topic which has another life now was given to us in that one, or is not ours."""
        self._anew = None
        if life != self.lives[topic] and any(topic == name for name, _ in self._ours):
            raise LogWentBackError(f"{topic} was made anew")

    def _is_record(self, message: Message) -> bool:
        """Tell a record from an error, which is judged; raises as `poll`."""
        error = message.error()
        if error is not None:
            self._check(error)
        return error is None

    def _check(self, error: KafkaError) -> None:
        refused = refusal(self._settings, error)
        if refused is not None:
            raise refused
        if error.fatal():
            raise UserError(f"Kafka refuses: {error.str()}")
        self._complain("consumer error", error)

    def _complain(self, event: str, error: KafkaError) -> None:
        """Log each reason once until a commit succeeds: while the broker is away, it comes again and again."""
        if error.code() not in self._complained:
            self._complained.add(error.code())
            self._logger.warning(event, reason=error.str())


def begin_where_nothing_counts(
    partitions: Iterable[TopicPartition], committed: Iterable[TopicPartition], assigned: Mapping[Place, Assigned]
) -> None:
    """Let partitions be read from their beginning whose committed offset is passed over."""
    places = [(each.topic, each.partition) for each in committed if each.offset >= 0]
    passed = {place for place in places if assigned[place].position is None}
    for each in partitions:
        if (each.topic, each.partition) in passed:
            each.offset = OFFSET_BEGINNING


def subscription(suffix: str, chosen: Sequence[str] = ()) -> list[str]:
    """Name the topics to read: those chosen (without suffix), or all cleaned ones, dead letters and every raw topic."""
    if chosen:
        return [name + suffix for name in chosen]
    # Of the characters a topic may have, the dot alone is special; librdkafka refuses needless escapes.
    return [RAW_PATTERN + suffix.replace(".", r"\.") + "$", *(topic.name + suffix for topic in stored_topics())]


def stored_topics() -> Sequence[Topic]:
    """List the catalogue's topics that are stored, raw ones aside."""
    return STORED


def runs_of(messages: Sequence[Message]) -> Iterator[Run]:
    """Cut messages where the partition changes; column by column, since this is done for every record."""
    if not messages:
        return
    places: list[Any] = list(zip(map(Message.topic, messages), map(Message.partition, messages), strict=True))
    lengths = [len(places)] if places.count(places[0]) == len(places) else [len(list(of)) for _, of in groupby(places)]
    offsets: list[Any] = list(map(Message.offset, messages))
    values, at = list(map(Message.value, messages)), 0
    for length in lengths:
        each = slice(at, at + length)
        (topic, partition), (_kind, written_ms) = places[at], messages[at + length - 1].timestamp()
        yield Run(topic, partition, offsets[each], values[each], written_ms * 1000)
        at += length


def _offset(place: Place, position: Position) -> TopicPartition:
    topic, partition = place
    return TopicPartition(topic, partition, position.offset, position.metadata())


def _position(committed: TopicPartition) -> Position:
    try:
        return read_position(committed.offset, committed.metadata)
    except PositionError as error:
        raise UserError(
            f"{committed.topic} [{committed.partition}]: {error}; was it committed by another tool?"
        ) from error
