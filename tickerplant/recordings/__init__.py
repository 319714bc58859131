"""Recordings of other projects' recorders → frames as our own producers would have kept them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tickerplant.errors import UserError
from tickerplant.recordings import captures, cryptofeed, hftbacktest, messages
from tickerplant.recordings.frames import OnDamage, RecordedFrame, RecordingError, refuse
from tickerplant.recordings.lines import first_lines

__all__ = ["FORMATS", "RecordedFrame", "RecordingError", "read_recording"]

PROBE_LINES = 20  # the first ones of a file may be damaged


class Format(Protocol):
    """What each module of a format offers."""

    NAME: str

    def claims(self, line: bytes) -> bool:
        """Tell from one line of a file whether it is of this format."""

    def read(self, path: Path, market: str, on_damage: OnDamage) -> Iterator[RecordedFrame]:
        """Yield the frames of a file in receive order."""


FORMATS: tuple[Format, ...] = (hftbacktest, cryptofeed, captures, messages)


def read_recording(path: Path, market: str, *, on_damage: OnDamage = refuse) -> Iterator[RecordedFrame]:
    """Yield the frames of a recording in receive order; its format is told from its content.

    Args:
        path: of an hftbacktest file, or a cryptofeed `NAME.ws.N.0` or `NAME.0` (siblings are merged), or a capture of
            cryptofeed 3, or one of a JSON message a line; plain, gzip or zstd.
        market: e.g. `spot`: used for the URL of snapshots that the recorder kept without one.
        on_damage: told of each line that cannot be read, then reading goes on; the default raises at the first one.

    Raises:
        RecordingError: a line cannot be read (while iterating, after all that stands before it).
        UserError: the file cannot be opened, is empty, or of no known format (at once).
    """
    lines = first_lines(path, PROBE_LINES)
    for each in FORMATS:
        if any(map(each.claims, lines)):
            return each.read(path, market, on_damage)
    known = ", ".join(each.NAME for each in FORMATS)
    raise UserError(f"{path} is {'no recording of a known format' if lines else 'empty'}; known formats: {known}")
