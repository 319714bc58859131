"""Whether past trades that come over REST are those of the stream: `tickerplant smoke` asks for some that it has seen.

Documents say that ids are the same, and what healing takes (docs/healing.md) depends on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from processors.errors import FrameError
from processors.items import PastTrades, Trade
from processors.memory import Memory
from processors.venues import VENUES as MEANINGS
from producers.failures import printable
from producers.http import Fetcher, HttpError
from producers.venues import VENUES
from producers.wire import Missing
from schemas.records import Frame, Tick
from tickerplant.clock import now_us
from tickerplant.settings import Venue

MOST: Final = 10_000  # of a symbol
FEWEST: Final = 3
"""Trades of a symbol without which nothing is asked."""


@dataclass
class SeenTrades:
    """The trades that streams brought, by canonical symbol and id."""

    by_symbol: dict[str, dict[str, Tick]] = field(default_factory=dict)

    def add(self, tick: Tick) -> None:
        """Take in a tick, if it is a trade with an id."""
        if tick.kind == "TRADE" and tick.trade_id:
            seen = self.by_symbol.setdefault(tick.symbol, {})
            if len(seen) < MOST:
                seen[tick.trade_id] = tick

    def busiest(self) -> str:
        """Name the symbol with the most trades; "" = there are too few."""
        symbol = max(self.by_symbol, key=lambda each: len(self.by_symbol[each]), default="")
        return symbol if symbol and len(self.by_symbol[symbol]) >= FEWEST else ""


@dataclass(frozen=True, kw_only=True)
class PastFinding:
    """What REST told of a symbol.

    Args:
        seen: trades of the stream.
        told: trades of one answer.
        shared: ids that are in both.
        differing: of these, trades that have another price or side in the answer.
        error: why there is no answer; "" = there is one.
    """

    symbol: str
    seen: int
    told: int = 0
    shared: int = 0
    differing: int = 0
    error: str = ""

    def summary(self) -> dict[str, Any]:
        """Give it as values."""
        return {"symbol": self.symbol, "told": self.told, "shared": self.shared, "differing": self.differing}

    def problem(self) -> str:
        """Say in one line what is not as it should be; "" = all is well."""
        of = f"past trades of {self.symbol} by REST"
        if self.error:
            return f"{of}: {self.error}"
        if not self.shared:
            return f"{of}: none of {self.told} is called as one of {self.seen} of the stream"
        return f"{of}: {self.differing} of {self.shared} have another price or side" if self.differing else ""


async def check_past_trades(
    entry: Venue, fetcher: Fetcher, symbols: Mapping[str, str], seen: SeenTrades
) -> PastFinding | None:
    """Ask for the trades that a stream has brought; None = the venue tells no past trades, or there were too few.

    Args:
        symbols: canonical → venue symbol.
    """
    symbol = seen.busiest()
    if symbol not in symbols:
        return None
    ticks = seen.by_symbol[symbol]
    missing = _missing(symbols[symbol], ticks.values())
    request = VENUES[entry.venue].trades_request(entry.market, missing, entry.rest_url, is_keyed=fetcher.is_keyed)
    if request is None:
        return None
    try:
        body = await fetcher.fetch(request)
        frame = Frame(source=0, number=0, kind="HTTP", request=request.name, recv_time_us=now_us(), payload=body)
        items = MEANINGS[entry.venue].parse(entry.market, frame, Memory())
    except (HttpError, FrameError) as error:
        return PastFinding(symbol=symbol, seen=len(ticks), error=printable(str(error)))
    return compare(symbol, ticks, [each for item in items if isinstance(item, PastTrades) for each in item.trades])


def compare(symbol: str, ticks: Mapping[str, Tick], trades: Iterable[Trade]) -> PastFinding:
    """Hold an answer against what the stream brought."""
    told = {each.name or str(each.trade_id): each for each in trades}
    shared = told.keys() & ticks.keys()
    differing = sum((told[each].price, told[each].side) != (ticks[each].price, ticks[each].side) for each in shared)
    return PastFinding(symbol=symbol, seen=len(ticks), told=len(told), shared=len(shared), differing=differing)


def _missing(venue_symbol: str, ticks: Iterable[Tick]) -> Missing:
    numbers, times_us = zip(*((each.venue_sequence, each.exchange_time_us) for each in ticks), strict=True)
    return Missing(
        venue_symbol=venue_symbol,
        first_id=min(numbers),
        last_id=max(numbers),
        after_time_us=min(times_us),
        until_time_us=max(times_us),
    )
