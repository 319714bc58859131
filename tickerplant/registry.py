"""The schema registry: register at deploy, look up once at start, fetch a writer's schema by its id."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from schemas.codec import Decoder, Encoder, UnknownSchemaError, schema_text
from schemas.records import Record
from schemas.topics import Topic
from tickerplant.errors import DependencyError, UserError
from tickerplant.registry_http import NO_ANSWER, RegistryClient, RegistryStatusError
from tickerplant.security import distrust
from tickerplant.settings import Settings

R = TypeVar("R", bound=Record)

COMPATIBILITY = "FULL_TRANSITIVE"
MOST_ID = 2**32 - 1
NOT_FOUND = 404
REFUSALS = (401, 403)
CONFLICT = 409
TIMEOUT_S = 10.0


class Registry:
    """Encoders and decoders for topics, by the registry's ids; each call connects, asks and lets go."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.registry
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
                return client.schema(schema_id)
            except RegistryStatusError as error:
                if error.status != NOT_FOUND:
                    raise
                raise UnknownSchemaError(schema_id) from None

    def _lookup(self, client: RegistryClient, topic: Topic, record: type[Record]) -> int:
        """Ask for the id of a topic's schema, and remember its text."""
        text = schema_text(record)
        try:
            schema_id = client.lookup(topic.subject, text)
        except RegistryStatusError as error:
            if error.status != NOT_FOUND:
                raise
            raise UserError(f"schema of {topic.name} is not registered: run `tickerplant deploy`") from None
        if not 0 <= schema_id <= MOST_ID:
            raise DependencyError("schema registry", self._settings.url, f"it tells no id for {topic.subject}")
        self._texts[schema_id] = text
        return schema_id

    @contextmanager
    def _connected(self) -> Iterator[RegistryClient]:
        """Connect; whatever goes wrong on the way is a DependencyError."""
        with _answering(self._settings.url), closing(RegistryClient(self._settings, TIMEOUT_S)) as client:
            yield client


@dataclass(frozen=True)
class RegistryInfo:
    """What a registry tells of itself; `version` empty = not that."""

    compatibility: str
    version: str


def describe_registry(settings: Settings, timeout_s: float) -> RegistryInfo:
    """Ask a registry what it is.

    Raises:
        DependencyError: it does not answer.
        UserError: it refuses us.
    """
    with _answering(settings.registry.url), closing(RegistryClient(settings.registry, timeout_s)) as client:
        return RegistryInfo(client.compatibility(), client.version())


class RegistryProbe:
    """Asks whether the registry answers, over a connection that is kept; for one thread.

    Raises:
        DependencyError: from a call, where it does not answer within the time.
        UserError: from a call, where it refuses us.
    """

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._url = settings.registry.url
        self._client = RegistryClient(settings.registry, timeout_s)

    def __call__(self) -> None:
        """Ask for the compatibility of all subjects, which is one word."""
        with _answering(self._url):
            self._client.compatibility()

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


@contextmanager
def _answering(url: str) -> Iterator[None]:
    try:
        yield
    except RegistryStatusError as error:
        if error.status in REFUSALS:
            what = "see registry.username and registry.password"
            raise UserError(f"schema registry at {url} refuses ({error.status}): {what}") from error
        raise DependencyError("schema registry", url, _first_line(error)) from error
    except (*NO_ANSWER, TypeError, KeyError) as error:
        if untrusted := distrust(error):
            what = f"{untrusted}; see registry.ca_location"
            raise UserError(f"schema registry at {url} is not trusted: {what}") from error
        raise DependencyError("schema registry", url, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _register(client: RegistryClient, topic: Topic) -> None:
    try:
        client.register(topic.subject, schema_text(topic.record))
    except RegistryStatusError as error:
        if error.status != CONFLICT:
            raise
        text = f"schema of {topic.name} is not {COMPATIBILITY} with an older one: new fields need a default"
        raise UserError(text) from None
    client.set_compatibility(topic.subject, COMPATIBILITY)
