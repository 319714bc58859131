"""The simulated venue: one port for WebSockets, REST and the control of the demo.

GET  /control/status   state, subscriptions, counts, position
POST /control/start    let it begin (it waits for that unless told otherwise)
POST /control/stop     let it end; `done` when everything is written
GET  /control/trades   ids of trades that were written as they were made: `market/SYMBOL` → [[first, last], name, ...]
GET  /control/streams  all streams that were ever listened to, by `market/stream`
GET  /control/books    books of those of them that are books, as they stand: bids and asks in the venue's unit
POST /control/faults   begin a fault, see `faults.py`; GET lists them all; DELETE ends all, or one as /control/faults/ID
"""

import asyncio
import re
import signal
from enum import StrEnum
from typing import Any, Self

import msgspec
from aiohttp import web
from msgspec import to_builtins

from tickerplant.errors import UserError
from tickerplant.local.venue.connection import Pings, refusal, serve_connection
from tickerplant.local.venue.dialect import Endpoint, Handshake, Refused
from tickerplant.local.venue.dialects import find_dialect
from tickerplant.local.venue.fault_plan import FaultPlan
from tickerplant.local.venue.feed import Feed
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.injector import Injector
from tickerplant.local.venue.options import RecordingOptions, VenueOptions
from tickerplant.local.venue.parsed_playback import ParsedPlayback
from tickerplant.local.venue.playback import Playback
from tickerplant.local.venue.rest import Handler, rest_handler
from tickerplant.local.venue.synthetic import SyntheticMarket
from tickerplant.logs import logger

SHUTDOWN_WAIT_S = 2.0
BY_NAME = "BINANCE"  # its messages tell the names of their streams
PATTERN = re.compile(r":[^{}]+}")


class State(StrEnum):
    """How far a venue is."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"


class Venue:
    """A simulated venue; use as an async context manager, or `run_venue` for a process of its own.

    Raises:
        UserError: the recording cannot be served, or the port is in use (on entering).
    """

    def __init__(self, options: VenueOptions) -> None:
        self._options = options
        self.dialect = find_dialect(options.venue)
        plan = FaultPlan(options.fault_seed, self.dialect.CHECKSUM)
        self.hub = Hub(plan)
        self.faults = Injector(plan, self.hub, now_us=options.now_us)
        self.feed: Feed = self._make_feed()
        self.state = State.WAITING
        self.port = options.port
        self._start = asyncio.Event()
        self._stop = False
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=SHUTDOWN_WAIT_S)
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._options.host, self._options.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise UserError(f"cannot listen on port {self._options.port}: {error.strerror}; choose another") from None
        self.port = self._runner.addresses[0][1]
        self._serving = asyncio.create_task(self._serve())
        if self._options.autostart:
            self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        await self.faults.close()
        for session in tuple(self.hub.sessions):
            session.abort()
        await self._runner.cleanup()

    def start(self) -> None:
        """Let it begin; again = no change."""
        self._start.set()

    def stop(self) -> None:
        """Let it end; what was made is still written."""
        self._stop = True
        self._start.set()

    def status(self) -> dict[str, Any]:
        """Tell state, subscriptions (`market/stream`), counts and position."""
        return {
            "state": self.state,
            "subscribed": self.hub.subscribed(),
            "connections": len(self.hub.sessions),
            "position": self.feed.position(),
            **self.hub.counts.as_json(),
        }

    async def served(self) -> None:
        """Wait until the market is done; raises what ended it before."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def _serve(self) -> None:
        await self._start.wait()
        self.state = State.RUNNING
        for fault in self._options.faults:
            self.faults.start(fault)
        logger().info("market begins")
        await self.feed.run(lambda: self._stop)
        self.state = State.STOPPING
        await self.hub.drained()
        self.state = State.DONE
        logger().info("market ended", frames_served=self.hub.counts.frames.total())

    def _make_feed(self) -> Feed:
        source = self._options.source
        if isinstance(source, RecordingOptions):
            by_name = self.dialect.NAME == BY_NAME
            return Playback(source, self.hub) if by_name else ParsedPlayback(source, self.dialect, self.hub)
        made = [name for name, terms in self.dialect.MARKETS.items() if terms.share]
        for market in source.markets:
            if market not in made:
                raise UserError(f"no market {market} of {self.dialect.NAME} is made: choose of {', '.join(made)}")
        return SyntheticMarket(source, self.dialect, self.hub, self.faults.now_us)

    def _app(self) -> web.Application:
        base = f"/{self.dialect.NAME.lower()}"
        sockets = {f"{base}/{each.market}{path}": each for each in self.dialect.ENDPOINTS for path in each.paths}
        names = {_canonical(path): endpoint.name for path, endpoint in sockets.items()}
        app = web.Application(middlewares=[self.faults.meet_request(names)])
        app.add_routes([web.get("/control/status", self._status), web.get("/control/trades", self._trades)])
        app.add_routes([web.get("/control/streams", self._streams), web.get("/control/books", self._books)])
        app.add_routes(self.faults.routes())
        app.add_routes([web.post("/control/start", self._on_start), web.post("/control/stop", self._on_stop)])
        app.add_routes([web.get(path, self._socket(endpoint)) for path, endpoint in sockets.items()])
        for market in self.dialect.MARKETS:
            for route in self.dialect.routes(market):
                handler = rest_handler(route, market, feed=self.feed, counts=self.hub.counts, now_us=self.faults.now_us)
                app.add_routes([web.route(route.method, f"{base}/{market}{route.path}", handler)])
        return app

    def _socket(self, endpoint: Endpoint) -> Handler:
        pings = Pings(self._options.ping_s, self._options.pong_wait_s)

        async def handle(request: web.Request) -> web.StreamResponse:
            handshake = Handshake(endpoint=endpoint, path=request.match_info, query=request.query, market=self.feed)
            try:
                conversation = self.dialect.converse(handshake)
            except Refused as refused:
                return refusal(refused)
            return await serve_connection(
                request, conversation, endpoint, hub=self.hub, pings=pings, now_us=self.faults.now_us
            )

        return handle

    async def _status(self, _request: web.Request) -> web.Response:
        return _json(self.status())

    async def _trades(self, _request: web.Request) -> web.Response:
        return _json(self.hub.counts.trades_as_json())

    async def _streams(self, _request: web.Request) -> web.Response:
        return _json({key: to_builtins(stream) for key, stream in self.hub.counts.streams.items()})

    async def _books(self, _request: web.Request) -> web.Response:
        found = {}
        for key, stream in self.hub.counts.streams.items():
            if stream.kind in {"depth", "book"}:
                book = self.feed.book(stream.market, stream.symbol, stream.levels)
                found[key] = None if book is None else {"bids": book.bids, "asks": book.asks}
        return _json(found)

    async def _on_start(self, request: web.Request) -> web.Response:
        self.start()
        return await self._status(request)

    async def _on_stop(self, request: web.Request) -> web.Response:
        self.stop()
        return await self._status(request)


def _canonical(path: str) -> str:
    """Write a route as aiohttp names it.

    >>> _canonical("/ws/{streams:.+}")
    '/ws/{streams}'
    """
    return PATTERN.sub("}", path)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


async def run_venue(options: VenueOptions) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        UserError: the recording cannot be served, or the port is in use.
    """
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, ended.set)
    async with Venue(options) as venue:
        logger().info("venue listens", port=venue.port)
        ending, serving = asyncio.create_task(ended.wait()), asyncio.create_task(venue.served())
        await asyncio.wait({ending, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()  # a failure ends the process
        await ending
        serving.cancel()
