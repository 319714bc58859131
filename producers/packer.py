"""Frames of one partition, from all its connections → raw records, in order of arrival; pure."""

from collections.abc import Callable
from typing import Final

from schemas.records import Frame, FrameKind, RawFrames, Source

FRAME_BYTES: Final = 32  # counted for each frame besides its payload, so that empty frames fill a record too


class Packer:
    """Gathers frames and hands out a record when it is full, or its time has come.

    A record holds at most `record_bytes`, unless a single frame is larger.

    Args:
        linger_us: time between the instants at which records are closed.
        now_us: the clock that `event_time_us` is taken from.
        emit: takes each closed record, before `add` or `close` returns.
    """

    def __init__(
        self,
        venue: str,
        *,
        record_bytes: int,
        linger_us: int,
        now_us: Callable[[], int],
        emit: Callable[[RawFrames], None],
    ) -> None:
        self._venue = venue
        self._record_bytes = record_bytes
        self._linger_us = linger_us
        self._now_us = now_us
        self._emit = emit
        self._frames: list[Frame] = []
        self._sources: list[Source] = []
        self._source_numbers: dict[Source, int] = {}
        self._bytes = 0
        self._due_time_us = 0

    def add(self, lane: "Lane", kind: FrameKind, recv_time_us: int, payload: bytes, request: str = "") -> None:
        """Take in a frame, in order of arrival."""
        size_bytes = len(payload) + len(request) + FRAME_BYTES
        if self._bytes + size_bytes > self._record_bytes:
            self.close()
        if not self._frames:
            self._due_time_us = next_close_time_us(self._now_us(), self._linger_us)
        source = self._source_numbers.get(lane.source)
        if source is None:
            source = self._new_source(lane.source)
        self._frames.append(
            Frame(
                source=source,
                number=lane.next_number,
                kind=kind,
                request=request,
                recv_time_us=recv_time_us,
                payload=payload,
            )
        )
        lane.next_number += 1
        self._bytes += size_bytes

    def close_due(self, now_us: int) -> None:
        """Hand out the open record if it is old enough, or the clock was set back since it was opened."""
        if self._frames and not self._due_time_us - self._linger_us <= now_us < self._due_time_us:
            self.close()

    def close(self) -> None:
        """Hand out the open record, if there is one."""
        if not self._frames:
            return
        record = RawFrames(venue=self._venue, event_time_us=self._now_us(), sources=self._sources, frames=self._frames)
        self._frames, self._sources, self._source_numbers, self._bytes = [], [], {}, 0
        self._emit(record)

    def _new_source(self, source: Source) -> int:
        self._source_numbers[source] = len(self._sources)
        self._sources.append(source)
        return len(self._sources) - 1


def next_close_time_us(now_us: int, linger_us: int) -> int:
    """Tell when records that are open now are closed: at the same instants in all partitions.

    So what several partitions hand out travels to the broker in one request, and a frame waits for half of the linger
    time on average.
    """
    return (now_us // linger_us + 1) * linger_us


class Lane:
    """The way of one connection's frames into a packer, numbered from 0 without holes."""

    def __init__(self, packer: Packer, source: Source) -> None:
        self.source = source
        self.next_number = 0
        self._packer = packer

    def add(self, kind: FrameKind, recv_time_us: int, payload: bytes = b"", request: str = "") -> None:
        """Take in a frame of this connection, in order of arrival."""
        self._packer.add(self, kind, recv_time_us, payload, request)
