"""What commands share: names, options, and how they print."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec


class Name(click.ParamType):
    """A text that names something: one that is empty is a mistake, such as a variable of a script that is not set."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take any text that is not blank."""
        if not str(value).strip():
            self.fail("it is empty: name one, or leave it out", param, ctx)
        return str(value)


NAME = Name()
config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file (TOML); also TICKERPLANT_CONFIG.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


def say(text: str) -> None:
    """Tell progress on stderr, so that stdout is the result alone."""
    click.echo(text, err=True)


def show_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: a line for each name, or one JSON object."""
    if as_json:
        click.echo(msgspec.json.encode(result))
        return
    for name, value in result.items():
        click.echo(f"{name:<24} {value}")


def show_status(rows: list[Any], *, as_json: bool) -> None:
    """Print the servers of the local stack: a line for each, or one JSON list."""
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        fields = msgspec.to_builtins(row)
        click.echo("  ".join(f"{key}={value}" for key, value in fields.items()))
