"""`tickerplant top`: what each stage does now: rate, latency, lag, memory, rows stored."""

import time
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass

import click
import msgspec
from rich.live import Live
from rich.table import Table

from tickerplant.console import make_console
from tickerplant.errors import DependencyError
from tickerplant.lag import LagReader
from tickerplant.processes import find_processes
from tickerplant.refusals import listens
from tickerplant.scrape import Scrape, scrape
from tickerplant.settings import Settings

REFRESH_S = 1.0

STAGES = {
    "produce": ("produce", ""),
    "process": ("process", "tickerplant.processor"),
    "sink.clickhouse": ("sink-clickhouse", "tickerplant.sink.clickhouse"),
    "sink.parquet": ("sink-parquet", "tickerplant.sink.parquet"),
}
"""Stage → (role of its processes, consumer group; empty = it reads no topic)."""

COUNTERS = ("received", "sent", "dead_letters", "errors")
SAMPLES = (*(f"stage_{name}_total" for name in COUNTERS), "stage_latency_seconds_bucket", "sink_rows_total")
"""All that a view is made of: text of other samples is not even asked for."""


@dataclass(frozen=True)
class StageRow:
    """One stage now: items and records are counts, `*_ms` of socket read → done; None = nothing observed yet."""

    stage: str
    processes: int
    received: int
    sent: int
    received_per_s: float
    lag_records: int | None
    p50_ms: float | None
    p99_ms: float | None
    dead_letters: int
    errors: int
    memory_mb: int


@dataclass(frozen=True)
class View:
    """All stages at one time, and the rows each store has acknowledged since its process started."""

    time_s: float
    stages: list[StageRow]
    rows: dict[str, int]


def read_view(settings: Settings, lags: LagReader, before: View | None = None) -> View:
    """Ask all processes and the broker; rates are those since the view before (None = 0)."""
    found = scrape(settings, SAMPLES)
    time_s = time.monotonic()
    lag = _lag_by_group(lags, settings.kafka.topic_suffix)
    stages = [_stage_row(found, stage, lag, before, time_s) for stage in STAGES]
    rows = {store: int(count) for store, count in found.by_label("sink_rows_total", "store").items()}
    return View(time_s, stages, rows)


def render(view: View) -> Table:
    """Draw a view."""
    table = Table(title="tickerplant", title_justify="left")
    for name in ("stage", "processes", "received", "per s", "sent", "lag", "p50 ms", "p99 ms", "dead", "errors", "MB"):
        table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=name == "stage")
    for row in view.stages:
        lag = "-" if row.lag_records is None else f"{row.lag_records:,}"
        numbers = [f"{row.processes}", f"{row.received:,}", f"{row.received_per_s:,.0f}", f"{row.sent:,}", lag]
        tail = [_milliseconds(row.p50_ms), _milliseconds(row.p99_ms), f"{row.dead_letters}", f"{row.errors}"]
        table.add_row(row.stage, *numbers, *tail, f"{row.memory_mb}")
    stored = "  ".join(f"{store}: {rows:,} rows" for store, rows in sorted(view.rows.items()))
    table.caption = stored or "no process of ours runs: `tickerplant run CONFIG.toml`"
    return table


def watch(settings: Settings, *, once: bool, as_json: bool) -> None:
    """Print views until Ctrl-C; once: one view over a second, then return.

    Raises:
        DependencyError: with once, neither the broker nor a process of ours is there to tell anything.
    """
    servers = settings.kafka.bootstrap_servers
    if once and not find_processes(settings) and not any(map(listens, servers.split(","))):
        raise DependencyError("kafka", servers)
    with closing(LagReader(settings)) as lags:
        view = read_view(settings, lags)
        if once:
            time.sleep(REFRESH_S)
            _print(read_view(settings, lags, view), as_json=as_json)
        else:
            _watch_on(settings, lags, view)


def _watch_on(settings: Settings, lags: LagReader, view: View) -> None:
    with suppress(KeyboardInterrupt), Live(render(view), console=make_console(), auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH_S)
            view = read_view(settings, lags, view)
            live.update(render(view), refresh=True)


def _print(view: View, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(view))
    else:
        make_console().print(render(view))


def _stage_row(found: Scrape, stage: str, lag: dict[str, int] | None, before: View | None, time_s: float) -> StageRow:
    role, group = STAGES[stage]
    mine = [process for process in found.processes if process.role == role]
    received = int(found.total("stage_received_total", stage=stage))
    return StageRow(
        stage=stage,
        processes=len(mine),
        received=received,
        sent=int(found.total("stage_sent_total", stage=stage)),
        received_per_s=_rate(stage, received, before, time_s),
        lag_records=lag.get(group, 0) if lag is not None and group else None,
        p50_ms=_in_ms(found.quantile_s("stage_latency_seconds", 0.5, stage=stage)),
        p99_ms=_in_ms(found.quantile_s("stage_latency_seconds", 0.99, stage=stage)),
        dead_letters=int(found.total("stage_dead_letters_total", stage=stage)),
        errors=int(found.total("stage_errors_total", stage=stage)),
        memory_mb=sum(process.memory_bytes for process in mine) // 2**20,
    )


def _rate(stage: str, received: int, before: View | None, time_s: float) -> float:
    if before is None or time_s <= before.time_s:
        return 0.0
    earlier = next(row.received for row in before.stages if row.stage == stage)
    return max(0, received - earlier) / (time_s - before.time_s)


def _lag_by_group(lags: LagReader, suffix: str) -> dict[str, int] | None:
    """Sum lags by group, named without the suffix of topics; None = the broker does not answer."""
    sums: dict[str, int] = defaultdict(int)
    try:
        for each in lags.read():
            sums[each.group.removesuffix(suffix)] += each.records
    except DependencyError:
        return None
    return sums


def _in_ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
