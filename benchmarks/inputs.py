"""What benchmarks run on: recorded Binance sessions, and raw records packed from them."""

import json
import os
import re
from collections.abc import Collection, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

from schemas.records import Frame, RawFrames, Source
from tickerplant.errors import UserError
from tickerplant.recordings import read_recording

SHARED: Final = Path(
    os.environ.get("BENCH_RECORDINGS") or Path(__file__).parents[2] / "shared" / "recordings"
).absolute()
"""Has `hftbacktest/{spot,usdm,cm}/*.gz`, a symbol each, and `cryptofeed/NAME.ws.N.0` with their siblings."""
RECORDINGS: Final = SHARED / "hftbacktest"
SESSIONS: Final = {
    "spot": RECORDINGS / "spot" / "btcusdt_20240808.gz",
    "usdm": RECORDINGS / "usdm" / "btcusdt_20240719.gz",
    "coinm": RECORDINGS / "cm" / "btcusd_perp_20240808.gz",
}
"""The usual ones; where one is absent, the largest beside its place."""
SYMBOL: Final = re.compile(rb'"s":\s*"(\w+)"')
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


class AbsentError(UserError):
    """What a benchmark needs is not on this machine: it is left out, the others go on."""


def session(market: str) -> Path:
    """Find the recorded session of a market.

    Raises:
        AbsentError: there is none.
    """
    usual = SESSIONS[market]
    found = [usual] if usual.exists() else sorted(usual.parent.glob("*.gz"), key=lambda each: each.stat().st_size)
    if not found:
        raise AbsentError(f"there is no recording in {usual.parent}; BENCH_RECORDINGS names another folder")
    return found[-1]


def markets_there(markets: Collection[str] = tuple(SESSIONS)) -> list[str]:
    """Keep the markets of which a session is there.

    Raises:
        AbsentError: there is none of any.
    """
    found, reasons = [], []
    for market in markets:
        try:
            session(market)
        except AbsentError as error:
            reasons.append(str(error))
        else:
            found.append(market)
    if not found:
        raise AbsentError(reasons[0])
    return found


@cache
def names_of(market: str) -> list[str]:
    """Name the symbol of a session as its venue does, then seven others that it is played under as well.

    Raises:
        AbsentError: there is no session of one symbol in the usual quote.
    """
    path, quote = session(market), QUOTES[market]
    for frame in read_recording(path, market):
        if match := SYMBOL.search(frame.payload):
            own = match[1].decode()
            if not own.endswith(quote):
                raise AbsentError(f"{path} is of {own}, not of a market in {quote}")
            return [own, *(base + quote for base in BASES if base + quote != own)][: len(BASES)]
    raise AbsentError(f"{path} names no symbol")


def packed(market: str) -> Iterator[RawFrames]:
    """Pack a session as a producer does in a burst, once for each of its names: one market under several."""
    names = names_of(market)
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
    """Make the instrument list of a session's names, in the venue's shape."""
    bases = {name: name.removesuffix(QUOTES[market]) for name in names_of(market)}
    entries = [{"symbol": name, "baseAsset": base, "filters": []} | TERMS[market] for name, base in bases.items()]
    payload = json.dumps({"symbols": entries}).encode()
    return Frame(source=0, number=0, kind="INSTRUMENTS", request=LISTING_URL, recv_time_us=1, payload=payload)


def raw_frames(market: str, connection: str, frames: list[Frame]) -> RawFrames:
    """Make a raw record of one connection's frames."""
    sources = [Source(market=market, connection=connection)]
    return RawFrames(venue="BINANCE", event_time_us=frames[-1].recv_time_us, sources=sources, frames=frames)
