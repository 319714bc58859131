"""One venue's frames → records → an outlet, with back pressure: lanes for connections, one packer a partition."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from producers.packer import Lane, Packer, next_close_time_us
from schemas.records import RawFrames, Source
from tickerplant import metrics
from tickerplant.clock import NowUs
from tickerplant.settings import Producer

STAGE: Final = "produce"
WAITING_BYTES_MOST: Final = 32 * 1024 * 1024
REOPEN: Final = 0.5  # reading goes on when this part of the bound waits


class Outlet(Protocol):
    """Where raw records go."""

    def send(self, partition: int, record: RawFrames, on_delivered: Callable[[], None]) -> None:
        """Queue a record; records of a partition are delivered in order.

        Args:
            on_delivered: called once the record is safe, from `poll` or a later call of `send`.
        """

    def poll(self) -> None:
        """Serve what was delivered; does not block.

        Raises:
            DeliveryError: a record could not be delivered.
        """


class Gate:
    """Open while less than a bound waits for delivery; closed gates stop the reading of sockets."""

    def __init__(self, most_frames: int, most_bytes: int = WAITING_BYTES_MOST) -> None:
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._opened = asyncio.Event()
        self._opened.set()
        self._is_held = False
        self.is_open = True
        self.waiting_frames = 0
        self.waiting_bytes = 0
        self.delivered_frames = 0

    def queued(self, frames: int, size_bytes: int) -> None:
        """Note that frames wait for delivery."""
        self.waiting_frames += frames
        self.waiting_bytes += size_bytes
        if self.waiting_frames > self._most_frames or self.waiting_bytes > self._most_bytes:
            self._close()

    def delivered(self, frames: int, size_bytes: int) -> None:
        """Note that frames are safe."""
        self.delivered_frames += frames
        self.waiting_frames -= frames
        self.waiting_bytes -= size_bytes
        self._open_if_low()

    def hold(self) -> None:
        """Keep the gate closed for another reason than what waits, until `release`."""
        self._is_held = True
        self._close()

    def release(self) -> None:
        """Open the gate again as soon as little waits."""
        self._is_held = False
        self._open_if_low()

    async def passed(self) -> None:
        """Wait until the gate is open."""
        await self._opened.wait()

    def _close(self) -> None:
        self.is_open = False
        self._opened.clear()

    def _open_if_low(self) -> None:
        if self.is_open or self._is_held:
            return
        if self.waiting_frames <= self._most_frames * REOPEN and self.waiting_bytes <= self._most_bytes * REOPEN:
            self.is_open = True
            self._opened.set()


class Intake:
    """Takes in all frames of one venue. Not thread-safe: one event loop."""

    def __init__(
        self, venue: str, topic: str, *, partition_count: int, settings: Producer, outlet: Outlet, now_us: NowUs
    ) -> None:
        self.venue = venue
        self.partition_count = partition_count
        self.gate = Gate(settings.queue_frames)
        self._outlet = outlet
        self._now_us = now_us
        self._linger_us = max(1, int(settings.linger_ms * 1000))
        self._packers = [self._packer(partition, settings) for partition in range(partition_count)]
        self._received = metrics.RECEIVED.labels(STAGE, topic)
        self._received_bytes = metrics.RECEIVED_BYTES.labels(STAGE, topic)
        self._sent = metrics.SENT.labels(STAGE, topic)
        self._latency = metrics.STAGE_LATENCY.labels(STAGE, venue)
        self._queue = metrics.QUEUE.labels(STAGE)
        for counter in (metrics.RECONNECTS, metrics.RENEWALS):
            counter.labels(venue)  # one that first shows as 1 was never seen to rise

    def lane(self, market: str, connection: str, partition: int) -> Lane:
        """Open the way for frames of a connection; its name is never used again."""
        return Lane(self._packers[partition], Source(market=market, connection=connection))

    def pump(self) -> None:
        """Hand out records that are old enough, and serve deliveries.

        Raises:
            DeliveryError: a record could not be delivered.
        """
        now_us = self._now_us()
        for packer in self._packers:
            packer.close_due(now_us)
        self._outlet.poll()
        self._queue.set(self.gate.waiting_frames)

    async def pump_forever(self) -> None:
        """Pump whenever records are to be closed, until cancelled."""
        while True:
            self.pump()
            now_us = self._now_us()
            await asyncio.sleep((next_close_time_us(now_us, self._linger_us) - now_us) / 1_000_000)

    def check(self) -> None:
        """Serve what was delivered.

        Raises:
            DeliveryError: a record could not be delivered.
        """
        self._outlet.poll()

    def close(self) -> None:
        """Hand out all that was taken in."""
        for packer in self._packers:
            packer.close()

    def _packer(self, partition: int, settings: Producer) -> Packer:
        return Packer(
            self.venue,
            record_bytes=settings.record_bytes,
            linger_us=self._linger_us,
            now_us=self._now_us,
            emit=lambda record: self._emit(partition, record),
        )

    def _emit(self, partition: int, record: RawFrames) -> None:
        frames = len(record.frames)
        size_bytes = sum(len(frame.payload) for frame in record.frames)
        self.gate.queued(frames, size_bytes)
        self._outlet.send(partition, record, lambda: self.gate.delivered(frames, size_bytes))
        self._received.inc(frames)
        self._received_bytes.inc(size_bytes)
        self._sent.inc()
        self._latency.observe((record.event_time_us - record.frames[0].recv_time_us) / 1e6)
