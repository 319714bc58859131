"""What the raw topic holds of venues whose messages name no stream: counted from what their processor reads in them."""

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from msgspec import structs

from processors.errors import FrameError
from processors.items import (
    AggTrade,
    AnyItem,
    BookDelta,
    Notice,
    PastTrades,
    Quote,
    Repeated,
    Trade,
)
from processors.memory import Memory
from processors.venues import VENUES
from schemas.records import Frame, RawFrames, Source
from tickerplant.demo.reconcile import MOST_QUOTES, RawCount
from tickerplant.local.venue.reading import DataItem, kind_of, of_symbols


@dataclass
class ParsedCount(RawCount):
    """Counts each item once, by its own id; dedupe, books and all that follows in the pipeline are not asked."""

    venue: str = ""
    _memories: dict[tuple[str, str], Memory] = field(default_factory=dict)
    _last: dict[tuple[str, str], Quote] = field(default_factory=dict)
    _leads: dict[tuple[str, str], str] = field(default_factory=dict)  # who brought the last one; gone = nobody
    _from: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _numbers_by_name: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)

    def add(self, raw: RawFrames) -> None:
        """Count the market data of one raw record; answers and heartbeats are none."""
        for frame in raw.frames:
            source = raw.sources[frame.source]
            if frame.kind == "DISCONNECT":
                self._memories.pop((source.market, source.connection), None)
                self._leads = {key: lead for key, lead in self._leads.items() if lead != source.connection}
            elif frame.kind == "MESSAGE":
                self._add_frame(source, frame)
            elif frame.kind == "HTTP":
                self._add_answer(source.market, frame)

    def _add_answer(self, market: str, frame: Frame) -> None:
        """Count trades that were asked for, where they were missing; what cannot be read is a dead letter."""
        with suppress(FrameError):
            for item in VENUES[self.venue].parse(market, frame, Memory()):
                if isinstance(item, PastTrades) and item.is_unnumbered:
                    self._add_unnumbered(market, item)
                    continue
                for trade in item.trades if isinstance(item, PastTrades) else ():
                    if VENUES[self.venue].trades_are_counted(market):
                        self._restore(market, trade.symbol, trade.trade_id)
                    else:
                        self.answered.add((market, trade.symbol, trade.name or trade.trade_id))

    def _add_unnumbered(self, market: str, page: PastTrades) -> None:
        """Count trades without numbers that lie between two of the stream, where their numbers can be but one."""
        known = self._numbers_by_name.get((market, page.symbol), {})
        places = [(place, known[each.name]) for place, each in enumerate(page.trades) if each.name in known]
        for (place, number), (next_place, next_number) in pairwise(places):
            if next_number - number == next_place - place:
                for between in range(number + 1, next_number):
                    self._restore(market, page.symbol, between)

    def _add_frame(self, source: Source, frame: Frame) -> None:
        memory = self._memories.setdefault((source.market, source.connection), Memory())
        items: list[AnyItem] = []
        is_dead = frame.payload in self.dead
        try:
            items = VENUES[self.venue].parse(source.market, frame, memory)
        except FrameError:
            is_dead = True
        found = of_symbols(items)
        told = found or self._told_late(source.market, frame, items, memory)
        if is_dead:
            self.frames += 1
            self.by_channel["dead letter"] += 1
        elif told:
            self.frames += 1
            self.by_channel[kind_of(told[0])] += 1
            for item in found:
                self._add(source, item)

    def _told_late(self, market: str, frame: Frame, items: list[AnyItem], memory: Memory) -> list[DataItem]:
        """Tell what a message would have told in its turn that came too late, by its number on the connection."""
        if not any(isinstance(item, Notice | Repeated) for item in items):
            return []
        return of_symbols(VENUES[self.venue].parse(market, frame, Memory(dict(memory.names))))

    def _add(self, source: Source, item: DataItem) -> None:
        market = source.market
        match item:
            case Trade():
                self._count_trade(market, item.symbol, item.name or item.trade_id, item.trade_id)
                if item.name and VENUES[self.venue].trades_are_counted(market):
                    self._numbers_by_name.setdefault((market, item.symbol), {})[item.name] = item.trade_id
            case AggTrade():
                self.aggregates.add((market, item.symbol, item.name or item.trade_id))
            case BookDelta():
                self._add_delta(source, item)
            case Quote():
                self._add_item_quote(source, item)
            case _:
                pass

    def _add_delta(self, source: Source, delta: BookDelta) -> None:
        """Count an update: by its id where the venue numbers it, on each connection where it does so by itself."""
        rule = VENUES[self.venue].book_rule(source.market)
        if not rule.has_ids:
            self.unnumbered += 1
            return
        connection = "" if rule.ids_are_shared else source.connection
        self.deltas.add((f"{source.market}/{connection}", delta.symbol, delta.sequence))

    def _add_item_quote(self, source: Source, quote: Quote) -> None:
        key, connection = (source.market, quote.symbol), source.connection
        if self._is_restamped(key, connection, quote):
            return
        self._leads[key] = connection
        is_redundant = self._from.setdefault((source.market, quote), connection) != connection
        self.quotes += quote != self._last.get(key) and not is_redundant
        self._last[key] = quote
        if len(self._from) > MOST_QUOTES:
            del self._from[next(iter(self._from))]

    def _is_restamped(self, key: tuple[str, str], connection: str, quote: Quote) -> bool:
        """Tell whether another connection brought this quote, where each connection has a time of its own for it."""
        last, lead = self._last.get(key), self._leads.get(key, connection)
        if last is None or lead == connection or quote.sequence != quote.exchange_time_us:
            return False
        again = structs.replace(quote, sequence=last.sequence, exchange_time_us=last.exchange_time_us)
        return quote.sequence <= last.sequence or again == last


def raw_count(venue: str, dead: frozenset[bytes]) -> RawCount:
    """Begin to count; of Binance, whose messages name their streams, without any of our processors."""
    return RawCount(dead) if venue == "BINANCE" else ParsedCount(dead, venue=venue)
