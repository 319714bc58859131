"""Cost of a frame from the socket into a raw record, without Kafka: processor time of one feed.

Run: python -m benchmarks.feed
"""

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import uvloop
from websockets.asyncio.server import ServerConnection, serve

from producers.feed import Feed
from producers.intake import Intake
from producers.limiter import Address
from producers.plan import connections, streams
from producers.venues import binance
from producers.websocket import FeedOptions
from schemas.records import RawFrames
from schemas.venues.binance import assumed_instrument
from tickerplant.clock import now_us
from tickerplant.settings import Producer, Venue

FRAMES = 200_000
MESSAGE = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":50123456789,"s":"BTCUSDT","b":"64123.45000000","B":"1.23456000",'
    b'"a":"64123.46000000","A":"0.98765000"}}'
)


class CountingOutlet:
    """Counts frames and delivers at once."""

    frames = 0

    def send(self, _partition: int, record: RawFrames, on_delivered: Callable[[], None]) -> None:
        """Count."""
        self.frames += len(record.frames)
        on_delivered()

    def poll(self) -> None:
        """Do nothing."""


def serve_frames(ready: "Connection[int, int]", frames: int) -> None:
    """Answer each subscription with so many frames, as fast as they are taken (a process of its own)."""

    async def talk(connection: ServerConnection) -> None:
        async for _ in connection:
            await connection.send('{"result":null,"id":1}')
            for _ in range(frames // 100):
                for _ in range(100):
                    connection.protocol.send_text(MESSAGE)
                connection.send_data()
                await connection.drain()

    async def main() -> None:
        async with serve(talk, "127.0.0.1", 0, compression=None) as server:
            ready.send(next(iter(server.sockets)).getsockname()[1])
            await asyncio.Future[None]()

    uvloop.run(main())


async def take(port: int, frames: int) -> float:
    """Take frames in; returns µs of processor time a frame."""
    venue = Venue(
        venue="BINANCE", market="spot", symbols=("*",), channels=("bookTicker",),
        websocket_url=f"ws://127.0.0.1:{port}",
    )  # fmt: skip
    (plan,) = connections(venue, streams(venue, [assumed_instrument("spot", "BTCUSDT", 0)], 1))
    settings, outlet = Producer(), CountingOutlet()
    intake = Intake("BINANCE", "raw.binance", partition_count=1, settings=settings, outlet=outlet, now_us=now_us)
    options = FeedOptions(wire=binance, settings=settings, start="b", on_subscribed=list, address=Address(6000, 300))
    start = time.process_time()
    async with asyncio.TaskGroup() as tasks:
        work: list[asyncio.Task[Any]] = [
            tasks.create_task(intake.pump_forever()),
            tasks.create_task(Feed("spot-p0-0", plan, intake, options).run()),
        ]
        while outlet.frames < frames:  # noqa: ASYNC110  # polls what has no event
            await asyncio.sleep(0.01)
        taken_s = time.process_time() - start
        for each in work:
            each.cancel()
    return taken_s / frames * 1e6


def measure(frames: int = FRAMES) -> dict[str, float]:
    """Measure µs of processor time a frame."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_frames, args=(theirs, frames), daemon=True)
    server.start()
    cost_us = uvloop.run(take(ours.recv(), frames))
    server.terminate()
    return {"frame_us": round(cost_us, 1), "frames": frames, "frame_bytes": len(MESSAGE)}


if __name__ == "__main__":
    print("feed", measure())
