"""`tickerplant lag`: a line a topic or partition, by commit and position; unknown groups are told with those known."""

import json
from io import StringIO
from math import nan

import pytest
from rich.console import Console

from tickerplant import lag_table
from tickerplant.cluster_lag import ClusterLagReader, Reading
from tickerplant.errors import UserError
from tickerplant.lag import Lag
from tickerplant.lag_table import Row, positions_now, render, rows_of, show, summed
from tickerplant.metrics import serve_metrics
from tickerplant.progress import Progress
from tickerplant.settings import Local, Settings

READING = Reading(
    {"mine": "stable", "other": "empty"},
    [
        Lag("mine", "cleaned.tick", 0, 4, 0, 10, 12.0),
        Lag("mine", "cleaned.tick", 1, None, 0, 5, None),
        Lag("other", "raw.binance", 0, 10, 0, 10, 0.0),
    ],
)
POSITIONS = {("mine", "cleaned.tick", 0): (2.0, 0.5), ("other", "raw.binance", 0): (nan, nan)}


def test_a_row_a_partition_tells_commit_and_position() -> None:
    first, second, third = rows_of(READING, POSITIONS)

    assert first == Row("mine", "stable", "cleaned.tick", 0, 4, 10, 6, 12.0, 2, 0.5)
    assert (second.committed, second.lag, second.lag_seconds, second.position_lag) == (None, 5, None, None)
    assert (third.state, third.lag, third.position_lag, third.position_lag_seconds) == ("empty", 0, None, None)


def test_a_row_a_topic_sums_records_and_takes_the_most_seconds() -> None:
    tick, raw = summed(rows_of(READING, POSITIONS))

    assert tick == Row("mine", "stable", "cleaned.tick", None, None, 15, 11, 12.0, 2, 0.5)
    assert raw.position_lag is None


def test_a_group_can_be_chosen() -> None:
    assert {row.group for row in rows_of(READING, {}, ["other"])} == {"other"}


@pytest.mark.parametrize("width", [80, 160])
def test_figures_are_whole_however_narrow_the_terminal(width: int) -> None:
    lag = Lag("tickerplant.sink.clickhouse", "metadata.sink_commit.rebuilt", 11, 0, 0, 1_234_567, 98_765.4)
    page = StringIO()

    Console(file=page, width=width).print(render(rows_of(Reading({lag.group: "stable"}, [lag]), {})))

    assert "1,234,567" in page.getvalue()
    assert "98,765.4" in page.getvalue()
    assert "stable" in page.getvalue()


def test_the_table_says_what_to_do_where_nothing_reads() -> None:
    page = StringIO()
    Console(file=page, width=160).print(render([]))

    assert "tickerplant run" in page.getvalue()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClusterLagReader, "read", lambda _reader: READING)
    monkeypatch.setattr(lag_table, "positions_now", lambda _settings: POSITIONS)


@pytest.mark.usefixtures("known")
def test_json_is_one_object_with_a_lag_each(capsys: pytest.CaptureFixture[str]) -> None:
    show(Settings(), [], by_partition=True, is_watching=False, as_json=True)

    lags = json.loads(capsys.readouterr().out)["lags"]
    assert [(each["group"], each["partition"], each["lag"]) for each in lags] == [
        ("mine", 0, 6),
        ("mine", 1, 5),
        ("other", 0, 0),
    ]


@pytest.mark.usefixtures("known")
def test_a_table_names_each_group_once(capsys: pytest.CaptureFixture[str]) -> None:
    show(Settings(), ["mine"], by_partition=True, is_watching=False, as_json=False)

    page = capsys.readouterr().out
    assert (page.count("mine"), page.count("other")) == (1, 0)


@pytest.mark.usefixtures("known")
def test_an_unknown_group_is_told_with_those_there_are() -> None:
    with pytest.raises(UserError, match="no consumer group yours reads our topics; there are: mine, other"):
        show(Settings(), ["yours"], by_partition=False, is_watching=False, as_json=True)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("as_json", [True, False])
def test_watching_goes_on_until_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(lag_table.time, "sleep", wait)
    show(Settings(), [], by_partition=False, is_watching=True, as_json=as_json)

    lines = capsys.readouterr().out.splitlines()
    assert not as_json or [len(json.loads(line)["lags"]) for line in lines] == [2, 2, 2]


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(local=Local(home=tmp_path_factory.mktemp("home")))


def test_positions_are_asked_of_the_processes_of_this_machine(settings: Settings) -> None:
    progress = Progress("sink.parquet", "cleaned.tick", 2)
    progress.next_offset = 7
    progress.hear(9)
    serve_metrics(settings, "sink-parquet")

    found = positions_now(settings)

    progress.close()
    assert found["tickerplant.sink.parquet", "cleaned.tick", 2][0] == 2
