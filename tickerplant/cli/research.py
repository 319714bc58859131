"""Commands that write what is stored as files: features, bars."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tickerplant.cli.common import NAME, config_option, json_option, show_result
from tickerplant.errors import UserError
from tickerplant.extras import need
from tickerplant.settings import Settings, load_settings

if TYPE_CHECKING:
    from tickerplant.research.rows import Store


@click.command("features")
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
def features(config: Path | None, as_json: bool, **options: Any) -> None:
    """Compute features of stored rows, as the stream has them."""
    need("sinks")
    from tickerplant.research.command import run, wish_of

    out = options.pop("out")
    settings, store, database = _chosen_store(load_settings(config), options)
    summary = run(settings, wish_of(settings, **options), out, store=store, database=database)
    if out != "-":
        show_result(summary, as_json=as_json)


@click.command("bars")
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
def bars(config: Path | None, as_json: bool, **options: Any) -> None:
    """Write stored bars as Parquet by exchange, symbol and timeframe, a file a day, newest revisions alone."""
    need("sinks")
    from tickerplant.research.bar_files import run, wish_of

    out = options.pop("out")
    settings, store, database = _chosen_store(load_settings(config), options)
    show_result(run(settings, wish_of(**options), out, store=store, database=database), as_json=as_json)


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
