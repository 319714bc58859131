"""Prices of one pair at several venues, from stored quotes: which venue left the others, when, how far."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from processors.divergence import Band, Spell, Watch
from tickerplant.quality.wish import WHERE, Wish
from tickerplant.questions import Questions, Row
from tickerplant.since import US, shown, time_text

NAME_CHARS: Final = 40
MIDS: Final = f"""
SELECT symbol, intDiv(event_time_us, 1000000) AS second, venue,
    argMax((bid + ask) / 2, (event_time_us, sequence_id)) AS mid
FROM market_data.tick@
WHERE kind = 'QUOTE' AND bid > 0 AND ask > 0 AND {WHERE} AND symbol IN
(
    SELECT symbol FROM market_data.tick@ WHERE kind = 'QUOTE' AND {WHERE} GROUP BY symbol HAVING uniqExact(venue) > 1
)
GROUP BY symbol, second, venue
ORDER BY symbol, second, venue"""  # noqa: S608  # own text; values are escaped by the driver


class Divergence(msgspec.Struct, kw_only=True):
    """A venue that left the others.

    Args:
        spells: how often; `seconds`: how long, all in all.
        worst_bps: the largest deviation from the median, with its sign; `band_bps` and `venues` are of then.
        last_time_us: when it was last seen outside, µs UTC.
    """

    symbol: str
    venue: str
    spells: int
    seconds: int
    worst_bps: float
    band_bps: float
    venues: int
    last_time_us: int


class Comparison(msgspec.Struct, kw_only=True):
    """What a range gave.

    Args:
        symbols: how many were quoted at two venues or more.
        seconds: of all symbols, in which at least one venue quoted.
    """

    symbols: int = 0
    seconds: int = 0
    divergences: list[Divergence] = []
    spells: list[Spell] = []


def read(questions: Questions, wish: Wish, band: Band) -> Comparison:
    """Compare the mids of venues second by second, by our time (`event_time_us`): clocks of venues differ.

    A wish for one venue hides the others, which are compared all the same.
    """
    everywhere = {**wish.values(), "venue": ""}
    found = Comparison(divergences=[], spells=[])
    for symbol, rows in groupby(questions.rows(MIDS, everywhere), itemgetter("symbol")):
        watch = Watch(symbol, band)
        found.symbols += 1
        for second, mids in _seconds(rows):
            found.seconds += 1
            found.spells += watch.step(second, mids)
        found.spells += watch.finish()
    found.spells = [each for each in found.spells if wish.venue in {"", each.venue}]
    found.divergences = summed(found.spells)
    return found


def summed(spells: Iterable[Spell]) -> list[Divergence]:
    """Make one of all spells of a symbol and venue, in their order."""
    by_place = itemgetter(0, 1)
    ordered = sorted(((each.symbol, each.venue, each) for each in spells), key=by_place)
    return [_sum(symbol, venue, [each for _, _, each in mine]) for (symbol, venue), mine in groupby(ordered, by_place)]


def render(found: Comparison) -> Table:
    """Draw a line for each venue that left the others."""
    table = Table(title="divergence between venues", title_justify="left", box=SIMPLE_HEAD)
    for name in ("symbol", "venue"):
        table.add_column(name, no_wrap=True)
    for name in ("spells", "seconds", "worst bps", "band bps", "venues"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last seen", no_wrap=True)
    for each in found.divergences:
        table.add_row(
            shown(each.symbol, NAME_CHARS),
            each.venue,
            *(f"{each.spells:,}", f"{each.seconds:,}", f"{each.worst_bps:+,.1f}", f"{each.band_bps:,.1f}"),
            str(each.venues),
            time_text(each.last_time_us),
        )
    table.caption = f"compared: {found.symbols} symbols quoted at two venues or more, {found.seconds:,} seconds of them"
    return table


def _seconds(rows: Iterable[Row]) -> Iterator[tuple[int, dict[str, float]]]:
    for second, mine in groupby(rows, itemgetter("second")):
        yield second, {row["venue"]: row["mid"] for row in mine}


def _sum(symbol: str, venue: str, spells: list[Spell]) -> Divergence:
    worst = max(spells, key=lambda each: abs(each.worst_bps))
    return Divergence(
        symbol=symbol,
        venue=venue,
        spells=len(spells),
        seconds=sum(each.seconds for each in spells),
        worst_bps=worst.worst_bps,
        band_bps=worst.band_bps,
        venues=worst.venues,
        last_time_us=max(each.last_s for each in spells) * US,
    )
