"""Sums of floats without error: the same for any order of their terms, and terms can be taken out again.

A sum is kept as its expansion: the sum rounded to a float, then what that leaves rounded, and so on until nothing is
left. Source: J. R. Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997; `math.fsum` rounds such sums rightly.
"""

from collections.abc import Iterable
from math import fsum

Expansion = tuple[float, ...]
"""Terms of falling size whose exact sum is meant; () = 0. One sum has one expansion."""


def total(terms: Iterable[float]) -> Expansion:
    """Sum finite terms exactly.

    >>> total([1e16, 1.0, -1e16])
    (1.0,)
    >>> total([*total([0.1, 0.2]), -0.2])
    (0.1,)
    """
    rest = list(terms)
    found = []
    while (nearest := fsum(rest)) != 0.0:
        found.append(nearest)
        rest.append(-nearest)
    return tuple(found)


def rounded(expansion: Expansion) -> float:
    """Tell the float nearest to the exact sum."""
    return expansion[0] if expansion else 0.0
