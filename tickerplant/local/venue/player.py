"""Plays the frames of a recording: at its own pace, faster, or as fast as the slowest client reads."""

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Final

from tickerplant.local.venue.dialect import Stream
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.options import RecordingOptions
from tickerplant.recordings import RecordedFrame, RecordingError, read_recording

CHUNK_BYTES: Final = 128 * 1024
CHUNK_FRAMES: Final = 512
SLEEP_LEAST_S: Final = 0.001


class Player:
    """Reads a recording and lets it be played; what its frames mean, subclasses know."""

    def __init__(self, options: RecordingOptions, hub: Hub) -> None:
        self._options = options
        self._hub = hub
        self._played = 0
        self._recv_time_us = 0

    async def run(self, is_stopping: Callable[[], bool]) -> None:
        """Play to the end of the recording, or until told to stop; returns when all is handed to the sockets."""
        clock = _Clock(self._options.pace)
        waiting = 0
        for frame in self._frames():
            wait_s = clock.wait_s(frame.recv_time_us)
            waiting += 1
            if wait_s > SLEEP_LEAST_S or waiting >= CHUNK_FRAMES or self._hub.waiting_bytes() >= CHUNK_BYTES:
                await self._hub.flush()
                await asyncio.sleep(max(0.0, clock.wait_s(frame.recv_time_us)))
                waiting = 0
            if is_stopping():
                break
            self._recv_time_us = frame.recv_time_us
            self._play(frame)
        await self._hub.flush()

    def begin(self, stream: Stream) -> None:
        """Everything is made already."""

    @abstractmethod
    def _play(self, frame: RecordedFrame) -> None:
        """Serve one frame."""

    def _frames(self) -> Iterator[RecordedFrame]:
        return read_recording(self._options.path, self._options.market, on_damage=_pass_over)


class _Clock:
    """Tells how long to wait for a frame; pace None = never."""

    def __init__(self, pace: float | None) -> None:
        self._pace = pace
        self._start_s = time.monotonic()
        self._first_us = 0

    def wait_s(self, recv_time_us: int) -> float:
        """Tell the seconds until a frame is due; 0 or less = now. The first frame asked about is due at once."""
        if self._pace is None:
            return 0.0
        if not self._first_us:
            self._start_s, self._first_us = time.monotonic(), recv_time_us
        return (recv_time_us - self._first_us) / 1e6 / self._pace - (time.monotonic() - self._start_s)


def _pass_over(_error: RecordingError) -> None:
    """Damaged lines were counted when the recording was read first."""
