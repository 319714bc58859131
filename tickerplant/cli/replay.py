"""Commands that make rows again: replay, of raw records; convert, of recordings."""

import signal
from pathlib import Path
from typing import Any

import click

from tickerplant import completion as complete
from tickerplant.cli.common import NAME, config_option, json_option, show_result
from tickerplant.extras import need
from tickerplant.logs import configure_logs
from tickerplant.settings import load_settings


@click.command()
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
    show_result(summary, as_json=as_json)
    return code


@click.command()
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
    show_result(summary, as_json=as_json)
