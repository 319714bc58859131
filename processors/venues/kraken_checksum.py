"""The checksum of Kraken's spot books: CRC32 over the ten best asks, then bids, without points and leading zeros.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v1
Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

import zlib
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

from processors.book_rules import Checksum, TextLevel
from schemas.records import Instrument

MOST_WRITTEN: Final = 16_384


class KrakenChecksum(Checksum):
    """Made of the digits as they were sent, which are all there are.

    Where a recorder wrote numbers anew, zeros that one lacks to the pair's precision are put behind it.
    """

    levels = 10

    def of(self, bids: Sequence[TextLevel], asks: Sequence[TextLevel], instrument: Instrument) -> int:
        """Make it of the best levels, the best first, with the zeros."""
        return _crc(bids, asks, _written(instrument.tick_size, instrument.lot_size))

    def fits(self, bids: Sequence[TextLevel], asks: Sequence[TextLevel], instrument: Instrument, checksum: int) -> bool:
        """Try the digits as they were sent; a list of an hour ago may tell a precision that is over."""
        return _crc(bids, asks, AS_SENT) == checksum or self.of(bids, asks, instrument) == checksum


class Written(dict[TextLevel, str]):
    """Levels as the checksum writes them; most of the best ones stay the same from one message to the next."""

    def __init__(self, price_decimals: int, size_decimals: int) -> None:
        super().__init__()
        self._price_decimals, self._size_decimals = price_decimals, size_decimals

    def __missing__(self, level: TextLevel) -> str:
        """Write a level that was not met lately."""
        if len(self) >= MOST_WRITTEN:
            self.clear()
        self[level] = text = plain(level[0], self._price_decimals) + plain(level[1], self._size_decimals)
        return text


def _crc(bids: Sequence[TextLevel], asks: Sequence[TextLevel], written: "Written") -> int:
    return zlib.crc32("".join(map(written.__getitem__, (*asks[:10], *bids[:10]))).encode())


def plain(number: str, least_decimals: int) -> str:
    """Write a number without point and leading zeros.

    >>> plain("0.05005", 0), plain("0.5", 3), plain("1e-8", 8), plain("45281", 1)
    ('5005', '500', '1', '452810')
    """
    if "e" in number or "E" in number:
        number = format(Decimal(number), "f")
    whole, _, fraction = number.partition(".")
    return (whole + fraction.ljust(least_decimals, "0")).lstrip("0")


AS_SENT: Final = Written(0, 0)


@lru_cache(maxsize=256)
def _written(tick_size: float | None, lot_size: float | None) -> Written:
    """Find what pairs of these steps share."""
    return Written(_decimals(tick_size), _decimals(lot_size))


def _decimals(step: float | None) -> int:
    """Count the decimals of a tick or lot; 0 = it is not told."""
    if not step:
        return 0
    exponent = Decimal(repr(step)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
