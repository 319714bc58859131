"""The `tickerplant` command: each subcommand reads settings, calls one function, and prints text or one JSON object.

A mistake of the user ends with one line on stderr and exit code 2, without a traceback. Modules are imported by the
command that needs them: a sink process does not carry Faust, a processor no Arrow.
"""

import errno
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from tickerplant import completion as complete
from tickerplant.configuration import lines, read_settings, shown
from tickerplant.errors import DEPENDENCY_AWAY_CODE, DependencyError, OutputError, TickerplantError, UserError
from tickerplant.extras import lacking, need
from tickerplant.lean import travelling_light
from tickerplant.logs import configure_logs, logger
from tickerplant.masking import masked_output, output_errors, print_no_more
from tickerplant.settings import Settings, load_settings

if TYPE_CHECKING:
    from tickerplant.control import Control, Target
    from tickerplant.research.rows import Store


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
wait_option = click.option(
    "--wait", "is_patient", is_flag=True, help="Wait for servers that do not answer, instead of ending."
)
RUN_HELP = "Runs until SIGTERM or Ctrl-C, then drains."


def main() -> None:
    """Run the command line; ends the process."""
    with travelling_light(), masked_output():
        sys.exit(_run_command())


def _run_command() -> int:
    """Run the command that the arguments name; returns the exit code."""
    try:
        code = cli(standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
    except click.Abort:
        return 130
    except OutputError as error:
        return _tell_no_reader(error)
    except Exception as error:  # noqa: BLE001  # told here, where what is printed is masked
        return _tell(error)
    return code if isinstance(code, int) else 0


def _tell(error: Exception) -> int:
    """Print what went wrong: a line where it was foreseen, else a traceback; returns the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        text = error.message
    elif isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f"; see `{context.command_path} --help`" if context else ""
        text = f"tickerplant: {error.format_message().rstrip('.')}{hint}"
    elif isinstance(error, TickerplantError):
        text = f"tickerplant: {error}"
    elif isinstance(error, ModuleNotFoundError) and (lack := lacking(error)):
        text = f"tickerplant: {lack}"
    else:
        traceback.print_exception(error)
        return 1
    click.echo(text, err=True)
    is_ours = isinstance(error, TickerplantError) and not isinstance(error, UserError)
    return 1 if is_ours else 2  # 1: starting again may help


def _tell_no_reader(error: OutputError) -> int:
    """Say why stdout takes no more, but nothing of a pipe that was closed, as by `head`; returns the exit code."""
    print_no_more(sys.stdout)
    with suppress(OutputError):
        if error.errno != errno.EPIPE:
            click.echo(f"tickerplant: {error}", err=True)
    print_no_more(sys.stderr)
    return 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tickerplant")
def cli() -> None:
    """Market data from venues through Kafka into ClickHouse and Parquet."""


@cli.command()
@config_option
@json_option
def up(config: Path | None, as_json: bool) -> None:
    """Start the local stack: broker, registry, object store, ClickHouse. What runs already is left alone."""
    from tickerplant.local import stack

    need("local")
    settings = load_settings(config)
    stack.up(settings, _say)
    _show_status(stack.status(settings), as_json=as_json)


@cli.command()
@config_option
@json_option
def down(config: Path | None, as_json: bool) -> None:
    """Stop the local stack, and what a demo left running; the data stays."""
    from tickerplant.local import background, stack

    settings = load_settings(config)
    background.stop(settings, _say)
    stack.down(settings, _say)
    if as_json:
        _show_status(stack.status(settings), as_json=True)


@cli.command()
@config_option
@json_option
def status(config: Path | None, as_json: bool) -> None:
    """Show the servers of the local stack."""
    from tickerplant.local import stack

    _show_status(stack.status(load_settings(config)), as_json=as_json)


@cli.command()
@config_option
@json_option
@click.argument("name", type=NAME, shell_complete=complete.logs)
@click.option("--lines", type=click.IntRange(0), default=50, show_default=True, help="How many of the last lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come.")
def logs(config: Path | None, as_json: bool, name: str, lines: int, follow: bool) -> None:
    """Print the log of a server or role, e.g. broker, registry, produce."""
    from tickerplant.local import stack

    found = stack.logs(load_settings(config), name, lines=lines, follow=follow and not as_json)
    if as_json:
        click.echo(msgspec.json.encode({"name": name, "lines": list(found)}))
        return
    for line in found:
        click.echo(line)


@cli.command()
@config_option
@json_option
def deploy(config: Path | None, as_json: bool) -> None:
    """Create topics, register schemas, run migrations. Twice is the same as once."""
    from tickerplant.deploy import deploy as run_deploy

    done = run_deploy(load_settings(config))
    _show(done, as_json=as_json)


@cli.command("config")
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
        _say(f"tickerplant: risk: {warning}")


@cli.command()
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

        _show({"acls_in_force": apply(settings, wanted, principal)}, as_json=as_json)
        return
    if as_json:
        click.echo(msgspec.json.encode(wanted))
        return
    for right in wanted:
        click.echo(f"{right.role:<16} {right.operation:<9} {right.resource:<6} {right.name}")


@cli.command(help=f"Take in frames of the configured venues and write them to raw topics. {RUN_HELP}")
@config_option
@json_option
@wait_option
def produce(config: Path | None, as_json: bool, is_patient: bool) -> None:
    """Run a producer."""
    settings = _role_settings(config, "produce")
    from producers import app

    _run_role(lambda: app.run(settings, is_patient=is_patient), as_json=as_json, is_patient=is_patient)


@cli.command(help=f"Turn raw topics into cleaned topics. {RUN_HELP}")
@config_option
@json_option
@wait_option
def process(config: Path | None, as_json: bool, is_patient: bool) -> None:
    """Run a processor."""
    settings = _role_settings(config, "process")
    from processors import app

    _run_role(lambda: app.run(settings, is_patient=is_patient), as_json=as_json, is_patient=is_patient)


@cli.command(help=f"Write topics into a store: clickhouse or parquet. {RUN_HELP}")
@config_option
@json_option
@wait_option
@click.option("--task", type=click.IntRange(0), default=0, help="Number of this process among those of the store.")
@click.argument("store", type=NAME, shell_complete=complete.stores)
def sink(config: Path | None, as_json: bool, is_patient: bool, task: int, store: str) -> None:
    """Run a sink."""
    need("sinks")
    settings = _role_settings(config, f"sink-{store}")
    from sinks import app

    _run_role(
        lambda: app.run(settings, store, task=task, is_patient=is_patient), as_json=as_json, is_patient=is_patient
    )


@cli.group()
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

    _show(restart(load_settings(config), name, task), as_json=as_json)


@cli.command(help=f"Compare prices of venues: DIVERGENCE in quality.event, a minute at a time. {RUN_HELP}")
@config_option
@json_option
@wait_option
def compare(config: Path | None, as_json: bool, is_patient: bool) -> None:
    """Run the second stage."""
    settings = _role_settings(config, "compare")
    from processors import compare as stage

    _run_role(lambda: stage.run(settings, is_patient=is_patient), as_json=as_json, is_patient=is_patient)


@cli.command("lag-exporter", help=f"Serve the lag of every consumer group to Prometheus. {RUN_HELP}")
@config_option
@json_option
def lag_exporter(config: Path | None, as_json: bool) -> None:
    """Run the lag exporter."""
    settings = _role_settings(config, "lag-exporter")
    from tickerplant import lag_exporter as exporter

    _run_role(lambda: exporter.run(settings), as_json=as_json, is_patient=False)


@cli.command(help=f"Keep the state of processors in the lake, each hour, for replays to start at. {RUN_HELP}")
@config_option
@json_option
@click.option("--once", is_flag=True, help="Write one checkpoint of each partition that has moved, and end.")
@click.option(
    "--restore", "place", type=NAME, metavar="TOPIC:PARTITION", help="Go back to the last one, e.g. raw.binance:1; end."
)
def checkpoint(config: Path | None, as_json: bool, once: bool, place: str | None) -> None:
    """Run the checkpoint role."""
    need("sinks")
    settings = _role_settings(config, "checkpoint")
    from tickerplant.replay import keeper

    if place is not None and once:
        raise UserError("--once writes checkpoints, --restore goes back to one: give one of them")
    if place is not None:
        from tickerplant.replay.restore import restore

        _show(restore(settings, place), as_json=as_json)
        return
    if not once:
        _run_role(lambda: keeper.run(settings), as_json=as_json, is_patient=False)
        return
    kept = keeper.keep_once(settings)
    if as_json:
        click.echo(msgspec.json.encode(kept.written))
    else:
        for each in kept.written:
            click.echo(f"{each['topic']}:{each['partition']} offset {each['next_offset']}: {each['pieces']} pieces")
    if kept.damaged:
        raise UserError("; ".join(map(str, kept.damaged)))


@cli.command()
@config_option
@json_option
@click.option("--topic", type=NAME, shell_complete=complete.raw_topics, help="Raw topic, e.g. raw.binance.")
@click.option("--into", type=NAME, help="Suffix of what is written: 1 to 32 of a-z, 0-9, _.")
@click.option(
    "--symbols", type=NAME, multiple=True, help="Only these, e.g. BTC/USDT,ETH/USDT; may be repeated. Default: all."
)
@click.option("--from", "start", help="First instant: ISO 8601 with zone, or µs. Default: all that is kept.")
@click.option("--to", "end", help="First instant after the range.")
@click.option(
    "--from-archive", "archive", type=NAME, help="Read the raw archive of this lake (s3://... or folder) instead."
)
@click.option("--life", type=NAME, help="Of several topics of this name in the archive, the one to read.")
@click.option("--allow-gaps", is_flag=True, help="Go on where raw records are missing.")
@click.option("--again", is_flag=True, help="Drop an earlier replay of this name first.")
@click.option("--resume", is_flag=True, help="Go on with an earlier replay of this name.")
@click.option("--verify", "check", is_flag=True, help="Compare with the live rows; exit code 1 = they differ.")
@click.option("--swap", is_flag=True, help="Compare, then put the rebuilt rows in the place of the live ones.")
@click.option("--dry-run", is_flag=True, help="With --swap: say what would change, and change nothing.")
@click.option("--force", is_flag=True, help="With --swap: in spite of warnings.")
@click.option("--drop", type=NAME, metavar="SUFFIX", help="Remove topics, tables and lake of a replay, and end.")
def replay(config: Path | None, as_json: bool, **asked: Any) -> int:
    """Make cleaned topics, tables and Parquet again from raw records, beside the live ones."""
    need("sinks")
    from tickerplant.replay.command import run as run_command

    configure_logs("replay", "warning")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # opens tables on the way out
    summary, code = run_command(load_settings(config), asked, quiet=as_json)
    _show(summary, as_json=as_json)
    return code


def _chosen_store(settings: Settings, options: dict[str, Any]) -> "tuple[Settings, Store, str | None]":
    """Take `--store`, `--lake` and `--database` out of options: settings, store, and a file of DuckDB.

    Raises:
        UserError: they are of two stores.
    """
    store, lake, database = options.pop("store"), options.pop("lake"), options.pop("database")
    if lake is None:
        return settings, store, database
    if database is not None:
        raise UserError("--lake and --database are two stores: give one of them")
    if store == "duckdb":
        raise UserError("--lake is read as Parquet: leave --store duckdb out, or give --database instead")
    place = settings.object_store.model_copy(update={"root": lake})
    return settings.model_copy(update={"object_store": place}), "parquet", None


@cli.command("features")
@config_option
@json_option
@click.option("--venue", type=NAME, required=True, help="E.g. binance.")
@click.option("--symbol", type=NAME, required=True, help="Canonical, e.g. BTC/USDT.")
@click.option(
    "--from", "start", required=True, help="First second, of the exchange's time: ISO 8601, or 2h = before now."
)
@click.option("--to", "end", required=True, help="First second after the range.")
@click.option(
    "--store", type=click.Choice(["clickhouse", "parquet", "duckdb"]), default="clickhouse", show_default=True
)
@click.option(
    "--lake", type=NAME, help="Read this lake, or folder of `tickerplant convert`, instead of the one of the settings."
)
@click.option("--database", type=NAME, help="File of DuckDB.")
@click.option(
    "--window", "windows_s", type=int, multiple=True, help="Length, s; may be repeated. Default: 1 10 60 300."
)
@click.option(
    "--label", "labels_s", type=click.IntRange(1, 86400), multiple=True, help="Also the mid's move this many s ahead."
)
@click.option("--no-book", is_flag=True, help="Without features of the book: only trades and quotes are read.")
@click.option("--out", default="-", help="File .parquet or .csv. Default: CSV to standard output.")
def show_features(config: Path | None, as_json: bool, **options: Any) -> None:
    """Compute features of stored rows, as the stream has them."""
    need("sinks")
    from tickerplant.research.command import run, wish_of

    out = options.pop("out")
    settings, store, database = _chosen_store(load_settings(config), options)
    summary = run(settings, wish_of(settings, **options), out, store=store, database=database)
    if out != "-":
        _show(summary, as_json=as_json)


@cli.command("bars")
@config_option
@json_option
@click.option("--venue", type=NAME, required=True, help="E.g. binance.")
@click.option(
    "--symbol", "symbols", type=NAME, required=True, multiple=True, help="Canonical, e.g. BTC/USDT; may be repeated."
)
@click.option("--from", "start", required=True, help="ISO 8601, or 2d = before now; its UTC day is taken whole.")
@click.option("--to", "end", default="0s", show_default="now", help="The same.")
@click.option(
    "--store", type=click.Choice(["clickhouse", "parquet", "duckdb"]), default="clickhouse", show_default=True
)
@click.option("--lake", type=NAME, help="Read this lake instead of the one of the settings.")
@click.option("--database", type=NAME, help="File of DuckDB.")
@click.option("--out", type=NAME, required=True, help="Folder, or s3://bucket/prefix.")
def write_bars(config: Path | None, as_json: bool, **options: Any) -> None:
    """Write stored bars as Parquet by exchange, symbol and timeframe, a file a day, newest revisions alone."""
    need("sinks")
    from tickerplant.research.bar_files import run, wish_of

    out = options.pop("out")
    settings, store, database = _chosen_store(load_settings(config), options)
    _show(run(settings, wish_of(**options), out, store=store, database=database), as_json=as_json)


@cli.command()
@json_option
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
def run(as_json: bool, config: Path) -> None:
    """Run all roles of CONFIG (TOML) as child processes, and restart what dies."""
    from tickerplant.supervise import run_all

    configure_logs("run", load_settings(config).log_level)
    restarts = run_all(config)
    if as_json:
        click.echo(msgspec.json.encode({"restarts": restarts}))


@cli.command()
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


@cli.command()
@config_option
@json_option
@click.option("--once", is_flag=True, help="Print one table and end.")
def top(config: Path | None, as_json: bool, once: bool) -> None:
    """Show a live table: rate, lag, p50 and p99 of each stage, rows stored."""
    from tickerplant.top import watch

    watch(load_settings(config), once=once or as_json, as_json=as_json)


@cli.group()
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


@cli.command()
@json_option
def venues(as_json: bool) -> None:
    """List what can be captured: venues, markets, channels; with --json their rules, fields and limits, too."""
    from tickerplant.venues_page import show

    show(as_json=as_json)


@cli.command("check-venue")
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


@cli.command("dead-letters")
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


@cli.command()
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
    _show(write_report(load_settings(config), wish, out), as_json=as_json)


@cli.command()
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


@cli.command()
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


@cli.command()
@json_option
@click.option("--venue", type=NAME, required=True, shell_complete=complete.venues, help="e.g. binance.")
@click.option("--market", type=NAME, required=True, shell_complete=complete.markets, help="e.g. spot, usdm, coinm.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for *.parquet.")
@click.option(
    "--instruments",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The venue's instrument list (body of exchangeInfo); else the recording's, else names are split.",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def convert(
    as_json: bool, venue: str, market: str, out: Path, instruments: Path | None, files: tuple[Path, ...]
) -> None:
    """Turn recordings into Parquet without Kafka, by the code that runs live.

    FILES: our raw archive (*.parquet files or folders), hftbacktest (.gz) or cryptofeed (NAME.ws.N.0) recordings,
    in the order of time.
    """
    need("sinks")
    from tickerplant.convert import Conversion, convert_files

    summary = convert_files(Conversion(venue=venue, market=market, files=files, out=out, instruments=instruments))
    _show(summary, as_json=as_json)


@cli.command()
@config_option
@json_option
@click.option("--recording", type=click.Path(path_type=Path, dir_okay=False), help="Serve this recording instead.")
@click.option(
    "--venue", type=NAME, default="BINANCE", show_default=True, shell_complete=complete.venues, help="Simulated venue."
)
@click.option(
    "--market",
    type=NAME,
    shell_complete=complete.markets,
    help="Of the recording (default: told by its messages), or the only one of the synthetic market.",
)
@click.option(
    "--pace", type=NAME, default="max", show_default=True, help="Of a recording: 1 = its own, n = n times faster, max."
)
@click.option("--live", is_flag=True, help="Capture from the real venue instead (needs a connection to it).")
@click.option("--symbols", type=click.IntRange(1, 2000), default=20, show_default=True, help="Of the synthetic market.")
@click.option(
    "--rate", type=click.IntRange(1, 100_000), default=2000, show_default=True, help="Frames/s of the synthetic market."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="How long input lasts. Default: 30, a recording to its end.",
)
@click.option("--seed", default=1, show_default=True, help="Of the synthetic market.")
@click.option(
    "--fault",
    "faults",
    type=NAME,
    multiple=True,
    shell_complete=complete.faults,
    help="NAME=VALUE[,PARAMETER=VALUE ...], see docs/simulated-venue.md.",
)
@click.option("--fault-seed", default=1, show_default=True, help="Same seed = the same frames are hit.")
@click.option("--keep", is_flag=True, help="Leave the stack and all roles running.")
def demo(as_json: bool, config: Path | None, keep: bool, **options: Any) -> int:
    """Run the whole flow on this machine and reconcile every frame at its end."""
    need("local")
    from tickerplant.demo import DemoOptions, run_demo

    configure_logs("demo", "warning")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what stops servers and roles
    return run_demo(load_settings(config), DemoOptions(**options, keep=keep, as_json=as_json))


@cli.command()
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


@cli.command()
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


@cli.command()
@click.argument("shell", type=click.Choice(complete.SHELLS))
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands, options and names."""
    click.echo(complete.script(cli, shell))


def _role_settings(config: Path | None, role: str) -> Settings:
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


def _run_role(run: Callable[[], None], *, as_json: bool, is_patient: bool) -> None:
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


def _steer(config: Path | None, name: str, target: Literal["RUNNING", "PAUSED", "STOPPED"], *, as_json: bool) -> None:
    from tickerplant.connect.console import aim

    _show(aim(load_settings(config), name, target), as_json=as_json)


def _say(text: str) -> None:
    """Tell progress on stderr, so that stdout is the result alone."""
    click.echo(text, err=True)


def _show(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(result))
        return
    for name, value in result.items():
        click.echo(f"{name:<24} {value}")


def _show_status(rows: list[Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        fields = msgspec.to_builtins(row)
        click.echo("  ".join(f"{key}={value}" for key, value in fields.items()))
