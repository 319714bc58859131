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

from processors.outliers import DEVIATIONS, FEWEST, PRICES, Outliers, OutliersPiece
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


def test_after_a_day_of_silence_all_begins_anew(prints: Prints) -> None:
    prints.walk(300)
    assert not prints.add(200.0, after_s=86_400)
    assert prints.outliers.sigma(200.0, prints.time_us) is None


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
    for price, time_us in trades:
        sigma = outliers.sigma(price, time_us)
        if sigma is not None and random.random() < 0.02:
            displaced += 1
            found += outliers.is_outlier(price * exp(random.choice((-1, 1)) * random.uniform(8, 20) * sigma), time_us)
        else:
            others += outliers.is_outlier(price, time_us)

    assert found >= 0.99 * displaced > 0
    assert others < 0.001 * len(trades)
