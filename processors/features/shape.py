"""A book → its shape: what features tell of it; None where it is empty, one-sided or crossed."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import neg
from typing import Final

import msgspec

from processors.book import Book
from processors.features.formulas import LEAST, MOST, imbalance, mid

LEVELS: Final = (1, 5, 10, 20)
"""Levels a side of which the imbalance is told."""
WEIGHTED_LEVELS: Final = 10
BANDS_BPS: Final = (5, 10, 25)
"""Distances from the mid within which the liquidity is told, basis points."""


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """What features tell of a book; prices in quote currency, sizes in base currency.

    Args:
        imbalances: `(bids - asks) / (bids + asks)` of the sizes of so many best levels a side, as in `LEVELS`, or of
            all that there are, -1 to 1; source: see `formulas.imbalance`.
        weighted_price: of the ten best levels a side, `sum(price * size) / sum(size)`, quote currency; source: the vwap
            of a trade that took them all.
        bid_liquidity: sizes of all bids no lower than `mid * (1 - band)`, for each band of `BANDS_BPS`, base currency.
            Source: the depth near the mid of Degryse, de Jong and van Kervel, The impact of dark trading and visible
            fragmentation on market quality, Review of Finance 19 (2015), there in quote currency.
        ask_liquidity: sizes of all asks no higher than `mid * (1 + band)`, base currency; source: the same.
    """

    bid: float
    bid_size: float
    ask: float
    ask_size: float
    imbalances: tuple[float, ...]
    weighted_price: float
    bid_liquidity: tuple[float, ...]
    ask_liquidity: tuple[float, ...]


def shape_of(book: Book) -> Shape | None:
    """Tell the shape of a book; sums run from the best level outwards."""
    if not book.bids or not book.asks:
        return None
    bid, ask = max(book.bids), min(book.asks)
    if not LEAST < bid < ask < MOST:
        return None
    centre = mid(bid, ask)
    lows = [centre * (1 - band / 10_000) for band in BANDS_BPS]
    highs = [centre * (1 + band / 10_000) for band in BANDS_BPS]
    bids = [price for price in book.bids if price >= lows[-1]]
    asks = [price for price in book.asks if price <= highs[-1]]
    bids = sorted(bids if len(bids) >= LEVELS[-1] else book.bids, reverse=True)
    asks = sorted(asks if len(asks) >= LEVELS[-1] else book.asks)
    bid_depths, ask_depths = _depths(book.bids, bids), _depths(book.asks, asks)
    weighted_price = _weighted_price((book.bids, bids), (book.asks, asks))
    if not (bid_depths[-1] < MOST and ask_depths[-1] < MOST and weighted_price < MOST):
        return None
    within_bids = [bisect_right(bids, -low, key=neg) for low in lows]  # from the highest down
    return Shape(
        bid,
        book.bids[bid],
        ask,
        book.asks[ask],
        tuple(imbalance(bid_depths[_last(count, bids)], ask_depths[_last(count, asks)]) for count in LEVELS),
        weighted_price,
        tuple(bid_depths[count - 1] if count else 0.0 for count in within_bids),
        tuple(ask_depths[count - 1] if count else 0.0 for count in (bisect_right(asks, high) for high in highs)),
    )


def _depths(side: dict[float, float], prices: Sequence[float]) -> list[float]:
    """Add up sizes from the best price outwards."""
    return list(accumulate(map(side.__getitem__, prices)))


def _last(count: int, prices: Sequence[float]) -> int:
    return min(count, len(prices)) - 1


def _weighted_price(*sides: tuple[dict[float, float], Sequence[float]]) -> float:
    """Tell `sum(price * size) / sum(size)` of the ten best levels of both sides, quote currency."""
    notional = volume = 0.0
    for side, prices in sides:
        for price in prices[:WEIGHTED_LEVELS]:
            size = side[price]
            notional += price * size
            volume += size
    return notional / volume
