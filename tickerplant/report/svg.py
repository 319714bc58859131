"""Charts as SVG text: lines, bars, heat maps, candles; pure, static, without scripts.

Numbers are written with as many digits as can be seen, so that a page stays small.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import Final

WIDTH: Final = 900
HEIGHT: Final = 260
LEFT, RIGHT, TOP, BOTTOM = 70, 12, 10, 34
LABEL: Final = 70  # widest of a time
COLOURS: Final = ("#2f6fb0", "#d1702c", "#3a9a5b", "#b8405e", "#7a5bb5", "#8a6d3b", "#2a9d9d", "#666666")
MOST_SERIES: Final = len(COLOURS)
STEPS: Final = (1.0, 2.0, 5.0, 10.0)
SECONDS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Round times are as far apart, or a number of days."""
PRICE_DIGITS: Final = 10
BREAK: Final = 2.5  # a line is broken where points are further apart than so many times the usual

Label = Callable[[float], str]
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A line, or the bars of one colour: points by rising x; y that is no number is left out."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Candle:
    """A bar of prices."""

    x: float
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Map a value; the middle, where all are the same."""
        span = self.high - self.low
        return self.start + (self.end - self.start) * ((value - self.low) / span if span else 0.5)


def lines(series: Sequence[Series], *, x_label: Label, y_label: Label, from_zero: bool = True) -> str:
    """Draw a line for each series; broken where points are missing."""
    shown = [Series(each.name, _finite(each.points)) for each in series[:MOST_SERIES]]
    xs, ys = [x for each in shown for x, _ in each.points], [y for each in shown for _, y in each.points]
    if not xs:
        return _nothing()
    x_scale, y_scale = _x_scale(xs), _y_scale(ys, from_zero=from_zero)
    parts = [_axes(x_scale, y_scale, x_label, y_label)]
    for colour, each in zip(COLOURS, shown, strict=False):
        for run in _runs(each.points):
            path = " ".join(f"{x_scale(x):.1f},{y_scale(y):.1f}" for x, y in (run if len(run) > 1 else run * 2))
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
    return _chart(parts, [each.name for each in shown])


def columns(names: Sequence[str], series: Sequence[Series], *, y_label: Label) -> str:
    """Draw bars side by side above each name; x of a point is the place of its name."""
    shown = series[:MOST_SERIES]
    ys = [y for each in shown for _, y in each.points]
    if not ys:
        return _nothing()
    y_scale = _y_scale(ys, from_zero=True)
    room = (WIDTH - LEFT - RIGHT) / len(names)
    bar = 0.8 * room / len(shown)
    parts = [_y_axis(y_scale, y_label)]
    for number, name in enumerate(names):
        parts.append(_text(LEFT + (number + 0.5) * room, HEIGHT - BOTTOM + 16, name, "middle"))
    for number, each in enumerate(shown):
        for place, y in each.points:
            x, top = LEFT + place * room + 0.1 * room + number * bar, y_scale(y)
            title, fill = f"{each.name} {names[int(place)]}: {y_label(y)}", f'fill="{COLOURS[number]}"'
            parts.append(_rect(x, top, (bar, max(0.0, y_scale(0) - top)), fill, title))
    return _chart(parts, [each.name for each in shown])


def heat_map(
    xs: Sequence[float], names: Sequence[str], cells: Sequence[Sequence[float]], *, x_label: Label, label: Label
) -> str:
    """Draw a cell for each x and name, the darker the larger (by its square root); 0 is left out.

    Args:
        names: of rows, the lowest first.
        cells: for each x, a value (0 and more) for each name.
    """
    most = max((value for column in cells for value in column), default=0.0)
    if not most:
        return _nothing()
    width, height = (WIDTH - LEFT - RIGHT) / len(xs), (HEIGHT - TOP - BOTTOM) / len(names)
    parts = []
    for number, column in enumerate(cells):
        for row, value in enumerate(column):
            if value > 0:
                y = HEIGHT - BOTTOM - (row + 1) * height
                fill = f'fill="{COLOURS[0]}" fill-opacity="{(value / most) ** 0.5:.2f}"'
                title = f"{x_label(xs[number])}, {names[row]}: {label(value)}"
                parts.append(_rect(LEFT + number * width, y, (width + 0.3, height), fill, title))
    parts += [
        _text(LEFT - 6, HEIGHT - BOTTOM - (row + 0.5) * height + 4, names[row], "end") for row in _some(len(names), 8)
    ]
    parts += [
        _text(LEFT + (number + 0.5) * width, HEIGHT - BOTTOM + 16, x_label(xs[number]), "middle")
        for number in _some(len(xs), 7)
    ]
    return _chart(parts, [])


def candles(bars: Sequence[Candle], *, x_label: Label) -> str:
    """Draw bars of prices: green where the close is at or above the open."""
    if not bars:
        return _nothing()
    width = min(20.0, max(1.0, 0.6 * (WIDTH - LEFT - RIGHT) / len(bars)))
    xs = [bar.x for bar in bars]
    x_scale = Scale(min(xs), max(xs), LEFT + width, WIDTH - RIGHT - width)
    y_scale = _y_scale([each for bar in bars for each in (bar.high, bar.low)], from_zero=False)
    marks = ticks(y_scale.low, y_scale.high)
    parts = [_axes(x_scale, y_scale, x_label, partial(spaced, step=marks[1] - marks[0]) if marks[1:] else price)]
    for bar in bars:
        x, colour = x_scale(bar.x), COLOURS[2] if bar.close >= bar.open else COLOURS[3]
        ends = f'y1="{y_scale(bar.high):.1f}" y2="{y_scale(bar.low):.1f}"'
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} stroke="{colour}"/>')
        top = y_scale(max(bar.open, bar.close))
        height = max(1.0, abs(y_scale(bar.open) - y_scale(bar.close)))
        title = f"{x_label(bar.x)}: {' '.join(price(each) for each in (bar.open, bar.high, bar.low, bar.close))}"
        parts.append(_rect(x - width / 2, top, (width, height), f'fill="{colour}"', title))
    return _chart(parts, [])


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Give round values between two, at most so many and one.

    >>> ticks(0, 9.3)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if not high > low:
        return [low]
    least = (high - low) / most
    size = 10.0 ** floor(log10(least))
    step = next(size * each for each in STEPS if size * each >= least)
    return [number * step for number in range(ceil(low / step), floor(high / step) + 1)]


def instants(low_us: float, high_us: float, most: int = 7) -> list[float]:
    """Give round times (UTC) between two, at most so many and one; one alone where there is no round one.

    >>> instants(61_000_000, 200_000_000)
    [90000000.0, 120000000.0, 150000000.0, 180000000.0]
    """
    span_s = (high_us - low_us) / 1e6
    step_s = next((each for each in SECONDS if span_s <= each * most), ceil(span_s / SECONDS[-1] / most) * SECONDS[-1])
    step_us = step_s * 1e6
    return [number * step_us for number in range(ceil(low_us / step_us), floor(high_us / step_us) + 1)] or [low_us]


def spaced(value: float, step: float) -> str:
    """Write a value of an axis so that it can be told from the next one.

    >>> [spaced(each, 0.5) for each in (60123.5, 60124.0)]
    ['60,123.5', '60,124.0']
    """
    return f"{value:,.{max(0, -floor(log10(step) + 1e-9))}f}"


def price(value: float) -> str:
    """Write a price with all its digits, as far as ten.

    >>> [price(each) for each in (60123.45, 0.000012, 100.0, 0.0)]
    ['60,123.45', '0.000012', '100', '0']
    """
    digits = max(0, PRICE_DIGITS - 1 - floor(log10(abs(value)))) if value else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def _finite(points: Iterable[Point]) -> list[Point]:
    return [(x, y) for x, y in points if isfinite(y)]


def _runs(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Split points where they are much further apart than the closest two."""
    gaps = [right[0] - left[0] for left, right in pairwise(points)]
    usual = min((gap for gap in gaps if gap > 0), default=0.0)
    run: list[Point] = []
    for point in points:
        if run and point[0] - run[-1][0] > BREAK * usual:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _x_scale(xs: Sequence[float]) -> Scale:
    return Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)


