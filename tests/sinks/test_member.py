"""Commits on a real broker end in time, and what comes meanwhile is kept."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from schemas.topics import TICK, catalogue
from sinks import kafka_log, member
from sinks.chunk import LogWentBackError
from sinks.drain import Assigned
from sinks.kafka_log import KafkaLog
from sinks.position import Position
from sinks.rows import Entry
from tickerplant.errors import TickerplantError
from tickerplant.kafka import Consumer, OffsetReader, Publisher, TopicPartition, create_topics, delete_topics
from tickerplant.kafka import consumer as make_consumer
from tickerplant.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

COUNT = 3000
Place = tuple[str, int]


class Deaf(Consumer):
    """A consumer whose commits go nowhere as long as it is told so: they are never answered."""

    is_deaf = False

    def commit(self, *args: Any, **kwargs: Any) -> Any:
        return None if Deaf.is_deaf else super().commit(*args, **kwargs)


@pytest.fixture
def settings(stack: Settings, request: pytest.FixtureRequest) -> Settings:
    """The stack, with topics of this test alone."""
    suffix = f"-m{abs(hash(request.node.name)) % 10**8}"
    own = stack.model_copy(update={"kafka": stack.kafka.model_copy(update={"topic_suffix": suffix, "partitions": 1})})
    create_topics(own, catalogue(["BINANCE"]))
    write(own, COUNT)
    return own


def write(settings: Settings, count: int) -> None:
    publisher = Publisher(settings)
    for number in range(count):
        publisher.send(TICK.name, 0, b"k", str(number).encode())
    assert publisher.flush() == 0


class Group:
    """What a group gave to its one member."""

    def __init__(self, log: KafkaLog) -> None:
        self.log = log
        self.given: dict[Place, Assigned] = {}
        self.changes: list[str] = []
        self.entries: list[Entry] = []
        log.subscribe(self)

    def assigned(self, partitions: Mapping[Place, Assigned]) -> None:
        self.given.update(partitions)
        self.changes.append("assigned")

    def revoked(self, partitions: Iterable[Place]) -> None:
        for place in partitions:
            self.given.pop(place, None)
        self.changes.append("revoked")

    def take(self, most: int, timeout_s: float) -> None:
        runs = self.log.poll(most, timeout_s)
        self.entries += [each for run in runs if run.topic.startswith(TICK.name) for each in run.entries()]

    def poll_until(self, holds: Callable[[], object]) -> None:
        until_s = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < until_s, self.changes
            self.take(500, 0.1)


@pytest.fixture
def group(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    def make(*args: Any, **config: Any) -> Consumer:
        monkeypatch.setattr("tickerplant.kafka.Consumer", Deaf)
        return make_consumer(*args, **config)

    monkeypatch.setattr(member, "consumer", make)
    log = KafkaLog(settings, f"test.member{settings.kafka.topic_suffix}")
    yield Group(log)
    log.close()


def test_what_comes_while_a_commit_is_waited_for_is_handed_over_in_order(group: Group, settings: Settings) -> None:
    place = (TICK.name + settings.kafka.topic_suffix, 0)
    group.poll_until(lambda: group.given)
    commits = 0
    while len(group.entries) < COUNT:
        group.poll_until(lambda: True)
        group.take(100, 1.0)
        commits += group.log.commit({place: Position(offset=len(group.entries))})

    assert [entry.offset for entry in group.entries] == list(range(COUNT))
    assert commits >= COUNT / 100


def test_a_commit_that_is_never_answered_ends_in_time_and_the_next_member_goes_on(
    group: Group, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = (TICK.name + settings.kafka.topic_suffix, 0)
    monkeypatch.setattr(member, "ANSWER_S", 0.2)
    monkeypatch.setattr(member, "STUCK_S", 1.0)
    group.poll_until(lambda: len(group.entries) == COUNT)
    assert group.log.commit({place: Position(offset=10, pending_end=20)})
    monkeypatch.setattr(Deaf, "is_deaf", True)
    until_s = time.monotonic() + 60
    while "revoked" not in group.changes:
        assert not group.log.commit({place: Position(offset=21)})
        assert time.monotonic() < until_s
    monkeypatch.setattr(Deaf, "is_deaf", False)
    group.entries.clear()
    group.poll_until(lambda: group.given)
    found = group.given[place].position
    group.poll_until(lambda: len(group.entries) == COUNT - 10)

    assert found == Position(offset=10, pending_end=20)
    assert group.entries[0].offset == 10
    assert group.log.commit({place: Position(offset=COUNT)})


def test_a_member_that_cannot_leave_either_ends_its_process_for_the_group_would_wait_for_it(
    group: Group, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = (TICK.name + settings.kafka.topic_suffix, 0)
    monkeypatch.setattr(member, "ANSWER_S", 0.1)
    monkeypatch.setattr(member, "STUCK_S", 0.5)
    monkeypatch.setattr(member, "CLOSE_S", 0.1)
    is_told = threading.Event()
    monkeypatch.setattr(Deaf, "close", lambda self: (is_told.wait(60), Consumer.close(self)))
    group.poll_until(lambda: group.given)
    monkeypatch.setattr(Deaf, "is_deaf", True)
    with pytest.raises(TickerplantError, match="cannot be left: starting again"):
        group.poll_until(lambda: group.log.commit({place: Position(offset=1)}))
    monkeypatch.setattr(Deaf, "is_deaf", False)
    is_told.set()

    assert group.changes[-1] == "revoked"


@pytest.mark.parametrize("held_polls", [0, 1, 20])
def test_partitions_held_from_the_start_give_nothing_and_then_everything(group: Group, held_polls: int) -> None:
    group.log.hold()
    group.poll_until(lambda: group.given)
    for _ in range(held_polls):
        group.log.hold()
        group.poll_until(lambda: True)
        assert group.log.poll(500, 0.1) == []
    group.log.release()
    group.poll_until(lambda: len(group.entries) == COUNT)

    assert [entry.offset for entry in group.entries] == list(range(COUNT))


def test_partitions_held_in_mid_stream_go_on_where_they_were(group: Group) -> None:
    for _ in range(5):
        before = len(group.entries)
        group.poll_until(lambda: len(group.entries) > before)  # noqa: B023  # called at once
        group.log.hold()
        assert group.log.poll(500, 0.1) == group.log.poll(500, 0.1) == []
        group.log.release()
    group.poll_until(lambda: len(group.entries) == COUNT)

    assert [entry.offset for entry in group.entries] == list(range(COUNT))


def test_what_comes_with_the_assignment_is_not_lost(group: Group, settings: Settings) -> None:
    """A successor in a group begins at once: partitions and their first messages come in one poll."""
    place = (TICK.name + settings.kafka.topic_suffix, 0)
    group.poll_until(lambda: len(group.entries) == COUNT)
    assert group.log.commit({place: Position(offset=COUNT - 5)})
    group.log.close()
    successor = Group(KafkaLog(settings, f"test.member{settings.kafka.topic_suffix}"))
    successor.poll_until(lambda: successor.entries)
    successor.log.close()

    assert [entry.offset for entry in successor.entries] == list(range(COUNT - 5, COUNT))


def test_a_topic_that_was_made_anew_and_is_longer_than_before_is_noticed_also_while_it_is_held(
    group: Group, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its offsets do not go back: all before the position would never be read."""
    place = (TICK.name + settings.kafka.topic_suffix, 0)
    monkeypatch.setattr(kafka_log, "LIVES_S", 0.1)
    group.poll_until(lambda: len(group.entries) == COUNT)
    before = group.given[place].generation
    group.log.hold()
    delete_topics(settings, [place[0]])
    create_topics(settings, [TICK])
    write(settings, COUNT + 10)
    told = ""
    try:
        group.poll_until(lambda: place in group.given and group.given[place].generation != before)
    except LogWentBackError as error:  # always, unless its client asked for topics while there was none
        told = str(error)

    assert told in {f"{place[0]} was made anew", ""}


