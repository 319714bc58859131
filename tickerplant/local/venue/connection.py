"""One WebSocket connection from handshake to close: requests answered, heartbeats and pings sent, silence ended."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import WSMsgType, web

from tickerplant.clock import NowUs
from tickerplant.local.venue.dialect import (
    Action,
    Close,
    Conversation,
    Endpoint,
    Now,
    Refused,
    Say,
    SendBook,
    Subscribe,
    Unsubscribe,
)
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.session import Session

WRITE_BUFFER_BYTES: Final = 256 * 1024
REQUEST_MOST_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Pings:
    """A ping each `every_s`; the pong must come within `pong_wait_s`."""

    every_s: float
    pong_wait_s: float


async def serve_connection(
    request: web.Request, conversation: Conversation, endpoint: Endpoint, *, hub: Hub, pings: Pings, now_us: NowUs
) -> web.StreamResponse:
    """Shake hands and serve until either side closes."""
    websocket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=REQUEST_MOST_BYTES)
    writer = await websocket.prepare(request)
    transport = request.transport
    if transport is None:
        return websocket
    transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
    session = Session(
        endpoint.name,
        endpoint.market,
        conversation,
        transport=transport,
        drain=writer.drain,
        counts=hub.counts,
        plan=hub.plan,
    )
    session.hang_up = websocket.close
    hub.join(session)
    connection = _Connection(websocket, session, hub=hub, pings=pings, now_us=now_us)
    keeping = [asyncio.create_task(connection.keep_pinging()), asyncio.create_task(connection.keep_ticking())]
    try:
        await connection.read()
    finally:
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
        hub.leave(session)
    return websocket


def refusal(refused: Refused) -> web.Response:
    """Make the answer to a handshake or request that is refused."""
    return web.Response(body=refused.body, status=refused.status, content_type=refused.kind)


class _Connection:
    """Reads requests, does what the conversation makes of them, and watches pongs."""

    def __init__(
        self, websocket: web.WebSocketResponse, session: Session, *, hub: Hub, pings: Pings, now_us: NowUs
    ) -> None:
        self._websocket = websocket
        self._session = session
        self._conversation = session.conversation
        self._hub = hub
        self._pings = pings
        self._now_us = now_us
        self._pong = asyncio.Event()
        self._begin_s = session.written_s = asyncio.get_running_loop().time()
        most = self._conversation.most_messages
        self._recent_s: deque[float] = deque(maxlen=most[0] + 1 if most else 1)

    async def read(self) -> None:
        """Answer until the connection ends."""
        await self._do(self._conversation.open(self._now()), is_asked=False)
        async for message in self._websocket:
            if self._is_too_fast():
                await self._do(self._conversation.too_many())
            elif message.type is WSMsgType.PING:
                await self._websocket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self._pong.set()
            elif message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                text = message.data.encode() if isinstance(message.data, str) else bytes(message.data)
                await self._do(self._conversation.receive(text, self._now()))
            if not self._session.is_open:
                return

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

    async def keep_ticking(self) -> None:
        """Let the conversation look at the time, for ever."""
        every_s = self._conversation.tick_s
        while every_s and self._session.is_open:
            await asyncio.sleep(every_s)
            await self._do(self._conversation.tick(self._now()), is_asked=False)

    async def _do(self, actions: Iterable[Action], *, is_asked: bool = True) -> None:
        session, hub = self._session, self._hub
        for action in actions:
            match action:
                case Say(payload, is_finished):
                    if not is_finished:
                        payload = self._conversation.finish(None, payload)
                    (session.answer if is_asked else session.notify)(payload)
                case Subscribe(stream, with_first):
                    hub.subscribe(session, stream, with_first=with_first)
                case Unsubscribe(stream):
                    hub.unsubscribe(session, stream)
                case SendBook(stream):
                    hub.send_first(session, stream)
                case Close(code, text):
                    await session.flush()
                    session.is_open = False
                    await self._websocket.close(code=code, message=text.encode())
                    return
        await session.flush()

    def _now(self) -> Now:
        now_s = asyncio.get_running_loop().time()
        return Now(self._now_us() // 1000, now_s - self._begin_s, now_s - self._session.written_s)

    def _is_too_fast(self) -> bool:
        """Tell whether one message more than allowed came within the time."""
        most = self._conversation.most_messages
        if most is None:
            return False
        now_s = asyncio.get_running_loop().time()
        self._recent_s.append(now_s)
        return len(self._recent_s) == self._recent_s.maxlen and now_s - self._recent_s[0] < most[1]
