"""What outliers, bars and features cost: a recorded session through a processor in memory, with them and without.

A processor but for Faust and the broker: pipeline, state, and all records encoded as they go to Kafka.

Run: python -m benchmarks.stages [spot|usdm|coinm]
"""

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final
from unittest.mock import patch

from benchmarks.ending import in_a_line
from benchmarks.inputs import SESSIONS, markets_there, packed
from benchmarks.worker import Nowhere, PlainEncoders, outputs_to
from processors.bar_stage import BarStage
from processors.features.stream import DEFAULT_WINDOWS_S
from processors.outliers import Outliers
from processors.pipeline import Pipeline
from schemas.records import Frame, RawFrames, Source
from schemas.topics import raw_topic

MOST_RECORDS: Final = 1500
CLOCK_EVERY: Final = 20
TURNS: Final = 2


def measure(market: str) -> dict[str, float]:
    """Measure frames per second of CPU time, the best of some turns each, and the shares that are kept."""
    raws = list(_with_clocks(islice(packed(market), MOST_RECORDS)))
    rates = {"all": 0.0, "no_features": 0.0, "none": 0.0}
    for _ in range(TURNS):
        rates["all"] = max(rates["all"], _rate(raws, DEFAULT_WINDOWS_S))
        rates["no_features"] = max(rates["no_features"], _rate(raws))
        with without_stages():
            rates["none"] = max(rates["none"], _rate(raws))
    return {
        "frames_per_s": round(rates["all"]),
        "frames_per_s_no_features": round(rates["no_features"]),
        "frames_per_s_without": round(rates["none"]),
        "kept_with_outliers_bars": round(rates["no_features"] / rates["none"], 3),
        "kept_with_features_too": round(rates["all"] / rates["none"], 3),
    }


def measure_all() -> dict[str, float]:
    """Measure a session of each market that is there; raises as `markets_there`."""
    found = {market: measure(market) for market in markets_there()}
    return {f"{market}_{name}": value for market, each in found.items() for name, value in each.items()}


def _rate(raws: list[RawFrames], windows_s: Sequence[int] = ()) -> float:
    topic = raw_topic("binance").name
    pipeline = Pipeline("BINANCE", topic, 0, windows_s=windows_s)
    outputs = outputs_to(Nowhere(), PlainEncoders(), topic)
    gc.collect()
    began_s = time.process_time()
    for offset, raw in enumerate(raws):
        outputs.send(pipeline.process(offset, raw))
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
def without_stages() -> Iterator[None]:
    """Leave the calls, and nothing in them."""
    with (
        patch.object(Outliers, "is_outlier", lambda *_: False),
        patch.object(BarStage, "on_trade", lambda *_: True),
    ):
        yield


if __name__ == "__main__":
    with in_a_line():
        for name in sys.argv[1:] or list(SESSIONS):
            print(name, measure(name))
