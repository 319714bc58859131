"""Bars of one symbol, without pipeline: trades and CLOCKs in, revisions out; held against sums over all trades."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import count
from math import fsum
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.bars import LENGTHS_US, Bars, BarsPiece, Told
from processors.watermark import MINUTE_US, MOST_STEPS, Watermark, WatermarkPiece
from schemas.records import Side, Tick

START_US = 1_795_910_400_000_000  # 2026-11-29T00:00 UTC
SECOND_US = 1_000_000


class Made(NamedTuple):
    """A trade: seconds after START_US, price, size, side, id."""

    at_s: float
    price: float
    size: float = 1.0
    side: Side = "BUY"
    number: int = 0


def tick(made: Made, **changes: Any) -> Tick:
    time_us = START_US + round(made.at_s * SECOND_US)
    fields: dict[str, Any] = {
        "event_time_us": time_us,
        "exchange_time_us": time_us,
        "recv_time_us": time_us,
        "venue": "BINANCE",
        "symbol": "BTC/USDT",
        "asset_class": "CRYPTO",
        "kind": "TRADE",
        "price": made.price,
        "quantity": made.size,
        "side": made.side,
        "sequence_id": made.number,
        "trade_id": str(made.number),
    }
    return Tick(**fields | changes)


class Market:
    """Bars, their watermark, and all that was told."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.watermark = Watermark()
        self.bars = Bars(self.watermark, **options)
        self.told: list[Told] = []
        self.numbers = count(1)

    def trade(self, at_s: float, price: float, size: float = 1.0, side: Side = "BUY", **changes: Any) -> bool:
        number = changes.pop("number", None) or next(self.numbers)
        return self.bars.add(tick(Made(at_s, price, size, side, number), **changes), number)

    def clock(self, at_s: float) -> list[Told]:
        """Hear CLOCK frames, one each 5 s, up to a time; returns what was told."""
        before = len(self.told)
        time_us = START_US + round(at_s * SECOND_US)
        while (self.watermark.clock_us or time_us - 1) < time_us:
            self.hear(min(time_us, (self.watermark.clock_us or time_us) + 5 * SECOND_US))
        return self.told[before:]

    def hear(self, clock_us: int) -> None:
        hole = self.watermark.hear(clock_us)
        if hole:
            self.bars.on_unwatched(hole)
        if self.bars.is_due():
            self.told += self.bars.close()

    def crash(self, kept: list[bytes]) -> None:
        """Go on from what was captured."""
        self.bars = Bars(self.watermark, **self.options)
        self.bars.restore([msgspec.msgpack.decode(each, type=BarsPiece) for each in kept])

    def capture(self, kept: list[bytes]) -> None:
        """Capture a change behind what there is, or all."""
        kept.append(msgspec.msgpack.encode(self.bars.capture(is_whole=not kept)))
        self.bars.follow()

    def latest(self, interval: str = "1m") -> dict[float, Told]:
        """Tell the newest revision of each bar, by seconds after the start."""
        found = [each for each in self.told if each.interval == interval]
        return {(each.open_time_us - START_US) / SECOND_US: each for each in found}


@pytest.fixture
def market() -> Market:
    return Market()


def watched(market: Market) -> Market:
    """Let capture begin before the first minute that matters."""
    market.clock(-90)
    market.trade(-80, 100.0)
    market.clock(0)
    return market


def test_a_minute_is_told_once_the_watermark_is_past_it_by_the_lateness(market: Market) -> None:
    market.clock(0)
    for at_s, price, size, side in ((1, 100.0, 1.0, "BUY"), (2, 103.0, 2.0, "SELL"), (59, 99.0, 0.5, "BUY")):
        market.trade(at_s, price, size, side)  # type: ignore[arg-type]  # literals in a tuple

    assert market.clock(64.999) == []
    bar, *rest = market.clock(65)
    assert not rest
    assert bar == Told(
        interval="1m",
        open_time_us=START_US,
        open=100.0,
        high=103.0,
        low=99.0,
        close=99.0,
        volume=3.5,
        quote_volume=355.5,
        buy_volume=1.5,
        vwap=355.5 / 3.5,
        trade_count=3,
        first_trade_id="1",
        last_trade_id="3",
        revision=0,
        flags="PARTIAL",  # capture began within it
    )


