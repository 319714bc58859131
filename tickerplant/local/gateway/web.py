"""The HTTP listener: what curl, clickhouse-connect, JDBC and Grafana send in, the engine's answer out.

Source: https://clickhouse.com/docs/interfaces/http
"""

import asyncio
import base64
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tickerplant.local.gateway import encodings
from tickerplant.local.gateway.access import Access
from tickerplant.local.gateway.blocks import header
from tickerplant.local.gateway.engine import ATOMIC_INSERT, Chunk, Engine, Head, Session, Stream, Written
from tickerplant.local.gateway.faults import (
    NOT_IMPLEMENTED,
    SYNTAX_ERROR,
    TOO_MANY_ROWS_OR_BYTES,
    ProtocolError,
    QueryError,
)
from tickerplant.local.gateway.sessions import Sessions
from tickerplant.local.gateway.statements import Kind, Statement, parse, require_read_only

T = TypeVar("T")

BODY_LIMIT_BYTES = 256 * 1024 * 1024
_HELD_BACK_BYTES = 16 * 1024 * 1024  # with wait_end_of_query, this much is held back so that a failure has its status
_KILL_AGAIN_S = 0.2
_SESSION_S = 60.0
_NOTHING = Written(0, 0)

# Formats whose chunks make one answer when they follow each other; others have a head, a foot or commas between rows.
_STREAMED = frozenset(
    (
        "Native",
        "RowBinary",
        "CSV",
        "TSV",
        "TabSeparated",
        "TSVRaw",
        "TabSeparatedRaw",
        "JSONEachRow",
        "JSONCompactEachRow",
    )
)
_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
}
_OURS = frozenset(
    """query database default_format query_id session_id session_timeout session_check close_session user password
    compress decompress buffer_size wait_end_of_query quota_key client_protocol_version role stacktrace""".split()  # noqa: SIM905
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A request as read: options are the parameters of HTTP itself, settings the engine's, parameters the query's."""

    query: bytes
    body: bytes
    options: Mapping[str, str]
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    read_only: bool

    def statement(self) -> Statement:
        """Parse the query; the body goes on where the `query` option ends.

        Raises:
            QueryError: see `parse`.
        """
        if not self.body or not self.query:
            return parse(self.query or self.body)
        statement = parse(self.query)
        if statement.kind is Kind.INSERT and statement.format != "Values" and not statement.data:
            return replace(statement, data=self.body)
        return parse(self.query + b"\n" + self.body)


class WebServer:
    """All clients of the HTTP port."""

    def __init__(self, engine: Engine, access: Access) -> None:
        self._engine = engine
        self._access = access
        self._sessions = Sessions(engine)

    def application(self) -> web.Application:
        """Make the application: `/`, `/ping`, `/replicas_status`."""
        application = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_errors])
        application.router.add_get("/ping", _ok)
        application.router.add_get("/replicas_status", _ok)
        application.router.add_get("/", self._answer)
        application.router.add_post("/", self._answer)
        application.on_cleanup.append(self._close)
        return application

    async def _close(self, _application: web.Application) -> None:
        await self._sessions.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._access.require(*_credentials(request))
        ask = await _read(request)
        if not ask.query.strip() and not ask.body:
            return await _ok(request)
        statement = ask.statement()
        if ask.read_only:
            require_read_only(statement)
        timeout_s = _session_s(ask)
        async with self._sessions.lease(ask.options.get("session_id", ""), timeout_s) as session:
            return await self._run(request, ask, statement, session)

    async def _run(self, request: web.Request, ask: Ask, statement: Statement, session: Session) -> web.StreamResponse:
        headers = self._headers(ask, statement)
        settings = session.known(ask.settings, strict=True)
        if statement.kind is Kind.INSERT:
            settings = ATOMIC_INSERT | settings
        await _unless_gone(session, lambda: _prepare(session, ask, settings))
        if statement.kind is Kind.INSERT:
            written = await _unless_gone(session, lambda: _insert(session, statement))
            headers["X-ClickHouse-Summary"] = _summary(written=written)
            return web.Response(headers=headers)
        return await _respond(
            request, ask, session, _Source(session, statement, ask, headers["X-ClickHouse-Format"]), headers
        )

    def _headers(self, ask: Ask, statement: Statement) -> dict[str, str]:
        output = statement.format or ask.options.get("default_format") or "TabSeparated"
        return {
            "X-ClickHouse-Query-Id": ask.options.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Server-Display-Name": "tickerplant",
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Format": output,
            "Content-Type": _CONTENT_TYPES.get(output, "application/octet-stream"),
        }


class _Source:
    """The chunks of an answer: streamed where the format allows, else one. Blocks."""

    def __init__(self, session: Session, statement: Statement, ask: Ask, output: str) -> None:
        self._session = session
        self._statement = statement
        self._parameters = ask.parameters
        self._output = output
        self._stream: Stream | None = None
        self._started = False

    def fetch(self) -> Chunk | None:
        """Return the next chunk, None at the end."""
        if self._started:
            return None if self._stream is None else self._stream.fetch()
        self._started = True
        return self._first()

    def _first(self) -> Chunk | None:
        text = self._statement.text
        if self._statement.kind is Kind.SESSION:
            self._session.change(text)
            return None
        if self._statement.kind is Kind.SELECT and self._output in _STREAMED:
            self._stream = self._session.stream(text, self._output, self._parameters)
            return self._stream.fetch() or self._nothing()
        return self._session.query(text, self._output, self._parameters)

    def _nothing(self) -> Chunk | None:
        """Give the columns of an answer without rows, which chdb leaves out of Native."""
        if self._output != "Native" or self._parameters:
            return None
        return Chunk(header(self._session.describe(self._statement.text)), 0, 0, 0)

    def close(self) -> None:
        """End the query where it has not ended. Blocks."""
        if self._stream is not None:
            self._stream.cancel()


def _session_s(ask: Ask) -> float:
    text = ask.options.get("session_timeout") or str(_SESSION_S)
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise QueryError(SYNTAX_ERROR, f"session_timeout {text[:40]!r} is no number of seconds")
    return float(text)


def _prepare(session: Session, ask: Ask, settings: Mapping[str, str]) -> None:
    if database := ask.options.get("database") or ("" if ask.options.get("session_id") else "default"):
        session.use(database)
    session.apply(settings)


def _insert(session: Session, statement: Statement) -> Written:
    if not statement.data:
        return _NOTHING
    head = Head(statement.text, statement.settings)
    return session.insert(head, statement.format or "Values", [statement.data])


async def _respond(
    request: web.Request, ask: Ask, session: Session, source: _Source, headers: dict[str, str]
) -> web.StreamResponse:
    name, encoder = _encoder(request, ask)
    if name:
        headers["Content-Encoding"] = name
    held_back_bytes = _HELD_BACK_BYTES if ask.options.get("wait_end_of_query", "0") != "0" else 0
    try:
        held, more, read = await _hold(session, source, held_back_bytes)
        headers["X-ClickHouse-Summary"] = _summary(read=read)
        if not more:
            return web.Response(headers=headers, body=b"".join(map(encoder.encode, held)) + encoder.finish())
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        for piece in held:
            await response.write(encoder.encode(piece))
        await _stream(request, response, session, source, encoder)
        return response
    finally:
        await session.run(source.close)


async def _hold(session: Session, source: _Source, held_back_bytes: int) -> tuple[list[bytes], bool, Chunk | None]:
    """Fetch until the end or until enough is held back; tell whether there may be more, and the last chunk."""
    held: list[bytes] = []
    last: Chunk | None = None
    size_bytes = 0
    while size_bytes <= held_back_bytes:
        chunk = await _unless_gone(session, source.fetch)
        if chunk is None:
            return held, False, last
        last = chunk
        held.append(chunk.data)
        size_bytes += len(chunk.data)
    return held, True, last


async def _stream(
    request: web.Request, response: web.StreamResponse, session: Session, source: _Source, encoder: encodings.Encoder
) -> None:
    try:
        while (chunk := await _unless_gone(session, source.fetch)) is not None:
            await response.write(await asyncio.to_thread(encoder.encode, chunk.data))
    except QueryError as error:
        # The status is sent already: the text goes at the end, and the missing last chunk tells that it is no data.
        await response.write(encoder.encode(f"{error}\n".encode()) + encoder.finish())
        if request.transport is not None:
            request.transport.close()
        return
    await response.write(encoder.finish())
    await response.write_eof()


def _encoder(request: web.Request, ask: Ask) -> tuple[str, encodings.Encoder]:
    if ask.options.get("compress", "0") == "1":
        return "", encodings.Frames()
    if ask.settings.get("enable_http_compression", "0") == "1":
        return encodings.choose(request.headers.get("Accept-Encoding", ""))
    return "", encodings.Plain()


def _summary(*, read: Chunk | None = None, written: Written = _NOTHING) -> str:
    counts = {
        "read_rows": read.read_rows if read else 0,
        "read_bytes": read.read_bytes if read else 0,
        "written_rows": written.rows,
        "written_bytes": written.size_bytes,
        "result_rows": read.rows if read else written.rows,
    }
    return json.dumps({name: str(count) for name, count in counts.items()})


async def _read(request: web.Request) -> Ask:
    values = dict(request.query)
    query = values.get("query", "").encode()
    body = b""
    if request.content_type.startswith("multipart/"):
        fields = await _form(request)
        query += fields.pop("query", "").encode()
        values |= fields
    elif request.method == "POST":
        body = await _body(request, values)
    return Ask(
        query=query,
        body=body,
        options={name: value for name, value in values.items() if name in _OURS} | _header_options(request),
        settings={name: value for name, value in values.items() if name not in _OURS and not name.startswith("param_")},
        parameters={name[6:]: value for name, value in values.items() if name.startswith("param_")},
        read_only=request.method != "POST" or values.get("readonly", "0") != "0",
    )


async def _form(request: web.Request) -> dict[str, str]:
    fields: dict[str, str] = {}
    try:
        posted = await request.post()
    except (ValueError, HttpProcessingError) as error:
        raise QueryError(SYNTAX_ERROR, f"A form that cannot be read: {error}") from None
    for name, value in posted.items():
        if not isinstance(value, str):
            raise QueryError(NOT_IMPLEMENTED, "External tables are not served")
        fields[name] = value
    return fields


async def _body(request: web.Request, values: Mapping[str, str]) -> bytes:
    try:
        packed = await request.read()
        body = await asyncio.to_thread(
            encodings.decode, request.headers.get("Content-Encoding", "").lower(), packed, BODY_LIMIT_BYTES
        )
        return encodings.decode_frames(body, BODY_LIMIT_BYTES) if values.get("decompress", "0") == "1" else body
    except web.HTTPRequestEntityTooLarge:
        raise QueryError(TOO_MANY_ROWS_OR_BYTES, f"A body of more than {BODY_LIMIT_BYTES} bytes") from None
    except ProtocolError as error:
        raise QueryError(SYNTAX_ERROR, str(error)) from None


def _header_options(request: web.Request) -> dict[str, str]:
    named = {"X-ClickHouse-Database": "database", "X-ClickHouse-Format": "default_format"}
    return {option: request.headers[name] for name, option in named.items() if name in request.headers}


def _credentials(request: web.Request) -> tuple[str, str]:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:  # no base64, or no UTF-8
            user, password = "?", ""
        return user, password
    if "X-ClickHouse-User" in request.headers:
        return request.headers["X-ClickHouse-User"], request.headers.get("X-ClickHouse-Key", "")
    return request.query.get("user", ""), request.query.get("password", "")


async def _unless_gone(session: Session, work: Callable[[], T]) -> T:
    """Run work of the session; where the client goes (the request is cancelled), its query is killed and waited for."""
    task = asyncio.ensure_future(session.run(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            await session.kill()
            await asyncio.wait({task}, timeout=_KILL_AGAIN_S)
        task.exception()
        raise


async def _ok(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="Ok.\n")


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except QueryError as error:
        headers = {"X-ClickHouse-Exception-Code": str(error.code)}
        return web.Response(text=f"{error}\n", status=error.status, headers=headers)
