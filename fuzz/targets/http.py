"""HTTP: what clients ask of the gateway, bodies in any encoding, and what a registry may answer."""

import asyncio
import gzip
import json
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import lz4.frame
import zstandard
from aiohttp import streams, web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from fuzz.target import Target
from schemas.codec import UnknownSchemaError, WireFormatError, schema_text
from schemas.records import Tick
from schemas.topics import TICK
from tickerplant.errors import UserError
from tickerplant.local.gateway import encodings
from tickerplant.local.gateway.compression import compress
from tickerplant.local.gateway.faults import ProtocolError, QueryError
from tickerplant.local.gateway.web import _credentials, _read, _session_s
from tickerplant.registry import Registry
from tickerplant.settings import Settings

LIMIT_BYTES: Final = 1024 * 1024
CODECS: Final = ("gzip", "deflate", "lz4", "zstd", "", "br")
ANSWER_S: Final = 5.0


def targets() -> Iterator[Target]:
    """List the targets of this module."""
    text = b"INSERT INTO t VALUES (1)" * 100
    packed = [
        gzip.compress(text),
        zlib.compress(text),
        lz4.frame.compress(text),
        zstandard.ZstdCompressor().compress(text),
    ]
    bodies = [bytes((number,)) + body for number, body in enumerate(packed)]
    yield Target(name="gateway-bodies", run=read_body, seeds=[*bodies, b"\x04" + compress(text)])
    yield Target(name="gateway-requests", run=read_request, seeds=REQUESTS, examples=40)
    schema = json.dumps({"schema": schema_text(Tick), "schemaType": "AVRO"}).encode()
    found = json.dumps({"subject": TICK.subject, "version": 1, "id": 7, "schema": schema_text(Tick)}).encode()
    yield Target(
        name="registry", run=read_registry, seeds=[b"\0" + schema, b"\0" + found, b"\1{}", b"\3<html>"], examples=5
    )


def read_body(data: bytes) -> None:
    """Unpack a body, never above the limit; the first byte names its encoding."""
    try:
        body = encodings.decode(CODECS[(data[0] if data else 0) % len(CODECS)], data[1:], LIMIT_BYTES)
        assert len(body) <= max(LIMIT_BYTES, len(data))
        assert len(encodings.decode_frames(body, LIMIT_BYTES)) <= LIMIT_BYTES
    except ProtocolError:
        return


FORM: Final = b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n--x--\r\n'
REQUESTS: Final = (
    b"GET /?query=SELECT%201&database=default\nX-ClickHouse-User: default\n\n",
    b"POST /?param_a=1&max_threads=2&session_id=s&session_timeout=5\nAuthorization: Basic ZGVmYXVsdDo=\n\nSELECT 1",
    b"POST /?decompress=1&query=INSERT%20INTO%20t%20FORMAT%20CSV\nContent-Encoding: gzip\n\n" + gzip.compress(b"1,2"),
    b"POST /\nContent-Type: multipart/form-data; boundary=x\n\n" + FORM,
)  # fmt: skip


def read_request(data: bytes) -> None:
    """Lines as a request: method and target, headers, an empty line, the body."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode(errors="replace").split("\n")
    method, _, path = first.partition(" ")
    headers = CIMultiDict((name, value.strip()) for name, _, value in (line.partition(":") for line in lines) if name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # aiohttp tells of odd headers by warnings
        asyncio.run(_ask(method, path, headers, body))


async def _ask(method: str, path: str, headers: CIMultiDict[str], body: bytes) -> None:
    content = streams.StreamReader(_Quiet(), 2**16, loop=asyncio.get_running_loop())  # type: ignore[arg-type]
    content.feed_data(body)
    content.feed_eof()
    try:
        request = make_mocked_request("POST" if method == "POST" else "GET", path, headers, payload=content)
    except ValueError:
        return  # aiohttp's own parser refuses it
    try:
        _credentials(request)
        ask = await _read(request)
        ask.statement()
        assert 0 <= _session_s(ask) < 1e400
    except (QueryError, web.HTTPException):
        return


class _Quiet:
    """The part of a protocol that a stream of known content asks for."""

    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self, **_: Any) -> None: ...


class _Answers(BaseHTTPRequestHandler):
    """A registry that answers every request alike."""

    status = 200
    body = b""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(type(self).status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(type(self).body)))
        self.end_headers()
        self.wfile.write(type(self).body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815  # names of the standard library

    def log_message(self, *_: Any) -> None: ...


@cache
def _registry() -> Registry:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    return Registry(Settings.model_validate({"registry": {"url": url}}))


STATUSES: Final = (200, 404, 409, 422, 401)


def read_registry(data: bytes) -> None:
    """Ask a registry that answers with a status, named by the first byte, and a body, the rest."""
    _Answers.status = STATUSES[(data[0] if data else 0) % len(STATUSES)]
    _Answers.body = data[1:]
    registry = _registry()
    with suppress(UserError, UnknownSchemaError, WireFormatError):
        registry.decoder(Tick).decode(b"\0\0\0\0\7" + b"\0" * 40)
    with suppress(UserError):
        registry.encoder(TICK, Tick)
