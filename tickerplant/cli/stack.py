"""Commands of the local stack: up, down, status, logs."""

from pathlib import Path

import click
import msgspec

from tickerplant import completion as complete
from tickerplant.cli.common import NAME, config_option, json_option, say, show_status
from tickerplant.extras import need
from tickerplant.settings import load_settings


@click.command()
@config_option
@json_option
def up(config: Path | None, as_json: bool) -> None:
    """Start the local stack: broker, registry, object store, ClickHouse. What runs already is left alone."""
    from tickerplant.local import stack

    need("local")
    settings = load_settings(config)
    stack.up(settings, say)
    show_status(stack.status(settings), as_json=as_json)


@click.command()
@config_option
@json_option
def down(config: Path | None, as_json: bool) -> None:
    """Stop the local stack, and what a demo left running; the data stays."""
    from tickerplant.local import background, stack

    settings = load_settings(config)
    background.stop(settings, say)
    stack.down(settings, say)
    if as_json:
        show_status(stack.status(settings), as_json=True)


@click.command()
@config_option
@json_option
def status(config: Path | None, as_json: bool) -> None:
    """Show the servers of the local stack."""
    from tickerplant.local import stack

    show_status(stack.status(load_settings(config)), as_json=as_json)


@click.command()
@config_option
@json_option
@click.argument("name", type=NAME, shell_complete=complete.logs)
@click.option("--lines", type=click.IntRange(0), default=50, show_default=True, help="How many of the last lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come.")
def logs(config: Path | None, as_json: bool, name: str, lines: int, follow: bool) -> None:
    """Print the log of a server or role: broker, registry, produce ..."""
    from tickerplant.local import stack

    found = stack.logs(load_settings(config), name, lines=lines, follow=follow and not as_json)
    if as_json:
        click.echo(msgspec.json.encode({"name": name, "lines": list(found)}))
        return
    for line in found:
        click.echo(line)
