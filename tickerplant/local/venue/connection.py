"""One WebSocket connection from handshake to close: requests answered, pings sent, silence ended."""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.session import Session
from tickerplant.local.venue.streams import is_stream
from tickerplant.local.venue.subscriptions import STREAMS_MOST, Subscriptions

MESSAGES_PER_S: Final = {"spot": 5, "usdm": 10, "coinm": 10}
WRITE_BUFFER_BYTES: Final = 256 * 1024
REQUEST_MOST_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Pings:
    """A ping each `every_s`; the pong must come within `pong_wait_s`."""

    every_s: float
    pong_wait_s: float


async def serve_connection(request: web.Request, hub: Hub, endpoint: str, pings: Pings) -> web.StreamResponse:
    """Shake hands and serve until either side closes."""
    subscriptions = _subscriptions(request)
    if subscriptions is None:
        raise web.HTTPBadRequest(text="invalid stream")
    websocket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=REQUEST_MOST_BYTES)
    writer = await websocket.prepare(request)
    transport = request.transport
    if transport is None:
        return websocket
    transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
    session = Session(
        endpoint, subscriptions, transport=transport, drain=writer.drain, counts=hub.counts, plan=hub.plan
    )
    session.hang_up = websocket.close
    hub.join(session)
    connection = _Connection(websocket, session, hub, pings)
    pinging = asyncio.create_task(connection.keep_pinging())
    try:
        await connection.read()
    finally:
        pinging.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pinging
        hub.leave(session)
    return websocket


def _subscriptions(request: web.Request) -> Subscriptions | None:
    """Read what the URL asks for; None = a name that is no stream, or too many."""
    is_combined = "streams" not in request.match_info
    text = request.query.get("streams", "") if is_combined else request.match_info["streams"]
    names = [name for name in text.split("/") if name]
    if len(names) > STREAMS_MOST or not all(map(is_stream, names)):
        return None
    return Subscriptions(names, is_combined=is_combined)


class _Connection:
    """Reads requests and watches pongs."""

    def __init__(self, websocket: web.WebSocketResponse, session: Session, hub: Hub, pings: Pings) -> None:
        self._websocket = websocket
        self._session = session
        self._hub = hub
        self._pings = pings
        self._pong = asyncio.Event()
        self._recent_s: deque[float] = deque(maxlen=MESSAGES_PER_S[session.market] + 1)

    async def read(self) -> None:
        """Answer until the connection ends; too many messages per second end it, as at the venue."""
        async for message in self._websocket:
            if self._is_too_fast():
                await self._websocket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests")
                return
            if message.type is WSMsgType.PING:
                await self._websocket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self._pong.set()
            elif message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                await self._answer(message.data)

    async def keep_pinging(self) -> None:
        """Ping for ever; a pong that does not come ends the connection at once."""
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(self._pings.every_s)
                self._pong.clear()
                await self._websocket.ping()
                try:
                    await asyncio.wait_for(self._pong.wait(), self._pings.pong_wait_s)
                except TimeoutError:
                    self._session.abort()
                    return

    async def _answer(self, text: str | bytes) -> None:
        answer = self._session.subscriptions.answer(text)
        self._hub.join(self._session)
        await self._session.answer(answer)

    def _is_too_fast(self) -> bool:
        """Tell whether one message more than allowed came within a second."""
        now_s = asyncio.get_running_loop().time()
        self._recent_s.append(now_s)
        return len(self._recent_s) == self._recent_s.maxlen and now_s - self._recent_s[0] < 1.0
