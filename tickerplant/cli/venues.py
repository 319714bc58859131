"""Commands about venues: venues, check-venue, smoke."""

from pathlib import Path
from typing import Any

import click
import msgspec

from tickerplant import completion as complete
from tickerplant.cli.common import NAME, config_option, json_option
from tickerplant.logs import configure_logs
from tickerplant.settings import load_settings


@click.command()
@json_option
def venues(as_json: bool) -> None:
    """List what can be captured: venues, markets, channels; with --json their rules, fields and limits, too."""
    from tickerplant.venues_page import show

    show(as_json=as_json)


@click.command("check-venue")
@json_option
@click.argument("name", type=NAME, shell_complete=complete.venues)
@click.option(
    "--messages",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Messages of its documents, e.g. tests/messages/NAME.json: {market: {name: message}}.",
)
def check_venue(name: str, messages: Path | None, as_json: bool) -> None:
    """Hold the files of a venue (a new one) against what all others may rely on; exit code 1 = they do not."""
    from tickerplant.check_venue import show

    show(name, messages, as_json=as_json)


@click.command()
@config_option
@json_option
@click.option("--venue", type=NAME, required=True, shell_complete=complete.venues, help="e.g. bybit.")
@click.option("--market", type=NAME, shell_complete=complete.markets, help="Default: each market of the venue.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    help="How long to listen once connected.",
)
@click.option("--symbol", "symbols", type=NAME, multiple=True, help="May be repeated. Default: a few that trade much.")
@click.option("--websocket-url", type=NAME, help="Another host than the venue's own, such as the simulated venue.")
@click.option("--rest-url", type=NAME, help="The same, of REST.")
def smoke(config: Path | None, as_json: bool, **options: Any) -> int:
    """Check a venue live, in memory: list, connect, subscribe to all channels of a few symbols, parse what comes.

    Needs a connection to the venue, and no server of ours. Exit code 1 = nothing came, or not all that should.
    """
    import asyncio

    from tickerplant.smoke import SmokeOptions, check

    settings = load_settings(config)
    configure_logs("smoke", "error")
    findings = asyncio.run(check(settings, SmokeOptions(**options)))
    if as_json:
        click.echo(msgspec.json.encode([each.summary() for each in findings]))
    else:
        for line in (line for each in findings for line in each.lines()):
            click.echo(line)
    problems = [f"{each.venue} {each.market}: {each.problems[0]}" for each in findings if each.problems]
    for line in problems:
        click.echo(f"tickerplant: {line}", err=True)
    return 1 if problems else 0
