"""Metrics of all processes are summed, and quantiles are those Prometheus would tell."""

import json
import os
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerplant.errors import UserError
from tickerplant.metrics import SENT, serve_metrics
from tickerplant.processes import notes_folder
from tickerplant.scrape import bucket_quantile, scrape
from tickerplant.settings import Local, Metrics, Settings

TEXT = """# TYPE stage_received counter
stage_received_total{stage="process",topic="raw.binance"} 10
stage_received_total{stage="produce",topic="raw.binance"} 7
# TYPE stage_latency_seconds histogram
stage_latency_seconds_bucket{stage="process",venue="BINANCE",le="0.01"} 50
stage_latency_seconds_bucket{stage="process",venue="BINANCE",le="0.02"} 100
stage_latency_seconds_bucket{stage="process",venue="BINANCE",le="+Inf"} 100
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(local=Local(home=tmp_path))


def note(settings: Settings, role: str, pid: int, port: int = 1) -> Path:
    path = notes_folder(settings) / f"metrics-{role}-{pid}-{port}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"role": role, "pid": pid, "port": port}))
    return path


def test_samples_of_several_processes_are_summed(settings: Settings) -> None:
    note(settings, "process", os.getpid(), 1)
    note(settings, "process", os.getpid(), 2)

    found = scrape(settings, fetch=lambda _url: TEXT)

    assert found.total("stage_received_total", stage="process") == 20
    assert found.by_label("stage_received_total", "stage") == {"process": 20, "produce": 14}
    assert found.quantile_s("stage_latency_seconds", 0.5, stage="process") == pytest.approx(0.01)


def test_what_was_never_observed_is_none(settings: Settings) -> None:
    assert scrape(settings).quantile_s("stage_latency_seconds", 0.99) is None


def test_a_process_that_does_not_answer_is_left_out(settings: Settings) -> None:
    note(settings, "process", os.getpid())

    def refuse(_url: str) -> str:
        raise httpx.ConnectError("refused")

    assert scrape(settings, fetch=refuse).processes == []


def test_the_metrics_of_this_process_are_served_and_found(settings: Settings) -> None:
    SENT.labels(stage="test_scrape", topic="x").inc(3)
    serve_metrics(settings, "tester")

    found = scrape(settings)

    assert found.total("stage_sent_total", stage="test_scrape") == 3
    assert found.processes[0].memory_bytes > 0


def test_a_metrics_port_in_use_is_told(settings: Settings) -> None:
    port = serve_metrics(settings, "first")

    with pytest.raises(UserError, match=f"port {port} .* set metrics.port"):
        serve_metrics(settings.model_copy(update={"metrics": Metrics(port=port)}), "second")


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=10), st.floats(0, 1))
def test_a_quantile_lies_within_the_bounds(counts: list[int], share: float) -> None:
    cumulative = [(float(index + 1), float(sum(counts[: index + 1]))) for index in range(len(counts))]

    value = bucket_quantile(cumulative, share)

    assert value is None if sum(counts) == 0 else 0 <= (value or 0) <= len(counts)


def test_above_the_last_bound_the_last_bound_is_told() -> None:
    assert bucket_quantile([(0.1, 0), (1.0, 1), (float("inf"), 10)], 0.99) == 1.0
