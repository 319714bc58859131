"""docs/performance.md and its picture, made from results.json and the words that stand with each benchmark."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from math import log
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.results import Result
from benchmarks.turns import Turns

PAGE: Final = Path(__file__).parents[1] / "docs" / "performance.md"
PICTURE: Final = PAGE.with_suffix(".svg")
HEAD: Final = """# Performance

Written by `make bench`: each figure with its command, its machine, how busy that was before, and when (figures without
a day are of another version). Where a peer does the same work, both ran in turns in the same run, and said the same
before they were timed; a ratio is the median over the rounds, with its lowest and highest. More than 1 is better for
us, for times and bytes as well. *cannot* = the peer does not play it back, could not be installed, or said something
else.

![How many times as good as each peer ours is](performance.svg)
"""
ROW: Final = 18
LEFT, WIDTH, RIGHT = 430, 360, 110
MOST_COLUMNS: Final = 9
MOST: Final = 16.0  # times as good, at the right edge


def page(results: Mapping[str, Result], words: Mapping[str, str]) -> str:
    """Lay out all.

    Args:
        words: by title, what limits us, for those of which something is to be said.
    """
    return "\n".join([HEAD, *(section(title, each, words.get(title, "")) for title, each in results.items())])


def section(title: str, result: Result, words: str) -> str:
    """Lay out one benchmark."""
    lines = [f"## {title}", "", f"`{result.command}`; {result.machine}", ""]
    if result.turns:
        lines += ["| work | side | median | lowest to highest | ours / it | aim |", "|---|---|--:|--:|--:|--:|"]
        lines += [row for name, each in result.turns.items() for row in rows(name, each)] + [""]
    for columns, group in groupby(of_a_kind(result.figures), key=itemgetter(0)):
        lines += [*table(columns, [figure for _, figure in group]), ""]
    return "\n".join([*lines, words, ""] if words else lines)


def of_a_kind(figures: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], tuple[str, Any]]]:
    """Give each figure with the names of the columns that neighbours share; none = it is a cell by itself."""
    for columns, group in groupby(figures.items(), key=lambda each: columns_of(each[1])):
        found = list(group)
        yield from ((columns if len(found) > 1 else (), each) for each in found)


def columns_of(value: Any) -> tuple[str, ...]:
    """Name what a group of figures holds; empty = it is a figure by itself."""
    return tuple(value) if isinstance(value, dict) and len(value) <= MOST_COLUMNS else ()


def table(columns: Sequence[str], figures: Sequence[tuple[str, Any]]) -> Iterator[str]:
    """Lay out figures, a row each."""
    heads = columns or ("value",)
    yield f"| figure | {' | '.join(heads)} |"
    yield f"|---{'|--:' * len(heads)}|"
    for name, value in figures:
        cells = [value[each] for each in columns] if columns else [value]
        yield f"| {name} | {' | '.join(map(text, cells))} |"


def rows(name: str, turns: Turns) -> Iterator[str]:
    """Lay out one comparison, a row a side."""
    for side, values in turns.sides.items():
        if not values:
            yield f"| {name} | {side} | cannot | | | |"
            continue
        ratios = turns.ratios(side) if side != turns.ours else []
        ratio = f"{median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        aim = f"{turns.aims[side]:g}x" if side in turns.aims else goal(turns) if side == turns.ours else ""
        spread = f"{text(min(values))} to {text(max(values))}"
        yield f"| {name} | {side} | {text(median(values))} {turns.unit} | {spread} | {ratio} | {aim} |"


def goal(turns: Turns) -> str:
    """Say what ours is to reach by itself."""
    if turns.goal is None:
        return ""
    return f"{'at most' if turns.is_less_better else 'at least'} {text(turns.goal)} {turns.unit}"


def text(value: Any) -> str:
    """Lay out a figure; a group of figures goes into one cell."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {text(each)}" for name, each in value.items())
    if isinstance(value, float) and abs(value) >= 100:  # digits nobody needs
        value = round(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if isinstance(value, float) else str(value)


def picture(results: Mapping[str, Result]) -> str:
    """Draw each ratio as a bar from 1, to the right where ours is better, with a mark at its aim."""
    parts: list[str] = []
    y = ROW
    for title, result in results.items():
        drawn = list(bars(result, y + ROW))
        if drawn:
            parts += [f'<text x="4" y="{y + 13}" font-weight="bold">{escape(title)}</text>', *drawn]
            y += ROW * (len(drawn) + 1)
    grid = [
        f'<line x1="{place(each)}" x2="{place(each)}" y1="{ROW}" y2="{y}" stroke="#ccc"/>'
        f'<text x="{place(each)}" y="{ROW - 5}" text-anchor="middle">{each:g}x</text>'
        for each in (0.25, 0.5, 1, 2, 4, 8)
    ]
    size = f'viewBox="0 0 {LEFT + WIDTH + RIGHT} {y + ROW}"'
    style = 'font-family="sans-serif" font-size="12"'
    white = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{white}{"".join(grid + parts)}</svg>\n'


def bars(result: Result, top: int) -> Iterator[str]:
    """Draw the ratios of a benchmark below one another."""
    for name, turns in result.turns.items():
        for peer in turns.peers:
            if (ratio := turns.ratio(peer)) is None:
                continue
            ends, colour = sorted((place(1), place(ratio))), "#3a9a5b" if ratio >= 1 else "#b8405e"
            label = f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(f"{name}, {peer}")}</text>'
            bar = f'<rect x="{ends[0]}" y="{top + 3}" width="{ends[1] - ends[0]:.1f}" height="12" fill="{colour}"/>'
            aim, mark = turns.aims.get(peer), ""
            if aim is not None:
                mark = f'<rect x="{place(aim) - 1}" y="{top}" width="2" height="{ROW}" fill="#222"/>'
            told = f'<text x="{LEFT + WIDTH + 8}" y="{top + 13}">{ratio:.2f}x</text>'
            yield label + bar + mark + told
            top += ROW


def place(ratio: float) -> float:
    """Find the x of a ratio, by its logarithm; those beyond an edge stand there."""
    share = (log(min(MOST, max(1 / MOST, ratio))) / log(MOST) + 1) / 2
    return round(LEFT + WIDTH * share, 1)
