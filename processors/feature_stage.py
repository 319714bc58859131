"""Records of one symbol, as they are added to a batch → a Signal for each second that is over."""

from collections.abc import Iterable, Sequence
from functools import partial

from processors.batch import Batch
from processors.book import Book
from processors.features.shape import BANDS_BPS, LEVELS, Shape
from processors.features.stream import Features, FeatureStream, StreamState
from schemas.records import Depth, Signal, Tick

SECOND_US = 1_000_000
_OF_BOOK = (
    *(f"book_imbalance_{count}" for count in LEVELS),
    "depth_weighted_price",
    *(f"{side}_liquidity_{band}bps" for side in ("bid", "ask") for band in BANDS_BPS),
)


class FeatureStage:
    """Adds the features of one symbol of one venue to batches.

    Args:
        symbol: canonical.
        windows_s: rising.
    """

    def __init__(self, symbol: str, windows_s: Sequence[int]) -> None:
        self._symbol = symbol
        self._windows_s = list(windows_s)
        self._stream = FeatureStream(windows_s)
        self.is_due = self._stream.is_due
        self.follow = self._stream.follow
        self.capture = self._stream.capture

    def on_trade(self, batch: Batch, tick: Tick) -> None:
        """Take in a trade that was added."""
        self._add(batch, self._stream.on_trade(tick))

    def on_quote(self, batch: Batch, tick: Tick) -> None:
        """Take in a quote that was added."""
        self._add(batch, self._stream.on_quote(tick))

    def on_depth(self, batch: Batch, depth: Depth) -> None:
        """Take in a change of the book, or the whole of it, that was added."""
        self._add(batch, self._stream.on_depth(depth))

    def on_reset(self, batch: Batch) -> None:
        """Take note that the book was given up."""
        self._add(batch, self._stream.on_reset(batch.recv_time_us))

    def on_clock(self, batch: Batch, time_us: int) -> None:
        """Add what is due at a time of the raw log."""
        self._add(batch, self._stream.on_clock(time_us))

    def finish(self, batch: Batch) -> None:
        """Add all that waits; for files that end, not for streams."""
        self._add(batch, self._stream.finish())

    def restore(self, states: Sequence[StreamState | None], book: Book, snapshot_id: int) -> None:
        """Go on from what was captured; where that is of other windows, or nothing, begin with the book as it is.

        Args:
            book: as it was at the last capture.
            snapshot_id: of it; 0 = it does not stand.
        """
        known = [state for state in states if state is not None and state.windows_s == self._windows_s]
        if states and states[-1] is not None and known and states[-1] is known[-1]:
            self._stream.restore(known, book)
        elif snapshot_id:
            self._stream.begin(book, snapshot_id)

    def _add(self, batch: Batch, rows: Iterable[Features]) -> None:
        for row in rows:
            batch.add_signal(partial(self._record, batch, row))

    def _record(self, batch: Batch, row: Features, index: int) -> Signal:
        windows = row.windows
        return Signal(
            event_time_us=batch.event_time_us,
            exchange_time_us=(row.second + 1) * SECOND_US,
            recv_time_us=batch.recv_time_us,
            venue=batch.venue,
            symbol=self._symbol,
            spread=row.spread,
            relative_spread=row.relative_spread,
            mid=row.mid,
            microprice=row.microprice,
            quote_imbalance=row.quote_imbalance,
            **_of_book(row.shape),
            windows_s=self._windows_s,
            mid_returns=windows.mid_return,
            mid_volatilities=windows.mid_volatility,
            trade_rates=windows.trade_rate,
            volumes=windows.volume,
            vwaps=windows.vwap,
            signed_volumes=windows.signed_volume,
            trade_imbalances=windows.trade_imbalance,
            order_flow_imbalances=windows.order_flow_imbalance,
            illiquidities=windows.illiquidity,
            flags=row.flags,
            source_topic=batch.topic,
            source_partition=batch.partition,
            source_offset=batch.offset,
            source_index=index,
        )


def _of_book(shape: Shape | None) -> dict[str, float]:
    if shape is None:
        return {}
    values = (*shape.imbalances, shape.weighted_price, *shape.bid_liquidity, *shape.ask_liquidity)
    return dict(zip(_OF_BOOK, values, strict=True))
