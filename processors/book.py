"""A price-level book: absolute sizes by price, sorted only when it is read."""

from collections.abc import Iterable

Levels = tuple[list[float], list[float]]


class Book:
    """Bids and asks; sizes in base currency. Applying a level costs a dictionary access, reading the whole sorts it."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}

    def replace(self, bids: Levels, asks: Levels) -> None:
        """Forget all levels and take these; sizes of 0 are left out."""
        self.bids.clear()
        self.asks.clear()
        self.apply(bids, asks)

    def apply(self, bids: Levels, asks: Levels) -> None:
        """Set levels, in parallel lists of prices and sizes; size 0 removes the level, if it is there."""
        _apply(self.bids, *bids)
        _apply(self.asks, *asks)

    def is_crossed(self) -> bool:
        """Tell whether the best bid is at or above the best ask, as it cannot be in a book that is right."""
        return bool(self.bids and self.asks) and max(self.bids) >= min(self.asks)

    def clear(self) -> None:
        """Forget all levels."""
        self.bids.clear()
        self.asks.clear()

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


def _sorted(side: dict[float, float], *, reverse: bool) -> Levels:
    prices = sorted(side, reverse=reverse)
    return prices, [side[price] for price in prices]
