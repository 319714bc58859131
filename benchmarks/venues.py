"""Recorded sessions of venues in memory: frames → records, beside cryptofeed's handlers on the same bytes.

Run: python -m benchmarks.venues [ROUNDS]     (installs cryptofeed into a Python of its own, below .tickerplant/peers)

Both sides have all frames in memory before the clock starts and take turns, each in a fresh process that plays the
session several times from an empty state; figures are medians, of CPU time, since others share the machine. Ours does
more: it dedupes, flags, counts, notes every gap, and makes the records that go to Kafka; callbacks of cryptofeed do
nothing.
"""

import json
import sys
import time
from collections import Counter
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks import peers
from benchmarks.page import rows
from benchmarks.peers import ROOT
from benchmarks.turns import Turns, in_turns
from processors.pipeline import Pipeline
from schemas.records import Frame, RawFrames, Source
from tickerplant.recordings import RecordedFrame, read_recording

RECORDINGS: Final = ROOT.parent / "shared" / "recordings" / "cryptofeed"
AIM: Final = 1.5
ROUNDS: Final = 3
PLAYS_S: Final = 1.0
PLAYS_LEAST: Final = 5
PACKED: Final = 50  # frames a raw record, as under load


class Session(NamedTuple):
    """A recorded session: our venue and market, cryptofeed's name, the file."""

    venue: str
    market: str
    peer: str
    file: str


SESSIONS: Final = (
    Session("BINANCE", "spot", "BINANCE", "BINANCE.ws.1.0"),
    Session("BINANCE", "usdm", "BINANCE_FUTURES", "BINANCE_FUTURES.ws.1.0"),
    Session("BINANCE", "coinm", "BINANCE_DELIVERY", "BINANCE_DELIVERY.ws.1.0"),
    Session("BITFINEX", "spot", "BITFINEX", "BITFINEX.ws.11.0"),
    Session("COINBASE", "exchange", "COINBASE", "COINBASE.ws.28.0"),
    Session("DERIBIT", "futures", "DERIBIT", "DERIBIT.ws.1.0"),
    Session("GATE", "spot", "GATEIO", "GATEIO.ws.1.0"),
    Session("GATE", "futures", "GATEIO_FUTURES", "GATEIO_FUTURES.ws.1.0"),
    Session("HTX", "spot", "HUOBI", "HUOBI.ws.44.0"),
    Session("HTX", "coin", "HUOBI_SWAP", "HUOBI_SWAP.ws.1.0"),
    Session("KRAKEN", "spot_v1", "KRAKEN", "KRAKEN.ws.50.0"),
    Session("KRAKEN", "futures", "KRAKEN_FUTURES", "KRAKEN_FUTURES.ws.1.0"),
    Session("KUCOIN", "spot", "KUCOIN", "KUCOIN.ws.1.0"),
    Session("OKX", "spot", "OKX", "OKX.ws.1.0"),
)


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Compare frames per second of both on each session."""
    return {f"{each.venue} {each.market}": beside(each, rounds) for each in SESSIONS}


def beside(session: Session, rounds: int) -> Turns:
    """Compare both on one session."""
    sides = {"tickerplant": lambda: rate(ours_of(session)), "cryptofeed": lambda: rate(cryptofeed(session))}
    found = {name: [each for each in values if each] for name, values in in_turns(sides, rounds).items()}
    return Turns(unit="frames/s", sides=found, aims={"cryptofeed": AIM})


def ours_of(session: Session) -> dict[str, Any] | None:
    """Play a session to ours, in a fresh process."""
    return peers.answer([sys.executable, "-m", "benchmarks.venues", "--ours", *session])


def cryptofeed(session: Session) -> dict[str, Any] | None:
    """Play a session to cryptofeed, in a fresh process; None = it cannot play it back."""
    return peers.run("cryptofeed", "play_cryptofeed.py", str(RECORDINGS), *session[2:])


def rate(found: dict[str, Any] | None) -> float:
    """Tell frames per second; 0 = that side cannot."""
    return float(found["messages"] / found["seconds"]) if found else 0.0


def ours(venue: str, market: str, file: str) -> dict[str, float]:
    """Time the pipeline over all messages of a session, again and again; instrument lists are read before."""
    frames = list(read_recording(RECORDINGS / file, market))
    lists = _packed(venue, market, [each for each in frames if each.kind == "INSTRUMENTS"])
    packed = _packed(venue, market, [each for each in frames if each.kind != "INSTRUMENTS"])
    found: list[float] = []
    while sum(found) < PLAYS_S or len(found) < PLAYS_LEAST:
        found.append(_play(venue, lists, packed))
    return {"seconds": median(found), "messages": sum(each.kind == "MESSAGE" for each in frames)}


def _play(venue: str, lists: list[RawFrames], packed: list[RawFrames]) -> float:
    """Tell the CPU seconds that a new pipeline takes for a session."""
    pipeline = Pipeline(venue, f"raw.{venue.lower()}", 0, assume_instruments=True)
    for offset, each in enumerate(lists):
        pipeline.process(offset, each)
    began_s, first = time.process_time(), len(lists)
    for offset, each in enumerate(packed, start=first):
        pipeline.process(offset, each)
    return time.process_time() - began_s


def _packed(venue: str, market: str, frames: list[RecordedFrame]) -> list[RawFrames]:
    """Pack frames as a producer does under load."""
    names = list(dict.fromkeys(each.connection for each in frames))
    sources = [Source(market=market, connection=name) for name in names]
    numbers: Counter[str] = Counter()
    made = []
    for each in frames:
        frame = Frame(
            source=names.index(each.connection),
            number=numbers[each.connection],
            kind=each.kind,
            request=each.request,
            recv_time_us=each.recv_time_us,
            payload=each.payload,
        )
        numbers[each.connection] += 1
        made.append(frame)
    return [
        RawFrames(
            venue=venue,
            event_time_us=made[at : at + PACKED][-1].recv_time_us,
            sources=sources,
            frames=made[at : at + PACKED],
        )
        for at in range(0, len(made), PACKED)
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        print(json.dumps(ours(sys.argv[2], sys.argv[3], sys.argv[5])))
    else:
        for name, turns in measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS).items():
            print(name, *rows(name, turns), sep="\n")
