"""The formulas of features, for floats (the stream) and arrays (offline) alike: one text, so that both agree.

Prices are in quote currency, sizes in base currency. None of these looks at what is missing: callers do, before.
"""

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    V = TypeVar("V", float, NDArray[float64])
else:
    V = TypeVar("V")

LEAST: Final = 1e-100
MOST: Final = 1e100
"""Prices and sums outside of these are none that a market has: left out, so that no formula gives infinity or NaN."""


def spread(bid: V, ask: V) -> V:
    """Spread, quote currency: `ask - bid`; source: the quoted spread as exchanges define it.

    >>> spread(99.0, 101.0)
    2.0
    """
    return ask - bid


def mid(bid: V, ask: V) -> V:
    """Mid, quote currency: `(bid + ask) / 2`; source: its definition.

    >>> mid(99.0, 101.0)
    100.0
    """
    return (bid + ask) / 2


def relative_spread(bid: V, ask: V) -> V:
    """Relative spread, a fraction of the mid: `(ask - bid) / mid`; source: the proportional quoted spread.

    >>> relative_spread(99.0, 101.0)
    0.02
    """
    return (ask - bid) / ((bid + ask) / 2)


def microprice(bid: V, bid_size: V, ask: V, ask_size: V) -> V:
    """Microprice, quote currency: `(bid * ask_size + ask * bid_size) / (bid_size + ask_size)`; sizes not both 0.

    Source: Gatheral and Oomen, Zero-intelligence realized variance estimation, Finance and Stochastics 14 (2010).

    >>> microprice(99.0, 3.0, 101.0, 1.0)
    100.5
    """
    return (bid * ask_size + ask * bid_size) / (bid_size + ask_size)


def imbalance(one: V, other: V) -> V:
    """Imbalance of two sizes or volumes, -1 to 1: `(one - other) / (one + other)`; not both 0.

    Of the best sizes it is the quote imbalance, of the sums of n levels a side the book imbalance (Cartea, Jaimungal
    and Penalva, Algorithmic and High-Frequency Trading, 2015, section 3), of volumes bought and sold the trade
    imbalance (Chordia, Roll and Subrahmanyam, Order imbalance, liquidity, and market returns, 2002).

    >>> imbalance(3.0, 1.0)
    0.5
    """
    return (one - other) / (one + other)


def order_flow(bid: tuple[V, V], ask: tuple[V, V], bid_before: tuple[V, V], ask_before: tuple[V, V]) -> V:
    """Tell what a change of the best quote adds to the order-flow imbalance, base currency; sides are (price, size).

    `e = 1{bid >= bid'} * size - 1{bid <= bid'} * size' - 1{ask <= ask'} * size + 1{ask >= ask'} * size'`, where ' is
    the quote before.

    Source: Cont, Kukanov and Stoikov, The price impact of order book events, Journal of Financial Econometrics 12
    (2014), equation 4.

    >>> order_flow((99.0, 5.0), (101.0, 1.0), (99.0, 3.0), (101.0, 2.0))
    3.0
    """
    (bid_price, bid_size), (ask_price, ask_size) = bid, ask
    (old_bid, old_bid_size), (old_ask, old_ask_size) = bid_before, ask_before
    bought = (bid_price >= old_bid) * bid_size - (bid_price <= old_bid) * old_bid_size
    sold = (ask_price <= old_ask) * ask_size - (ask_price >= old_ask) * old_ask_size
    return bought - sold


def vwap(notional: V, volume: V) -> V:
    """Volume-weighted average price, quote currency: `sum(price * size) / sum(size)`; the volume is not 0.

    Source: Berkowitz, Logue and Noser, The total cost of transactions on the NYSE, Journal of Finance 43 (1988).

    >>> vwap(300.0, 3.0)
    100.0
    """
    return notional / volume


def illiquidity(absolute_return: V, notional: V) -> V:
    """Tell what one second adds to Amihud's illiquidity, 1 / quote currency: `|r| / notional`, which is not 0.

    Source: Amihud, Illiquidity and stock returns, Journal of Financial Markets 5 (2002), equation 1; seconds stand for
    its days.

    >>> illiquidity(0.01, 100.0)
    0.0001
    """
    return absolute_return / notional
