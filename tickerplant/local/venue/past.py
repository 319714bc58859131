"""Past trades of a symbol, as REST of several venues tells them: by time, or the newest; pure."""

from typing import Final

from tickerplant.local.venue.dialect import Ask, Print

ALL: Final = 1 << 30


def whole_number(text: str, default: int) -> int:
    """Read a number of a query; what is none = the default."""
    return int(text) if text.isascii() and text.isdigit() else default


def trades_of_time(ask: Ask, market: str, symbol: str, times_ms: tuple[int, int]) -> list[Print] | None:
    """List the trades from a time on and before another, oldest first; None = no such symbol."""
    first_ms, end_ms = times_ms
    kept = ask.market.trades(market, symbol, 0, ALL)
    return None if kept is None else [each for each in kept if first_ms <= each.time_ms < end_ms]


def newest_first(ask: Ask, market: str, symbol: str, most: int) -> list[Print] | None:
    """List the newest trades, newest first; None = no such symbol."""
    newest = ask.market.trades(market, symbol, -1, most)
    return None if newest is None else newest[::-1]
