"""One WebSocket connection: what it listens to, and the one place where its frames go out."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tickerplant.local.venue.counts import Counts, TradeId
from tickerplant.local.venue.fault_plan import FaultPlan
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
SLOW_POLL_S = 0.05
TORN_FRAME = frame_header(120) + b'{"stream":"'


@dataclass(slots=True)
class _Held:
    """A frame that goes out behind some more of its stream."""

    payload: bytes
    trade: TradeId | None
    behind: int


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
        plan: FaultPlan,
    ) -> None:
        self.endpoint = endpoint
        self.market = endpoint.partition("/")[0]
        self.subscriptions = subscriptions
        self.is_open = True
        self.waiting_bytes = 0
        self.hang_up: Callable[..., Awaitable[object]] | None = None  # closes with a code; None = cannot be closed
        self._transport = transport
        self._drain = drain
        self._counts = counts
        self._plan = plan
        self._frame_faults = plan.frame_faults
        self._held: dict[str, list[_Held]] = {}
        self._free_at_s = 0.0  # loop time at which a slowed socket takes the next frame
        self._frames: list[bytes] = []
        self._damaged = 0
        self._keys: list[str] = []
        self._trades: list[TradeId] = []

    def put(self, key: str, combined: bytes, trade: TradeId | None = None) -> None:
        """Add a market-data frame, given as on the combined stream, to what goes out with the next flush."""
        payload = combined if self.subscriptions.is_combined else bare(combined)
        if self._frame_faults:
            self._put_through_faults(key, payload, trade)
            return
        self._keys.append(key)  # as `_take`, a call less for each frame
        if trade is not None:
            self._trades.append(trade)
        self._add(payload)

    async def answer(self, payload: bytes) -> None:
        """Send the answer to a request, behind the frames that wait."""
        if self._plan.keeps_quiet(self.market):
            return
        self._add(payload)
        self._counts.answers += 1
        await self.flush()

    async def notify(self, payload: bytes) -> None:
        """Send what nobody asked for and is no market data, behind the frames that wait."""
        self._add(payload)
        self._counts.notices += 1
        await self.flush()

    def release(self) -> None:
        """Let frames that were held back go out with the next flush."""
        for key, held in self._held.items():
            for each in held:
                self._take(key, each.payload, each.trade)
        self._held.clear()

    async def flush(self) -> None:
        """Write what waits; returns when the socket takes more, so a slow reader slows its caller down."""
        if not self._frames or not self.is_open:
            return
        if self._plan.is_slow:
            await self._wait_for_room()
        data = b"".join(self._frames)
        self._frames.clear()
        self.waiting_bytes = 0
        if self._write(data):
            self._counts.frames.update(self._keys)
            self._counts.add_trades(self._trades)
            self._counts.damaged += self._damaged
        self._keys.clear()
        self._trades.clear()
        self._damaged = 0
        try:
            await self._drain()
        except ConnectionError:
            self.is_open = False

    def abort(self) -> None:
        """Break the connection off."""
        self.is_open = False
        self._transport.abort()

    async def close(self, code: int) -> None:
        """Say good-bye, behind all that was written."""
        await self.flush()
        self.is_open = False
        if self.hang_up is not None:
            await self.hang_up(code=code)

    def tear(self) -> None:
        """End the connection in the middle of a frame, behind all that was written."""
        self._write(TORN_FRAME)
        self.is_open = False
        self._transport.close()

    def unwritten_bytes(self) -> int:
        """Tell how much the socket has not taken yet."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size() + self.waiting_bytes

    def _add(self, payload: bytes) -> None:
        size_bytes = len(payload)
        self._frames += (HEADERS[size_bytes] if size_bytes < len(HEADERS) else frame_header(size_bytes), payload)
        self.waiting_bytes += size_bytes

    def _take(self, key: str, payload: bytes, trade: TradeId | None) -> None:
        self._keys.append(key)
        if trade is not None:
            self._trades.append(trade)
        self._add(payload)

    def _put_through_faults(self, key: str, payload: bytes, trade: TradeId | None) -> None:
        verdict = self._plan.judge(key, payload)
        if verdict.behind:
            self._held.setdefault(key, []).append(_Held(payload, trade, verdict.behind))
            return
        for _ in range(verdict.copies):
            self._take(key, verdict.payload, trade if verdict.is_intact else None)
            self._damaged += not verdict.is_intact
        if verdict.copies:
            self._let_pass(key)

    def _let_pass(self, key: str) -> None:
        """Note that a frame of a stream went, and let those go that were held back for it."""
        held = self._held.pop(key, [])
        for each in held:
            each.behind -= 1
        for each in held:
            if each.behind <= 0:
                self._take(key, each.payload, each.trade)
        if waiting := [each for each in held if each.behind > 0]:
            self._held[key] = waiting

    async def _wait_for_room(self) -> None:
        """Wait until a slowed socket has had the time for what was written before."""
        now_s = asyncio.get_running_loop().time
        while (bytes_per_s := self._plan.bytes_per_s(self.endpoint)) and self._free_at_s > now_s() and self.is_open:  # noqa: ASYNC110  # the fault may end
            await asyncio.sleep(min(SLOW_POLL_S, self._free_at_s - now_s()))
        if bytes_per_s:
            self._free_at_s = max(now_s(), self._free_at_s) + self.waiting_bytes / bytes_per_s

    def _write(self, data: bytes) -> bool:
        """Hand bytes to the socket: everything but pings passes here; False = it is gone."""
        if self._transport.is_closing():
            self.is_open = False
            return False
        self._transport.write(data)
        return True


def bare(combined: bytes) -> bytes:
    """Take the message of a single stream out of a combined one, byte for byte; a damaged one stays as it is.

    >>> bare(b'{"stream":"btcusdt@trade","data":{"e":"trade"}}')
    b'{"e":"trade"}'
    """
    at = combined.find(DATA_FIELD)
    return combined if at < 0 else combined[at + len(DATA_FIELD) : -1]
