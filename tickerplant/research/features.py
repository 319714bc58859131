"""Stored rows of one symbol → the features that the stream had of it, to 1e-9, computed over arrays.

Trades and quotes are summed by array; books are rebuilt change by change by the code of the stream.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from processors.features import formulas
from processors.features.book_seconds import BookSeconds, Shaped
from processors.features.formulas import LEAST, MOST
from processors.features.placing import SECOND_US
from processors.features.shape import BANDS_BPS, LEVELS
from processors.features.stream import DEFAULT_WINDOWS_S, SILENT_S
from schemas.records import Depth
from tickerplant.research.streams import Floats, Longs, Mask, Ticks, first_step, place_all
from tickerplant.research.sums import (
    counts_over_windows,
    distinct,
    held,
    last_in_seconds,
    over_windows,
    per_second,
    taken,
)

AT_END: Final = ("spread", "relative_spread", "mid", "microprice", "quote_imbalance")
OVER_WINDOWS: Final = (
    *("mid_return", "mid_volatility", "trade_rate", "volume", "vwap", "signed_volume", "trade_imbalance"),
    *("order_flow_imbalance", "illiquidity"),
)
OF_BOOK: Final = (
    *(f"book_imbalance_{count}" for count in LEVELS),
    "depth_weighted_price",
    *(f"{side}_liquidity_{band}bps" for side in ("bid", "ask") for band in BANDS_BPS),
)


class BookItem(NamedTuple):
    """A change of the book, or (`depth` None) its being given up, with its place in the raw partition."""

    place: tuple[int, int]
    recv_us: int
    depth: Depth | None


@dataclass(frozen=True)
class Block:
    """Features of consecutive rows: `seconds` since the epoch, and columns of the same length; NaN = null."""

    seconds: Longs
    columns: dict[str, Floats]


@dataclass
class _Run:
    """Items between two steps of the clock; at the next one nobody waits for what may still come."""

    ticks: Ticks
    shaped: list[Shaped] = field(default_factory=list)
    is_last: bool = True


def window_columns(windows_s: Sequence[int]) -> list[str]:
    """Name the columns of features over windows: `vwap_60s`.

    >>> window_columns([60])[:2]
    ['mid_return_60s', 'mid_volatility_60s']
    """
    return [f"{name}_{length_s}s" for name in OVER_WINDOWS for length_s in windows_s]


def feature_columns(windows_s: Sequence[int]) -> list[str]:
    """Name all columns, in their order."""
    return [*AT_END, *OF_BOOK, *window_columns(windows_s)]


def features_of(
    ticks: Ticks, book: Iterable[BookItem] = (), windows_s: Sequence[int] = DEFAULT_WINDOWS_S
) -> Iterator[Block]:
    """Compute features of one stream: of one symbol, out of one raw partition.

    Args:
        ticks: in the order of source ids, as all.
        book: without it, features of the book are null.
        windows_s: rising.
    """
    for run in _runs(ticks, book):
        yield from _blocks(run, tuple(windows_s))


def table_of(blocks: Iterable[Block], windows_s: Sequence[int]) -> pa.Table:
    """Make a table of blocks; `time_us` is the end of the second."""
    names = feature_columns(windows_s)
    tables = [
        pa.table(
            {"time_us": (block.seconds + 1) * SECOND_US}
            | {name: pa.array(block.columns[name], mask=np.isnan(block.columns[name])) for name in names}
        )
        for block in blocks
    ]
    schema = pa.schema([("time_us", pa.int64()), *((name, pa.float64()) for name in names)])
    return pa.concat_tables([schema.empty_table(), *tables])


def _runs(ticks: Ticks, book: Iterable[BookItem]) -> Iterator[_Run]:
    """Cut at steps of the clock, wherever they are seen first, and tell the shapes of the book in each part."""
    items, books, first = list(book), BookSeconds(), 0
    while True:
        run = _Run(ticks.part(first, len(ticks.recv_us)))
        cut = _cut_of(run.ticks, items, books)
        if cut is None:
            run.shaped = list(_shapes(items, books))
            yield run
            return
        offsets, indexes = run.ticks.place
        is_before = (offsets < cut[0]) | ((offsets == cut[0]) & (indexes < cut[1]))
        count = int(is_before.sum())
        later = next((number for number, item in enumerate(items) if item.place >= cut), len(items))
        run.ticks, run.is_last = ticks.part(first, first + count), False
        run.shaped = list(_shapes(items[:later], books))
        yield run
        first, items = first + count, items[later:]
        books.begin_anew()


def _cut_of(ticks: Ticks, items: Sequence[BookItem], books: BookSeconds) -> tuple[int, int] | None:
    """Find the place of the first step of the clock; None = there is none."""
    used = list(_used(items, books.snapshot_id))
    if not used:
        step = first_step(ticks.recv_us)
        return None if step is None else (int(ticks.place[0][step]), int(ticks.place[1][step]))
    offsets = np.concatenate((ticks.place[0], np.array([item.place[0] for item in used], np.int64)))
    indexes = np.concatenate((ticks.place[1], np.array([item.place[1] for item in used], np.int64)))
    recv_us = np.concatenate((ticks.recv_us, np.array([item.recv_us for item in used], np.int64)))
    order = np.lexsort((indexes, offsets))
    step = first_step(recv_us[order])
    return None if step is None else (int(offsets[order[step]]), int(indexes[order[step]]))


def _used(items: Iterable[BookItem], snapshot_id: int) -> Iterator[BookItem]:
    """Leave out what changes no book, as `BookSeconds` does."""
    for item in items:
        if item.depth is None:
            if snapshot_id:
                yield item
            snapshot_id = 0
        elif item.depth.is_snapshot:
            if not (item.depth.is_keyframe and snapshot_id):
                yield item
            snapshot_id = item.depth.snapshot_id
        elif item.depth.snapshot_id and item.depth.snapshot_id == snapshot_id:
            yield item


def _shapes(items: Iterable[BookItem], books: BookSeconds) -> Iterator[Shaped]:
    """Tell the shape of the book at the end of each second in which it changed."""
    for item in items:
        depth = item.depth
        if not books.snapshot_id if depth is None else books.is_repeat(depth) or not books.is_change(depth):
            continue
        before = books.place(depth.exchange_time_us if depth else 0, item.recv_us, 0)[1]
        if before is not None:
            yield before
        if depth is None:
            books.reset()
        else:
            books.apply(depth)
    last = books.told()
    if last is not None:
        yield last


def _blocks(run: _Run, windows_s: tuple[int, ...]) -> Iterator[Block]:
    """Compute each stretch between silences that outlast all windows by itself, so that gaps cost nothing."""
    ticks = run.ticks
    placed = place_all(ticks.exchange_us, ticks.recv_us) if len(ticks.recv_us) else np.zeros(0, np.int64)
    quotes = np.flatnonzero(ticks.is_quote)
    placed[quotes] = np.maximum.accumulate(placed[quotes])
    shape_seconds = np.array([each.second for each in run.shaped], np.int64)
    active = distinct(np.concatenate((placed, shape_seconds)))
    if not len(active):
        return
    cuts = np.flatnonzero(np.diff(active) > windows_s[-1] + 2 * SILENT_S)
    for first, last in zip(active[[0, *(cuts + 1)]], active[[*cuts, -1]], strict=True):
        mine = (placed >= first) & (placed <= last)
        shaped = [each for each in run.shaped if first <= each.second <= last]
        grid = _Grid(int(first), int(last - first) + SILENT_S, windows_s)
        trades = np.flatnonzero(mine & ~ticks.is_quote)
        grid.add_book(shaped)
        grid.add_quotes(ticks, np.flatnonzero(mine & ticks.is_quote), placed)
        grid.add_trades(ticks, trades, placed)
        is_open = run.is_last or last < active[-1]
        yield grid.block(active[(active >= first) & (active <= last)] - first, SILENT_S if is_open else 1)


class _Grid:
    """Columns of consecutive seconds, computed one after the other: book, quotes, trades."""

    def __init__(self, first: int, count: int, windows_s: tuple[int, ...]) -> None:
        self._first, self._count, self._windows_s = first, count, windows_s
        self._columns: dict[str, Floats] = {}
        self._best: dict[str, Floats] = {}  # of the book: what stands in where no quotes are told
        self._return = np.full(count, np.nan)  # of the mid, over each second

    def add_book(self, shaped: Sequence[Shaped]) -> None:
        """Compute the features of the book."""
        seconds = np.array([each.second - self._first for each in shaped], np.int64)
        places = held(seconds, self._count, SILENT_S)
        rows = np.full((len(shaped), 4 + len(OF_BOOK)), np.nan)
        for number, (_, shape) in enumerate(shaped):
            if shape is not None:
                best = (shape.bid, shape.ask, shape.bid_size, shape.ask_size)
                sides = (*shape.bid_liquidity, *shape.ask_liquidity)
                rows[number] = (*best, *shape.imbalances, shape.weighted_price, *sides)
        columns = [taken(rows[:, number], places) for number in range(rows.shape[1])]
        self._best = dict(zip(("bid", "ask", "bid_size", "ask_size"), columns[:4], strict=True))
        self._columns |= dict(zip(OF_BOOK, columns[4:], strict=True))

    def add_quotes(self, ticks: Ticks, mine: Longs, placed: Longs) -> None:
        """Compute what the best quote tells, and its mid over windows."""
        seconds = placed[mine] - self._first
        quotes = {name: getattr(ticks, name)[mine] for name in ("bid", "ask", "bid_size", "ask_size")}
        _clean(quotes)
        lasts = last_in_seconds(seconds)
        places = held(seconds[lasts], self._count, SILENT_S)
        best = {
            name: np.where(places >= 0, taken(values[lasts], places), self._best[name])
            for name, values in quotes.items()
        }
        self._add_ends(best)
        self._add_flow(quotes, seconds)

    def add_trades(self, ticks: Ticks, mine: Longs, placed: Longs) -> None:
        """Compute what trades tell over windows."""
        windows_s, count = self._windows_s, self._count
        seconds, sizes, sides = placed[mine] - self._first, ticks.size[mine], ticks.side[mine]
        numbers = counts_over_windows(per_second(seconds, count), windows_s)
        notional = per_second(seconds, count, ticks.price[mine] * sizes)
        volumes = over_windows(per_second(seconds, count, sizes), windows_s)
        notionals = over_windows(notional, windows_s)
        sums = [per_second(seconds[at], count, sizes[at]) for at in (sides == 1, sides == -1)]
        bought, sold = (over_windows(each, windows_s) for each in sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            for number, length_s in enumerate(windows_s):
                has_trade, volume = numbers[number] > 0, volumes[number]
                buy, sell = bought[number], sold[number]
                has_side = (buy > 0) | (sell > 0)
                self._put("trade_rate", length_s, numbers[number] / length_s, has_trade)
                self._put("volume", length_s, volume, has_trade)
                self._put("vwap", length_s, formulas.vwap(notionals[number], volume), volume > 0)
                self._put("signed_volume", length_s, buy - sell, has_side)
                self._put("trade_imbalance", length_s, formulas.imbalance(buy, sell), has_side)
        self._add_illiquidity(notional)

    def block(self, active: Longs, last_s: int) -> Block:
        """Make the rows: of seconds in which something came, and of silence up to `SILENT_S`, `last_s` at the end."""
        rows = np.flatnonzero(held(active, self._count, SILENT_S) >= 0)
        rows = rows[rows < active[-1] + last_s]
        return Block(rows + self._first, {name: values[rows] for name, values in self._columns.items()})

    def _add_ends(self, best: dict[str, Floats]) -> None:
        bid, ask, bid_size, ask_size = (best[name] for name in ("bid", "ask", "bid_size", "ask_size"))
        mid = formulas.mid(bid, ask)
        self._columns |= {
            "spread": formulas.spread(bid, ask),
            "relative_spread": formulas.relative_spread(bid, ask),
            "mid": mid,
            "microprice": formulas.microprice(bid, bid_size, ask, ask_size),
            "quote_imbalance": formulas.imbalance(bid_size, ask_size),
        }
        change = self._return
        change[1:] = np.log(mid[1:] / mid[:-1])
        has_return = ~np.isnan(change)
        counts = counts_over_windows(has_return, self._windows_s)
        squares = over_windows(np.where(has_return, change * change, 0.0), self._windows_s)
        for length_s, count, total in zip(self._windows_s, counts, squares, strict=True):
            before = np.concatenate((np.full(min(length_s, len(mid)), np.nan), mid[:-length_s]))
            self._columns[f"mid_return_{length_s}s"] = np.log(mid / before)
            self._put("mid_volatility", length_s, np.sqrt(total), count == length_s)

    def _add_flow(self, quotes: dict[str, Floats], seconds: Longs) -> None:
        bid, ask, bid_size, ask_size = (quotes[name] for name in ("bid", "ask", "bid_size", "ask_size"))
        flow = formulas.order_flow(
            (bid[1:], bid_size[1:]), (ask[1:], ask_size[1:]), (bid[:-1], bid_size[:-1]), (ask[:-1], ask_size[:-1])
        )
        used = ~np.isnan(flow) & ~np.isnan(bid[1:]) & ~np.isnan(bid[:-1]) & (np.diff(seconds) < SILENT_S)
        at = seconds[1:][used]
        counts = counts_over_windows(per_second(at, self._count), self._windows_s)
        totals = over_windows(per_second(at, self._count, flow[used]), self._windows_s)
        for length_s, count, total in zip(self._windows_s, counts, totals, strict=True):
            self._put("order_flow_imbalance", length_s, total, count > 0)

    def _add_illiquidity(self, notional: Floats) -> None:
        change = self._return
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = formulas.illiquidity(np.abs(change), notional)
        has_ratio = ~np.isnan(change) & (notional > LEAST)
        counts = counts_over_windows(has_ratio, self._windows_s)
        totals = over_windows(np.where(has_ratio, ratio, 0.0), self._windows_s)
        for length_s, count, total in zip(self._windows_s, counts, totals, strict=True):
            self._put("illiquidity", length_s, total / np.maximum(count, 1), count > 0)

    def _put(self, name: str, length_s: int, values: Any, is_known: Mask) -> None:
        self._columns[f"{name}_{length_s}s"] = np.where(is_known, values, np.nan)


def _clean(quotes: dict[str, Floats]) -> None:
    """Leave out what `processors.features.stream.usable_quote` does: NaN for the whole quote, or for its sizes."""
    bid, ask, bid_size, ask_size = (quotes[name] for name in ("bid", "ask", "bid_size", "ask_size"))
    with np.errstate(invalid="ignore"):
        is_good = (bid > LEAST) & (bid < ask) & (ask < MOST)
        sized = (bid_size >= 0) & (bid_size < MOST) & (ask_size >= 0) & (ask_size < MOST) & (bid_size + ask_size > 0)
    for name, known in (
        ("bid", is_good),
        ("ask", is_good),
        ("bid_size", is_good & sized),
        ("ask_size", is_good & sized),
    ):
        quotes[name] = np.where(known, quotes[name], np.nan)
