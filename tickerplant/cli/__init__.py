"""The `tickerplant` command: each subcommand reads settings, calls one function, and prints text or one JSON object.

A mistake of the user ends with one line on stderr and exit code 2, without a traceback. Modules are imported by the
command that needs them: a sink process does not carry Faust, a processor no Arrow.
"""

import sys
from typing import Final

import click

from tickerplant.cli import ctl, demo, replay, research, roles, setup, sinks, stack, venues, watch
from tickerplant.cli.ending import run_command
from tickerplant.lean import travelling_light
from tickerplant.masking import masked_output

__all__ = ["COMMANDS", "cli", "main", "travelling_light"]

COMMANDS: Final[dict[str, tuple[click.Command, ...]]] = {
    "One machine": (demo.demo, stack.up, stack.down, stack.status, stack.logs),
    "Prepare": (setup.show_config, setup.deploy, setup.acls, setup.completion),
    "Run": (
        roles.run,
        roles.produce,
        roles.process,
        roles.sink,
        roles.compare,
        roles.checkpoint,
        roles.lag_exporter,
    ),
    "Steer": (ctl.ctl, sinks.sinks),
    "Watch": (
        watch.health,
        watch.top,
        watch.lag,
        watch.quality,
        watch.report,
        watch.dead_letters,
        watch.doctor,
    ),
    "Use what is stored": (replay.replay, replay.convert, research.features, research.bars),
    "Venues": (venues.venues, venues.smoke, venues.check_venue),
}
"""All commands, by what they are for, as the help lists them."""


class ByPurpose(click.Group):
    """A group whose help lists its commands by what they are for."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # of click
        """Write them, names below one another."""
        width = max(map(len, self.commands))
        for purpose, commands in COMMANDS.items():
            with formatter.section(purpose):
                room = formatter.width - width - 6
                rows = [(str(each.name).ljust(width), each.get_short_help_str(room)) for each in commands]
                formatter.write_dl(rows)


@click.group(cls=ByPurpose, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tickerplant")
def cli() -> None:
    """Market data from venues through Kafka into ClickHouse and Parquet."""


for command in (command for commands in COMMANDS.values() for command in commands):
    cli.add_command(command)


def main() -> None:
    """Run the command line; ends the process."""
    with travelling_light(), masked_output():
        sys.exit(run_command(cli))
