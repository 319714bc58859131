"""What so many ticks a second take: partitions, processes, machines, disks, network, and their price a month.

Nothing is measured here: figures of results.json are multiplied by a rate, and by the assumptions below. What comes of
it is no better than those: cost a tick is taken as flat (`benchmarks.scale` tells how flat it is), a virtual core as
one of the machine that was measured on.

Run: python -m benchmarks.plan [TICKS A SECOND]
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import results
from benchmarks.results import Result

PAGE: Final = Path(__file__).parents[1] / "docs" / "scaling.md"
BUDGET: Final = "A tick through all processes"
FEED: Final = "One connection, socket to raw record"
TO_KAFKA: Final = "frame_to_kafka_us"
STARTUP: Final = "Start-up and memory by process"
TICKS_PER_S: Final = 1_000_000
RATES: Final = (10_000, 100_000, TICKS_PER_S)
DAY_S: Final = 86_400
MONTH_S: Final = 30 * DAY_S
GIGABYTE: Final = 1e9
MEGABYTE: Final = 1e6
UNKNOWN_MB: Final = 100  # a producer, until it is measured
SERVERS: Final = {"broker": "brokers", "clickhouse": "ClickHouse", "s3": "object store, ours; bought as a service"}
ROLES: Final = {
    "produce": "producers",
    "process": "processors",
    "sink-clickhouse": "sinks to ClickHouse",
    "sink-parquet": "sinks to Parquet",
}


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What is not measured; prices in USD, of AWS in us-east-1 as listed for use on demand: look them up again.

    Args:
        busy: share of a core that is used on the mean of a day; bursts need the rest.
        replicas: of topics. Each one more costs the brokers `replica_cost` of what the first one does.
        clickhouse_copies: replicas of ClickHouse; each does all the work.
        subscribers: that read all cleaned topics, besides the sinks.
        topic_days: that topics are kept; `hot_days` in ClickHouse; `lake_days` as Parquet.
        roll_s: how often a file of each topic and partition is written (`sink.parquet_roll_s`), of `files` topics.
        machine_cores: virtual ones of a machine (m6i.4xlarge), with `machine_gb` of memory, for `machine_hour`.
        disk_month: a GB of SSD (gp3); `object_month`: of object storage (S3 Standard); `puts_million`: requests.
        crossing: share of the traffic between our machines that goes to another zone, at `crossing_gb` a GB, both ways.
    """

    busy: float = 0.6
    replicas: int = 3
    replica_cost: float = 0.5
    clickhouse_copies: int = 2
    subscribers: int = 1
    topic_days: float = 1.0
    hot_days: float = 7.0
    lake_days: float = 90.0
    roll_s: float = 10.0
    files: int = 4
    machine_cores: int = 16
    machine_gb: int = 64
    machine_hour: float = 0.768
    disk_month: float = 0.08
    object_month: float = 0.023
    puts_million: float = 5.0
    crossing: float = 2 / 3
    crossing_gb: float = 0.02


ASSUMED: Final = Assumptions()


WORDS: Final = {
    "busy": "share of a core that is used on the mean; bursts need the rest",
    "replicas": "replicas of topics",
    "replica_cost": "cost to brokers of each replica more, in shares of the first",
    "clickhouse_copies": "replicas of ClickHouse",
    "subscribers": "subscribers to all cleaned topics besides the sinks",
    "topic_days": "days that topics are kept",
    "hot_days": "days in ClickHouse",
    "lake_days": "days as Parquet",
    "machine_hour": "a machine of 16 virtual cores and 64 GB (m6i.4xlarge), $ an hour",
    "disk_month": "SSD (gp3), $ a GB and month",
    "object_month": "object storage (S3 Standard), $ a GB and month",
    "puts_million": "requests that write an object, $ a million",
    "crossing": "share of the traffic that goes to another zone",
    "crossing_gb": "that traffic, both ways, $ a GB",
}
"""What is assumed, by its name in `Assumptions`."""

