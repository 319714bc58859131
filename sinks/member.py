"""A member of a consumer group whose commits end in time.

librdkafka answers a commit from within polls, and may never do so after a broker has hung. So a commit is asked for
without waiting inside of the library, and we poll until it is answered or the time is over. Until it is answered no
other one is asked for: none can overtake another. A rebalance fences what was asked for before it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Thread
from typing import Final

from confluent_kafka import OFFSET_INVALID

from tickerplant.kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Told,
    TopicPartition,
    consumer,
)
from tickerplant.settings import Settings

ANSWER_S: Final = 5.0
"""So long a commit is waited for at a time."""
ANSWER_POLL_S: Final = 0.002
STUCK_S: Final = 30.0
"""So long a broker that answers other questions may leave a commit unanswered."""
ASK_S: Final = 1.0
CLOSE_S: Final = 10.0
EARLY_MOST: Final = 4000
"""Messages that may come while a commit is waited for; above, fetching pauses."""

NOT_BEGUN: Final = OFFSET_INVALID
"""The position of a partition of which no message has come."""

Place = tuple[str, int]
Partitions = list[TopicPartition]
Change = Callable[[Partitions], None]
"""Told, from within polls and commits, of partitions that are given or taken."""


@dataclass
class _Commit:
    """A commit that was asked for.

    Args:
        begun_s: since when an answer may be expected.
    """

    begun_s: float
    is_answered: bool = False
    error: KafkaError | None = None

    def answer(self, error: KafkaError | None, partitions: Partitions) -> None:
        """Take what the broker says of it."""
        self.is_answered = True
        self.error = error or next((each.error for each in partitions if each.error is not None), None)


class Member:
    """One consumer in a group; not thread-safe.

    Args:
        settings: where the broker is.
        group: consumer group.
        told: hears of the consumer's errors.
        config: further settings of librdkafka.
    """

    def __init__(self, settings: Settings, group: str, told: Told, config: dict[str, str | float | bool]) -> None:
        self.client: Consumer = consumer(settings, group, told, **config, on_commit=self._on_commit)
        self._asked: _Commit | None = None
        self._early: deque[Message] = deque()
        self._assigned_at: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._is_held = False
        self._is_full = False
        self._is_leaving = False
        self._leaver: Thread | None = None

    def subscribe(self, topics: list[str], on_assign: Change, on_revoke: Change) -> None:
        """Join the group; messages of partitions that are given or taken are forgotten first.

        `on_assign` may set the offsets of partitions: they are read from there, all others from where was committed.
        """

        def tell(change: Change, partitions: Partitions) -> None:
            self._forget(map(_place, partitions))
            if not self._is_leaving:
                change(partitions)

        def assigned(client: Consumer, partitions: Partitions) -> None:
            self._assigned_at.update((_place(each), each.offset) for each in client.position(partitions))
            tell(on_assign, partitions)
            if any(each.offset == OFFSET_BEGINNING for each in partitions):
                client.assign(partitions)

        def revoked(_client: Consumer, partitions: Partitions) -> None:
            self._resume({_place(each) for each in partitions})
            tell(on_revoke, partitions)

        self.client.subscribe(topics, on_assign=assigned, on_revoke=revoked, on_lost=revoked)

    def fetch(self, most: int, timeout_s: float) -> list[Message]:
        """Wait for up to so many messages, errors among them; empty = none came in time, or partitions are held."""
        wanted = max(1, most - len(self._early))
        is_ready = self._early and not self._is_held
        came = self.client.consume(wanted, 0 if is_ready else timeout_s)
        if not (self._early or self._is_held or self._is_full):
            return came
        self._early.extend(came)  # behind what is forgotten where partitions were given to us in the same call
        if self._is_held:
            return self._held()
        found = [self._early.popleft() for _ in range(min(most, len(self._early)))]
        if self._is_full and not self._early:
            self._is_full = False
            self._fetch_or_not()
        return found

    def commit(self, offsets: Partitions) -> bool:
        """Commit offsets and wait for the broker; False = it is not known yet whether they are: ask again.

        Raises:
            KafkaException: they are not.
        """
        if not self._is_answered():
            return False
        self._asked = _Commit(time.monotonic())
        self.client.commit(offsets=offsets, asynchronous=True)
        if not self._is_answered():
            return False
        if self._asked.error is not None:
            raise KafkaException(self._asked.error)
        return True

    def is_stuck(self, topic: str) -> bool:
        """Tell whether a commit will never be answered; blocks for up to a second, to ask the broker for a topic."""
        if self._asked is None or self._asked.is_answered:
            return False
        try:
            self.client.list_topics(topic, timeout=ASK_S)
        except KafkaException:
            self._asked.begun_s = time.monotonic()
        return time.monotonic() - self._asked.begun_s > STUCK_S

    def hold(self) -> None:
        """Give no messages of the partitions that are ours, until `release`; the membership is kept by `fetch`."""
        self._is_held = True
        self._fetch_or_not()

    def release(self) -> None:
        """Give messages again."""
        self._is_held = False
        self._fetch_or_not()

    def leave(self) -> bool:
        """Leave the group, without telling of it; waits for some seconds.

        Returns:
            False = it is a member still, maybe as long as this process lives: a commit that is stuck keeps it.
        """
        self._is_leaving = True
        if self._leaver is None:
            self._leaver = Thread(target=self.client.close, name="leave", daemon=True)
            self._leaver.start()
            self._leaver.join(CLOSE_S)
        return not self._leaver.is_alive()

    def _is_answered(self) -> bool:
        """Wait until the last commit is answered; False = it is not, so far."""
        until_s = time.monotonic() + ANSWER_S
        while self._asked is not None and not self._asked.is_answered:
            if time.monotonic() > until_s:
                return False
            message = self.client.poll(ANSWER_POLL_S)
            if message is not None:
                self._early.append(message)
            if len(self._early) >= EARLY_MOST and not self._is_full:
                self._is_full = True
                self._fetch_or_not()
        return True

    def _on_commit(self, error: KafkaError | None, partitions: Partitions) -> None:
        if self._asked is not None:
            self._asked.answer(error, partitions)

    def _held(self) -> list[Message]:
        """Keep what came of partitions that could not be paused before; errors are told all the same."""
        self._fetch_or_not()
        errors = [each for each in self._early if each.error() is not None]
        if errors:
            self._early = deque(each for each in self._early if each.error() is None)
        return errors

    def _fetch_or_not(self) -> None:
        if self._is_held or self._is_full:
            new = self._begun() - self._paused
            self.client.pause(_partitions(new))
            self._paused |= new
        else:
            self._resume(set(self._paused))

    def _begun(self) -> set[Place]:
        """Tell of which partitions a message has come since they were given to us.

        librdkafka may lose the start of what is paused before one has (issue 2190, open).
        """
        places = {_place(each): each.offset for each in self.client.position(self.client.assignment())}
        return {place for place, at in places.items() if at not in {NOT_BEGUN, self._assigned_at.get(place)}}

    def _resume(self, places: set[Place]) -> None:
        self.client.resume(_partitions(places & self._paused))
        self._paused -= places

    def _forget(self, places: Iterable[Place]) -> None:
        """Drop what came of partitions that are read from another offset now."""
        gone = set(places)
        self._early = deque(each for each in self._early if (each.topic(), each.partition()) not in gone)


def _place(partition: TopicPartition) -> Place:
    return partition.topic, partition.partition


def _partitions(places: Iterable[Place]) -> Partitions:
    return [TopicPartition(*place) for place in places]
