"""`tickerplant sinks`: sinks of this machine shown and steered."""

from pathlib import Path
from typing import Literal

import click
import msgspec

from tickerplant import completion as complete
from tickerplant.cli.common import NAME, config_option, json_option, show_result
from tickerplant.settings import load_settings


@click.group()
def sinks() -> None:
    """Show and steer the sinks of this machine, as Kafka Connect's REST API does."""


@sinks.command("status")
@config_option
@json_option
def sinks_status(config: Path | None, as_json: bool) -> int:
    """Show each sink and its processes; exit code 1 = one does not run or is not wanted to."""
    from tickerplant.connect.console import is_running, lines, statuses

    found = statuses(load_settings(config))
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        for line in lines(found):
            click.echo(line)
    return 0 if is_running(found) else 1


@sinks.command("pause")
@config_option
@json_option
@click.argument("name", type=NAME, shell_complete=complete.stores)
def sinks_pause(config: Path | None, as_json: bool, name: str) -> None:
    """Let a sink take no more, but keep its partitions; it stays so when it is started again."""
    _steer(config, name, "PAUSED", as_json=as_json)


@sinks.command("resume")
@config_option
@json_option
@click.argument("name", type=NAME, shell_complete=complete.stores)
def sinks_resume(config: Path | None, as_json: bool, name: str) -> None:
    """Let a sink that was paused or stopped go on."""
    _steer(config, name, "RUNNING", as_json=as_json)


@sinks.command("stop")
@config_option
@json_option
@click.argument("name", type=NAME, shell_complete=complete.stores)
def sinks_stop(config: Path | None, as_json: bool, name: str) -> None:
    """Let a sink leave its consumer group and wait to be resumed."""
    _steer(config, name, "STOPPED", as_json=as_json)


@sinks.command("restart")
@config_option
@json_option
@click.option("--task", type=click.IntRange(0), help="This process alone.")
@click.argument("name", type=NAME, shell_complete=complete.stores)
def sinks_restart(config: Path | None, as_json: bool, task: int | None, name: str) -> None:
    """Let a sink store what it holds, leave its consumer group and begin anew."""
    from tickerplant.connect.console import restart

    show_result(restart(load_settings(config), name, task), as_json=as_json)


def _steer(config: Path | None, name: str, target: Literal["RUNNING", "PAUSED", "STOPPED"], *, as_json: bool) -> None:
    from tickerplant.connect.console import aim

    show_result(aim(load_settings(config), name, target), as_json=as_json)
