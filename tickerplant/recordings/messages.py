"""Files of one JSON message a line → frames, as they stand or inside of an envelope that tells more.

{...}, [...]                                the message itself; its receive time is not known: 0
{"raw": "...", ...}                         the message as text, of the market that `market_type` tells
{"localTimestamp": ISO, "message": ...}     with its receive time
ISO {...}                                   the same
{"stream": "btcusdt@depthSnapshot", "generated": true, "data": ...}   an answer of REST: a depth snapshot, open interest
"""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from tickerplant.recordings.frames import FIRST_US, LAST_US, OnDamage, RecordedFrame, RecordingError
from tickerplant.recordings.hftbacktest import DEPTH_URLS
from tickerplant.recordings.lines import read_lines

NAME = "one message a line"
STAMPED = re.compile(rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z) (?P<message>[{\[].*)", re.DOTALL)
MICROSECOND: Final = 1_000_000
FETCHED: Final = {"depthSnapshot": "depth", "openInterest": "openInterest"}
GENERATED: Final = b'"generated"'
HEAD_BYTES: Final = 120
NONE: Final = msgspec.Raw(b"")


class _Envelope(msgspec.Struct, rename="camel"):
    raw: str | None = None
    message: msgspec.Raw = NONE
    local_timestamp: datetime | None = None
    market_type: str = msgspec.field(name="market_type", default="")


class _Fetched(msgspec.Struct):
    stream: str
    generated: bool
    data: msgspec.Raw


_FETCHED = msgspec.json.Decoder(_Fetched)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ANY = msgspec.json.Decoder(msgspec.Raw)


def claims(line: bytes) -> bool:
    """Tell from one line of a file whether it is of this format."""
    stamped = STAMPED.fullmatch(line)
    line = stamped["message"] if stamped else line
    if line[:1] not in {b"{", b"["}:
        return False
    try:
        _ANY.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def read(path: Path, market: str, on_damage: OnDamage) -> Iterator[RecordedFrame]:
    """Yield the messages of a file, in its order, as of one connection."""
    for number, line in read_lines(path, on_damage):
        try:
            yield _fetched(_frame(line, path.name), market)
        except (ValueError, RecursionError) as error:
            on_damage(RecordingError(path, number, f"{error}: {line[:40]!r}"))


def _frame(line: bytes, connection: str) -> RecordedFrame:
    stamped = STAMPED.fullmatch(line)
    time_us, market_type = 0, ""
    payload: bytes = stamped["message"] if stamped else line
    _ANY.decode(payload)
    if stamped:
        time_us = _time_us(datetime.fromisoformat(stamped["time"].decode()))
    elif line[:1] == b"{":
        try:
            envelope = _ENVELOPE.decode(line)
        except msgspec.ValidationError:  # a message with fields of these names
            envelope = _Envelope()
        if envelope.raw is not None:
            payload, market_type = envelope.raw.encode(), envelope.market_type
        elif envelope.message and envelope.local_timestamp is not None:
            payload, time_us = bytes(envelope.message), _time_us(envelope.local_timestamp)
    return RecordedFrame(time_us, "MESSAGE", "", payload, connection, market_type)


def _fetched(frame: RecordedFrame, market: str) -> RecordedFrame:
    """Make an answer to a request of what the recorder fetched and wrote as if it were a message."""
    if GENERATED not in frame.payload[:HEAD_BYTES] or market not in DEPTH_URLS:
        return frame
    try:
        found = _FETCHED.decode(frame.payload)
    except (msgspec.DecodeError, RecursionError):
        return frame
    symbol, _, what = found.stream.partition("@")
    if what not in FETCHED:
        return frame
    root = DEPTH_URLS[market].removesuffix("depth")
    request = f"{root}{FETCHED[what]}?symbol={quote(symbol.upper())}"
    return RecordedFrame(frame.recv_time_us, "HTTP", request, bytes(found.data), frame.connection, frame.market_type)


def _time_us(instant: datetime) -> int:
    time_us = round(instant.timestamp() * MICROSECOND)
    if not FIRST_US <= time_us < LAST_US:
        raise ValueError("no receive time of this century")
    return time_us
