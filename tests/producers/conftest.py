"""A small venue on loopback (WebSocket and REST), an outlet that keeps records, and what feeds need."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from aiohttp import web
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from producers.intake import Intake
from schemas.records import Frame, RawFrames, Source
from tickerplant.clock import now_us
from tickerplant.settings import Producer


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
    rest: dict[str, list[web.Response]] = field(default_factory=dict)  # path → answers, the last one for ever
    answers: bool = True
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
    async with serve(venue.serve_connection, "127.0.0.1", 0, compression=None, close_timeout=0.2) as server:
        yield server


@pytest.fixture
async def venue() -> AsyncIterator[LoopbackVenue]:
    venue = LoopbackVenue()
    app = web.Application()
    app.router.add_get("/{path:.*}", venue.serve_rest)
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
    def make(settings: Producer, partition_count: int = 2) -> Intake:
        return Intake(
            "BINANCE", "raw.binance", partition_count=partition_count, settings=settings, outlet=outlet, now_us=now_us
        )

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
