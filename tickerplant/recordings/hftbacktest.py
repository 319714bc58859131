"""Files of hftbacktest's recorders → frames: `<receive time, ns or us> <JSON as received>` a line, plain or gzip.

A depth snapshot that the recorder fetched stands in line as its bare body; it becomes an HTTP frame, whose URL is made
from the symbol in the body or, where the body names none, from the only symbol with depth streams in the file.
Source: https://github.com/nkaz001/hftbacktest (collector)
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tickerplant.recordings.frames import FIRST_US, LAST_US, OnDamage, RecordedFrame, RecordingError
from tickerplant.recordings.lines import read_lines

NAME = "hftbacktest"
FIRST_LINE = re.compile(rb"\d{16}(\d{3})? [{\[]")
SNAPSHOT: Final = b'{"lastUpdateId"'
STAMP = re.compile(rb"\d{16}(\d{3})?")
US_DIGITS: Final = 16
PROBE_LINES: Final = 20_000
BODY_SYMBOL = re.compile(rb'"symbol":\s*"([^"]+)"')
DEPTH_STREAM = re.compile(rb'^\d+ \{"stream":"([^"@]+)@depth')
DEPTH_URLS: Final = {
    "spot": "https://api.binance.com/api/v3/depth",
    "usdm": "https://fapi.binance.com/fapi/v1/depth",
    "coinm": "https://dapi.binance.com/dapi/v1/depth",
}


def claims(line: bytes) -> bool:
    """Tell from one line of a file whether it is of this format."""
    return FIRST_LINE.match(line) is not None


def read(path: Path, market: str, on_damage: OnDamage) -> Iterator[RecordedFrame]:
    """Yield the frames in the order of the file; on_damage is told of lines without a receive time."""
    connection = path.name
    request = ""
    for number, line in read_lines(path, on_damage):
        stamp, _, body = line.partition(b" ")
        recv_time_us = int(stamp[:US_DIGITS]) if STAMP.fullmatch(stamp) else 0
        if not FIRST_US <= recv_time_us < LAST_US or not body:
            on_damage(RecordingError(path, number, f"no receive time and message: {line[:40]!r}"))
            continue
        if body.startswith(SNAPSHOT):
            request = request or _depth_request(path, market, body)
            yield RecordedFrame(recv_time_us, "HTTP", _request_of(body, market) or request, body, connection)
        else:
            yield RecordedFrame(recv_time_us, "MESSAGE", "", body, connection)


def _depth_request(path: Path, market: str, body: bytes) -> str:
    """Make the URL of a snapshot; without its query where several symbols could be meant."""
    own = _request_of(body, market)
    if own:
        return own
    symbols = _depth_symbols(path)
    url = DEPTH_URLS.get(market, "")
    return f"{url}?symbol={symbols.pop().upper()}" if len(symbols) == 1 else url


def _request_of(body: bytes, market: str) -> str:
    """Make the URL from a body that names its symbol; empty = it names none."""
    named = BODY_SYMBOL.search(body, 0, 400)
    return f"{DEPTH_URLS.get(market, '')}?symbol={quote(named[1])}" if named else ""


def _depth_symbols(path: Path) -> set[str]:
    """Collect the symbols that have depth streams near the start of the file."""
    lines = islice(read_lines(path, lambda _error: None), PROBE_LINES)
    return {quote(found[1]) for _, line in lines if (found := DEPTH_STREAM.match(line))}
