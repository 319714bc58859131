"""Files of others: recordings and settings. What cannot be read is a UserError with the place."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from fuzz.packets import ACCEPTED, conversation, opening, pcap, socket_frame
from fuzz.seeds import SNAPSHOT, payloads
from fuzz.target import Target
from tickerplant.errors import UserError
from tickerplant.recordings import RecordingError, read_recording
from tickerplant.recordings.frames import FIRST_US, LAST_US
from tickerplant.settings import load_settings

MARKETS: Final = ("spot", "usdm", "coinm", "nowhere")
EXAMPLE: Final = Path(__file__).parents[2] / "tickerplant" / "example.toml"


def targets() -> Iterator[Target]:
    """List the targets of this module."""
    messages = payloads("BINANCE", "spot")
    times = range(1_700_000_000_000_000, 1_700_000_100_000_000, 100_000)
    recorded = b"".join(b"%d %s\n" % (time, body) for time, body in zip(times, (*messages, SNAPSHOT), strict=False))
    cryptofeed = b"".join(
        (
            b"wss://stream.example/ws <-> 1700000000.5\n",
            b'wss://stream.example/ws <- 1700000000.6: {"method":"SUBSCRIBE","id":1}\n',
            b"https://api.example/api/v3/depth?symbol=BTCUSDT -> 1700000000.7: " + SNAPSHOT + b"\n",
            b"1700000000.8: " + messages[0] + b"\n",
            b"1700000000.9: b'\\x01{}'\nconfiguration: {}\n",
        )
    )
    lines = (
        b"".join(each + b"\n" for each in messages)
        + b'{"raw":"{}"}\n{"localTimestamp":"2026-11-29T00:00:00Z","message":{}}\n'
    )
    said = [
        (True, opening("KRAKEN.ws.1")),
        (False, ACCEPTED),
        (False, socket_frame(b"{}")),
        (True, socket_frame(b"{}")),
    ]
    asked = [(True, b"GET / HTTP/1.1\r\n\r\n"), (False, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")]
    packets = pcap(conversation(40_000, said), conversation(40_001, asked))
    records = (
        b'{"t":"header","format":2}\n{"t":"connect","conn":"K","addr":"wss://k","ts":1700000000.5}\n'
        b'{"t":"recv","conn":"K","ts":1700000000.6,"data":"{}"}\n{"t":"recv","conn":"K","ts":1700000000.7,"b64":"H4s="}\n'
    )
    seeds = [recorded, cryptofeed, lines, packets, records]
    yield Target(name="recording", run=_on_file("1.0", read_file), seeds=seeds)
    yield Target(name="settings", run=_on_file("settings.toml", read_settings), seeds=[EXAMPLE.read_bytes()])


@cache
def _folder(_process: int) -> Path:
    """Make a folder of this process, in memory where there is one."""
    shared = Path("/dev/shm")  # a folder of our own in it
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=shared if os.access(shared, os.W_OK) else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _on_file(name: str, read: Callable[[Path], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        path = _folder(os.getpid()) / name
        path.write_bytes(data)
        read(path)

    return run


def read_file(path: Path) -> None:
    """Read a recording to its end; every frame has a time, or says that none is known; damage is told by line."""
    damage: list[RecordingError] = []
    try:
        for market in MARKETS[:: len(MARKETS) - 1]:
            for frame in read_recording(path, market, on_damage=damage.append):
                assert frame.recv_time_us == 0 or FIRST_US <= frame.recv_time_us < LAST_US
                frame.request.encode()
    except UserError:
        return
    assert all(error.line >= 1 and str(error) for error in damage)


def read_settings(path: Path) -> None:
    """Read a settings file."""
    try:
        load_settings(path, {})
    except UserError:
        return
