"""What went wrong, by venue and symbol: quality events by kind, and flags of ticks, with the count of all ticks."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from tickerplant.quality.wish import WHERE, Wish
from tickerplant.questions import Questions
from tickerplant.since import shown, time_text

DETAIL_CHARS: Final = 60
EVENTS: Final = f"""
SELECT venue, symbol, kind, sum(count) AS items, count() AS events, max(event_time_us) AS last_time_us,
    argMax(detail, event_time_us) AS last_detail
FROM metadata.quality@ FINAL
WHERE {WHERE}
GROUP BY venue, symbol, kind
ORDER BY venue, symbol, kind"""  # noqa: S608  # own text; values are escaped by the driver
TICKS: Final = f"""
SELECT venue, symbol, count() AS ticks, max(event_time_us) AS last_time_us
FROM market_data.tick@
WHERE {WHERE}
GROUP BY venue, symbol"""  # noqa: S608  # likewise
FLAGS: Final = f"""
SELECT venue, symbol, arrayJoin(splitByChar(',', flags)) AS flag, count() AS ticks, max(event_time_us) AS last_time_us
FROM market_data.tick@
WHERE flags != '' AND {WHERE}
GROUP BY venue, symbol, flag
ORDER BY venue, symbol, flag"""  # noqa: S608  # likewise


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of event, or one flag of ticks.

    Args:
        kind: of a quality event, or the flag.
        items: how many items are concerned: missing ids of a GAP, items dropped as DUPLICATE, ticks with the flag.
        events: records in `metadata.quality`; 0 = it is a flag.
        last_time_us: when it was last seen, µs UTC.
    """

    kind: str
    items: int
    events: int
    last_time_us: int
    last_detail: str = ""


class Subject(msgspec.Struct, kw_only=True):
    """A symbol of a venue.

    Args:
        symbol: empty = what concerns a connection or the venue as a whole.
        ticks: rows of `market_data.tick`, trades and quotes.
        last_tick_time_us: µs UTC; 0 = none within the range.
    """

    venue: str
    symbol: str
    ticks: int = 0
    last_tick_time_us: int = 0
    findings: list[Finding] = []


def read(questions: Questions, wish: Wish) -> list[Subject]:
    """Ask for all that is known of a range, by venue and symbol; those with ticks and nothing else are there too."""
    found: dict[tuple[str, str], Subject] = {}

    def subject(row: dict[str, object]) -> Subject:
        key = str(row["venue"]), str(row["symbol"])
        return found.setdefault(key, Subject(venue=key[0], symbol=key[1], findings=[]))

    values = wish.values()
    for row in questions.rows(TICKS, values):
        mine = subject(row)
        mine.ticks, mine.last_tick_time_us = row["ticks"], row["last_time_us"]
    for row in questions.rows(EVENTS, values):
        subject(row).findings.append(
            Finding(
                kind=row["kind"],
                items=row["items"],
                events=row["events"],
                last_time_us=row["last_time_us"],
                last_detail=row["last_detail"],
            )
        )
    for row in questions.rows(FLAGS, values):
        flag = Finding(kind=row["flag"], items=row["ticks"], events=0, last_time_us=row["last_time_us"])
        subject(row).findings.append(flag)
    return [found[key] for key in sorted(found)]


def render(subjects: Iterable[Subject]) -> Table:
    """Draw a line for each finding, below its venue and symbol."""
    table = Table(title="quality", title_justify="left", box=SIMPLE_HEAD)
    for name in ("venue", "symbol", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("items", "of ticks", "events"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last seen", no_wrap=True)
    table.add_column("detail", overflow="fold")
    for subject in subjects:
        for cells in _lines(subject):
            table.add_row(*cells)
    table.caption = None if table.rows else "nothing is stored of that time: does a sink run, is --since early enough?"
    return table


def _lines(subject: Subject) -> Iterator[tuple[str, ...]]:
    last = time_text(subject.last_tick_time_us) if subject.last_tick_time_us else "-"
    name = shown(subject.symbol, DETAIL_CHARS) or "(connections)"
    yield subject.venue, name, "ticks", f"{subject.ticks:,}", "", "", last, ""
    for each in subject.findings:
        kind = each.kind if each.events else f"flag {each.kind}"
        share = f"{each.items / subject.ticks:.3%}" if subject.ticks else "-"
        events = f"{each.events:,}" if each.events else ""
        detail = shown(each.last_detail, DETAIL_CHARS)
        yield "", "", shown(kind, DETAIL_CHARS), f"{each.items:,}", share, events, time_text(each.last_time_us), detail
