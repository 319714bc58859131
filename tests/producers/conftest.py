"""A small venue on loopback (WebSocket and REST), an outlet that keeps records, and what feeds need."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from aiohttp import web
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from producers import plan as planning
from producers.feed import Feed
from producers.intake import Intake
from producers.limiter import Address
from producers.venues import binance
from producers.websocket import FeedOptions
from schemas.records import Frame, RawFrames, Source
from schemas.venues.binance import assumed_instrument
from tickerplant.clock import now_us
from tickerplant.settings import Producer, Venue


@dataclass
class MemoryOutlet:
    """Keeps records; delivers at once, or when told to."""

    records: list[tuple[int, RawFrames]] = field(default_factory=list)
    is_stuck: bool = False
    failure: Exception | None = None
    _undelivered: list[Callable[[], None]] = field(default_factory=list)

    def send(self, partition: int, record: RawFrames, on_delivered: Callable[[], None]) -> None:
        self.records.append((partition, record))
        self._undelivered.append(on_delivered)

    def poll(self) -> None:
        if self.failure is not None:
            raise self.failure
        while self._undelivered and not self.is_stuck:
            self._undelivered.pop(0)()

    def frames(self, *kinds: str) -> list[Frame]:
        return [frame for _, _, frame in self.sourced() if not kinds or frame.kind in kinds]

    def payloads(self, *kinds: str) -> list[bytes]:
        return [frame.payload for frame in self.frames(*kinds)]

    def sourced(self) -> list[tuple[int, Source, Frame]]:
        return [(p, record.sources[frame.source], frame) for p, record in self.records for frame in record.frames]


@dataclass
class LoopbackVenue:
    """Answers subscriptions, serves REST bodies, and does to connections what a test says.

    Args:
        on_request: called with each request of a client, after it was answered.
    """

    requests: list[dict[str, Any]] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)
    rest_requests: list[str] = field(default_factory=list)
    posted: list[bytes] = field(default_factory=list)
    rest: dict[str, list[web.Response]] = field(default_factory=dict)  # path → answers, the last one for ever
    answers: bool = True
    is_closed: bool = False  # new connections are refused with status 503
    refusals: list[tuple[int, str]] = field(default_factory=list)  # status and Retry-After for the next connections
    refusal: dict[str, Any] | None = None
    on_request: Callable[[ServerConnection, dict[str, Any]], Any] | None = None
    websocket_url: str = ""
    rest_url: str = ""

    async def serve_connection(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        try:
            async for text in connection:
                await self._answer(connection, json.loads(text))
        except ConnectionClosed:
            return

    async def _answer(self, connection: ServerConnection, request: dict[str, Any]) -> None:
        self.requests.append(request)
        if self.answers:
            body = {"error": self.refusal} if self.refusal else {"result": None}
            await connection.send(json.dumps(body | {"id": request["id"]}))
        if self.on_request is not None:
            await self.on_request(connection, request)

    async def serve_rest(self, request: web.Request) -> web.Response:
        self.rest_requests.append(request.path_qs)
        if request.method == "POST":
            self.posted.append(await request.read())
        waiting = self.rest.get(request.path, [])
        if not waiting:
            return web.Response(status=404, text="nothing here")
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    @property
    def subscribed(self) -> list[str]:
        return [name for request in self.requests for name in request["params"]]


@asynccontextmanager
async def websocket_server(venue: LoopbackVenue) -> AsyncIterator[Server]:
    def door(connection: ServerConnection, _request: Request) -> Response | None:
        if venue.refusals:
            status, retry_after = venue.refusals.pop(0)
            return Response(status, "no", Headers({"Retry-After": retry_after, "Content-Length": "0"}))
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "closed") if venue.is_closed else None

    async with serve(
        venue.serve_connection, "127.0.0.1", 0, compression=None, close_timeout=0.2, process_request=door
    ) as server:
        yield server


@pytest.fixture
async def venue() -> AsyncIterator[LoopbackVenue]:
    venue = LoopbackVenue()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", venue.serve_rest)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    venue.rest_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with websocket_server(venue) as server:
        venue.websocket_url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield venue
    await runner.cleanup()


@pytest.fixture
def outlet() -> MemoryOutlet:
    return MemoryOutlet()


@pytest.fixture
def settings() -> Producer:
    return Producer(linger_ms=2.0, backoff_first_s=0.01, backoff_most_s=0.05, stale_after_s=30.0, overlap_s=0.1)


@pytest.fixture
def make_intake(outlet: MemoryOutlet) -> Callable[..., Intake]:
    def make(settings: Producer, partition_count: int = 2, venue: str = "BINANCE") -> Intake:
        topic = f"raw.{venue.lower()}"
        return Intake(venue, topic, partition_count=partition_count, settings=settings, outlet=outlet, now_us=now_us)

    return make


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


async def _until(holds: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110  # polls what has no event
            await asyncio.sleep(0.005)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Poll a condition until it holds."""
    return _until


