"""Reading the lake: the objects that count now, where a swap has put some in the place of others."""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds

from sinks.stored import is_whole
from tickerplant.replay.lake import Lake
from tickerplant.replay.manifest import Liveness, Numbered
from tickerplant.settings import Settings, load_settings

TRIES: Final = 5


def lake_files(folder: str, *, settings: Settings | None = None) -> list[str]:
    """List the objects of a folder of the lake, e.g. `cleaned/tick`, that count now, as its file system names them.

    Args:
        settings: None = as all roles find them.

    Raises:
        DependencyError: the store does not answer.
    """
    lake = _lake(settings)
    return [lake.full_path(path) for path in _live(lake, folder)]


def read_lake(
    folder: str,
    *,
    columns: Sequence[str] | None = None,
    where: Any = None,
    settings: Settings | None = None,
) -> pa.Table:
    """Read a folder of the lake, e.g. `cleaned/tick`, with the columns `venue` and `date`.

    While a swap goes on, all that is read is of before it, or all is of after it.

    Args:
        columns: None = all.
        where: a filter of pyarrow, e.g. `ds.field("symbol") == "BTC/USDT"`; None = all rows.
        settings: None = as all roles find them.

    Raises:
        DependencyError: the store does not answer.
        FileNotFoundError: objects are removed faster than they are read.
    """
    lake = _lake(settings)
    for attempt in range(1, TRIES + 1):
        files = [lake.full_path(path) for path in _live(lake, folder)]
        if not files:
            return pa.table({})
        try:
            dataset = ds.dataset(
                files, filesystem=lake.filesystem, format="parquet", partitioning=ds.partitioning(flavor="hive")
            )
            return dataset.to_table(columns=list(columns) if columns is not None else None, filter=where)
        except FileNotFoundError:  # a swap has removed what it replaced since we looked
            if attempt == TRIES:
                raise
    raise AssertionError


def _lake(settings: Settings | None) -> Lake:
    return Lake((settings or load_settings()).object_store)


def _live(lake: Lake, folder: str) -> list[str]:
    liveness = Liveness(Numbered.newest(lake).manifest)
    venues = [f"{folder}/{venue}" for venue in lake.names(folder)]
    days = [f"{venue}/{day}" for venue in venues for day in lake.names(venue)]
    return [f"{day}/{name}" for day in days for name in liveness.live(day, lake.names(day)) if is_whole(name)]
