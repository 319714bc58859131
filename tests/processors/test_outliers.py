"""Outliers of trade prices: what is one and what is not, and state that is restored exactly."""

import json
from math import exp
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.outliers import DEVIATIONS, FEWEST, PRICES, Outliers, OutliersPiece, verdicts
from schemas.records import Tick
from tickerplant.recordings import read_recording

SECOND_US = 1_000_000
START_US = 1_795_910_400_000_000


class Prints:
    """Prints of one symbol, a second apart unless told; returns what was judged."""

    def __init__(self, tick_size: float | None = None) -> None:
        self.outliers = Outliers(tick_size)
        self.time_us = START_US
        self.random = Random(7)

    def add(self, price: float, after_s: float = 1.0) -> bool:
        self.time_us += round(after_s * SECOND_US)
        return self.outliers.is_outlier(price, self.time_us)

    def walk(self, count: int, *, price: float = 100.0, drift: float = 0.0, sigma: float = 1e-4) -> list[bool]:
        """Add prints that wander about a line."""
        return [self.add(price * exp(drift * n + self.random.gauss(0, sigma))) for n in range(count)]


@pytest.fixture
def prints() -> Prints:
    return Prints()


@pytest.mark.parametrize("sigmas", [8, -8, 12, -20])
def test_a_print_over_eight_sigmas_away_is_one_and_those_after_it_are_not(prints: Prints, sigmas: float) -> None:
    prints.walk(300)
    sigma = prints.outliers.sigma(100.0, prints.time_us + SECOND_US)
    assert sigma is not None

    assert prints.add(100.0 * exp(sigmas * sigma))
    assert not any(prints.walk(300))


def test_prints_that_wander_are_none(prints: Prints) -> None:
    assert sum(prints.walk(20_000)) <= 4


def test_a_trend_is_none(prints: Prints) -> None:
    prints.walk(300)
    assert not any(prints.walk(2000, drift=2e-5))


def test_a_new_level_is_one_after_two_prints(prints: Prints) -> None:
    prints.walk(300, sigma=1e-5)
    assert [prints.add(110.0) for _ in range(50)] == [True, True, *[False] * 48]


def test_nothing_is_judged_before_enough_is_known(prints: Prints) -> None:
    assert not prints.add(1e-9)
    assert not any(prints.walk(FEWEST - 2))
    assert not prints.add(100_000.0)


def test_after_a_silence_prices_may_have_gone_further(prints: Prints) -> None:
    prints.walk(300)
    near = prints.outliers.sigma(100.0, prints.time_us)
    far = prints.outliers.sigma(100.0, prints.time_us + 900 * SECOND_US)
    assert near is not None
    assert far is not None
    assert far == pytest.approx(near * (1 + 900 / (PRICES - 1)) ** 0.5)


def test_the_second_print_after_a_silence_may_go_on_where_the_first_went(prints: Prints) -> None:
    prints.walk(300)

    assert [prints.add(100.0 * exp(-move), after_s) for move, after_s in ((0.0016, 600), (0.0019, 10))] == [False] * 2


def test_after_a_day_of_silence_all_begins_anew(prints: Prints) -> None:
    prints.walk(300)
    assert not prints.add(200.0, after_s=86_400)
    assert prints.outliers.sigma(200.0, prints.time_us) is None


def test_a_symbol_that_trades_less_than_once_an_hour_is_judged_by_its_own_time(prints: Prints) -> None:
    found = [prints.add(500.0 if n % 50 == 49 else 100.0 * exp(prints.random.gauss(0, 1e-3)), 3660) for n in range(500)]
    assert [n for n, each in enumerate(found) if each] == list(range(49, 500, 50))


@pytest.mark.parametrize("late_s", [2, 29, 250])
def test_a_late_print_is_judged_by_what_was_known_around_its_time_and_is_no_part_of_the_past(
    prints: Prints, late_s: int
) -> None:
    prints.walk(600)
    before = prints.outliers.capture(is_whole=True)

    late_us = prints.time_us - late_s * SECOND_US
    assert [prints.outliers.was_outlier(price, late_us) for price in (100.0, 101.0, 99.0)] == [False, True, True]
    assert prints.outliers.capture(is_whole=True) == before


def test_a_late_print_at_a_level_that_was_left_is_none(prints: Prints) -> None:
    prints.walk(300, sigma=1e-5)
    level_us = prints.time_us
    for _ in range(20):
        prints.add(110.0)

    judged = [prints.outliers.was_outlier(price, level_us) for price in (100.0, 110.0, 200.0)]
    assert judged == [False, False, True]
    assert [prints.outliers.was_outlier(price, level_us - 5 * SECOND_US) for price in (100.0, 110.0)] == [False, True]


