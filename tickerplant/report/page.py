"""What was found → one HTML page: styles and pictures are in it, scripts and addresses are not."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from tickerplant.report import svg
from tickerplant.report.data import BOOK_ROWS, BOOK_STEP_BPS, LATENCY_EDGES_MS, Data
from tickerplant.since import US, time_text

MOST_FINDINGS: Final = 200
DAY_US: Final = 86_400 * US
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
STYLE: Final = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #16181c; --line: #3a3d44; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 960px;
  margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid var(--line); }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--ink); } .grid { stroke: var(--line); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .15em .6em .15em 0;
  border-bottom: 1px solid var(--line); } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.key { margin-right: 1.2em; white-space: nowrap; } .key i { display: inline-block; width: .8em; height: .8em;
  margin-right: .35em; } .nothing, .note { opacity: .75; }
"""
NUMBER: Final = re.compile(r"-?[\d,.]*")
Lines = Mapping[str, Sequence[tuple[int, float]]]


def page(data: Data, made_us: int) -> str:
    """Write the page; `made_us`: when, µs UTC."""
    sections = "".join(f"<section><h2>{escape(title)}</h2>{body}</section>\n" for title, body in _sections(data))
    title = f"tickerplant: {time_text(data.start_us)} to {time_text(data.end_us)}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{_summary(data, made_us)}\n{sections}</body></html>\n"
    )


def _summary(data: Data, made_us: int) -> str:
    seconds = (data.end_us - data.start_us) / US
    facts = [
        ("ticks", f"{data.ticks:,}"),
        ("per second", f"{data.ticks / max(seconds, 1):,.0f}"),
        ("venues", str(len(data.rates))),
        ("symbols", str(sum(1 for each in data.subjects if each.ticks))),
        ("missing ids and frames", f"{data.missing:,}"),
        ("written", time_text(made_us)),
    ]
    return _table([name for name, _ in facts], [[value for _, value in facts]])


def _sections(data: Data) -> Iterator[tuple[str, str]]:
    clock = _clock(data)
    yield "Ticks per second", _over_time(data.rates, clock, _number)
    yield (
        "Busiest symbols",
        _table(
            ["venue", "symbol", "ticks"], [[row["venue"], row["symbol"], f"{row['ticks']:,}"] for row in data.busiest]
        ),
    )
    for what, note in (
        ("end to end", "taken in - exchange time"),
        ("network", "socket - exchange time; below 0: the venue's clock is ahead of ours"),
    ):
        yield (
            f"Latency, {what}",
            _note(f"Part of ticks from each number of ms on, {note}.") + _latency(data.latencies.get(what, {})),
        )
    yield "Latency, p50 and p99", _quantiles(data)
    yield (
        "Lag of stores",
        _note("Age of the oldest row of a chunk when its store acknowledged it, s.")
        + _over_time(data.lags, clock, _number),
    )
    yield "Gaps and other events", _findings(data)
    yield (
        "Spread",
        _note("Median of each column, bps of the mid; busiest symbols.") + _over_time(data.spreads, clock, _number),
    )
    if data.book is not None:
        yield f"Book of {data.book.name}", _book(data, clock)
    if data.bars is not None:
        drawn = [
            svg.Candle(x=row["time_us"], **{each: row[each] for each in ("open", "high", "low", "close")})
            for row in data.bars.rows
        ]
        yield f"Bars of {data.bars.interval}, {data.bars.name}", svg.candles(drawn, x_label=clock)


def _over_time(series: Lines, clock: svg.Label, label: svg.Label) -> str:
    ordered = sorted(series.items(), key=lambda each: -len(each[1]))
    drawn = svg.lines([svg.Series(name, points) for name, points in ordered], x_label=clock, y_label=label)
    left_out = [name for name, _ in ordered[svg.MOST_SERIES :]]
    return drawn + (_note(f"Not drawn: {', '.join(left_out)}.") if left_out else "")


def _latency(venues: Mapping[str, Sequence[float]]) -> str:
    names = [f"{edge // 1000}k" if edge % 1000 == 0 != edge else str(edge) for edge in LATENCY_EDGES_MS]
    names[0] = f"<{names[1]}"
    series = [svg.Series(venue, list(enumerate(shares))) for venue, shares in venues.items()]
    return svg.columns(
        names, series, y_label=lambda share: f"{share:.0%}" if share >= 0.01 or not share else f"{share:.3%}"
    )


def _quantiles(data: Data) -> str:
    rows = [
        [row["venue"], *(f"{each / 1000:,.1f}" for each in (*row["end_us"], *row["network_us"]))]
        for row in data.quantiles
    ]
    return _table(["venue", "end to end p50 ms", "p99 ms", "network p50 ms", "p99 ms"], rows)


def _findings(data: Data) -> str:
    rows = [
        [
            of.venue,
            of.symbol or "(connections)",
            each.kind if each.events else f"flag {each.kind}",
            f"{each.items:,}",
            f"{each.events:,}" if each.events else "",
            time_text(each.last_time_us),
            each.last_detail,
        ]
        for of in data.subjects
        for each in of.findings
    ]
    if not rows:
        return _note("None.")
    table = _table(["venue", "symbol", "kind", "items", "events", "last seen", "detail"], rows[:MOST_FINDINGS])
    more = len(rows) - MOST_FINDINGS
    return table + (_note(f"{more:,} more: tickerplant quality tells all.") if more > 0 else "")


def _book(data: Data, clock: svg.Label) -> str:
    assert data.book is not None
    names = [f"{(row - BOOK_ROWS // 2) * BOOK_STEP_BPS:+d}" for row in range(BOOK_ROWS)]
    note = _note("Mean size of whole books by distance from the mid in bps, quote currency; the darker the more.")
    return note + svg.heat_map(data.book.times_us, names, data.book.cells, x_label=clock, label=_number)


def _clock(data: Data) -> svg.Label:
    """Write times of a day as such, longer ranges with the date."""
    form = "%H:%M:%S" if data.end_us - data.start_us <= DAY_US else "%m-%d %H:%M"
    return lambda time_us: datetime.fromtimestamp(time_us / US, UTC).strftime(form)


def _number(value: float) -> str:
    """Write a number as short as it can be told apart.

    >>> [_number(each) for each in (0, 12345.6, 1.5, 0.00012)]
    ['0', '12,346', '1.5', '0.00012']
    """
    return f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.4g}"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; columns of numbers alone stand to the right."""
    found = list(rows)
    marks = [' class="n"' if _are_numbers(column) else "" for column in zip(*found, strict=True)]

    def row(tag: str, cells: Sequence[str]) -> str:
        pairs = zip(cells, marks or [""] * len(cells), strict=True)
        return "<tr>" + "".join(f"<{tag}{mark}>{escape(cell)}</{tag}>" for cell, mark in pairs) + "</tr>"

    body = "".join(row("td", each) for each in found)
    return f"<table><thead>{row('th', names)}</thead><tbody>{body}</tbody></table>"


def _are_numbers(texts: Sequence[str]) -> bool:
    return any(texts) and all(NUMBER.fullmatch(each) for each in texts)


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'
