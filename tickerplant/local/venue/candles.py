"""Trades → one-minute candles, and coarser ones of these; in whatever numbers the trades come."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

MINUTE_MS: Final = 60_000
KEPT_MINUTES: Final = 1500


@dataclass(slots=True)
class Candle:
    """One interval; volume in the unit of the sizes, quote in that of the amounts given."""

    open_ms: int
    first_id: int
    last_id: int
    open: float
    high: float
    low: float
    close: float
    volume: float = 0
    quote: float = 0
    count: int = 0
    bought: float = 0
    bought_quote: float = 0

    def add(self, number: int, price: float, size: float, amount: float, *, is_buy: bool) -> None:
        """Take in a trade: its id, price, size, and amount in quote currency; is_buy: of the aggressor."""
        self.last_id = number
        self.close = price
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.volume += size
        self.quote += amount
        self.count += 1
        if is_buy:
            self.bought += size
            self.bought_quote += amount

    def merge(self, later: "Candle") -> None:
        """Take in a candle that follows."""
        self.last_id, self.close = later.last_id, later.close
        self.high, self.low = max(self.high, later.high), min(self.low, later.low)
        self.volume += later.volume
        self.quote += later.quote
        self.count += later.count
        self.bought += later.bought
        self.bought_quote += later.bought_quote


class CandleSeries:
    """The last 1500 minutes in which there were trades."""

    def __init__(self) -> None:
        self.minutes: deque[Candle] = deque(maxlen=KEPT_MINUTES)

    def minute(self, time_ms: int, number: int, price: float) -> Candle:
        """Find, or begin, the candle of a trade; one that comes late goes into the newest."""
        if not self.minutes or time_ms >= self.minutes[-1].open_ms + MINUTE_MS:
            open_ms = time_ms - time_ms % MINUTE_MS
            self.minutes.append(Candle(open_ms, number, number, price, price, price, price))
        return self.minutes[-1]

    def merged(self, interval_ms: int) -> Iterator[Candle]:
        """Yield candles of a longer interval (a multiple of a minute), oldest first."""
        current: Candle | None = None
        for each in self.minutes:
            open_ms = each.open_ms - each.open_ms % interval_ms
            if current is not None and current.open_ms == open_ms:
                current.merge(each)
                continue
            if current is not None:
                yield current
            current = replace(each, open_ms=open_ms)
        if current is not None:
            yield current
