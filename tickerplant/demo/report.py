"""What a demo found: one object, and the same as tables for a person."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.table import Table

from tickerplant.demo.accounts import Accounts
from tickerplant.demo.reconcile import TopicCounts
from tickerplant.demo.stores import StoreCount
from tickerplant.top import View

WARM_UP_S = 5
"""Latencies to the cleaned topics leave out the first seconds, in which just started processes warm up."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that was counted and measured.

    Args:
        frames_served: market-data frames that left the venue, those apart that only say again what others say.
        stored: store → table → rows.
        latency_us: way → quantile → µs from the socket; None = nothing observed.
        seconds: from the first frame until all was stored.
        accounts: what the venue injected, and what was seen of it.
    """

    frames_served: int
    topics: TopicCounts
    stored: dict[str, dict[str, StoreCount]]
    latency_us: dict[str, dict[str, int | None]]
    memory_mb: dict[str, int]
    seconds: float
    accounts: Accounts = field(default_factory=lambda: Accounts([]))

    @property
    def ticks(self) -> int:
        """Records in cleaned.tick."""
        return self.topics.ticks.records

    @property
    def depth(self) -> int:
        """Records in cleaned.depth."""
        return self.topics.depth.records

    def rows(self, store: str) -> int:
        """Rows of ticks and depth in a store."""
        return sum(count.rows for count in self.stored[store].values())

    @property
    def lost(self) -> int:
        """What is missing anywhere: frames in raw, items in cleaned topics, rows in stores."""
        topics = self.topics
        missing = [
            self.frames_served - self.accounts.unread - topics.raw.frames,
            topics.expected_ticks - len(topics.ticks.sources),
            topics.expected_deltas - topics.depth.kinds["DELTA"],
        ]
        for tables in self.stored.values():
            missing += [len(topics.ticks.sources) - tables["tick"].distinct]
            missing += [len(topics.depth.sources) - tables["depth"].distinct]
        return sum(max(0, each) for each in missing)

    @property
    def doubled(self) -> int:
        """What is there more often than once, or more than it should be."""
        topics = self.topics
        surplus = [
            topics.raw.frames - self.frames_served,
            topics.ticks.doubled,
            topics.depth.doubled,
            len(topics.ticks.sources) - topics.expected_ticks,
            topics.depth.kinds["DELTA"] - topics.expected_deltas,
        ]
        surplus += [count.rows - count.distinct for tables in self.stored.values() for count in tables.values()]
        return sum(max(0, each) for each in surplus)

    @property
    def adds_up(self) -> bool:
        """Tell whether every frame is where it should be, once."""
        return self.frames_served > 0 and self.lost == 0 and self.doubled == 0 and self.accounts.adds_up

    def summary(self) -> dict[str, Any]:
        """Make the object that `--json` prints."""
        topics = self.topics
        return {
            "frames_served": self.frames_served,
            "frames_raw": topics.raw.frames,
            "ticks": self.ticks,
            "ticks_expected": topics.expected_ticks,
            "depth": self.depth,
            "depth_deltas": topics.depth.kinds["DELTA"],
            "depth_deltas_expected": topics.expected_deltas,
            "clickhouse_rows": self.rows("clickhouse"),
            "parquet_rows": self.rows("parquet"),
            "lost": self.lost,
            "doubled": self.doubled,
            "dead_letters": topics.dead_letters,
            "gaps": topics.quality["GAP"],
            "accounts": [row.as_json() for row in self.accounts.rows],
            "latency_us": self.latency_us,
            "latency_warm_up_s": WARM_UP_S,
            "kinds": dict(topics.ticks.kinds) | {f"DEPTH_{kind}": n for kind, n in topics.depth.kinds.items()},
            "channels": dict(topics.raw.by_channel),
            "duplicates_dropped": dict(topics.duplicates),
            "quality_events": dict(topics.quality),
            "memory_mb": self.memory_mb,
            "seconds": round(self.seconds, 3),
            "ticks_per_s": round(self.ticks / self.seconds) if self.seconds else 0,
            "adds_up": self.adds_up,
        }


def latencies(topics: TopicCounts, view: View) -> dict[str, dict[str, int | None]]:
    """Tell the time from the socket to the cleaned topics (of every record) and to the stores (estimated), in µs."""
    found: dict[str, dict[str, int | None]] = {"socket_to_cleaned": _quantiles(topics)}
    for row in view.stages:
        if row.stage.startswith("sink."):
            store = row.stage.removeprefix("sink.")
            found[f"socket_to_{store}"] = {"p50": _in_us(row.p50_ms), "p99": _in_us(row.p99_ms)}
    return found


def _quantiles(topics: TopicCounts) -> dict[str, int | None]:
    """Tell quantiles of all records, those of the first seconds aside where there are later ones."""
    times_us = np.array(topics.ticks.times_us + topics.depth.times_us, dtype=np.int64).reshape(-1, 2)
    if not times_us.size:
        return {"p50": None, "p99": None}
    is_warm = times_us[:, 0] >= times_us[:, 0].min() + WARM_UP_S * 1_000_000
    chosen = times_us[is_warm] if is_warm.any() else times_us
    latencies_us = chosen[:, 1] - chosen[:, 0]
    return {"p50": round(np.quantile(latencies_us, 0.5)), "p99": round(np.quantile(latencies_us, 0.99))}


def show(findings: Findings, sample: str, places: dict[str, str], console: Console) -> None:
    """Print findings, a sample query with its result, and where everything is."""
    console.print(Group(_flow_table(findings), _accounts_table(findings.accounts), _latency_table(findings)))
    console.print(sample)
    for name, place in places.items():
        console.print(f"  {name:<12} {place}", highlight=False, soft_wrap=True)
    verdict = "every frame is where it should be, once" if findings.adds_up else "IT DOES NOT ADD UP"
    console.print(f"{verdict}: {findings.lost} lost, {findings.doubled} doubled")


def _flow_table(findings: Findings) -> Table:
    topics = findings.topics
    table = Table(title="reconciliation", title_justify="left")
    for column in ("", "expected", "found"):
        table.add_column(column, justify="left" if not column else "right")
    rows = [
        ("frames served → raw topic", findings.frames_served, topics.raw.frames),
        ("distinct trades and quotes → cleaned.tick", topics.expected_ticks, findings.ticks),
        ("depth updates → deltas in cleaned.depth", topics.expected_deltas, topics.depth.kinds["DELTA"]),
        ("ticks and depth → ClickHouse", findings.ticks + findings.depth, findings.rows("clickhouse")),
        ("ticks and depth → Parquet", findings.ticks + findings.depth, findings.rows("parquet")),
        ("dead letters", "", topics.dead_letters),
        ("gaps", "", topics.quality["GAP"]),
    ]
    for name, expected, found in rows:
        table.add_row(name, f"{expected:,}" if expected != "" else "", f"{found:,}")
    return table


def _accounts_table(accounts: Accounts) -> Table:
    table = Table(title="what the venue did, and what is seen of it", title_justify="left")
    for column, justify in (("", "left"), ("injected", "right"), ("seen", "right"), ("", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in accounts.rows:
        verdict = {True: "✓", False: "NOT ACCOUNTED FOR", None: ""}[row.is_right]
        seen = "" if row.seen is None else f"{row.seen:,}"
        table.add_row(row.name, f"{row.injected:,}", seen, f"{verdict} {row.note}".strip())
    return table


def _latency_table(findings: Findings) -> Table:
    table = Table(title=f"latency from the socket, ms (cleaned: after {WARM_UP_S} s)", title_justify="left")
    for column in ("to", "p50", "p99"):
        table.add_column(column, justify="left" if column == "to" else "right")
    for way, quantiles in findings.latency_us.items():
        cells = ["-" if value is None else f"{value / 1000:,.1f}" for value in quantiles.values()]
        table.add_row(way.removeprefix("socket_to_"), *cells)
    return table


def _in_us(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds * 1000)
