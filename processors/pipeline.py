"""Raw records of one partition → records and commands: a pure function of the raw log, with state that can be captured.

No wall clock, no randomness, no unordered iteration: the same raw records give the same output, whoever runs them.
"""

from bisect import insort
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

from msgspec import structs

from processors.batch import Batch, bad_record
from processors.errors import FrameError, PartlyUsedError, StateError
from processors.items import (
    AggTrade,
    AnyItem,
    BookChecksum,
    BookDelta,
    BookSnapshot,
    CandleItem,
    ConnectionGap,
    DerivativeItem,
    Liquidation,
    MarkPrice,
    Notice,
    PastTrades,
    Quote,
    Refused,
    Repeated,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.listings import Listings
from processors.memory import Memory
from processors.pieces import (
    HEAD,
    MARKET_PREFIX,
    SHARED_RANGE_VERSION,
    STATE_VERSION,
    HeadPiece,
    LossPiece,
    MarketPiece,
    OutputsPiece,
    Piece,
    SymbolPiece,
    capture_symbol,
    decode_piece,
    encode_piece,
    restore_symbol,
)
from processors.symbol_state import SymbolState
from processors.throttle import Throttle, What
from processors.venues import VENUES
from processors.watermark import Watermark
from processors.wire import LAST_MS
from schemas.quality import stale_channel
from schemas.records import Derived, Frame, Instrument, RawFrames, Source, Tick
from schemas.symbology import SymbolError, Symbology, partition_of
from schemas.venues import SYMBOLOGIES
from tickerplant.tally import DEFAULT_LIMIT, DeadLetterLimit, Tally

LAST_US: Final = LAST_MS * 1000
MOST_FRAMES: Final = 2**62
MOST_CONNECTIONS: Final = 4096
DEFAULT_KEYFRAME_US: Final = 10_000_000
REASON_CHARS: Final = 200
SET_BACK_US: Final = 2_000_000  # clocks are slewed, not set, by less
APART_US: Final = 60_000_000  # how far clocks of producers may differ
MOST_CLOCKS: Final = 64
GONE_US: Final = 3_000_000  # a CLOCK comes each second; nodes' clocks agree far better
CLOCK_PREFIX: Final = "clock-"
FEW: Final = 10  # instruments that may be delisted at once, whatever a market's size
RELEASE_US: Final = 7 * 86_400_000_000  # after the expiry of a contract: its last bars are told, and past changing
MARKET_SHARES: Final = 64  # of a list of 10 MB, each is a small piece

ON_ITEM: Final[dict[type, Callable[[SymbolState, Batch, Any], None]]] = {
    Trade: SymbolState.on_trade,
    PastTrades: SymbolState.on_past_trades,
    AggTrade: SymbolState.on_agg_trade,
    Quote: SymbolState.on_quote,
    BookDelta: SymbolState.on_delta,
    BookSnapshot: SymbolState.on_snapshot,
    BookChecksum: SymbolState.on_checksum,
    TickerItem: lambda state, batch, item: state.timed.on_ticker(batch, item),
    CandleItem: lambda state, batch, item: state.timed.on_candle(batch, item),
    MarkPrice: lambda state, batch, item: state.timed.on_mark_price(batch, item),
    DerivativeItem: lambda state, batch, item: state.timed.on_derivative(batch, item),
    Liquidation: lambda state, batch, item: state.timed.on_liquidation(batch, item),
}


class Pipeline:
    """Processes one partition of one raw topic.

    Args:
        venue: in capitals.
        topic: raw topic with its life, without suffix: part of the records' identity.
        partition: of the raw topic.
        partition_count: instruments of other partitions are not published; None = all are.
        keyframe_us: how often the whole of each valid book is published.
        limit: by which `tally` is counted; it is for others to stop at it.
        windows_s: of the features that are computed, rising; empty = none are.
        follows_trades: a recording is played back: bars and features go by its times, see `Watermark`.
        assume_instruments: derive instruments that no list named from their symbols (for files without a list).
    """

    def __init__(
        self,
        venue: str,
        topic: str,
        partition: int,
        *,
        partition_count: int | None = None,
        keyframe_us: int = DEFAULT_KEYFRAME_US,
        assume_instruments: bool = False,
        limit: DeadLetterLimit = DEFAULT_LIMIT,
        windows_s: Sequence[int] = (),
        follows_trades: bool = False,
    ) -> None:
        self.next_offset = 0
        self.tally = Tally()  # messages that could be used, dead letters that could not; our own CLOCK proves nothing
        self._venue, self._topic, self._partition = venue, topic, partition
        self._partition_count = partition_count
        self._keyframe_us = keyframe_us
        self._assumes = assume_instruments
        self._limit = limit
        self._windows_s = tuple(windows_s)
        self._parse = VENUES[venue].parse
        self._book_rule = VENUES[venue].book_rule
        self._are_counted = VENUES[venue].trades_are_counted
        self._facts = VENUES[venue].FACTS
        self._memories: dict[str, Memory] = {}
        self._names = SYMBOLOGIES[venue]
        self._symbology = Symbology()
        self._beginnings: dict[tuple[str, str], list[str]] = {}  # of names → those that begin so; made when wanted
        self._listings = Listings()
        self._states: defaultdict[str, dict[str, SymbolState]] = defaultdict(dict)  # market → venue symbol → state
        self._by_symbol: dict[str, SymbolState] = {}
        self._ordered: list[SymbolState] = []  # by canonical symbol, so that no restore changes the order of output
        self._lists: dict[str, dict[str, Instrument]] = {}  # name of a piece → venue symbol → instrument
        self._touched: dict[str, SymbolState] = {}  # since `freeze`
        self._touched_lists: dict[str, None] = {}
        self._frozen: dict[str, SymbolState] = {}  # unchanged since `freeze`, and not captured yet
        self._frozen_lists: dict[str, None] = {}
        self._captured: deque[Piece] = deque()
        self._first_offset = -1
        self._event_time_us = 0  # of the last raw record
        self._next_numbers: dict[str, int] = {}
        self._clocks: dict[str, int] = {}
        self._throttle = Throttle()
        self._follows_trades = follows_trades
        self._watermark = Watermark(follows_trades=follows_trades)
        self._last: Batch | None = None
        self._loss: LossPiece | None = None
        self._version = STATE_VERSION  # of the program that wrote the head
        self._shared_until = -1  # last raw record of which such a program may have written a part

    def process(self, offset: int, raw: RawFrames) -> Batch:
        """Process one raw record; returns the records derived from it, in order, each with its source, and commands.

        A replay must drop the commands.

        Raises:
            FrameError: the record is not one that a producer makes; nothing of it was used.
        """
        _check_record(raw)
        if self._first_offset < 0:
            self._first_offset = offset
        self._event_time_us = raw.event_time_us
        batch = self._batch(offset, raw.event_time_us)
        good = 0  # messages since the last bad frame
        for frame in raw.frames:
            try:
                good += self._process_frame(batch, raw.sources, frame)
            except PartlyUsedError as error:
                good += 1
                self._bury(batch, frame, str(error))
            except FrameError as error:
                self._count_good(good)
                good = 0
                self._limit.add_bad(self.tally)
                self._bury(batch, frame, str(error))
        self._count_good(good)
        batch.seal()
        self.next_offset = offset + 1
        self._last = batch
        if self._follows_trades:
            self._follow(batch)
        return batch

    def bury(self, offset: int, value: bytes, time_us: int, reason: str) -> Batch:
        """Make a dead letter of a raw record that cannot be used, at a time; it is passed over."""
        batch = bad_record(self._batch(offset, time_us), value, reason)
        self._limit.add_bad(self.tally)
        self.next_offset = offset + 1
        return batch

    def lose(self, next_offset: int, loss: LossPiece) -> None:
        """Go on at an offset, since what comes before is gone; it is told with the next raw record.

        What was lost of each stream is found as if a connection had lost it: by numbers of frames and the venue's ids.
        """
        self.next_offset, self._loss = next_offset, loss

    def follow_written(self, offset: int) -> None:
        """Keep the numbers of the program that wrote the state up to the last raw record of which it wrote a part."""
        if self._version == SHARED_RANGE_VERSION:
            self._shared_until = offset

    def touch_all(self) -> None:
        """Let the next capture be of everything, whole."""
        for state in self._ordered:
            state.increments.expire()
            self._touch(state)
        self._touched_lists.update(dict.fromkeys(self._lists))

    def finish(self) -> list[Derived]:
        """Report what was counted but not told yet; for files that end, not for streams."""
        last = self._last
        if last is None:
            return []
        batch = last.after()
        self._report(batch, self._throttle.rest())
        for state in self._ordered:
            state.finish(batch)
        batch.seal()
        self._last = batch
        return batch.records

    def books(self) -> tuple[int, int]:
        """Count books: valid, and invalid ones whose deltas come."""
        keepers = [state.keeper for state in self._ordered if state.keeper.last_seen or state.keeper.is_valid]
        valid = sum(keeper.is_valid for keeper in keepers)
        return valid, len(keepers) - valid

    @property
    def clock_us(self) -> int:
        """The newest CLOCK of a producer that is there; 0 = there is none."""
        return max(self._clocks.values(), default=0)

    def leads(self) -> Counter[str]:
        """Count the streams that each producer brings first, or alone, by the name of its run."""
        connections = Counter(line.sole or line.lead for state in self._ordered for line in state.lines())
        leads: Counter[str] = Counter()
        for connection, count in connections.items():  # few
            if connection:
                leads[producer_of(connection)] += count
        return leads

    def states(self) -> list[SymbolState]:
        """List the symbols by canonical symbol."""
        return list(self._ordered)

    def freeze(self) -> None:
        """Begin to capture what changed since the last call, as it is now: `next_piece` gives it, a piece at a time.

        Raw records may be processed meanwhile: what one is about to change is captured before.
        """
        assert not any((self._frozen, self._frozen_lists, self._captured)), "the last capture is not at its end"
        self._frozen, self._touched = self._touched, {}
        self._frozen_lists, self._touched_lists = self._touched_lists, {}

    def next_piece(self) -> Piece | None:
        """Capture another piece as of `freeze`: of a canonical symbol or a share of a market; None = those were all."""
        if self._captured:
            return self._captured.popleft()
        if self._frozen_lists:
            return self._capture_list(self._frozen_lists.popitem()[0])
        return capture_symbol(*self._frozen.popitem()) if self._frozen else None

    def changed_states(self) -> dict[str, Piece]:
        """Capture at once all that changed since the last capture, by name."""
        self.freeze()
        return {piece.name: piece for piece in iter(self.next_piece, None)}

    def head(self, outputs: OutputsPiece | None = None) -> bytes:
        """Capture what belongs to the partition as a whole, with how far its outputs have come."""
        return encode_piece(
            HeadPiece(
                version=STATE_VERSION,
                next_offset=self.next_offset,
                first_offset=self._first_offset,
                frames=self._next_numbers,
                throttle=self._throttle.capture(),
                event_time_us=self._event_time_us,
                outputs=outputs,
                tally=self.tally,
                memories=self._memories,
                clocks=self._clocks,
                watermark=self._watermark.capture(),
                loss=self._loss,
                readings=self._listings.readings,
            )
        )

    def restore(self, name: str, *payloads: bytes) -> None:
        """Put back what was captured under a name: the last whole piece, then its changes in order. Names by rank.

        Raises:
            StateError: it is damaged, or of a version that is not known.
        """
        if name == HEAD:
            head = decode_piece(HeadPiece, name, payloads[-1])
            self._version = head.version
            self.next_offset, self._first_offset = head.next_offset, head.first_offset
            self._next_numbers = head.frames
            self._throttle.restore(head.throttle)
            self._event_time_us = head.event_time_us
            self.tally, self._loss, self._clocks = head.tally, head.loss, head.clocks
            self._memories, self._listings.readings = head.memories, head.readings
            self._watermark.restore(head.watermark)
        elif name.startswith(MARKET_PREFIX):
            instruments = decode_piece(MarketPiece, name, payloads[-1]).instruments
            self._symbology.update(instruments)
            self._beginnings.clear()
            for each in instruments:
                self._lists.setdefault(_list_name(each), {})[each.venue_symbol] = each
        else:
            pieces = [decode_piece(SymbolPiece, name, payload) for payload in payloads]
            if pieces[-1].is_released:
                return
            market = pieces[-1].instrument.market
            if market not in VENUES[self._venue].MARKETS:
                raise StateError(f"state of {name!r} is of a market {market!r} that is not known")
            counted = self._are_counted(market)
            rule = self._book_rule(market)
            restored = restore_symbol(
                pieces,
                rule,
                self._keyframe_us,
                trades_are_counted=counted,
                is_healed=bool(self._facts[market].past_trades),
                watermark=self._watermark,
                windows_s=self._windows_s,
            )
            self._add_state(restored)

    def _follow(self, batch: Batch) -> None:
        """Let time come as far as the newest trade of a batch."""
        trades = [each for each in batch.records if isinstance(each, Tick) and each.kind == "TRADE"]
        newest = max(trades, key=lambda trade: trade.exchange_time_us, default=None)
        if newest is not None and newest.exchange_time_us:
            self._watermark.follow(newest.recv_time_us, newest.exchange_time_us)

    def _batch(self, offset: int, time_us: int) -> Batch:
        """Begin the batch of a raw record, with what was lost before it."""
        batch = Batch(self._venue, self._topic, self._partition, offset, time_us)
        batch.is_shared = offset <= self._shared_until
        if self._loss is not None:
            loss, self._loss = self._loss, None
            count = max(0, loss.last - loss.first + 1)
            batch.event("RAW_LOSS", sequences=(loss.first, loss.last), count=count, detail=loss.why[:REASON_CHARS])
        return batch

    def _process_frame(self, batch: Batch, sources: Sequence[Source], frame: Frame) -> bool:
        """Use a frame; returns whether it is a message."""
        batch.recv_time_us = frame.recv_time_us
        source = sources[frame.source] if 0 <= frame.source < len(sources) else _no_source(sources, frame)
        market, connection, number, numbers = source.market, source.connection, frame.number, self._next_numbers
        batch.market, batch.connection = market, connection
        if numbers.get(connection) != number:
            self._check_number(batch, connection, number)
        numbers[connection] = number + 1
        if frame.kind != "MESSAGE" and frame.kind != "HTTP":  # noqa: PLR1714  # one comparison for most frames
            self._use_event(batch, frame)
            return False
        memory = self._memories.get(connection)
        if memory is None:
            if market not in self._facts:
                raise FrameError(f"{self._venue} has no market {market[:80]!r} that is known")
            memory = self._memories[connection] = Memory()
        try:
            items = self._parse(market, frame, memory)
        except FrameError as error:
            if error.may_change_books and frame.kind == "MESSAGE":
                self._doubt_books(batch, frame.payload)
            raise
        if len(items) == 1 and (use := ON_ITEM.get(type(item := items[0]))) is not None:
            state = self._states[market].get(item.symbol)  # type: ignore[union-attr]  # those that have none are others
            if state is not None:  # so it is with most frames
                if state.instrument.symbol not in self._touched:
                    self._touch(state)
                use(state, batch, item)
                return True
        self._use_items(batch, items)
        return True

    def _use_items(self, batch: Batch, items: list[AnyItem]) -> None:
        """Use each item by itself: one of an unknown symbol, or that cannot be used, holds back none of the others.

        Raises:
            FrameError: what the first such item lacks; a PartlyUsedError where there are others, which are used.
        """
        refused: list[FrameError] = []
        states = self._states[batch.market]
        for item in items:
            use = ON_ITEM.get(type(item))
            if use is None:
                if type(item) is Refused:
                    refused.append(FrameError(item.reason))
                else:
                    self._use_other(batch, item)  # type: ignore[arg-type]  # all others stand there
                continue
            symbol = item.symbol  # type: ignore[union-attr]  # those that have none do not
            state = states.get(symbol)
            if state is None:
                try:
                    if isinstance(item, DerivativeItem) and (item.is_of_all or item.is_optional):
                        self._use_where_listed(batch, item)
                        continue
                    state = self._new_state(batch, symbol)
                except FrameError as error:
                    refused.append(error)
                    continue
            if state.instrument.symbol not in self._touched:
                self._touch(state)
            use(state, batch, item)
        if refused:
            is_partly_used = len(refused) < sum(type(each) in ON_ITEM or type(each) is Refused for each in items)
            raise PartlyUsedError(str(refused[0])) if is_partly_used else refused[0]

    def _use_where_listed(self, batch: Batch, item: DerivativeItem) -> None:
        """Give a fact to the symbols that it is of, as far as there are any."""
        market = batch.market
        for name in self._named(market, item.symbol) if item.is_of_all else (item.symbol,):
            if self._symbology.find(market, name) is not None:
                state = self._states[market].get(name) or self._new_state(batch, name)
                self._touch(state)
                state.timed.on_derivative(batch, structs.replace(item, symbol=name))

    def _named(self, market: str, beginning: str) -> list[str]:
        """List the venue's names that begin so; in order of name, whatever is listed first."""
        found = self._beginnings.get((market, beginning))
        if found is None:
            names = (each.venue_symbol for each in self._symbology if each.market == market)
            found = self._beginnings[market, beginning] = sorted(each for each in names if each.startswith(beginning))
        return found

    def _use_other(self, batch: Batch, item: UnknownField | Notice | ConnectionGap | Repeated) -> None:
        if isinstance(item, UnknownField):
            self._note(batch, What("UNKNOWN_FIELD", batch.market, item.channel, item.field[:REASON_CHARS]))
        elif isinstance(item, Repeated):
            self._note(batch, What("DUPLICATE", batch.market, item.channel))
        elif isinstance(item, Notice):
            self._note(batch, What("VENUE_NOTICE", batch.market, detail=item.text))
        else:
            self._on_loss(batch, item)

    def _use_event(self, batch: Batch, frame: Frame) -> None:
        """Process frames that are no messages of the venue."""
        if frame.kind == "CLOCK":
            self._on_clock(batch)
        elif frame.kind == "CONNECT":
            batch.event("CONNECT", detail=f"{batch.connection} {frame.request}")
        elif frame.kind == "DISCONNECT":
            self._on_disconnect(batch, frame)
        elif frame.kind == "INSTRUMENTS":
            self._on_instruments(batch, frame)
        elif frame.kind != "SENT":
            raise FrameError(f"frames of kind {frame.kind} are not known")

    def _on_clock(self, batch: Batch) -> None:
        self._watch_clock(batch)
        self._report(batch, self._throttle.due(batch.recv_time_us))
        self._miss_producers(batch.recv_time_us)
        beat_us = self._watermark.beat_us
        unwatched = self._watermark.hear(batch.recv_time_us)
        is_beat = self._watermark.beat_us != beat_us
        for state in self._ordered:
            if unwatched:
                self._touch(state)
                state.bars.on_unwatched(unwatched)
                state.rest()
            if is_beat and state.is_silent():
                self._touch(state)
                state.on_silence(batch)
            if state.is_due(batch.recv_time_us):
                self._touch(state)
                state.on_clock(batch)

    def _miss_producers(self, now_us: int) -> None:
        """Notice producers that were killed: no DISCONNECT tells of it, but their clocks have stopped."""
        for clock, last_us in [each for each in self._clocks.items() if now_us - each[1] > GONE_US]:
            del self._clocks[clock]
            for state in self._ordered:
                carriers = state.trade_carriers()
                if clock in map(_clock_of, carriers):
                    self._touch(state)
                    state.on_killed([each for each in carriers if _clock_of(each) not in self._clocks], last_us)

    def _watch_clock(self, batch: Batch) -> None:
        """Notice that a producer's clock was set back: what waits for a time would wait for as long again."""
        now_us = batch.recv_time_us
        last_us = self._clocks.pop(batch.connection, None)
        if last_us is None:
            last_us = max(self._clocks.values(), default=now_us + APART_US) - APART_US
        if len(self._clocks) >= MOST_CLOCKS:
            del self._clocks[next(iter(self._clocks))]
        self._clocks[batch.connection] = now_us
        if now_us < last_us - SET_BACK_US:
            self._note(batch, What("CLOCK_STEP"), f"receive times went back by {(last_us - now_us) / 1e6:.1f} s")
            self._throttle.set_back(now_us)
            for state in self._ordered:
                self._touch(state)
                state.set_back(now_us)

    def _on_disconnect(self, batch: Batch, frame: Frame) -> None:
        reason = frame.payload.decode(errors="replace")[:REASON_CHARS]
        batch.event("DISCONNECT", detail=f"{batch.connection} {reason}")
        channel = stale_channel(reason)
        if channel:
            batch.event("STALE", channel=channel, detail=batch.connection)
        for state in self._ordered:
            if state.instrument.market == batch.market and state.is_carried_by(batch.connection):
                self._touch(state)
                state.on_disconnect(batch, "disconnect")
        self._next_numbers.pop(batch.connection, None)
        self._memories.pop(batch.connection, None)

    def _on_loss(self, batch: Batch, gap: ConnectionGap) -> None:
        """Messages of a connection are missing: no book that it feeds is believed any more."""
        count = gap.last - gap.first + 1
        batch.event("GAP", sequences=(gap.first, gap.last), count=count, detail=batch.connection)
        for state in self._ordered:
            if state.instrument.market == batch.market and state.is_carried_by(batch.connection):
                self._touch(state)
                state.on_loss(batch, f"{count} messages of the connection are missing")

    def _doubt_books(self, batch: Batch, payload: bytes) -> None:
        """Give up books that a message which could not be read may have changed, where nothing else shows it.

        Those are the books of the symbols that it names; where it names none that is known, all of its connection.
        """
        blind = [each for each in self._ordered if each.is_blind and each.instrument.market == batch.market]
        doubted = [each for each in blind if each.is_carried_by(batch.connection)]
        named = [each for each in doubted if f'"{each.instrument.venue_symbol}"'.encode() in payload]
        for state in named or doubted:
            self._touch(state)
            state.on_unread(batch)

    def _on_instruments(self, batch: Batch, frame: Frame) -> None:
        try:
            listing = self._names.read_list(batch.market, frame.payload, batch.event_time_us)
        except ValueError as error:
            raise FrameError(f"instrument list: {str(error)[:REASON_CHARS]}") from error
        renamed = [each for each in listing.instruments if self._is_renamed(each)]
        told = [each for each in listing.instruments if not self._is_renamed(each)]
        absent = self._listings.take(batch.connection, frame, listing, lambda: self._trading(batch.market))
        if absent is not None:
            told += self._delisted(batch, absent)
            self._release(batch)
        for instrument in self._take_in(batch.market, told):
            if self._is_ours(instrument):
                batch.instrument(instrument)
        if renamed:
            names = ", ".join(f"{each.venue_symbol[:40]!r} {each.symbol[:40]}" for each in renamed[:3])
            raise FrameError(f"instrument list: {len(renamed)} had another symbol until now: {names}")

    def _trading(self, market: str) -> list[str]:
        """List the venue's names of what trades, as lists told."""
        return [each.venue_symbol for each in self._symbology if each.market == market and _is_listed(each)]

    def _delisted(self, batch: Batch, absent: Sequence[str]) -> list[Instrument]:
        """Make of what no list names any more such that does not trade; most of a market is rather a bad answer."""
        if len(absent) >= FEW and 2 * len(absent) > len(self._trading(batch.market)):
            self._note(
                batch, What("VENUE_NOTICE", batch.market, detail="a list that lacks most of a market is doubted")
            )
            return []
        found = (self._symbology.find(batch.market, each) for each in absent)
        return [structs.replace(each, is_trading=False, event_time_us=batch.event_time_us) for each in found if each]

    def _release(self, batch: Batch) -> None:
        """Forget the symbols that expired so long ago that nothing is told of them any more."""
        until_us = batch.event_time_us - RELEASE_US
        for state in [each for each in self._ordered if 0 < each.instrument.expiry_time_us < until_us]:
            instrument = state.instrument
            if instrument.market != batch.market:
                continue
            self._touch(state)
            del self._states[instrument.market][instrument.venue_symbol], self._by_symbol[instrument.symbol]
            self._ordered.remove(state)
            self._touched[instrument.symbol] = empty = self._make_state(instrument)
            empty.is_released = True

    def _is_renamed(self, instrument: Instrument) -> bool:
        """Tell whether what runs under one canonical symbol is now listed under another: state is kept by symbol."""
        state = self._states[instrument.market].get(instrument.venue_symbol)
        return state is not None and state.instrument.symbol != instrument.symbol

    def _take_in(self, market: str, instruments: Iterable[Instrument]) -> list[Instrument]:
        changed = self._symbology.update(instruments)
        if changed:
            self._beginnings.clear()
        for each in changed:
            self._list(each)
            state = self._states[market].get(each.venue_symbol)
            if state is not None:
                self._touch(state)
                state.update(each)
        return changed

    def _list(self, instrument: Instrument) -> None:
        name = _list_name(instrument)
        if name in self._frozen_lists:
            del self._frozen_lists[name]
            self._captured.append(self._capture_list(name))
        self._touched_lists[name] = None
        self._lists.setdefault(name, {})[instrument.venue_symbol] = instrument

    def _touch(self, state: SymbolState) -> None:
        """Note that a state is about to change; capture it before, where it is to be captured as it was."""
        symbol = state.instrument.symbol
        if symbol in self._frozen:
            self._captured.append(capture_symbol(symbol, self._frozen.pop(symbol)))
        self._touched[symbol] = state

    def _is_ours(self, instrument: Instrument) -> bool:
        count = self._partition_count
        return count is None or partition_of(instrument.symbol, count) == self._partition

    def _new_state(self, batch: Batch, venue_symbol: str) -> SymbolState:
        instrument = self._symbology.find(batch.market, venue_symbol) or self._assume(batch, venue_symbol)
        other = self._by_symbol.get(instrument.symbol)
        state = self._make_state(instrument)
        if other is not None:  # one would be kept under the other's name
            if other.instrument.market == batch.market or self._is_brought(other):
                raise FrameError(
                    f"{venue_symbol[:40]!r} and {other.instrument.venue_symbol!r} are both {instrument.symbol}"
                )
            self._replace(batch, other, state)
        self._touched.pop(instrument.symbol, None)  # what it was released as
        self._add_state(state)
        return state

    def _is_brought(self, state: SymbolState) -> bool:
        """Tell whether any connection is there that brings something of a symbol."""
        clocks = self._clocks
        names = (each for each in state.bringers() if each in self._next_numbers)
        return any(not clocks or _clock_of(each) in clocks for each in names)

    def _replace(self, batch: Batch, old: SymbolState, new: SymbolState) -> None:
        """Go on with a symbol that is captured from another market now, and by nobody from the old one."""
        symbol, was, now = old.instrument.symbol, old.instrument, new.instrument
        self._touch(old)
        new.sequence_id, new.keeper.snapshot_id = old.sequence_id, old.keeper.snapshot_id
        del self._states[was.market][was.venue_symbol], self._by_symbol[symbol]
        self._ordered.remove(old)
        words = f"{symbol} is {now.venue_symbol} of {now.market} now, no more {was.venue_symbol} of {was.market}"
        self._note(batch, What("VENUE_NOTICE", now.market, detail=words))

    def _make_state(self, instrument: Instrument) -> SymbolState:
        return SymbolState(
            instrument,
            self._book_rule(instrument.market),
            self._keyframe_us,
            trades_are_counted=self._are_counted(instrument.market),
            is_healed=bool(self._facts[instrument.market].past_trades),
            watermark=self._watermark,
            windows_s=self._windows_s,
        )

    def _assume(self, batch: Batch, venue_symbol: str) -> Instrument:
        try:
            instrument = self._assumed(batch, venue_symbol)
        except SymbolError as error:
            self._note(batch, What("UNKNOWN_SYMBOL", batch.market, detail=venue_symbol[:REASON_CHARS]))
            raise FrameError(str(error)) from error
        self._take_in(batch.market, [instrument])
        batch.instrument(instrument)
        batch.event("ASSUMED_INSTRUMENT", instrument.symbol, detail=venue_symbol)
        return instrument

    def _assumed(self, batch: Batch, venue_symbol: str) -> Instrument:
        if not self._assumes:
            raise SymbolError(f"no instrument list names {venue_symbol[:40]!r}")
        return self._names.assumed_instrument(batch.market, venue_symbol, batch.event_time_us)

    def _add_state(self, state: SymbolState) -> None:
        self._states[state.instrument.market][state.instrument.venue_symbol] = state
        self._by_symbol[state.instrument.symbol] = state
        insort(self._ordered, state, key=lambda each: (each.instrument.symbol, each.instrument.market))

    def _check_number(self, batch: Batch, connection: str, number: int) -> None:
        """Report a hole in the frame numbers of a connection.

        What a connection sent before the first raw record there is to read is not missed.
        """
        expected = self._next_numbers.get(connection)
        if expected is None:
            if len(self._next_numbers) >= MOST_CONNECTIONS:
                oldest = next(iter(self._next_numbers))
                del self._next_numbers[oldest]
                self._memories.pop(oldest, None)
            expected = 0 if self._first_offset == 0 else number
        if number > expected:
            sequences = (expected, number - 1)
            batch.event("FRAME_LOSS", sequences=sequences, count=number - expected, detail=connection)
            for state in self._ordered:
                if not state.shows_loss and state.is_carried_by(connection):
                    self._touch(state)
                    state.on_frame_loss(batch)

    def _count_good(self, count: int) -> None:
        if count:
            self.tally.good(count)

    def _bury(self, batch: Batch, frame: Frame, reason: str) -> None:
        batch.dead_letter(frame, reason[:REASON_CHARS])
        self._note(batch, What("DEAD_LETTER", batch.market), reason)

    def _note(self, batch: Batch, what: What, example: str = "") -> None:
        count = self._throttle.note(what, batch.recv_time_us)
        if count:
            self._report(batch, [(what, count)], example)

    def _report(self, batch: Batch, counts: Iterable[tuple[What, int]], example: str = "") -> None:
        for what, count in counts:
            detail = what.detail or example[:REASON_CHARS]
            batch.event(what.kind, market=what.market, channel=what.channel, count=count, detail=detail)

    def _capture_list(self, name: str) -> Piece:
        instruments = list(self._lists[name].values())
        return Piece(name, encode_piece(MarketPiece(version=STATE_VERSION, instruments=instruments)))


def producer_of(connection: str) -> str:
    """Cut the name of a producer's run out of a connection's.

    >>> producer_of("spot-p2-0-m4x81k2-7")
    'm4x81k2'
    """
    parts = connection.rsplit("-", 2)
    return parts[1] if len(parts) == 3 else connection


def _clock_of(connection: str) -> str:
    """Name the clock of a connection's producer."""
    return CLOCK_PREFIX + producer_of(connection)


def _is_listed(instrument: Instrument) -> bool:
    return instrument.is_trading and not instrument.is_assumed


def _list_name(instrument: Instrument) -> str:
    """Name the piece that holds an instrument."""
    return f"{MARKET_PREFIX}{instrument.market}#{partition_of(instrument.venue_symbol, MARKET_SHARES)}"


def _check_record(raw: RawFrames) -> None:
    """Refuse times and counters that no producer writes: they would spoil what is derived."""
    if not 0 <= raw.event_time_us < LAST_US:
        raise FrameError(f"raw record says it was taken in at {raw.event_time_us}")
    for frame in raw.frames:
        if not (0 <= frame.recv_time_us < LAST_US and 0 <= frame.number < MOST_FRAMES):
            raise FrameError(f"frame {frame.number} says it was read at {frame.recv_time_us}")


def _no_source(sources: Sequence[Source], frame: Frame) -> NoReturn:
    raise FrameError(f"frame names source {frame.source} of {len(sources)}")
