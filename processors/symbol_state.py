"""All that is remembered of one symbol: what was seen, its counter, its book; items in, records out.

Each stream is taken as it comes from the connection that alone carries it; where several do, through its `Line`.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from msgspec import structs

from processors.absences import Absences
from processors.bar_stage import BarStage
from processors.bars import EMPTY, late_bars
from processors.batch import Batch
from processors.book_keeper import LATE as LATE_DELTA
from processors.book_keeper import BookKeeper, Effect, PublishDelta, PublishSnapshot, Report, Resnapshot
from processors.book_rules import BookRule
from processors.chains import BookChain, Rising, TradeChain
from processors.dedupe import MOST_RESTORED, RecentIds, SeenIds
from processors.feature_stage import FeatureStage
from processors.feeds import Feeds
from processors.flags import (
    BACKFILL,
    CLOCK_STEP,
    CROSSED,
    INCONSISTENT,
    LOCKED,
    OFF_BOOK,
    OUTLIER,
    PAST,
    UNJOINED,
    Lateness,
    is_ahead,
    join_flags,
)
from processors.followers import Followers, with_cuts
from processors.healing import Ask, Closed, Healing, Span
from processors.increments import Increments
from processors.items import AggTrade, BookChecksum, BookDelta, BookSnapshot, PastTrades, Quote, Trade
from processors.line import NOTHING, SILENCE_US, Line
from processors.normalize import base_delta, base_size, base_snapshot, is_plain, quoted_size
from processors.ohlc import contradiction
from processors.outliers import Outliers, verdicts
from processors.pulse import Pulse
from processors.throttle import Throttle, What
from processors.timed import TimedStreams
from processors.watermark import Watermark
from processors.wire import NO_ID
from schemas.records import Candle, Depth, Instrument, Tick, TickKind

TRADE: Final = "trade"
AGG_TRADE: Final = "aggTrade"
QUOTE: Final = "bookTicker"
DEPTH: Final = "depth"
TICKS: Final = "ticks"  # trades and quotes
MOST_HELD_DELTAS: Final = 500

Judge = dict[int | str, bool | None]
"""Whether a restored trade, by its name or else its id, was an outlier; None = too few came before it on its page."""


class SymbolState:
    """One symbol of one venue.

    Args:
        instrument: what it is; replaced when the venue's list changes.
        rule: how its book holds together.
        trades_are_counted: ids of its trades rise by one, so that a hole is a loss; else they only tell trades apart.
        keyframe_us: how often its whole book is published.
        is_healed: trades that are missing by id are asked for.
        watermark: of the partition.
        windows_s: of its features; empty = there are none.
    """

    __slots__ = (
        "_are_counted", "_depth", "_is_exact", "_is_healed", "_is_plain", "_rule", "_ticks", "_watermark", "absences",
        "agg_trade_line", "agg_trades", "are_summed", "bars", "books", "depth_line", "depth_pulse", "features",
        "healing", "increments", "instrument", "is_released", "keeper", "last_quote", "lateness", "outliers",
        "quote_line", "recent_trades", "restored_trades", "sequence_id", "throttle", "ticks_pulse", "timed",
        "trade_feeds", "trade_line", "trade_name", "trades",
    )  # fmt: skip

    def __init__(
        self,
        instrument: Instrument,
        rule: BookRule,
        keyframe_us: int,
        *,
        trades_are_counted: bool = True,
        is_healed: bool = False,
        watermark: Watermark | None = None,
        windows_s: Sequence[int] = (),
    ) -> None:
        self._rule = rule
        self._are_counted = trades_are_counted
        self.are_summed = False  # where they are counted: the last trade summed up several, so that it was not
        self._is_healed = is_healed and trades_are_counted
        self.is_released = False  # it is kept no more: what is captured of it says so
        self.sequence_id = 0
        self.trades = SeenIds()
        self.trade_name = ""  # of the one with the highest id, where they have names
        self.recent_trades = RecentIds()  # where they are not counted
        self.restored_trades = RecentIds(MOST_RESTORED)  # the same
        self.trade_feeds = Feeds()  # the same
        self.agg_trades = SeenIds()
        self.healing = Healing()
        self.absences = Absences() if is_healed and not trades_are_counted else None
        self.last_quote: Quote | None = None
        self.lateness = Lateness()
        self.keeper = BookKeeper(rule, keyframe_us, instrument)
        self.books = Followers(rule, keyframe_us)
        self.throttle = Throttle()
        self.timed = TimedStreams(instrument)
        self.outliers: dict[TickKind, Outliers] = {"TRADE": Outliers(), "AGG_TRADE": Outliers()}
        self._watermark = watermark or Watermark()
        self.bars = BarStage(
            instrument, self._watermark, trades_are_counted=trades_are_counted, awaited_us=self._awaited_us
        )
        self.timed.on_added_candle = self.bars.on_candle
        self.timed.on_corrected_candle = self.bars.on_corrected_candle
        self.timed.on_inconsistent = self._note_inconsistent
        self.features = FeatureStage(instrument.symbol, windows_s) if windows_s else None
        self.increments = Increments(instrument.symbol)
        self.ticks_pulse, self.depth_pulse = Pulse(), Pulse()
        trades, agg_trades, quotes = TradeChain(self.trades), TradeChain(self.agg_trades), Rising(self._quote_sequence)
        self.trade_line: Line[Trade] = Line(trades, partial(self.on_trade, in_turn=True), self._restart_trades)
        self.agg_trade_line: Line[AggTrade] = Line(
            agg_trades, partial(self.on_agg_trade, in_turn=True), self._restart_agg_trades
        )
        self.quote_line: Line[Quote] = Line(quotes, partial(self.on_quote, in_turn=True), self._restart_quotes)
        self.depth_line = Line(
            BookChain(self.keeper), partial(self.on_delta, in_turn=True), self._restart_depth, MOST_HELD_DELTAS
        )
        self.update(instrument)

    def update(self, instrument: Instrument) -> None:
        """Take in a new version of the instrument."""
        self.instrument = self.timed.instrument = self.keeper.instrument = self.bars.instrument = instrument
        for each in self.outliers.values():
            each.tick_size = instrument.tick_size
        self._ticks: dict[TickKind, Tick] = {}  # what those of a kind have in common; records are made of it
        self._depth: Depth | None = None
        self._is_plain = is_plain(instrument)
        self._is_exact = self._is_plain and self._rule.has_ids

    def on_trade(self, batch: Batch, trade: Trade, *, in_turn: bool = False) -> None:
        """Add a TRADE, unless its id was seen; a hole in the ids is a GAP.

        Args:
            in_turn: the line has let it through, as for all items.
        """
        if trade.is_summed is not self.are_summed:
            self.sum_trades(are_summed=trade.is_summed)
        if not self._are_counted:
            self._on_uncounted_trade(batch, trade)
        elif batch.connection != self.trade_line.sole and not in_turn:
            self.trade_line.take(batch, trade, trade.trade_id)
        elif self._is_new(batch, self.trades, trade.trade_id, TRADE, trade.name):
            if trade.name and trade.trade_id == self.trades.high:
                self.trade_name = trade.name
            self._add_trade(batch, "TRADE", trade, _flags_of(trade) if trade.is_off_book or trade.is_past else "")

    def on_past_trades(self, batch: Batch, page: PastTrades) -> None:
        """Add those trades that are missing; others on the page are known, or will come by themselves."""
        if self.absences is not None:
            self._restore_uncounted(batch, self.absences, page)
            return
        judge: Judge | None = None
        for trade in self._numbered(page) if page.is_unnumbered else page.trades:
            if not (self._are_counted and self.trades.lies_in_hole(trade.trade_id)):
                batch.note_redundant(batch.connection)
                continue
            if judge is None:
                judge = self._judge_of(batch, page)
            self.trades.add(trade.trade_id)
            self._add_restored(batch, trade, judge)
            self._tell_closed(batch, self.healing.fill(trade.trade_id, is_restored=True))
        if page.last_id:
            for closed in self.healing.cover(Span(page.first_id, page.last_id)):
                self._tell_closed(batch, closed)

    def _numbered(self, page: PastTrades) -> list[Trade]:
        """Give those trades of a page without ids which lie in a hole the ids that they have there."""
        numbers = self.healing.numbers_of([each.name for each in page.trades])
        return [structs.replace(each, trade_id=numbers.get(each.name, NO_ID)) for each in page.trades]

    def on_agg_trade(self, batch: Batch, trade: AggTrade, *, in_turn: bool = False) -> None:
        """Add an AGG_TRADE, unless its id was seen."""
        if batch.connection != self.agg_trade_line.sole and not in_turn:
            self.agg_trade_line.take(batch, trade, trade.trade_id)
        elif self._is_new(batch, self.agg_trades, trade.trade_id, AGG_TRADE):
            self._add_trade(batch, "AGG_TRADE", trade, "")

    def on_quote(self, batch: Batch, quote: Quote, *, in_turn: bool = False) -> None:
        """Add a QUOTE, unless it is the last one once more."""
        if batch.connection != self.quote_line.sole and not in_turn:
            if self._is_restamped(batch.connection, quote):
                batch.note_redundant(batch.connection)
            else:
                self.quote_line.take(batch, quote, quote.sequence)
            return
        last = self.last_quote
        if in_turn and self.quote_line.lead_before and self._is_restamped(self.quote_line.lead_before, quote):
            self.last_quote = quote
            batch.note_redundant(self.quote_line.lead)
            return
        if last is not None and quote.sequence <= last.sequence:
            if quote == last:
                self.note(batch, "DUPLICATE", QUOTE)
                return
            if quote.sequence < last.sequence:
                self.note(batch, "OUT_OF_ORDER", QUOTE)
        self.last_quote = quote
        flag = ""
        if quote.bid >= quote.ask:
            if quote.ask:
                flag = LOCKED if quote.bid == quote.ask else CROSSED
                self.note(batch, flag, QUOTE)
            elif not quote.bid:
                flag = EMPTY
        self._add_quote(batch, quote, flag)

    def on_delta(self, batch: Batch, delta: BookDelta, *, in_turn: bool = False) -> None:
        """Add the delta as Depth, and what follows from it."""
        if not self._rule.ids_are_shared:
            if not self._leads(batch):
                self._follow(batch, delta)
                return
        elif batch.connection != self.depth_line.sole and not in_turn:
            self.depth_line.take(batch, delta, delta.sequence)
            return
        keeper = self.keeper
        if not self._is_exact:
            delta = self._exact_delta(keeper, delta)
        effects = keeper.on_delta(delta, batch.recv_time_us)
        if effects is keeper.plain:
            self._add_delta(batch, delta, keeper.snapshot_id)
            return
        if not effects:
            self.note(batch, "DUPLICATE", DEPTH)
        self._carry_out(batch, effects, delta)

    def on_snapshot(self, batch: Batch, snapshot: BookSnapshot) -> None:
        """Join the snapshot to the deltas, or take it for the book; add what the book then is."""
        if not self._rule.ids_are_shared and not self._leads(batch):
            self._follow(batch, snapshot)
            return
        snapshot = self._exact_snapshot(self.keeper, snapshot)
        self._carry_out(batch, self.keeper.on_snapshot(snapshot, batch.recv_time_us))

    def on_checksum(self, batch: Batch, item: BookChecksum) -> None:
        """Hold the book of this connection against its checksum."""
        if not self._rule.ids_are_shared and not self._leads(batch):
            self._follow(batch, item)
        else:
            self._carry_out(batch, self.keeper.on_checksum(item, batch.recv_time_us))

    def on_loss(self, batch: Batch, reason: str) -> None:
        """Give up the book of a connection that lost messages, and ask for another."""
        self._lose_trades_of(batch)
        self.timed.forget(batch.connection)
        self._distrust(batch, reason)

    def on_unread(self, batch: Batch) -> None:
        """Give up the book of a connection whose message could not be read."""
        self._distrust(batch, "a message of the connection could not be read")

    @property
    def is_blind(self) -> bool:
        """Tell whether nothing else shows that a change of its book was not read."""
        return self._rule.is_blind

    def on_frame_loss(self, batch: Batch) -> None:
        """Give up the book where it cannot find by itself that a delta is missing; the same for trades."""
        self.timed.forget(batch.connection)
        if not self._rule.has_ids:
            self.on_loss(batch, "frames are missing")
        else:
            self._lose_trades_of(batch)

    def lose_trades(self, time_us: int) -> None:
        """Note that nobody brings the trades from a time on."""
        self.bars.on_loss(time_us)
        if self.absences is not None:
            self.absences.begin()

    def _awaited_us(self) -> int:
        """Tell from when on trades are missing that may still be fetched; 0 = none are."""
        if self.absences is not None:
            return self.absences.since_us()
        if not self._is_healed:
            return 0
        return min(filter(None, (self.healing.since_us(), self.bars.lost_from_us)), default=0)

    def sum_trades(self, *, are_summed: bool) -> None:
        """Count no trades as long as the venue sums them up, where it counts them otherwise."""
        self.are_summed, self._are_counted = are_summed, not are_summed
        self.bars.count_ids(are_counted=self._are_counted)
        if self._are_counted:
            self.trades.restore([])  # what was not counted is no hole

    @property
    def shows_loss(self) -> bool:
        """Tell whether its book and its trades find by themselves that something is missing."""
        return self._rule.has_ids and self._are_counted

    def is_carried_by(self, connection: str) -> bool:
        """Tell whether a connection carries any of its streams."""
        is_lined = any(line.sole == connection or connection in line.carriers for line in self.lines())
        brings_trades = self.trade_line.lead == connection or connection in self.trade_feeds.behind_since_us
        return is_lined or connection in self.books or brings_trades

    def bringers(self) -> set[str]:
        """Name the connections that carry any of its streams, those included that brought the last and are gone."""
        of_lines = {name for line in self.lines() for name in (line.sole, line.lead, *line.carriers)}
        return (of_lines | {*self.trade_feeds.behind_since_us} | {*self.books.keepers}) - {""}

    def on_disconnect(self, batch: Batch, reason: str) -> None:
        """Forget the closed connection, and give up the book if no other one feeds it."""
        self.rest()
        self.timed.leave(batch.connection)
        left = [line for line in self.lines() if line.leave(batch, batch.connection)]
        self.books.leave(batch.connection)
        brought_trades = self.trade_feeds.leave([batch.connection]) or self.trade_line.lead == batch.connection
        if (brought_trades or self.trade_line in left) and not self._are_trades_carried():
            self.lose_trades(batch.recv_time_us)
        if self.depth_line in left and not self.depth_line.is_carried and not self._hand_over(batch):
            self._carry_out(batch, self.keeper.on_disconnect(reason, batch.recv_time_us))

    def trade_carriers(self) -> list[str]:
        """List the connections that bring its trades, or else the one that brought the last."""
        line = self.trade_line
        return list(self.trade_feeds.behind_since_us) or ([line.sole] if line.sole else [*line.carriers] or [line.lead])

    def on_killed(self, connections: Sequence[str], time_us: int) -> None:
        """Forget connections that said no goodbye; trades are lost from a time on if no other one brings them."""
        is_carried = any(each not in connections for each in self.trade_carriers())
        self.trade_feeds.leave(connections)
        if not is_carried:
            self.lose_trades(time_us)

    def is_due(self, time_us: int) -> bool:
        """Tell whether `on_clock` may do anything."""
        if self.keeper.is_due(time_us) or len(self.throttle) > 0 or self.bars.is_due():
            return True
        if 0 < self.healing.next_us <= time_us:
            return True
        if self.absences is not None and 0 < self.absences.next_us <= time_us:
            return True
        if self.features is not None and self.features.is_due(self._watermark.clock_us):
            return True
        return any(line.carriers for line in self.lines())

    def on_clock(self, batch: Batch) -> None:
        """Add what is due at this time."""
        for line in self.lines():
            if line.carriers:
                line.settle(batch)
        self._carry_out(batch, self.keeper.on_clock(batch.recv_time_us))
        if self.bars.is_due():
            self.bars.on_clock(batch)
        if self.features is not None:
            self.features.on_clock(batch, self._watermark.clock_us)  # one CLOCK that is wrong ends no second
        if 0 < self.healing.next_us <= batch.recv_time_us:
            self._heal(batch, self.healing.due(batch.recv_time_us))
        if self.absences is not None and 0 < self.absences.next_us <= batch.recv_time_us:
            self._heal(batch, self.absences.due(batch.recv_time_us))
        self.report(batch, self.throttle.due(batch.recv_time_us))

    def is_silent(self) -> bool:
        """Tell whether `on_silence` would tell anything."""
        clock_us = self._watermark.clock_us
        return any(pulse.heard_us or pulse.is_due(clock_us) for pulse in (self.ticks_pulse, self.depth_pulse))

    def on_silence(self, batch: Batch) -> None:
        """Tell where nothing has come for far longer than usual, once for each silence, and where that has ended."""
        symbol, market, clock_us = self.instrument.symbol, self.instrument.market, self._watermark.clock_us
        for channel, pulse in ((TICKS, self.ticks_pulse), (DEPTH, self.depth_pulse)):
            if pulse.heard_us:
                detail = pulse.tell_end()
                batch.event("HEARD", symbol, market=market, channel=channel, detail=detail, is_of_stage=True)
            if pulse.is_due(clock_us):
                detail = pulse.tell(clock_us)
                batch.event("STALE", symbol, market=market, channel=channel, detail=detail, is_of_stage=True)

    def rest(self) -> None:
        """Count silences from now on: nobody captured before, or a connection was closed."""
        self.ticks_pulse.rest(self._watermark.beat_us)
        self.depth_pulse.rest(self._watermark.beat_us)

    def set_back(self, now_us: int) -> None:
        """Wait for nothing longer than usual: the clock was set back to this time."""
        self.books.lead_heard_us = min(self.books.lead_heard_us, now_us)
        for keeper in (self.keeper, *self.books.keepers.values()):
            keeper.set_back(now_us)
        self.throttle.set_back(now_us)
        self.lateness.runs.clear()
        self.healing.set_back(now_us)
        if self.absences is not None:
            self.absences.set_back(now_us)
        self.trade_feeds.set_back(now_us)
        for line in self.lines():
            line.set_back(now_us)

    def finish(self, batch: Batch) -> None:
        """Add all that waits; for files that end, not for streams."""
        for line in self.lines():
            line.flush(batch)
        self.bars.finish(batch)
        if self.features is not None:
            self.features.finish(batch)
        self.report(batch, self.throttle.rest())

    def lines(self) -> "list[Line[Any]]":
        """List all streams that were met, and some that were not."""
        return [self.trade_line, self.agg_trade_line, self.quote_line, self.depth_line, *self.timed.lines.values()]

    def note(self, batch: Batch, kind: str, channel: str, detail: str = "") -> None:
        """Count something that may happen often."""
        what = What(kind, channel=channel, detail=detail)
        count = self.throttle.note(what, batch.recv_time_us)
        if count:
            self.report(batch, [(what, count)])

    def _note_inconsistent(self, batch: Batch, candle: Candle) -> None:
        self.note(batch, INCONSISTENT, f"candle_{candle.interval}", contradiction(candle))

    def report(self, batch: Batch, counts: Iterable[tuple[What, int]]) -> None:
        """Add counts as quality events."""
        for what, count in counts:
            symbol, market = self.instrument.symbol, self.instrument.market
            batch.event(what.kind, symbol, market=market, channel=what.channel, count=count, detail=what.detail)

    def _on_uncounted_trade(self, batch: Batch, trade: Trade) -> None:
        """Add a trade whose id only tells it apart, from whichever connection brings it first."""
        number = trade.name or trade.trade_id
        is_new = number not in self.restored_trades.ids and self.recent_trades.add(number)
        self.trade_feeds.bring(batch.connection, batch.recv_time_us, is_new=is_new)
        if is_new:
            self.trade_line.lead = batch.connection
            if self.absences is not None and not is_ahead(trade.exchange_time_us, batch.recv_time_us):
                self.absences.note(number, trade.exchange_time_us, batch.recv_time_us)
            self._add_trade(batch, "TRADE", trade, _flags_of(trade) if trade.is_off_book or trade.is_past else "")
        elif self.trade_line.lead == batch.connection:
            self.note(batch, "DUPLICATE", TRADE)
        else:
            batch.note_redundant(batch.connection)

    def _lose_trades_of(self, batch: Batch) -> None:
        """Lose the trades of a connection, where neither the next id nor another connection tells what is missing."""
        if not self._are_counted and not self.trade_feeds.has_others(batch.connection):
            self.lose_trades(batch.recv_time_us)

    def _are_trades_carried(self) -> bool:
        return self.trade_line.is_carried or bool(self.trade_feeds.behind_since_us)

    def _restore_uncounted(self, batch: Batch, absences: Absences, page: PastTrades) -> None:
        """Add those of the trades that were lost."""
        told = [(each.name or each.trade_id, each.exchange_time_us) for each in page.trades]
        lost, closed = absences.take(told, page.from_us, page.until_us)
        judge = self._judge_of(batch, page) if lost else {}
        for trade in page.trades:
            number = trade.name or trade.trade_id
            is_lost = number in lost and number not in self.recent_trades.ids
            if is_lost and self.restored_trades.add(number):
                self._add_restored(batch, trade, judge)
            else:
                batch.note_redundant(batch.connection)
        for each in closed:
            if each.restored:
                self._tell_closed(batch, each)

    def _judge_of(self, batch: Batch, page: PastTrades) -> Judge:
        """Judge the trades of a page by one another, as if they came just now: it has those before and after, too."""
        on_book = [each for each in page.trades if not each.is_off_book]
        prices = [(each.price, each.exchange_time_us or batch.recv_time_us) for each in on_book]
        found = verdicts(prices, self.instrument.tick_size)
        return {each.name or each.trade_id: far for each, far in zip(on_book, found, strict=True)}

    def _add_restored(self, batch: Batch, trade: Trade, judge: Judge) -> None:
        flag = join_flags(BACKFILL, OFF_BOOK if trade.is_off_book else "")
        self._add_trade(batch, "TRADE", trade, flag, was_far=judge.get(trade.name or trade.trade_id))

    def _exact_delta(self, keeper: BookKeeper, delta: BookDelta) -> BookDelta:
        """Turn sizes into base currency, and count what the venue does not number."""
        if not self._is_plain:
            delta = base_delta(self.instrument, delta)
        if self._rule.has_ids:
            return delta
        number = keeper.last_seen + 1
        return structs.replace(delta, first_sequence=number, sequence=number)

    def _exact_snapshot(self, keeper: BookKeeper, snapshot: BookSnapshot) -> BookSnapshot:
        if not self._is_plain:
            snapshot = base_snapshot(self.instrument, snapshot)
        return snapshot if self._rule.has_ids else structs.replace(snapshot, sequence=keeper.last_seen + 1)

    def _distrust(self, batch: Batch, reason: str) -> None:
        """Give up the book of this connection, and go on with another's."""
        if self.depth_line.sole == batch.connection:
            self._carry_out(batch, self.keeper.distrust(reason, batch.recv_time_us))
            self._hand_over(batch)
        elif batch.connection in self.books:
            keeper = self.books.keeper(batch.connection, self.instrument)
            self._ask(batch, keeper.distrust(reason, batch.recv_time_us))

    def _ask(self, batch: Batch, effects: Iterable[Effect]) -> None:
        """Ask for the snapshots that a book which is not published needs."""
        for effect in effects:
            if isinstance(effect, Resnapshot):
                batch.command("resnapshot", self.instrument, effect.reason, batch.connection)

    def _leads(self, batch: Batch) -> bool:
        """Tell whether this connection's book is the one published; the first one is, and one whose lead is silent."""
        line = self.depth_line
        if not line.sole:
            line.sole = batch.connection
            self.books.leave(batch.connection)
        if line.sole == batch.connection:
            self.books.lead_heard_us = batch.recv_time_us
            return True
        return False

    def _follow(self, batch: Batch, item: BookDelta | BookSnapshot | BookChecksum) -> None:
        """Keep the book of a connection that is not the lead, silently, in case the lead is lost."""
        batch.note_redundant(batch.connection)
        keeper, now_us = self.books.keeper(batch.connection, self.instrument), batch.recv_time_us
        if isinstance(item, BookChecksum):
            effects = keeper.on_checksum(item, now_us)
        elif isinstance(item, BookSnapshot):
            effects = keeper.on_snapshot(self._exact_snapshot(keeper, item), now_us)
        else:
            effects = keeper.on_delta(self._exact_delta(keeper, item), now_us)
        self._ask(batch, effects)
        is_lost = now_us - self.books.lead_heard_us > SILENCE_US
        if not keeper.is_valid or self.keeper.repeats(keeper.exchange_time_us, now_us):
            return
        if is_lost or not self.keeper.is_valid:
            self._take_lead(batch, batch.connection, keeper)

    def _hand_over(self, batch: Batch) -> bool:
        """Go on with the book of another connection; False = no other one has a book that stands."""
        heir = self.books.first_valid()
        if heir is None:
            return False
        self._take_lead(batch, *heir)
        return True

    def _take_lead(self, batch: Batch, connection: str, keeper: BookKeeper) -> None:
        """Publish another connection's book from now on, as a snapshot that replaces all before."""
        self.books.leave(connection)
        snapshot_id, self.keeper = self.keeper.snapshot_id, keeper
        self.depth_line.sole = connection
        self.books.lead_heard_us = batch.recv_time_us
        batch.event("BOOK_LEAD", self.instrument.symbol, channel=DEPTH, detail=connection)
        self._carry_out(batch, keeper.announce(snapshot_id, batch.recv_time_us))

    def _is_restamped(self, connection: str, quote: Quote) -> bool:
        """Tell whether another connection brought this quote last: where it is known by its time, each has its own."""
        line, last = self.quote_line, self.last_quote
        if last is None or not line.is_carried or connection == line.lead or quote.sequence != quote.exchange_time_us:
            return False
        return structs.replace(quote, sequence=last.sequence, exchange_time_us=last.exchange_time_us) == last

    def _quote_sequence(self) -> int:
        return NOTHING if self.last_quote is None else self.last_quote.sequence

    def _restart_trades(self, batch: Batch) -> None:
        self.note(batch, "OUT_OF_ORDER", TRADE)
        self.trades.restore([])
        for closed in self.healing.clear():
            self._tell_closed(batch, closed)

    def _restart_agg_trades(self, batch: Batch) -> None:
        self.note(batch, "OUT_OF_ORDER", AGG_TRADE)
        self.agg_trades.restore([])

    def _restart_quotes(self, batch: Batch) -> None:
        self.note(batch, "OUT_OF_ORDER", QUOTE)
        self.last_quote = None

    def _restart_depth(self, batch: Batch) -> None:
        self._carry_out(batch, self.keeper.restart(batch.recv_time_us))

    def _is_new(self, batch: Batch, seen: SeenIds, number: int, channel: str, name: str = "") -> bool:
        if number == seen.high + 1:
            return seen.add(number)
        hole = seen.hole_before(number)
        is_behind = number < seen.high
        if not seen.add(number):
            self.note(batch, "DUPLICATE", channel)
            return False
        if hole is not None:
            sequences, count = (hole.first, hole.last), hole.last - hole.first + 1
            symbol, market = self.instrument.symbol, self.instrument.market
            batch.event("GAP", symbol, market=market, channel=channel, sequences=sequences, count=count)
            if channel == TRADE:
                self.bars.on_hole(*sequences)
                if self._is_healed:
                    after_us, ends = self.lateness.newest_us.get("TRADE", 0), (self.trade_name, name)
                    self._tell_closed(batch, self.healing.open(Span(*sequences), after_us, batch.recv_time_us, ends))
        elif is_behind:
            self.note(batch, "OUT_OF_ORDER", channel)
            if channel == TRADE:
                self._tell_closed(batch, self.healing.fill(number, is_restored=False))
        return True

    def _heal(self, batch: Batch, due: Iterable[Ask | Closed]) -> None:
        """Ask for the trades that are missing and due."""
        for each in due:
            if isinstance(each, Ask):
                reason = f"trades {each.first} to {each.last} are missing" if each.last else "trades were lost"
                batch.command(
                    "backfill",
                    self.instrument,
                    reason,
                    from_sequence=each.first,
                    to_sequence=each.last,
                    from_time_us=each.after_us,
                    to_time_us=each.until_us,
                )
            else:
                self._tell_closed(batch, each)

    def _tell_closed(self, batch: Batch, closed: Closed | None) -> None:
        """Tell what became of a hole; None = it is open."""
        if closed is None:
            return
        batch.event(
            "NOT_HEALED" if closed.missing else "HEALED",
            self.instrument.symbol,
            market=self.instrument.market,
            channel=TRADE,
            sequences=(closed.first, closed.last),
            count=closed.missing or closed.restored,
            detail=closed.why,
        )

    def _flagged(self, batch: Batch, channel: str, late: str, flag: str) -> str:
        """Add what the item's time is flagged with to its flag; a wrong time is told as well."""
        if late == CLOCK_STEP:
            self.note(batch, CLOCK_STEP, channel)
        return join_flags(flag, late)

    def _add_trade(
        self, batch: Batch, kind: TickKind, trade: Trade | AggTrade, flag: str, *, was_far: bool | None = None
    ) -> None:
        """Add a trade; `was_far` tells whether a restored one was an outlier, None = that is to be found."""
        instrument, price, size = self.instrument, trade.price, trade.size
        exchange_us = trade.exchange_time_us
        is_restored = bool(flag) and BACKFILL in flag
        flag_time = self.lateness.flag_restored if is_restored else self.lateness.flag
        late = flag_time(kind, exchange_us, batch)
        if late:
            flag = self._flagged(batch, TRADE if kind == "TRADE" else AGG_TRADE, late, flag)
        if self.ticks_pulse.moved_us != self._watermark.beat_us:
            self.ticks_pulse.move(self._watermark.beat_us)
        outliers = self.outliers[kind]
        if flag and flag != PAST:  # these are judged in their order, as those that follow
            flag = _judged(outliers, (price, exchange_us or batch.recv_time_us), flag, was_far)
        elif outliers.is_outlier(price, exchange_us or batch.recv_time_us):
            flag = join_flags(OUTLIER, flag) if flag else OUTLIER
            if outliers.is_burst:
                self.note(batch, "OUTLIER_BURST", TRADE if kind == "TRADE" else AGG_TRADE)
        self.sequence_id += 1
        event_us = batch.event_time_us
        if flag and exchange_us and BACKFILL in flag and CLOCK_STEP not in flag:
            event_us = exchange_us  # it lies, sorts and expires with its day
        tick = structs.replace(
            self._ticks.get(kind) or self._blank_tick(batch, kind),
            event_time_us=event_us,
            exchange_time_us=exchange_us,
            recv_time_us=batch.recv_time_us,
            price=price,
            quantity=size if self._is_plain else base_size(instrument, size, price),
            side=trade.side,
            sequence_id=self.sequence_id,
            trade_id=trade.name or str(trade.trade_id),
            venue_sequence=trade.trade_id if self._are_counted else 0,
            flags=flag,
            source_offset=batch.offset,
            source_index=batch.first_index + len(batch.records),
        )
        batch.records.append(tick)
        if kind == "TRADE":
            order = trade.trade_id if self._are_counted else self.sequence_id
            if not self.bars.on_trade(tick, order):
                self.note(batch, "LATE_FOR_BAR", TRADE, late_bars(tick))
            if self.features is not None:
                self.features.on_trade(batch, tick)

    def _add_quote(self, batch: Batch, quote: Quote, flag: str) -> None:
        instrument, bid, ask = self.instrument, quote.bid, quote.ask
        bid_size, ask_size = quote.bid_size, quote.ask_size
        if not self._is_plain:
            bid_size, ask_size = quoted_size(instrument, bid_size, bid), quoted_size(instrument, ask_size, ask)
        exchange_us = quote.exchange_time_us
        late = self.lateness.flag("QUOTE", exchange_us, batch)
        if late:
            flag = self._flagged(batch, QUOTE, late, flag)
        if self.ticks_pulse.moved_us != self._watermark.beat_us:
            self.ticks_pulse.move(self._watermark.beat_us)
        self.sequence_id += 1
        tick = structs.replace(
            self._ticks.get("QUOTE") or self._blank_tick(batch, "QUOTE"),
            event_time_us=batch.event_time_us,
            exchange_time_us=exchange_us,
            recv_time_us=batch.recv_time_us,
            price=(bid + ask) / 2 if bid and ask else bid or ask,
            bid=bid or None,
            ask=ask or None,
            bid_size=bid_size if bid else None,
            ask_size=ask_size if ask else None,
            sequence_id=self.sequence_id,
            venue_sequence=quote.sequence,
            flags=flag,
            source_offset=batch.offset,
            source_index=batch.first_index + len(batch.records),
        )
        batch.records.append(tick)
        if self.features is not None:
            self.features.on_quote(batch, tick)

    def _carry_out(self, batch: Batch, effects: Iterable[Effect], delta: BookDelta | None = None) -> None:
        connection = "" if self._rule.ids_are_shared else self.depth_line.sole
        for effect in effects:
            if isinstance(effect, PublishDelta):
                assert delta is not None
                whole = with_cuts(delta, effect) if effect.cut_bids or effect.cut_asks else delta
                self._add_delta(batch, whole, effect.snapshot_id)
            elif isinstance(effect, PublishSnapshot):
                self._add_snapshot(batch, is_keyframe=effect.is_keyframe)
            elif effect is LATE_DELTA:
                self.note(batch, "OUT_OF_ORDER", DEPTH)
            elif isinstance(effect, Report):
                self._add_report(batch, effect)
            else:
                batch.command("resnapshot", self.instrument, effect.reason, connection)

    def _add_delta(self, batch: Batch, delta: BookDelta, snapshot_id: int) -> None:
        flag = "" if snapshot_id else UNJOINED
        late = self.lateness.flag(DEPTH, delta.exchange_time_us, batch)
        if late:
            flag = self._flagged(batch, DEPTH, late, flag)
        if self.depth_pulse.moved_us != self._watermark.beat_us:
            self.depth_pulse.move(self._watermark.beat_us)
        depth = structs.replace(
            self._depth or self._blank_depth(batch),
            event_time_us=batch.event_time_us,
            exchange_time_us=delta.exchange_time_us,
            recv_time_us=batch.recv_time_us,
            snapshot_id=snapshot_id,
            sequence=delta.sequence,
            first_sequence=delta.first_sequence,
            previous_sequence=delta.previous_sequence,
            bid_prices=delta.bid_prices,
            bid_sizes=delta.bid_sizes,
            ask_prices=delta.ask_prices,
            ask_sizes=delta.ask_sizes,
            flags=flag,
            source_offset=batch.offset,
            source_index=batch.first_index + len(batch.records),
        )
        batch.records.append(depth)
        if self.features is not None:
            self.features.on_depth(batch, depth)

    def _blank_tick(self, batch: Batch, kind: TickKind) -> Tick:
        """Make what the ticks of a kind have in common.

        CPython passes more than 15 keywords by way of a dictionary: to replace what differs takes half the time.
        """
        self._ticks[kind] = blank = Tick(
            event_time_us=0,
            venue=batch.venue,
            symbol=self.instrument.symbol,
            asset_class=self.instrument.asset_class,
            kind=kind,
            price=0.0,
            quantity=0.0,
            sequence_id=0,
            source_topic=batch.topic,
            source_partition=batch.partition,
        )
        return blank

    def _blank_depth(self, batch: Batch) -> Depth:
        """Make what the deltas have in common, as `_blank_tick`."""
        self._depth = blank = Depth(
            event_time_us=0,
            venue=batch.venue,
            symbol=self.instrument.symbol,
            is_snapshot=False,
            snapshot_id=0,
            bid_prices=[],
            bid_sizes=[],
            ask_prices=[],
            ask_sizes=[],
            source_topic=batch.topic,
            source_partition=batch.partition,
        )
        return blank

    def _add_snapshot(self, batch: Batch, *, is_keyframe: bool) -> None:
        keeper = self.keeper
        if not is_keyframe and self.depth_pulse.moved_us != self._watermark.beat_us:
            self.depth_pulse.move(self._watermark.beat_us)
        (bid_prices, bid_sizes), (ask_prices, ask_sizes) = keeper.book.levels()
        depth = Depth(
            event_time_us=batch.event_time_us,
            exchange_time_us=keeper.exchange_time_us,
            recv_time_us=batch.recv_time_us,
            venue=batch.venue,
            symbol=self.instrument.symbol,
            is_snapshot=True,
            is_keyframe=is_keyframe,
            snapshot_id=keeper.snapshot_id,
            sequence=keeper.sequence,
            bid_prices=bid_prices,
            bid_sizes=bid_sizes,
            ask_prices=ask_prices,
            ask_sizes=ask_sizes,
            source_topic=batch.topic,
            source_partition=batch.partition,
            source_offset=batch.offset,
            source_index=batch.index,
        )
        batch.records.append(depth)
        if self.features is not None:
            self.features.on_depth(batch, depth)

    def _add_report(self, batch: Batch, report: Report) -> None:
        batch.event(
            report.kind,
            self.instrument.symbol,
            market=self.instrument.market,
            channel=DEPTH,
            sequences=(report.from_sequence, report.to_sequence),
            count=report.count,
            detail=report.detail,
        )
        if self.features is not None and report.kind == "BOOK_RESET":
            self.features.on_reset(batch)


def _flags_of(trade: Trade) -> str:
    return join_flags(OFF_BOOK if trade.is_off_book else "", PAST if trade.is_past else "")


def _judged(outliers: Outliers, place: tuple[float, int], flag: str, was_far: bool | None) -> str:
    """Add to the flags of a trade of a time that is over (price and time) whether it was an outlier then."""
    if OFF_BOOK in flag or CLOCK_STEP in flag:
        return flag
    if was_far is None:
        was_far = outliers.was_outlier(*place)
    return join_flags(flag, OUTLIER) if was_far else flag
