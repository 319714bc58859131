"""Bars and venues' candles whose figures contradict one another: told and flagged, never dropped."""

from typing import Any

import pytest

from processors.bar_stage import BarStage
from processors.bars import Told
from processors.batch import Batch
from processors.ohlc import contradiction
from processors.watermark import Watermark
from schemas.records import Bar, Candle, Instrument, QualityEvent

NAN = float("nan")
BAR = Told("1m", 0, 10.0, 12.0, 9.0, 11.0, 3.0, 33.0, 1.0, 11.0, 2, "1", "2", 0, "")


def test_figures_that_hold_together_contradict_nothing() -> None:
    flat = BAR._replace(open=9.0, high=9.0, low=9.0, close=9.0, volume=0.0, buy_volume=None, vwap=None, trade_count=0)

    assert contradiction(BAR) == contradiction(flat) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"low": 10.5}, {"high": 10.5}, {"close": 13.0}, {"open": 8.0}, {"low": NAN}, {"high": NAN}, {"volume": -1.0},
        {"volume": NAN}, {"vwap": 12.5}, {"vwap": 8.5}, {"vwap": NAN}, {"buy_volume": 3.5}, {"buy_volume": -0.5},
        {"trade_count": 0}, {"trade_count": -1},
    ],
)  # fmt: skip
def test_figures_that_do_not_are_named(changes: dict[str, Any]) -> None:
    assert contradiction(BAR._replace(**changes))


def test_a_bar_that_contradicts_itself_is_flagged_and_told(spot: Any) -> None:
    instrument = Instrument(venue="BINANCE", market="spot", venue_symbol="BTCUSDT", symbol="BTC/USDT", base="BTC",
                            quote="USDT", kind="SPOT", asset_class="CRYPTO", event_time_us=1)  # fmt: skip
    stage, batch = (
        BarStage(instrument, Watermark(), trades_are_counted=True, awaited_us=int),
        Batch("BINANCE", "raw.binance", 0, 0, 1),
    )

    stage._add(batch, [BAR, BAR._replace(low=10.5, flags="OUTLIER")])
    batch.seal()

    event, good, bad = batch.records
    assert isinstance(event, QualityEvent)
    assert isinstance(good, Bar)
    assert isinstance(bad, Bar)
    assert (event.kind, event.channel, event.detail) == ("INCONSISTENT", "bar_1m", "0: low above open or close")
    assert (good.flags, bad.flags) == ("", "INCONSISTENT,OUTLIER")


def test_a_venues_candle_that_contradicts_itself_is_stored_flagged_and_told_once_a_second(spot: Any) -> None:
    candle = {"t": 1_723_161_240_000, "T": 1_723_161_299_999, "s": "BTCUSDT", "i": "1m", "f": 2, "L": 3, "o": "1",
              "c": "5", "h": "0.5", "l": "9", "v": "9", "n": 77, "x": False, "q": "1", "V": "1", "Q": "1"}  # fmt: skip
    spot.take(*(spot.feed.message("btcusdt@kline_1m", k=candle, E=1_723_161_260_000 + each) for each in range(3)))
    spot.take(spot.feed.message("btcusdt@kline_1m", k=candle | {"h": "9", "l": "1"}, E=1_723_161_260_003))

    assert [each.flags for each in spot.of(Candle)] == ["INCONSISTENT"] * 3 + [""]
    [event] = spot.of(QualityEvent, kind="INCONSISTENT")
    assert (event.symbol, event.channel, event.count) == ("BTC/USDT", "candle_1m", 1)
    assert event.detail == "low above open or close"
