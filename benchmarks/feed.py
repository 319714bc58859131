"""Cost of a frame from the socket into a raw record, and into Kafka: processor time of one feed.

Once without Kafka, then to a broker on the same machine: raw records encoded, compressed and sent, the time of
librdkafka's threads included. Frames are best quotes of rising ids and changing prices, served by another process as
fast as they are taken.

Run: python -m benchmarks.feed
"""

import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
from websockets.asyncio.server import ServerConnection, serve

from producers.feed import Feed
from producers.intake import Intake
from producers.kafka_outlet import KafkaOutlet
from producers.limiter import Address
from producers.plan import connections, streams
from producers.venues import binance
from producers.websocket import FeedOptions
from schemas.records import RawFrames
from schemas.topics import raw_topic
from schemas.venues.binance import assumed_instrument
from tickerplant.clock import now_us
from tickerplant.kafka import Publisher, create_topics
from tickerplant.local import stack
from tickerplant.local.broker import Broker
from tickerplant.local.ports import with_local
from tickerplant.local.registry import SchemaRegistry
from tickerplant.registry import Registry
from tickerplant.settings import Producer, Settings, Venue

FRAMES = 200_000
AT_ONCE = 100
DRAIN_S = 30.0
PATIENCE_S = 120.0
SERVERS = (Broker, SchemaRegistry)


def message(number: int) -> bytes:
    """Make a best quote."""
    bid, size = 6_412_345 + number * 7 % 997, 1 + number * 7919 % 9_999_991
    return (
        f'{{"stream":"btcusdt@bookTicker","data":{{"u":{50123456789 + number},"s":"BTCUSDT","b":"{bid / 100:.8f}",'
        f'"B":"{size / 1e6:.8f}","a":"{bid / 100 + 0.01:.8f}","A":"{(size * 31 % 9_999_991) / 1e6:.8f}"}}}}'
    ).encode()


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
    messages = [message(number) for number in range(frames)]

    async def talk(connection: ServerConnection) -> None:
        async for _ in connection:
            await connection.send('{"result":null,"id":1}')
            for start in range(0, frames, AT_ONCE):
                for each in messages[start : start + AT_ONCE]:
                    connection.protocol.send_text(each)
                connection.send_data()
                await connection.drain()

    async def main() -> None:
        async with serve(talk, "127.0.0.1", 0, compression=None) as server:
            ready.send(next(iter(server.sockets)).getsockname()[1])
            await asyncio.Future[None]()

    uvloop.run(main())


class KafkaCountingOutlet(KafkaOutlet):
    """Sends to Kafka, and counts the frames that are delivered."""

    frames = 0

    def send(self, partition: int, record: RawFrames, on_delivered: Callable[[], None]) -> None:
        """Send."""

        def delivered() -> None:
            self.frames += len(record.frames)
            on_delivered()

        super().send(partition, record, delivered)


async def take(port: int, frames: int, outlet: CountingOutlet | KafkaCountingOutlet) -> float:
    """Take frames in; returns µs of processor time a frame.

    Raises:
        TimeoutError: they do not all come.
    """
    venue = Venue(
        venue="BINANCE", market="spot", symbols=("*",), channels=("bookTicker",),
        websocket_url=f"ws://127.0.0.1:{port}",
    )  # fmt: skip
    (plan,) = connections(venue, streams(venue, [assumed_instrument("spot", "BTCUSDT", 0)], 1))
    settings = Producer()
    intake = Intake("BINANCE", "raw.binance", partition_count=1, settings=settings, outlet=outlet, now_us=now_us)
    options = FeedOptions(wire=binance, settings=settings, start="b", on_subscribed=list, address=Address(6000, 300))
    start = time.process_time()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
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


def served(frames: int, outlet: CountingOutlet | KafkaCountingOutlet) -> float:
    """Take frames of a server process; returns µs of processor time a frame."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_frames, args=(theirs, frames), daemon=True)
    server.start()
    try:
        return uvloop.run(take(ours.recv(), frames, outlet))
    finally:
        server.terminate()
        server.join()


def to_kafka(frames: int) -> float:
    """Take frames into the raw topic of a broker of our own."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = with_local(Settings(), Path(folder), keep_free_ports=False)
        stack.up(settings, lambda line: print(line, file=sys.stderr), servers=SERVERS)
        try:
            topic, registry, publisher = raw_topic("binance"), Registry(settings), Publisher(settings)
            registry.register([topic])
            create_topics(settings, [topic])
            cost_us = served(frames, KafkaCountingOutlet(publisher, topic.name, registry.encoder(topic, RawFrames)))
            publisher.flush(DRAIN_S)
        finally:
            stack.down(settings, lambda _line: None, servers=SERVERS)
    return cost_us


def measure(frames: int = FRAMES) -> dict[str, float]:
    """Measure µs of processor time a frame."""
    return {
        "frame_us": round(served(frames, CountingOutlet()), 1),
        "frame_to_kafka_us": round(to_kafka(frames), 1),
        "frames": frames,
        "frame_bytes": len(message(0)),
    }


if __name__ == "__main__":
    print("feed", measure())
