"""A recording of Binance, served by the names of its streams, byte for byte."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from tickerplant.local.venue.candles import CandleSeries
from tickerplant.local.venue.contents import (
    Contents,
    decode_delta,
    nameable,
    read_contents,
    stream_name,
    symbol_of_request,
)
from tickerplant.local.venue.dialect import NO_ID, Book, Frame, Print, Stream
from tickerplant.local.venue.dialects.binance.streams import stream_of
from tickerplant.local.venue.hub import Hub, Spoil
from tickerplant.local.venue.kept_book import KeptBook
from tickerplant.local.venue.listings import Listing, named, next_name
from tickerplant.local.venue.options import RecordingOptions
from tickerplant.local.venue.player import Player
from tickerplant.recordings import RecordedFrame

NAME: Final = "BINANCE"


class _Trade(msgspec.Struct, gc=False):
    """Of trade and aggTrade messages: what candles and counts need."""

    s: str
    p: str
    q: str
    m: bool
    T: int
    t: int = 0


class _TradeMessage(msgspec.Struct, gc=False):
    data: _Trade


_TRADE = msgspec.json.Decoder(_TradeMessage)


class Playback(Player):
    """Plays one recording on the endpoints of its market.

    Raises:
        UserError: the recording cannot be read, or is of another market.
    """

    def __init__(self, options: RecordingOptions, hub: Hub) -> None:
        super().__init__(options, hub)
        self._contents: Contents = read_contents(options)
        self._books = {symbol: self._book(symbol) for symbol in self._contents.symbols}
        self._candles = {symbol: CandleSeries() for symbol in self._contents.symbols}
        self._routes = {name: self._route(name) for name in self._contents.streams}
        self._listed = self._contents.listed(options.market)
        hub.told = self

    def listings(self, market: str) -> list[Listing]:
        """List the symbols whose names tell what they are; other markets list nothing."""
        if market != self._options.market:
            return []
        return [named(NAME, market, each) for each in nameable(market, self._contents.symbols)]

    def listing(self, market: str, symbol: str) -> Listing | None:
        """Find a symbol; None = not listed, or its name does not tell what it is."""
        return next((each for each in self.listings(market) if each.symbol == symbol), None)

    def recorded_instruments(self, market: str) -> bytes | None:
        """Give the recorded instrument list; None = there is none."""
        return self._contents.instruments if market == self._options.market else None

    def recorded_numbers(self) -> dict[str, int]:
        """Subscriptions have names alone."""
        return {}

    def book(self, market: str, symbol: str, levels: int) -> Book | None:
        """Give the book at the position; None = no such symbol."""
        if market != self._options.market or symbol not in self._listed:
            return None
        book = self._books.get(symbol) or KeptBook(symbol, first=None, snapshot=None)
        return book.book(levels)

    def candles(self, market: str, symbol: str) -> CandleSeries | None:
        """Give candles of the trades up to the position; None = no such symbol."""
        return self._candles.get(symbol) if market == self._options.market else None

    def trades(self, market: str, symbol: str, from_id: int, most: int) -> list[Print] | None:
        """Give none: those of a recording are not kept; None = no such symbol."""
        del from_id, most
        return None if self.listing(market, symbol) is None else []

    def neighbour(self, market: str, symbol: str) -> str:
        """Name the symbol listed next, or the same where there is no other."""
        return next_name(self._contents.symbols, symbol) if market == self._options.market else symbol

    def first(self, stream: Stream, spoil: Spoil) -> Iterable[Frame]:
        """Nothing: what was sent at first stands in the recording."""
        del stream, spoil
        return ()

    def position(self) -> dict[str, int]:
        """Tell how far it is."""
        return {
            "frames_played": self._played,
            "frames_recorded": self._contents.frames,
            "frames_unrouted": self._contents.unrouted,
            "lines_damaged": self._contents.damaged,
            "recv_time_us": self._recv_time_us,
        }

    def _play(self, frame: RecordedFrame) -> None:
        if frame.kind == "MESSAGE":
            route = self._routes.get(stream_name(frame.payload))
            if route is not None:
                number = route.see(frame.payload)
                self._hub.publish(route.stream, Frame(frame.payload, number, number))
                self._played += 1
        elif frame.kind == "HTTP" and (book := self._books.get(symbol_of_request(frame.request))):
            book.see_snapshot(frame.payload)

    def _book(self, symbol: str) -> KeptBook:
        contents = self._contents
        first, snapshot = contents.first_deltas.get(symbol), contents.snapshots.get(symbol)
        return KeptBook(symbol, first=first, snapshot=snapshot)

    def _route(self, name: str) -> "_Route":
        stream = stream_of(self._options.market, name)
        symbol = stream.symbol
        if stream.channel == "depth" and symbol:
            return _Route(stream, partial(self._see_delta, symbol))
        if stream.kind == "trade":
            return _Route(stream, partial(self._see_trade, symbol))
        if stream.kind == "aggregate" and f"{name.partition('@')[0]}@trade" not in self._contents.streams:
            return _Route(stream, partial(self._see_aggregate, symbol))
        return _Route(stream, _see_nothing)

    def _see_delta(self, symbol: str, payload: bytes) -> int:
        delta = decode_delta(payload)
        if delta is not None:
            self._books[symbol].see_delta(delta)
        return NO_ID

    def _see_trade(self, symbol: str, payload: bytes) -> int:
        trade = self._add_to_candle(symbol, payload)
        return NO_ID if trade is None else trade.t

    def _see_aggregate(self, symbol: str, payload: bytes) -> int:
        self._add_to_candle(symbol, payload)
        return NO_ID

    def _add_to_candle(self, symbol: str, payload: bytes) -> _Trade | None:
        """Count a trade into its minute; None = it is damaged."""
        try:
            trade = _TRADE.decode(payload).data
            price, size = float(trade.p), float(trade.q)
        except ValueError:  # msgspec's errors are such, too
            return None
        candle = self._candles[symbol].minute(trade.T, trade.t, price)
        candle.add(trade.t, price, size, price * size, is_buy=not trade.m)
        return trade


@dataclass(frozen=True, slots=True)
class _Route:
    """Where a stream goes, and what to learn from its frames before they go."""

    stream: Stream
    see: Callable[[bytes], int]  # tells the id of a trade


def _see_nothing(_payload: bytes) -> int:
    """Nothing to learn."""
    return NO_ID
