"""A backlog of raw records, and the processor time that roles and servers spend until all of it is worked off.

All processes are up and ready, and have worked off a first part of it, before what is counted is written: neither their
start nor what Java compiles at first is a part of it.
"""

import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Final, NamedTuple

import httpx
import psutil

from benchmarks.market import Made, Place, QuietVenue
from benchmarks.worker import cpu_us
from schemas.records import RawFrames
from schemas.topics import DEPTH, TICK, raw_topic
from tickerplant.demo.options import write_settings
from tickerplant.kafka import Publisher
from tickerplant.lag import PROCESSOR, LagReader, group_name
from tickerplant.local import stack
from tickerplant.local.process import read_pid_file
from tickerplant.local.server import Home
from tickerplant.processes import find_processes
from tickerplant.registry import Registry
from tickerplant.scrape import scrape
from tickerplant.settings import Settings
from tickerplant.supervise import Supervisor, roles_of

PLACE: Final = Place("BYBIT", "linear")
SYMBOLS: Final = 64
RATE: Final = 40_000  # so that raw records are as full as under load
SECONDS: Final = 7
WARM: Final = 0.3  # of the backlog
PATIENCE_S: Final = 300.0
POLL_S: Final = 0.1
SETTLE_S: Final = 2.0
MEGABYTE: Final = 2**20
GROUPS: Final = {
    "process": PROCESSOR,
    "sink-clickhouse": "tickerplant.sink.clickhouse",
    "sink-parquet": "tickerplant.sink.parquet",
}
"""By role, the consumer group by which is told how far it is."""


class Load(NamedTuple):
    """What a backlog took.

    Args:
        ticks: trades, best quotes and changes of books that were counted; `all_ticks`: with those of before.
        us_per_tick: processor time by role (over its processes) and server.
        memory_mb: resident at the end; of a role, the largest process.
    """

    ticks: int
    all_ticks: int
    seconds: float
    us_per_tick: Mapping[str, float]
    memory_mb: Mapping[str, int]


def backlog(partitions: int) -> list[Made]:
    """Record what a producer writes of some seconds at a high rate, in so many partitions."""
    venue = QuietVenue(PLACE, SYMBOLS, RATE, partitions=partitions)
    return [*venue.begin(), *venue.seconds(SECONDS)]


def load(settings: Settings, roles: Collection[str], tape: Sequence[Made]) -> Load:
    """Run roles, write the backlog over the partitions that there are, and wait until each role is through.

    Args:
        settings: of servers that run, and topics that exist.
    """
    topic = raw_topic(PLACE.venue.lower())
    encoder = Registry(settings).encoder(topic, RawFrames)
    values = [(each.partition % settings.kafka.partitions, encoder.encode(each.raw)) for each in tape]
    warm = int(len(values) * WARM)
    with running(settings, roles) as supervisor:
        publisher = Publisher(settings)

        def work_off(part: Sequence[tuple[int, bytes]]) -> None:
            for partition, value in part:
                publisher.send(topic.name, partition, b"", value)
            publisher.flush()
            drain(settings, roles, supervisor)

        work_off(values[:warm])
        seen, before, began_s = ticks_of(settings), spent(settings, supervisor), time.monotonic()
        work_off(values[warm:])
        seconds, after = time.monotonic() - began_s, spent(settings, supervisor)
        all_ticks, memory = ticks_of(settings), memory_mb(settings, supervisor)
    ticks = all_ticks - seen
    costs = {name: cpu_us(used_s - before[name], ticks) for name, used_s in after.items()}
    return Load(ticks, all_ticks, seconds, costs, memory)


def ticks_of(settings: Settings) -> int:
    """Count the ticks that processors have written so far."""
    found = scrape(settings, ("stage_sent_total",))
    return round(sum(found.total("stage_sent_total", stage="process", topic=each.name) for each in (TICK, DEPTH)))


@contextmanager
def running(settings: Settings, roles: Collection[str]) -> Iterator[Supervisor]:
    """Run the processes of roles, all ready."""
    config = settings.local.home / f"bench{settings.kafka.topic_suffix}.toml"
    write_settings(settings, config)
    chosen = [each for each in roles_of(settings) if each.name in roles]
    supervisor = Supervisor(config, chosen, settings.local.home / "logs")
    supervisor.start()
    try:
        wait_until_ready(settings, supervisor)
        yield supervisor
    finally:
        supervisor.stop()


def wait_until_ready(settings: Settings, supervisor: Supervisor) -> None:
    """Wait until all processes have been ready for a while: each that joins a group has the others join anew."""
    until_s, since_s = time.monotonic() + PATIENCE_S, time.monotonic()
    while time.monotonic() - since_s < SETTLE_S:
        if not are_ready(settings, supervisor.pids().values()):
            since_s = time.monotonic()
        if time.monotonic() > until_s or any(each.process.poll() is not None for each in supervisor.children):
            sys.exit(f"a process does not get ready: see {supervisor.log_folder}")
        time.sleep(POLL_S)


def are_ready(settings: Settings, pids: Collection[int]) -> bool:
    """Ask processes whether they are ready."""
    ports = {each.pid: each.port for each in find_processes(settings)}
    return all(pid in ports and is_ready(settings, ports[pid]) for pid in pids)


def is_ready(settings: Settings, port: int) -> bool:
    """Ask a process whether it is ready."""
    try:
        return httpx.get(f"http://{settings.metrics.host}:{port}/ready", timeout=5).is_success
    except httpx.HTTPError:
        return False


def drain(settings: Settings, roles: Collection[str], supervisor: Supervisor) -> None:
    """Wait until all that is written is worked off and committed."""
    groups = {group_name(GROUPS[role], settings) for role in roles}
    until_s = time.monotonic() + PATIENCE_S
    with closing(LagReader(settings)) as reader:
        while any(lag.records for lag in reader.read() if lag.group in groups):
            if time.monotonic() > until_s or any(each.process.poll() is not None for each in supervisor.children):
                sys.exit(f"the backlog is not worked off: see {supervisor.log_folder}")
            time.sleep(POLL_S)


def spent(settings: Settings, supervisor: Supervisor) -> dict[str, float]:
    """Ask for the processor seconds of each role and server so far."""
    used: dict[str, float] = {}
    for child in supervisor.children:
        used[child.role.name] = used.get(child.role.name, 0.0) + used_s(child.process.pid)
    return used | {name: used_s(pid) for name, pid in servers(settings).items()}


def memory_mb(settings: Settings, supervisor: Supervisor) -> dict[str, int]:
    """Ask for the resident memory of each role's largest process, and of each server."""
    found: dict[str, int] = {}
    for child in supervisor.children:
        found[child.role.name] = max(found.get(child.role.name, 0), resident_mb(child.process.pid))
    return found | {name: resident_mb(pid) for name, pid in servers(settings).items()}


def servers(settings: Settings) -> dict[str, int]:
    """Name the servers that run, with their process ids."""
    files = {each.name: read_pid_file(Home.of(settings).pid_file(each.name)) for each in stack.SERVERS}
    return {name: running.pid for name, running in files.items() if running is not None}


def used_s(pid: int) -> float:
    """Ask for the processor time of a process, seconds."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def resident_mb(pid: int) -> int:
    """Ask for the resident memory of a process."""
    return int(psutil.Process(pid).memory_info().rss // MEGABYTE)
