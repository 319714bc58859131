"""Raw records → Kafka."""

from collections.abc import Callable
from functools import partial

from schemas.codec import Encoder
from schemas.records import RawFrames
from tickerplant.kafka import DeliveryError, KafkaError, Message, Publisher


class KafkaOutlet:
    """Sends the raw records of one venue; the key is the partition."""

    def __init__(self, publisher: Publisher, topic: str, encoder: Encoder[RawFrames]) -> None:
        self._publisher = publisher
        self._topic = topic
        self._encoder = encoder
        self._failure: KafkaError | None = None

    def send(self, partition: int, record: RawFrames, on_delivered: Callable[[], None]) -> None:
        """Queue a record; does not block as long as the intake's gate is heeded."""
        callback = partial(self._noted, on_delivered)
        value = self._encoder.encode(record)
        self._publisher.send(self._topic, partition, str(partition).encode(), value, None, callback)

    def poll(self) -> None:
        """Serve what was delivered; does not block.

        Raises:
            DeliveryError: a record could not be delivered.
        """
        self._publisher.poll()
        if self._failure is not None:
            raise DeliveryError(f"Kafka refused a record of {self._topic}: {self._failure.str()}")

    def _noted(self, on_delivered: Callable[[], None], error: KafkaError | None, _message: Message) -> None:
        if error is None:
            on_delivered()
        else:
            self._failure = error
