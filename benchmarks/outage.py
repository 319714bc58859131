"""ClickHouse goes away while 5,000 frames/s flow: memory of each role meanwhile, and how long the way to no lag is.

The simulated venue serves all three markets into the whole flow; the ClickHouse server of the local stack is stopped,
and started again after a while. The sink has caught up when its lag is what it was before. In the end frames are
counted from the venue's socket to the rows of both stores; anything lost or doubled ends the benchmark.

Run: python -m benchmarks.outage [seconds of outage] [frames a second]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from producers import plan
from schemas.symbology import Symbology
from tickerplant.demo import stores
from tickerplant.demo.options import DemoOptions, demo_settings, write_settings
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.deploy import deploy
from tickerplant.errors import DependencyError
from tickerplant.kafka import OffsetReader
from tickerplant.lag import GROUPS, PROCESSOR, LagReader
from tickerplant.local import background, stack
from tickerplant.local.clickhouse import ClickHouse
from tickerplant.local.ports import with_local
from tickerplant.settings import Local, Settings
from tickerplant.supervise import Supervisor, roles_of

OUTAGE_S = 60
RATE = 5000
SYMBOLS = 20
WARM_S = 40  # until memory has settled, and lag is what it is at this rate
BEFORE = 10  # samples before the outage that memory and lag are compared with
SAMPLE_S = 2.0
READY_S = 120
DRAIN_S = 600
SINK = "tickerplant.sink.clickhouse"
FRAMES_SQL = "SELECT countIf(startsWith(payload, '{\"stream\"')) FROM market_data.tick_raw"


def measure(outage_s: float = OUTAGE_S, rate: int = RATE) -> dict[str, Any]:
    """Let ClickHouse be away for so many seconds."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder, running(Path(folder), rate) as flow:
        return flow.suffer(outage_s) | flow.finish()


@dataclass
class Flow:
    """A running pipeline, and what is seen of it.

    Args:
        memory_mb: by role, in the order of samples.
        behind: records that the ClickHouse sink, and the processor, have not committed, in the order of samples.
    """

    settings: Settings
    supervisor: Supervisor
    lags: LagReader
    memory_mb: dict[str, list[float]] = field(default_factory=dict)
    behind: dict[str, list[int]] = field(default_factory=lambda: {SINK: [], PROCESSOR: []})

    @property
    def venue(self) -> SimulatedVenue:
        """The simulated venue."""
        return SimulatedVenue(self.settings)

    def suffer(self, outage_s: float) -> dict[str, Any]:
        """Take ClickHouse away and bring it back; returns the figures of that."""
        self.watch(WARM_S, lambda: False)
        usual = max(self.behind[SINK][-BEFORE:])
        before_mb = {role: statistics.median(each[-BEFORE:]) for role, each in self.memory_mb.items()}
        marks, served = {role: len(each) for role, each in self.memory_mb.items()}, self.served()
        stack.down(self.settings, quiet, servers=(ClickHouse,))
        away_s = self.watch(outage_s, lambda: False)
        memory_mb = {role: growth(before_mb[role], each[marks[role] :]) for role, each in self.memory_mb.items()}
        rate, behind = (self.served() - served) / away_s, {name: each[-1] for name, each in self.behind.items()}
        stack.up(self.settings, quiet, servers=(ClickHouse,))
        recovery_s = self.watch(3 * outage_s + DRAIN_S, lambda: max(self.behind[SINK][-2:]) <= usual)
        most_mb = {role: round(max(each)) for role, each in self.memory_mb.items()}
        return {
            "outage_s": round(away_s),
            "frames_per_s": round(rate),
            "records_behind_before": usual,
            "records_behind_at_return": behind[SINK],
            "records_behind_of_processor_at_return": behind[PROCESSOR],
            "recovery_s": round(recovery_s),
            "recovery_by_outage": round(recovery_s / away_s, 2),
            "memory_mb_in_outage": memory_mb,
            "memory_mb_most": most_mb,
            "restarts": sum(self.supervisor.restarts().values()),
        }

    def finish(self) -> dict[str, Any]:
        """End the market, wait until all is stored, and count."""
        self.venue.stop()
        until(lambda: self.venue.status()["state"] == "done", READY_S)
        served = self.served()
        self.supervisor.stop(["produce"])
        until(lambda: self.supervisor.restart_dead() or self.is_drained(), DRAIN_S)
        written = records_of(self.settings, ("cleaned.tick", "cleaned.depth"))
        with stores.clickhouse(self.settings) as client:
            [(frames,)] = client.execute(FRAMES_SQL)
            kept = stores.count_clickhouse(client)
        found = {"frames_served": served, "frames_stored": frames, "ticks": kept["tick"].rows}
        for stored in (kept, stores.count_parquet(self.settings)):
            for name, count in stored.items():
                assert count.rows == count.distinct == written[f"cleaned.{name}"], (name, count, written)
        assert frames == served, found
        return {**found, "lost": served - frames, "doubled": kept["tick"].rows - kept["tick"].distinct}

    def watch(self, seconds: float, is_over: Callable[[], bool]) -> float:
        """Take samples, and keep roles alive, for so many seconds or until it is over; returns how many it took."""
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < seconds:
            self.supervisor.restart_dead()
            self.sample()
            if is_over():
                break
            time.sleep(max(0.0, SAMPLE_S - (time.monotonic() - began_s - passed_s)))
        return time.monotonic() - began_s

    def sample(self) -> None:
        """Note memory and lag."""
        for role, pid in self.supervisor.pids().items():
            with suppress(psutil.NoSuchProcess):
                self.memory_mb.setdefault(role, []).append(psutil.Process(pid).memory_info().rss / 2**20)
        with suppress(DependencyError):
            lags = self.lags.read()
            for group, behind in self.behind.items():
                behind.append(sum(each.records for each in lags if each.group == group))

    def served(self) -> int:
        """Count the market-data frames that left the venue."""
        return int(self.venue.status()["frames_served"])

    def is_drained(self) -> bool:
        """Tell whether all groups have committed all there is; asked twice, for a processor writes in between."""
        return all(lag.records == 0 for _ in range(2) for lag in self.lags.read())


