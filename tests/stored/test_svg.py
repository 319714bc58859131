"""Charts are well-formed, hold what they were given, and nothing that a hostile name could bring in."""

from itertools import pairwise
from math import inf, nan
from xml.etree import ElementTree as ET

import pytest

from tickerplant.report import svg

HOSTILE = '<script>alert("x")</script>&'


def drawn(text: str) -> ET.Element:
    """Parse a chart with what stands below it."""
    return ET.fromstring(f"<div>{text}</div>")


def test_a_line_joins_its_points_and_is_broken_where_some_are_missing() -> None:
    series = [svg.Series("a", [(0, 1.0), (1, 2.0), (2, nan), (3, 3.0), (9, 4.0)]), svg.Series("b", [(0, 0.5)])]

    chart = drawn(svg.lines(series, x_label=str, y_label=str))

    runs = [each.attrib["points"].split() for each in chart.iter("polyline")]
    assert [len(run) for run in runs] == [3, 2, 2]
    first_x, first_y = map(float, runs[0][0].split(","))
    assert first_x == svg.LEFT
    assert svg.TOP < first_y < svg.HEIGHT - svg.BOTTOM


def test_larger_is_higher() -> None:
    chart = drawn(svg.lines([svg.Series("a", [(0, 1.0), (1, 3.0)])], x_label=str, y_label=str))
    [line] = chart.iter("polyline")
    low, high = (float(each.split(",")[1]) for each in line.attrib["points"].split())

    assert high < low
    assert high == svg.TOP


def test_bars_and_cells_are_as_many_as_values_above_0() -> None:
    bars = svg.columns(["x", "y"], [svg.Series("a", [(0, 1.0), (1, 0.5)])], y_label=str)
    cells = svg.heat_map([0, 1, 2], ["-", "+"], [[0, 1], [4, 0], [2, 2]], x_label=str, label=str)

    assert [float(each.attrib["height"]) for each in drawn(bars).iter("rect")] == [216.0, 108.0]
    assert [each.attrib["fill-opacity"] for each in drawn(cells).iter("rect")] == ["0.50", "1.00", "0.71", "0.71"]


def test_a_candle_spans_low_to_high_and_open_to_close() -> None:
    chart = drawn(svg.candles([svg.Candle(x=0, open=2, high=4, low=1, close=3)], x_label=str))
    [body] = chart.iter("rect")
    [wick] = [each for each in chart.iter("line") if "class" not in each.attrib]

    assert float(wick.attrib["y1"]) == svg.TOP
    assert float(wick.attrib["y2"]) == svg.HEIGHT - svg.BOTTOM
    assert float(body.attrib["height"]) == pytest.approx((float(wick.attrib["y2"]) - float(wick.attrib["y1"])) / 3)
    assert body.findtext("title") == "0: 2 4 1 3"


@pytest.mark.parametrize(
    "chart",
    [
        svg.lines([svg.Series(HOSTILE, [(0, 5.0), (1, 5.0)])], x_label=lambda _: HOSTILE, y_label=lambda _: HOSTILE),
        svg.columns([HOSTILE], [svg.Series(HOSTILE, [(0, 1.0)])], y_label=lambda _: HOSTILE),
        svg.heat_map([0], [HOSTILE], [[1.0]], x_label=lambda _: HOSTILE, label=lambda _: HOSTILE),
    ],
)
def test_names_of_others_stay_text(chart: str) -> None:
    assert "<script" not in chart
    assert HOSTILE in "".join(drawn(chart).itertext())


def test_nothing_to_draw_is_said() -> None:
    nothing = [
        svg.lines([svg.Series("a", [(0, nan), (1, inf)])], x_label=str, y_label=str),
        svg.columns([], [], y_label=str),
        svg.heat_map([0], ["a"], [[0.0]], x_label=str, label=str),
        svg.candles([], x_label=str),
    ]

    assert all("nothing is stored" in each and "<svg" not in each for each in nothing)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (-3, 7), (0.001, 0.0013), (1e9, 3e9), (-5, -5)])
def test_ticks_are_few_and_within(low: float, high: float) -> None:
    found = svg.ticks(low, high)

    assert 1 <= len(found) <= 6
    assert all(low - 1e-9 <= each <= high + 1e-9 for each in found)


@pytest.mark.parametrize("span_s", [0, 1, 59, 1800, 3601, 86_400, 90_000, 40 * 86_400, 2_000 * 86_400])
def test_times_of_an_axis_are_round_few_and_within(span_s: int) -> None:
    low = 1_795_262_461_500_000
    found = svg.instants(low, low + span_s * 1e6)
    steps = {right - left for left, right in pairwise(found)}

    assert 1 <= len(found) <= 8
    assert all(low <= each <= low + span_s * 1e6 for each in found)
    assert not span_s or all(each % 1e6 == 0 for each in found)
    assert len(steps) <= 1
    assert all(each % step == 0 for each in found for step in steps)


@pytest.mark.parametrize(
    ("low", "high"), [(60123.1, 60124.3), (1.08431, 1.08437), (0.000012, 0.0000121), (2500.05, 2502.9), (100.0, 100.0)]
)
def test_prices_of_an_axis_are_told_apart_and_are_where_they_say(low: float, high: float) -> None:
    chart = drawn(svg.candles([svg.Candle(x=0, open=low, high=high, low=low, close=high)], x_label=str))
    texts = [each for each in chart.iter("text") if each.attrib["text-anchor"] == "end"]
    prices = [float((each.text or "").replace(",", "")) for each in texts]
    heights = [float(each.attrib["y"]) for each in texts]

    assert len(prices) == len(set(prices)) > 0
    scale = (heights[0] - heights[-1]) / (prices[-1] - prices[0] or 1.0)
    assert heights == pytest.approx([heights[0] - scale * (each - prices[0]) for each in prices], abs=0.3)


def test_a_candle_tells_its_prices_with_all_their_digits() -> None:
    bars = [
        svg.Candle(x=0, open=60123.45, high=60123.99, low=60123.01, close=60123.62),
        svg.Candle(x=1, open=1.08431, high=1.08437, low=0.00001234, close=1.0),
    ]
    titles = [each.findtext("title") for each in drawn(svg.candles(bars, x_label=str)).iter("rect")]

    assert titles == ["0: 60,123.45 60,123.99 60,123.01 60,123.62", "1: 1.08431 1.08437 0.00001234 1"]