def test_a_late_trade_gives_a_revision_of_each_bar_it_is_in(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.clock(305)
    assert market.latest()[0].revision == market.latest("5m")[0].revision == 0

    market.trade(5, 98.0, number=1000)
    told = market.clock(310)

    # the minutes behind are flat at its close, which has not changed
    assert [(each.interval, each.revision, each.open, each.trade_count) for each in told] == [
        ("1m", 1, 98.0, 2),
        ("5m", 1, 98.0, 2),
    ]


def test_late_trades_of_a_second_are_told_together(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.clock(65)
    market.trade(20, 101.0)
    market.trade(30, 102.0)

    assert [(each.revision, each.close) for each in market.clock(70)] == [(1, 102.0)]


def test_empty_minutes_are_flat_at_the_close_before(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.trade(20, 105.0)
    market.trade(190, 107.0)
    market.clock(305)

    empty = market.latest()[60]
    assert (empty.open, empty.high, empty.low, empty.close) == (105.0, 105.0, 105.0, 105.0)
    assert (empty.volume, empty.vwap, empty.trade_count, empty.first_trade_id) == (0.0, None, 0, "")
    assert empty.flags == "EMPTY"
    assert market.latest("5m")[0].low == 100.0


def test_empty_minutes_follow_a_close_that_is_corrected(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.clock(185)
    assert market.latest()[120].close == 100.0

    market.trade(50, 90.0)
    market.clock(190)

    assert [(each, market.latest()[each].close, market.latest()[each].revision) for each in (0, 60, 120)] == [
        (0, 90.0, 1),
        (60, 90.0, 1),
        (120, 90.0, 1),
    ]


def test_empty_minutes_count_for_nothing_in_longer_bars(market: Market) -> None:
    watched(market)
    market.trade(100, 50.0)
    market.clock(305)

    bar = market.latest("5m")[0]
    assert (bar.open, bar.high, bar.low, bar.close, bar.trade_count) == (50.0, 50.0, 50.0, 50.0, 1)


def test_longer_bars_without_trades_are_flat(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.clock(605)

    bar = market.latest("5m")[300]
    assert (bar.open, bar.close, bar.trade_count, bar.flags) == (100.0, 100.0, 0, "EMPTY")


def test_a_silent_symbol_gets_empty_bars_for_a_day_and_none_after(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    for minute in range(1, 3 * 24 * 60):
        market.clock(minute * 60.0)
    silent = len(market.latest())
    assert silent == 24 * 60 + 1 + 1 + 1  # that of the trade, those before it

    market.trade(3 * 86400, 200.0)
    told = market.clock(3 * 86400 + 65.0)

    assert [(each.interval, each.open, each.flags) for each in told] == [("1m", 200.0, "")]


def test_minutes_that_nobody_watched_give_no_bars_and_mark_those_they_touch(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.clock(30)
    for after_s in range(3):
        market.hear(START_US + (200 + after_s) * SECOND_US)
    market.trade(202, 101.0)
    market.clock(305)

    assert {at: each.flags for at, each in market.latest().items() if at >= 0} == {0: "GAP", 180: "GAP", 240: "EMPTY"}
    assert market.latest("5m")[0].flags == "GAP"


def test_missing_ids_mark_the_bars_between_their_neighbours(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0, number=10)
    market.bars.on_hole(11, 12)
    market.trade(70, 101.0, number=13)
    market.trade(130, 101.0, number=14)
    market.clock(185)

    assert [market.latest()[at].flags for at in (0, 60, 120)] == ["GAP", "GAP", ""]


def test_a_gap_that_is_filled_marks_nothing_any_more(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0, number=10)
    market.bars.on_hole(11, 12)
    market.trade(70, 101.0, number=13)
    market.clock(185)
    market.trade(20, 99.0, number=11)
    market.clock(190)
    assert market.latest()[0].flags == "GAP"

    market.trade(65, 102.0, number=12)
    market.clock(195)

    assert [(market.latest()[at].flags, market.latest()[at].trade_count) for at in (0, 60)] == [("", 2), ("", 2)]


def test_a_lost_connection_marks_bars_until_a_trade_tells_that_nothing_is_missing(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.clock(20)
    market.bars.on_loss(START_US + 20 * SECOND_US)
    market.clock(125)
    assert [market.latest()[at].flags for at in (0, 60)] == ["GAP", "EMPTY,GAP"]

    market.trade(126, 100.0)
    market.clock(130)

    assert [market.latest()[at].flags for at in (0, 60)] == ["", "EMPTY"]


def test_a_lost_connection_stays_a_gap_where_ids_tell_nothing() -> None:
    market = watched(Market(ids_are_counted=False))
    market.trade(10, 100.0)
    market.clock(20)
    market.bars.on_loss(START_US + 20 * SECOND_US)
    market.clock(125)
    market.trade(126, 100.0)
    market.clock(190)

    assert [market.latest()[at].flags for at in (0, 60, 120)] == ["GAP", "EMPTY,GAP", "GAP"]


def test_a_trade_that_is_an_hour_late_changes_nothing_and_is_told(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.clock(3725)

    assert not market.trade(20, 50.0)
    assert market.clock(3730) == []
    assert market.trade(130, 50.0)


def test_a_trade_without_exchange_time_is_in_the_minute_it_was_taken_in(market: Market) -> None:
    watched(market)
    market.trade(70, 100.0, exchange_time_us=0)
    market.clock(125)

    assert market.latest()[60].trade_count == 1


def test_a_trade_of_a_wrong_time_ahead_is_in_the_minute_it_was_taken_in(market: Market) -> None:
    watched(market)
    market.trade(70, 100.0, exchange_time_us=START_US + 10**12, flags="CLOCK_STEP")
    market.clock(125)

    assert market.latest()[60].trade_count == 1


def test_off_book_trades_make_no_bars_and_leave_no_gap(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.trade(11, 500.0, flags="OFF_BOOK")
    market.trade(12, 101.0)
    market.clock(65)

    assert (market.latest()[0].high, market.latest()[0].trade_count, market.latest()[0].flags) == (101.0, 2, "")


def test_outliers_count_and_mark_their_bars(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.trade(11, 500.0, flags="LATE,OUTLIER")
    market.clock(305)

    assert (market.latest()[0].high, market.latest()[0].flags) == (500.0, "OUTLIER")
    assert market.latest("5m")[0].flags == "OUTLIER"


def test_a_venue_without_sides_tells_no_buy_volume(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0, side="UNKNOWN")
    market.clock(65)

    assert market.latest()[0].buy_volume is None


def test_trades_without_volume_have_no_vwap(market: Market) -> None:
    watched(market)
    market.trade(10, 100.0, 0.0)
    market.clock(65)

    assert (market.latest()[0].vwap, market.latest()[0].trade_count) == (None, 1)


@pytest.mark.parametrize("step_us", [10**12, -(10**12), 3600 * SECOND_US])
def test_a_clock_that_is_wrong_once_moves_nothing(market: Market, step_us: int) -> None:
    watched(market)
    market.trade(10, 100.0)
    market.clock(20)
    for at_s in (21, 22, 23):
        market.hear(START_US + step_us)
        market.hear(START_US + at_s * SECOND_US)
    market.trade(31, 101.0)
    market.clock(125)

    bar = market.latest()[0]
    assert (bar.trade_count, bar.close, bar.revision, bar.flags) == (2, 101.0, 0, "")


@pytest.mark.parametrize("step_s", [-1800, 7200])
def test_a_clock_that_is_set_is_believed(market: Market, step_s: int) -> None:
    watched(market)
    for at_s in (0, 1, 2):
        market.hear(START_US + (step_s + at_s) * SECOND_US)
    market.trade(step_s + 10, 100.0)
    market.clock(step_s + 125)

    assert market.latest()[step_s].trade_count == 1


def test_trades_of_one_time_are_ordered_by_their_ids(market: Market) -> None:
    watched(market)
    for number, price in ((8, 108.0), (7, 107.0), (9, 109.0)):
        market.trade(10, price, number=number)
    market.clock(65)

    bar = market.latest()[0]
    assert (bar.open, bar.close, bar.first_trade_id, bar.last_trade_id) == (107.0, 109.0, "7", "9")


def test_a_file_that_ends_tells_what_it_has(market: Market) -> None:
    market.trade(10, 100.0)
    market.trade(70, 101.0)
    told = list(market.bars.finish())

    assert [(each.interval, each.trade_count, each.flags) for each in told] == [
        ("1m", 1, "PARTIAL"),
        ("1m", 1, "PARTIAL"),
        *((name, 2, "PARTIAL") for name in list(LENGTHS_US)[1:]),
    ]


# Any stream

PRICES = st.sampled_from([0.1, 0.3, 99.5, 100.0, 100.7, 1e9])
SIZES = st.sampled_from([0.0, 0.1, 0.2, 0.7, 1e-9, 3.3, 1e12])
SIDES: st.SearchStrategy[Side] = st.sampled_from(["BUY", "SELL"])
STEPS = st.lists(st.tuples(st.floats(0, 70), st.floats(0, 400), PRICES, SIZES, SIDES), min_size=1, max_size=40)


def made(steps: Iterable[tuple[float, float, float, float, Side]]) -> list[tuple[float, Made]]:
    """Make trades that come at times that rise, each late by something."""
    now_s, found = 0.0, []
    for number, (after_s, late_s, price, size, side) in enumerate(steps, 1):
        now_s += after_s
        found.append((now_s, Made(max(-300, now_s - late_s), price, size, side, number)))
    return found


def play(steps: Sequence[tuple[float, Made]], cuts: frozenset[int] = frozenset(), seed: int = 0) -> Market:
    """Play trades with clocks between; at cuts, crash and go on from what was captured, now and then, before."""
    market, random, kept = Market(), Random(seed), list[bytes]()
    market.clock(-400)
    for number, (now_s, each) in enumerate(steps):
        if number in cuts:
            market.capture(kept)
            if random.random() < 0.7:
                market.crash(kept)
        market.clock(now_s)
        market.bars.add(tick(each), each.number)
    market.clock(steps[-1][0] + 900)
    return market


def check(bar: Told, trades: Sequence[Made], minutes: Iterable[Told]) -> None:
    """Hold a bar against all trades in it, and a longer one against its minutes."""
    start_us = bar.open_time_us
    mine = [
        each
        for each in trades
        if start_us <= START_US + round(each.at_s * SECOND_US) < start_us + LENGTHS_US[bar.interval]
    ]
    assert bar.trade_count == len(mine)
    assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
    assert 0 <= (bar.buy_volume or 0) <= bar.volume
    if not mine:
        assert bar.open == bar.high == bar.low == bar.close
        assert (bar.vwap, bar.volume, bar.quote_volume) == (None, 0.0, 0.0)
        return
    ordered = sorted(mine, key=lambda each: (round(each.at_s * SECOND_US), each.number))
    assert (bar.open, bar.close) == (ordered[0].price, ordered[-1].price)
    assert (bar.first_trade_id, bar.last_trade_id) == (str(ordered[0].number), str(ordered[-1].number))
    assert (bar.high, bar.low) == (max(each.price for each in mine), min(each.price for each in mine))
    assert bar.vwap is None or bar.low <= bar.vwap <= bar.high
    if bar.interval == "1m":
        assert bar.volume == fsum(each.size for each in mine)
        assert bar.quote_volume == fsum(each.price * each.size for each in mine)
        assert bar.buy_volume == fsum(each.size for each in mine if each.side == "BUY")
    else:
        within = [each for each in minutes if 0 <= each.open_time_us - start_us < LENGTHS_US[bar.interval]]
        assert bar.volume == fsum(each.volume for each in within)
        assert bar.quote_volume == fsum(each.quote_volume for each in within)
        assert bar.buy_volume == fsum(each.buy_volume or 0 for each in within)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_newest_revisions_are_what_all_trades_give(steps: Any) -> None:
    stream = made(steps)
    market = play(stream)
    trades = [each for _, each in stream]

    minutes = market.latest()
    for interval in LENGTHS_US:
        for bar in market.latest(interval).values():
            check(bar, trades, minutes.values())
    assert sum(each.trade_count for each in minutes.values()) == len(trades)
    revisions: dict[tuple[str, int], int] = {}
    for each in market.told:
        place = each.interval, each.open_time_us
        assert each.revision == revisions.get(place, -1) + 1
        revisions[place] = each.revision


@settings(max_examples=60, deadline=None)
@given(STEPS, st.frozensets(st.integers(0, 39), max_size=12), st.integers(0, 1000))
def test_who_crashes_and_goes_on_tells_the_same(steps: Any, cuts: frozenset[int], seed: int) -> None:
    stream = made(steps)
    whole, crashed = play(stream), play(stream, cuts, seed)

    assert crashed.told == whole.told
    assert crashed.bars.capture(is_whole=True) == whole.bars.capture(is_whole=True)


def play_a_wrong_clock(
    steps: Sequence[tuple[float, Made]], wrong_s: int, during: range, cuts: frozenset[int] = frozenset()
) -> Market:
    """Play trades while a clock is set, and set back, `wrong_s` ahead; at cuts, crash and go on."""
    market, kept, clock_s = Market(), list[bytes](), -400.0
    rest = [(steps[-1][0] + after_s, None) for after_s in (900, 1800)]  # the clock is right in the end
    for number, (now_s, each) in enumerate([*steps, *rest]):
        ahead_s = wrong_s if number in during and number <= len(steps) else 0
        if number in cuts:
            market.capture(kept)
            market.crash(kept)
        while clock_s < now_s:
            clock_s += 5
            market.hear(START_US + round((clock_s + ahead_s) * SECOND_US))
        if each is not None:
            market.bars.add(tick(each), each.number)
    return market


@settings(max_examples=80, deadline=None)
@given(
    steps=STEPS,
    wrong_s=st.sampled_from([20, 90, 1800, 7200, 86400, -30, -7200]),
    during=st.builds(range, st.integers(1, 20), st.integers(1, 20)),
    cuts=st.frozensets(st.integers(0, 39), max_size=12),
)
def test_a_clock_that_is_set_and_set_back_tells_no_revision_twice_and_loses_no_trade(
    steps: Any, wrong_s: int, during: range, cuts: frozenset[int]
) -> None:
    stream = made(steps)
    market, crashed = (play_a_wrong_clock(stream, wrong_s, during, each) for each in (frozenset[int](), cuts))
    trades, minutes = [each for _, each in stream], market.latest()

    revisions: dict[tuple[str, int], int] = {}
    for each in market.told:
        place = each.interval, each.open_time_us
        assert each.revision == revisions.get(place, -1) + 1
        revisions[place] = each.revision
    for bar in minutes.values():
        check(bar, trades, minutes.values())
    assert sum(each.trade_count for each in minutes.values()) == len(trades)
    assert crashed.told == market.told
    assert crashed.bars.capture(is_whole=True) == market.bars.capture(is_whole=True)


def test_a_clock_that_was_ahead_leaves_no_gap_where_there_was_none(market: Market) -> None:
    watched(market)
    for at_s in range(5, 400, 5):
        market.trade(at_s, 100.0)
        market.hear(START_US + (at_s + (7200 if 30 <= at_s < 200 else 0)) * SECOND_US)

    assert [market.latest()[at_s].flags for at_s in (0, 60, 120, 180, 240)] == [""] * 5
    assert [market.latest()[at_s].trade_count for at_s in (60, 120, 180, 240)] == [12] * 4


def jump(market: Market, to_s: float) -> None:
    """Set the clock: three CLOCK frames in a row are believed."""
    for after_s in range(3):
        market.hear(START_US + round((to_s + after_s) * SECOND_US))


def test_a_clock_that_steps_ahead_within_each_hour_for_a_day_holds_no_more_than_two_hours(market: Market) -> None:
    watched(market)
    at_s, most = 0.0, 0
    while at_s < 86_400:
        market.trade(at_s + 1, 100.0)
        market.clock(at_s + 1780)
        jump(market, at_s + 1800)
        at_s += 1800
        most = max(most, len(market.bars.capture(is_whole=True).spans["1m"]))
        assert market.watermark.clock_us - market.watermark.settled_us <= 5500 * SECOND_US

    assert most < 160


def test_more_steps_within_an_hour_than_are_remembered_settle_before_it(market: Market) -> None:
    watched(market)
    for number in range(1, 200):
        jump(market, number * 20)

    assert len(market.watermark.capture().steps) == MOST_STEPS
    assert market.watermark.settled_us >= START_US + 3000 * SECOND_US


def test_a_wrong_clock_is_taken_back_though_an_outage_before_it_has_settled(market: Market) -> None:
    watched(market)
    market.clock(600)
    jump(market, 630)  # an outage
    market.clock(3600)
    jump(market, 3600 + 7200)
    market.trade(3605, 100.0)
    market.clock(3600 + 7200 + 1200)
    market.trade(4700, 101.0)
    jump(market, 3600 + 1210)
    market.trade(4815, 102.0)
    market.clock(4900)

    assert [market.latest()[at_s].trade_count for at_s in (3600, 4680, 4800)] == [1, 1, 1]
    assert [market.latest()[at_s].flags for at_s in (600, 3600, 4680)] == ["EMPTY,GAP", "", ""]


def test_the_outage_before_a_wrong_clock_stays_a_gap_once_that_is_set_back(market: Market) -> None:
    watched(market)
    market.clock(600)
    jump(market, 900)
    market.clock(1200)
    jump(market, 1200 + 7200)
    market.clock(1300 + 7200)
    jump(market, 1310)
    market.trade(1315, 100.0)
    market.clock(1400)

    assert 720 not in market.latest()
    assert "GAP" in market.latest()[600].flags
    assert "GAP" not in market.latest()[1200].flags


def test_steps_that_a_program_of_before_wrote_are_read() -> None:
    old = WatermarkPiece(START_US, 0, 0, START_US - 7200 * SECOND_US, START_US - 60 * SECOND_US)
    watermark = Watermark()
    watermark.restore(old)

    assert watermark.settled_us < START_US - 7200 * SECOND_US
    assert (watermark.capture().left_us, watermark.capture().reached_us) == (old.left_us, old.reached_us)


def test_an_outage_stays_a_gap_where_the_clock_is_set_back_a_little_after_it(market: Market) -> None:
    watched(market)
    for at_s in (7200, 7205, 7210, 7195, 7190, 7185, 7180, 7180, 7180):
        market.hear(START_US + at_s * SECOND_US)
    market.trade(7190, 100.0)
    market.clock(7300)

    assert "GAP" in market.latest()[7140].flags
    assert 3600 not in market.latest()


@settings(max_examples=40, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_the_order_of_trades_does_not_matter_in_the_end(steps: Any, random: Random) -> None:
    stream = made((0.0, late_s, *rest) for _, late_s, *rest in steps)
    mixed = random.sample(stream, len(stream))

    def final(market: Market) -> list[Any]:
        return [each._replace(revision=0) for name in LENGTHS_US for _, each in sorted(market.latest(name).items())]

    ours, others = final(play(stream)), final(play(mixed))
    assert [each._replace(flags="") for each in ours if each.trade_count] == [
        each._replace(flags="") for each in others if each.trade_count
    ]


@given(st.lists(st.floats(0.001, 1e9), min_size=1, max_size=50))
def test_sums_are_exact(sizes: list[float]) -> None:
    market = Market()
    market.clock(0)
    for size in sizes:
        market.trade(1, 1.0, size)
    market.clock(65)

    assert Fraction(market.latest()[0].volume) == Fraction(float(sum(map(Fraction, sizes))))
    assert market.latest()[0].open_time_us % MINUTE_US == 0


def test_a_trade_that_comes_too_late_to_count_leaves_the_gap(market: Market) -> None:
    watched(market)
    market.trade(1, 100.0, number=10)
    market.clock(5400)
    market.bars.on_hole(11, 11)
    market.trade(5400, 100.0, number=12)
    market.clock(8000)

    assert not market.trade(900, 50.0, number=11)
    market.clock(14_700)
    assert (market.latest("4h")[0].trade_count, market.latest("4h")[0].flags) == (2, "GAP")


def test_an_old_trade_before_the_first_clock_fills_no_time_before_capture(market: Market) -> None:
    market.trade(0, 100.0)
    market.trade(1 - 50 * 3600, 90.0, recv_time_us=START_US + SECOND_US)
    market.clock(130)

    assert sorted(market.latest()) == [-50 * 3600, 0, 60]


def played_back(at_s: float, price: float) -> Tick:
    """Make a trade of two years ago that comes now."""
    two_years_us = 2 * 365 * 86_400 * SECOND_US
    made = tick(Made(at_s, price))
    return msgspec.structs.replace(made, exchange_time_us=made.exchange_time_us - two_years_us)


def test_a_recording_that_is_played_back_ends_its_minutes_by_its_own_time() -> None:
    watermark = Watermark(follows_trades=True)
    bars = Bars(watermark)
    for number, at_s in enumerate((10, 20, 80, 200)):
        trade = played_back(at_s, 100.0 + number)
        assert bars.add(trade, number + 1)
        watermark.follow(START_US + number, trade.exchange_time_us)  # 190 s in 3 us: as fast as it is read
        watermark.hear(START_US + number)
    told = [each for each in bars.close() if each.interval == "1m"]

    assert [(each.open, each.close, each.trade_count) for each in told] == [(100, 101, 2), (102, 102, 1), (102, 102, 0)]
    assert msgspec.msgpack.encode(restored(watermark).capture()) == msgspec.msgpack.encode(watermark.capture())


def restored(watermark: Watermark) -> Watermark:
    other = Watermark(follows_trades=True)
    other.restore(watermark.capture())
    return other
