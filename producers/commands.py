"""control.command and control.wanted → commands and wishes; on a thread of its own, since a consumer blocks."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from schemas.codec import CodecError
from schemas.records import ControlCommand, ControlWanted
from schemas.topics import COMMAND, WANTED
from tickerplant import metrics
from tickerplant.errors import DependencyError
from tickerplant.kafka import KafkaException, Message, TopicPartition, consumer, end_offsets, is_end, read_to_end
from tickerplant.logs import logger
from tickerplant.registry import Registry
from tickerplant.settings import Settings

GROUP: Final = "tickerplant.producer"  # nothing is committed: a command that nobody heard is out of date
POLL_S: Final = 0.25
AGAIN_S: Final = 5.0


@dataclass(frozen=True)
class TakenBack:
    """A wish whose record was deleted: the settings decide again."""

    wanted: ControlWanted


Said = ControlCommand | ControlWanted | TakenBack


class Commands:
    """Listens to `control.command` from its end on, and to `control.wanted` from its beginning.

    Args:
        heard: called on the listening thread with each word that comes after this object was made.

    Attributes:
        wished: what `control.wanted` said until then.

    Raises:
        DependencyError: the broker does not answer.
    """

    def __init__(self, settings: Settings, registry: Registry, *, heard: Callable[[Said], None]) -> None:
        self._decode = registry.decoder(ControlCommand).decode
        self._wishes = registry.decoder(ControlWanted)
        self._heard = heard
        self._stopping = threading.Event()
        self._client = consumer(settings, GROUP, None, **{"enable.partition.eof": True})
        self._is_down = False
        self._log = logger()
        self._wanted_topic = WANTED.name + settings.kafka.topic_suffix
        self.wished: list[Said] = []
        topic = COMMAND.name + settings.kafka.topic_suffix
        try:
            end = end_offsets(self._client, [TopicPartition(topic, 0)])[topic, 0]
            read_to = self._read_wishes()
        except KafkaException as error:
            raise DependencyError("kafka", settings.kafka.bootstrap_servers, error.args[0].str()) from error
        self._client.assign([TopicPartition(topic, 0, end), TopicPartition(self._wanted_topic, 0, read_to)])
        self._thread = threading.Thread(target=self._listen, name="commands", daemon=True)

    def _read_wishes(self) -> int:
        """Read `control.wanted` to its end; returns where that is."""
        client = self._client
        for message in read_to_end(client, {self._wanted_topic: 1}):
            said = self._said(message)
            if said is not None:
                self.wished.append(said)
        position: int = client.position([TopicPartition(self._wanted_topic, 0)])[0].offset
        return max(0, position)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen within the block; leaving it takes up to a few hundred milliseconds."""
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join()
            self._client.close()

    def _listen(self) -> None:
        """Listen until told to stop; an error that nobody thought of is told, and what it befell is left."""
        while not self._stopping.is_set():
            try:
                self._listen_once()
            except Exception as error:  # noqa: BLE001  # the thread would end unseen, and no command be heard any more
                metrics.ERRORS.labels("produce", "command_thread").inc()
                self._log.exception("command_failed", reason=f"{type(error).__name__}: {error}")
                self._stopping.wait(AGAIN_S)

    def _listen_once(self) -> None:
        message = self._client.poll(POLL_S)
        if message is None:
            return
        error = message.error()
        if error is None:
            self._is_down = False
            said = self._said(message)
            if said is not None:
                self._heard(said)
            return
        if is_end(error):
            return
        metrics.ERRORS.labels("produce", "command_consume").inc()
        if not self._is_down:  # librdkafka says so again and again
            self._log.warning("commands_unavailable", reason=error.str())
        self._is_down = True

    def _said(self, message: Message) -> Said | None:
        """Read a record; None = it cannot be read, which is told and counted."""
        value = message.value()
        try:
            if message.topic() != self._wanted_topic:
                return self._decode(value or b"")
            if value is None:
                return TakenBack(wanted_of_key(message.key() or b""))
            return self._wishes.decode(value)
        except (CodecError, DependencyError, ValueError) as error:
            metrics.ERRORS.labels("produce", "command_decode").inc()
            self._log.warning("command_unreadable", reason=str(error))
            return None


def wanted_key(wanted: ControlWanted) -> bytes:
    """Make the key of a record of `control.wanted`, as the topic catalogue says."""
    return f"{wanted.venue}|{wanted.market}|{wanted.venue_symbol}|{wanted.channel}".encode()


def wanted_of_key(key: bytes) -> ControlWanted:
    """Read a key back; what is not in it is as of no record.

    Raises:
        ValueError: it is no such key.
    """
    try:
        venue, market, venue_symbol, channel = key.decode().split("|")
    except ValueError as error:
        raise ValueError(f"{key[:80]!r} is no key of control.wanted") from error
    return ControlWanted(
        event_time_us=0, venue=venue, market=market, venue_symbol=venue_symbol, channel=channel, is_wanted=False
    )
