"""`tickerplant bars`: stored bars → files by exchange, symbol and timeframe: a whole UTC day each, newest revisions.

The lake's own bars lie by venue and day, as they come: a file for each symbol and timeframe each minute would be a
million files a day. These are made from them, and made anew as often as wanted.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import (  # type: ignore[import-untyped]  # comes with s3fs
    BotoCoreError,
    ClientError,
    ParamValidationError,
)

from processors.bars import LENGTHS_US
from schemas.venues import SYMBOLOGIES
from sinks.places import s3_options
from tickerplant.choices import check_symbol, chosen_venue
from tickerplant.clock import now_us as epoch_us
from tickerplant.errors import DependencyError, UserError
from tickerplant.research.frames import BAR_COLUMNS
from tickerplant.research.rows import Span, Store, open_rows
from tickerplant.settings import ObjectStore, Settings
from tickerplant.since import past_us, since_us

DAY_US: Final = 86_400_000_000
S3: Final = "s3://"
Write = Callable[[str, bytes], None]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Bars of some symbols of a venue, of whole UTC days; `from_us` and `to_us` are starts of days."""

    venue: str
    symbols: tuple[str, ...]
    from_us: int
    to_us: int


def wish_of(*, venue: str, symbols: Sequence[str], start: str, end: str) -> Wish:
    """Make the wish of what the command was given; days that are touched are taken whole, none after today.

    Raises:
        UserError: a time or symbol is none, the range is empty or still to come, or the venue is not known.
    """
    now_us = epoch_us()
    from_us, to_us = past_us(start, now_us), since_us(end, now_us)
    if from_us >= to_us:
        raise UserError(f"--from {start} is not before --to {end}")
    chosen_venue(venue, SYMBOLOGIES)
    for symbol in symbols:
        check_symbol(symbol)
    first_us, end_us = from_us // DAY_US * DAY_US, -(-min(to_us, now_us + 1) // DAY_US) * DAY_US
    return Wish(venue=venue.upper(), symbols=tuple(dict.fromkeys(symbols)), from_us=first_us, to_us=end_us)


def run(settings: Settings, wish: Wish, out: str, *, store: Store, database: str | None = None) -> dict[str, Any]:
    """Write the files, each whole in the place of what was there; returns a summary.

    Args:
        out: a folder, or a prefix that begins with s3://.

    Raises:
        UserError: the folder or prefix cannot be written, or the store refuses.
        DependencyError: the store, or the object store written to, does not answer.
    """
    files = bars = 0
    write = _writer(settings, out)
    with closing(open_rows(settings, store, database)) as rows:
        for symbol in wish.symbols:
            span = Span(venue=wish.venue, symbol=symbol, from_us=wish.from_us, to_us=wish.to_us)
            found = rows.read("bar", span, BAR_COLUMNS, "open_time_us")
            for interval, day_us, mine in by_day(newest(found)):
                write(path_of(wish.venue, symbol, interval, day_us), _content(mine.drop_columns(["interval"])))
                files, bars = files + 1, bars + mine.num_rows
    return {"venue": wish.venue, "symbols": len(wish.symbols), "store": store, "files": files, "bars": bars, "out": out}


def newest(found: pa.Table) -> pa.Table:
    """Keep the newest revision of each bar, in order of interval and time."""
    found = found.sort_by([("interval", "ascending"), ("open_time_us", "ascending"), ("revision", "ascending")])
    names, opens_us = found["interval"].to_numpy(), found["open_time_us"].to_numpy()
    is_last = np.append((names[1:] != names[:-1]) | (opens_us[1:] != opens_us[:-1]), [True] * bool(len(names)))
    return found.filter(pa.array(is_last.astype(bool), pa.bool_()))


def by_day(found: pa.Table) -> Iterator[tuple[str, int, pa.Table]]:
    """Cut bars that are in order of interval and time by interval and UTC day; intervals unknown here are left out.

    >>> bars = pa.table({"interval": ["1h", "1h", "1m"], "open_time_us": [0, DAY_US, DAY_US]})
    >>> [(interval, day_us // DAY_US, mine.num_rows) for interval, day_us, mine in by_day(bars)]
    [('1h', 0, 1), ('1h', 1, 1), ('1m', 1, 1)]
    """
    names, days = found["interval"].to_numpy(), found["open_time_us"].to_numpy() // DAY_US
    cuts = np.flatnonzero((names[1:] != names[:-1]) | (days[1:] != days[:-1])) + 1
    for first, end in pairwise([0, *cuts.tolist(), found.num_rows]):
        if first < end and names[first] in LENGTHS_US:
            yield str(names[first]), int(days[first]) * DAY_US, found.slice(first, end - first)


def path_of(venue: str, symbol: str, interval: str, day_us: int) -> str:
    """Name the file of a day.

    >>> path_of("BINANCE", "BTC/USDT", "1m", 1_795_910_400_000_000)
    'exchange=BINANCE/symbol=BTC%2FUSDT/timeframe=1m/2026-11-29.parquet'
    """
    day = f"{datetime.fromtimestamp(day_us // 1_000_000, UTC):%Y-%m-%d}"
    return f"exchange={venue}/symbol={quote(symbol, safe='')}/timeframe={interval}/{day}.parquet"


def _writer(settings: Settings, out: str) -> Write:
    return _s3_writer(settings.object_store, out) if out.startswith(S3) else _folder_writer(Path(out))


def _s3_writer(settings: ObjectStore, out: str) -> Write:
    root = out.removeprefix(S3).rstrip("/")
    if not root.partition("/")[0]:
        raise UserError(f"--out {out} names no bucket: give s3://bucket/prefix")
    files = fsspec.filesystem("s3", **s3_options(settings))
    address = settings.endpoint_url or "AWS"

    def write(path: str, content: bytes) -> None:
        try:
            files.pipe_file(f"{root}/{path}", content)
        except (FileNotFoundError, PermissionError, ParamValidationError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"--out {out} at {address} cannot be written: {reason}; see object_store") from None
        except (OSError, BotoCoreError, ClientError) as error:
            raise DependencyError("object store", address, f"{type(error).__name__} {error}") from error

    return write


def _folder_writer(root: Path) -> Write:
    def write(path: str, content: bytes) -> None:
        try:
            _replace(root / path, content)
        except OSError as error:
            raise UserError(f"{root}/{path} cannot be written: {error.strerror}") from None

    return write


def _content(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_bytes(content)
    draft.replace(path)
