"""Trades of recorded sessions → which are flagged OUTLIER: as they are, and with some displaced by 8 to 20 sigma.

Run: python -m benchmarks.outliers
"""

import json
import time
from collections.abc import Iterator, Sequence
from math import exp
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from benchmarks.inputs import RECORDINGS
from processors.outliers import Outliers
from tickerplant.recordings import read_recording

FOLDERS: Final = {"spot": "spot", "usdm": "usdm", "cm": "coinm"}
DISPLACED: Final = 0.01
NEAREST, FURTHEST = 8.0, 20.0


class Print(NamedTuple):
    """A trade on the book."""

    price: float
    time_us: int


class Found(NamedTuple):
    """What was flagged of a session."""

    judged: int
    flagged: int
    displaced: int
    displaced_flagged: int
    others_flagged: int
    us_per_trade: float


def prints(path: Path, market: str) -> list[Print]:
    """Read the trades of a recorded Binance session that are on the book."""
    return list(_prints(path, market))


def judge(trades: Sequence[Print], seed: int = 1) -> Found:
    """Flag a session as it is, and again with one print in a hundred displaced."""
    outliers = Outliers()
    began_s = time.process_time()
    flagged = sum(outliers.is_outlier(price, time_us) for price, time_us in trades)
    us_per_trade = (time.process_time() - began_s) / len(trades) * 1e6
    outliers, random = Outliers(), Random(seed)
    judged = displaced = displaced_flagged = others_flagged = 0
    for price, time_us in trades:
        sigma = outliers.sigma(price, time_us)
        judged += sigma is not None
        if sigma is not None and random.random() < DISPLACED:
            far = price * exp(random.uniform(NEAREST, FURTHEST) * random.choice((-1, 1)) * sigma)
            displaced += 1
            displaced_flagged += outliers.is_outlier(far, time_us)
        else:
            others_flagged += outliers.is_outlier(price, time_us)
    return Found(judged, flagged, displaced, displaced_flagged, others_flagged, us_per_trade)


def sessions() -> Iterator[tuple[str, list[Print]]]:
    """Read all recorded sessions of Binance."""
    for folder, market in FOLDERS.items():
        for path in sorted((RECORDINGS / folder).glob("*.gz")):
            yield f"{folder}/{path.name}", prints(path, market)


def _prints(path: Path, market: str) -> Iterator[Print]:
    for frame in read_recording(path, market):
        if b"@trade" in frame.payload[:60]:
            data = json.loads(frame.payload)["data"]
            if data.get("X", "MARKET") == "MARKET":
                yield Print(float(data["p"]), data["T"] * 1000)


if __name__ == "__main__":
    for name, trades in sessions():
        found = judge(trades)
        print(
            f"{name:32} {found.judged:6} judged, {found.flagged} flagged ({found.flagged / found.judged:.3%}); "
            f"of {found.displaced} displaced {found.displaced_flagged} flagged, of the others {found.others_flagged}; "
            f"{found.us_per_trade:.1f} us a trade"
        )
