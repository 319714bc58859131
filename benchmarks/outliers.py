"""Trades of recorded sessions → which are flagged OUTLIER: as they are, and with some displaced by 8 to 20 sigma.

Each symbol is judged by itself, as processors do. A session of half a minute has few trades to displace, so it is
played again with others displaced, until there were enough, or plays enough. Symbols with fewer trades than the warm-up
takes are judged by nobody.

Run: python -m benchmarks.outliers
"""

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import exp
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from benchmarks.ending import in_a_line
from benchmarks.inputs import RECORDINGS, SHARED, AbsentError
from benchmarks.venues import RECORDINGS as RECORDINGS_OF_VENUES
from benchmarks.venues import Session, packed, recorded
from processors.flags import CLOCK_STEP, LATE, OFF_BOOK
from processors.outliers import Outliers
from processors.pipeline import Pipeline
from schemas.records import Tick
from tickerplant.errors import UserError
from tickerplant.recordings import read_recording

FOLDERS: Final = {"spot": "spot", "usdm": "usdm", "cm": "coinm"}
DISPLACED: Final = 0.01
NEAREST, FURTHEST = 8.0, 20.0
ENOUGH: Final = 1000
MOST_PLAYS: Final = 100
NOT_JUDGED: Final = (LATE, OFF_BOOK, CLOCK_STEP)


class Print(NamedTuple):
    """A trade on the book."""

    price: float
    time_us: int


class Found(NamedTuple):
    """What was flagged of a session.

    Args:
        judged, flagged: of the session as it is.
        displaced, displaced_flagged: of all plays with displaced prints.
        others, others_flagged: of the same plays, those that were left as they are and judged.
    """

    judged: int
    flagged: int
    displaced: int
    displaced_flagged: int
    others: int
    others_flagged: int


def judge(symbols: Sequence[Sequence[Print]]) -> Found:
    """Flag the symbols of a session as they are, and again with one print in a hundred displaced."""
    as_it_is = _play(symbols, 0, 0.0)
    found = Counter[str]()
    for seed in range(1, 1 + MOST_PLAYS if as_it_is["others"] else 1):
        found += _play(symbols, seed, DISPLACED)
        if found["displaced"] >= ENOUGH:
            break
    names = ("displaced", "displaced_flagged", "others", "others_flagged")
    return Found(as_it_is["others"], as_it_is["others_flagged"], *(found[name] for name in names))


def measure() -> dict[str, Any]:
    """Judge all sessions; a figure for each, and the time that a trade takes.

    Raises:
        AbsentError: there are none.
    """
    found: dict[str, Any] = {}
    trades, used_s = 0, 0.0
    for name, symbols in sessions():
        began_s = time.process_time()
        for prints in symbols:
            outliers = Outliers()
            for price, time_us in prints:
                outliers.is_outlier(price, time_us)
        used_s += time.process_time() - began_s
        trades += sum(map(len, symbols))
        found[name] = shown(judge(symbols))
    return {**found, "us_per_trade": round(1e6 * used_s / max(1, trades), 1)}


def shown(found: Found) -> str:
    """Write what was found of a session."""
    if not found.judged:
        return "no symbol has trades enough"
    share = found.displaced_flagged / found.displaced if found.displaced else 0.0
    return (
        f"{found.judged} judged, {found.flagged} flagged as they are; of {found.displaced} displaced "
        f"{found.displaced_flagged} ({share:.1%}), of {found.others} others {found.others_flagged} "
        f"({found.others_flagged / found.others:.3%})"
    )


def sessions() -> Iterator[tuple[str, list[list[Print]]]]:
    """Read all recorded sessions: name, and the trades of each symbol; those that cannot be read are told."""
    works: dict[str, Callable[[], list[list[Print]]]] = {
        f"{folder}/{path.name}": partial(of_file, path, market)
        for folder, market in FOLDERS.items()
        for path in sorted((RECORDINGS / folder).glob("*.gz"))
    }
    works |= {each.file: partial(of_session, each) for each in recorded()}
    if not works:
        raise AbsentError(f"there is no recording in {SHARED}; BENCH_RECORDINGS names another folder")
    for name, read in works.items():
        try:
            symbols = read()
        except UserError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        yield name, symbols


def of_file(path: Path, market: str) -> list[list[Print]]:
    """Read the trades of a file of one symbol."""
    return [list(_prints(path, market))]


def of_session(session: Session) -> list[list[Print]]:
    """Read the trades of a venue's session that processors judge, by symbol; where it has none, sums of trades."""
    pipeline = Pipeline(session.venue, f"raw.{session.venue.lower()}", 0, assume_instruments=True)
    found: defaultdict[str, defaultdict[str, list[Print]]] = defaultdict(lambda: defaultdict(list))
    frames = list(read_recording(RECORDINGS_OF_VENUES / session.file, session.market))
    for offset, raw in enumerate(packed(session.venue, session.market, frames, 1)):
        for each in pipeline.process(offset, raw).records:
            if isinstance(each, Tick) and each.kind != "QUOTE" and not any(flag in each.flags for flag in NOT_JUDGED):
                found[each.kind][each.symbol].append(Print(each.price, each.exchange_time_us or each.recv_time_us))
    return list((found["TRADE"] or found["AGG_TRADE"]).values())


def _play(symbols: Sequence[Sequence[Print]], seed: int, share: float) -> Counter[str]:
    """Judge all symbols, a share of the prints displaced."""
    found, random = Counter[str](), Random(seed)
    for prints in symbols:
        outliers = Outliers()
        for price, time_us in prints:
            sigma = outliers.sigma(price, time_us)
            if sigma is not None and random.random() < share:
                far = price * exp(random.uniform(NEAREST, FURTHEST) * random.choice((-1, 1)) * sigma)
                found["displaced"] += 1
                found["displaced_flagged"] += outliers.is_outlier(far, time_us)
            else:
                found["others"] += sigma is not None
                found["others_flagged"] += outliers.is_outlier(price, time_us)
    return found


def _prints(path: Path, market: str) -> Iterator[Print]:
    for frame in read_recording(path, market):
        if b"@trade" in frame.payload[:60]:
            data = json.loads(frame.payload)["data"]
            if data.get("X", "MARKET") == "MARKET":
                yield Print(float(data["p"]), data["T"] * 1000)


if __name__ == "__main__":
    with in_a_line():
        for name, told in measure().items():
            print(f"{name:32} {told}")
