"""Symbols that fall silent on connections that are busy: told once, by the watermark, as long as somebody captures."""

from typing import Any

import pytest

from processors.pipeline import Pipeline
from processors.pulse import Pulse
from schemas.records import QualityEvent

SECOND_US = 1_000_000
START_US = 1_795_910_400 * SECOND_US


def moves(pulse: Pulse, every_s: int, count: int) -> int:
    """Let a stream move; returns the time of the last."""
    now_us = max(pulse.moved_us, START_US)
    for _ in range(count):
        now_us += every_s * SECOND_US
        pulse.move(now_us)
    return now_us


def stale_after_s(pulse: Pulse, now_us: int) -> int:
    """Look every 5 s until it is stale; 0 = it is not within 10 h."""
    for after_s in range(5, 36_000, 5):
        time_us = now_us + after_s * SECOND_US
        if pulse.is_due(time_us):
            assert pulse.tell(time_us).startswith(f"nothing for {after_s} s")
            return after_s
    return 0


@pytest.mark.parametrize(("every_s", "count", "after_s"), [(5, 100, 65), (5, 3, 905), (300, 30, 1505), (300, 3, 1505)])
def test_a_stream_is_stale_after_five_times_its_longest_pause(every_s: int, count: int, after_s: int) -> None:
    pulse = Pulse()
    now_us = moves(pulse, every_s, count)

    assert stale_after_s(pulse, now_us) == after_s


def test_it_is_told_once_and_again_after_it_moved() -> None:
    pulse = Pulse()
    now_us = moves(pulse, 5, 100)
    now_us += stale_after_s(pulse, now_us) * SECOND_US
    assert stale_after_s(pulse, now_us) == 0

    now_us = moves(pulse, 5, 100)
    assert 65 <= stale_after_s(pulse, now_us) <= 325


@pytest.mark.parametrize("count", [0, 1])
def test_what_came_once_or_never_is_not_stale(count: int) -> None:
    pulse = Pulse()
    assert stale_after_s(pulse, moves(pulse, 5, count)) == 0


def test_a_clock_that_was_set_back_makes_no_long_pause() -> None:
    pulse = Pulse()
    moves(pulse, 5, 100)
    pulse.move(START_US - 3600 * SECOND_US)
    pulse.move(START_US - 3595 * SECOND_US)

    assert stale_after_s(pulse, pulse.moved_us) == 65


def trade(run: Any, symbol: str, number: int) -> Any:
    return run.feed.message("btcusdt@trade", s=symbol, t=number, T=run.feed.recv_time_us // 1000)


class Pair:
    """Two symbols of one connection, second by second: a trade of some, and a CLOCK."""

    def __init__(self, run: Any) -> None:
        self.run, self.number = run, 0

    def seconds(self, count: int, *symbols: str) -> None:
        for _ in range(count):
            self.number += 1
            frames = [trade(self.run, each, self.number) for each in symbols]
            self.run.take(*frames, self.run.feed.frame(b"", "CLOCK", after_us=SECOND_US - 1000 * len(symbols)))

    def stale(self) -> list[tuple[str, str]]:
        return [(each.symbol, each.channel) for each in self.run.of(QualityEvent, kind="STALE")]


def test_a_symbol_that_falls_silent_beside_others_is_told_once(spot: Any) -> None:
    pair = Pair(spot)
    pair.seconds(120, "BTCUSDT", "ETHUSDT")
    pair.seconds(55, "ETHUSDT")
    assert pair.stale() == []

    pair.seconds(300, "ETHUSDT")
    assert pair.stale() == [("BTC/USDT", "ticks")]
    [event] = spot.of(QualityEvent, kind="STALE")
    assert (event.market, event.venue, event.detail) == (
        "spot", "BINANCE", "nothing for 65 s, lately never for over 5 s"
    )  # fmt: skip


def test_that_it_is_heard_again_is_told_once_with_how_long_it_was_silent(spot: Any) -> None:
    pair = Pair(spot)
    pair.seconds(120, "BTCUSDT", "ETHUSDT")
    pair.seconds(300, "ETHUSDT")
    assert spot.of(QualityEvent, kind="HEARD") == []

    pair.seconds(60, "BTCUSDT", "ETHUSDT")

    assert pair.stale() == [("BTC/USDT", "ticks")]
    [event] = spot.of(QualityEvent, kind="HEARD")
    assert (event.symbol, event.channel, event.market, event.venue) == ("BTC/USDT", "ticks", "spot", "BINANCE")
    assert event.detail in {f"heard again after {silent_s} s" for silent_s in range(295, 311)}


def test_a_silence_that_is_known_ends_with_the_first_move_whatever_lies_between() -> None:
    pulse = Pulse()
    now_us = moves(pulse, 5, 100)
    pulse.tell(now_us + 100 * SECOND_US)
    pulse.rest(now_us + 200 * SECOND_US)
    assert pulse.heard_us == 0

    pulse.move(now_us + 250 * SECOND_US)

    assert pulse.heard_us > 0
    assert pulse.tell_end() == "heard again after 250 s"
    assert pulse.heard_us == 0


def test_a_time_in_which_nobody_captured_makes_nothing_stale(spot: Any) -> None:
    pair = Pair(spot)
    pair.seconds(120, "BTCUSDT", "ETHUSDT")
    spot.feed.recv_time_us += 3600 * SECOND_US
    pair.seconds(10)
    pair.seconds(60, "BTCUSDT", "ETHUSDT")

    assert pair.stale() == []


def test_who_crashes_and_goes_on_tells_the_same(new_run: Any) -> None:
    whole, crashed = new_run("spot"), new_run("spot")
    for run in (whole, crashed):
        pair = Pair(run)
        pair.seconds(120, "BTCUSDT", "ETHUSDT")
        for _ in range(30):
            pair.seconds(3, "ETHUSDT")
            if run is crashed:
                kept: dict[str, list[bytes]] = {}
                run.pipeline.touch_all()
                run.capture(kept)
                run.resume(kept, Pipeline("BINANCE", "raw.binance", 0, assume_instruments=True))
        pair.seconds(12, "BTCUSDT", "ETHUSDT")
        assert pair.stale() == [("BTC/USDT", "ticks")]
        assert len(run.of(QualityEvent, kind="HEARD")) == 1

    assert whole.records == crashed.records
