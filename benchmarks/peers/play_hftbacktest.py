"""hftbacktest's converter of Binance futures over a file of its own recorder, in a Python of its own.

Run: python play_hftbacktest.py      (then a line of JSON for each question: [FILE, PLAYS])

From the file to the array of events, with trades, depth, snapshots and best quotes (`opt="t"`): it parses with the
standard library's json, corrects times and order, and saves nothing. PLAYS 0 = tell what came of it, else the CPU
seconds of one play, their median.
"""

import json
import os
import sys
import time
from statistics import median
from typing import Any, Final

import numpy as np
from hftbacktest.data.utils import binancefutures  # type: ignore[import-not-found]  # of another environment
from hftbacktest.types import EXCH_EVENT, TRADE_EVENT  # type: ignore[import-not-found]

ROWS: Final = 5_000_000  # that there is room for
BEST_BID: Final = 103
DEPTH: Final = (1, 4)  # of deltas and snapshots


def convert(file: str) -> Any:
    """Convert a file."""
    return binancefutures.convert(file, opt="t", buffer_size=ROWS)


def summary(found: Any) -> dict[str, float]:
    """Count and sum up, for the comparison with others; events may stand twice, at the exchange and here."""
    events = found[(found["ev"] & EXCH_EVENT) != 0]
    kinds = events["ev"] & 0xFF
    trades = events[kinds == TRADE_EVENT]
    return {
        "trades": len(trades),
        "prices": float(np.sum(trades["px"])),
        "quotes": int(np.sum(kinds == BEST_BID)),
        "levels": int(np.sum(np.isin(kinds, DEPTH))),
    }


def seconds(file: str) -> float:
    """Tell the CPU seconds of a play."""
    began_s = time.process_time()
    convert(file)
    return time.process_time() - began_s


def main() -> None:
    """Answer questions; what the converter prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        file, plays = json.loads(line)
        found = median(seconds(file) for _ in range(plays)) if plays else summary(convert(file))
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
