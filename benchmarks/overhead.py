"""What exactly once costs: a processor with snapshots and without, and a sink's share of time for its intents.

Run: python -m benchmarks.overhead
"""

import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks import processor, subscribe
from benchmarks.turns import Turns, in_turns
from schemas.topics import TICK
from sinks.app import run
from sinks.columns import Place
from sinks.kafka_log import KafkaLog
from sinks.position import Position
from tickerplant.deploy import deploy
from tickerplant.kafka import Consumer, KafkaException, TopicPartition, consumer
from tickerplant.local import stack
from tickerplant.local.ports import with_local
from tickerplant.settings import Settings

TURNS = 3
AIM = 0.9
NEVER_S = 3600.0
PATIENCE_S = 600.0
POLL_S = 0.1
COMMIT = KafkaLog.commit


def measure() -> dict[str, Any]:
    """Measure both."""
    return snapshots() | intents()


def snapshots() -> dict[str, Any]:
    """Let a processor work off a session with snapshots each second and without any, in turns."""
    found = in_turns({name: partial(rate, each) for name, each in (("each second", 1.0), ("none", NEVER_S))}, TURNS)
    return {"a session, snapshots on": Turns(unit="frames/processor s", sides=found, aims={"none": AIM})}


def rate(snapshot_s: float) -> float:
    """Tell frames per second of the processor's own time: others use the cores, too."""
    return processor.measure("spot", snapshot_s=snapshot_s)["frames_per_processor_s"]


def intents() -> dict[str, Any]:
    """Let a sink store ticks, and measure for how long it commits intents meanwhile."""
    spent_s = [0.0]

    def commit(self: KafkaLog, positions: Mapping[Place, Position]) -> bool:
        began_s = time.perf_counter()
        is_done = COMMIT(self, positions)
        if any(each.pending_end is not None for each in positions.values()):
            spent_s[0] += time.perf_counter() - began_s
        return is_done

    with tempfile.TemporaryDirectory(prefix="bench") as folder, patch.object(KafkaLog, "commit", commit):
        settings = with_local(Settings(), Path(folder), keep_free_ports=False)
        stack.up(settings, lambda line: print(line, file=sys.stderr))
        try:
            deploy(settings)
            subscribe.fill(settings)
            seconds = store(settings)
        finally:
            stack.down(settings, lambda _line: None)
    return {
        "sink_rows_per_s": round(subscribe.TICKS / seconds),
        "intents_ratio": round((seconds - spent_s[0]) / seconds, 3),
    }


def store(settings: Settings) -> float:
    """Run a sink until all ticks are stored and committed; returns the seconds it took."""
    stopping = threading.Event()
    sink = threading.Thread(target=lambda: run(settings, "clickhouse", stop=stopping))
    with closing(consumer(settings, "tickerplant.sink.clickhouse")) as client:
        began_s = time.perf_counter()
        sink.start()
        try:
            while committed(client) < subscribe.TICKS:
                if time.perf_counter() - began_s > PATIENCE_S:
                    sys.exit("the sink does not come to an end")
                time.sleep(POLL_S)
            return time.perf_counter() - began_s
        finally:
            stopping.set()
            sink.join()


def committed(client: Consumer) -> int:
    """Ask up to where the sink has committed; -1 = nowhere, or the broker has yet to find its coordinator."""
    with suppress(KafkaException):
        return int(client.committed([TopicPartition(TICK.name, 0)], timeout=10)[0].offset)
    return -1


if __name__ == "__main__":
    print("overhead", measure())
