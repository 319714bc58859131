"""Each alert fires when it should and stays silent when it should not: run by `promtool test rules`."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

SAMPLE_S = 15
LATENCY = 'ingestion_latency_seconds_bucket{venue="BINANCE",asset_class="CRYPTO",le="%s"}'
PIPELINE = 'pipeline_latency_seconds_bucket{store="%s",table="market_data.tick",venue="BINANCE",le="%s"}'
TICKS = 'ingestion_ticks_total{venue="BINANCE",symbol="BTC/USDT",asset_class="CRYPTO",instance="a"}'
CONNECTION = 'connector_connections{venue="BINANCE",state="%s"}'
LAG = 'kafka_consumergroup_group_max_lag_seconds{cluster_name="tickerplant",group="%s"}'
POSITION = 'stage_lag_seconds{stage="%s",topic="cleaned.tick",partition="0"}'
LETTERS = 'stage_dead_letters_total{stage="process",venue="BINANCE"}'
BOOKS = 'processor_books{venue="BINANCE",state="invalid"}'
DUPLICATES = 'quality_events_total{venue="BINANCE",kind="DUPLICATE"}'
APART = 'quality_events_total{venue="BINANCE",kind="DIVERGENCE"}'
OUTLIERS = 'ticks_flagged_total{venue="BINANCE",flag="OUTLIER"}'
LATE = 'ticks_flagged_total{venue="BINANCE",flag="LATE"}'
DEPENDENCY = 'dependency_up{role="sink-clickhouse",dependency="clickhouse",instance="a"}'
UP = 'up{job="tickerplant",service="%s",instance="a"}'
AGE = 'kafka_consumergroup_poll_age_seconds{cluster_name="tickerplant"}'


@dataclass(frozen=True)
class Case:
    """Series as promtool writes them, a sample every 15 s, and whether the alert fires at a minute."""

    alert: str
    what: str
    series: dict[str, str]
    minute: int
    fires: bool


def steady(per_sample: int, minutes: int, start: int = 0) -> str:
    return f"{start}+{per_sample}x{minutes * 60 // SAMPLE_S}"


def constant(value: float, minutes: int) -> str:
    return f"{value}x{minutes * 60 // SAMPLE_S}"


def after_an_hour(per_sample: int) -> str:
    """Count 300 a sample for an hour, then so many for ten minutes."""
    return steady(300, 60) + " " + steady(per_sample, 10, 72_000 + per_sample)


def slow(bucket: str, *, bound: str, wide: str) -> dict[str, str]:
    """Give a histogram of which nothing lies within a bound, and all within a wider one."""
    return {bucket % bound: steady(0, 60), bucket % wide: steady(10, 60), bucket % "+Inf": steady(10, 60)}


def fast(bucket: str, *, bound: str, wide: str) -> dict[str, str]:
    return {bucket % bound: steady(10, 60), bucket % wide: steady(10, 60), bucket % "+Inf": steady(10, 60)}


CLICKHOUSE, PARQUET = PIPELINE.replace("%s", "clickhouse", 1), PIPELINE.replace("%s", "parquet", 1)
CASES = [
    Case("IngestionLatencyHigh", "p99 of 2 s", slow(LATENCY, bound="1.0", wide="2.0"), 15, fires=True),
    Case("IngestionLatencyHigh", "p99 below 1 s", fast(LATENCY, bound="1.0", wide="2.0"), 15, fires=False),
    Case("PipelineLatencyHigh", "p99 of 7.5 s", slow(CLICKHOUSE, bound="5.0", wide="7.5"), 15, fires=True),
    Case("PipelineLatencyHigh", "p99 below 5 s", fast(CLICKHOUSE, bound="5.0", wide="7.5"), 15, fires=False),
    Case("PipelineLatencyHigh", "files of ten seconds", slow(PARQUET, bound="10.0", wide="15.0"), 15, fires=False),
    Case("ArchiveLatencyHigh", "files of two minutes", slow(PARQUET, bound="60.0", wide="120.0"), 15, fires=True),
    Case("ArchiveLatencyHigh", "files of ten seconds", slow(PARQUET, bound="10.0", wide="15.0"), 15, fires=False),
    Case("TickRateDropped", "an hour, then a third", {TICKS: after_an_hour(100)}, 66, fires=True),
    Case("TickRateDropped", "an hour, then silence", {TICKS: after_an_hour(0)}, 66, fires=True),
    Case("TickRateDropped", "an hour, then the process is gone", {TICKS: steady(300, 60)}, 66, fires=True),
    Case(
        "TickRateDropped",
        "an hour, then two thirds",
        {TICKS: steady(300, 60) + " " + steady(200, 10, 72200)},
        66,
        False,
    ),
    Case(
        "TickRateDropped",
        "a quiet start that grows",
        {TICKS: steady(1, 5) + " " + steady(300, 30, 320)},
        20,
        fires=False,
    ),
    Case("TickRateDropped", "the first minutes", {TICKS: steady(300, 4)}, 4, fires=False),
    Case("TickRateDropped", "hardly a tick, then none", {TICKS: constant(5, 70)}, 66, fires=False),
    Case(
        "TickRateDropped",
        "a restart: the counter begins again",
        {TICKS: steady(300, 60) + " " + steady(300, 10)},
        66,
        fires=False,
    ),
    Case("ConnectorDown", "reconnecting for two minutes", {CONNECTION % "reconnecting": constant(1, 2)}, 2, fires=True),
    Case("ConnectorDown", "never connected", {CONNECTION % "disconnected": constant(1, 2)}, 2, fires=True),
    Case("ConnectorDown", "down for half a minute", {CONNECTION % "reconnecting": "0x3 1x1 0x8"}, 2, fires=False),
    Case("ConnectorDown", "closed on purpose", {CONNECTION % "closed": constant(3, 5)}, 5, fires=False),
    Case(
        "ConsumerLagHigh", "ours, two minutes behind", {LAG % "tickerplant.processor": constant(120, 5)}, 5, fires=True
    ),
    Case("ConsumerLagHigh", "a file", {LAG % "tickerplant.sink.parquet": constant(12, 5)}, 5, fires=False),
    Case("ConsumerLagHigh", "a subscriber's", {LAG % "me": constant(120, 5)}, 5, fires=False),
    Case(
        "ConsumerLagHigh",
        "a comparison that waits for a minute",
        {LAG % "tickerplant.compare": constant(900, 5)},
        5,
        fires=False,
    ),
    Case("ConsumerLagHigh", "a comparison that takes nothing", {POSITION % "compare": constant(120, 5)}, 5, fires=True),
    Case(
        "ConsumerLagHigh", "a stage that commits, by its position", {POSITION % "process": constant(120, 5)}, 5, False
    ),
    Case("DeadLetters", "one", {LETTERS: "0x8 1x8"}, 4, fires=True),
    Case("DeadLetters", "none new for long", {LETTERS: constant(7, 20)}, 20, fires=False),
    Case("BooksInvalid", "for ten minutes", {BOOKS: constant(2, 10)}, 10, fires=True),
    Case("BooksInvalid", "for a minute after a reconnect", {BOOKS: "0x8 2x4 0x20"}, 8, fires=False),
    Case("DuplicatesHigh", "2 %", {DUPLICATES: steady(6, 30), TICKS: steady(300, 30)}, 30, fires=True),
    Case("DuplicatesHigh", "half a percent", {DUPLICATES: steady(1, 30), TICKS: steady(200, 30)}, 30, fires=False),
    Case("OutliersHigh", "0.2 %", {OUTLIERS: steady(1, 30), TICKS: steady(500, 30)}, 30, fires=True),
    Case("OutliersHigh", "half a per mille", {OUTLIERS: steady(1, 30), TICKS: steady(2000, 30)}, 30, fires=False),
    Case("OutliersHigh", "late ticks alone", {LATE: steady(100, 30), TICKS: steady(300, 30)}, 30, fires=False),
    Case("VenueApart", "one symbol, all the time", {APART: steady(15, 12)}, 12, fires=True),
    Case("VenueApart", "a quarter of the time", {APART: steady(3, 12)}, 12, fires=False),
    Case("DependencyDown", "for two minutes", {DEPENDENCY: constant(0, 2)}, 2, fires=True),
    Case("DependencyDown", "for half a minute", {DEPENDENCY: "1x4 0x1 1x8"}, 2, fires=False),
    Case("ProcessDown", "for two minutes", {UP % "producer": constant(0, 2)}, 2, fires=True),
    Case("ProcessDown", "none", {UP % "producer": constant(1, 5)}, 5, fires=False),
    Case("RoleGone", "an hour ago there was one", {UP % "producer": "1x40 stale"}, 15, fires=True),
    Case("RoleGone", "another replica is left", {UP % "producer": constant(1, 20)}, 15, fires=False),
    Case("LagUnknown", "for three minutes", {AGE: steady(15, 5)}, 4, fires=True),
    Case("LagUnknown", "a reading every five seconds", {AGE: constant(5, 5)}, 5, fires=False),
]


def promtool(tools: Any, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tools.promtool, *arguments], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.what}")
def test_an_alert_fires_when_it_should(case: Case, prometheus_tools: Any, grafana: Path, tmp_path: Path) -> None:
    firing = f'sum by (alertname) (ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    samples = [{"labels": f'{{alertname="{case.alert}"}}', "value": 1}] if case.fires else []
    page = {
        "rule_files": [str(path) for path in sorted((grafana / "prometheus" / "rules").glob("*.yml"))],
        "evaluation_interval": f"{SAMPLE_S}s",
        "tests": [
            {
                "interval": f"{SAMPLE_S}s",
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "promql_expr_test": [{"expr": firing, "eval_time": f"{case.minute}m", "exp_samples": samples}],
            }
        ],
    }
    path = tmp_path / "test.json"
    path.write_text(json.dumps(page))

    done = promtool(prometheus_tools, "test", "rules", path)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_and_to_be_silent(grafana: Path) -> None:
    groups = yaml.safe_load((grafana / "prometheus" / "rules" / "alerts.yml").read_text())["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"]}

    assert {case.alert for case in CASES if case.fires} == names
    assert {case.alert for case in CASES if not case.fires} == names


def test_config_and_rules_are_valid(prometheus_tools: Any, grafana: Path) -> None:
    done = promtool(prometheus_tools, "check", "config", grafana / "prometheus" / "prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr
