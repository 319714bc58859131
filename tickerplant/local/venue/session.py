"""One WebSocket connection: what it listens to, and the one place where its frames go out."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tickerplant.local.venue.counts import Counts, TradeIds, TradeNames
from tickerplant.local.venue.dialect import NO_ID, Conversation, Frame, Stream
from tickerplant.local.venue.fault_plan import FaultPlan

TEXT_FRAME = 0x81  # final fragment, opcode 1
BINARY_FRAME = 0x82
SHORT_BYTES = 126
MEDIUM_BYTES = 1 << 16


def frame_header(size_bytes: int, kind: int = TEXT_FRAME) -> bytes:
    """Make the header of an unmasked frame.

    Source: https://www.rfc-editor.org/rfc/rfc6455#section-5.2
    """
    if size_bytes < SHORT_BYTES:
        return bytes((kind, size_bytes))
    if size_bytes < MEDIUM_BYTES:
        return bytes((kind, 126)) + size_bytes.to_bytes(2, "big")
    return bytes((kind, 127)) + size_bytes.to_bytes(8, "big")


HEADERS = [frame_header(size_bytes) for size_bytes in range(2048)]
SLOW_POLL_S = 0.05
TORN_FRAME = frame_header(120) + b'{"stream":"'


@dataclass(slots=True)
class _Held:
    """A frame that goes out behind some more of its stream."""

    stream: Stream
    frame: Frame
    behind: int


class Session:
    """Gathers frames of a connection and writes them in one piece; counts what was written.

    Args:
        endpoint, market: name of the address it came to, e.g. `usdm/public`, and the market behind it.
        transport: of the socket; whole frames are written to it at once, so they never mix with pings.
        drain: waits until the socket takes more; raises ConnectionError when it is gone.
    """

    def __init__(
        self,
        endpoint: str,
        market: str,
        conversation: Conversation,
        *,
        transport: asyncio.Transport,
        drain: Callable[[], Awaitable[None]],
        counts: Counts,
        plan: FaultPlan,
    ) -> None:
        self.endpoint = endpoint
        self.market = market
        self.conversation = conversation
        self.streams: dict[str, Stream] = {}  # that it listens to, by key; the hub's to change
        self.written_s = 0.0  # loop time at which something was written last
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
        self._silent = 0
        self._keys: list[str] = []
        self._trades: list[TradeIds] = []
        self._names: list[TradeNames] = []
        self._encode = type(conversation).encode

    def put(self, stream: Stream, frame: Frame) -> None:
        """Add a frame of a stream to what goes out with the next flush."""
        if self.conversation.does_finish:
            frame = frame._replace(payload=self.conversation.finish(stream, frame.payload))
        if self._frame_faults:
            self._put_through_faults(stream, frame)
        else:
            self._take(stream, frame)

    def replay(self, stream: Stream, frame: Frame) -> None:
        """Add a recorded frame to what goes out with the next flush."""
        frame = frame._replace(payload=self.conversation.replay(frame.payload), is_encoded=True)
        if self._frame_faults:
            self._put_through_faults(stream, frame)
        else:
            self._take(stream, frame)

    def answer(self, payload: bytes) -> None:
        """Add the answer to a request to what goes out with the next flush."""
        if not self._plan.keeps_quiet(self.market):
            self._add(payload)
            self._counts.answers += 1

    def notify(self, payload: bytes) -> None:
        """Add what nobody asked for and is no market data to what goes out with the next flush."""
        if not self._plan.keeps_quiet(self.market):
            self._add(payload)
            self._counts.notices += 1

    def release(self) -> None:
        """Let frames that were held back go out with the next flush."""
        for held in self._held.values():
            for each in held:
                self._take(each.stream, each.frame)
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
            self._counts.add_names(self._names)
            self._counts.damaged += self._damaged
            self._counts.silent += self._silent
        self._keys.clear()
        self._trades.clear()
        self._names.clear()
        self._damaged = self._silent = 0
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

    def _add(self, payload: bytes, *, is_encoded: bool = False) -> None:
        if self._encode is not None:
            payload = payload if is_encoded else self._encode(payload)
            self._frames += (frame_header(len(payload), BINARY_FRAME), payload)
            self.waiting_bytes += len(payload)
            return
        size_bytes = len(payload)
        self._frames += (HEADERS[size_bytes] if size_bytes < len(HEADERS) else frame_header(size_bytes), payload)
        self.waiting_bytes += size_bytes

    def _take(self, stream: Stream, frame: Frame) -> None:
        """Add a frame that is as it was made."""
        self._keys.append(stream.key)
        self._silent += frame.is_silent
        if stream.kind == "trade" and frame.first_id != NO_ID:
            self._trades.append((stream.market, stream.symbol, frame.first_id, frame.last_id))
        if frame.names:
            self._names.append((stream.market, stream.symbol, frame.names))
        self._add(frame.payload, is_encoded=frame.is_encoded)

    def _put_through_faults(self, stream: Stream, frame: Frame) -> None:
        verdict = self._plan.judge(stream.key, frame)
        if verdict.behind:
            self._held.setdefault(stream.key, []).append(_Held(stream, frame, verdict.behind))
            return
        taken = frame._replace(payload=verdict.payload)
        if not verdict.is_intact:  # its ids count for nothing
            taken = Frame(verdict.payload, is_encoded=frame.is_encoded)
        for _ in range(verdict.copies):
            self._take(stream, taken)
            self._damaged += not verdict.is_intact
        if verdict.copies:
            self._let_pass(stream.key)

    def _let_pass(self, key: str) -> None:
        """Note that a frame of a stream went, and let those go that were held back for it."""
        held = self._held.pop(key, [])
        for each in held:
            each.behind -= 1
        for each in held:
            if each.behind <= 0:
                self._take(each.stream, each.frame)
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
        self.written_s = asyncio.get_running_loop().time()
        return True
