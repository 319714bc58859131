"""What recordings give: one frame a message, and the errors that tell what cannot be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from schemas.records import FrameKind
from tickerplant.errors import UserError

FIRST_US: Final = 946_684_800_000_000  # 2000-01-01
LAST_US: Final = 4_102_444_800_000_000  # 2100-01-01


class RecordedFrame(msgspec.Struct, frozen=True, gc=False):
    """One frame of a recording.

    Args:
        recv_time_us: when the recorder read it, µs since the UTC epoch.
        kind: MESSAGE, SENT, HTTP, INSTRUMENTS or CONNECT; DISCONNECT where another connection follows, CLOCK where that
            was added.
        request: URL of HTTP, INSTRUMENTS and CONNECT frames, and of SENT ones where the recorder noted it; else empty.
        payload: the bytes exactly as they came; empty for CONNECT.
        connection: the file that the frame stands in.
        market_type: what the recording says that a message is of, in its own words; empty = it does not say.
    """

    recv_time_us: int
    kind: FrameKind
    request: str
    payload: bytes
    connection: str
    market_type: str = ""


class RecordingError(UserError):
    """A line of a recording cannot be read.

    Args:
        path: the file.
        line: counted from 1.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, line: int, reason: str) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        super().__init__(path, line, reason)

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


OnDamage = Callable[[RecordingError], None]
"""Told of each line that cannot be read; reading goes on after it returns."""


def refuse(error: RecordingError) -> None:
    """Stop at the first damaged line."""
    raise error