BEGIN: Final = "<!-- begin: written by make bench -->"
END: Final = "<!-- end -->"


class Figures(NamedTuple):
    """What was measured: processor time and bytes of a tick, and resident memory, by process or store."""

    cost_us: Mapping[str, float]
    size_bytes: Mapping[str, float]
    memory_mb: Mapping[str, float]


class Traffic(NamedTuple):
    """Bytes a second: into the brokers, to those who read, and between brokers."""

    written: float
    read: float
    copied: float


class Plan(NamedTuple):
    """What a rate takes.

    Args:
        cores: used on the mean, by role or server.
        processes: of each role.
        machines: that all cores and memory fit in.
        disk_gb: of SSD, by what lies there; `lake_gb`: of object storage.
        price: a month, USD, by what it is for.
    """

    rate: int
    cores: dict[str, float]
    partitions: int
    processes: dict[str, int]
    machines: int
    memory_gb: float
    traffic: Traffic
    disk_gb: dict[str, float]
    lake_gb: float
    price: dict[str, float]

    @property
    def price_month(self) -> float:
        """Add up the price."""
        return sum(self.price.values())


def figures(found: Mapping[str, Result]) -> Figures | None:
    """Pick what is needed out of the results; None = it was not measured yet."""
    if BUDGET not in found or FEED not in found or TO_KAFKA not in found[FEED].figures:
        return None
    budget, feed = found[BUDGET].figures, found[FEED].figures
    cost_us = {"produce": feed[TO_KAFKA], **budget["us_per_tick"]}
    producer = found[STARTUP].figures.get("produce", {}) if STARTUP in found else {}
    memory_mb = {"produce": producer.get("load_mb", UNKNOWN_MB), **budget["memory_mb"]}
    return Figures(cost_us, budget["bytes_per_tick"], memory_mb)


def plan(rate: int, known: Figures, assumed: Assumptions = ASSUMED) -> Plan:
    """Calculate what a rate takes."""
    cores = {name: us * rate / 1e6 for name, us in known.cost_us.items() if name in ROLES or name in SERVERS}
    cores["broker"] *= 1 + (assumed.replicas - 1) * assumed.replica_cost
    cores["clickhouse"] *= assumed.clickhouse_copies
    del cores["s3"]
    processes = {name: ceil(cores[name] / assumed.busy) for name in ROLES}
    partitions = 2 ** ceil(log2(max(processes.values())))
    memory_gb = sum(count * known.memory_mb.get(name, 0) for name, count in processes.items()) / 1000
    by_cores = sum(cores.values()) / assumed.busy / assumed.machine_cores
    machines = max(ceil(max(by_cores, memory_gb / assumed.machine_gb)), assumed.replicas)
    traffic = traffic_of(rate, known, assumed)
    daily_gb = {name: size * rate * DAY_S / GIGABYTE for name, size in known.size_bytes.items()}
    topics_gb = (daily_gb["kafka_raw"] + daily_gb["kafka_cleaned"]) * assumed.replicas * assumed.topic_days
    tables_gb = (daily_gb["clickhouse_raw"] + daily_gb["clickhouse_cleaned"]) * assumed.clickhouse_copies
    disk_gb = {"topics": topics_gb, "ClickHouse": tables_gb * assumed.hot_days}
    lake_gb = (daily_gb["parquet_raw"] + daily_gb["parquet_cleaned"]) * assumed.lake_days
    puts = partitions * assumed.files * MONTH_S / assumed.roll_s
    moved_gb = sum(traffic) * MONTH_S / GIGABYTE
    price = {
        "machines": machines * assumed.machine_hour * MONTH_S / 3600,
        "disks": sum(disk_gb.values()) * assumed.disk_month,
        "object storage": lake_gb * assumed.object_month + puts / 1e6 * assumed.puts_million,
        "network between zones": moved_gb * assumed.crossing * assumed.crossing_gb,
    }
    return Plan(rate, cores, partitions, processes, machines, memory_gb, traffic, disk_gb, lake_gb, price)


