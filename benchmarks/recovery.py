"""From the death of a process to what its successor writes first: processor and sink, killed under load.

The coordinator waits for the dead one's session (10 s) before it gives its partitions to another; the rest is ours.
Run: python -m benchmarks.recovery
"""

import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from schemas.topics import TICK
from sinks.position import read_position
from tickerplant.demo.options import write_settings
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.deploy import deploy
from tickerplant.kafka import Consumer, TopicPartition, consumer
from tickerplant.local import background, stack
from tickerplant.local.ports import with_local
from tickerplant.settings import Settings, Venue
from tickerplant.supervise import RESTART_FIRST_S, Supervisor, roles_of

ROUNDS = 5
RATE_HZ = 1000
POLL_S = 0.02
PATIENCE_S = 120.0
SETTLE_S = 4.0
ROLES = ("produce", "process", "sink-clickhouse")
SINK_GROUP = "tickerplant.sink.clickhouse"


class Load(NamedTuple):
    """What the simulated venue makes, and which channels of it are captured.

    Args:
        rate: frames a second.
        is_rate_heard: of what is subscribed to; else of all that the venue could send.
    """

    venue: str = "binance"
    market: str = "spot"
    channels: tuple[str, ...] = ("trade", "quote", "depth")
    symbols: int = 8
    rate: int = RATE_HZ
    is_rate_heard: bool = False


SPOT = Load()


def measure() -> dict[str, Any]:
    """Kill each several times; medians and worst, seconds."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder, running(Path(folder)) as (settings, supervisor):
        asked = consumer(settings, SINK_GROUP)
        figures: dict[str, Any] = {}
        try:
            for role, position in (("process", ends_of(asked)), ("sink-clickhouse", commits_of(asked))):
                times = [death(supervisor, role, position) for _ in range(ROUNDS)]
                figures |= {
                    f"{role}_median_s": round(statistics.median(times), 1),
                    f"{role}_worst_s": round(max(times), 1),
                }
        finally:
            asked.close()
    return figures


def ends_of(client: Consumer) -> Callable[[], int]:
    """Ask where the cleaned ticks end: rises with each that is written."""
    return lambda: sum(
        client.get_watermark_offsets(TopicPartition(TICK.name, number), timeout=10, cached=False)[1]
        for number in (0, 1)
    )


def commits_of(client: Consumer) -> Callable[[], int]:
    """Ask up to where ticks are stored and committed; a write under way does not count."""

    def ask() -> int:
        found = client.committed([TopicPartition(TICK.name, number) for number in (0, 1)], timeout=10)
        return sum(read_position(each.offset, each.metadata).offset for each in found if each.offset >= 0)

    return ask


def death(supervisor: Supervisor, role: str, position: Callable[[], int]) -> float:
    """Kill a process and wait until its successor has done something; returns how long that took."""
    child = next(each for each in supervisor.children if each.role.name == role)
    wait_until_moves(position)
    time.sleep(SETTLE_S)
    child.wait_s = RESTART_FIRST_S
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    began_s = time.monotonic()
    time.sleep(0.2)  # what it had sent is there now
    wait_until_moves(position)
    return time.monotonic() - began_s


def wait_until_moves(position: Callable[[], int]) -> None:
    """Wait until a position is above what it is now."""
    before, until_s = position(), time.monotonic() + PATIENCE_S
    while position() <= before:
        if time.monotonic() > until_s:
            sys.exit("nothing moves")
        time.sleep(POLL_S)


@contextmanager
def running(folder: Path, roles: Collection[str] = ROLES, load: Load = SPOT) -> Iterator[tuple[Settings, Supervisor]]:
    """Run a pipeline under load, whose dead are started again."""
    settings = settings_in(folder, load)
    config = folder / "bench.toml"
    write_settings(settings, config)
    supervisor = Supervisor(config, [each for each in roles_of(settings) if each.name in roles], folder / "logs")
    stopping = threading.Event()

    def supervise() -> None:
        while not stopping.wait(0.05):
            supervisor.restart_dead()

    keeper = threading.Thread(target=supervise)
    stack.up(settings, lambda line: print(line, file=sys.stderr))
    try:
        deploy(settings)
        start_venue(settings, load)
        supervisor.start()
        keeper.start()
        yield settings, supervisor
    finally:
        stopping.set()
        if keeper.ident is not None:
            keeper.join()
        supervisor.stop()
        background.stop(settings, lambda _line: None)
        stack.down(settings, lambda _line: None)


def start_venue(settings: Settings, load: Load) -> SimulatedVenue:
    """Start the simulated venue, whose market begins at once."""
    named = {
        "--venue": load.venue,
        "--market": load.market,
        "--port": settings.local.simulator_port,
        "--symbols": load.symbols,
        "--rate": load.rate,
    }
    arguments = [str(part) for pair in named.items() for part in pair] + ["--autostart"]
    arguments += ["--heard"] * load.is_rate_heard
    background.start(settings, background.VENUE, ["tickerplant.local.venue", *arguments])
    venue, until_s = SimulatedVenue(settings, load.venue.upper()), time.monotonic() + PATIENCE_S
    while not venue.is_up() and time.monotonic() < until_s:
        time.sleep(POLL_S)
    return venue


def settings_in(folder: Path, load: Load) -> Settings:
    """Make settings of a pipeline with one market, on free ports."""
    settings = with_local(Settings(), folder, keep_free_ports=False)
    address = f"127.0.0.1:{settings.local.simulator_port}/{load.venue}/{load.market}"
    venue = Venue(
        venue=load.venue.upper(),
        market=load.market,
        symbols=("*",),
        channels=load.channels,
        websocket_url=f"ws://{address}",
        rest_url=f"http://{address}",
    )
    kafka = settings.kafka.model_copy(update={"partitions": 2})
    return settings.model_copy(update={"venues": (venue,), "kafka": kafka})


if __name__ == "__main__":
    print("recovery", measure())
