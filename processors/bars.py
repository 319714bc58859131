"""Trades of one symbol → bars of 1m, 5m, 15m, 1h, 4h, 1d, each as revisions: pure, and exact in any order of trades.

A trade belongs to the minute of its exchange time (of the time it was taken in, where the venue tells none, or one far
ahead). Off-book trades make no bars. A minute is told once the watermark is past its end, and again, as the next
revision, when a trade comes late. Longer bars are made from the minutes as they were told: their sums are the exact
sums of the minutes' figures, rounded once. All else is in docs/bars.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from processors.exact import Expansion, rounded, total
from processors.flags import CLOCK_STEP, OFF_BOOK, OUTLIER, join_flags
from processors.watermark import MINUTE_US, Unwatched, Watermark
from schemas.records import Tick

MINUTE: Final = "1m"
LONGER: Final[Mapping[str, int]] = {
    "5m": 5 * MINUTE_US,
    "15m": 15 * MINUTE_US,
    "1h": 60 * MINUTE_US,
    "4h": 240 * MINUTE_US,
    "1d": 1440 * MINUTE_US,
}
LONGEST_US: Final = LONGER["1d"]
LENGTHS_US: Final[Mapping[str, int]] = {MINUTE: MINUTE_US, **LONGER}
RETAINED_US: Final = 3600_000_000
"""Trades that come later than this change no bar any more, unless they were awaited."""
HELD_US: Final = 6 * 3600_000_000
"""So long minutes are kept for trades that are missing and still asked for."""
SILENT_US: Final = 24 * 3600_000_000
"""A symbol that did not trade for so long gets no more empty bars, until it trades again."""
MOST_GAPS: Final = 32
MOST_BUFFERED: Final = 256

EMPTY: Final = "EMPTY"
GAP: Final = "GAP"
PARTIAL: Final = "PARTIAL"

IS_OUTLIER, IS_GAP, IS_SIDELESS, IS_CUT = 1, 2, 4, 8
UNTOLD: Final = -1
UNSEEN: Final = -1


class Span(msgspec.Struct, array_like=True, gc=False):
    """What is known of a minute, or of a longer time."""

    open_time_us: int
    trade_count: int = 0
    first: tuple[int, int] = (0, 0)  # time and order of the first trade
    last: tuple[int, int] = (0, 0)
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    first_id: str = ""
    last_id: str = ""
    volume: Expansion = ()
    quote_volume: Expansion = ()
    buy_volume: Expansion = ()
    marks: int = 0  # IS_OUTLIER and the like
    revision: int = UNTOLD  # the newest that was told
    is_due: bool = False  # changed since, or late
    told: tuple[int, float, float, float] = (0, 0.0, 0.0, 0.0)  # count and sums that the longer ones have of it


class Gap(msgspec.Struct, array_like=True, gc=False):
    """A time in which trades are missing; `missing` of those from id `first` to `last`.

    0 = it is not known which; UNSEEN = nobody captured.
    """

    from_us: int
    to_us: int
    first: int = 0
    last: int = 0
    missing: int = 0


class BarsPiece(msgspec.Struct, array_like=True):
    """State of `Bars`; in a change, `spans` are those that changed."""

    since_us: int = 0
    newest_us: int = 0
    newest_order: int = 0
    edge_us: int = 0
    kept_us: int = 0
    lost_us: int = 0
    carried: float = 0.0
    gaps: list[Gap] = []
    spans: dict[str, list[Span]] = {}
    is_due: bool | None = None  # None = a program wrote it that told that by the spans alone


class Told(NamedTuple):
    """A revision of a bar; `vwap` None = there was no volume, `buy_volume` None = the venue does not tell sides."""

    interval: str
    open_time_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    buy_volume: float | None
    vwap: float | None
    trade_count: int
    first_trade_id: str
    last_trade_id: str
    revision: int
    flags: str


class Bars:
    """The bars of one symbol.

    Trades may come in any order: it changes when revisions are told, never what the last one says of trades.

    Args:
        watermark: of the partition.
        ids_are_counted: a hole in the ids is told by `on_hole`, so that none means that nothing was lost.
        awaited_us: tells from when on trades are missing that may still come; 0 = none are.
    """

    def __init__(
        self, watermark: Watermark, *, ids_are_counted: bool = True, awaited_us: Callable[[], int] = int
    ) -> None:
        self._watermark = watermark
        self._awaited_us = awaited_us
        self._are_counted = ids_are_counted
        self._since_us = 0  # minute in which capture of the symbol's trades began; 0 = there was none yet
        self._newest_us = 0  # time of the newest trade
        self._newest_order = 0  # of all trades
        self._edge_us = 0  # minutes before are told
        self._kept_us = 0  # what ends before is forgotten
        self._lost_us = 0  # since when nobody brings the trades; 0 = somebody does
        self._carried = 0.0  # close of the last minute that is forgotten
        self._gaps: list[Gap] = []
        self._spans: dict[str, dict[int, Span]] = {name: {} for name in LENGTHS_US}
        self._minutes = self._spans[MINUTE]
        self._changed: set[tuple[str, int]] = set()
        self._hole: tuple[int, int] | None = None  # ids left out before the trade that comes next
        self._is_due = False
        self._hot: Span | None = None  # minute of the last trade; its sums wait in these lists
        self._hot_end_us = 0
        self._hot_edge_us = 0  # of the watermark, when it was found
        self._is_late = False
        self._sizes: list[float] = []
        self._quotes: list[float] = []
        self._buys: list[float] = []

    def add(self, tick: Tick, order: int) -> bool:
        """Take in a TRADE; `order` rises among trades of one time. False = it came too late for its bars."""
        time_us = tick.exchange_time_us
        if tick.flags or not time_us:
            time_us = bar_time_us(tick)
        if order <= self._newest_order or self._hole is not None or self._lost_us:
            self._settle(time_us, order)
        else:
            self._newest_order = order
        if tick.flags and OFF_BOOK in tick.flags:
            return True
        hot = self._hot
        if (
            hot is None
            or not hot.open_time_us <= time_us < self._hot_end_us
            or self._hot_edge_us != self._watermark.edge_us
        ):
            hot = self._heat(time_us, tick.recv_time_us)
            if hot is None:
                return False
        self._put(hot, tick, (time_us, order))
        return True

    def on_hole(self, first: int, last: int) -> None:
        """Note that ids first to last were left out before the trade that comes next; they may come later."""
        self._hole = first, last

    def on_loss(self, time_us: int) -> None:
        """Note that nobody brings the trades from now on; the next one tells whether some are missing."""
        if self._since_us and not self._lost_us:
            self._lost_us = time_us

    @property
    def lost_from_us(self) -> int:
        """Time of the newest trade, while nobody brings the next ones; 0 = somebody does."""
        return self._newest_us if self._lost_us else 0

    def count_ids(self, *, are_counted: bool) -> None:
        """Tell from now on what is missing by the ids of trades, or no longer."""
        self._are_counted = are_counted

    def on_unwatched(self, unwatched: Unwatched) -> None:
        """Note that nobody captured: the minutes in between get no bars, for want of anything to tell.

        Where that is revoked, somebody did: only a clock was wrong, and what it had told early is told again.
        """
        if not self._since_us:
            return
        self._flush()
        self._hot = None
        self._is_due = True
        if unwatched.is_revoked:
            self._revoke(unwatched)
            return
        self._add_gap(Gap(unwatched.from_us, unwatched.to_us, missing=UNSEEN))
        self._fill(_minute(unwatched.from_us) + MINUTE_US)
        self._edge_us = max(self._edge_us, _minute(unwatched.to_us))

    def is_due(self) -> bool:
        """Tell whether `close` may tell anything."""
        if self._is_due:
            return True
        edge_us = self._watermark.edge_us
        if edge_us <= self._edge_us:
            return False
        return bool(self._since_us) and self._edge_us <= self._newest_us + SILENT_US + LONGEST_US + MINUTE_US

    def close(self) -> Iterator[Told]:
        """Tell all that the watermark is past, in order of length and time; forget what is past changing."""
        edge_us = self._watermark.edge_us
        self._flush()
        self._hot = None
        self._fill(edge_us)
        self._edge_us = max(self._edge_us, edge_us)
        self._is_due = False
        yield from self._tell(edge_us)
        self._forget(self._oldest_us())

    def find(self, interval: str, open_time_us: int) -> Told | None:
        """Find the newest revision of a bar; None = none was told, or it is past changing."""
        span = self._spans[interval].get(open_time_us)
        return None if span is None or span.revision == UNTOLD else self._figures(interval, span)

    def finish(self) -> Iterator[Told]:
        """Tell all, whole or not; for files that end, not for streams."""
        self._flush()
        self._hot = None
        until_us = max(self._newest_us, self._watermark.clock_us)
        for name, length_us in LENGTHS_US.items():
            for span in self._spans[name].values():
                if span.revision == UNTOLD and span.open_time_us + length_us > until_us:
                    span.marks |= IS_CUT
        yield from self._tell(2**62)

    def follow(self) -> None:
        """Note from now on what changes."""
        self._changed.clear()
        self._flush()
        self._hot = None

    def capture(self, *, is_whole: bool) -> BarsPiece:
        """Tell all that is needed to go on elsewhere, or what changed since `follow`."""
        self._flush()
        spans = self._whole_spans() if is_whole else self._changed_spans()
        return BarsPiece(
            self._since_us,
            self._newest_us,
            self._newest_order,
            self._edge_us,
            self._kept_us,
            self._lost_us,
            self._carried,
            self._gaps,
            spans,
            self._is_due,
        )

    def restore(self, pieces: Sequence[BarsPiece]) -> None:
        """Go on from a whole capture and the changes behind it, in order."""
        if not pieces:
            return
        last = pieces[-1]
        self._since_us, self._newest_us, self._newest_order = last.since_us, last.newest_us, last.newest_order
        self._edge_us = last.edge_us
        self._lost_us, self._carried, self._gaps = last.lost_us, last.carried, last.gaps
        for name, spans in chain.from_iterable(piece.spans.items() for piece in pieces):
            self._spans[name].update({span.open_time_us: span for span in spans})
        self._forget(last.kept_us)
        self._carried = last.carried
        self._is_due = bool(last.is_due)
        if last.is_due is None:
            self._is_due = any(span.is_due for each in self._spans.values() for span in each.values())

    def _whole_spans(self) -> dict[str, list[Span]]:
        return {name: [each[at_us] for at_us in sorted(each)] for name, each in self._spans.items() if each}

    def _changed_spans(self) -> dict[str, list[Span]]:
        """List what changed since `follow` and is not forgotten: few of the many that are kept."""
        found: dict[str, list[Span]] = {}
        for name, at_us in sorted(self._changed):
            span = self._spans[name].get(at_us)
            if span is not None:
                found.setdefault(name, []).append(span)
        return found

    def _heat(self, time_us: int, recv_time_us: int) -> Span | None:
        """Find or make the minute of a trade; None = it is past changing."""
        self._flush()
        self._hot = None
        minute_us, edge_us = _minute(time_us), self._watermark.edge_us
        if self._is_past(minute_us):
            return None
        if not self._since_us:
            self._since_us = max(minute_us, _minute(self._watermark.from_recv(recv_time_us)))
            self._edge_us = max(edge_us, self._since_us)
        elif minute_us > self._newest_us + SILENT_US:  # the silence before it is not told
            self._edge_us = max(self._edge_us, minute_us)
        elif 0 < edge_us <= minute_us < self._edge_us:  # the clock was set back
            self._edge_us = minute_us
        self._is_late = minute_us < edge_us
        self._hot = self._span(MINUTE, minute_us)
        if self._hot.revision != UNTOLD:  # it is told again, when it is over once more if the clock was set back
            self._hot.is_due = True
        self._hot_end_us, self._hot_edge_us = minute_us + MINUTE_US, edge_us
        return self._hot

    def _is_past(self, minute_us: int) -> bool:
        """Tell whether a minute is past changing."""
        if minute_us >= self._watermark.settled_us - RETAINED_US:
            return minute_us < self._kept_us
        return minute_us < max(self._kept_us, self._oldest_us())

    def _oldest_us(self) -> int:
        """Tell before when minutes are past changing: an hour ago, or six at most where trades are awaited."""
        settled_us, awaited_us = self._watermark.settled_us, self._awaited_us()
        usual_us = settled_us - RETAINED_US
        return min(usual_us, max(_minute(awaited_us), settled_us - HELD_US)) if awaited_us else usual_us

    def _put(self, hot: Span, tick: Tick, moment: tuple[int, int]) -> None:
        if hot.trade_count:
            _extend(hot, tick, moment)
        else:
            hot.open = hot.high = hot.low = hot.close = tick.price
            hot.first = hot.last = moment
            hot.first_id = hot.last_id = tick.trade_id
        hot.trade_count += 1
        self._newest_us = max(self._newest_us, moment[0])
        self._sizes.append(tick.quantity)
        self._quotes.append(tick.price * tick.quantity)
        if tick.side == "BUY":
            self._buys.append(tick.quantity)
        elif tick.side != "SELL":
            hot.marks |= IS_SIDELESS
        if tick.flags and OUTLIER in tick.flags:
            hot.marks |= IS_OUTLIER
        if self._is_late:
            hot.is_due = self._is_due = True
        if len(self._sizes) >= MOST_BUFFERED:
            self._flush()

    def _flush(self) -> None:
        hot = self._hot
        if hot is None or not self._sizes:
            return
        hot.volume = total([*hot.volume, *self._sizes])
        hot.quote_volume = total([*hot.quote_volume, *self._quotes])
        hot.buy_volume = total([*hot.buy_volume, *self._buys])
        self._sizes.clear()
        self._quotes.clear()
        self._buys.clear()

    def _span(self, name: str, open_time_us: int) -> Span:
        self._changed.add((name, open_time_us))
        spans = self._spans[name]
        span = spans.get(open_time_us)
        if span is None:
            span = spans[open_time_us] = Span(open_time_us)
        return span

    def _settle(self, time_us: int, order: int) -> None:
        """Tell from a trade what is missing before it, or is not missing any more."""
        if self._hole is not None:
            first, last = self._hole
            from_us = min(self._newest_us or time_us, time_us)
            self._add_gap(Gap(from_us, max(time_us, self._newest_us), first, last, last - first + 1))
            self._hole = None
        elif order <= self._newest_order and not self._is_past(_minute(time_us)):
            self._fill_gap(order)
        if self._lost_us:
            if self._are_counted:
                self._doubt(self._lost_us)
            else:
                self._add_gap(Gap(self._lost_us, max(self._lost_us, time_us)))
            self._lost_us = 0
        self._newest_order = max(self._newest_order, order)

    def _fill_gap(self, order: int) -> None:
        for number, gap in enumerate(self._gaps):
            if gap.missing > 0 and gap.first <= order <= gap.last:
                gap.missing -= 1
                if not gap.missing:
                    del self._gaps[number]
                    self._doubt(gap.from_us, gap.to_us)
                return

    def _add_gap(self, gap: Gap) -> None:
        self._gaps.append(gap)
        self._doubt(gap.from_us, gap.to_us)
        while len(self._gaps) > MOST_GAPS:
            self._keep_mark(self._gaps.pop(0))

    def _revoke(self, unwatched: Unwatched) -> None:
        """Lift the gaps of a time in which somebody captured after all, and go on from its start."""
        from_us, to_us = unwatched.from_us, unwatched.to_us
        lifted = [gap for gap in self._gaps if gap.missing == UNSEEN and from_us <= gap.from_us and gap.to_us <= to_us]
        for gap in lifted:
            self._gaps.remove(gap)
            self._doubt(gap.from_us, gap.to_us)
        self._edge_us = min(self._edge_us, _minute(from_us))

    def _doubt(self, from_us: int, to_us: int = 2**62) -> None:
        """Let what was told of a time be told again, since its gaps have changed."""
        for name, length_us in LENGTHS_US.items():
            for span in self._spans[name].values():
                if span.revision != UNTOLD and span.open_time_us <= to_us and from_us < span.open_time_us + length_us:
                    span.is_due = self._is_due = True
                    self._changed.add((name, span.open_time_us))

    def _keep_mark(self, gap: Gap) -> None:
        """Forget a gap, but not what it has touched."""
        for name, length_us in LENGTHS_US.items():
            for span in self._spans[name].values():
                if span.open_time_us <= gap.to_us and gap.from_us < span.open_time_us + length_us:
                    span.marks |= IS_GAP
                    self._changed.add((name, span.open_time_us))

    def _fill(self, edge_us: int) -> None:
        """Make the empty minutes up to an edge, while the symbol is traded at all."""
        if not self._since_us:
            return
        last_us = min(edge_us, _minute(self._newest_us) + SILENT_US + MINUTE_US)
        for minute_us in range(self._edge_us, last_us, MINUTE_US):
            if minute_us not in self._minutes:
                self._span(MINUTE, minute_us)

    def _tell(self, edge_us: int) -> Iterator[Told]:
        close = self._carried
        for minute_us in sorted(self._minutes):
            if minute_us >= edge_us:
                break
            span = self._minutes[minute_us]
            if not span.trade_count and span.close != close:
                span.open = span.high = span.low = span.close = close
                span.is_due = True
            close = span.close
            if span.is_due or span.revision == UNTOLD:
                yield self._told(MINUTE, span)
                self._merge(span)
        for name, length_us in LONGER.items():
            spans = self._spans[name]
            for time_us in sorted(spans):
                span = spans[time_us]
                if time_us + length_us <= edge_us and (span.is_due or span.revision == UNTOLD):
                    yield self._told(name, span)

    def _told(self, name: str, span: Span) -> Told:
        span.revision += 1
        span.is_due = False
        self._changed.add((name, span.open_time_us))
        return self._figures(name, span)

    def _figures(self, name: str, span: Span) -> Told:
        count, volume, quotes = span.trade_count, rounded(span.volume), rounded(span.quote_volume)
        return Told(
            interval=name,
            open_time_us=span.open_time_us,
            open=span.open,
            high=span.high,
            low=span.low,
            close=span.close,
            volume=volume,
            quote_volume=quotes,
            buy_volume=None if span.marks & IS_SIDELESS else rounded(span.buy_volume),
            vwap=min(max(quotes / volume, span.low), span.high) if volume else None,
            trade_count=count,
            first_trade_id=span.first_id,
            last_trade_id=span.last_id,
            revision=span.revision,
            flags=self._flags(span, LENGTHS_US[name]),
        )

    def _flags(self, span: Span, length_us: int) -> str:
        start_us, end_us = span.open_time_us, span.open_time_us + length_us
        is_lost = 0 < self._lost_us < end_us
        is_gap = is_lost or any(start_us <= gap.to_us and gap.from_us < end_us for gap in self._gaps)
        return join_flags(
            "" if span.trade_count else EMPTY,
            GAP if is_gap or span.marks & IS_GAP else "",
            OUTLIER if span.marks & IS_OUTLIER else "",
            PARTIAL if start_us <= self._since_us or span.marks & IS_CUT else "",
        )

    def _merge(self, minute: Span) -> None:
        """Put what a minute has now, instead of what it had when it was told before, into the longer spans."""
        volume, quotes, buys = rounded(minute.volume), rounded(minute.quote_volume), rounded(minute.buy_volume)
        count, old_volume, old_quotes, old_buys = minute.told
        minute.told = minute.trade_count, volume, quotes, buys
        for name, length_us in LONGER.items():
            span = self._span(name, minute.open_time_us // length_us * length_us)
            span.is_due = span.revision != UNTOLD
            span.marks |= minute.marks
            if not minute.trade_count:
                if not span.trade_count:
                    span.open = span.high = span.low = span.close = minute.close
                continue
            if not span.trade_count:
                span.first, span.open, span.first_id = minute.first, minute.open, minute.first_id
                span.last, span.close, span.last_id = minute.last, minute.close, minute.last_id
                span.high, span.low = minute.high, minute.low
            else:
                _join(span, minute)
            span.trade_count += minute.trade_count - count
            span.volume = total([*span.volume, volume, -old_volume])
            span.quote_volume = total([*span.quote_volume, quotes, -old_quotes])
            span.buy_volume = total([*span.buy_volume, buys, -old_buys])

    def _forget(self, before_us: int) -> None:
        """Forget what is past changing: spans and gaps that end before."""
        before_us = self._kept_us = max(self._kept_us, before_us)  # a clock that is set back brings nothing back
        for minute_us in sorted(self._minutes):
            if minute_us >= before_us:
                break
            self._carried = self._minutes.pop(minute_us).close
        while self._gaps and self._gaps[0].to_us < before_us:
            self._keep_mark(self._gaps.pop(0))
        for name, length_us in LONGER.items():
            spans = self._spans[name]
            for time_us in [each for each in spans if each + length_us <= before_us]:
                del spans[time_us]


def bar_time_us(tick: Tick) -> int:
    """Tell the time by which a trade belongs to its bars: when it was taken in, where the venue's time cannot serve."""
    return tick.event_time_us if not tick.exchange_time_us or CLOCK_STEP in tick.flags else tick.exchange_time_us


