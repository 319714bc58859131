"""Coinbase frames (Exchange feed, Advanced Trade feed) → items.

Source: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
Source: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

from collections.abc import Callable
from typing import Final

from processors.book_rules import BookRule, CountedRule
from processors.errors import FrameError
from processors.facts import Facts
from processors.items import AnyItem
from processors.memory import Memory
from processors.venues import coinbase_advanced, coinbase_exchange
from processors.venues.coinbase_advanced import parse_advanced
from processors.venues.coinbase_exchange import parse_exchange
from schemas.records import Frame

NAME: Final = "COINBASE"
MARKETS: Final[tuple[str, ...]] = ("exchange", "advanced")
FACTS: Final[dict[str, Facts]] = {
    "exchange": Facts(
        side="`side` is the maker's, turned",
        times="`time`, ISO 8601",
        sizes="base currency",
        since="2021",
        past_trades="`GET /products/{id}/trades`, by id",
    ),
    "advanced": Facts(
        side="`side` is the maker's, turned",
        times="`time` of trades, `event_time` of levels, `timestamp`, ISO 8601 to ns",
        sizes="base currency",
        since="2023",
        past_trades="`GET /market/products/{id}/ticker`, by time",
    ),
}
ANSWERS: Final[dict[str, Callable[[Frame], list[AnyItem]]]] = {
    "exchange": coinbase_exchange.parse_answer,
    "advanced": coinbase_advanced.parse_answer,
}
BOOK_RULES: Final[dict[str, BookRule]] = {
    "exchange": CountedRule(is_in_time=True),
    "advanced": CountedRule(is_numbered_by_connection=True),
}


def book_rule(market: str) -> BookRule:
    """Tell how a market's books hold together."""
    return BOOK_RULES[market]


def trades_are_counted(market: str) -> bool:
    """Ids of a product rise by one; those of derivatives, which only `advanced` has, are not known to."""
    return market == "exchange"


def parse(market: str, frame: Frame, memory: Memory) -> list[AnyItem]:
    """Parse a MESSAGE or HTTP frame; answers on the connection, heartbeats and lists of products yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    if frame.kind == "HTTP":
        return ANSWERS[market](frame)
    if market == "exchange":
        return parse_exchange(frame.payload)
    if market == "advanced":
        return parse_advanced(frame.payload, memory)
    raise FrameError(f"Coinbase has no market {market!r}")
