"""Files of cryptofeed's recorder → frames: a socket's `NAME.ws.N.0` with its REST siblings, merged by receive time.

URL <-> time          connected
URL <- time: text     sent by the client
URL -> time: body     answer of a REST request (also in NAME.0 and NAME.http.N.0)
time: text            received
Times are seconds; binary frames stand as Python bytes literals.
Source: https://github.com/bmoscon/cryptofeed (raw_data_collection)
"""

import ast
import heapq
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Final

from schemas.records import FrameKind
from schemas.venues import SYMBOLOGIES
from tickerplant.recordings.frames import FIRST_US, LAST_US, OnDamage, RecordedFrame, RecordingError
from tickerplant.recordings.lines import read_lines

NAME = "cryptofeed"
FIRST_LINE = re.compile(rb"(?:[a-z]+://\S+ (?:<->|<-|->) )?\d{9,11}(?:\.\d+)?(?::|$)|configuration: ")
FILE_NAME = re.compile(r"(?P<name>.+?)(?:\.(?P<kind>ws|http)\.(?P<number>\d+))?\.(?P<part>\d+)")
TIME = re.compile(rb"\d{9,11}(\.\d+)?")
CONFIGURATION: Final = b"configuration: "
LIST_PATHS: Final = tuple(path for venue in SYMBOLOGIES.values() for path in venue.LIST_PATHS)


def claims(line: bytes) -> bool:
    """Tell from one line of a file whether it is of this format."""
    return FIRST_LINE.match(line) is not None


def read(path: Path, market: str, on_damage: OnDamage) -> Iterator[RecordedFrame]:
    """Yield the frames of a socket's file, or of all sockets of `NAME.0`, with the REST bodies of their session."""
    del market  # the recorder kept all URLs
    files = (_read_file(each, on_damage) for each in _session_files(path))
    return heapq.merge(*files, key=attrgetter("recv_time_us"))


def _session_files(path: Path) -> list[Path]:
    """List the files to merge, REST bodies first: they come first where times are equal."""
    named = FILE_NAME.fullmatch(path.name)
    if named is None:
        return [path]
    siblings = [(each, FILE_NAME.fullmatch(each.name)) for each in sorted(path.parent.iterdir())]
    mine = [(each, name) for each, name in siblings if name and name["name"] == named["name"]]
    rest = [each for each, name in mine if name["kind"] != "ws"]
    sockets = [each for each, name in mine if name["kind"] == "ws"]
    return [*rest, *([path] if named["kind"] == "ws" else sockets)]


def _read_file(path: Path, on_damage: OnDamage) -> Iterator[RecordedFrame]:
    for number, line in read_lines(path, on_damage):
        if line.startswith(CONFIGURATION):
            continue
        try:
            yield _frame(line, path.name)
        except (ValueError, SyntaxError) as error:
            on_damage(RecordingError(path, number, f"{error}: {line[:40]!r}"))


def _frame(line: bytes, connection: str) -> RecordedFrame:
    if line[:1].isdigit():
        stamp, _, body = line.partition(b": ")
        return RecordedFrame(_time_us(stamp), "MESSAGE", "", _payload(body), connection)
    url, arrow, rest = line.split(b" ", 2)
    stamp, _, body = rest.partition(b": ")
    request = url.decode()
    return RecordedFrame(_time_us(stamp), _kind(arrow, request), request, _payload(body), connection)


def _kind(arrow: bytes, request: str) -> FrameKind:
    if arrow == b"<->":
        return "CONNECT"
    if arrow == b"<-":
        return "SENT"
    if arrow == b"->":
        return "INSTRUMENTS" if request.partition("?")[0].endswith(LIST_PATHS) else "HTTP"
    raise ValueError(f"{arrow!r} is no direction")


def _time_us(stamp: bytes) -> int:
    if not TIME.fullmatch(stamp):
        raise ValueError("no receive time")
    time_us = round(float(stamp) * 1_000_000)
    if not FIRST_US <= time_us < LAST_US:
        raise ValueError("no receive time of this century")
    return time_us


def _payload(body: bytes) -> bytes:
    if not body.startswith((b"b'", b'b"')):
        return body
    literal = ast.literal_eval(body.decode("ascii"))
    return bytes(literal)