@contextmanager
def running(folder: Path, rate: int) -> Iterator[Flow]:
    """Start stack, venue and roles, and let the market begin; ended in the end."""
    local = with_local(Settings(local=Local(home=folder)), folder, keep_free_ports=False)
    settings = demo_settings(local, DemoOptions(rate=rate, symbols=SYMBOLS))
    config = settings.local.home / "tickerplant.toml"
    write_settings(settings, config)
    flow = Flow(settings, Supervisor(config, roles_of(settings), settings.local.home / "logs"), LagReader(settings))
    try:
        stack.up(settings, quiet)
        deploy(settings)
        port = str(settings.local.simulator_port)
        arguments = ["--port", port, "--symbols", str(SYMBOLS), "--seed", "1", "--rate", str(rate)]
        background.start(settings, background.VENUE, ["tickerplant.local.venue", *arguments])
        until(flow.venue.is_up, READY_S)
        flow.supervisor.start()
        wanted = wanted_streams(flow)
        until(lambda: len(flow.venue.status()["subscribed"]) >= wanted, READY_S)
        until(lambda: len({each.group for each in flow.lags.read() if each.committed}) == len(GROUPS), READY_S)
        flow.venue.start()
        yield flow
    finally:
        flow.supervisor.stop()
        flow.lags.close()
        background.stop(settings, quiet)
        stack.down(settings, quiet)


def wanted_streams(flow: Flow) -> int:
    """Count the streams that producers subscribe to."""
    wanted = set()
    for each in flow.settings.venues:
        instruments = plan.wanted_instruments(each, Symbology(flow.venue.instruments(each.market)))
        wanted |= {(each.market, stream.url, stream.name) for stream in plan.streams(each, instruments, 1)}
    return len(wanted)


def growth(before_mb: float, samples: list[float]) -> dict[str, int]:
    """Describe the memory of a role in an outage: before, at the middle, at the end, and the most."""
    return {
        "before": round(before_mb),
        "middle": round(samples[len(samples) // 2]),
        "end": round(samples[-1]),
        "most": round(max(samples)),
    }


def records_of(settings: Settings, topics: tuple[str, ...]) -> dict[str, int]:
    """Count the records of topics by their offsets."""
    offsets = OffsetReader(settings)
    try:
        found = offsets.watermarks(dict.fromkeys(topics, settings.kafka.partitions))
    finally:
        offsets.close()
    return {topic: sum(end - start for (name, _), (start, end) in found.items() if name == topic) for topic in topics}


def until(condition: Callable[[], object], seconds: float) -> None:
    """Wait for a condition."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, condition
        time.sleep(0.2)


def quiet(_line: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    print("outage", measure(*map(int, sys.argv[1:])))