def test_an_offset_of_a_topic_that_was_made_anew_is_passed_over(group: Group, settings: Settings) -> None:
    """A sink may commit once more while its topic is deleted and made anew."""
    place = (TICK.name + settings.kafka.topic_suffix, 0)
    group.poll_until(lambda: group.given)
    before = group.given[place].generation
    late = Position(offset=5, marks={("raw.binance", 0): (99, 0)}, life=before)
    group.log.close()
    delete_topics(settings, [place[0]])
    create_topics(settings, [TICK])
    with closing(OffsetReader(settings)) as reader:
        (life,) = reader.lives([place[0]]).values()
    write(settings, 10)
    with closing(make_consumer(settings, f"test.member{settings.kafka.topic_suffix}")) as client:
        client.commit(offsets=[TopicPartition(*place, late.offset, late.metadata())], asynchronous=False)
    successor = Group(KafkaLog(settings, f"test.member{settings.kafka.topic_suffix}"))
    successor.poll_until(lambda: len(successor.entries) == 10)
    given = successor.given[place]
    committed = Position(offset=10, life=life)
    assert successor.log.commit({place: committed})
    successor.log.close()
    heir = Group(KafkaLog(settings, f"test.member{settings.kafka.topic_suffix}"))
    heir.poll_until(lambda: heir.given)
    heir.log.close()

    assert (given.position, given.generation, given.doubtful_below) == (None, life, 10)
    assert life != before
    assert [entry.offset for entry in successor.entries] == list(range(10))
    assert heir.given[place].position == committed
