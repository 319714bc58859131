"""Integers in ticks and lots → the decimal strings of the wire."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Numbers:
    """Decimals of prices and sizes: a tick is the last decimal of a price, a lot that of a size.

    A scale of 1 = they are in their own unit already.
    """

    price_decimals: int
    size_decimals: int
    price_scale: int
    size_scale: int

    def price(self, ticks: float) -> str:
        """Write a price.

        >>> Numbers(1, 3, 10, 1000).price(618045)
        '61804.5'
        """
        return f"{ticks / self.price_scale:.{self.price_decimals}f}"

    def size(self, lots: float) -> str:
        """Write a size.

        >>> Numbers(1, 3, 10, 1000).size(1500)
        '1.500'
        """
        return f"{lots / self.size_scale:.{self.size_decimals}f}"


def numbers_of(price_decimals: int, size_decimals: int) -> Numbers:
    """Make the numbers of a symbol, in ticks and lots."""
    return Numbers(price_decimals, size_decimals, 10**price_decimals, 10**size_decimals)
