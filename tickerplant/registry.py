"""The schema registry: register at deploy, look up once at start, fetch a writer's schema by its id."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from typing import TypeVar

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.codec import Decoder, Encoder, UnknownSchemaError, schema_text
from schemas.records import Record
from schemas.topics import Topic
from tickerplant.errors import DependencyError, UserError
from tickerplant.security import distrust, registry_options
from tickerplant.settings import Settings

R = TypeVar("R", bound=Record)

COMPATIBILITY = "FULL_TRANSITIVE"
NO_ANSWER = (
    *(SchemaRegistryError, httpx2.HTTPError, OSError),
    *(ValueError, TypeError, KeyError, AttributeError, RecursionError),  # an answer that is none of a registry
)
MOST_ID = 2**32 - 1
NOT_FOUND = 404
REFUSALS = (401, 403)
CONFLICT = 409
TIMEOUT_S = 10.0


class Registry:
    """Encoders and decoders for topics, by the registry's ids; each call connects, asks and lets go."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.registry.url
        self._options = {
            "url": self._url,
            "max.retries": 1,
            "timeout": TIMEOUT_S,
            **registry_options(settings.registry),
        }
        self._texts: dict[int, str] = {}

    def register(self, topics: Iterable[Topic]) -> None:
        """Register the schema of every topic under FULL_TRANSITIVE; twice is the same as once.

        Raises:
            UserError: a schema is not compatible with one registered before.
            DependencyError: the registry does not answer.
        """
        with self._connected() as client:
            for topic in topics:
                _register(client, topic)

    def encoder(self, topic: Topic, record: type[R]) -> Encoder[R]:
        """Make the encoder of a topic whose records are of this class.

        Raises:
            UserError: its schema was not registered.
            DependencyError: the registry does not answer.
        """
        with self._connected() as client:
            return Encoder(record, self._lookup(client, topic, record))

    def learn(self, topics: Iterable[Topic]) -> None:
        """Look the schemas of topics up, so that reading what is written with them needs no registry any more.

        Raises:
            UserError: one was not registered.
            DependencyError: the registry does not answer.
        """
        with self._connected() as client:
            for topic in topics:
                self._lookup(client, topic, topic.record)

    def decoder(self, record: type[R]) -> Decoder[R]:
        """Make a decoder that fetches writers' schemas as their ids are met."""
        return Decoder(record, self.schema_text)

    def schema_text(self, schema_id: int) -> str:
        """Fetch the schema of an id.

        Raises:
            UnknownSchemaError: there is none.
            DependencyError: the registry does not answer.
        """
        if schema_id in self._texts:
            return self._texts[schema_id]
        with self._connected() as client:
            try:
                text = client.get_schema(schema_id).schema_str
            except SchemaRegistryError as error:
                if error.http_status_code != NOT_FOUND:
                    raise
                raise UnknownSchemaError(schema_id) from None
        if not isinstance(text, str):
            raise UnknownSchemaError(schema_id)
        return text

    def _lookup(self, client: SchemaRegistryClient, topic: Topic, record: type[Record]) -> int:
        """Ask for the id of a topic's schema, and remember its text."""
        text = schema_text(record)
        try:
            found = client.lookup_schema(topic.subject, Schema(text, "AVRO"))
        except SchemaRegistryError as error:
            if error.http_status_code != NOT_FOUND:
                raise
            raise UserError(f"schema of {topic.name} is not registered: run `tickerplant deploy`") from None
        if not isinstance(found.schema_id, int) or not 0 <= found.schema_id <= MOST_ID:
            raise DependencyError("schema registry", self._url, f"it tells no id for {topic.subject}")
        self._texts[found.schema_id] = text
        return found.schema_id

    @contextmanager
    def _connected(self) -> Iterator[SchemaRegistryClient]:
        """Connect; whatever goes wrong on the way is a DependencyError."""
        with _answering(self._url), closing(SchemaRegistryClient(self._options)) as client:
            yield client


class RegistryProbe:
    """Asks whether the registry answers, with one client for ever: each holds a megabyte until it is collected.

    Raises:
        DependencyError: from a call, where it does not answer within the time.
        UserError: from a call, where it refuses us.
    """

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._url = settings.registry.url
        self._options = {**registry_options(settings.registry), "url": self._url, "max.retries": 0}
        self._timeout_s = timeout_s

    @cached_property
    def _client(self) -> SchemaRegistryClient:
        return SchemaRegistryClient({**self._options, "timeout": self._timeout_s})

    def __call__(self) -> None:
        """Ask for the compatibility of all subjects, which is one word."""
        with _answering(self._url):
            self._client.get_compatibility()

    def close(self) -> None:
        """Let go of the connection."""
        if (client := self.__dict__.pop("_client", None)) is not None:
            client.close()


@contextmanager
def _answering(url: str) -> Iterator[None]:
    try:
        yield
    except NO_ANSWER as error:
        if isinstance(error, SchemaRegistryError) and error.http_status_code in REFUSALS:
            what = "see registry.username and registry.password"
            raise UserError(f"schema registry at {url} refuses ({error.http_status_code}): {what}") from error
        if untrusted := distrust(error):
            what = f"{untrusted}; see registry.ca_location"
            raise UserError(f"schema registry at {url} is not trusted: {what}") from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DependencyError("schema registry", url, reason) from error


def _register(client: SchemaRegistryClient, topic: Topic) -> None:
    try:
        client.register_schema(topic.subject, Schema(schema_text(topic.record), "AVRO"))
    except SchemaRegistryError as error:
        if error.http_status_code != CONFLICT:
            raise
        text = f"schema of {topic.name} is not {COMPATIBILITY} with an older one: new fields need a default"
        raise UserError(text) from None
    client.set_compatibility(topic.subject, COMPATIBILITY)
