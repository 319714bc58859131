"""Recorded frames of any venue → what they are of, by the venue's own processor: kinds, symbols, trades, books."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from processors.errors import FrameError
from processors.items import (
    AggTrade,
    AnyItem,
    BookChecksum,
    BookDelta,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Liquidation,
    MarkPrice,
    Quote,
    TickerItem,
    Trade,
)
from processors.memory import Memory
from processors.venues import VENUES
from schemas.records import Frame
from tickerplant.choices import chosen_venue
from tickerplant.local.venue.dialect import Kind
from tickerplant.recordings import RecordedFrame

DERIVATIVES: Final[dict[str, Kind]] = {
    "MARK_PRICE": "mark_price",
    "INDEX_PRICE": "mark_price",
    "FUNDING_RATE": "funding",
    "OPEN_INTEREST": "open_interest",
}
KINDS: Final[dict[type, Callable[[Any], Kind]]] = {
    Trade: lambda _item: "trade",
    AggTrade: lambda _item: "aggregate",
    Quote: lambda _item: "quote",
    BookSnapshot: lambda _item: "depth",
    BookDelta: lambda _item: "depth",
    BookChecksum: lambda _item: "depth",
    TickerItem: lambda _item: "ticker",
    CandleItem: lambda _item: "candle",
    MarkPrice: lambda _item: "mark_price",
    DerivativeItem: lambda item: DERIVATIVES.get(item.kind, "other"),
    Liquidation: lambda _item: "liquidation",
}
DataItem = (
    Trade | AggTrade | Quote | BookSnapshot | BookDelta | BookChecksum
    | TickerItem | CandleItem | MarkPrice | DerivativeItem | Liquidation
)  # fmt: skip
"""Items that are of a symbol."""


def kind_of(item: DataItem) -> Kind:
    """Tell which kind of stream carries an item."""
    return KINDS[type(item)](item)


@dataclass
class Reading:
    """Reads frames in their order, with what each connection said before.

    Raises:
        UserError: the venue's messages are not known.
    """

    venue: str
    market: str
    _memories: dict[str, Memory] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chosen_venue(self.venue, VENUES)

    def items(self, frame: RecordedFrame) -> list[DataItem]:
        """Read a frame; one that cannot be read, or is of no symbol, has none."""
        if frame.kind not in {"MESSAGE", "HTTP"}:
            return []
        memory = self._memories.setdefault(frame.connection, Memory())
        raw = Frame(
            source=0,
            number=0,
            kind=frame.kind,
            request=frame.request,
            recv_time_us=frame.recv_time_us,
            payload=frame.payload,
        )
        try:
            return of_symbols(VENUES[self.venue].parse(self.market, raw, memory))
        except FrameError:
            return []

    def numbers(self) -> dict[str, int]:
        """Tell the numbers of subscriptions, by their names."""
        named = (pair for memory in self._memories.values() for pair in memory.names.items())
        return {name: number for number, name in named if isinstance(number, int)}


def of_symbols(items: list[AnyItem]) -> list[DataItem]:
    """Leave out what is of no symbol."""
    return [item for item in items if isinstance(item, DataItem)]
