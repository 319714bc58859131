"""The live table: rates since the view before, sums over processes, and None where nothing is known."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from tickerplant import top
from tickerplant.errors import DependencyError
from tickerplant.lag import Lag, LagReader
from tickerplant.processes import notes_folder
from tickerplant.settings import Local, Settings
from tickerplant.top import STAGES, StageRow, View, read_view, render, watch

PROCESS = """# TYPE stage_received counter
stage_received_total{{stage="process",topic="raw.binance"}} {received}
# TYPE stage_sent counter
stage_sent_total{{stage="process",topic="cleaned.tick"}} 7
# TYPE stage_latency_seconds histogram
stage_latency_seconds_bucket{{stage="process",venue="BINANCE",le="0.01"}} 100
stage_latency_seconds_bucket{{stage="process",venue="BINANCE",le="+Inf"}} 100
# TYPE sink_rows counter
sink_rows_total{{store="parquet",table="tick"}} 3
sink_rows_total{{store="parquet",table="depth"}} 2
"""


class KnownLags(LagReader):
    """Tells lags without a broker; None = it does not answer."""

    def __init__(self, settings: Settings, lags: list[Lag] | None) -> None:
        super().__init__(settings)
        self._lags = lags

    def read(self) -> list[Lag]:
        if self._lags is None:
            raise DependencyError("kafka", "127.0.0.1:1")
        return self._lags


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(local=Local(home=tmp_path))


@pytest.fixture
def serve(settings: Settings) -> Iterator[Callable[[str], None]]:
    """Let a process of ours, in the role of a processor, serve a text as its metrics."""
    served = {"text": ""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served["text"].encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    note = notes_folder(settings) / "metrics-process-1.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"role": "process", "pid": os.getpid(), "port": server.server_port}))
    yield lambda text: served.update(text=text)
    server.shutdown()
    thread.join()
    server.server_close()


def lag(group: str, partition: int, committed: int | None) -> Lag:
    return Lag(group, "raw.binance", partition, committed, 0, 10)


def row_of(view: View, stage: str) -> StageRow:
    return next(row for row in view.stages if row.stage == stage)


def test_rates_are_those_since_the_view_before(settings: Settings, serve: Callable[[str], None]) -> None:
    lags = KnownLags(settings, [])
    serve(PROCESS.format(received=10))
    before = read_view(settings, lags)
    serve(PROCESS.format(received=1010))

    now = read_view(settings, lags, before)

    row = row_of(now, "process")
    assert row_of(before, "process").received_per_s == 0.0
    assert row.received_per_s == pytest.approx(1000 / (now.time_s - before.time_s))


def test_a_restarted_process_has_no_negative_rate(settings: Settings, serve: Callable[[str], None]) -> None:
    lags = KnownLags(settings, [])
    serve(PROCESS.format(received=1000))
    before = read_view(settings, lags)
    serve(PROCESS.format(received=0))

    assert row_of(read_view(settings, lags, before), "process").received_per_s == 0.0


def test_counts_latency_rows_and_lag_are_shown(settings: Settings, serve: Callable[[str], None]) -> None:
    serve(PROCESS.format(received=5))
    group = STAGES["process"][1]

    view = read_view(settings, KnownLags(settings, [lag(group, 0, 4), lag(group, 1, None)]))

    row = row_of(view, "process")
    assert (row.processes, row.received, row.sent, row.lag_records) == (1, 5, 7, 16)
    assert row.p99_ms == pytest.approx(9.9)
    assert row.memory_mb > 0
    assert view.rows == {"parquet": 5}


def test_what_is_not_known_is_none(settings: Settings) -> None:
    view = read_view(settings, KnownLags(settings, None))

    assert [(row.processes, row.lag_records, row.p50_ms) for row in view.stages] == [(0, None, None)] * len(STAGES)


def test_a_producer_has_no_lag(settings: Settings) -> None:
    assert row_of(read_view(settings, KnownLags(settings, [])), "produce").lag_records is None


def test_the_table_has_a_row_for_each_stage_and_says_what_to_do_if_nothing_runs(settings: Settings) -> None:
    page = StringIO()

    Console(file=page, width=160).print(render(read_view(settings, KnownLags(settings, None))))

    assert all(stage in page.getvalue() for stage in STAGES)
    assert "tickerplant run" in page.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_one_view_can_be_printed(
    settings: Settings, as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(top, "REFRESH_S", 0.01)
    monkeypatch.setattr(top, "LagReader", lambda settings: KnownLags(settings, None))

    with socket.create_server(("127.0.0.1", 0)) as broker:
        kafka = settings.kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{broker.getsockname()[1]}"})
        watch(settings.model_copy(update={"kafka": kafka}), once=True, as_json=as_json)

    printed = capsys.readouterr().out
    if as_json:
        assert [stage["stage"] for stage in json.loads(printed)["stages"]] == list(STAGES)
    else:
        assert "sink.parquet" in printed
        assert "processes" in printed  # the name of a column, which 80 columns cut
