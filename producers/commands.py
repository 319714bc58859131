"""control.command, from its end on → commands; on a thread of its own, since a consumer blocks."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from schemas.codec import CodecError, Decoder
from schemas.records import ControlCommand
from schemas.topics import COMMAND
from tickerplant import metrics
from tickerplant.errors import DependencyError
from tickerplant.kafka import KafkaException, TopicPartition, consumer, end_offsets
from tickerplant.logs import logger
from tickerplant.settings import Settings

GROUP: Final = "tickerplant.producer"  # nothing is committed: a command that nobody heard is out of date
POLL_S: Final = 0.25
AGAIN_S: Final = 5.0


class Commands:
    """Listens for commands.

    Args:
        heard: called on the listening thread with each command.

    Raises:
        DependencyError: the broker does not answer.
    """

    def __init__(
        self, settings: Settings, decoder: Decoder[ControlCommand], *, heard: Callable[[ControlCommand], None]
    ) -> None:
        self._decoder = decoder
        self._heard = heard
        self._stopping = threading.Event()
        self._client = consumer(settings, GROUP)
        self._is_down = False
        topic = COMMAND.name + settings.kafka.topic_suffix
        try:
            end = end_offsets(self._client, [TopicPartition(topic, 0)])[topic, 0]
        except KafkaException as error:
            raise DependencyError("kafka", settings.kafka.bootstrap_servers, error.args[0].str()) from error
        self._client.assign([TopicPartition(topic, 0, end)])
        self._thread = threading.Thread(target=self._listen, name="commands", daemon=True)
        self._log = logger()

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
            self._take(message.value() or b"")
            return
        metrics.ERRORS.labels("produce", "command_consume").inc()
        if not self._is_down:  # librdkafka says so again and again
            self._log.warning("commands_unavailable", reason=error.str())
        self._is_down = True

    def _take(self, value: bytes) -> None:
        try:
            command = self._decoder.decode(value)
        except (CodecError, DependencyError) as error:
            metrics.ERRORS.labels("produce", "command_decode").inc()
            self._log.warning("command_unreadable", reason=str(error))
        else:
            self._heard(command)
