"""One connection to a venue, kept open: subscribe, receive, stamp, watch, connect again.

ConnectionFailureError   we end a connection that is open but of no use (refused, unanswered)
└── StaleError           a channel of it is silent
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog.stdlib
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI, WebSocketException

from producers.connection import Backoff, Lifecycle
from producers.intake import Intake
from producers.packer import Lane
from producers.plan import ConnectionPlan, Stream
from producers.staleness import Staleness
from producers.wire import Wire
from schemas.quality import stale_reason
from tickerplant import metrics
from tickerplant.clock import NowUs, now_us
from tickerplant.logs import logger
from tickerplant.settings import Producer

LIBRARY_QUEUE_FRAMES: Final = 1024  # parsed by the library and not yet taken by us, before it stops reading the socket
OPEN_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 1.0
ANSWER_TIMEOUT_S: Final = 10.0
PING_INTERVAL_S: Final = 20.0
PING_TIMEOUT_S: Final = 60.0
WATCH_S: Final = 0.5


class ConnectionFailureError(Exception):
    """A connection that is open but of no use."""

    def __init__(self, error_type: str, detail: str) -> None:
        self.error_type = error_type
        self.detail = detail
        super().__init__(error_type, detail)

    def __str__(self) -> str:
        return f"{self.error_type}: {self.detail}"


class StaleError(ConnectionFailureError):
    """A channel was silent for too long."""

    def __init__(self, channel: str) -> None:
        super().__init__("stale", channel)

    def __str__(self) -> str:
        return stale_reason(self.detail)


class ReplaceError(Exception):
    """A sound connection that shall be opened anew: its life is over, or the venue announced its end."""


FAILURES: Final = (OSError, TimeoutError, EOFError, WebSocketException, ConnectionFailureError)
"""What ends a connection and is met with another one; anything else is a mistake of ours and ends the process."""


def error_type(error: BaseException) -> str:
    """Name a failure for `connector_errors_total`.

    >>> error_type(ConnectionRefusedError())
    'connect'
    """
    if isinstance(error, ConnectionFailureError):
        return error.error_type
    if isinstance(error, ConnectionClosed):
        return "closed"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, (InvalidHandshake, InvalidURI, EOFError)):
        return "handshake"
    return "connect" if isinstance(error, OSError) else "protocol"


class StampedConnection(ClientConnection):
    """Remembers when bytes were last read from the socket, which is when the frames that wait were."""

    read_time_us = 0

    def data_received(self, data: bytes) -> None:
        """Stamp, then parse."""
        self.read_time_us = now_us()
        super().data_received(data)


@dataclass(frozen=True, kw_only=True)
class FeedOptions:
    """What feeds of one market share.

    Args:
        start: names this run of the process, so that names of connections are unique over restarts.
        on_subscribed: told the streams whose subscription was answered, each time.
    """

    wire: Wire
    settings: Producer
    start: str
    on_subscribed: Callable[[Iterable[Stream]], None]
    now_us: NowUs = now_us
    chance: Callable[[], float] = random.random


class Feed:
    """Keeps one planned connection open and takes its frames into the intake.

    Args:
        name: unique within the process, e.g. `spot-p2-0`.
    """

    def __init__(self, name: str, plan: ConnectionPlan, intake: Intake, options: FeedOptions) -> None:
        self.name = name
        self.plan = plan
        settings = options.settings
        self.life = Lifecycle(Backoff(settings.backoff_first_s, settings.backoff_most_s))
        self._intake = intake
        self._options = options
        self._wire = options.wire
        self._limits = options.wire.LIMITS[plan.market]
        self._kinds = {each.name.encode(): each.kind for each in plan.streams}
        watched = dict.fromkeys(kind for kind in self._kinds.values() if kind not in self._wire.QUIET_CHANNELS)
        self._staleness = Staleness(watched, settings.stale_after_s)
        self._heard: set[str] = set()
        self._unanswered: dict[int, tuple[Stream, ...]] = {}
        self._asked_time_us = 0
        self._log: structlog.stdlib.BoundLogger = logger().bind(venue=plan.venue, connection=name)

    async def run(self) -> None:
        """Stay connected until cancelled; then what was read is taken in, and DISCONNECT written."""
        try:
            while True:
                await self._intake.gate.passed()
                wait_s = await self._live_once()
                await asyncio.sleep(wait_s)
        finally:
            self.life.closed()

    async def _live_once(self) -> float:
        """Connect, and stay so for as long as it lasts; returns seconds to wait before the next time."""
        try:
            self.life.connecting()
            await self._open()
        except ReplaceError as reason:
            self._log.info("replacing", reason=str(reason))
            self.life.replaced()
            return 0.0
        except FAILURES as error:
            wait_s = self.life.lost(self._options.now_us(), self._options.chance())
            metrics.CONNECTOR_ERRORS.labels(self.plan.venue, error_type(error)).inc()
            self._log.warning("lost", reason=_reason(error), wait_s=round(wait_s, 1))
            return wait_s
        return 0.0

    async def _open(self) -> None:
        connection = await connect(
            self.plan.url,
            compression=None,
            max_size=self._options.settings.max_frame_bytes,
            max_queue=LIBRARY_QUEUE_FRAMES,
            create_connection=StampedConnection,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
        )
        assert isinstance(connection, StampedConnection)
        lane = self._connected()
        reason = "closed by us"
        try:
            await self._serve(connection, lane)
        except (*FAILURES, ReplaceError) as error:
            reason = _reason(error)
            raise
        except asyncio.CancelledError:
            reason = "stopped"
            raise
        finally:
            await self._take_rest(connection, lane)
            lane.add("DISCONNECT", self._options.now_us(), reason.encode())
            await _hang_up(connection)

    def _connected(self) -> Lane:
        now = self._options.now_us()
        self.life.connected(now)
        if self.life.opened > 1:
            metrics.RECONNECTS.labels(self.plan.venue).inc()
        name = f"{self.name}-{self._options.start}-{self.life.opened}"
        lane = self._intake.lane(self.plan.market, name, self.plan.partition)
        lane.add("CONNECT", now, request=self.plan.url)
        self._log.info("connected", streams=len(self.plan.streams), opened=self.life.opened)
        self._staleness.restart(now)
        self._heard.clear()
        self._unanswered.clear()
        return lane

    async def _serve(self, connection: StampedConnection, lane: Lane) -> None:
        """Run until one of the parts fails: each ends by an error only, subscribing aside."""
        parts = [
            asyncio.create_task(part)
            for part in (self._receive(connection, lane), self._subscribe(connection, lane), self._watch())
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_EXCEPTION)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _subscribe(self, connection: StampedConnection, lane: Lane) -> None:
        size = self._limits.streams_per_request
        for number, at in enumerate(range(0, len(self.plan.streams), size), 1):
            streams = self.plan.streams[at : at + size]
            request = self._wire.subscribe(number, [each.name for each in streams])
            self._unanswered[number] = streams
            self._asked_time_us = self._options.now_us()
            lane.add("SENT", self._asked_time_us, request)
            await connection.send(request, text=True)
            await asyncio.sleep(1 / self._limits.messages_per_s)

    async def _receive(self, connection: StampedConnection, lane: Lane) -> None:
        """Take frames in; while too many wait for Kafka nothing is taken, so the library stops reading the socket."""
        gate, kinds, heard = self._intake.gate, self._kinds, self._heard
        receive, add, stream_of = connection.recv, lane.add, self._wire.stream_of
        while True:
            payload = await receive(decode=False)
            add("MESSAGE", connection.read_time_us, payload)
            kind = kinds.get(stream_of(payload))
            if kind is None:
                self._answered(payload)
            else:
                heard.add(kind)
            if not gate.is_open:
                await gate.passed()
                self._staleness.restart(self._options.now_us())

    def _answered(self, payload: bytes) -> None:
        answer = self._wire.answer(payload)
        if answer is None:
            return
        if answer.is_shutdown:
            raise ReplaceError("the venue shuts this connection down")
        if answer.refusal:
            raise ConnectionFailureError("subscription_refused", answer.refusal)
        streams = self._unanswered.pop(answer.id, None) if answer.id is not None else None
        if streams:
            self._options.on_subscribed(streams)

    async def _watch(self) -> None:
        """Look for silence, missing answers and old age, now and then."""
        life_s = self._limits.life_s * (1.0 - 0.05 * self._options.chance())  # connections shall not all go at once
        end_time_us = self._options.now_us() + int(life_s * 1e6)
        while True:
            await asyncio.sleep(min(WATCH_S, self._options.settings.stale_after_s / 4))
            now = self._options.now_us()
            if now >= end_time_us:
                raise ReplaceError("end of life")
            if self._intake.gate.is_open:
                self._check_silence(now)

    def _check_silence(self, now: int) -> None:
        if self._unanswered and now - self._asked_time_us > ANSWER_TIMEOUT_S * 1e6:
            raise ConnectionFailureError("subscription_unanswered", f"for {ANSWER_TIMEOUT_S:.0f} s")
        self._staleness.heard((kind for kind in self._heard if kind not in self._wire.QUIET_CHANNELS), now)
        self._heard.clear()
        silent = self._staleness.silent(now)
        if silent is not None:
            raise StaleError(silent)

    async def _take_rest(self, connection: StampedConnection, lane: Lane) -> None:
        """Take in what the library has read and we have not."""
        try:
            async with asyncio.timeout(0):
                while True:
                    lane.add("MESSAGE", connection.read_time_us, await connection.recv(decode=False))
        except (TimeoutError, WebSocketException):
            return


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, StaleError) else f"{type(error).__name__}: {error}"


async def _hang_up(connection: ClientConnection) -> None:
    try:
        await connection.close()
    except (OSError, WebSocketException):
        connection.transport.abort()