def late_bars(tick: Tick) -> str:
    """Name the bars that a trade came too late for: those of an hour, so that a page of them is few events."""
    hour = datetime.fromtimestamp(bar_time_us(tick) // LONGER["1h"] * 3600, UTC)
    return f"not in the bars of {hour:%Y-%m-%dT%H:00Z}: docs/bars.md says how to make them anew"


def _extend(span: Span, tick: Tick, moment: tuple[int, int]) -> None:
    price = tick.price
    if price > span.high:
        span.high = price
    elif price < span.low:
        span.low = price
    if moment > span.last:
        span.last, span.close, span.last_id = moment, price, tick.trade_id
    elif moment < span.first:
        span.first, span.open, span.first_id = moment, price, tick.trade_id


def _join(span: Span, minute: Span) -> None:
    """Put first, last, highest and lowest of a minute into a longer span; a minute's only ever move outwards."""
    if minute.first <= span.first:
        span.first, span.open, span.first_id = minute.first, minute.open, minute.first_id
    if minute.last >= span.last:
        span.last, span.close, span.last_id = minute.last, minute.close, minute.last_id
    span.high = max(span.high, minute.high)
    span.low = min(span.low, minute.low)


def _minute(time_us: int) -> int:
    return time_us - time_us % MINUTE_US
