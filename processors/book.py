"""A price-level book: absolute sizes by price, sorted only when it is read; it can tell what changed lately."""

from collections.abc import Iterable

Levels = tuple[list[float], list[float]]


class Book:
    """Bids and asks; sizes in base currency. Applying a level costs a dictionary access, reading the whole sorts it."""

    __slots__ = ("_changed", "asks", "bids")

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self._changed: tuple[set[float], set[float]] | None = None  # prices, since `follow`; None = all may have

    def replace(self, bids: Levels, asks: Levels) -> None:
        """Forget all levels and take these; sizes of 0 are left out."""
        self.clear()
        self.apply(bids, asks)

    def apply(self, bids: Levels, asks: Levels) -> None:
        """Set levels, in parallel lists of prices and sizes; size 0 removes the level, if it is there."""
        _apply(self.bids, *bids)
        _apply(self.asks, *asks)
        if self._changed is not None:
            self._changed[0].update(bids[0])
            self._changed[1].update(asks[0])

    def follow(self) -> None:
        """Note from now on what changes, for `changes`."""
        self._changed = set(), set()

    def changes(self) -> tuple[Levels, Levels] | None:
        """List the levels set since `follow`, in no order, size 0 = removed; None = all changed, or nothing was noted.

        Applied to the book as it was at `follow`, they give the book as it is.
        """
        if self._changed is None:
            return None
        bids, asks = self._changed
        return _sizes(self.bids, bids), _sizes(self.asks, asks)

    def sides(self) -> tuple[Levels, Levels]:
        """List bids and asks in no order."""
        return (list(self.bids), list(self.bids.values())), (list(self.asks), list(self.asks.values()))

    def is_crossed(self) -> bool:
        """Tell whether the best bid is at or above the best ask, as it cannot be in a book that is right."""
        return bool(self.bids and self.asks) and max(self.bids) >= min(self.asks)

    def clear(self) -> None:
        """Forget all levels."""
        self.bids.clear()
        self.asks.clear()
        self._changed = None

    def levels(self) -> tuple[Levels, Levels]:
        """List bids from the highest down and asks from the lowest up, each as prices and sizes."""
        return _sorted(self.bids, reverse=True), _sorted(self.asks, reverse=False)

    def __len__(self) -> int:
        return len(self.bids) + len(self.asks)


def _apply(side: dict[float, float], prices: Iterable[float], sizes: Iterable[float]) -> None:
    for price, size in zip(prices, sizes, strict=True):
        if size:
            side[price] = size
        else:
            side.pop(price, None)


def _sizes(side: dict[float, float], changed: set[float]) -> Levels:
    prices = list(changed)
    return prices, [side.get(price, 0.0) for price in prices]


def _sorted(side: dict[float, float], *, reverse: bool) -> Levels:
    prices = sorted(side, reverse=reverse)
    return prices, [side[price] for price in prices]