def traffic_of(rate: int, known: Figures, assumed: Assumptions) -> Traffic:
    """Tell what goes over the network: raw topics are read by processors and both sinks, cleaned ones by sinks, too."""
    raw, cleaned = (known.size_bytes[name] * rate for name in ("kafka_raw", "kafka_cleaned"))
    read = raw * 3 + cleaned * (2 + assumed.subscribers)
    return Traffic(raw + cleaned, read, (raw + cleaned) * (assumed.replicas - 1))


def table(plans: list[Plan]) -> Iterator[str]:
    """Lay plans out side by side, in Markdown."""
    yield "| |" + "".join(f" {each.rate:,} ticks/s |" for each in plans)
    yield "|---|" + "--:|" * len(plans)
    yield from (row(name, cells) for name, cells in lines(plans))


def lines(plans: list[Plan]) -> Iterator[tuple[str, list[str]]]:
    """Name what is told of each plan, and tell it."""
    yield "partitions", [f"{each.partitions:,}" for each in plans]
    for name, words in ROLES.items():
        yield (
            f"{words}: processes (cores used)",
            [f"{each.processes[name]:,} ({each.cores[name]:.1f})" for each in plans],
        )
    for name in ("broker", "clickhouse"):
        yield f"{SERVERS[name]}: cores used", [f"{each.cores[name]:.1f}" for each in plans]
    yield "machines of 16 cores, 64 GB", [f"{each.machines:,}" for each in plans]
    yield "memory of our processes, GB", [f"{each.memory_gb:,.1f}" for each in plans]
    for number, words in enumerate(("written to brokers", "read from brokers", "between brokers")):
        yield f"{words}, MB/s", [f"{each.traffic[number] / MEGABYTE:,.0f}" for each in plans]
    for name in ("topics", "ClickHouse"):
        yield f"disk of {name}, TB", [f"{each.disk_gb[name] / 1000:,.1f}" for each in plans]
    yield "Parquet in object storage, TB", [f"{each.lake_gb / 1000:,.1f}" for each in plans]
    for name in plans[0].price:
        yield f"{name}, $ a month", [f"{each.price[name]:,.0f}" for each in plans]
    yield "**in all, $ a month**", [f"**{each.price_month:,.0f}**" for each in plans]
    yield "$ a billion ticks", [f"{each.price_month / (each.rate * MONTH_S / 1e9):,.2f}" for each in plans]


def row(name: str, cells: list[str]) -> str:
    """Lay out a row."""
    return f"| {name} |" + "".join(f" {cell} |" for cell in cells)


def page(text: str, found: Mapping[str, Result]) -> str:
    """Put what follows from the results between the marks of docs/scaling.md; nothing, while it was not measured."""
    known = figures(found)
    if known is None:
        return text
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    made = [
        *table([plan(rate, known) for rate in RATES]),
        "",
        f"By `{found[BUDGET].command}`; {found[BUDGET].machine} (producers: `{found[FEED].command}`):",
        "",
        "| process | µs of processor time a tick | memory, MB |",
        "|---|--:|--:|",
        *(f"| {name} | {us:,.1f} | {known.memory_mb.get(name, '')} |" for name, us in known.cost_us.items()),
        "",
        "| store | bytes a tick on disk |",
        "|---|--:|",
        *(f"| {name.replace('_', ', ')} | {size:,.1f} |" for name, size in known.size_bytes.items()),
        "",
        "| assumed | value |",
        "|---|--:|",
        *(f"| {words} | {getattr(ASSUMED, name):.3g} |" for name, words in WORDS.items()),
    ]
    return "\n".join([before + BEGIN, "", *made, "", END + after])


def main(rate: int) -> None:
    """Print the plan of a rate.

    Raises:
        SystemExit: what it needs was not measured yet.
    """
    known = figures(results.read())
    if known is None:
        sys.exit("nothing to plan by: run `python -m benchmarks.run budget feed` first")
    print(*table([plan(rate, known)]), sep="\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TICKS_PER_S)
