"""What benchmarks run on: recorded Binance sessions, and raw records packed from them."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from schemas.records import Frame, RawFrames, Source
from tickerplant.recordings import read_recording

RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings" / "hftbacktest"
SESSIONS = {
    "spot": RECORDINGS / "spot" / "btcusdt_20240808.gz",
    "usdm": RECORDINGS / "usdm" / "btcusdt_20240719.gz",
    "coinm": RECORDINGS / "cm" / "btcusd_perp_20240808.gz",
}
FRAMES_PER_RECORD = 50
BASES = ("BTC", "ETH", "SOL", "XRP", "ADA", "LTC", "BCH", "DOT")
QUOTES = {"spot": "USDT", "usdm": "USDT", "coinm": "USD_PERP"}
CONTRACT = {"contractType": "PERPETUAL", "deliveryDate": 4133404800000}
TERMS: dict[str, dict[str, Any]] = {
    "spot": {"quoteAsset": "USDT", "status": "TRADING"},
    "usdm": {"quoteAsset": "USDT", "status": "TRADING", "marginAsset": "USDT", **CONTRACT},
    "coinm": {"quoteAsset": "USD", "contractStatus": "TRADING", "marginAsset": "BTC", "contractSize": 100, **CONTRACT},
}
LISTING_URL = "https://api.binance.com/api/v3/exchangeInfo"


def session(market: str) -> Path:
    """Find the recorded session of a market; ends the benchmark where it is absent."""
    path = SESSIONS[market]
    if not path.exists():
        sys.exit(f"this benchmark needs the recording {path.name} beside the project")
    return path


def packed(market: str) -> Iterator[RawFrames]:
    """Pack a session as a producer does in a burst, once for each of BASES: the same market under several names."""
    names = [base + QUOTES[market] for base in BASES]
    yield raw_frames(market, "instruments", [listing(market)])
    for name in names:
        frames = renamed(market, names[0], name)
        while batch := list(islice(frames, FRAMES_PER_RECORD)):
            yield raw_frames(market, name, batch)


def renamed(market: str, name: str, new: str) -> Iterator[Frame]:
    """Yield the frames of a session under another symbol, numbered from 0."""
    for number, frame in enumerate(read_recording(session(market), market)):
        payload = frame.payload.replace(name.encode(), new.encode()).replace(
            name.lower().encode(), new.lower().encode()
        )
        yield Frame(
            source=0,
            number=number,
            kind=frame.kind,
            request=frame.request.replace(name, new),
            recv_time_us=frame.recv_time_us,
            payload=payload,
        )


def listing(market: str) -> Frame:
    """Make the instrument list of BASES, in the venue's shape."""
    entries = [{"symbol": base + QUOTES[market], "baseAsset": base, "filters": []} | TERMS[market] for base in BASES]
    payload = json.dumps({"symbols": entries}).encode()
    return Frame(source=0, number=0, kind="INSTRUMENTS", request=LISTING_URL, recv_time_us=1, payload=payload)


def raw_frames(market: str, connection: str, frames: list[Frame]) -> RawFrames:
    """Make a raw record of one connection's frames."""
    sources = [Source(market=market, connection=connection)]
    return RawFrames(venue="BINANCE", event_time_us=frames[-1].recv_time_us, sources=sources, frames=frames)