def test_a_late_print_of_a_time_of_which_nothing_is_known_is_none(prints: Prints) -> None:
    prints.walk(300)
    assert not prints.outliers.was_outlier(200.0, START_US)
    assert not Outliers().was_outlier(200.0, START_US)


def test_prints_of_a_hole_may_lie_anywhere_between_what_was_known_before_and_after(prints: Prints) -> None:
    prints.walk(300)
    hole_us = prints.time_us
    prints.time_us += 60 * SECOND_US
    prints.walk(300, price=90.0)

    prices = (100.0, 97.0, 93.0, 90.0, 50.0, 120.0)
    judged = [prints.outliers.was_outlier(price, hole_us + 30 * SECOND_US) for price in prices]
    assert judged == [False] * 4 + [True] * 2


def test_a_time_that_was_far_ahead_does_not_keep_the_past_from_moving_on(prints: Prints) -> None:
    prints.walk(300)
    prints.outliers.is_outlier(100.0, prints.time_us + 500 * SECOND_US)
    prints.walk(PRICES + 1)

    sigma = prints.outliers.sigma(100.0, prints.time_us)
    assert sigma is not None
    assert prints.outliers.sigma(100.0, prints.time_us + 900 * SECOND_US) == pytest.approx(sigma * (1 + 30) ** 0.5)
    assert prints.outliers.was_outlier(101.0, prints.time_us - 5 * SECOND_US)


def test_a_step_of_a_tick_is_none_where_prices_stood_still() -> None:
    prints = Prints(tick_size=0.5)
    for _ in range(300):
        prints.add(100.0)

    assert not prints.add(100.5)
    assert prints.add(103.0)


def test_prices_that_stand_still_and_then_leave_are_none_below_half_a_basis_point(prints: Prints) -> None:
    for _ in range(300):
        prints.add(60_000.0)

    assert not prints.add(60_002.0)
    assert prints.add(60_010.0)


def test_one_bad_print_in_twenty_does_not_hide_the_others(prints: Prints) -> None:
    found = 0
    for _ in range(100):
        prints.walk(24)
        found += prints.add(101.0)
    assert found >= 98


def test_many_at_once_are_a_burst(prints: Prints) -> None:
    bursts = []
    for _ in range(12):
        prints.walk(5)
        prints.add(150.0)
        bursts.append(prints.outliers.is_burst)
    assert bursts == [False] * 12

    prints.walk(300)
    for _ in range(12):
        prints.walk(3)
        prints.add(150.0)
    assert prints.outliers.is_burst


def test_times_that_step_back_do_no_harm(prints: Prints) -> None:
    prints.walk(300)
    assert not prints.add(100.0, after_s=-3600)
    assert prints.add(150.0, after_s=-3600)


STREAM = st.lists(
    st.tuples(st.sampled_from([1e-30, 0.1, 99.9, 100.0, 101.0, 1e30]), st.integers(-5, 5000)), max_size=80
)


@settings(max_examples=50, deadline=None)
@given(stream=STREAM, cuts=st.sets(st.integers(0, 79)), warm=st.booleans())
def test_who_crashes_and_goes_on_judges_the_same(stream: Any, cuts: set[int], warm: bool) -> None:
    whole, crashed = Prints(), Prints()
    for each in (whole, crashed):
        each.walk(DEVIATIONS + 60 if warm else 0)
    kept: list[bytes] = []
    for number, (price, after_s) in enumerate(stream):
        if number in cuts:
            piece = crashed.outliers.capture(is_whole=not kept)
            crashed.outliers.follow()
            kept.append(msgspec.msgpack.encode(piece))
            crashed.outliers = Outliers()
            crashed.outliers.restore([msgspec.msgpack.decode(each, type=OutliersPiece) for each in kept])
        assert whole.add(price, after_s) == crashed.add(price, after_s)
        assert whole.outliers.was_outlier(price, START_US) == crashed.outliers.was_outlier(price, START_US)

    assert whole.outliers.capture(is_whole=True) == crashed.outliers.capture(is_whole=True)


