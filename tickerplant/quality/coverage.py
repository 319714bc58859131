"""How much of each day is stored, by venue and symbol: seconds with data, first and last, the longest hole, gaps."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from tickerplant.quality.wish import WHERE, WHOSE, Wish
from tickerplant.questions import Questions
from tickerplant.since import US, shown, time_text

DAY_S: Final = 86_400
DAY_US: Final = DAY_S * US
NAME_CHARS: Final = 40
DAYS: Final = f"""
SELECT venue, symbol, day, bitmapCardinality(held) AS seconds, ticks, depths, first_time_us, last_time_us,
    arrayMax(arrayDifference(arraySort(bitmapToArray(held)))) AS longest_hole_s
FROM
(
    SELECT venue, symbol, intDiv(event_time_us, 86400000000) AS day, countIf(is_tick) AS ticks,
        countIf(NOT is_tick) AS depths, min(event_time_us) AS first_time_us, max(event_time_us) AS last_time_us,
        groupBitmapState(toUInt32(modulo(intDiv(event_time_us, 1000000), 86400))) AS held
    FROM
    (
        SELECT venue, symbol, event_time_us, true AS is_tick FROM market_data.tick@ WHERE {WHERE}
        UNION ALL
        SELECT venue, symbol, event_time_us, false AS is_tick FROM market_data.depth@ WHERE {WHERE}
    )
    GROUP BY venue, symbol, day
)
SETTINGS max_block_size = 256"""  # noqa: S608  # own text; values are escaped by the driver
"""A bitmap a day: 10 KB at most, where a group a second would be 86,400 for each symbol; spread out few at a time."""


def holes(which: str, closed_by: str, tables: str = "@") -> str:
    """Write a table of each hole that was told: venue, symbol, event_time_us, count, missing.

    `missing` is how much of it did not come by now. What closed it may lie beyond the range, and a minute before the
    hole, where the clocks of two producers differ. What was restored of a time in which ids show no hole has no
    sequences: no hole told that it was missing.

    Args:
        which: condition of the holes.
        closed_by: condition of what may close them; their times begin a minute before.
        tables: what names of tables end with.
    """
    return f"""
(
    SELECT hole.venue AS venue, hole.symbol AS symbol, hole.event_time_us AS event_time_us, hole.count AS count,
        multiIf(hole.kind != 'GAP' OR closer.kind = '', hole.count,
            closer.kind = 'HEALED', 0, least(hole.count, closer.count)) AS missing
    FROM
    (
        SELECT * FROM metadata.quality{tables} FINAL WHERE kind IN ('GAP', 'FRAME_LOSS') AND {which}
    ) AS hole
    ASOF LEFT JOIN
    (
        SELECT *, event_time_us + 60000000 AS latest_us FROM metadata.quality{tables} FINAL
        WHERE kind IN ('HEALED', 'NOT_HEALED') AND to_sequence != 0 AND {closed_by}
    ) AS closer
    ON hole.venue = closer.venue AND hole.symbol = closer.symbol AND hole.market = closer.market
        AND hole.channel = closer.channel AND hole.from_sequence = closer.from_sequence
        AND hole.to_sequence = closer.to_sequence AND hole.event_time_us <= closer.latest_us
)"""  # noqa: S608  # own text; values are escaped by the driver


HOLES: Final = holes(WHERE, f"event_time_us >= %(start)s - 60000000 AND {WHOSE}")
GAPS: Final = f"""
SELECT venue, symbol, intDiv(event_time_us, 86400000000) AS day, count() AS gaps, sum(missing) AS missing
FROM {HOLES}
GROUP BY venue, symbol, day"""  # noqa: S608  # likewise
MISSING: Final = f"SELECT sum(missing) AS missing FROM {HOLES}"  # noqa: S608  # likewise


class Day(msgspec.Struct, kw_only=True):
    """A UTC day of a symbol of a venue.

    Args:
        symbol: empty = gaps that concern a connection as a whole; nothing else is told of it.
        seconds: seconds of the day with at least one tick or depth update.
        seconds_of_day: how long the day is, or has lasted by now.
        coverage: the one by the other, 0 to 1.
        ticks, depths: rows stored: trades and quotes, depth updates and snapshots.
        first_time_us, last_time_us: of its rows, µs UTC; 0 = none.
        longest_hole_s: between two seconds with data, s; what is before the first and after the last is not in it.
        gaps: holes that were seen in a venue's ids or in frame numbers.
        missing: ids and frames in them that did not come after all, by now.
    """

    venue: str
    symbol: str
    day: date
    seconds_of_day: int
    seconds: int = 0
    coverage: float = 0.0
    ticks: int = 0
    depths: int = 0
    first_time_us: int = 0
    last_time_us: int = 0
    longest_hole_s: int = 0
    gaps: int = 0
    missing: int = 0


def read(questions: Questions, wish: Wish, now_us: int) -> list[Day]:
    """Ask for each day that a range touches, whole: from its midnight on."""
    first_us = wish.start_us - wish.start_us % DAY_US
    values = {**wish.values(), "start": first_us}
    found: dict[tuple[str, str, int], Day] = {}

    def day_of(row: dict[str, Any]) -> Day:
        key = row["venue"], row["symbol"], row["day"]
        return found.setdefault(key, _empty(*key, now_us))

    for row in questions.rows(DAYS, values):
        day = day_of(row)
        for name in ("seconds", "ticks", "depths", "first_time_us", "last_time_us", "longest_hole_s"):
            setattr(day, name, row[name])
        day.coverage = min(1.0, day.seconds / day.seconds_of_day)
    for row in questions.rows(GAPS, values):
        day = day_of(row)
        day.gaps, day.missing = row["gaps"], row["missing"]
    return [found[key] for key in sorted(found)]


def missing(questions: Questions, wish: Wish) -> int:
    """Ask how many ids and frames of holes told in a range are missing, all that has come by now left out."""
    [row] = questions.rows(MISSING, wish.values())
    return int(row["missing"])


def _empty(venue: str, symbol: str, day: int, now_us: int) -> Day:
    passed_s = now_us // US - day * DAY_S
    date = datetime.fromtimestamp(day * DAY_S, UTC).date()
    return Day(venue=venue, symbol=symbol, day=date, seconds_of_day=min(DAY_S, max(1, passed_s)))


def render(days: Iterable[Day]) -> Table:
    """Draw a line a day."""
    table = Table(title="coverage", title_justify="left", box=SIMPLE_HEAD)
    for name in ("venue", "symbol", "day"):
        table.add_column(name, no_wrap=True)
    for name in ("seconds", "covered", "ticks", "depth", "longest hole s", "gaps", "missing"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("first", "last"):
        table.add_column(name, no_wrap=True)
    for day in days:
        table.add_row(
            day.venue,
            shown(day.symbol, NAME_CHARS) or "(connections)",
            day.day.isoformat(),
            *(f"{day.seconds:,}", f"{day.coverage:.2%}", f"{day.ticks:,}", f"{day.depths:,}"),
            *(f"{day.longest_hole_s:,}", f"{day.gaps:,}", f"{day.missing:,}"),
            *(time_text(each)[11:] if each else "-" for each in (day.first_time_us, day.last_time_us)),
        )
    table.caption = None if table.rows else "nothing is stored of these days"
    return table
