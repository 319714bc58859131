"""Order books as a subscriber of cleaned.depth has them, and as the venue has them; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.records import Instrument

Side = dict[float, float]
"""Price → size in base currency."""


@dataclass
class Book:
    """One book: its snapshot and the deltas that belong to it; `is_joined` = the last delta was one of these."""

    snapshot_id: int
    bids: Side
    asks: Side
    is_joined: bool = True


@dataclass
class Books:
    """Rebuilds books by the published rule; by canonical symbol."""

    by_symbol: dict[str, Book] = field(default_factory=dict)

    def add(self, depth: Mapping[str, Any]) -> None:
        """Take in the fields of one Depth record, in the order of the topic."""
        symbol, bids, asks = depth["symbol"], _side(depth, "bid"), _side(depth, "ask")
        if depth["is_snapshot"]:
            self.by_symbol[symbol] = Book(depth["snapshot_id"], bids, asks)
            return
        book = self.by_symbol.setdefault(symbol, Book(0, {}, {}))
        book.is_joined = depth["snapshot_id"] == book.snapshot_id > 0
        if book.is_joined:
            _apply(book.bids, bids)
            _apply(book.asks, asks)

    def equals(self, symbol: str, bids: Side, asks: Side) -> bool:
        """Tell whether the book of a symbol stands and has exactly these levels."""
        book = self.by_symbol.get(symbol)
        return book is not None and book.is_joined and (book.bids, book.asks) == (bids, asks)


def venue_book(instrument: Instrument, levels: Mapping[str, Any]) -> tuple[Side, Side]:
    """Turn a book as the simulated venue tells it into base currency: bids, asks."""
    pairs = ([(float(price), float(size)) for price, size in levels[name]] for name in ("bids", "asks"))
    bids, asks = ({price: instrument.base_quantity(size, price) for price, size in side} for side in pairs)
    return bids, asks


def _side(depth: Mapping[str, Any], name: str) -> Side:
    return dict(zip(depth[f"{name}_prices"], depth[f"{name}_sizes"], strict=True))


def _apply(side: Side, changes: Side) -> None:
    side.update(changes)
    for price in [price for price, size in changes.items() if not size]:
        del side[price]
