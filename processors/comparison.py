"""Ticks of all venues of one partition of `cleaned.tick`, in the order of the log → DIVERGENCE for each minute; pure.

The second stage: what it reads is a log too, so the same log gives the same events, with the same ids. A second is
judged once the time of the ticks is past it, a minute is told once it is over. What a minute says depends on no more
than `lookback_s` before it, so whoever goes on from a `Resume` tells the minutes that follow, and no other.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from processors.divergence import LEAST_VENUES, Band, Verdict, compare
from processors.flags import BACKFILL
from processors.watermark import UNWATCHED_US, Watermark
from schemas.records import QualityEvent, Tick

KIND: Final = "DIVERGENCE"
CHANNEL: Final = "quote"
MINUTE_S: Final = 60
US: Final = 1_000_000


class Resume(NamedTuple):
    """Where another may go on: with the tick at an offset, telling nothing at ticks up to another one."""

    offset: int
    told_offset: int


Pair = tuple[str, str]
"""Symbol and venue."""


@dataclass
class Told:
    """What a minute has to tell of a venue; the worst deviation with its sign, band and venues as of then."""

    seconds: int = 0
    worst_bps: float = 0.0
    band_bps: float = 0.0
    venues: int = 0


class Comparison:
    """Follows the pairs of one partition.

    Args:
        topic: `cleaned.tick` with its life: source of what is told.
        band: what counts as apart.
        told_offset: nothing is told at ticks up to this one.
    """

    def __init__(self, topic: str, partition: int, band: Band, told_offset: int = -1) -> None:
        self.resume: Resume | None = None  # as of the last minute that ended; None = from the first tick
        self._told_offset = told_offset
        self._topic, self._partition, self._band = topic, partition, band
        self._time = Watermark()  # of ticks: one that is far off moves nothing
        self._begin(0)

    @property
    def lookback_s(self) -> int:
        """How many seconds before a minute it depends on."""
        return self._band.fresh_s + self._band.patience_s + 1

    def take(self, offset: int, tick: Tick) -> list[QualityEvent]:
        """Take in the tick at an offset; returns what is told of the minute that it ends, empty = of none."""
        if BACKFILL not in tick.flags:  # those of a page lie at the exchange's times, long ago
            self._time.hear(tick.event_time_us)
        second = self._time.clock_us // US
        if second < self._second or not self._second:  # a clock was set back, or this is the first
            self._begin(second)
            self._starts.append((second, offset))
        events = self._advance(second, offset, tick) if second > self._second else []
        is_now = abs(tick.event_time_us - self._time.clock_us) <= UNWATCHED_US  # not of a venue that catches up
        if tick.kind == "QUOTE" and tick.bid and tick.ask and is_now:
            self._mids.setdefault(tick.symbol, {})[tick.venue] = second, (tick.bid + tick.ask) / 2
        return events

    def _begin(self, second: int) -> None:
        self._since = self._second = second
        self._minute = second // MINUTE_S
        self._mids: dict[str, dict[str, tuple[int, float]]] = {}  # symbol → venue → second of its last quote, mid
        self._runs: dict[Pair, int] = {}  # seconds in a row that a venue is outside, as far as they count
        self._told: dict[Pair, Told] = {}
        self._starts: deque[tuple[int, int]] = deque()  # seconds, and the offsets of the ticks that began them

    def _advance(self, second: int, offset: int, tick: Tick) -> list[QualityEvent]:
        """Judge what is over; after a long silence no quote is fresh any more."""
        events: list[QualityEvent] = []
        for each in range(self._second, min(second, self._second + self._band.fresh_s + 1)):
            events += self._turn(each // MINUTE_S, tick, offset, len(events))
            self._judge(each)
        if second > self._second + self._band.fresh_s + 1:
            self._runs.clear()
        events += self._turn(second // MINUTE_S, tick, offset, len(events))
        self._second = second
        self._starts.append((second, offset))
        return events

    def _judge(self, second: int) -> None:
        runs, self._runs = self._runs, {}
        oldest, patience_s = second - self._band.fresh_s, self._band.patience_s
        for symbol, mids in self._mids.items():
            if len(mids) < LEAST_VENUES:
                continue
            verdict = compare({venue: mid for venue, (at, mid) in sorted(mids.items()) if at >= oldest}, self._band)
            if verdict is None:
                continue
            for venue in verdict.outside:
                before = runs.get((symbol, venue), 0)
                self._runs[symbol, venue] = min(before, patience_s) + 1  # what is more tells nothing more
                if before + 1 == patience_s:  # now those before it count as well, as far as they are of this minute
                    self._note((symbol, venue), verdict, min(patience_s, second % MINUTE_S + 1))
                elif before >= patience_s:
                    self._note((symbol, venue), verdict, 1)

    def _note(self, pair: Pair, verdict: Verdict, seconds: int) -> None:
        told, bps = self._told.setdefault(pair, Told()), verdict.deviation_bps[pair[1]]
        told.seconds += seconds
        if abs(bps) > abs(told.worst_bps):
            told.worst_bps, told.band_bps, told.venues = bps, verdict.band_bps, len(verdict.deviation_bps)

    def _turn(self, minute: int, tick: Tick, offset: int, index: int) -> list[QualityEvent]:
        """Tell the minute before, if another one begins; nothing of one of which not all is known."""
        if minute == self._minute:
            return []
        start_s, told = self._minute * MINUTE_S, self._told
        self._minute, self._told = minute, {}
        lookback_s = minute * MINUTE_S - self.lookback_s
        while len(self._starts) > 1 and self._starts[1][0] <= lookback_s:
            self._starts.popleft()
        if self._starts[0][0] <= lookback_s:
            self.resume = Resume(self._starts[0][1], offset)
        if start_s - self.lookback_s < self._since or offset <= self._told_offset:
            return []
        return [self._event(pair, told[pair], tick, offset, place) for place, pair in enumerate(sorted(told), index)]

    def _event(self, pair: Pair, told: Told, tick: Tick, offset: int, index: int) -> QualityEvent:
        return QualityEvent(
            event_time_us=tick.event_time_us,
            recv_time_us=tick.recv_time_us,
            venue=pair[1],
            symbol=pair[0],
            kind=KIND,
            channel=CHANNEL,
            count=told.seconds,
            detail=f"{told.worst_bps:+.1f} bps from the median of {told.venues} venues, band {told.band_bps:.1f} bps",
            source_topic=self._topic,
            source_partition=self._partition,
            source_offset=offset,
            source_index=index,
        )