def _y_scale(ys: Sequence[float], *, from_zero: bool) -> Scale:
    low, high = min(ys), max(ys)
    if from_zero:
        low, high = min(0.0, low), max(0.0, high)
    if low == high:
        low, high = low - abs(low) / 100 - 1e-9, high + abs(high) / 100 + 1e-9
    return Scale(low, high, HEIGHT - BOTTOM, TOP)


def _axes(x_scale: Scale, y_scale: Scale, x_label: Label, y_label: Label) -> str:
    places = [(each, x_scale(each)) for each in instants(x_scale.low, x_scale.high)]
    texts = [_text(x, HEIGHT - BOTTOM + 16, x_label(each), "middle") for each, x in places if x < WIDTH - LABEL / 2]
    return _y_axis(y_scale, y_label) + "".join(texts)


def _y_axis(y_scale: Scale, y_label: Label) -> str:
    parts = []
    for value in ticks(y_scale.low, y_scale.high):
        y = y_scale(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(_text(LEFT - 6, y + 4, y_label(value), "end"))
    return "".join(parts)


def _some(count: int, most: int) -> range:
    return range(0, count, max(1, ceil(count / most)))


def _rect(x: float, y: float, size: tuple[float, float], fill: str, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}"'
    return f"<rect {place} {fill}><title>{escape(title)}</title></rect>"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _chart(parts: Iterable[str], names: Sequence[str]) -> str:
    drawn = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'
    keys = "".join(
        f'<span class="key"><i style="background:{colour}"></i>{escape(name)}</span>'
        for colour, name in zip(COLOURS, names, strict=False)
    )
    return f'{drawn}<p class="keys">{keys}</p>' if keys else drawn


def _nothing() -> str:
    return '<p class="nothing">nothing is stored of it</p>'
