"""What the feeds of Coinbase share: sides, times, quotes, changed levels."""

from collections.abc import Iterable
from typing import Final

from processors.items import AnyItem, Quote, UnknownField
from processors.wire import amount, checked_levels, iso_us, maybe
from schemas.records import Side

AGGRESSORS: Final[dict[str, Side]] = {
    "buy": "SELL", "sell": "BUY", "BUY": "SELL", "SELL": "BUY", "UNKNOWN_ORDER_SIDE": "UNKNOWN",
}  # fmt: skip
"""By the maker's side, which is what both feeds send."""
NO_TIMES: Final = ("0001-", "1970-01-01T00:00:00")
"""What times begin with where there is none: in a few updates of 2020, and in snapshots of Advanced Trade."""

Items = list[AnyItem]
Unknown = list[UnknownField]
Sides = tuple[list[float], list[float], list[float], list[float]]


def quotes(place: tuple[str, int, int], best: tuple[str | None, str, str | None, str]) -> Items:
    """Make a quote of best prices ("" = that side is empty) and sizes ("" = not told); none where one is not told."""
    bid, bid_size, ask, ask_size = best
    if bid is None or ask is None or not (bid or ask):
        return []
    return [Quote(*place, amount(bid or "0"), maybe(bid_size), amount(ask or "0"), maybe(ask_size))]


def sides_of(changes: Iterable[tuple[bool, float, float]]) -> Sides:
    """Sort changed levels (is it a bid, price, size) by side."""
    bids: list[tuple[float, float]] = []
    asks: list[tuple[float, float]] = []
    for is_bid, price, size in changes:
        (bids if is_bid else asks).append((price, size))
    return (
        *checked_levels([price for price, _ in bids], [size for _, size in bids]),
        *checked_levels([price for price, _ in asks], [size for _, size in asks]),
    )


def instant_us(text: str) -> int:
    """Read a time in ISO 8601; 0 = there is none."""
    return 0 if not text or text.startswith(NO_TIMES) else iso_us(text)
