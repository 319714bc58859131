"""What a person gives the research calls by mistake: told in one line, before any store is frames."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tickerplant.errors import UserError
from tickerplant.research import frames
from tickerplant.research.compute import check_windows
from tickerplant.subscription import start_of, subscribe

TIME_US = 1_795_219_200_000_000  # 2026-11-21
AROUND = (TIME_US, TIME_US + 1)


@pytest.mark.parametrize(
    "time",
    [
        TIME_US, np.int64(TIME_US), "2026-11-21", datetime(2026, 11, 21, tzinfo=UTC), np.datetime64("2026-11-21"),
        np.datetime64("2026-11-21T00:00:00", "ns"),
    ],
)  # fmt: skip
def test_times_are_taken_as_tables_and_people_give_them(time: Any) -> None:
    assert frames.instant_us(time) == TIME_US
    assert type(frames.instant_us(time)) is int


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (1.795e15, "is no time"), (date(2026, 11, 21), "is no time"), (None, "is no time"), (b"x", "is no time"),
        (np.datetime64("NaT"), "is no time"), (datetime(2026, 11, 21), "no time zone"),  # noqa: DTZ001  # the mistake
        (TIME_US * 1000, "not of the years 1970 to 9999"), (-1, "not of the years"), ("soon", "is no time"),
        (np.datetime64("1960-01-01"), "not of the years"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_told(time: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        frames.instant_us(time)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda lake: frames.bars("X", "binance", *AROUND, interval="7m", lake=lake),
            "no bars of 7m: choose of 1m, 5m",
        ),
        (lambda lake: frames.trades("X", "binnance", *AROUND, lake=lake), "venue binnance is not known"),
        (lambda lake: frames.bars("X", "", *AROUND, lake=lake), "venue '' is not known"),
        (lambda lake: frames.book_at("X", "binnance", TIME_US, lake=lake), "venue binnance is not known"),
        (lambda lake: frames.trades("BTCUSDT", "binance", *AROUND, lake=lake), "symbol BTCUSDT is not written as"),
        (lambda lake: frames.bars("btc/usdt", "binance", *AROUND, lake=lake), "btc/usdt is not written as ours"),
        (lambda lake: frames.book_at("", "binance", TIME_US, lake=lake), "symbol '' is not written as ours are: BTC"),
        (lambda lake: frames.trades("A/B", "okx", *AROUND, lakes=lake), "no option lakes: there are columns, database"),
        (lambda lake: frames.books("A/B", "okx", *AROUND, columns=[], lake=lake), "no option columns: there are datab"),
        (lambda lake: frames.book_at("A/B", "okx", TIME_US, levels=0, lake=lake), "of one level or more, not of 0"),
        (lambda lake: frames.books("A/B", "okx", *AROUND, every_s=inf, lake=lake), "every 0.001 s or more"),
        (lambda lake: frames.quotes("A/B", "okx", *AROUND, library="Pandas", lake=lake), "polars, not of Pandas"),
        (lambda lake: frames.quotes("A/B", "okx", *AROUND, lake=lake, database="x"), "x is a file of DuckDB, and parq"),
        (lambda _lake: frames.trades("A/B", "okx", *AROUND, store="click"), "no store click: choose of clickhouse,"),
        (lambda lake: frames.features("A/B", "okx", *AROUND, labels_s=[-5], lake=lake), "whole seconds ahead, not -5"),
        (lambda _lake: subscribe("cleaned.tick", venue="binnance"), "venue binnance is not known"),
        (lambda _lake: subscribe("cleaned.tick", symbols=["BTC/USDT", "X"]), "symbol X is not written as ours"),
        (lambda _lake: subscribe("cleaned.tick", since="earliest"), "no option since: there are follow, from_, group"),
        (lambda lake: frames.quotes("A/B", "binance", TIME_US, TIME_US, lake=lake), "is not before"),
    ],
)  # fmt: skip
def test_what_is_not_there_to_be_asked_for_is_told(call: Callable[[Any], Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        call(tmp_path)


@pytest.mark.parametrize("windows_s", [(1.5,), (0,), (3601,), ()])
def test_windows_are_whole_seconds(windows_s: Any) -> None:
    with pytest.raises(UserError, match="whole seconds long"):
        check_windows(windows_s)


def test_windows_of_any_whole_numbers_are_sorted() -> None:
    assert check_windows([np.int64(60), 1, 10.0, 1]) == (1, 10, 60)  # type: ignore[list-item]  # as tables give them


def test_a_subscriber_starts_at_whole_microseconds() -> None:
    assert start_of(np.int64(TIME_US)) == TIME_US  # type: ignore[arg-type]  # as tables give them
    for each in (1.795e15, date(2026, 11, 21), None):
        with pytest.raises(UserError, match="is no time"):
            start_of(each)  # type: ignore[arg-type]  # the mistake
