"""What benchmarks run on: recorded Binance sessions, and raw records packed from them."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from schemas.records import Frame, RawFrames, Source
from tickerplant.recordings import read_recording

RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings" / "hftbacktest"
SESSIONS = {
    "spot": RECORDINGS / "spot" / "btcusdt_20240808.gz",
    "usdm": RECORDINGS / "usdm" / "btcusdt_20240719.gz",
    "coinm": RECORDINGS / "cm" / "btcusd_perp_20240808.gz",
}
FRAMES_PER_RECORD = 50


def session(market: str) -> Path:
    """Find the recorded session of a market; ends the benchmark where it is absent."""
    path = SESSIONS[market]
    if not path.exists():
        sys.exit(f"this benchmark needs the recording {path.name} beside the project")
    return path


def packed(market: str, instruments: bytes, instruments_url: str, copies: int = 1) -> Iterator[RawFrames]:
    """Pack a session as a producer does in a burst; a copy is a connection of its own, with the same trades."""
    listing = Frame(
        source=0, number=0, kind="INSTRUMENTS", request=instruments_url, recv_time_us=1, payload=instruments
    )
    yield raw_frames(market, "instruments", [listing])
    for copy in range(copies):
        frames = numbered(market)
        while batch := list(islice(frames, FRAMES_PER_RECORD)):
            yield raw_frames(market, f"bench-{copy}", batch)


def numbered(market: str) -> Iterator[Frame]:
    """Yield the frames of a session, numbered from 0."""
    for number, frame in enumerate(read_recording(session(market), market)):
        yield Frame(
            source=0,
            number=number,
            kind=frame.kind,
            request=frame.request,
            recv_time_us=frame.recv_time_us,
            payload=frame.payload,
        )


def raw_frames(market: str, connection: str, frames: list[Frame]) -> RawFrames:
    """Make a raw record of one connection's frames."""
    sources = [Source(market=market, connection=connection)]
    return RawFrames(venue="BINANCE", event_time_us=frames[-1].recv_time_us, sources=sources, frames=frames)
