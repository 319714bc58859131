"""One WebSocket connection: what it listens to, and the one place where its frames go out."""

import asyncio
from collections.abc import Awaitable, Callable

from tickerplant.local.venue.counts import Counts, TradeId
from tickerplant.local.venue.subscriptions import Subscriptions

TEXT_FRAME = 0x81  # final fragment, opcode 1
SHORT_BYTES = 126
MEDIUM_BYTES = 1 << 16
DATA_FIELD = b'"data":'


def frame_header(size_bytes: int) -> bytes:
    """Make the header of an unmasked text frame.

    Source: https://www.rfc-editor.org/rfc/rfc6455#section-5.2
    """
    if size_bytes < SHORT_BYTES:
        return bytes((TEXT_FRAME, size_bytes))
    if size_bytes < MEDIUM_BYTES:
        return bytes((TEXT_FRAME, 126)) + size_bytes.to_bytes(2, "big")
    return bytes((TEXT_FRAME, 127)) + size_bytes.to_bytes(8, "big")


HEADERS = [frame_header(size_bytes) for size_bytes in range(2048)]


class Session:
    """Gathers frames of a connection and writes them in one piece; counts what was written.

    Args:
        endpoint: `spot`, `coinm`, `usdm/public` or `usdm/market`.
        transport: of the socket; whole frames are written to it at once, so they never mix with pings.
        drain: waits until the socket takes more; raises ConnectionError when it is gone.
    """

    def __init__(
        self,
        endpoint: str,
        subscriptions: Subscriptions,
        *,
        transport: asyncio.Transport,
        drain: Callable[[], Awaitable[None]],
        counts: Counts,
    ) -> None:
        self.endpoint = endpoint
        self.market = endpoint.partition("/")[0]
        self.subscriptions = subscriptions
        self.is_open = True
        self.waiting_bytes = 0
        self._transport = transport
        self._drain = drain
        self._counts = counts
        self._frames: list[bytes] = []
        self._keys: list[str] = []
        self._trades: list[TradeId] = []

    def put(self, key: str, combined: bytes, trade: TradeId | None = None) -> None:
        """Add a market-data frame, given as on the combined stream, to what goes out with the next flush."""
        payload = combined if self.subscriptions.is_combined else bare(combined)
        self._keys.append(key)
        if trade is not None:
            self._trades.append(trade)
        self._add(payload)

    async def answer(self, payload: bytes) -> None:
        """Send the answer to a request, behind the frames that wait."""
        self._add(payload)
        self._counts.answers += 1
        await self.flush()

    async def flush(self) -> None:
        """Write what waits; returns when the socket takes more, so a slow reader slows its caller down."""
        if not self._frames or not self.is_open:
            return
        data = b"".join(self._frames)
        self._frames.clear()
        self.waiting_bytes = 0
        self._write(data)
        self._counts.frames.update(self._keys)
        self._counts.add_trades(self._trades)
        self._keys.clear()
        self._trades.clear()
        try:
            await self._drain()
        except ConnectionError:
            self.is_open = False

    def abort(self) -> None:
        """Break the connection off."""
        self.is_open = False
        self._transport.abort()

    def unwritten_bytes(self) -> int:
        """Tell how much the socket has not taken yet."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size() + self.waiting_bytes

    def _add(self, payload: bytes) -> None:
        size_bytes = len(payload)
        self._frames += (HEADERS[size_bytes] if size_bytes < len(HEADERS) else frame_header(size_bytes), payload)
        self.waiting_bytes += size_bytes

    def _write(self, data: bytes) -> None:
        """Hand bytes to the socket: everything but pings passes here."""
        if self._transport.is_closing():
            self.is_open = False
        else:
            self._transport.write(data)


def bare(combined: bytes) -> bytes:
    """Take the message of a single stream out of a combined one, byte for byte; a damaged one stays as it is.

    >>> bare(b'{"stream":"btcusdt@trade","data":{"e":"trade"}}')
    b'{"e":"trade"}'
    """
    at = combined.find(DATA_FIELD)
    return combined if at < 0 else combined[at + len(DATA_FIELD) : -1]
