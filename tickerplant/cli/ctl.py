"""`tickerplant ctl`: what running producers shall capture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tickerplant import completion as complete
from tickerplant.cli.common import NAME, config_option, json_option
from tickerplant.settings import load_settings

if TYPE_CHECKING:
    from tickerplant.control import Control, Target


@click.group()
def ctl() -> None:
    """Say what running producers shall capture, or do once; it holds for all of them, and survives restarts."""


def _target_options(*, is_symbol_needed: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options that name what a command is about."""
    options = (
        config_option,
        json_option,
        click.option("--venue", type=NAME, required=True, shell_complete=complete.venues, help="e.g. binance."),
        click.option(
            "--market",
            type=NAME,
            shell_complete=complete.markets,
            help="Default: the only one that the settings have of it.",
        ),
        click.option(
            "--symbol",
            "symbols",
            type=NAME,
            multiple=True,
            required=is_symbol_needed,
            help="The venue's name or the canonical one, * = all; may be repeated."
            + ("" if is_symbol_needed else " Default: the market as a whole."),
        ),
        click.option("--reason", default="ctl", show_default=True, help="For those who read it later."),
    )

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


channel_option = click.option(
    "--channel",
    "channels",
    type=NAME,
    multiple=True,
    help="e.g. depth; may be repeated. Default: those of the settings.",
)


@ctl.command()
@_target_options(is_symbol_needed=False)
def start(**given: Any) -> None:
    """Capture again what was stopped."""
    _control(lambda control, target, reason: control.switch(target, is_started=True, reason=reason), **given)


@ctl.command()
@_target_options(is_symbol_needed=False)
def stop(**given: Any) -> None:
    """Capture nothing of a market or of symbols, until they are started again."""
    _control(lambda control, target, reason: control.switch(target, is_started=False, reason=reason), **given)


@ctl.command()
@_target_options(is_symbol_needed=True)
@channel_option
def subscribe(**given: Any) -> None:
    """Capture channels of symbols, besides what the settings say."""
    _control(lambda control, target, reason: control.subscribe(target, reason=reason), **given)


@ctl.command()
@_target_options(is_symbol_needed=True)
@channel_option
def unsubscribe(**given: Any) -> None:
    """Capture channels of symbols no more, whatever the settings say."""
    _control(lambda control, target, reason: control.unsubscribe(target, reason=reason), **given)


@ctl.command()
@_target_options(is_symbol_needed=True)
def resnapshot(**given: Any) -> None:
    """Have the books of symbols sent anew, once."""
    _control(lambda control, target, reason: control.resnapshot(target, reason=reason), **given)


@ctl.command("list")
@config_option
@json_option
def list_wishes(config: Path | None, as_json: bool) -> None:
    """Show what the settings want and what was said since."""
    from tickerplant.control import Control

    rows = Control(load_settings(config)).rows()
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        symbols, channels = (" ".join(each or "-" for each in row[name]) for name in ("symbols", "channels"))
        told = f"{row['venue']:<12} {row['market']:<10} {row['said_by']:<9} {row['state']:<11} {symbols}  {channels}"
        click.echo(f"{told}  {row['reason']}".rstrip())


def _control(
    run: Callable[["Control", "Target", str], Sequence[Any]],
    *,
    config: Path | None,
    as_json: bool,
    reason: str,
    **target: Any,
) -> None:
    """Write to a control topic, and show what was written."""
    from tickerplant.control import Control, Target

    written = [msgspec.to_builtins(each) for each in run(Control(load_settings(config)), Target(**target), reason)]
    if as_json:
        click.echo(msgspec.json.encode(written))
        return
    for each in written:
        said = each.get("command") or ("wanted" if each["is_wanted"] else "not wanted")
        if not each.get("channel", "-"):
            said = "started" if each["is_wanted"] else "stopped"
        place = f"{each['venue']} {each['market']} {each['venue_symbol'] or '*'} {each.get('channel', '')}"
        click.echo(f"{said:<11} {place}".rstrip())
