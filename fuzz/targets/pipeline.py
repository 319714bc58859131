"""Raw records, and captured state, through the whole pipeline: used or a dead letter, never a record of nonsense."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any, Final

import msgspec

from fuzz.seeds import SNAPSHOT, lists, payloads
from fuzz.target import Cursor, Target, packed
from fuzz.targets.codec import DECODERS, ENCODERS, SCHEMA_ID
from fuzz.targets.venues import NOW_US, REQUEST, check_value
from processors.errors import FrameError, StateError
from processors.pieces import HEAD
from processors.pipeline import Pipeline
from processors.venues import VENUES
from schemas.codec import HEADER, WireFormatError
from schemas.quality import QUALITY_KINDS
from schemas.records import (
    DeadLetter,
    Depth,
    Derived,
    Frame,
    FrameKind,
    QualityEvent,
    RawFrames,
    Source,
    Tick,
)  # fmt: skip

KINDS: Final[tuple[FrameKind, ...]] = (
    "MESSAGE", "HTTP", "INSTRUMENTS", "CLOCK", "CONNECT", "DISCONNECT", "SENT", "OTHER",
)  # fmt: skip
STEP_US: Final = 400_000
KEYFRAME_US: Final = 3_000_000
WINDOWS_S: Final = (1, 3)
CONNECTIONS: Final = ("a", "b")


def targets() -> Iterator[Target]:
    """List the targets of this module: three for each venue."""
    for name in VENUES:
        stream = stream_seed(name)
        record = packed(*(ENCODERS[RawFrames].encode(raw)[HEADER.size :] for raw in Stream(name, stream).records()))
        yield Target(
            name=f"stream-{name.lower()}", run=_processes_frames(name), seeds=[stream, stream[: len(stream) // 2]]
        )
        yield Target(name=f"raw-{name.lower()}", run=_processes_records(name), seeds=[record])
        yield Target(name=f"state-{name.lower()}", run=_restores(name), seeds=list(state_seeds(name)))


def stream_seed(name: str) -> bytes:
    """Make a session of all markets: lists, every documented message, a snapshot, a clock, a disconnect."""
    out = b""
    for number, market in enumerate(VENUES[name].MARKETS):
        for body in lists(name, market):
            out += bytes((number << 5 | KINDS.index("INSTRUMENTS") << 1, 0)) + packed(body)
        for body in (*payloads(name, market), *payloads(name, market)[-1:]):
            out += bytes((number << 5 | KINDS.index("MESSAGE") << 1, 1)) + packed(body)
        out += bytes((number << 5 | KINDS.index("HTTP") << 1, 2)) + packed(REQUEST + b"\n" + SNAPSHOT)
        out += bytes((number << 5 | KINDS.index("CLOCK") << 1, 255)) + packed(b"")
        out += bytes((number << 5 | KINDS.index("DISCONNECT") << 1, 1)) + packed(b"stale: depth")
    return out


class Stream:
    """Bytes as frames: two bytes of market, kind, connection, pause and packing; then a piece, the payload."""

    def __init__(self, name: str, data: bytes) -> None:
        self._cursor, self._name = Cursor(data), name
        self._chosen = list(product(VENUES[name].MARKETS, CONNECTIONS))
        self._numbers = dict.fromkeys(range(len(self._chosen)), 0)
        self._now_us = NOW_US

    def records(self) -> Iterator[RawFrames]:
        """Pack frames into raw records."""
        frames: list[Frame] = []
        sources = [Source(market=market, connection=market + connection) for market, connection in self._chosen]
        while self._cursor:
            choice, pause = self._cursor.number(), self._cursor.number()
            frames.append(self._frame(choice, pause))
            if pause & 1:
                yield RawFrames(venue=self._name, event_time_us=self._now_us, sources=sources, frames=frames)
                frames = []
        yield RawFrames(venue=self._name, event_time_us=self._now_us, sources=sources, frames=frames)

    def _frame(self, choice: int, pause: int) -> Frame:
        source = (choice >> 5) * len(CONNECTIONS) + (choice & 1)
        kind = KINDS[choice >> 1 & 7]
        payload = self._cursor.piece()
        request, _, body = payload.partition(b"\n") if kind == "HTTP" else (b"", b"", payload)
        self._now_us += pause * STEP_US // 64
        number = self._numbers.get(source, 0)
        self._numbers[source] = number + (2 if pause & 2 else 1)
        return Frame(
            source=source, number=number, kind=kind, request=request.decode(errors="replace"),
            recv_time_us=self._now_us, payload=body,
        )  # fmt: skip


class Watch:
    """Asserts what must hold of all that comes out, from record to record."""

    def __init__(self) -> None:
        self._places: tuple[int, int] = (-1, -1)
        self._sequences: dict[str, int] = {}
        self._snapshots: dict[str, int] = {}

    def look(self, raw: RawFrames, records: list[Derived]) -> None:
        """Look at what one raw record gave."""
        letters = [record for record in records if isinstance(record, DeadLetter)]
        payloads = [frame.payload for frame in raw.frames]
        assert all(letter.payload in payloads and letter.reason for letter in letters)
        for record in records:
            ENCODERS[type(record)].encode(record)
            place = (record.source_offset, record.source_index)
            assert place > self._places
            self._places = place
            self._look_at(record)

    def _look_at(self, record: Derived) -> None:
        for name, value in msgspec.structs.asdict(record).items():
            check_value(name, value)
        if isinstance(record, Tick):
            assert record.sequence_id == self._sequences.get(record.symbol, 0) + 1
            self._sequences[record.symbol] = record.sequence_id
        elif isinstance(record, Depth):
            assert record.snapshot_id == 0 or record.snapshot_id >= self._snapshots.get(record.symbol, 0)
            self._snapshots[record.symbol] = record.snapshot_id or self._snapshots.get(record.symbol, 0)
        elif isinstance(record, QualityEvent):
            assert record.kind in QUALITY_KINDS


def _new(name: str) -> Pipeline:
    return Pipeline(
        name, f"raw.{name.lower()}", 0, keyframe_us=KEYFRAME_US, assume_instruments=True, windows_s=WINDOWS_S
    )


def _processes_frames(name: str) -> Any:
    def run(data: bytes) -> None:
        whole, resumed, watch = _new(name), _new(name), Watch()
        pieces: dict[str, list[bytes]] = {}
        for offset, raw in enumerate(Stream(name, data).records()):
            batch = whole.process(offset, raw)
            watch.look(raw, batch.records)
            if offset % 3 == 2:
                for piece in resumed.changed_states().values():
                    pieces[piece.name] = [*([] if piece.is_whole else pieces[piece.name]), piece.payload]
                pieces[HEAD] = [resumed.head()]
                resumed = _new(name)
                for each, payloads in pieces.items():
                    resumed.restore(each, *payloads)
            again = resumed.process(offset, raw)
            assert again.records == batch.records
            assert again.commands == batch.commands

    return run


def _processes_records(name: str) -> Any:
    """Values as they may lie in a raw topic: the codec reads what it can, and what it reads may hold any number."""

    def run(data: bytes) -> None:
        pipeline, watch, cursor = _new(name), Watch(), Cursor(data)
        for offset in range(100):
            if not cursor:
                break
            try:
                raw = DECODERS[RawFrames].decode(HEADER.pack(0, SCHEMA_ID) + cursor.piece())
            except WireFormatError:
                continue
            with suppress(FrameError):
                watch.look(raw, pipeline.process(offset, raw).records)
            pipeline.changed_states()
            pipeline.head()

    return run


def state_seeds(name: str) -> Iterator[bytes]:
    """Capture all pieces after a session, each behind its name."""
    pipeline = _new(name)
    for offset, raw in enumerate(Stream(name, stream_seed(name)).records()):
        pipeline.process(offset, raw)
    for piece in pipeline.changed_states().values():
        yield packed(piece.name.encode(), piece.payload)
    yield packed(b"", pipeline.head())


def _restores(name: str) -> Any:
    def run(data: bytes) -> None:
        cursor = Cursor(data)
        pipeline = _new(name)
        with suppress(StateError):
            while cursor:
                pipeline.restore(cursor.piece().decode(errors="replace"), cursor.piece())
        pipeline.states()
        pipeline.books()
        pipeline.head()

    return run