@pytest.fixture
def asked() -> list[str]:
    """Streams whose subscription was told, so that a snapshot is fetched."""
    return []


@pytest.fixture
async def stop_feeds() -> AsyncIterator[Callable[..., Any]]:
    """Stop what `start_feed` started; all that was read is with the outlet then."""
    stops: list[Callable[[], Any]] = []

    async def stop() -> None:
        while stops:
            await stops.pop()()

    stop.add = stops.append  # type: ignore[attr-defined]
    yield stop
    await stop()


@pytest.fixture
def start_feed(make_intake: Callable[..., Intake], asked: list[str], stop_feeds: Any) -> Callable[..., Feed]:
    """Start feeds of BTCUSDT, spot, in one partition."""

    def told(subscribed: Any) -> None:
        asked.extend(each.name for each in subscribed)

    def start(given: Producer, url: str, *channels: str, address: Address | None = None) -> Feed:
        intake = make_intake(given, 1)
        entry = Venue(
            venue="BINANCE", market="spot", symbols=("*",), channels=channels or ("trade",), websocket_url=url
        )
        streams = planning.streams(entry, [assumed_instrument("spot", "BTCUSDT", 0)], 1)
        (plan,) = planning.connections(entry, streams)
        options = FeedOptions(
            wire=binance, settings=given, start="s", on_subscribed=told, address=address or Address(6000, 300)
        )
        feed = Feed("spot-p0-0", plan, intake, options)
        tasks = [asyncio.create_task(each) for each in (feed.run(), intake.pump_forever())]

        async def stop() -> None:
            for each in tasks:
                each.cancel()
                with suppress(asyncio.CancelledError):
                    await each
            intake.close()

        stop_feeds.add(stop)
        return feed

    return start


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@pytest.fixture
async def serve_tcp() -> AsyncIterator[Callable[..., Any]]:
    """Serve connections by a function that reads and writes bytes; returns the `ws://` URL."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(handler: Handler) -> str:
        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await handler(reader, writer)
            writer.transport.abort()

        servers.append(await asyncio.start_server(serve_one, "127.0.0.1", 0))
        return f"ws://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


ACCEPT_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


async def _shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, extra: str = "") -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    at = request.lower().index(b"sec-websocket-key: ") + len(b"sec-websocket-key: ")
    key = request[at : request.index(b"\r\n", at)]
    accept = base64.b64encode(hashlib.sha1(key + ACCEPT_MAGIC).digest()).decode()  # as the RFC says
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n{extra}\r\n".encode())
    await writer.drain()


@pytest.fixture
def shake_hands() -> Callable[..., Any]:
    """Answer the opening handshake on raw streams."""
    return _shake_hands


def _ws_frame(payload: bytes, opcode: int = 1, *, fin: bool = True, rsv1: bool = False) -> bytes:
    head = bytes([opcode | fin << 7 | rsv1 << 6])
    size = len(payload)
    if size < 126:
        return head + bytes([size]) + payload
    if size < 1 << 16:
        return head + b"\x7e" + size.to_bytes(2, "big") + payload
    return head + b"\x7f" + size.to_bytes(8, "big") + payload


@pytest.fixture
def ws_frame() -> Callable[..., bytes]:
    """Lay out a frame as a server sends it."""
    return _ws_frame
