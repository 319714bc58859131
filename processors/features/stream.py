"""Trades, quotes and book of one symbol, in the order of their source ids → features of each second that is over.

A second is over once the clock of the raw log says so (`placing.py`). Rows come for each second up to `SILENT_S` after
the last one in which something came. What each value means is told in docs/features.md.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from processors.book import Book
from processors.features.book_seconds import BookSeconds, BookState, Shaped
from processors.features.formulas import LEAST, MOST, imbalance, microprice, mid, order_flow, relative_spread, spread
from processors.features.placing import Placer, is_step, last_closed
from processors.features.shape import Shape
from processors.features.windows import Second, Windowed, Windows
from schemas.records import Depth, Tick

SILENT_S: Final = 60
"""A quote or book that did not change for so many seconds is not known any more; no rows after so much silence."""

DEFAULT_WINDOWS_S: Final = (1, 10, 60, 300)
LEFT_OUT: Final = ("BACKFILL", "OFF_BOOK", "PAST")
"""Trades with these flags are no part of what happened on the book at that time."""

SHIFTED: Final = "SHIFTED"
"""Flag of a row that took in items of seconds that were over: clocks of producers differ by more than may be."""


class Quote(msgspec.Struct, frozen=True, array_like=True):
    """A best quote with both prices, uncrossed; sizes None = not both are told, or both are 0."""

    bid: float
    ask: float
    bid_size: float | None = None
    ask_size: float | None = None


class OpenSecond(msgspec.Struct, array_like=True):
    """What came so far in a second that is not over.

    Args:
        has_quote: a quote came; `quote` None = the last one cannot be used.
        has_shape: the book changed, to `shape` at the end.
        is_shifted: some of it came too late for its own second.
    """

    sums: Second = msgspec.field(default_factory=Second)
    has_quote: bool = False
    quote: Quote | None = None
    has_shape: bool = False
    shape: Shape | None = None
    is_shifted: bool = False


class Features(msgspec.Struct):
    """Features at the end of a second; None = there is no data for it.

    Args:
        second: its number since the epoch.
        windows: over each window that ends with it.
        shape: of the book.
        flags: comma-separated.
    """

    second: int
    windows: Windowed
    spread: float | None = None
    relative_spread: float | None = None
    mid: float | None = None
    microprice: float | None = None
    quote_imbalance: float | None = None
    shape: Shape | None = None
    flags: str = ""


class StreamState(msgspec.Struct, array_like=True):
    """All that is remembered, but for the book.

    Args:
        newest_us: of the placer of trades and quotes.
        next_second: to be closed; None = nothing came since there was silence.
        closed: the last one; None = none was.
        active: the last closed one in which something came.
        open: by second.
        quote: at the end of the last closed second, with the second it came in.
        flow_quote: the newest, with its second.
        shape: of the book at the end of the last closed second, with the second it changed in.
        seconds: of the windows, the newest first; in a change those alone that are new.
        windows_s: their lengths.
    """

    newest_us: int = 0
    next_second: int | None = None
    closed: int | None = None
    active: int = 0
    open: dict[int, OpenSecond] = {}
    quote: Quote | None = None
    quote_second: int = 0
    flow_quote: Quote | None = None
    flow_second: int = 0
    shape: Shape | None = None
    shape_second: int = 0
    book: BookState = msgspec.field(default_factory=BookState)
    seconds: list[Second] = []
    is_whole: bool = True
    windows_s: list[int] = []


class FeatureStream:
    """Computes the features of one symbol of one venue.

    Args:
        windows_s: lengths of the windows, rising.
    """

    def __init__(self, windows_s: Sequence[int] = DEFAULT_WINDOWS_S) -> None:
        self._windows = Windows(windows_s)
        self._placer = Placer()
        self._books = BookSeconds()
        self._state = StreamState()  # what of it belongs to the three above is filled in by `capture` alone
        self._is_new = True  # there is nothing yet that a change could build on

    def on_trade(self, tick: Tick) -> list[Features]:
        """Take in a TRADE; others, and what did not happen on the book at that time, are passed over."""
        price, size = tick.price, tick.quantity
        if tick.kind != "TRADE" or not (LEAST < price < MOST and 0 <= size < MOST) or is_left_out(tick.flags):
            return []
        done = self._notice(tick.recv_time_us)
        sums = self._opened(self._placer.second(tick.exchange_time_us, tick.recv_time_us))[1].sums
        sums.trades += 1
        sums.volume += size
        sums.notional += price * size
        if tick.side == "BUY":
            sums.bought += size
        elif tick.side == "SELL":
            sums.sold += size
        return done

    def on_quote(self, tick: Tick) -> list[Features]:
        """Take in a QUOTE; quotes follow one another as they came, whatever their times."""
        done, state = self._notice(tick.recv_time_us), self._state
        second = max(self._placer.second(tick.exchange_time_us, tick.recv_time_us), state.flow_second)
        second, opened = self._opened(second)
        quote, before = usable_quote(tick.bid, tick.ask, tick.bid_size, tick.ask_size), state.flow_quote
        if quote is not None and before is not None and second - state.flow_second < SILENT_S:
            _add_flow(opened.sums, quote, before)
        opened.has_quote, opened.quote = True, quote
        state.flow_quote, state.flow_second = quote, second
        return done

    def on_depth(self, depth: Depth) -> list[Features]:
        """Take in a snapshot or a change of the book; what changes no book is passed over."""
        if self._books.is_repeat(depth) or not self._books.is_change(depth):
            return []
        done = self._notice(depth.recv_time_us)
        self._change_book(depth.exchange_time_us, depth.recv_time_us)
        self._books.apply(depth)
        return done

    def on_reset(self, recv_time_us: int) -> list[Features]:
        """Forget the book: it was given up (BOOK_RESET)."""
        if not self._books.snapshot_id:
            return []
        done = self._notice(recv_time_us)
        self._change_book(0, recv_time_us)
        self._books.reset()
        return done

    def on_clock(self, recv_time_us: int) -> list[Features]:
        """Close what is over at this time of the raw log."""
        return self._close(last_closed(recv_time_us))

    def is_due(self, recv_time_us: int) -> bool:
        """Tell whether `on_clock` would do anything."""
        next_second = self._state.next_second
        return next_second is not None and next_second <= last_closed(recv_time_us)

    def finish(self) -> list[Features]:
        """Close every second in which something came; for files that end, not for streams."""
        return self._close(max(self._state.open, default=-1))

    def follow(self) -> None:
        """Note from now on what changes, for a `capture` that is not whole."""
        self._windows.fresh = 0
        self._is_new = False

    def capture(self, *, is_whole: bool) -> StreamState:
        """Tell all that is remembered but the book; of the windows' seconds those alone that are new, if not whole.

        It is to be encoded before anything else is taken in.
        """
        is_whole |= self._is_new
        seconds = self._windows.seconds
        count = len(seconds) if is_whole else min(self._windows.fresh, len(seconds))
        return msgspec.structs.replace(
            self._state,
            newest_us=self._placer.newest_us,
            book=self._books.capture(),
            seconds=list(islice(seconds, count)),
            is_whole=is_whole,
            windows_s=list(self._windows.lengths_s),
        )

    def begin(self, book: Book, snapshot_id: int) -> None:
        """Begin with a book that stands, of which nothing is known but what it is; it is copied."""
        self._books.restore(BookState(snapshot_id=snapshot_id), book)

    def restore(self, states: Sequence[StreamState], book: Book) -> None:
        """Put back what was captured: one whole, and the changes after it in order.

        Args:
            book: as it was at the last capture; it is copied.
        """
        first = max((number for number, state in enumerate(states) if state.is_whole), default=0)
        for state in states[first:]:
            for second in reversed(state.seconds):
                self._windows.push(second)
        self.follow()
        self._state = state = states[-1]
        self._placer.newest_us = state.newest_us
        self._books.restore(state.book, book)
        state.seconds = []

    def _notice(self, recv_time_us: int) -> list[Features]:
        """Take note of when an item was read, before it is placed: what is over by then is closed."""
        if is_step(max(self._placer.newest_us, self._books.placer.newest_us), recv_time_us):
            done = self.finish()
            self._windows, self._placer, self._state = Windows(self._windows.lengths_s), Placer(), StreamState()
            self._books.begin_anew()
            self._is_new = True
            return done
        return self.on_clock(recv_time_us) if self.is_due(recv_time_us) else []

    def _opened(self, second: int) -> tuple[int, OpenSecond]:
        """Find the second that an item is placed in; one that is over gives way to the next."""
        state = self._state
        is_shifted = state.closed is not None and second <= state.closed
        if state.closed is not None and is_shifted:
            second = state.closed + 1
        opened = state.open.get(second)
        if opened is None:
            opened = state.open[second] = OpenSecond()
            if state.next_second is None or second < state.next_second:
                state.next_second = second
        opened.is_shifted |= is_shifted
        return second, opened

    def _change_book(self, exchange_time_us: int, recv_time_us: int) -> None:
        """Place a change of the book that is about to be applied, and keep the shape from before."""
        state = self._state
        first_open = 0 if state.closed is None else state.closed + 1
        second, before = self._books.place(exchange_time_us, recv_time_us, first_open)
        if before is not None:
            self._keep_shape(before)
        self._opened(second)

    def _keep_shape(self, shaped: Shaped) -> None:
        opened = self._state.open.get(shaped.second)
        if opened is not None:
            opened.has_shape, opened.shape = True, shaped.shape

    def _close(self, last: int) -> list[Features]:
        """Close all seconds up to one; those of a long silence are passed over."""
        state, done = self._state, []
        while state.next_second is not None and state.next_second <= last:
            second = state.next_second
            if second not in state.open and second - state.active >= SILENT_S:
                state.next_second = min(state.open, default=None)
                continue
            done.append(self._end(second))
            state.next_second = second + 1
        return done

    def _end(self, second: int) -> Features:
        """Close one second."""
        state = self._state
        if self._books.second <= second and (shaped := self._books.told()) is not None:
            self._keep_shape(shaped)
        opened = state.open.pop(second, None)
        if opened is not None:
            state.active = second
            if opened.has_quote:
                state.quote, state.quote_second = opened.quote, second
            if opened.has_shape:
                state.shape, state.shape_second = opened.shape, second
        row = self._row(second, opened.sums if opened is not None else Second())
        if opened is not None and opened.is_shifted:
            row.flags = SHIFTED
        state.closed = second
        return row

    def _row(self, second: int, sums: Second) -> Features:
        state, windows = self._state, self._windows
        shape = state.shape if second - state.shape_second < SILENT_S else None
        quote = state.quote if second - state.quote_second < SILENT_S else _quote_of(shape)
        if quote is not None:
            sums.mid = mid(quote.bid, quote.ask)
        if state.closed is not None:
            windows.skip(second - state.closed - 1)
        windows.push(sums)
        row = Features(second, windows.features(), shape=shape)
        if quote is not None:
            row.mid, row.spread = sums.mid, spread(quote.bid, quote.ask)
            row.relative_spread = relative_spread(quote.bid, quote.ask)
            if quote.bid_size is not None and quote.ask_size is not None:
                row.microprice = microprice(quote.bid, quote.bid_size, quote.ask, quote.ask_size)
                row.quote_imbalance = imbalance(quote.bid_size, quote.ask_size)
        return row


def usable_quote(bid: float | None, ask: float | None, bid_size: float | None, ask_size: float | None) -> Quote | None:
    """Make a quote; None where a price is missing, or bid and ask cross or are the same.

    >>> usable_quote(99.0, 101.0, 2.0, None)
    Quote(bid=99.0, ask=101.0, bid_size=None, ask_size=None)
    """
    if bid is None or ask is None or not LEAST < bid < ask < MOST:
        return None
    if bid_size is None or ask_size is None or not (0 <= bid_size < MOST and 0 <= ask_size < MOST):
        return Quote(bid, ask)
    return Quote(bid, ask, bid_size, ask_size) if bid_size or ask_size else Quote(bid, ask)


def is_left_out(flags: str) -> bool:
    """Tell whether trades with these flags are no part of any feature."""
    return bool(flags) and any(flag in LEFT_OUT for flag in flags.split(","))


def _quote_of(shape: Shape | None) -> Quote | None:
    """Take the best levels of the book for the quote, where the venue tells none."""
    return None if shape is None else Quote(shape.bid, shape.ask, shape.bid_size, shape.ask_size)


def _add_flow(sums: Second, quote: Quote, before: Quote) -> None:
    """Add what a change of the best quote means for the order flow, where sizes are told."""
    if quote.bid_size is None or quote.ask_size is None or before.bid_size is None or before.ask_size is None:
        return
    bid, ask = (quote.bid, quote.bid_size), (quote.ask, quote.ask_size)
    sums.flow += order_flow(bid, ask, (before.bid, before.bid_size), (before.ask, before.ask_size))
    sums.changes += 1
