"""Kraken frames (spot by the second and the first WebSocket API, futures) → items; each API has a file of its own.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-intro
Source: https://docs.kraken.com/api/docs/guides/futures-introduction
"""

from collections.abc import Callable
from typing import Final

from processors.book_rules import BookRule, CountedRule, FirstIdRule
from processors.errors import FrameError
from processors.facts import Facts
from processors.items import AnyItem
from processors.memory import Memory
from processors.venues import kraken_futures, kraken_spot, kraken_spot_v1
from processors.venues.kraken_checksum import KrakenChecksum
from processors.wire import unknown_answer
from schemas.records import Frame

NAME: Final = "KRAKEN"
MARKETS: Final[tuple[str, ...]] = ("spot", "spot_v1", "futures")
FACTS: Final[dict[str, Facts]] = {
    "spot": Facts(
        side="`side`, the taker's",
        times="`timestamp`, ISO 8601 to µs",
        sizes="base currency",
        since="2023, API v2",
        past_trades="`GET /0/public/Trades`, by time",
    ),
    "spot_v1": Facts(
        side="`b` or `s`, the taker's",
        times="seconds with a fraction, as text",
        sizes="base currency",
        since="2021, API v1",
    ),
    "futures": Facts(
        side="`side`, the taker's",
        times="`time`, `timestamp`, ms",
        sizes="contracts (USD of inverse ones)",
        since="2021",
        past_trades="`GET /api/v3/history`, the newest 100, numbered by those around them",
    ),
}
SPOT_RULE: Final = CountedRule(checksum=KrakenChecksum())
BOOK_RULES: Final[dict[str, BookRule]] = {
    "spot": SPOT_RULE,
    "spot_v1": SPOT_RULE,
    "futures": FirstIdRule(ids_are_shared=False),  # seq rises by one for each product
}
PARSERS: Final[dict[str, Callable[[bytes, Memory], list[AnyItem]]]] = {
    "spot": kraken_spot.parse,
    "spot_v1": kraken_spot_v1.parse,
    "futures": kraken_futures.parse,
}


def book_rule(market: str) -> BookRule:
    """Tell how a market's books hold together: spot by checksums alone, futures by sequence."""
    return BOOK_RULES[market]


def trades_are_counted(market: str) -> bool:
    """Ids rise by one for each book; the first API of spot sends none."""
    return market != "spot_v1"


def parse(market: str, frame: Frame, memory: Memory) -> list[AnyItem]:
    """Parse a MESSAGE or HTTP frame; answers to our own requests on the connection yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    read = PARSERS.get(market)
    if read is None:
        raise FrameError(f"Kraken has no market {market!r}")
    if frame.kind != "HTTP":
        return read(frame.payload, memory)
    if market == "spot":
        return kraken_spot.parse_answer(frame)
    if market == "futures":
        return kraken_futures.parse_answer(frame)
    raise unknown_answer(frame.request)
