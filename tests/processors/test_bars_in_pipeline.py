"""Bars as the pipeline makes them: of frames, with CLOCK frames between, across crashes, held against their ticks."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from math import fsum
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.bars import LENGTHS_US
from processors.pipeline import producer_of
from schemas.records import Bar, DeadLetter, Derived, QualityEvent, Tick

MS = 1000
SECOND_US = 1_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def trade(run: Any, name: str, number: int, *, price: float = 100.0, late_ms: int = 0, after_us: int = 0) -> Any:
    time_ms = (run.feed.recv_time_us + after_us) // MS - late_ms
    return run.feed.message(
        "btcusdt@trade", s=name, t=number, T=time_ms, p=str(price), q="0.1", m=False, after_us=after_us
    )


def clock(run: Any, after_us: int = SECOND_US) -> Any:
    return run.feed.frame(b"", "CLOCK", after_us=after_us)


def newest(records: list[Derived]) -> dict[tuple[str, str, int], Bar]:
    return {(each.symbol, each.interval, each.open_time_us): each for each in records if isinstance(each, Bar)}


def from_ticks(records: list[Derived]) -> dict[tuple[str, str, int], list[Any]]:
    """Make bars of ticks another way."""
    found = defaultdict(list)
    for each in records:
        if isinstance(each, Tick) and each.kind == "TRADE" and "OFF_BOOK" not in each.flags:
            for interval, length_us in LENGTHS_US.items():
                found[each.symbol, interval, each.exchange_time_us // length_us * length_us].append(each)
    bars = {}
    for place, ticks in found.items():
        ticks.sort(key=lambda each: (each.exchange_time_us, int(each.trade_id)))
        prices = [each.price for each in ticks]
        volume = fsum(each.quantity for each in ticks)
        bars[place] = [prices[0], max(prices), min(prices), prices[-1], pytest.approx(volume, rel=1e-14), len(ticks)]
    return bars


def figures(bar: Bar) -> list[Any]:
    return [bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trade_count]


def test_bars_follow_from_trades_and_clocks(spot: Any) -> None:
    spot.take(clock(spot))
    spot.take(trade(spot, "BTCUSDT", 1), trade(spot, "BTCUSDT", 2, price=101.5))
    for _ in range(60):
        spot.take(clock(spot))

    told = [(each.interval, each.trade_count, each.close, each.flags) for each in spot.of(Bar)]
    assert told == [("1m", 2, 101.5, "PARTIAL"), ("5m", 2, 101.5, "PARTIAL")]


def test_a_hole_in_the_ids_marks_bars_until_it_is_filled(spot: Any) -> None:
    spot.take(clock(spot), trade(spot, "BTCUSDT", 1))
    for _ in range(60):
        spot.take(clock(spot))
    spot.take(trade(spot, "BTCUSDT", 2), trade(spot, "BTCUSDT", 5))
    for _ in range(60):
        spot.take(clock(spot))
    [*_, bar] = [each for each in spot.of(Bar) if each.interval == "1m"]
    assert (bar.flags, bar.trade_count) == ("GAP", 2)

    spot.take(trade(spot, "BTCUSDT", 3, late_ms=59_000), trade(spot, "BTCUSDT", 4, late_ms=59_000), clock(spot))

    healed = newest(spot.records)[bar.symbol, "1m", bar.open_time_us]
    assert (healed.flags, healed.trade_count, healed.revision) == ("", 4, 1)


def test_a_disconnect_marks_bars_until_ids_tell_that_nothing_is_missing(spot: Any) -> None:
    spot.take(clock(spot), trade(spot, "BTCUSDT", 1))
    for _ in range(60):
        spot.take(clock(spot))
    spot.take(trade(spot, "BTCUSDT", 2))
    spot.take(spot.feed.frame(b"gone", "DISCONNECT"))
    for _ in range(60):
        spot.take(clock(spot))
    [*_, bar] = [each for each in spot.of(Bar) if each.interval == "1m"]
    assert bar.flags == "GAP"

    spot.feed.number = -1
    spot.take(trade(spot, "BTCUSDT", 3), clock(spot))

    assert newest(spot.records)[bar.symbol, "1m", bar.open_time_us].flags == ""


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_producer_that_is_killed_leaves_a_gap_for_its_clock_has_stopped(
    new_run: Callable[..., Any], *, is_killed: bool
) -> None:
    """It tells of no disconnect, and another producer of the partition goes on."""
    run = new_run("spot")
    names = ("spot-p2-0-m4x81k2-7", f"clock-{producer_of('spot-p2-0-m4x81k2-7')}", "clock-another")
    trades, *clocks = (type(run.feed)("spot", name) for name in names)
    run.feed, now_us = trades, trades.recv_time_us
    for second in range(130):
        for feed in clocks[1:] if is_killed and 10 < second < 70 else clocks:
            feed.recv_time_us = now_us + second * SECOND_US
            run.take_record(feed.record(feed.frame(b"", "CLOCK")))
        if second == 5:
            trades.recv_time_us = now_us + second * SECOND_US
            run.take_record(trades.record(trade(run, "BTCUSDT", 1)))
    bars = [each for each in run.of(Bar) if each.interval == "1m"]

    assert any("GAP" in each.flags for each in bars) == is_killed


def test_trades_over_an_hour_late_are_told_of(spot: Any) -> None:
    spot.take(clock(spot), trade(spot, "BTCUSDT", 1))
    spot.take(trade(spot, "BTCUSDT", 2, late_ms=7_200_000))

    late, of_none = spot.of(Tick)[1], spot.of(QualityEvent, kind="LATE_FOR_BAR")
    hour = datetime.fromtimestamp(late.exchange_time_us // 1_000_000, UTC)
    assert [each.detail.partition(": ")[0] for each in of_none] == [f"not in the bars of {hour:%Y-%m-%dT%H}:00Z"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["trade", "trade", "clock", "clock", "wait", "hole", "disconnect"]),
        st.integers(0, 1),
        st.integers(1, 5),
        st.sampled_from([0, 0, 3_000, 70_000, 400_000]),
    ),
    max_size=60,
)


@settings(max_examples=30, deadline=None)
@given(steps=STEPS, cuts=st.sets(st.integers(0, 59)), seed=st.integers(0, 1000))
def test_state_is_restored_exactly_at_any_point(
    new_run: Callable[..., Any], steps: list[tuple[str, int, int, int]], cuts: set[int], seed: int
) -> None:
    whole, resumed = new_run("spot"), new_run("spot")
    numbers, random, kept = [0, 0], Random(seed), dict[str, list[bytes]]()
    for place, step in enumerate(steps):
        if place in cuts:
            resumed.capture(kept)
            if random.random() < 0.7:
                resumed.resume(kept, new_run("spot").pipeline)
        for raw in frames(whole, step, numbers):
            whole.take_record(raw)
            resumed.take_record(raw)

    assert resumed.records == whole.records
    every = newest(whole.records + whole.pipeline.finish())
    assert newest(resumed.records + resumed.pipeline.finish()) == every
    for place_of, wanted in from_ticks(whole.records).items():
        assert figures(every[place_of]) == wanted


def frames(run: Any, what_comes: tuple[str, int, int, int], numbers: list[int]) -> list[Any]:
    feed, (what, which, step, late_ms) = run.feed, what_comes
    if what == "wait":
        return [feed.record(clock(run, 7 * SECOND_US)) for _ in range(step * 5)]
    if what == "clock":
        return [feed.record(clock(run, step * SECOND_US))]
    if what == "disconnect":
        record = feed.record(feed.frame(b"gone", "DISCONNECT"))
        feed.number = -1
        return [record]
    numbers[which] += step if what == "hole" else 1
    made = trade(run, SYMBOLS[which], numbers[which], price=100.0 + step, late_ms=late_ms, after_us=step * 1000)
    return [feed.record(made)]


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("market", "name"), [("spot", "spot/btcusdt_20240808.gz"), ("usdm", "usdm/btcusdt_20230405.dat.gz")]
)
def test_bars_of_a_recording_are_those_of_its_ticks(
    new_run: Callable[..., Any], recordings: Path, market: str, name: str
) -> None:
    run = new_run(market)
    run.play(recordings / "hftbacktest" / name)

    bars, wanted = newest(run.records), from_ticks(run.records)
    assert bars.keys() == wanted.keys()
    assert {place: figures(bar) for place, bar in bars.items()} == wanted


def candle(run: Any, open_time_us: int, **changes: Any) -> Any:
    """Make the venue's closed candle of a minute with three trades."""
    times = {"t": open_time_us // MS, "T": open_time_us // MS + 59_999, "i": "1m", "x": True}
    figures = {"o": "100.0", "h": "102.0", "l": "100.0", "c": "101.0", "v": "0.3", "q": "30.3", "V": "0.3", "Q": "30.3"}
    fields = times | figures | {"s": "BTCUSDT", "f": 1, "L": 3, "n": 3, "B": "0"}
    return run.feed.message("btcusdt@kline_1m", E=run.feed.recv_time_us // MS, k=fields | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"v": "0.30000000000001"}, []),
        ({"h": "103.0"}, ["high 102 venue 103"]),
        ({"v": "0.4", "n": 4}, ["volume 0.3 venue 0.4; trades 3 venue 4"]),
        ({"x": False, "h": "103.0"}, []),
        ({"i": "3m", "h": "103.0"}, []),
    ],
)
def test_bars_are_held_against_the_candles_of_the_venue(spot: Any, changes: Any, expected: list[str]) -> None:
    spot.take(clock(spot), trade(spot, "BTCUSDT", 0))
    while spot.feed.recv_time_us % (60 * SECOND_US) > SECOND_US:
        spot.take(clock(spot, 500_000))
    open_us = spot.feed.recv_time_us // (60 * SECOND_US) * 60 * SECOND_US
    spot.take(*(trade(spot, "BTCUSDT", number, price=price) for number, price in ((1, 100.0), (2, 102.0), (3, 101.0))))
    spot.take(*(clock(spot) for _ in range(59)))
    spot.take(candle(spot, open_us, **changes))
    kept: dict[str, list[bytes]] = {}
    spot.capture(kept)
    spot.resume(kept, type(spot)("spot").pipeline)
    spot.take(*(clock(spot) for _ in range(10)))

    told = spot.of(QualityEvent, kind="BAR_DIFFERS")
    assert [each.detail.partition(": ")[2] for each in told] == expected
    assert all((each.detail.partition(": ")[0], each.channel) == (str(open_us), "candle_1m") for each in told)


