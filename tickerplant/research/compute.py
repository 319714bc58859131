"""Stored rows of a range of time → features and labels, some hours at a time, so that memory does not grow with it.

Before each stretch as much is read as windows, silence and the next keyframe of the book may need; behind it, what was
taken in late.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processors.features.placing import SECOND_US
from processors.features.stream import DEFAULT_WINDOWS_S, SILENT_S
from schemas.records import Depth
from sinks.rising import ID
from tickerplant.errors import UserError
from tickerplant.research.features import Block, BookItem, features_of, table_of
from tickerplant.research.rows import Rows, Span, chunks
from tickerplant.research.streams import TICK_COLUMNS, partitions, ticks_of

STRETCH_US: Final = 6 * 3600 * SECOND_US
LATE_US: Final = 15 * 60 * SECOND_US
"""What a producer took in this long after it had read it is not missed."""
SPARE_S: Final = 60
LONGEST_S: Final = 3600
FURTHEST_S: Final = 86_400
DEPTH_COLUMNS: Final = (
    *("exchange_time_us", "recv_time_us", "is_snapshot", "is_keyframe", "snapshot_id"),
    *("bid_prices", "bid_sizes", "ask_prices", "ask_sizes", "source_offset", "source_index"),
)
QUALITY_COLUMNS: Final = ("kind", "recv_time_us", "source_offset", "source_index")
RESET: Final = "BOOK_RESET"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to compute.

    Args:
        span: of the exchange's time; times are taken down to the second.
        windows_s: rising.
        labels_s: how far ahead the mid is looked at; never to be had in the stream.
        has_book: features of the book too; without, the quote alone tells the mid.
        keyframe_s: how often whole books are stored.
    """

    span: Span
    windows_s: tuple[int, ...] = DEFAULT_WINDOWS_S
    labels_s: tuple[int, ...] = ()
    has_book: bool = True
    keyframe_s: float = 10.0


def check_windows(windows_s: Sequence[int]) -> tuple[int, ...]:
    """Sort lengths of windows.

    Raises:
        UserError: there is none, or one is not 1 to 3600 whole seconds.
    """
    if not windows_s or not all(1 <= each <= LONGEST_S and int(each) == each for each in windows_s):
        raise UserError(
            f"windows are 1 to {LONGEST_S} whole seconds long, not {', '.join(map(str, windows_s)) or 'none'}"
        )
    return tuple(sorted({int(each) for each in windows_s}))


def check_labels(labels_s: Sequence[int]) -> tuple[int, ...]:
    """Sort distances ahead.

    Raises:
        UserError: one is not 1 to 86,400 whole seconds.
    """
    if not all(1 <= each <= FURTHEST_S and int(each) == each for each in labels_s):
        raise UserError(f"labels are 1 to {FURTHEST_S} whole seconds ahead, not {', '.join(map(str, labels_s))}")
    return tuple(sorted({int(each) for each in labels_s}))


def compute(rows: Rows, wish: Wish) -> Iterator[pa.Table]:
    """Compute features of each second of a range, a table for each stretch; see `feature_columns` for columns.

    Raises:
        UserError: a window or label is none, or the store refuses.
        DependencyError: the store does not answer.
    """
    windows_s, labels_s = check_windows(wish.windows_s), check_labels(wish.labels_s)
    before_us = round((windows_s[-1] + 2 * SILENT_S + wish.keyframe_s + SPARE_S) * SECOND_US)
    after_us = LATE_US + max(labels_s, default=0) * SECOND_US
    for from_us, to_us in chunks(wish.span.from_us, wish.span.to_us, STRETCH_US):
        span = wish.span.between(max(0, from_us - before_us), to_us + after_us)
        tables = [_labelled(blocks, windows_s, labels_s) for blocks in _streams(rows, span, windows_s, wish.has_book)]
        empty = _labelled([], windows_s, labels_s)
        yield _within(pa.concat_tables([empty, *tables]), from_us, to_us)


def _streams(rows: Rows, span: Span, windows_s: tuple[int, ...], has_book: bool) -> Iterator[list[Block]]:
    ticks = dict(partitions(rows.read("tick", span, TICK_COLUMNS)))
    books = book_items(rows, span) if has_book else {}
    none = rows.read("tick", span.between(0, 0), TICK_COLUMNS) if books.keys() - ticks.keys() else None
    for key in sorted(ticks.keys() | books.keys()):
        yield list(features_of(ticks_of(ticks.get(key, none)), books.get(key, []), windows_s))


def book_items(rows: Rows, span: Span) -> dict[tuple[str, int], list[BookItem]]:
    """Read changes of the book and its being given up, in the order of source ids, by raw topic and partition."""
    found: dict[tuple[str, int], list[BookItem]] = {}
    for key, part in partitions(rows.read("depth", span, (*ID[:2], *DEPTH_COLUMNS))):
        found[key] = [_item(row) for row in part.select(list(DEPTH_COLUMNS)).to_pylist()]
    for key, part in partitions(rows.read("quality", span, (*ID[:2], *QUALITY_COLUMNS))):
        resets = part.filter(pc.equal(part["kind"], RESET)).to_pylist()
        items = [BookItem((row["source_offset"], row["source_index"]), row["recv_time_us"], None) for row in resets]
        found[key] = sorted([*found.get(key, ()), *items], key=lambda item: item.place)
    return found


def _item(row: dict[str, object]) -> BookItem:
    place = row.pop("source_offset"), row.pop("source_index")
    depth = Depth(event_time_us=0, venue="", symbol="", **row)  # type: ignore[arg-type]  # as its schema says
    return BookItem(place, depth.recv_time_us, depth)  # type: ignore[arg-type]  # the same


def _labelled(blocks: Sequence[Block], windows_s: tuple[int, ...], labels_s: Sequence[int]) -> pa.Table:
    """Make a table of blocks, with `ln(mid later / mid now)` for each distance ahead."""
    table = table_of(blocks, windows_s)
    seconds = table["time_us"].to_numpy() // SECOND_US
    mids = table["mid"].to_numpy()
    order = np.argsort(seconds, kind="stable")
    for length_s in labels_s:
        at = np.searchsorted(seconds[order], seconds + length_s)
        found = order[np.minimum(at, len(order) - 1)] if len(order) else order
        later = np.where(seconds[found] == seconds + length_s, mids[found], np.nan)
        label = np.log(later / mids)
        table = table.append_column(f"label_mid_return_{length_s}s", pa.array(label, mask=np.isnan(label)))
    return table


def _within(table: pa.Table, from_us: int, to_us: int) -> pa.Table:
    """Keep the seconds that begin in a range."""
    begins_us = table["time_us"].to_numpy() - SECOND_US
    first_us, last_us = (time_us // SECOND_US * SECOND_US for time_us in (from_us, to_us))
    return table.filter(pa.array((begins_us >= first_us) & (begins_us < last_us)))
