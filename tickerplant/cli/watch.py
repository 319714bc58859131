"""Commands that look: health, top, lag, quality, report, dead-letters, doctor."""

from pathlib import Path
from typing import Literal

import click
import msgspec

from tickerplant import completion as complete
from tickerplant.cli.common import NAME, config_option, json_option, show_result
from tickerplant.errors import UserError
from tickerplant.settings import load_settings


@click.command()
@config_option
@json_option
@click.option("--live", "is_live", is_flag=True, help="Ask whether roles work at all, whatever they depend on.")
@click.option(
    "--role",
    type=NAME,
    shell_complete=complete.roles,
    help="Ask this role alone, e.g. produce, process, sink-clickhouse.",
)
def health(config: Path | None, as_json: bool, is_live: bool, role: str | None) -> int:
    """Tell whether the roles of this machine are ready, and what they miss; exit code 1 = not all are."""
    from tickerplant.acls import ROLES
    from tickerplant.ask_health import ask_roles, is_good, summary

    if role is not None and role not in ROLES:
        raise UserError(f"no role is called {role}: there are {', '.join(ROLES)}")
    question: Literal["live", "ready"] = "live" if is_live else "ready"
    found = ask_roles(load_settings(config), question, role=role)
    if as_json:
        click.echo(msgspec.json.encode(summary(found, question)))
    else:
        for each in found:
            click.echo(each.line(question))
        if not found:
            click.echo(f"{role or 'no role'} {'does not run' if role else 'runs'} here", err=True)
    return 0 if is_good(found) else 1


@click.command()
@config_option
@json_option
@click.option("--once", is_flag=True, help="Print one table and end.")
def top(config: Path | None, as_json: bool, once: bool) -> None:
    """Show a live table: rate, lag, p50 and p99 of each stage, rows stored."""
    from tickerplant.top import watch

    watch(load_settings(config), once=once or as_json, as_json=as_json)


@click.command()
@config_option
@json_option
@click.option(
    "--group",
    "groups",
    type=NAME,
    multiple=True,
    shell_complete=complete.groups,
    help="Only this consumer group; may be given more than once.",
)
@click.option("--partitions", "by_partition", is_flag=True, help="A line for each partition, not for each topic.")
@click.option("--watch", "is_watching", is_flag=True, help="Go on until Ctrl-C; with --json one object a line.")
def lag(config: Path | None, as_json: bool, groups: tuple[str, ...], by_partition: bool, is_watching: bool) -> None:
    """Show how far each consumer group is behind, by commit and by position, in records and in seconds."""
    from tickerplant.lag_table import show

    show(load_settings(config), groups, by_partition=by_partition, is_watching=is_watching, as_json=as_json)


@click.command()
@config_option
@json_option
@click.option("--since", help="e.g. 30m, 2h, 7d, or 2026-11-21T09:00. Default: 1h; with --coverage 7d.")
@click.option("--venue", type=NAME, shell_complete=complete.venues, help="Only this one, e.g. binance.")
@click.option("--symbol", type=NAME, help="Only this one, e.g. BTC/USDT.")
@click.option("--coverage", "is_coverage", is_flag=True, help="How much of each day is stored, instead.")
@click.option("--divergence", "is_divergence", is_flag=True, help="Which venues' prices left the others', instead.")
def quality(
    config: Path | None,
    as_json: bool,
    since: str | None,
    venue: str | None,
    symbol: str | None,
    is_coverage: bool,
    is_divergence: bool,
) -> None:
    """Show what went wrong in what is stored: per venue and symbol, by kind, and when it was last seen."""
    from tickerplant.quality import show

    if is_coverage and is_divergence:
        raise UserError("--coverage and --divergence are two tables: give one of them")
    if since is None:
        since = "7d" if is_coverage else "1h"
    wish = show.make_wish(since=since, venue=venue, symbol=symbol)
    shown_by = show.show_coverage if is_coverage else show.show_divergence if is_divergence else show.show_findings
    shown_by(load_settings(config), wish, as_json=as_json)


@click.command()
@config_option
@json_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write, e.g. report.html."
)
@click.option("--since", default="1h", show_default=True, help="e.g. 30m, 2h, 7d, or 2026-11-21T09:00.")
@click.option("--venue", type=NAME, shell_complete=complete.venues, help="Only this one, e.g. binance.")
@click.option("--symbol", type=NAME, help="Only this one, e.g. BTC/USDT.")
def report(config: Path | None, as_json: bool, out: Path, since: str, venue: str | None, symbol: str | None) -> None:
    """Draw what is stored as one page without anything to fetch: rates, latencies, lag, gaps, spreads, book, bars."""
    from tickerplant.quality.show import make_wish
    from tickerplant.report.show import write_report

    wish = make_wish(since=since, venue=venue, symbol=symbol)
    show_result(write_report(load_settings(config), wish, out), as_json=as_json)


@click.command("dead-letters")
@config_option
@json_option
@click.option(
    "--stage", type=click.Choice(("processor", "sink", "sink.clickhouse", "sink.parquet")), help="Only these."
)
@click.option("--since", help="e.g. 30m, 2h, 7d, or 2026-11-21T09:00. Default: all that are kept.")
@click.option("--lines", type=click.IntRange(0), default=5, show_default=True, help="How many of the last letters.")
def dead_letters(config: Path | None, as_json: bool, stage: str | None, since: str | None, lines: int) -> None:
    """List what could not be used: by reason, with counts, and the last letters; payloads in base64 with --json."""
    from tickerplant.dead_letters import show

    show(load_settings(config), stage=stage, since=since, lines=lines, as_json=as_json)


@click.command()
@config_option
@json_option
def doctor(config: Path | None, as_json: bool) -> int:
    """Tell what is installed, reachable, taken or short, for reports of faults; exit code 1 = something is wrong."""
    from tickerplant.doctor import examine
    from tickerplant.doctor.show import report_lines

    report = examine(config)
    if as_json:
        click.echo(msgspec.json.encode(report.summary()))
    else:
        for line in report_lines(report):
            click.echo(line)
    return 1 if report.wrong else 0