def test_bars_that_miss_trades_are_held_against_nothing(spot: Any) -> None:
    spot.take(clock(spot), trade(spot, "BTCUSDT", 1))
    open_us = spot.feed.recv_time_us // (60 * SECOND_US) * 60 * SECOND_US
    spot.take(*(clock(spot) for _ in range(59)), candle(spot, open_us))
    spot.take(*(clock(spot) for _ in range(20)))

    assert [each.flags for each in spot.of(Bar)][:1] == ["PARTIAL"]
    assert spot.of(QualityEvent, kind="BAR_DIFFERS") == []


@pytest.mark.parametrize("price", ["0", "NaN", "-1", "Infinity", "1e400"])
def test_prices_that_are_none_are_dead_letters_and_in_no_bar(spot: Any, price: str) -> None:
    spot.take(clock(spot), trade(spot, "BTCUSDT", 1))
    spot.take(spot.feed.message("btcusdt@trade", t=2, T=spot.feed.recv_time_us // MS, p=price))
    spot.take(*(clock(spot) for _ in range(60)))

    assert len(spot.of(DeadLetter)) == 1
    assert [(each.trade_count, each.low) for each in spot.of(Bar, interval="1m")] == [(1, 100.0)]


def test_trades_out_of_order_by_seconds_are_put_in_order_by_their_time(spot: Any) -> None:
    spot.take(clock(spot), trade(spot, "BTCUSDT", 1))
    for number, price, late_ms in ((3, 103.0, 0), (2, 102.0, 4000), (4, 104.0, 0)):
        spot.take(trade(spot, "BTCUSDT", number, price=price, late_ms=late_ms, after_us=SECOND_US))
    spot.take(*(clock(spot) for _ in range(60)))

    bar = spot.of(Bar, interval="1m")[0]
    assert (bar.open, bar.close, bar.trade_count, bar.revision) == (102.0, 104.0, 4, 0)
    assert (bar.first_trade_id, bar.last_trade_id) == ("2", "4")
