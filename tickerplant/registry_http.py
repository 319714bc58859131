"""What is asked of a schema registry, over HTTP.

Source: https://docs.confluent.io/platform/current/schema-registry/develop/api.html

Confluent's own client brings OAuth and a cryptography library with it: a fifth of the time in which a role is imported.
"""

import json
from base64 import b64encode
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from typing import Any, Final
from urllib.parse import quote, urlsplit

from tickerplant.security import registry_context
from tickerplant.settings import Registry

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
MOST_BYTES: Final = 16 * 1024 * 1024
FIRST_ERROR: Final = 300
APICURIO: Final = "/apis/ccompat"
"""Below which Apicurio has Confluent's API; its own is beside it."""
NO_ANSWER: Final = (HTTPException, OSError, ValueError, RecursionError)
"""What comes of a registry that does not answer, or answers what none would."""


class RegistryStatusError(Exception):
    """The registry answered with a status that is none of success.

    Args:
        status: of HTTP.
        reason: in the registry's words.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(status, reason)

    def __str__(self) -> str:
        return f"{self.reason} (HTTP status {self.status})"


class RegistryClient:
    """Asks over a connection that is kept, and made again when it was lost; for one thread.

    Every call raises RegistryStatusError where the registry refuses, one of `NO_ANSWER` where it does not answer.

    Args:
        timeout_s: for a connection, and for each piece of an answer.
    """

    def __init__(self, settings: Registry, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._path = urlsplit(settings.url).path.rstrip("/")
        accept = f"{MEDIA_TYPE}, application/json"  # Apicurio tells its version in the latter alone
        self._headers = {"Accept": accept, "Content-Type": MEDIA_TYPE} | _credentials(settings)
        self._connection: HTTPConnection | None = None

    def lookup(self, subject: str, schema: str) -> int:
        """Return the id of a schema under a subject."""
        return _id(self._ask("POST", f"{self._path}/subjects/{quote(subject, safe='')}", {"schema": schema}))

    def register(self, subject: str, schema: str) -> int:
        """Register a schema under a subject, unless it is, and return its id."""
        return _id(self._ask("POST", f"{self._path}/subjects/{quote(subject, safe='')}/versions", {"schema": schema}))

    def schema(self, schema_id: int) -> str:
        """Return the schema of an id."""
        text = self._ask("GET", f"{self._path}/schemas/ids/{schema_id}")["schema"]
        if not isinstance(text, str):
            raise TypeError("its schema is no text")
        return text

    def compatibility(self) -> str:
        """Return the compatibility of subjects that have none of their own."""
        found = self._ask("GET", f"{self._path}/config")
        return str(found.get("compatibilityLevel") or found["compatibility"])

    def version(self) -> str:
        """Return the version of a registry that tells it, of Confluent's or Apicurio's kind; empty = it does not."""
        before, apicurio, _ = self._path.partition(APICURIO)
        path = f"{before}/apis/registry/v3/system/info" if apicurio else f"{self._path}/v1/metadata/version"
        try:
            return str(self._ask("GET", path)["version"])
        except (RegistryStatusError, KeyError):
            return ""

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set the compatibility of a subject."""
        self._ask("PUT", f"{self._path}/config/{quote(subject, safe='')}", {"compatibility": level})

    def close(self) -> None:
        """Let go of the connection; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        was_kept = self._connection is not None
        try:
            return self._exchange(method, path, body)
        except (RemoteDisconnected, ConnectionError):  # while nothing was asked of it
            if not was_kept:
                raise
            return self._exchange(method, path, body)

    def _exchange(self, method: str, path: str, body: object) -> dict[str, Any]:
        connection = self._connection = self._connection or self._connected()
        is_done = False
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = connection.getresponse()
            content = answer.read(MOST_BYTES + 1)
            is_done = answer.isclosed()
        finally:
            if not is_done:  # what is left of an answer would be taken for the next one
                self.close()
        if answer.status >= FIRST_ERROR:
            raise RegistryStatusError(answer.status, _reason(content) or answer.reason)
        return _object(content)

    def _connected(self) -> HTTPConnection:
        url = urlsplit(self._settings.url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError("registry.url begins with neither http:// nor https:// and a host")
        if url.scheme == "http":
            return HTTPConnection(url.hostname, url.port, timeout=self._timeout_s)
        context = registry_context(self._settings)
        return HTTPSConnection(url.hostname, url.port, timeout=self._timeout_s, context=context)


def _credentials(settings: Registry) -> dict[str, str]:
    if settings.username is None or settings.password is None:
        return {}
    both = f"{settings.username}:{settings.password.get_secret_value()}"
    return {"Authorization": f"Basic {b64encode(both.encode()).decode()}"}


def _object(content: bytes) -> dict[str, Any]:
    if len(content) > MOST_BYTES:
        raise ValueError(f"its answer is larger than {MOST_BYTES} bytes")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError("its answer is no object of JSON")  # noqa: TRY004  # of the wire, not of our code
    return found


def _id(found: dict[str, Any]) -> int:
    schema_id = found["id"]
    if not isinstance(schema_id, int) or isinstance(schema_id, bool):
        raise TypeError("its id is no number")
    return schema_id


def _reason(content: bytes) -> str:
    """Find the registry's own words in the body of an error; empty = there are none."""
    try:
        return str(_object(content).get("message", ""))
    except (ValueError, RecursionError):
        return ""
