"""Commands that run a role, or all of them, until they are told to stop."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec

from tickerplant import completion as complete
from tickerplant.cli.common import NAME, config_option, json_option, show_result
from tickerplant.configuration import read_settings
from tickerplant.errors import DEPENDENCY_AWAY_CODE, DependencyError, UserError
from tickerplant.extras import need
from tickerplant.logs import configure_logs, logger
from tickerplant.settings import Settings, load_settings

RUN_HELP: Final = "Runs until SIGTERM or Ctrl-C, then drains."
wait_option = click.option(
    "--wait", "is_patient", is_flag=True, help="Wait for servers that do not answer, instead of ending."
)


@click.command(help=f"Take in frames of the configured venues and write them to raw topics. {RUN_HELP}")
@config_option
@json_option
@wait_option
def produce(config: Path | None, as_json: bool, is_patient: bool) -> None:
    """Run a producer."""
    settings = role_settings(config, "produce")
    from producers import app

    run_role(lambda: app.run(settings, is_patient=is_patient), as_json=as_json, is_patient=is_patient)


@click.command(help=f"Turn raw topics into cleaned topics. {RUN_HELP}")
@config_option
@json_option
@wait_option
def process(config: Path | None, as_json: bool, is_patient: bool) -> None:
    """Run a processor."""
    settings = role_settings(config, "process")
    from processors import app

    run_role(lambda: app.run(settings, is_patient=is_patient), as_json=as_json, is_patient=is_patient)


@click.command(help=f"Write topics into a store: clickhouse or parquet. {RUN_HELP}")
@config_option
@json_option
@wait_option
@click.option("--task", type=click.IntRange(0), default=0, help="Number of this process among those of the store.")
@click.argument("store", type=NAME, shell_complete=complete.stores)
def sink(config: Path | None, as_json: bool, is_patient: bool, task: int, store: str) -> None:
    """Run a sink."""
    need("sinks")
    settings = role_settings(config, f"sink-{store}")
    from sinks import app

    run_role(lambda: app.run(settings, store, task=task, is_patient=is_patient), as_json=as_json, is_patient=is_patient)


@click.command(help=f"Compare prices of venues: DIVERGENCE in quality.event, a minute at a time. {RUN_HELP}")
@config_option
@json_option
@wait_option
def compare(config: Path | None, as_json: bool, is_patient: bool) -> None:
    """Run the second stage."""
    settings = role_settings(config, "compare")
    from processors import compare as stage

    run_role(lambda: stage.run(settings, is_patient=is_patient), as_json=as_json, is_patient=is_patient)


@click.command("lag-exporter", help=f"Serve the lag of every consumer group to Prometheus. {RUN_HELP}")
@config_option
@json_option
def lag_exporter(config: Path | None, as_json: bool) -> None:
    """Run the lag exporter."""
    settings = role_settings(config, "lag-exporter")
    from tickerplant import lag_exporter as exporter

    run_role(lambda: exporter.run(settings), as_json=as_json, is_patient=False)


@click.command(help=f"Keep the state of processors in the lake, each hour, for replays to start at. {RUN_HELP}")
@config_option
@json_option
@click.option("--once", is_flag=True, help="Write one checkpoint of each partition that has moved, and end.")
@click.option(
    "--restore", "place", type=NAME, metavar="TOPIC:PARTITION", help="Go back to the last one, e.g. raw.binance:1; end."
)
def checkpoint(config: Path | None, as_json: bool, once: bool, place: str | None) -> None:
    """Run the checkpoint role."""
    need("sinks")
    settings = role_settings(config, "checkpoint")
    from tickerplant.replay import keeper

    if place is not None and once:
        raise UserError("--once writes checkpoints, --restore goes back to one: give one of them")
    if place is not None:
        from tickerplant.replay.restore import restore

        show_result(restore(settings, place), as_json=as_json)
        return
    if not once:
        run_role(lambda: keeper.run(settings), as_json=as_json, is_patient=False)
        return
    kept = keeper.keep_once(settings)
    if as_json:
        click.echo(msgspec.json.encode(kept.written))
    else:
        for each in kept.written:
            click.echo(f"{each['topic']}:{each['partition']} offset {each['next_offset']}: {each['pieces']} pieces")
    if kept.damaged:
        raise UserError("; ".join(map(str, kept.damaged)))


@click.command()
@json_option
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
def run(as_json: bool, config: Path) -> None:
    """Run all roles of CONFIG (TOML) as child processes, and restart what dies."""
    from tickerplant.supervise import run_all

    configure_logs("run", load_settings(config).log_level)
    restarts = run_all(config)
    if as_json:
        click.echo(msgspec.json.encode({"restarts": restarts}))


def role_settings(config: Path | None, role: str) -> Settings:
    """Read settings and set up logs; from here on SIGTERM ends the process with code 0, and later drains it first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    loaded = read_settings(config)
    configure_logs(role, loaded.settings.log_level)
    for warning in loaded.warnings:
        logger().warning("settings", risk=warning)
    if loaded.settings.kafka.security_protocol != "PLAINTEXT":
        from tickerplant.rights import check_rights

        check_rights(loaded.settings, role)
    return loaded.settings


def run_role(run: Callable[[], None], *, as_json: bool, is_patient: bool) -> None:
    """Run a role to its end and, if asked, tell what this process did.

    One that was told to wait, and misses a server where it cannot, asks by its exit code to be started again.
    """
    try:
        run()
    except SystemExit as stop:  # told to stop before the role could listen
        if stop.code:
            raise
    except DependencyError as error:
        if not is_patient:
            raise
        click.echo(f"tickerplant: {error}", err=True)
        sys.exit(DEPENDENCY_AWAY_CODE)
    if as_json:
        from tickerplant.metrics import totals

        click.echo(msgspec.json.encode(totals()))
