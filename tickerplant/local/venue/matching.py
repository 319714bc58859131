"""A limit order book with price-time priority: orders → fills and changes of levels; prices in ticks, sizes in lots."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

ANY_PRICE: Final = 1 << 60


class Order:
    """A resting order; `key` is its price on its side, `place` where it stands in the book's list."""

    __slots__ = ("key", "left", "place", "side")

    def __init__(self, side: "BookSide", key: int, left: int) -> None:
        self.side = side
        self.key = key
        self.left = left
        self.place = 0


class BookSide:
    """One side; keys are prices of bids, negated prices of asks, so that the best key is the highest on both."""

    __slots__ = ("is_bid", "keys", "queues", "sizes")

    def __init__(self, *, is_bid: bool) -> None:
        self.is_bid = is_bid
        self.keys: list[int] = []
        self.queues: dict[int, deque[Order]] = {}
        self.sizes: dict[int, int] = {}

    def best(self) -> int:
        """Tell the best price; the side must not be empty."""
        return self.keys[-1] if self.is_bid else -self.keys[-1]

    def best_size(self) -> int:
        """Tell the size at the best price."""
        return self.sizes[self.keys[-1]]

    def price(self, key: int) -> int:
        """Turn a key into a price, or a price into a key."""
        return key if self.is_bid else -key

    def levels(self, most: int) -> list[tuple[int, int]]:
        """List (price, size), best first."""
        return [(self.price(key), self.sizes[key]) for key in self.keys[: -most - 1 : -1]]


class Change(NamedTuple):
    """A level got another size; 0 = it is gone."""

    update_id: int
    is_bid: bool
    price: int
    size: int


class DeltaFeed:
    """Gathers what changed in a book since it was last taken.

    Levels that are as they were before are told too: a snapshot taken in between shows them otherwise.
    """

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id  # of the update taken last
        self.changes: list[Change] = []

    def take(self) -> list[Change]:
        """Give the changes in their order, and begin anew."""
        taken, self.changes = self.changes, []
        if taken:
            self.last_id = taken[-1].update_id
        return taken


def merged(changes: Iterable[Change], *, is_bid: bool) -> dict[int, int]:
    """Give what changes leave of the levels of a side: price → size."""
    return {each.price: each.size for each in changes if each.is_bid == is_bid}


class Fill(NamedTuple):
    """A part of an order matched against one resting order."""

    price: int
    lots: int


class OrderBook:
    """Matches orders as they arrive; each change of a level takes an update id.

    Args:
        next_id: gives update ids; they may be shared with other books, as on the futures markets.
    """

    def __init__(self, next_id: Callable[[], int]) -> None:
        self.bids = BookSide(is_bid=True)
        self.asks = BookSide(is_bid=False)
        self.orders: list[Order] = []
        self.update_id = next_id()
        self.feeds: list[DeltaFeed] = []
        self._next_id = next_id

    def limit(self, price: int, lots: int, *, is_buy: bool) -> list[Fill]:
        """Match a limit order as far as its price allows and let the rest stand."""
        own = self.bids if is_buy else self.asks
        fills = self.take(lots, limit=price, is_buy=is_buy)
        left = lots - sum(fill.lots for fill in fills)
        if left:
            self._stand(own, own.price(price), left)
        return fills

    def take(self, lots: int, *, is_buy: bool, limit: int | None = None) -> list[Fill]:
        """Match an order that never stands; limit None = at any price. Returns the fills in order."""
        opposite = self.asks if is_buy else self.bids
        worst = -ANY_PRICE if limit is None else opposite.price(limit)
        fills: list[Fill] = []
        while lots and opposite.keys and opposite.keys[-1] >= worst:
            lots = self._take_level(opposite, lots, fills)
        return fills

    def cancel(self, place: int) -> None:
        """Take away the order that stands at a place of `orders`."""
        order = self.orders[place]
        order.side.queues[order.key].remove(order)
        self._forget(order)
        self._resize(order.side, order.key, order.side.sizes[order.key] - order.left)

    def _take_level(self, side: BookSide, lots: int, fills: list[Fill]) -> int:
        """Match against the best level; returns what is left of the lots."""
        key = side.keys[-1]
        price, queue, size = side.price(key), side.queues[key], side.sizes[key]
        while lots and queue:
            maker = queue[0]
            matched = min(lots, maker.left)
            fills.append(Fill(price, matched))
            lots -= matched
            size -= matched
            maker.left -= matched
            if not maker.left:
                queue.popleft()
                self._forget(maker)
        self._resize(side, key, size)
        return lots

    def _stand(self, side: BookSide, key: int, lots: int) -> None:
        order = Order(side, key, lots)
        order.place = len(self.orders)
        self.orders.append(order)
        if key not in side.sizes:
            insort(side.keys, key)
            side.queues[key] = deque()
        side.queues[key].append(order)
        self._resize(side, key, side.sizes.get(key, 0) + lots)

    def _forget(self, order: Order) -> None:
        """Take an order out of the list; the last one moves to its place."""
        last = self.orders.pop()
        if last is not order:
            self.orders[order.place] = last
            last.place = order.place

    def _resize(self, side: BookSide, key: int, size: int) -> None:
        """Give a level its new size; 0 removes it."""
        self.update_id = self._next_id()
        if size:
            side.sizes[key] = size
        else:
            del side.sizes[key], side.queues[key]
            del side.keys[bisect_left(side.keys, key)]
        if self.feeds:
            change = Change(self.update_id, side.is_bid, side.price(key), size)
            for feed in self.feeds:
                feed.changes.append(change)
