"""Fixtures of the processor tests: feeds that make frames, runs that process them, documented Binance messages."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processors.pieces import HEAD, Piece
from processors.pipeline import Pipeline
from schemas.records import Derived, Frame, FrameKind, RawFrames, Source
from tickerplant.recordings import read_recording

NOW_US = 1_723_161_260_000_000  # after the newest of MESSAGES
SYMBOLS = {"spot": "BTCUSDT", "usdm": "BTCUSDT", "coinm": "BTCUSD_PERP"}

MESSAGES: dict[tuple[str, str], dict[str, Any]] = {
    (market, stream): data
    for market, streams in json.loads(
        (Path(__file__).parents[1] / "messages" / "binance.json").read_text(encoding="utf-8")
    ).items()
    for stream, data in streams.items()
}
"""Written by us in the layout that Binance documents, by market and stream."""


def compact(document: Any) -> bytes:
    """Write JSON as venues do."""
    return json.dumps(document, separators=(",", ":")).encode()


def wrapped(stream: str, data: Any) -> bytes:
    """Wrap data as a combined stream does."""
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


class Feed:
    """Makes frames of one connection: numbered, 1 ms apart unless told."""

    def __init__(self, market: str, connection: str = "c", venue: str = "BINANCE") -> None:
        self.market, self.connection, self.venue = market, connection, venue
        self.number, self.recv_time_us = -1, NOW_US

    def frame(self, payload: bytes, kind: FrameKind = "MESSAGE", *, request: str = "", after_us: int = 1000) -> Frame:
        self.number += 1
        self.recv_time_us += after_us
        number, recv_time_us = self.number, self.recv_time_us
        return Frame(source=0, number=number, kind=kind, request=request, recv_time_us=recv_time_us, payload=payload)

    def message(self, stream: str, **changes: Any) -> Frame:
        """Make a documented message, with fields changed (`after_us` aside)."""
        after_us = changes.pop("after_us", 1000)
        return self.frame(wrapped(stream, MESSAGES[self.market, stream] | changes), after_us=after_us)

    def snapshot(self, sequence: int, bids: Any = (), asks: Any = (), *, after_us: int = 1000) -> Frame:
        body = {"lastUpdateId": sequence, "bids": list(bids), "asks": list(asks)}
        request = f"https://api.example/api/v3/depth?symbol={SYMBOLS[self.market]}&limit=1000"
        return self.frame(json.dumps(body).encode(), "HTTP", request=request, after_us=after_us)

    def record(self, *frames: Frame) -> RawFrames:
        source = Source(market=self.market, connection=self.connection)
        return RawFrames(venue=self.venue, event_time_us=NOW_US, sources=[source], frames=list(frames))


def keep(kept: dict[str, list[bytes]], piece: Piece) -> None:
    """Keep a whole piece alone, a change behind those before."""
    kept[piece.name] = [*([] if piece.is_whole else kept[piece.name]), piece.payload]


class Run:
    """A pipeline that assumes instruments, a feed for it, and all it gave."""

    def __init__(self, market: str = "spot", venue: str = "BINANCE", *, topic: str = "", **options: Any) -> None:
        self.feed = Feed(market, venue=venue)
        topic = topic or f"raw.{venue.lower()}"
        self.pipeline = Pipeline(venue, topic, 0, **{"assume_instruments": True, **options})
        self.records: list[Derived] = []
        self.commands: list[Any] = []
        self.offset = 0

    def take(self, *frames: Frame) -> list[Derived]:
        """Process one raw record of these frames; returns what it gave."""
        return self.take_record(self.feed.record(*frames))

    def take_record(self, raw: RawFrames) -> list[Derived]:
        batch = self.pipeline.process(self.offset, raw)
        self.offset += 1
        self.records += batch.records
        self.commands += batch.commands
        return batch.records

    def say(self, *messages: Any) -> list[Derived]:
        """Process messages, each a JSON document or bytes, as one raw record; returns what it gave."""
        payloads = [each if isinstance(each, bytes) else compact(each) for each in messages]
        return self.take(*map(self.feed.frame, payloads))

    def play(self, path: Path) -> None:
        """Process a recording, a frame a raw record, to its end."""
        numbers: Counter[str] = Counter()
        for each in read_recording(path, self.feed.market):
            source = Source(market=self.feed.market, connection=each.connection)
            frame = Frame(
                source=0,
                number=numbers[each.connection],
                kind=each.kind,
                request=each.request,
                recv_time_us=each.recv_time_us,
                payload=each.payload,
            )
            numbers[each.connection] += 1
            time_us, venue = each.recv_time_us, self.feed.venue
            self.take_record(RawFrames(venue=venue, event_time_us=time_us, sources=[source], frames=[frame]))
        self.records += self.pipeline.finish()

    def capture(self, kept: dict[str, list[bytes]]) -> None:
        """Capture what changed, behind what was captured before."""
        for piece in self.pipeline.changed_states().values():
            keep(kept, piece)
        kept[HEAD] = [self.pipeline.head()]

    def resume(self, kept: dict[str, list[bytes]], pipeline: Pipeline) -> None:
        """Go on in another pipeline."""
        self.pipeline = pipeline
        for name, payloads in kept.items():
            pipeline.restore(name, *payloads)

    def of(self, shape: type, **fields: Any) -> list[Any]:
        """List what came of a class, with these values."""
        found = [each for each in self.records if isinstance(each, shape)]
        return [each for each in found if all(getattr(each, name) == value for name, value in fields.items())]


@pytest.fixture(scope="session")
def new_run() -> Callable[..., Run]:
    """Make runs: `new_run("spot", keyframe_us=...)`."""
    return Run


@pytest.fixture(scope="session")
def messages() -> dict[tuple[str, str], dict[str, Any]]:
    return MESSAGES


@pytest.fixture(scope="session")
def wrap() -> Callable[[str, Any], bytes]:
    return wrapped


@pytest.fixture
def spot() -> Run:
    return Run("spot")


@pytest.fixture
def usdm() -> Run:
    return Run("usdm")


@pytest.fixture
def coinm() -> Run:
    return Run("coinm")
