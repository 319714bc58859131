"""The schema registry: register at deploy, look up once at start, fetch a writer's schema by its id."""

from collections.abc import Iterable
from typing import TypeVar

import httpx
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.codec import Decoder, Encoder, UnknownSchemaError, schema_text
from schemas.records import Record
from schemas.topics import Topic
from tickerplant.errors import DependencyError, UserError
from tickerplant.settings import Settings

R = TypeVar("R", bound=Record)

COMPATIBILITY = "FULL_TRANSITIVE"
NOT_FOUND = 404
CONFLICT = 409


class Registry:
    """Encoders and decoders for topics, by the registry's ids; each call blocks for a round trip or two."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.registry.url
        self._client = SchemaRegistryClient({"url": self._url, "max.retries": 1, "timeout": 10})

    def register(self, topics: Iterable[Topic]) -> None:
        """Register the schema of every topic under FULL_TRANSITIVE; twice is the same as once.

        Raises:
            UserError: a schema is not compatible with one registered before.
            DependencyError: the registry does not answer.
        """
        for topic in topics:
            self._register(topic)

    def encoder(self, topic: Topic, record: type[R]) -> Encoder[R]:
        """Make the encoder of a topic whose records are of this class.

        Raises:
            UserError: its schema was not registered.
            DependencyError: the registry does not answer.
        """
        try:
            found = self._client.lookup_schema(topic.subject, Schema(schema_text(record), "AVRO"))
        except SchemaRegistryError as error:
            if error.http_status_code == NOT_FOUND:
                raise UserError(f"schema of {topic.name} is not registered: run `tickerplant deploy`") from None
            raise self._failure(error) from error
        except (httpx.HTTPError, OSError) as error:
            raise self._failure(error) from error
        return Encoder(record, found.schema_id or 0)

    def decoder(self, record: type[R]) -> Decoder[R]:
        """Make a decoder that fetches writers' schemas as their ids are met."""
        return Decoder(record, self.schema_text)

    def schema_text(self, schema_id: int) -> str:
        """Fetch the schema of an id.

        Raises:
            UnknownSchemaError: there is none.
            DependencyError: the registry does not answer.
        """
        try:
            return self._client.get_schema(schema_id).schema_str or ""
        except SchemaRegistryError as error:
            if error.http_status_code == NOT_FOUND:
                raise UnknownSchemaError(schema_id) from None
            raise self._failure(error) from error
        except (httpx.HTTPError, OSError) as error:
            raise self._failure(error) from error

    def _register(self, topic: Topic) -> None:
        try:
            self._client.register_schema(topic.subject, Schema(schema_text(topic.record), "AVRO"))
            self._client.set_compatibility(topic.subject, COMPATIBILITY)
        except SchemaRegistryError as error:
            if error.http_status_code == CONFLICT:
                text = f"schema of {topic.name} is not {COMPATIBILITY} with an older one: new fields need a default"
                raise UserError(text) from None
            raise self._failure(error) from error
        except (httpx.HTTPError, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> DependencyError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return DependencyError("schema registry", self._url, reason)
