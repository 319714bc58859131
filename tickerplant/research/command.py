"""`tickerplant features`: features of a range of stored rows, written as Parquet or CSV."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from processors.features.stream import DEFAULT_WINDOWS_S
from schemas.venues import SYMBOLOGIES
from tickerplant.choices import check_symbol, chosen_venue
from tickerplant.clock import now_us as epoch_us
from tickerplant.errors import UserError
from tickerplant.research.compute import Wish, check_windows, compute
from tickerplant.research.rows import Span, Store, open_rows
from tickerplant.settings import Settings
from tickerplant.since import since_us


def wish_of(
    settings: Settings,
    *,
    venue: str,
    symbol: str,
    start: str,
    end: str,
    windows_s: Sequence[int] = (),
    labels_s: Sequence[int] = (),
    no_book: bool = False,
) -> Wish:
    """Make the wish of what the command was given.

    Raises:
        UserError: a time or symbol is none, the range is empty, or the venue is not known.
    """
    now_us = epoch_us()
    from_us, to_us = since_us(start, now_us), since_us(end, now_us)
    if from_us >= to_us:
        raise UserError(f"--from {start} is not before --to {end}")
    chosen_venue(venue, SYMBOLOGIES)
    check_symbol(symbol)
    return Wish(
        span=Span(venue=venue.upper(), symbol=symbol, from_us=from_us, to_us=to_us),
        windows_s=check_windows(windows_s or DEFAULT_WINDOWS_S),
        labels_s=tuple(sorted(set(labels_s))),
        has_book=not no_book,
        keyframe_s=settings.processor.keyframe_s,
    )


def run(settings: Settings, wish: Wish, out: str, *, store: Store, database: str | None = None) -> dict[str, Any]:
    """Compute and write; returns a summary.

    Args:
        out: a file that ends in .parquet or .csv, replaced when all is written; `-` = CSV to standard output.

    Raises:
        UserError: the file is of another kind or cannot be written, or the store refuses.
        DependencyError: the store does not answer.
    """
    kind = "csv" if out == "-" else Path(out).suffix[1:]
    if kind not in {"csv", "parquet"}:
        raise UserError(f"{out} is neither .parquet nor .csv")
    with closing(open_rows(settings, store, database)) as rows:
        count = _write(compute(rows, wish), out, kind)
    return {"venue": wish.span.venue, "symbol": wish.span.symbol, "store": store, "rows": count, "out": out}


def _write(tables: Iterable[pa.Table], out: str, kind: str) -> int:
    if out == "-":
        return _write_all(tables, sys.stdout.buffer, kind)
    draft = Path(out).with_name(f".{Path(out).name}.tmp")
    try:
        with draft.open("wb") as file:
            count = _write_all(tables, file, kind)
        draft.replace(out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):  # it may never have come to be
            draft.unlink()
    return count


def _write_all(tables: Iterable[pa.Table], file: Any, kind: str) -> int:
    writer: Any = None
    count = 0
    for table in tables:
        if writer is None:
            writer = pq.ParquetWriter(file, table.schema, compression="zstd") if kind == "parquet" else None
            writer = writer or pa_csv.CSVWriter(file, table.schema)
        writer.write_table(table)
        count += table.num_rows
    if writer is not None:
        writer.close()
    return count
