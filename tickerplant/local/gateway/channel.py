"""One socket as bytes that wait to be read: bounded on both sides, and watchable while a query runs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from tickerplant.local.gateway.wire import Buffer, Reader, T

PACKET_LIMIT_BYTES = 256 * 1024 * 1024
_UNREAD_LIMIT_BYTES = 4 * 1024 * 1024


class Channel(asyncio.Protocol):
    """A connected client; `serve` runs for as long as it is connected."""

    def __init__(self, serve: Callable[["Channel"], Awaitable[None]]) -> None:
        self.buffer = Buffer(PACKET_LIMIT_BYTES)
        self.closed = False
        self._serve = serve
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class stands beside asyncio's
        self.task = asyncio.ensure_future(self._serve(self))

    def data_received(self, data: bytes) -> None:
        """Keep what arrives, and stop reading the socket while nobody wants it."""
        self.buffer.feed(data)
        if len(self.buffer) > _UNREAD_LIMIT_BYTES:
            self._transport.pause_reading()
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """Wake whoever waits."""
        self.closed = True
        self._arrived.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Make `send` wait: the client reads slower than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `send` go on."""
        self._writable.set()

    async def pull(self, reader: Reader[T]) -> T:
        """Read a value, waiting for its bytes.

        Raises:
            ConnectionError: the client has gone.
            ProtocolError: the bytes make no sense.
        """
        while True:
            try:
                next(reader)
            except StopIteration as done:
                self.buffer.forget()
                value: T = done.value
                return value
            await self._more()

    async def _more(self) -> None:
        if self.closed:
            raise ConnectionResetError("the client has gone")
        self._arrived.clear()
        self._transport.resume_reading()
        await self._arrived.wait()

    async def changed(self) -> None:
        """Wait until more bytes arrive or the client goes."""
        self._arrived.clear()
        if not self.closed:
            await self._arrived.wait()

    async def send(self, data: bytes) -> None:
        """Write, waiting while the client reads slower.

        Raises:
            ConnectionError: the client has gone.
        """
        await self._writable.wait()
        if self.closed:
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)

    async def send_all(self, parts: Sequence[bytes]) -> None:
        """Write several, without joining them; otherwise as `send`."""
        await self._writable.wait()
        if self.closed:
            raise ConnectionResetError("the client has gone")
        self._transport.writelines(parts)

    def close(self) -> None:
        """Close the socket once all is written."""
        self._transport.close()

    def abort(self) -> None:
        """Close the socket now: the client may never read what is still to be written."""
        self._transport.abort()
