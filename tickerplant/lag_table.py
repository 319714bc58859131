"""`tickerplant lag`: how far each consumer group is behind, for a person: by commit and by position."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from math import isnan
from typing import Final

import click
import msgspec
from rich.live import Live
from rich.table import Table

from tickerplant.cluster_lag import ClusterLagReader, Reading
from tickerplant.console import make_console
from tickerplant.errors import UserError
from tickerplant.lag import PROCESSOR, SINKS, Lag, group_name
from tickerplant.scrape import scrape
from tickerplant.settings import Settings

REFRESH_S: Final = 2.0
STAGES: Final = {"process": PROCESSOR, "sink.clickhouse": SINKS[0], "sink.parquet": SINKS[1]}
"""Stage → consumer group."""

SAMPLES: Final = ("stage_lag_records", "stage_lag_seconds")


@dataclass(frozen=True)
class Row:
    """Lag of a group in a partition, or in all of a topic (partition None).

    Args:
        state: of the group, as the broker names it: `stable`, `empty` = no member, ...
        committed: next offset to be read after a restart; None = nothing was committed, or it is a sum.
        lag, lag_seconds: by commit; seconds None = not known.
        position_lag, position_lag_seconds: by what a process of this machine has taken; None = not told by one.
    """

    group: str
    state: str
    topic: str
    partition: int | None
    committed: int | None
    end: int
    lag: int
    lag_seconds: float | None
    position_lag: int | None
    position_lag_seconds: float | None


Positions = dict[tuple[str, str, int], tuple[float, float]]
"""Group, topic, partition → lag by position in records and seconds; NaN = not known."""


def show(settings: Settings, groups: Sequence[str], *, by_partition: bool, is_watching: bool, as_json: bool) -> None:
    """Print the lag of these groups (empty = all); on and on until Ctrl-C where asked.

    Raises:
        UserError: there is no such group, or the broker refuses us.
        DependencyError: the broker does not answer.
    """
    with closing(ClusterLagReader(settings)) as reader:
        rows = _read(settings, reader, groups, by_partition=by_partition)
        missing = sorted(set(groups) - {row.group for row in rows})
        if missing:
            known = ", ".join(sorted({row.group for row in _read(settings, reader, (), by_partition=False)}))
            raise UserError(f"no consumer group {missing[0]} reads our topics; there are: {known or 'none yet'}")
        if not is_watching:
            _print(rows, as_json=as_json)
            return
        with suppress(KeyboardInterrupt), Live(console=make_console(quiet=as_json), auto_refresh=False) as live:
            while True:
                if as_json:
                    _print(rows, as_json=True)
                else:
                    live.update(render(rows), refresh=True)
                time.sleep(REFRESH_S)
                rows = _read(settings, reader, groups, by_partition=by_partition)


def rows_of(reading: Reading, positions: Positions, groups: Sequence[str] = ()) -> list[Row]:
    """Make a row for each partition of these groups (empty = all)."""
    return [
        _row(lag, reading.states[lag.group], positions.get((lag.group, lag.topic, lag.partition)))
        for lag in reading.lags
        if not groups or lag.group in groups
    ]


def summed(rows: Iterable[Row]) -> list[Row]:
    """Make one row a topic: records are summed, of seconds the most counts."""
    by_topic: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_topic[row.group, row.state, row.topic].append(row)
    return [_sum(names, each) for names, each in by_topic.items()]


def positions_now(settings: Settings) -> Positions:
    """Ask the processes of this machine how far they are."""
    found = scrape(settings, SAMPLES)
    positions: Positions = {}
    for (name, labels), value in found.samples.items():
        if name != SAMPLES[0]:
            continue
        told = dict(labels)
        group = group_name(STAGES.get(told["stage"], told["stage"]), settings)
        seconds = found.samples.get((SAMPLES[1], labels), float("nan"))
        positions[group, told["topic"], int(told["partition"])] = (value, seconds)
    return positions


def render(rows: Sequence[Row]) -> Table:
    """Draw the rows below a line for each group, which tells its state and its sums."""
    table = Table(title="consumer lag", title_justify="left")
    table.add_column("group, topic", overflow="fold")
    for name in ("partition", "lag", "lag s", "position", "position s"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    by_group: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_group[row.group, row.state].append(row)
    for (group, state), mine in by_group.items():
        total = _sum((group, state, ""), mine)
        table.add_row(f"[bold]{group}[/bold] ({state})", "", *_figures(total))
        for row in mine:
            table.add_row(f"  {row.topic}", "all" if row.partition is None else str(row.partition), *_figures(row))
    table.caption = None if rows else "no consumer group reads our topics: `tickerplant run CONFIG.toml`"
    return table


def _read(settings: Settings, reader: ClusterLagReader, groups: Sequence[str], *, by_partition: bool) -> list[Row]:
    rows = rows_of(reader.read(), positions_now(settings), groups)
    return rows if by_partition else summed(rows)


def _print(rows: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"lags": rows}))
    else:
        make_console().print(render(rows))


def _row(lag: Lag, state: str, position: tuple[float, float] | None) -> Row:
    records, seconds = position or (float("nan"), float("nan"))
    return Row(
        group=lag.group,
        state=state,
        topic=lag.topic,
        partition=lag.partition,
        committed=lag.committed,
        end=lag.end,
        lag=lag.records,
        lag_seconds=lag.seconds,
        position_lag=None if isnan(records) else int(records),
        position_lag_seconds=None if isnan(seconds) else seconds,
    )


def _sum(names: tuple[str, str, str], rows: Sequence[Row]) -> Row:
    group, state, topic = names
    positions = [row.position_lag for row in rows if row.position_lag is not None]
    return Row(
        group=group,
        state=state,
        topic=topic,
        partition=None,
        committed=None,
        end=sum(row.end for row in rows),
        lag=sum(row.lag for row in rows),
        lag_seconds=_most(row.lag_seconds for row in rows),
        position_lag=sum(positions) if positions else None,
        position_lag_seconds=_most(row.position_lag_seconds for row in rows),
    )


def _figures(row: Row) -> tuple[str, str, str, str]:
    position = "-" if row.position_lag is None else f"{row.position_lag:,}"
    return f"{row.lag:,}", _seconds(row.lag_seconds), position, _seconds(row.position_lag_seconds)


def _most(seconds: Iterable[float | None]) -> float | None:
    return max((each for each in seconds if each is not None), default=None)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
