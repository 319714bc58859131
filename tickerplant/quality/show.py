"""`tickerplant quality`: asks ClickHouse, prints a table for a person or one JSON object."""

import click
import msgspec
from rich.table import Table

from processors.divergence import band_of
from schemas.venues import SYMBOLOGIES
from tickerplant.choices import check_symbol, chosen_venue
from tickerplant.clock import now_us
from tickerplant.console import make_console
from tickerplant.quality import coverage, divergence, findings
from tickerplant.quality.wish import Wish
from tickerplant.questions import asking
from tickerplant.settings import Settings
from tickerplant.since import past_us


def show_findings(settings: Settings, wish: Wish, *, as_json: bool) -> None:
    """Print what went wrong in a range, by venue and symbol.

    Raises:
        UserError: ClickHouse refuses us, or is not deployed.
        DependencyError: it does not answer.
    """
    with asking(settings.clickhouse) as questions:
        found = findings.read(questions, wish)
    _show("quality", found, findings.render(found), as_json=as_json)


def show_coverage(settings: Settings, wish: Wish, *, as_json: bool) -> None:
    """Print how much of each day is stored; raises as `show_findings`."""
    with asking(settings.clickhouse) as questions:
        found = coverage.read(questions, wish, wish.end_us)
    _show("coverage", found, coverage.render(found), as_json=as_json)


def show_divergence(settings: Settings, wish: Wish, *, as_json: bool) -> None:
    """Print which venues' prices left those of the others; raises as `show_findings`."""
    with asking(settings.clickhouse) as questions:
        found = divergence.read(questions, wish, band_of(settings.divergence))
    _show("divergence", found, divergence.render(found), as_json=as_json)


def make_wish(*, since: str, venue: str | None, symbol: str | None) -> Wish:
    """Read what a person gave; the range ends now.

    Raises:
        UserError: `since` is no time that is over, the symbol is none, or the venue is not known.
    """
    end_us = now_us()
    if venue is not None:
        chosen_venue(venue, SYMBOLOGIES)
    if symbol is not None:
        check_symbol(symbol)
    return Wish(start_us=past_us(since, end_us), end_us=end_us, venue=(venue or "").upper(), symbol=symbol or "")


def _show(name: str, rows: object, table: Table, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({name: rows}))
    else:
        make_console().print(table)
