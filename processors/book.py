"""A price-level book: absolute sizes by price, sorted only when it is read; it can tell what changed lately."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from operator import itemgetter
from typing import Final

from processors.items import Texts

Levels = tuple[list[float], list[float]]
LOOKED_AT: Final = 16  # deltas after a look at the order for which it is kept up: about what sorting it again costs
_PRICE = itemgetter(0)


class Book:
    """Bids and asks; sizes in base currency.

    Applying a level costs a dictionary access, reading the order sorts it. While it is read every few deltas, the order
    is kept up instead.
    """

    __slots__ = ("_changed", "_kept_for", "_order", "asks", "bids")

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self._changed: tuple[set[float], set[float]] | None = None  # prices, since `follow`; None = all may have
        self._order: tuple[list[float], list[float]] | None = None  # rising, as both are; None = nobody looks
        self._kept_for = 0  # more deltas, unless somebody looks

    def replace(self, bids: Levels, asks: Levels, texts: Texts | None = None) -> None:
        """Forget all levels and take these; sizes of 0 are left out."""
        self.clear()
        self.apply(bids, asks, texts)

    def apply(self, bids: Levels, asks: Levels, texts: Texts | None = None) -> None:
        """Set levels, in parallel lists of prices and sizes; size 0 removes the level, if it is there.

        Args:
            texts: the digits of these levels; a `TextBook` alone keeps them.
        """
        del texts
        if self._order is not None:
            self._apply_in_order(self._order, bids, asks)
        else:
            if bids[0]:
                _apply(self.bids, bids[0], bids[1])
            if asks[0]:
                _apply(self.asks, asks[0], asks[1])
        if self._changed is not None:
            self._note(bids, asks)

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

    def best(self) -> tuple[float, float] | None:
        """Tell the best bid and the best ask; None = a side is empty."""
        bids, asks = self._order or self._sort()
        self._kept_for = LOOKED_AT
        return (bids[-1], asks[0]) if bids and asks else None

    def is_crossed(self) -> bool:
        """Tell whether the best bid is at or above the best ask, as it cannot be in a book that is right."""
        best = self.best()
        return best is not None and best[0] >= best[1]

    def is_locked(self) -> bool:
        """Tell whether the best bid is the best ask: wrong as a crossed one, and told apart from it."""
        best = self.best()
        return best is not None and best[0] == best[1]

    def clear(self) -> None:
        """Forget all levels."""
        self.bids.clear()
        self.asks.clear()
        self._changed = self._order = None

    def levels(self, most: int | None = None) -> tuple[Levels, Levels]:
        """List bids from the highest down and asks from the lowest up, each as prices and sizes.

        Args:
            most: a side, the best ones; None = all.
        """
        bids, asks = self._order or self._sort()
        self._kept_for = LOOKED_AT
        bids = bids[::-1] if most is None else bids[: -most - 1 : -1]
        asks = asks[:most]
        return (bids, list(map(self.bids.__getitem__, bids))), (asks, list(map(self.asks.__getitem__, asks)))

    def texts_of(self, bids: Iterable[float], asks: Iterable[float]) -> Texts | None:
        """Tell the digits of levels by price, "" for those that are not there; None = this book keeps none."""
        del bids, asks
        return None

    def cut(self, most: int) -> tuple[list[float], list[float]]:
        """Remove all but so many best levels a side; returns the prices of bids and asks that are removed."""
        if len(self.bids) <= most and len(self.asks) <= most:
            return [], []
        order = self._order or self._sort()
        self._kept_for = LOOKED_AT
        bids, asks = order[0][:-most], order[1][most:]
        for prices, side in ((bids, self.bids), (asks, self.asks)):
            for price in prices:
                del side[price]
        del order[0][:-most], order[1][most:]
        self._note((bids, []), (asks, []))
        return bids, asks

    def _sort(self) -> tuple[list[float], list[float]]:
        """Bring prices into order, and keep it up for a while."""
        self._order = order = sorted(self.bids), sorted(self.asks)
        return order

    def _apply_in_order(self, order: tuple[list[float], list[float]], bids: Levels, asks: Levels) -> None:
        """Set levels and keep the order up, until it is seen that nobody looks."""
        if bids[0]:
            _insert(self.bids, order[0], bids[0], bids[1])
        if asks[0]:
            _insert(self.asks, order[1], asks[0], asks[1])
        self._kept_for -= 1
        if self._kept_for == 0:
            self._order = None

    def _note(self, bids: Levels, asks: Levels) -> None:
        """Note that these levels were set."""
        if self._changed is not None:
            self._changed[0].update(bids[0])
            self._changed[1].update(asks[0])

    def __len__(self) -> int:
        return len(self.bids) + len(self.asks)


class TextBook(Book):
    """A book that keeps the digits that were sent, and always the order: for checksums, and to cut what is deep."""

    __slots__ = ("_ask_order", "_ask_texts", "_bid_order", "_bid_texts", "_is_told")

    def __init__(self) -> None:
        super().__init__()
        self._bid_order: list[float] = []  # rising, as both are
        self._ask_order: list[float] = []
        self._order = self._bid_order, self._ask_order
        self._bid_texts: dict[float, tuple[str, str]] = {}
        self._ask_texts: dict[float, tuple[str, str]] = {}
        self._is_told = True  # no level without digits came since the book was empty

    def apply(self, bids: Levels, asks: Levels, texts: Texts | None = None) -> None:
        """Set levels as `Book` does, and their digits; those of levels without any are forgotten."""
        told = texts or Texts([""] * len(bids[0]), [""] * len(bids[0]), [""] * len(asks[0]), [""] * len(asks[0]))
        if "" in told.bid_prices or "" in told.ask_prices:
            self._is_told = False
        if bids[0]:
            _set(self.bids, self._bid_order, self._bid_texts, bids, (told.bid_prices, told.bid_sizes))
        if asks[0]:
            _set(self.asks, self._ask_order, self._ask_texts, asks, (told.ask_prices, told.ask_sizes))
        if self._changed is not None:
            self._note(bids, asks)

    def clear(self) -> None:
        """Forget all levels."""
        super().clear()
        for each in (self._bid_order, self._ask_order, self._bid_texts, self._ask_texts):
            each.clear()
        self._order = self._bid_order, self._ask_order
        self._is_told = True

    def texts_of(self, bids: Iterable[float], asks: Iterable[float]) -> Texts | None:
        """Tell the digits of levels by price."""
        bid_texts = [self._bid_texts.get(price, ("", "")) for price in bids]
        ask_texts = [self._ask_texts.get(price, ("", "")) for price in asks]
        return Texts(
            [price for price, _ in bid_texts],
            [size for _, size in bid_texts],
            [price for price, _ in ask_texts],
            [size for _, size in ask_texts],
        )

    def best_texts(self, most: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]] | None:
        """List the digits of the best levels, the best first; None = not of all of these were any sent."""
        bids = list(map(self._bid_texts.__getitem__, self._bid_order[: -most - 1 : -1]))
        asks = list(map(self._ask_texts.__getitem__, self._ask_order[:most]))
        is_told = self._is_told or (all(map(_PRICE, bids)) and all(map(_PRICE, asks)))
        return (bids, asks) if is_told else None

    def cut(self, most: int) -> tuple[list[float], list[float]]:
        """Remove levels as `Book` does, with their digits."""
        bids, asks = self._bid_order[:-most], self._ask_order[most:]
        if bids or asks:
            for prices, side, texts in ((bids, self.bids, self._bid_texts), (asks, self.asks, self._ask_texts)):
                for price in prices:
                    del side[price], texts[price]
            del self._bid_order[:-most], self._ask_order[most:]
            self._note((bids, []), (asks, []))
        return bids, asks


def _apply(side: dict[float, float], prices: list[float], sizes: list[float]) -> None:
    """Set levels of one side."""
    if len(prices) != len(sizes):
        raise ValueError(f"{len(prices)} prices have {len(sizes)} sizes")
    for price, size in zip(prices, sizes):  # noqa: B905  # strict=True takes as long as three levels
        if size:
            side[price] = size
        elif price in side:
            del side[price]


def _insert(side: dict[float, float], order: list[float], prices: list[float], sizes: list[float]) -> None:
    """Set levels of one side, and the rising prices."""
    if len(prices) != len(sizes):
        raise ValueError(f"{len(prices)} prices have {len(sizes)} sizes")
    for price, size in zip(prices, sizes):  # noqa: B905
        if size:
            if price not in side:
                insort(order, price)
            side[price] = size
        elif price in side:
            del side[price]
            del order[bisect_left(order, price)]


def _sizes(side: dict[float, float], changed: set[float]) -> Levels:
    prices = list(changed)
    return prices, [side.get(price, 0.0) for price in prices]


def _set(
    side: dict[float, float],
    order: list[float],
    texts: dict[float, tuple[str, str]],
    levels: Levels,
    told: tuple[list[str], list[str]],
) -> None:
    """Set levels of one side: sizes, the rising prices, digits."""
    prices, sizes = levels
    if not len(prices) == len(sizes) == len(told[0]) == len(told[1]):
        raise ValueError(f"{len(prices)} prices have {len(sizes)} sizes, and digits of {len(told[0])}, {len(told[1])}")
    rows = zip(prices, sizes, zip(*told))  # noqa: B905  # see _apply
    if len(prices) > len(order):  # of the book: to sort it once is cheaper
        for price, size, text in rows:
            if size:
                side[price] = size
                texts[price] = text
            elif price in side:
                del side[price], texts[price]
        order[:] = sorted(side)
        return
    for price, size, text in rows:
        if size:
            if price not in side:
                insort(order, price)
            side[price] = size
            texts[price] = text
        elif price in side:
            del side[price], texts[price]
            del order[bisect_left(order, price)]
