"""A venue in this process, clients that speak to it, and a book rebuilt by the venue's published rule."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tickerplant.local.venue import Venue, VenueOptions

PATIENCE_S = 20.0
DEPTH_PATHS = {"spot": "/api/v3/depth", "usdm": "/fapi/v1/depth", "coinm": "/dapi/v1/depth"}


async def until(condition: Callable[[], bool]) -> None:
    """Poll a condition."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # conditions of all kinds
            await asyncio.sleep(0.002)


Levels = dict[str, str]
Book = tuple[int, Levels, Levels]


def rebuilt(market: str, snapshot: dict[str, Any], deltas: list[dict[str, Any]]) -> Book:
    """Join a snapshot with deltas by the venue's rule, without mercy for gaps; gives last id, bids, asks."""
    joined_id, bids, asks = snapshot["lastUpdateId"], dict(snapshot["bids"]), dict(snapshot["asks"])
    last_id = None
    for delta in deltas:
        first, last, previous = delta["U"], delta["u"], delta.get("pu")
        if last <= joined_id if market == "spot" else last < joined_id:
            continue
        if market == "spot":
            assert first <= joined_id + 1 <= last if last_id is None else first == last_id + 1
        else:
            assert first <= joined_id <= last or previous == joined_id if last_id is None else previous == last_id
        last_id = last
        for side, changes in ((bids, delta["b"]), (asks, delta["a"])):
            side.update(changes)
            for price, size in changes:
                if float(size) == 0:
                    del side[price]
    return last_id or joined_id, bids, asks


def book_of(snapshot: dict[str, Any]) -> Book:
    return snapshot["lastUpdateId"], dict(snapshot["bids"]), dict(snapshot["asks"])


@dataclass
class Client:
    """One WebSocket that keeps all it gets."""

    socket: ClientConnection
    got: list[bytes] = field(default_factory=list)
    answers: int = 0
    """Messages that were taken one by one, and are not in `got`."""

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request on a quiet connection and give the answer."""
        await self.socket.send(json.dumps(request))
        answer: dict[str, Any] = json.loads(await self.socket.recv())
        self.answers += 1
        return answer

    async def collect(self) -> None:
        """Keep frames until the connection ends."""
        try:
            while True:
                self.got.append(await self.socket.recv(decode=False))
        except ConnectionClosed:
            return


@dataclass
class Market:
    """A venue and the way to it."""

    venue: Venue
    stack: AsyncExitStack
    http: httpx.AsyncClient
    collecting: list[asyncio.Task[None]] = field(default_factory=list)

    async def client(self, path: str, *, collects: bool = True) -> Client:
        """Connect below `/<venue>/`."""
        url = f"ws://127.0.0.1:{self.venue.port}/{self._base}/{path}"
        client = Client(await self.stack.enter_async_context(connect(url, max_queue=4, compression=None)))
        if collects:
            self.collect(client)
        return client

    def collect(self, client: Client) -> None:
        """Let a client keep what it gets from now on."""
        self.collecting.append(asyncio.create_task(client.collect()))

    async def get(self, path: str) -> httpx.Response:
        """Ask REST below `/<venue>`."""
        return await self.http.get(f"/{self._base}{path}")

    async def depth(self, market: str, symbol: str) -> dict[str, Any]:
        """Ask for a whole book."""
        response = await self.get(f"/{market}{DEPTH_PATHS[market]}?symbol={symbol}&limit=1000")
        body: dict[str, Any] = response.raise_for_status().json()
        return body

    async def status(self) -> dict[str, Any]:
        """Ask for the status."""
        status: dict[str, Any] = (await self.http.get("/control/status")).json()
        return status

    @property
    def _base(self) -> str:
        return self.venue.dialect.NAME.lower()

    until = staticmethod(until)
    rebuild = staticmethod(rebuilt)
    book_of = staticmethod(book_of)

    async def played(self, *clients: Client) -> None:
        """Wait until the market is done and clients have all of it."""
        await until(lambda: self.venue.state == "done")
        counts = self.venue.hub.counts
        sent = counts.frames.total() + counts.answers + counts.notices
        await until(lambda: sum(len(each.got) + each.answers for each in clients) >= sent)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[VenueOptions], Awaitable[Market]]]:
    """Start venues that end with the test."""
    async with AsyncExitStack() as stack:
        markets: list[Market] = []

        async def start(options: VenueOptions) -> Market:
            venue = await stack.enter_async_context(Venue(options))
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{venue.port}"))
            clients = await stack.enter_async_context(AsyncExitStack())
            markets.append(Market(venue, clients, http))
            return markets[-1]

        yield start
        for market in markets:
            await market.stack.aclose()
            await asyncio.gather(*market.collecting)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Poll a condition where no venue of this process is served."""
    return until
