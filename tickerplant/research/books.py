"""Stored changes of a book → the book at a time, or at each of evenly spaced times, by the exchange's clock.

A change counts from the exchange's time on, or that of reading where the venue sends none, or one that lies far from it
(a recording that is played back); changes follow one another as they came, so a time that steps back holds nothing up.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final

import pyarrow as pa

from processors.book import Book
from processors.features.book_seconds import BookSeconds
from tickerplant.research.compute import LATE_US, book_items
from tickerplant.research.features import BookItem
from tickerplant.research.rows import Rows, Span, chunks

DEFAULT_LEVELS: Final = 20
LINES_AT_ONCE: Final = 10_000
STRETCH_US: Final = 3600 * 1_000_000
LOOK_BACK_US: Final = tuple(seconds * 1_000_000 for seconds in (12, 60, 600, 3600, 86_400))
"""How far back a whole book is looked for, further each time: where books are kept, one is stored every ten seconds."""
AHEAD_US: Final = (2_000_000, 60_000_000, LATE_US)
"""How far ahead what was taken in late is looked for, further each time, until something comes that counts later."""

SIDES: Final = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
SCHEMA: Final = pa.schema([("time_us", pa.int64()), *((name, pa.list_(pa.float64())) for name in SIDES)])
Levels = tuple[list[float], list[float], list[float], list[float]]


@dataclass(frozen=True, kw_only=True)
class BookView:
    """A book at a time.

    Args:
        time_us: asked for, as `changed_time_us` µs since the epoch.
        changed_time_us: of its last change.
        bids: (price, size), from the highest down; `asks` from the lowest up.
    """

    venue: str
    symbol: str
    time_us: int
    changed_time_us: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class Replay:
    """Applies changes up to a time."""

    def __init__(self) -> None:
        self._books = BookSeconds()
        self.changed_us = 0  # when the book changed last; times never fall
        self.waiting: list[BookItem] = []  # in order, for a later time
        self.has_begun = False  # a whole book came, or one was given up: nothing before matters

    @property
    def book(self) -> Book | None:
        """The book as it stands; None = there is none."""
        return self._books.book if self._books.snapshot_id else None

    def apply(self, item: BookItem) -> None:
        """Apply a change, or give the book up."""
        depth, self.changed_us, self.has_begun = item.depth, self.time_us(item), True
        if depth is None:
            self._books.reset()
            return
        if depth.is_keyframe and self.book is None and depth.exchange_time_us:  # it has not changed since
            self.changed_us = min(self.changed_us, depth.exchange_time_us)
        self._books.apply(depth)

    def is_change(self, item: BookItem) -> bool:
        """Tell whether an item changes the book as it stands."""
        return item.depth is None or self._books.is_change(item.depth)

    def apply_until(self, time_us: int, items: Iterable[BookItem]) -> None:
        """Apply items up to the first one that counts later; it waits, and what comes after it."""
        for item in items:
            if self.waiting or (self.is_change(item) and self.time_us(item) > time_us):
                self.waiting.append(item)
            elif self.is_change(item):
                self.apply(item)

    def time_us(self, item: BookItem) -> int:
        """Tell from when on an item counts; what repeats the book that stands counts at once."""
        depth = item.depth
        if depth is not None and depth.is_keyframe and self.book is not None:
            return self.changed_us
        exchange_us = depth.exchange_time_us if depth else 0
        is_near = abs(exchange_us - item.recv_us) <= LATE_US
        return max(exchange_us if is_near else item.recv_us, self.changed_us)


def book_before(rows: Rows, span: Span, levels: int | None) -> BookView | None:
    """Tell the book at the end of a span; None = none stood there. Raises as `Rows`."""
    replay = _begun(rows, span, AHEAD_US[0])
    for from_us, to_us in pairwise(AHEAD_US):
        if replay.waiting:
            break
        replay.apply_until(span.to_us, _items(rows, span.between(span.to_us + from_us, span.to_us + to_us)))
    book = replay.book
    if book is None:
        return None
    bid_prices, bid_sizes, ask_prices, ask_sizes = _levels(book, levels)
    return BookView(
        venue=span.venue,
        symbol=span.symbol,
        time_us=span.to_us,
        changed_time_us=replay.changed_us,
        bids=list(zip(bid_prices, bid_sizes, strict=True)),
        asks=list(zip(ask_prices, ask_sizes, strict=True)),
    )


def books_of(rows: Rows, span: Span, every_us: int, levels: int) -> pa.Table:
    """Tell the book at each multiple of a distance within a span. Raises as `Rows`."""
    at_us = -(-span.from_us // every_us) * every_us
    replay, lines, tables = _begun(rows, span.between(0, at_us)), [], []
    for item in chain(replay.waiting, _items(rows, span.between(at_us, span.to_us + LATE_US))):
        if not replay.is_change(item):
            continue
        time_us = replay.time_us(item)
        while at_us < min(time_us, span.to_us):
            lines.append(_line(at_us, replay.book, levels))
            at_us += every_us
        if len(lines) >= LINES_AT_ONCE:
            tables.append(pa.Table.from_pylist(lines, SCHEMA))
            lines = []
        if at_us >= span.to_us:
            break
        replay.apply(item)
    lines += [_line(each_us, replay.book, levels) for each_us in range(at_us, span.to_us, every_us)]
    return pa.concat_tables([*tables, pa.Table.from_pylist(lines, SCHEMA)])


def _begun(rows: Rows, span: Span, ahead_us: int = 0) -> Replay:
    """Replay what was taken in up to the end of a span, and so long after it, as far as it counts by that end.

    It begins far enough back for a whole book.
    """
    replay = Replay()
    for back_us in LOOK_BACK_US:
        replay = Replay()
        read = span.between(max(0, span.to_us - back_us), span.to_us + ahead_us)
        replay.apply_until(span.to_us, _items(rows, read))
        if replay.has_begun:
            break
    return replay


def _items(rows: Rows, span: Span) -> Iterator[BookItem]:
    """Read changes, an hour at a time, in the order of source ids; those of another raw partition after it."""
    for from_us, to_us in chunks(span.from_us, span.to_us, STRETCH_US):
        streams = book_items(rows, span.between(from_us, to_us))
        for key in sorted(streams, key=lambda key: streams[key][0].recv_us if streams[key] else 0):
            yield from streams[key]


def _line(at_us: int, book: Book | None, levels: int) -> dict[str, object]:
    sides = (None,) * len(SIDES) if book is None else _levels(book, levels)
    return {"time_us": at_us, **dict(zip(SIDES, sides, strict=True))}


def _levels(book: Book, levels: int | None) -> Levels:
    (bid_prices, bid_sizes), (ask_prices, ask_sizes) = book.levels(levels)
    return bid_prices, bid_sizes, ask_prices, ask_sizes
