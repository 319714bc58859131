"""A depth stream of one symbol: what it has told, and what it tells next: as changes, of all levels or of the best."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from tickerplant.local.venue.dialect import Book, BookChange, LevelChange, Levels, Stream
from tickerplant.local.venue.matching import Change, DeltaFeed, OrderBook, merged
from tickerplant.local.venue.numbers import Numbers
from tickerplant.local.venue.traders import ORDERS_MOST

ALL: Final = 1 << 30
FIRST_NUMBER: Final = 1_000_000  # small ones say something of their own at some venues, as 1 at Bybit
Sides = tuple[dict[int, int], dict[int, int]]
"""Bids and asks: price in ticks → size in lots."""


class DepthStream:
    """Turns changes of a matching book into those that a stream tells.

    Streams of the best N levels tell a level that comes among these, and one that leaves them, as the venue's own do.
    """

    def __init__(self, stream: Stream, book: OrderBook, numbers: Numbers) -> None:
        self.stream = stream
        self.number = FIRST_NUMBER
        self._book = book
        self._numbers = numbers
        self._feed = DeltaFeed(book.update_id)
        book.feeds.append(self._feed)
        self._most = stream.levels if 0 < stream.levels < ORDERS_MOST else ALL  # more levels than orders there are not
        self._told: Sides = self._best() if self._most < ALL else ({}, {})
        self._first_id = 0  # of changes that were not seen among the best levels; 0 = there are none

    def next(self) -> BookChange | None:
        """Tell what has changed since the last time; None = nothing that is seen in this stream."""
        previous_id, changes = self._feed.last_id, self._feed.take()
        if not changes:
            return None
        bids, asks = merged(changes, is_bid=True), merged(changes, is_bid=False)
        if self._most < ALL:
            before, self._told = self._told, self._best()
            bids, asks = (_differences(*pair) for pair in zip(before, self._told, strict=True))
            if not bids and not asks:
                self._feed.last_id, self._first_id = previous_id, self._first_id or changes[0].update_id
                return None
        self.number += 1
        first_id, self._first_id = self._first_id or changes[0].update_id, 0
        return BookChange(
            first_id=first_id,
            last_id=changes[-1].update_id,
            previous_id=previous_id,
            number=self.number,
            bids=levels_of(self._numbers, bids.items()),
            asks=levels_of(self._numbers, asks.items()),
            each=partial(_each, self._numbers, changes),
            top=self._top,
        )

    def whole(self, now_ms: int) -> Book:
        """Give the book as this stream has told it so far: to be asked for when `next` has nothing to tell."""
        book = book_of(self.stream.symbol, self._book, self._numbers, self._most, now_ms)
        return replace(book, last_id=self._feed.last_id, number=self.number)

    def _best(self) -> Sides:
        return dict(self._book.bids.levels(self._most)), dict(self._book.asks.levels(self._most))

    def _top(self, most: int) -> tuple[Levels, Levels]:
        bids, asks = (side.levels(min(most, self._most)) for side in (self._book.bids, self._book.asks))
        return levels_of(self._numbers, bids), levels_of(self._numbers, asks)


def book_of(symbol: str, book: OrderBook, numbers: Numbers, most: int, now_ms: int) -> Book:
    """Write up to so many levels of a matching book; 0 = all."""
    bids, asks = (levels_of(numbers, side.levels(most or ALL)) for side in (book.bids, book.asks))
    return Book(symbol, book.update_id, 0, bids, asks, now_ms)


def levels_of(numbers: Numbers, levels: Iterable[tuple[int, int]]) -> Levels:
    """Write levels given in ticks and lots."""
    price, size = numbers.price, numbers.size
    return [(price(ticks), size(lots)) for ticks, lots in levels]


def _differences(before: Mapping[int, int], after: Mapping[int, int]) -> dict[int, int]:
    gone = {price: 0 for price in before if price not in after}
    return gone | {price: size for price, size in after.items() if before.get(price) != size}


def _each(numbers: Numbers, changes: list[Change]) -> list[LevelChange]:
    return [
        LevelChange(each.update_id, each.is_bid, numbers.price(each.price), numbers.size(each.size)) for each in changes
    ]