def recorded(path: Path, market: str) -> list[tuple[float, int]]:
    """Read price and time of the trades of a Binance recording."""
    bodies = (each.payload for each in read_recording(path, market))
    data = (json.loads(body)["data"] for body in bodies if b"@trade" in body[:60])
    return [(float(each["p"]), each["T"] * 1000) for each in data if each.get("X", "MARKET") == "MARKET"]


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("market", "name"),
    [
        ("spot", "spot/btcusdt_20240808.gz"),
        ("usdm", "usdm/btcusdt_20230405.dat.gz"),
        ("usdm", "usdm/btcusdt_20240718.gz"),
        ("coinm", "cm/btcusd_perp_20240808.gz"),
    ],
)
def test_of_recorded_trades_only_those_are_found_that_were_displaced(recordings: Path, market: str, name: str) -> None:
    trades, random = recorded(recordings / "hftbacktest" / name, market), Random(3)
    outliers, displaced, found, others = Outliers(), 0, 0, 0
    late: list[bool] = []
    for number, (price, time_us) in enumerate(trades):
        sigma = outliers.sigma(price, time_us)
        if sigma is not None and random.random() < 0.02:
            displaced += 1
            found += outliers.is_outlier(price * exp(random.choice((-1, 1)) * random.uniform(8, 20) * sigma), time_us)
        else:
            others += outliers.is_outlier(price, time_us)
        late_price, late_us = trades[max(0, number - random.randrange(1000))]
        if time_us - late_us > SECOND_US:
            late.append(outliers.was_outlier(late_price, late_us))

    assert len(late) > 100
    assert sum(late) <= 0.001 * len(late)
    assert found >= 0.99 * displaced > 0
    assert others < 0.001 * len(trades)


def test_what_comes_late_or_is_fetched_later_is_judged_too(spot: Any) -> None:
    def trade(number: int, price: float, *, late_s: float = 0.0) -> Any:
        time_ms = round(spot.feed.recv_time_us / 1000 - 1000 * late_s)
        return spot.feed.message("btcusdt@trade", t=number, T=time_ms, p=f"{price:.2f}", after_us=100_000)

    spot.take(*(trade(n, 60_000 + n % 2 / 100) for n in range(1, 101)))
    spot.take(trade(101, 60_000, late_s=2), trade(102, 61_000, late_s=2), trade(105, 60_000))
    time_ms = spot.feed.recv_time_us // 1000 - 2000
    body = {"qty": "1", "quoteQty": "1", "time": time_ms, "isBuyerMaker": True, "isBestMatch": True}
    rows = [body | {"id": number, "price": price} for number, price in ((103, "60000"), (104, "61000"))]
    request = "https://api.example/api/v3/historicalTrades?symbol=BTCUSDT&fromId=103&limit=2"
    spot.take(spot.feed.frame(json.dumps(rows).encode(), "HTTP", request=request))

    flags = {each.trade_id: each.flags for each in spot.of(Tick)}
    assert {number: flags[number] for number in flags if flags[number]} == {
        "101": "LATE", "102": "LATE,OUTLIER", "103": "BACKFILL,LATE", "104": "BACKFILL,LATE,OUTLIER"
    }  # fmt: skip


def test_restored_trades_of_hours_ago_are_judged_by_those_around_them(spot: Any) -> None:
    first_ms, last, bad = spot.feed.recv_time_us // 1000, 500, 300

    def time_ms(number: int) -> int:
        return first_ms + number * 20_000

    spot.take(spot.feed.message("btcusdt@trade", t=1, T=time_ms(1), p="60000.00"))
    spot.feed.recv_time_us = time_ms(last) * 1000
    spot.take(spot.feed.message("btcusdt@trade", t=last, T=time_ms(last), p="60000.00"))
    body = {"qty": "1", "quoteQty": "1", "isBuyerMaker": True, "isBestMatch": True}
    prices = {number: "61000" if number == bad else f"{60_000 + number % 2}" for number in range(1, last + 1)}
    rows = [body | {"id": number, "price": prices[number], "time": time_ms(number)} for number in prices]
    request = "https://api.example/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1&limit=1000"
    spot.take(spot.feed.frame(json.dumps(rows).encode(), "HTTP", request=request))

    restored = [each for each in spot.of(Tick) if "BACKFILL" in each.flags]
    assert len(restored) == last - 2
    assert [each.trade_id for each in restored if "OUTLIER" in each.flags] == [str(bad)]


def test_of_trades_that_followed_one_another_the_first_are_not_judged() -> None:
    found = verdicts(((100.0 + n % 2 / 100, START_US + n * SECOND_US) for n in range(60)), None)

    assert found == [None] * (FEWEST + 1) + [False] * (60 - FEWEST - 1)


def test_one_trade_that_lies_minutes_ahead_hides_no_outlier(spot: Any) -> None:
    for number in range(1, 401):
        time_ms = spot.feed.recv_time_us // 1000 + (500_000 if number == 200 else 0)
        price = 60_000 * (1.05 if number > 210 and number % 20 == 0 else 1)
        spot.take(spot.feed.message("btcusdt@trade", t=number, T=time_ms, p=f"{price:.2f}", after_us=100_000))

    found = [each.trade_id for each in spot.of(Tick) if "OUTLIER" in each.flags]
    assert found == [str(number) for number in range(220, 401, 20)]
    late = [int(each.trade_id) for each in spot.of(Tick) if "LATE" in each.flags]
    assert late == list(range(201, 251))
