"""What outliers and bars cost: a recorded session through one pipeline in memory, with them and without.

Run: python -m benchmarks.stages [spot|usdm|coinm]
"""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final
from unittest.mock import patch

from benchmarks.inputs import SESSIONS, packed
from processors.bar_stage import BarStage
from processors.outliers import Outliers
from processors.pipeline import Pipeline
from schemas.records import Frame, RawFrames, Source
from schemas.topics import raw_topic

MOST_RECORDS: Final = 4000
CLOCK_EVERY: Final = 20
TURNS: Final = 3


def measure(market: str) -> dict[str, float]:
    """Measure frames per second of CPU time, the best of three turns each, and the share that is kept."""
    raws = list(_with_clocks(islice(packed(market), MOST_RECORDS)))
    rates: dict[str, float] = {"with": 0.0, "without": 0.0}
    for _ in range(TURNS):
        rates["with"] = max(rates["with"], _rate(raws))
        with _without_stages():
            rates["without"] = max(rates["without"], _rate(raws))
    return {
        "frames_per_s": round(rates["with"]),
        "frames_per_s_without": round(rates["without"]),
        "kept": round(rates["with"] / rates["without"], 3),
    }


def _rate(raws: list[RawFrames]) -> float:
    pipeline = Pipeline("BINANCE", raw_topic("binance").name, 0)
    gc.collect()
    began_s = time.process_time()
    for offset, raw in enumerate(raws):
        pipeline.process(offset, raw)
        if offset % 100 == 0:
            pipeline.changed_states()
    return sum(len(raw.frames) for raw in raws) / (time.process_time() - began_s)


def _with_clocks(raws: Iterator[RawFrames]) -> Iterator[RawFrames]:
    """Put CLOCK frames in, by the receive times that there are."""
    for number, raw in enumerate(raws):
        yield raw
        if number % CLOCK_EVERY == 0:
            frame = Frame(
                source=0, number=number // CLOCK_EVERY, kind="CLOCK", recv_time_us=raw.event_time_us, payload=b""
            )
            yield RawFrames(
                venue="BINANCE",
                event_time_us=raw.event_time_us,
                sources=[Source(market=raw.sources[0].market, connection="clock")],
                frames=[frame],
            )


@contextmanager
def _without_stages() -> Iterator[None]:
    """Leave the calls, and nothing in them."""
    with (
        patch.object(Outliers, "is_outlier", lambda *_: False),
        patch.object(BarStage, "on_trade", lambda *_: True),
    ):
        yield


if __name__ == "__main__":
    for name in sys.argv[1:] or list(SESSIONS):
        print(name, measure(name))
