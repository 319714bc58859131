"""Commands that prepare: deploy, config, acls, completion."""

import sys
from importlib import resources
from pathlib import Path

import click
import msgspec

from tickerplant import completion as complete
from tickerplant.cli.common import NAME, config_option, json_option, say, show_result
from tickerplant.configuration import lines, read_settings, shown
from tickerplant.errors import UserError
from tickerplant.masking import output_errors
from tickerplant.settings import load_settings


@click.command()
@config_option
@json_option
def deploy(config: Path | None, as_json: bool) -> None:
    """Create topics, register schemas, run migrations. Twice is the same as once."""
    from tickerplant.deploy import deploy as run_deploy

    done = run_deploy(load_settings(config))
    show_result(done, as_json=as_json)


@click.command("config")
@config_option
@json_option
@click.option("--example", "is_example", is_flag=True, help="Print a settings file with every default, to start from.")
def show_config(config: Path | None, as_json: bool, is_example: bool) -> None:
    """Show the settings in force and where each comes from; secrets are masked."""
    if is_example:
        text = resources.files("tickerplant").joinpath("example.toml").read_text(encoding="utf-8")
        with output_errors():
            click.echo(text, file=sys.__stdout__, nl=False)  # not masked: how secrets are referred to is what it shows
        return
    loaded = read_settings(config)
    if as_json:
        click.echo(msgspec.json.encode(shown(loaded)))
        return
    for line in lines(loaded):
        click.echo(line)
    for warning in loaded.warnings:
        say(f"tickerplant: risk: {warning}")


@click.command()
@config_option
@json_option
@click.option(
    "--role",
    "roles",
    type=NAME,
    multiple=True,
    shell_complete=complete.roles,
    help="Only this role; may be repeated. Default: all.",
)
@click.option(
    "--principal",
    type=NAME,
    default="User:{role}",
    show_default=True,
    help="What Kafka calls the user of a role (--apply).",
)
@click.option("--apply", "is_applied", is_flag=True, help="Create them as ALLOW rules on the broker of the settings.")
def acls(config: Path | None, as_json: bool, roles: tuple[str, ...], principal: str, is_applied: bool) -> None:
    """Show the least rights that each role needs on Kafka."""
    from tickerplant.acls import ROLES, rights

    if unknown := set(roles) - set(ROLES):
        raise UserError(f"no role is called {min(unknown)}: there are {', '.join(ROLES)}")
    settings = load_settings(config)
    wanted = rights(roles or ROLES, topic_suffix=settings.kafka.topic_suffix)
    if is_applied:
        from tickerplant.rights import apply

        show_result({"acls_in_force": apply(settings, wanted, principal)}, as_json=as_json)
        return
    if as_json:
        click.echo(msgspec.json.encode(wanted))
        return
    for right in wanted:
        click.echo(f"{right.role:<16} {right.operation:<9} {right.resource:<6} {right.name}")


@click.command()
@click.argument("shell", type=click.Choice(complete.SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options and names."""
    click.echo(complete.script(context.find_root().command, shell))
