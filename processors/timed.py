"""Tickers, candles, mark prices and liquidations of one symbol: no ids; what another connection brought is dropped.

Tickers, candles and mark prices go by the venue's time. Where it cannot serve (none is sent, it lies far ahead, or is
that of the message, which differs between connections), and for liquidations, many of which may fall on one instant,
equal items are counted by connection instead.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import structs

from processors.batch import Batch
from processors.chains import Rising
from processors.dedupe import Copies
from processors.flags import is_ahead
from processors.items import CandleItem, DerivativeItem, Liquidation, MarkPrice, TickerItem
from processors.line import NOTHING, Line
from processors.normalize import add_candle, add_derivative, add_liquidation, add_mark_price, add_ticker, candle_of
from schemas.records import Candle, Instrument

Timed = TickerItem | CandleItem | MarkPrice | DerivativeItem

ADD: Final[dict[type, Callable[[Batch, Instrument, Any], None]]] = {
    TickerItem: add_ticker,
    CandleItem: add_candle,
    MarkPrice: add_mark_price,
    DerivativeItem: add_derivative,
}
MOST_FORMING: Final = 4  # connections whose newest candle is kept
MOST_TICKERS: Final = 8  # the same of tickers
COUNTED: Final = frozenset({"trade_count", "open_time_us", "close_time_us", "is_followed"})  # 0 = not told
_ENCODER: Final = msgspec.msgpack.Encoder()


class TimedLine(Line[Timed]):
    """A stream whose keys are the venue's times."""

    __slots__ = ("_add", "newest_us")

    def __init__(self, add: Callable[[Batch, Timed], None]) -> None:
        super().__init__(Rising(lambda: self.newest_us), self.let, self._forget)
        self.newest_us = NOTHING  # exchange time of the item let through last
        self._add = add

    def let(self, batch: Batch, item: Timed) -> None:
        """Let an item through."""
        self._add(batch, item)
        self.newest_us = item.exchange_time_us

    def _forget(self, batch: Batch) -> None:
        del batch
        self.newest_us = NOTHING


class TimedStreams:
    """Those of one symbol; lines are named `ticker`, `markPrice`, `kline_1m` ..."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.lines: dict[str, TimedLine] = {}
        self.copies = Copies()
        self.on_added_candle: Callable[[Candle], None] | None = None
        self.on_corrected_candle: Callable[[Candle], None] | None = None
        self.on_inconsistent: Callable[[Batch, Candle], None] | None = None
        self.forming: dict[str, dict[str, CandleItem]] = {}  # interval → connection → newest, where none is told final
        self.ended_us: dict[str, int] = {}  # interval → open time of the last of them that was handed on
        self.tickers: dict[str, TickerItem] = {}  # by connection, completed; of venues that send only what changed
        self.last_ticker: TickerItem | None = None  # the same of a program that knew one for all connections

    def on_ticker(self, batch: Batch, item: TickerItem) -> None:
        """Add a ticker; one that tells only what changed is completed, or dropped where nothing came before.

        Each connection's own is what its changes are of: another one may be ahead.
        """
        if item.is_partial or item.is_followed:
            before = self.tickers.pop(batch.connection, self.last_ticker)
            item = completed(item, before) if item.is_partial else structs.replace(item, is_followed=False)
            self.tickers[batch.connection] = item
            if len(self.tickers) > MOST_TICKERS:
                del self.tickers[next(iter(self.tickers))]
            if item.last is None or item.volume is None:
                return
        if item.is_stamped:
            self._take_stamped(batch, item)
        else:
            self._take(batch, "ticker", item)

    def on_candle(self, batch: Batch, item: CandleItem) -> None:
        """Add a candle; where the venue never says that one is final, it is once its connection brings a later one."""
        if item.is_closed is None and not is_ahead(item.open_time_us, batch.recv_time_us):
            self._follow_candle(batch, item)
        if item.is_stamped:
            self._take_stamped(batch, item)
        else:
            self._take(batch, "kline_" + item.interval, item)

    def on_mark_price(self, batch: Batch, item: MarkPrice) -> None:
        """Add a mark price and what comes with it."""
        self._take(batch, "markPrice", item)

    def on_derivative(self, batch: Batch, item: DerivativeItem) -> None:
        """Add a fact about a contract."""
        self._take(batch, item.kind, item)

    def on_liquidation(self, batch: Batch, item: Liquidation) -> None:
        """Add a liquidation."""
        if self._is_first_copy(batch, item):
            add_liquidation(batch, self.instrument, item)

    def forget(self, connection: str) -> None:
        """Tell no candle final that a connection brought before it lost messages."""
        for candles in self.forming.values():
            candles.pop(connection, None)

    def leave(self, connection: str) -> None:
        """Forget a connection that is closed."""
        self.forget(connection)
        self.tickers.pop(connection, None)

    def line(self, name: str) -> TimedLine:
        """Find or make a line."""
        found = self.lines.get(name)
        if found is None:
            found = self.lines[name] = TimedLine(self._add)
        return found

    def _take(self, batch: Batch, name: str, item: Timed) -> None:
        if not item.exchange_time_us or is_ahead(item.exchange_time_us, batch.recv_time_us):
            if self._is_first_copy(batch, item):
                self._add(batch, item)
            return
        line = self.line(name)
        if batch.connection == line.sole:
            line.let(batch, item)
        else:
            line.take(batch, item, item.exchange_time_us)

    def _take_stamped(self, batch: Batch, item: TickerItem | CandleItem) -> None:
        """Take what each connection stamps with a time of its own: it is told apart by all else."""
        if self._is_first_copy(batch, structs.replace(item, exchange_time_us=0)):
            self._add(batch, item)

    def _follow_candle(self, batch: Batch, item: CandleItem) -> None:
        """Keep the newest candle of each connection; hand on the one before, once, and what is said of it later."""
        candles = self.forming.setdefault(item.interval, {})
        last = candles.pop(batch.connection, item)
        ended, newest = (item, last) if item.open_time_us < last.open_time_us else (last, item)
        candles[batch.connection] = newest
        if len(candles) > MOST_FORMING:
            del candles[next(iter(candles))]
        if ended.open_time_us == newest.open_time_us:
            return
        ended_us, hand_on = self.ended_us.get(item.interval, NOTHING), self.on_corrected_candle
        if ended.open_time_us > ended_us:
            self.ended_us[item.interval], hand_on = ended.open_time_us, self.on_added_candle
        if hand_on is not None:
            hand_on(candle_of(batch, self.instrument, structs.replace(ended, is_closed=True)))

    def _add(self, batch: Batch, item: Timed) -> None:
        ADD[type(item)](batch, self.instrument, item)
        if type(item) is CandleItem and self.on_added_candle is not None:
            candle = batch.records[-1]
            assert isinstance(candle, Candle)
            self.on_added_candle(candle)
            if candle.flags and self.on_inconsistent is not None:
                self.on_inconsistent(batch, candle)

    def _is_first_copy(self, batch: Batch, item: Timed | Liquidation) -> bool:
        if self.copies.is_first(_ENCODER.encode(item), batch.connection):
            return True
        batch.note_redundant(batch.connection)
        return False


def completed(item: TickerItem, before: TickerItem | None) -> TickerItem:
    """Take what a partial ticker does not tell from the one before it."""
    if before is None:
        return structs.replace(item, is_partial=False)
    fields = structs.asdict(item)
    told = {name: value for name, value in fields.items() if value is not None and (value or name not in COUNTED)}
    return structs.replace(before, **told | {"is_partial": False})
