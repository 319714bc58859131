"""The WebSocket library's connection, made to hand over whole messages as they are read, and to bound what waits."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import TooManyFragments, WebSocketException
from websockets.frames import DATA_OPCODES, CloseCode, Frame
from websockets.protocol import Event, State

from tickerplant.clock import now_us
from tickerplant.settings import Producer

Take = Callable[[int, bytes], None]
"""Takes a message: instant at which it was read from the socket, bytes."""
Hear = Callable[[bytes], None]
"""Is told a message that waits, as it is read: what the venue wants to be answered cannot wait."""

CLOSE_TIMEOUT_S: Final = 1.0
MOST_FRAGMENTS: Final = 4096
MESSAGE_BYTES: Final = 128  # what a message that waits costs besides its bytes
MOST_UNSENT_BYTES: Final = 1024 * 1024
RESUME: Final = 0.5  # reading goes on when this part of the bound waits
BURST: Final = 256  # messages handed over before other connections have their turn


class Transport(ClientConnection):
    """A connection that hands messages over from within the reading of the socket, each with the instant it was read.

    While it is held (at first, and when told so) messages wait; above a bound the socket is not read. Pings of the
    protocol are answered as they are read, and messages that wait are heard, so that those of the venue can be as well.
    """

    read_time_us = 0
    most_waiting_bytes = 0
    is_held = True
    is_paused = False  # the socket is not read
    _take: Take | None = None
    _take_heard: Take | None = None
    _hear: Hear | None = None
    _is_closing = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.broken: asyncio.Future[None] = self.loop.create_future()
        self._waiting: deque[tuple[int, bytes, bool]] = deque()  # instant, bytes, whether it was heard
        self._waiting_bytes = 0
        self._fragments: list[bytes] = []

    def take_by(self, take: Take, *, hear: Hear, take_heard: Take) -> None:
        """Say who takes messages, who hears those that wait, and who takes these then; an error ends up in `broken`."""
        self._take, self._hear, self._take_heard = take, hear, take_heard

    def hold(self) -> None:
        """Let messages wait from now on."""
        self.is_held = True

    def release(self) -> bool:
        """Hand over some of what waits; True = nothing waits any more, and messages flow again."""
        self.is_held = False
        for _ in range(BURST):
            if self.is_held:
                return False
            if not self._waiting:
                self._resume()
                return True
            self._hand_over_first()
        if self._waiting_bytes <= self.most_waiting_bytes * RESUME:
            self._resume()
        self.is_held = True
        return False

    def hand_over_rest(self, take: Take) -> None:
        """Hand over all that waits, and nothing that comes later."""
        self._take = self._hear = None
        for read_time_us, payload, _ in self._waiting:
            take(read_time_us, payload)
        self._waiting.clear()
        self.is_held = False
        self._resume()

    def data_received(self, data: bytes) -> None:
        """Stamp, then parse; a peer that does not finish the closing handshake is cut off."""
        self.read_time_us = now_us()
        super().data_received(data)
        if self.protocol.state is State.CLOSING and not self._is_closing:
            self._is_closing = True
            self.loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)
        if self.paused and self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self.set_connection_exc(WebSocketException("the venue sends pings and reads no pongs"))
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        """Hand over a message of one frame, or of several once they are all there."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        if event.fin and not self._fragments:
            payload = bytes(event.data)
        elif not event.fin:
            self._keep_fragment(event)
            return
        else:
            payload = b"".join((*self._fragments, event.data))
            self._fragments.clear()
        if self.is_held:
            self._keep(payload)
        elif self._take is not None:
            self._hand_over(self.read_time_us, payload)

    def _hand_over(self, read_time_us: int, payload: bytes) -> None:
        assert self._take is not None
        try:
            self._take(read_time_us, payload)
        except Exception as error:  # noqa: BLE001  # raised again where `broken` is awaited: here it would vanish in the event loop
            self._break(error)

    def _hand_over_first(self) -> None:
        read_time_us, payload, is_heard = self._waiting.popleft()
        self._waiting_bytes -= len(payload) + MESSAGE_BYTES
        if is_heard and self._take_heard is not None:
            self._take_heard(read_time_us, payload)
        else:
            self._hand_over(read_time_us, payload)

    def _keep(self, payload: bytes) -> None:
        self._waiting.append((self.read_time_us, payload, self._hear is not None))
        self._waiting_bytes += len(payload) + MESSAGE_BYTES
        is_full = self._waiting_bytes > self.most_waiting_bytes
        if is_full and not self.is_paused and not self.transport.is_closing():
            self.is_paused = True
            self.transport.pause_reading()
        if self._hear is not None:
            try:
                self._hear(payload)
            except Exception as error:  # noqa: BLE001  # as above
                self._break(error)

    def _break(self, error: Exception) -> None:
        self.hold()
        if not self.broken.done():
            self.broken.set_exception(error)

    def _resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _keep_fragment(self, event: Frame) -> None:
        """Keep a part of a message; the protocol bounds their size, but empty ones could come for ever."""
        self._fragments.append(bytes(event.data))
        if len(self._fragments) >= MOST_FRAGMENTS and self.protocol.state is State.OPEN:
            self.set_connection_exc(TooManyFragments(MOST_FRAGMENTS))
            self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            self.send_data()


class _Connect(connect):
    """Follows no redirect: where a venue lives is for the settings to say."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_transport(url: str, settings: Producer, headers: Mapping[str, str] | None = None) -> Transport:
    """Connect, within `open_timeout_s` for all of it; messages wait until they are released.

    Args:
        headers: of the opening handshake, besides those that it needs; None = none.

    Raises:
        OSError, TimeoutError, EOFError, WebSocketException: it cannot be done now.
    """
    transport = await _Connect(
        url,
        additional_headers=headers,
        compression=None,
        max_size=settings.max_frame_bytes,
        create_connection=Transport,
        open_timeout=settings.open_timeout_s,
        close_timeout=CLOSE_TIMEOUT_S,
        ping_interval=None,  # the link pings: it knows when pongs are not read
    )
    assert isinstance(transport, Transport)
    transport.most_waiting_bytes = settings.socket_bytes
    return transport


async def hang_up(transport: Transport) -> None:
    """Close in the order that the protocol wants, or abort where the peer takes no part in it."""
    try:
        await transport.close()
    except (OSError, WebSocketException):
        pass
    finally:
        transport.transport.abort()
