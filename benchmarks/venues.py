"""Recorded sessions of venues in memory: frames → records, beside cryptofeed's handlers on the same bytes.

Run: python -m benchmarks.venues [ROUNDS]     (installs cryptofeed into a Python of its own, below .tickerplant/peers)

Both sides have all frames in memory before the clock starts and take turns, each in a fresh process that plays the
session several times from an empty state; figures are medians, of CPU time, since others share the machine. Ours does
more: it dedupes, flags, counts, notes every gap, and makes the records that go to Kafka; callbacks of cryptofeed do
nothing.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from processors.pipeline import Pipeline
from schemas.records import Frame, RawFrames, Source
from tickerplant.recordings import RecordedFrame, read_recording

ROOT: Final = Path(__file__).parents[1]
RECORDINGS: Final = ROOT.parent / "shared" / "recordings" / "cryptofeed"
PEERS: Final = ROOT / ".tickerplant" / "peers"
CRYPTOFEED: Final = "cryptofeed==2.4.1"
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
    """Tell frames per second of both, and how much faster ours is (lowest and highest of the rounds)."""
    peer = _peer_python()
    return {f"{each.venue} {each.market}": _beside(each, peer, rounds) for each in SESSIONS}


def _beside(session: Session, peer: Path, rounds: int) -> str:
    ours_command = [sys.executable, "-m", "benchmarks.venues", "--ours", *session]
    peer_command = [str(peer), str(Path(__file__).with_name("peer_cryptofeed.py")), str(RECORDINGS), *session[2:]]
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_rate(ours_command))
        theirs.append(_rate(peer_command))
    mine, other = median(ours), median(theirs)
    if not other:
        return f"{mine:,.0f} frames/s; cryptofeed cannot play it back"
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True) if other]
    spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
    return f"{mine:,.0f} frames/s, cryptofeed {other:,.0f}: {mine / other:.1f}x ({spread})"


def _rate(command: list[str]) -> float:
    """Run one side; 0 = it cannot."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        return 0.0
    found = json.loads(done.stdout.splitlines()[-1])
    return float(found["messages"] / found["seconds"])


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


def _peer_python() -> Path:
    """Install cryptofeed beside us, once."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([str(uv), "venv", "--quiet", "--python", sys.executable, str(PEERS)], check=True)
        subprocess.run([str(uv), "pip", "install", "--quiet", "--python", str(python), CRYPTOFEED], check=True)
    return python


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        print(json.dumps(ours(sys.argv[2], sys.argv[3], sys.argv[5])))
    else:
        for name, line in measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS).items():
            print(f"{name:<20} {line}")
