"""The checksum of Kraken's spot books: CRC32 over the ten best asks, then bids, without points and leading zeros.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v1
Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

import zlib
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from processors.book_rules import TextLevel
from schemas.records import Instrument


class KrakenChecksum:
    """Made of the digits as they were sent; zeros that a number lacks to the pair's precision are put behind it."""

    levels = 10

    def of(self, bids: Sequence[TextLevel], asks: Sequence[TextLevel], instrument: Instrument) -> int:
        """Make it of the best levels, the best first."""
        price_decimals, size_decimals = _decimals(instrument.tick_size), _decimals(instrument.lot_size)
        best = [*asks[:10], *bids[:10]]
        return zlib.crc32("".join([_written(*level, price_decimals, size_decimals) for level in best]).encode())


@lru_cache(maxsize=65536)
def _written(price: str, size: str, price_decimals: int, size_decimals: int) -> str:
    return plain(price, price_decimals) + plain(size, size_decimals)


def plain(number: str, least_decimals: int) -> str:
    """Write a number without point and leading zeros.

    >>> plain("0.05005", 0), plain("0.5", 3), plain("1e-8", 8), plain("45281", 1)
    ('5005', '500', '1', '452810')
    """
    if "e" in number or "E" in number:
        number = format(Decimal(number), "f")
    whole, _, fraction = number.partition(".")
    return (whole + fraction.ljust(least_decimals, "0")).lstrip("0")


@lru_cache(maxsize=1024)
def _decimals(step: float | None) -> int:
    """Count the decimals of a tick or lot; 0 = it is not told."""
    if not step:
        return 0
    exponent = Decimal(repr(step)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
