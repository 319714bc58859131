"""A recording of any venue, served by what its messages are: those of a symbol and kind go to all who listen to that.

Requests are answered as ever; answers and heartbeats that stand in the recording are left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from processors.items import BookDelta, BookSnapshot, Trade
from schemas.symbology import SymbolError
from schemas.venues import SYMBOLOGIES
from tickerplant.errors import UserError
from tickerplant.local.venue.candles import CandleSeries
from tickerplant.local.venue.dialect import NO_ID, Book, Dialect, Frame, Kind, Levels, Print, Stream
from tickerplant.local.venue.hub import Hub, Spoil
from tickerplant.local.venue.kept_book import Delta, KeptBook
from tickerplant.local.venue.listings import Listing, listing_of, named, next_name
from tickerplant.local.venue.options import RecordingOptions
from tickerplant.local.venue.player import Player
from tickerplant.local.venue.reading import DataItem, Reading, kind_of
from tickerplant.local.venue.session import Session
from tickerplant.recordings import RecordedFrame, RecordingError, read_recording

LEVELS_MOST: Final = 1 << 30
CARRIED_BY: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    "depth": ("depth", "book"),
    "mark_price": ("mark_price", "ticker"),
    "funding": ("funding", "mark_price", "ticker"),
    "open_interest": ("open_interest", "ticker"),
    "other": ("other", "mark_price", "ticker"),
}
"""Kinds of stream that an item may come by, where that is not its own alone."""


@dataclass
class Holdings:
    """What a recording holds, read once before it is played.

    Args:
        kinds: by venue symbol.
        intervals: of candles, as the processor names them.
        snapshots: the first one of each book that was asked for by REST: it lies ahead of the stream.
    """

    frames: int = 0
    unrouted: int = 0
    damaged: int = 0
    kinds: dict[str, set[Kind]] = field(default_factory=dict)
    intervals: set[str] = field(default_factory=set)
    listings: dict[str, Listing] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    first_deltas: dict[str, BookDelta] = field(default_factory=dict)
    snapshots: dict[str, BookSnapshot] = field(default_factory=dict)


def read_holdings(venue: str, options: RecordingOptions) -> Holdings:
    """Read a recording through.

    Raises:
        UserError: it cannot be read, or the venue's messages are not known.
    """
    held, reading = Holdings(), Reading(venue, options.market)

    def count(_error: RecordingError) -> None:
        held.damaged += 1

    for frame in read_recording(options.path, options.market, on_damage=count):
        if frame.kind == "INSTRUMENTS":
            _see_list(held, venue, options.market, frame.payload)
            continue
        items = reading.items(frame)
        if frame.kind == "MESSAGE":
            held.frames, held.unrouted = held.frames + bool(items), held.unrouted + (not items)
        for item in items:
            _see_item(held, item)
    held.numbers = reading.numbers()
    _name_the_rest(held, venue, options.market)
    return held


class ParsedPlayback(Player):
    """Plays one recording on the endpoints of its market.

    Raises:
        UserError: the recording cannot be read, or is of another venue or market.
    """

    def __init__(self, options: RecordingOptions, dialect: Dialect, hub: Hub) -> None:
        super().__init__(options, hub)
        self._dialect = dialect
        if options.market not in dialect.MARKETS:
            raise UserError(f"{dialect.NAME} has no market {options.market}: choose of {', '.join(dialect.MARKETS)}")
        self._held = read_holdings(dialect.NAME, options)
        if not self._held.listings:
            raise UserError(f"{options.path} holds no message of {dialect.NAME} {options.market} that is read today")
        self._writers = {name: dialect.writer(each) for name, each in self._held.listings.items()}
        self._books = {name: self._book(name) for name in self._held.listings}
        self._candles = {name: CandleSeries() for name in self._held.listings}
        self._reading = Reading(dialect.NAME, options.market)
        hub.told = self

    def listings(self, market: str) -> list[Listing]:
        """List the symbols that there are messages of; other markets list nothing."""
        return list(self._held.listings.values()) if market == self._options.market else []

    def listing(self, market: str, symbol: str) -> Listing | None:
        """Find a symbol; None = not listed."""
        return self._held.listings.get(symbol) if market == self._options.market else None

    def recorded_instruments(self, market: str) -> bytes | None:
        """Give none: lists are written anew, in the form of today."""
        del market
        return None

    def recorded_numbers(self) -> Mapping[str, int]:
        """Tell by which numbers the recording calls its subscriptions."""
        return self._held.numbers

    def book(self, market: str, symbol: str, levels: int) -> Book | None:
        """Give the book at the position; None = no such symbol."""
        kept = self._books.get(symbol) if market == self._options.market else None
        return None if kept is None else kept.book(levels)

    def candles(self, market: str, symbol: str) -> CandleSeries | None:
        """Give candles of the trades up to the position; None = no such symbol."""
        return self._candles.get(symbol) if market == self._options.market else None

    def trades(self, market: str, symbol: str, from_id: int, most: int) -> list[Print] | None:
        """Give none: those of a recording are not kept; None = no such symbol."""
        del from_id, most
        return None if self.listing(market, symbol) is None else []

    def neighbour(self, market: str, symbol: str) -> str:
        """Name the symbol listed next, or the same where there is no other."""
        return next_name(sorted(self._held.listings), symbol) if market == self._options.market else symbol

    def first(self, stream: Stream, spoil: Spoil) -> Iterable[Frame]:
        """Write the book at the position, where the recording has begun it; what else came at first, it tells."""
        writer, kept = self._writers.get(stream.symbol), self._books.get(stream.symbol)
        if writer is None or kept is None or stream.kind not in {"depth", "book"} or not kept.has_begun:
            return ()
        book = kept.book(stream.levels or LEVELS_MOST)
        return writer.book(stream, spoil(book), book.time_ms)

    def position(self) -> dict[str, int]:
        """Tell how far it is."""
        return {
            "frames_played": self._played,
            "frames_recorded": self._held.frames,
            "frames_unrouted": self._held.unrouted,
            "lines_damaged": self._held.damaged,
            "recv_time_us": self._recv_time_us,
        }

    def _play(self, frame: RecordedFrame) -> None:
        items = self._reading.items(frame)
        for item in items:
            self._see(item, is_in_stream=frame.kind == "MESSAGE")
        if frame.kind != "MESSAGE" or not items:
            return
        self._played += 1
        for session, stream in self._listeners(items).items():
            names = tuple(_name(item) for item in items if isinstance(item, Trade) and item.symbol == stream.symbol)
            session.replay(stream, Frame(frame.payload, *_ids(items), names=names))

    def _listeners(self, items: Iterable[DataItem]) -> dict[Session, Stream]:
        """Find the connections that listen to anything in a frame, with the first stream that it is of."""
        found: dict[Session, Stream] = {}
        for item in items:
            streams = self._hub.streams_of(self._options.market, item.symbol)
            kind = kind_of(item)
            for carrier in CARRIED_BY.get(kind, (kind,)):
                for key, stream in streams.get(carrier, {}).items():
                    for session in self._hub.listeners(key) or ():
                        found.setdefault(session, stream)
        return found

    def _see(self, item: DataItem, *, is_in_stream: bool) -> None:
        """Keep books and candles."""
        if item.symbol not in self._books:
            return
        kept = self._books[item.symbol]
        time_ms = item.exchange_time_us // 1000
        match item:
            case BookDelta():
                first, last, previous = item.first_sequence, item.sequence, item.previous_sequence
                bids, asks = _sides(item)
                kept.see_delta(Delta(U=first, u=last, b=bids, a=asks, pu=previous, E=time_ms))
            case BookSnapshot():
                kept.see_book(_whole(item), is_in_stream=is_in_stream and item.is_in_stream)
            case Trade():
                candle = self._candles[item.symbol].minute(time_ms, item.trade_id, item.price)
                amount = item.price * item.size
                candle.add(item.trade_id, item.price, item.size, amount, is_buy=item.side == "BUY")
            case _:
                pass

    def _book(self, symbol: str) -> KeptBook:
        """Begin a book right before the first delta, so that what is asked for by REST joins."""
        first = self._held.first_deltas.get(symbol)
        known = None if first is None else Delta(
            U=first.first_sequence, u=first.sequence, b=[], a=[], pu=first.previous_sequence
        )  # fmt: skip
        kept, snapshot = KeptBook(symbol, first=known, snapshot=None), self._held.snapshots.get(symbol)
        if snapshot is not None:
            kept.see_book(_whole(snapshot), is_in_stream=False)
        return kept


def user_channels(held: Holdings) -> set[str]:
    """Name the channels of a recording as users do."""
    kinds = set().union(*held.kinds.values()) if held.kinds else set()
    return {kind for kind in kinds if kind not in {"candle", "aggregate", "other"}} | {
        f"candle_{interval}" for interval in held.intervals
    }


def _see_list(held: Holdings, venue: str, market: str, body: bytes) -> None:
    try:
        listed = SYMBOLOGIES[venue].read_list(market, body, 0).instruments
    except ValueError:
        return  # of another market, or of another shape than today's
    held.listings.update((each.venue_symbol, listing_of(each)) for each in listed)


def _see_item(held: Holdings, item: DataItem) -> None:
    held.kinds.setdefault(item.symbol, set()).add(kind_of(item))
    interval = getattr(item, "interval", None)
    if interval is not None:
        held.intervals.add(interval)
    if isinstance(item, BookDelta):
        held.first_deltas.setdefault(item.symbol, item)
    elif isinstance(item, BookSnapshot) and not item.is_in_stream:
        held.snapshots.setdefault(item.symbol, item)


def _name_the_rest(held: Holdings, venue: str, market: str) -> None:
    """Keep the listings of symbols that there are messages of, and make those that no list told of."""
    listings = {name: held.listings[name] for name in held.kinds if name in held.listings}
    for name in held.kinds.keys() - listings.keys():
        try:
            listings[name] = named(venue, market, name)
        except SymbolError:
            held.kinds.pop(name)
    held.listings = listings


def _sides(item: BookDelta | BookSnapshot) -> tuple[Levels, Levels]:
    """Give the levels in the digits that were sent, where the item has them."""
    bids, asks = _levels(item.bid_prices, item.bid_sizes), _levels(item.ask_prices, item.ask_sizes)
    texts = item.texts
    if texts is None:
        return bids, asks
    return _as_sent(bids, texts.bid_prices, texts.bid_sizes), _as_sent(asks, texts.ask_prices, texts.ask_sizes)


def _as_sent(levels: Levels, prices: list[str], sizes: list[str]) -> Levels:
    """Put the digits that were sent in the place of ours; a level that goes, and a sign, are ours to tell."""
    return [
        (price or ours[0], size.removeprefix("-") if float(ours[1]) else "0")
        for ours, price, size in zip(levels, prices, sizes, strict=True)
    ]


def _whole(item: BookSnapshot) -> Book:
    bids, asks = _sides(item)
    return Book(item.symbol, item.sequence, item.sequence, bids, asks, item.exchange_time_us // 1000)


def _levels(prices: list[float], sizes: list[float]) -> Levels:
    return [(_text(price), _text(size)) for price, size in zip(prices, sizes, strict=True)]


def _text(number: float) -> str:
    """Write a number without exponent.

    >>> _text(1e-07), _text(12.5), _text(3.0)
    ('0.0000001', '12.5', '3')
    """
    text = f"{number:.12f}" if "e" in repr(number) else repr(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _name(trade: Trade) -> str:
    return trade.name or str(trade.trade_id)


def _ids(items: Iterable[DataItem]) -> tuple[int, int]:
    """Tell the ids of the first book update; `NO_ID` = there is none."""
    first = next((item for item in items if isinstance(item, BookDelta | BookSnapshot)), None)
    if first is None:
        return NO_ID, NO_ID
    return getattr(first, "first_sequence", first.sequence), first.sequence
