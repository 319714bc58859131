"""Random orders that keep a book alive: bounded, never empty, never far from where it began."""

from random import Random
from typing import Final

from tickerplant.local.venue.matching import Fill, OrderBook

LEVELS_LEAST: Final = 12
ORDERS_MOST: Final = 200
ORDERS_AT_START: Final = 40  # a side
CANCEL_SHARE: Final = 0.38
TAKE_SHARE: Final = 0.1
IMPROVE_SHARE: Final = 0.25
CROSS_SHARE: Final = 0.05
DEPTH_TICKS: Final = 8.0  # mean distance of a new order from the best price
SWEEP_LEVELS: Final = 3
PULL: Final = 4.0  # how strongly buyers and sellers draw the price back to the start
LOTS_MEAN: Final = 400.0


class Traders:
    """All who trade one symbol.

    Args:
        start: price in ticks about which the market moves.
        lots_mean: mean size of an order.
    """

    def __init__(self, book: OrderBook, random: Random, *, start: int, lots_mean: float = LOTS_MEAN) -> None:
        self._book = book
        self._random = random
        self._start = start
        self._lots_mean = lots_mean
        for number in range(ORDERS_AT_START):
            book.limit(start - 1 - number, self._lots(), is_buy=True)
            book.limit(start + 1 + number, self._lots(), is_buy=False)

    def act(self) -> tuple[bool, list[Fill]]:
        """Send one order: whether it buys, and what it was filled with (empty for cancels and resting orders)."""
        book = self._book
        if len(book.bids.keys) < LEVELS_LEAST:
            return self._rest(is_buy=True)
        if len(book.asks.keys) < LEVELS_LEAST:
            return self._rest(is_buy=False)
        choice = self._random.random()
        if choice < CANCEL_SHARE or len(book.orders) >= ORDERS_MOST:
            book.cancel(int(self._random.random() * len(book.orders)))
            return False, []
        is_buy = self._wants_to_buy()
        if choice < CANCEL_SHARE + TAKE_SHARE:
            return is_buy, self._take(is_buy=is_buy)
        return self._rest(is_buy=is_buy)

    def _wants_to_buy(self) -> bool:
        """Toss a coin that favours the way back to the start."""
        drift = self._book.bids.best() / self._start - 1
        return self._random.random() > 0.5 + min(0.4, max(-0.4, drift * PULL))

    def _take(self, *, is_buy: bool) -> list[Fill]:
        """Match at any price, but no more than the best levels hold."""
        side = self._book.asks if is_buy else self._book.bids
        most = sum(size for _, size in side.levels(SWEEP_LEVELS))
        return self._book.take(min(most, self._lots()), is_buy=is_buy)

    def _rest(self, *, is_buy: bool) -> tuple[bool, list[Fill]]:
        """Send a limit order, mostly behind the best price, at times better than it, rarely through the other side."""
        book = self._book
        own, other = (book.bids, book.asks) if is_buy else (book.asks, book.bids)
        toward = 1 if is_buy else -1
        choice = self._random.random()
        if choice < CROSS_SHARE:
            price = other.best()
        elif choice < CROSS_SHARE + IMPROVE_SHARE and abs(other.best() - own.best()) > 1:
            price = own.best() + toward
        else:
            price = own.best() - toward * int(self._random.expovariate(1 / DEPTH_TICKS))
        return is_buy, book.limit(max(1, price), self._lots(), is_buy=is_buy)

    def _lots(self) -> int:
        return 1 + int(self._random.expovariate(1 / self._lots_mean))
