"""Packets of the native protocol at revision 54429: what a client says, and what is answered.

The revision is chosen: settings travel as strings, LowCardinality and written rows are there, and nothing newer has to
be spoken (no interserver secret, no trace context, no per-column serialization kinds, no addendum).

Source: https://clickhouse.com/docs/native-protocol/client and /server
"""

from dataclasses import dataclass
from enum import IntEnum

from tickerplant.local.gateway.faults import ProtocolError, QueryError
from tickerplant.local.gateway.wire import Buffer, Reader, string, varint

REVISION = 54429
QUERY_LIMIT_BYTES = 64 * 1024 * 1024
_WORD_LIMIT_BYTES = 64 * 1024
_SETTINGS_LIMIT = 2000
_TCP, _HTTP = 1, 2


class Client(IntEnum):
    """Packets a client sends."""

    HELLO = 0
    QUERY = 1
    DATA = 2
    CANCEL = 3
    PING = 4


class Server(IntEnum):
    """Packets a server sends."""

    HELLO = 0
    DATA = 1
    EXCEPTION = 2
    PROGRESS = 3
    PONG = 4
    END_OF_STREAM = 5
    PROFILE_INFO = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Hello:
    """Who connects. `database` is empty for the default one."""

    client: str
    revision: int
    database: str
    user: str
    password: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A setting as sent; an important one that is unknown is an error, another one is dropped."""

    value: str
    important: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A query text with its settings; `compressed` says how blocks travel, both ways."""

    query_id: str
    settings: dict[str, Setting]
    compressed: bool
    text: bytes


def read_hello(buffer: Buffer) -> Reader[Hello]:
    """Read what follows the packet number of a hello.

    Raises:
        ProtocolError: the client is older than settings as strings.
    """
    client = yield from buffer.text(_WORD_LIMIT_BYTES)
    yield from buffer.varint()
    yield from buffer.varint()
    revision = yield from buffer.varint()
    if revision < REVISION:
        raise ProtocolError(f"the client speaks revision {revision}; {REVISION} is the oldest served")
    database = yield from buffer.text(_WORD_LIMIT_BYTES)
    user = yield from buffer.text(_WORD_LIMIT_BYTES)
    password = yield from buffer.text(_WORD_LIMIT_BYTES)
    return Hello(client=client, revision=revision, database=database, user=user, password=password)


def read_query(buffer: Buffer) -> Reader[Query]:
    """Read what follows the packet number of a query."""
    query_id = yield from buffer.text(_WORD_LIMIT_BYTES)
    yield from _client_info(buffer)
    settings = yield from _settings(buffer)
    yield from buffer.varint()  # the stage: always complete
    compressed = bool((yield from buffer.varint()))
    text = yield from buffer.string(QUERY_LIMIT_BYTES)
    return Query(query_id=query_id, settings=settings, compressed=compressed, text=text)


def _client_info(buffer: Buffer) -> Reader[None]:
    if not (yield from buffer.u8()):
        return
    for _ in ("initial user", "initial query id", "initial address"):
        yield from buffer.string(_WORD_LIMIT_BYTES)
    interface = yield from buffer.u8()
    if interface == _HTTP:
        yield from buffer.u8()
        yield from buffer.string(_WORD_LIMIT_BYTES)
    elif interface == _TCP:
        yield from _tcp_info(buffer)
    else:
        raise ProtocolError(f"a client by interface {interface}")
    yield from buffer.string(_WORD_LIMIT_BYTES)  # the quota key
    if interface == _TCP:
        yield from buffer.varint()  # the version's patch


def _tcp_info(buffer: Buffer) -> Reader[None]:
    for _ in ("system user", "host", "client"):
        yield from buffer.string(_WORD_LIMIT_BYTES)
    for _ in ("major", "minor", "revision"):
        yield from buffer.varint()


def _settings(buffer: Buffer) -> Reader[dict[str, Setting]]:
    settings: dict[str, Setting] = {}
    while name := (yield from buffer.text(_WORD_LIMIT_BYTES)):
        flags = yield from buffer.varint()
        value = yield from buffer.text(_WORD_LIMIT_BYTES)
        settings[name] = Setting(value=value, important=bool(flags & 1))
        if len(settings) > _SETTINGS_LIMIT:
            raise ProtocolError(f"more than {_SETTINGS_LIMIT} settings")
    return settings


def hello(version: str, timezone: str) -> bytes:
    """Answer a hello; `version` is the engine's, e.g. 26.9.2.1."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    numbers = varint(major) + varint(minor) + varint(REVISION)
    return (
        varint(Server.HELLO) + string("ClickHouse") + numbers + string(timezone) + string("tickerplant") + varint(patch)
    )


def exception(error: QueryError) -> bytes:
    """Tell that a query failed."""
    code = error.code.to_bytes(4, "little", signed=True)
    text = string("DB::Exception") + string(f"DB::Exception: {error.text}") + string("")
    return varint(Server.EXCEPTION) + code + text + b"\x00"


def progress(*, read_rows: int = 0, read_bytes: int = 0, written_rows: int = 0, written_bytes: int = 0) -> bytes:
    """Tell what was read and written since the last progress."""
    numbers = (read_rows, read_bytes, 0, written_rows, written_bytes)
    return varint(Server.PROGRESS) + b"".join(varint(number) for number in numbers)


def profile_info(rows: int, blocks: int, size_bytes: int) -> bytes:
    """Tell what the answer held: rows, blocks, bytes, no limit applied."""
    return varint(Server.PROFILE_INFO) + varint(rows) + varint(blocks) + varint(size_bytes) + b"\x00\x00\x00"
