"""The stage of one symbol that turns its trades into bars; see `bars.py`, which knows nothing of records."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from processors.bars import Bars, BarsPiece, Told
from processors.batch import Batch
from processors.candle_check import CandleCheck, VenueCandle
from processors.flags import INCONSISTENT, join_flags
from processors.ohlc import contradiction
from processors.watermark import Watermark
from schemas.records import Bar, Candle, Instrument, Tick


class BarStage:
    """Adds `Bar` records to batches: ticks in, records out when the watermark moves, state as structs.

    Args:
        watermark: of the partition.
        trades_are_counted: ids of its trades rise by one, so that a hole is a loss; else they only tell trades apart.
        awaited_us: tells from when on trades are missing that may still come; 0 = none are.
    """

    def __init__(
        self, instrument: Instrument, watermark: Watermark, *, trades_are_counted: bool, awaited_us: Callable[[], int]
    ) -> None:
        self.instrument = instrument
        self._watermark = watermark
        self._bars = Bars(watermark, ids_are_counted=trades_are_counted, awaited_us=awaited_us)
        self.check = CandleCheck()
        self.on_hole = self._bars.on_hole
        self.on_loss = self._bars.on_loss
        self.count_ids = self._bars.count_ids
        self.on_unwatched = self._bars.on_unwatched
        self.follow = self._bars.follow

    def on_trade(self, tick: Tick, order: int) -> bool:
        """Take in a TRADE; `order` rises among the trades of one exchange time. False = too late for its bars."""
        return self._bars.add(tick, order)

    @property
    def lost_from_us(self) -> int:
        """Time of the newest trade, while nobody brings the next ones; 0 = somebody does."""
        return self._bars.lost_from_us

    def on_candle(self, candle: Candle) -> None:
        """Take in the venue's own candle; one that is closed is compared with the bar of its time."""
        if candle.is_closed:
            self.check.add(self._compared(candle))

    def on_corrected_candle(self, candle: Candle) -> None:
        """Take in a closed candle once more, with other figures."""
        self.check.correct(self._compared(candle))

    def _compared(self, candle: Candle) -> VenueCandle:
        is_exact = not self.instrument.is_inverse  # else base volumes are those at some price
        volume = candle.volume if is_exact else None
        place, prices = (candle.interval, candle.open_time_us), (candle.open, candle.high, candle.low, candle.close)
        return VenueCandle(*place, *prices, volume, candle.trade_count)

    def is_due(self) -> bool:
        """Tell whether `on_clock` may do anything at the watermark."""
        return self._bars.is_due() or bool(self.check.waiting)

    def on_clock(self, batch: Batch) -> None:
        """Add the bars that the watermark is past, revisions of those before, and where the venue's candles differ."""
        if self._bars.is_due():
            self._add(batch, self._bars.close())
        self._compare(batch, self._watermark.edge_us)

    def _compare(self, batch: Batch, edge_us: int) -> None:
        for interval, count, detail in self.check.compare(self._bars.find, edge_us):
            symbol, market = self.instrument.symbol, self.instrument.market
            batch.event("BAR_DIFFERS", symbol, market=market, channel=f"candle_{interval}", count=count, detail=detail)

    def finish(self, batch: Batch) -> None:
        """Add all bars, whole or not; for files that end, not for streams."""
        self._add(batch, self._bars.finish())
        self._compare(batch, self._watermark.clock_us)

    def capture(self, *, is_whole: bool) -> BarsPiece:
        """Tell all that is needed to go on elsewhere, or what changed since `follow`."""
        return self._bars.capture(is_whole=is_whole)

    def restore(self, pieces: Sequence[BarsPiece]) -> None:
        """Go on from a whole capture and the changes behind it, in order."""
        self._bars.restore(pieces)

    def _add(self, batch: Batch, revisions: Iterable[Told]) -> None:
        for told in revisions:
            why = contradiction(told)
            if why:
                symbol, market, channel = self.instrument.symbol, self.instrument.market, f"bar_{told.interval}"
                batch.event(INCONSISTENT, symbol, market=market, channel=channel, detail=f"{told.open_time_us}: {why}")
            flags = join_flags(told.flags, INCONSISTENT) if why else told.flags
            batch.add_bar(partial(self._record, batch, told, flags))

    def _record(self, batch: Batch, told: Told, flags: str, index: int) -> Bar:
        return Bar(
            event_time_us=batch.event_time_us,
            venue=batch.venue,
            symbol=self.instrument.symbol,
            asset_class=self.instrument.asset_class,
            interval=told.interval,
            open_time_us=told.open_time_us,
            open=told.open,
            high=told.high,
            low=told.low,
            close=told.close,
            volume=told.volume,
            quote_volume=told.quote_volume,
            buy_volume=told.buy_volume,
            vwap=told.vwap,
            trade_count=told.trade_count,
            first_trade_id=told.first_trade_id,
            last_trade_id=told.last_trade_id,
            revision=told.revision,
            flags=flags,
            source_topic=batch.topic,
            source_partition=batch.partition,
            source_offset=batch.offset,
            source_index=index,
        )
