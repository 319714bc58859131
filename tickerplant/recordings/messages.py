"""Files of one JSON message a line → frames, as they stand or inside of an envelope that tells more.

{...}, [...]                                the message itself; its receive time is not known: 0
{"raw": "...", ...}                         the message as text, of the market that `market_type` tells
{"localTimestamp": ISO, "message": ...}     with its receive time
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from tickerplant.recordings.frames import FIRST_US, LAST_US, OnDamage, RecordedFrame, RecordingError
from tickerplant.recordings.lines import read_lines

NAME = "one message a line"
MICROSECOND: Final = 1_000_000


class _Envelope(msgspec.Struct, rename="camel"):
    raw: str | None = None
    message: msgspec.Raw | None = None
    local_timestamp: datetime | None = None
    market_type: str = msgspec.field(name="market_type", default="")


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ANY = msgspec.json.Decoder(msgspec.Raw)


def claims(line: bytes) -> bool:
    """Tell from one line of a file whether it is of this format."""
    if line[:1] not in {b"{", b"["}:
        return False
    try:
        _ANY.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def read(path: Path, market: str, on_damage: OnDamage) -> Iterator[RecordedFrame]:
    """Yield the messages of a file, in its order, as of one connection."""
    del market  # messages tell what they are of
    for number, line in read_lines(path, on_damage):
        try:
            yield _frame(line, path.name)
        except (ValueError, RecursionError) as error:
            on_damage(RecordingError(path, number, f"{error}: {line[:40]!r}"))


def _frame(line: bytes, connection: str) -> RecordedFrame:
    _ANY.decode(line)
    time_us, payload, market_type = 0, line, ""
    if line[:1] == b"{":
        try:
            envelope = _ENVELOPE.decode(line)
        except msgspec.ValidationError:  # a message with fields of these names
            envelope = _Envelope()
        if envelope.raw is not None:
            payload, market_type = envelope.raw.encode(), envelope.market_type
        elif envelope.message is not None and envelope.local_timestamp is not None:
            payload, time_us = bytes(envelope.message), _time_us(envelope.local_timestamp)
    return RecordedFrame(time_us, "MESSAGE", "", payload, connection, market_type)


def _time_us(instant: datetime) -> int:
    time_us = round(instant.timestamp() * MICROSECOND)
    if not FIRST_US <= time_us < LAST_US:
        raise ValueError("no receive time of this century")
    return time_us
