"""Kraken as the simulated venue speaks it: spot by WebSocket API 2, with the checksums of its books; AssetPairs.

Futures, and spot by API 1 (recordings of it), stand in files of their own.

Numbers are unquoted. Books have no ids: each message carries the CRC32 of the ten best levels, and a book of N levels
is told as far as those.
Source: https://docs.kraken.com/api/docs/websocket-v2/book
Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final
from zlib import crc32

import msgspec

from tickerplant.local.venue.candles import Candle
from tickerplant.local.venue.dialect import (
    Action,
    Answer,
    Ask,
    Book,
    BookChange,
    Conversation,
    Endpoint,
    Frame,
    Handshake,
    Levels,
    MarketTerms,
    Now,
    Print,
    Route,
    Say,
    Stream,
    Subscribe,
    SymbolView,
    Unsubscribe,
    Writer,
)
from tickerplant.local.venue.dialect import Market as Symbols
from tickerplant.local.venue.dialects import kraken_futures
from tickerplant.local.venue.dialects.kraken_futures import FuturesConversation, FuturesWriter
from tickerplant.local.venue.dialects.kraken_spot_v1 import SpotV1Conversation, SpotV1Writer
from tickerplant.local.venue.listings import Asset, Listing, price_decimals
from tickerplant.local.venue.numbers import numbers_of
from tickerplant.local.venue.text import iso

NAME: Final = "KRAKEN"
MARKETS: Final = {
    "spot": MarketTerms(share=0.6),
    "futures": MarketTerms(share=0.4, has_marks=True),
    "spot_v1": MarketTerms(share=0.0),
}
ENDPOINTS: Final = (
    Endpoint(name="spot", market="spot", paths=("/v2",)),
    Endpoint(name="futures", market="futures", paths=("/ws/v1",)),
    Endpoint(name="spot_v1", market="spot_v1", paths=("/",)),
)
CHECKSUM: Final = re.compile(rb'"(?:checksum":|c":")(\d+)')

DEPTHS: Final = (10, 25, 100, 500, 1000)
INTERVALS: Final = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
TRIGGERS: Final = ("trades", "bbo")
CHANNELS: Final = ("book", "trade", "ticker", "ohlc")
TRADES_AT_FIRST: Final = 50
PAST_TRADES: Final = 1000  # of an answer
ALL_TRADES: Final = 1 << 30
TOP: Final = 10  # levels of each side that a checksum is made of
MINUTE_MS: Final = 60_000
BOOK_MS: Final = 50
IDLE_S: Final = 1.0
SIZE_DECIMALS: Final = 8
FIAT: Final = frozenset({"USD", "EUR", "GBP", "CAD", "JPY", "AUD", "CHF"})
ALIASES: Final = {"BTC": "XBT", "DOGE": "XDG"}


class _RefusedError(Exception):
    """A request that the venue refuses; its text is the answer's."""


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market."""
    if market == kraken_futures.MARKET:
        return kraken_futures.listings(assets, now_ms)
    return [
        Listing(
            market=market,
            symbol=f"{each.base}/USD",
            base=each.base,
            quote="USD",
            numbers=numbers_of(price_decimals(each.price), SIZE_DECIMALS),
            start_price=each.price,
        )
        for each in assets
    ]


def routes(market: str) -> list[Route]:
    """List the REST addresses."""
    if market == kraken_futures.MARKET:
        return [
            Route(path="/api/v3/instruments", answer=kraken_futures.instruments, counts_as="instruments"),
            Route(path="/api/v3/history", answer=kraken_futures.past_trades, counts_as="trades"),
        ]
    return [
        Route(path="/0/public/AssetPairs", answer=lambda ask: _asset_pairs(market, ask), counts_as="instruments"),
        Route(path="/0/public/Trades", answer=lambda ask: _past_trades(market, ask), counts_as="trades"),
    ]


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection."""
    conversations: dict[str, type[FuturesConversation | SpotV1Conversation | SpotConversation]] = {
        "spot": SpotConversation, "futures": FuturesConversation, "spot_v1": SpotV1Conversation,
    }  # fmt: skip
    return conversations[handshake.endpoint.market](handshake.market)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    writers = {"spot": SpotWriter, "futures": FuturesWriter, "spot_v1": SpotV1Writer}
    return writers[listing.market](listing)


class SpotConversation(Conversation):
    """Methods: subscribe, unsubscribe, ping. Each symbol of a subscription is answered by itself."""

    tick_s = 0.25

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._heard: dict[tuple[str, str], Stream] = {}  # by channel and symbol: there is one of each
        self._heartbeats = False
        self._beat_s = 0.0

    def open(self, now: Now) -> Iterable[Action]:
        """Tell the state of the system."""
        del now
        return (Say(_status("online")),)

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do a method."""
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return (Say(_encode({"error": "Malformed request", "success": False, **_times(now)})),)
        method = request.get("method") if isinstance(request, Mapping) else None
        if method == "ping":
            return (Say(_encode({"method": "pong", **_number(request), **_times(now)})),)
        if method not in {"subscribe", "unsubscribe"}:
            return (Say(_encode({"error": "Unsupported method", "success": False, **_times(now)})),)
        given = request.get("params")
        parameters = given if isinstance(given, Mapping) else {}
        if parameters.get("channel") == "instrument":
            return self._instruments(request, now)
        symbols = parameters.get("symbol")
        if not isinstance(symbols, list) or not symbols:
            return (_refusal(request, "Symbol is required", "", now),)
        return [action for symbol in symbols for action in self._one(request, parameters, str(symbol), now)]

    def tick(self, now: Now) -> Iterable[Action]:
        """Send a heartbeat each second in which nothing else was sent, after the first subscription."""
        if not self._heartbeats or now.quiet_s < IDLE_S or now.s - self._beat_s < IDLE_S:
            return ()
        self._beat_s = now.s
        return (Say(b'{"channel":"heartbeat"}'),)

    def maintenance(self, now: Now) -> Iterable[bytes]:
        """Tell that the system goes into maintenance."""
        del now
        return (_status("maintenance"),)

    def _one(
        self, request: Mapping[str, Any], parameters: Mapping[str, Any], symbol: str, now: Now
    ) -> Iterable[Action]:
        """Subscribe to, or unsubscribe from, a channel of one symbol."""
        try:
            stream = _stream(parameters, symbol, self._symbols)
        except _RefusedError as refusal:
            return (_refusal(request, str(refusal), symbol, now),)
        key = stream.channel, symbol
        result = {"channel": stream.channel, **_told(stream), "symbol": symbol}
        if request["method"] == "unsubscribe":
            gone = self._heard.pop(key, None)
            if gone is None:
                return (_refusal(request, "Subscription Not Found", symbol, now),)
            return (Unsubscribe(gone), _granted(request, result, now))
        if key in self._heard:
            return (_refusal(request, "Already subscribed", symbol, now),)
        self._heard[key] = stream
        self._heartbeats = True
        has_snapshot = parameters.get("snapshot") is not False
        return (_granted(request, {**result, "snapshot": has_snapshot}, now), Subscribe(stream, has_snapshot))

    def _instruments(self, request: Mapping[str, Any], now: Now) -> Iterable[Action]:
        """List all pairs; there is no news of them."""
        pairs = [_pair(each) for each in self._symbols.listings("spot")]
        body = {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": pairs}}
        return (_granted(request, {"channel": "instrument", "snapshot": True}, now), Say(_encode(body)))


class SpotWriter(Writer):
    """Writes the messages of one pair."""

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write the trades of an order in one message."""
        del now_ms
        return (self._trades("update", prints),) if stream.kind == "trade" else ()

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write a ticker that the best quote triggered."""
        del stream
        return (self._ticker("update", view, now_ms),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write a ticker that trades triggered."""
        del stream
        return (self._ticker("update", view, now_ms),)

    def first(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write recent trades, or a ticker."""
        if stream.kind == "trade":
            prints = view.recent(TRADES_AT_FIRST)
            return (self._trades("snapshot", prints),) if prints else ()
        return (self._ticker("snapshot", view, now_ms),) if stream.channel == "ticker" else ()

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write an update, with the checksum of the book after it."""
        del stream
        checksum = self._checksum(*change.top(TOP))
        text = self._book("update", change.bids, change.asks, checksum, f',"timestamp":"{iso(now_ms)}"')
        return (Frame(text.encode(), change.last_id, change.last_id),)

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a snapshot."""
        del stream, now_ms
        checksum = self._checksum(book.bids[:TOP], book.asks[:TOP])
        return (Frame(self._book("snapshot", book.bids, book.asks, checksum).encode(), book.last_id, book.last_id),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle; that it is closed shows by the time of the message alone."""
        del is_closed
        price, size = self.listing.numbers.price, self.listing.numbers.size
        vwap = candle.quote / (candle.volume / self.listing.numbers.size_scale)
        end_ms = candle.open_ms + stream.every_ms
        row = (
            f'{{"symbol":"{self.listing.symbol}","open":{price(candle.open)},"high":{price(candle.high)},'
            f'"low":{price(candle.low)},"close":{price(candle.close)},"trades":{candle.count},'
            f'"volume":{size(candle.volume)},"vwap":{vwap:.{self.listing.numbers.price_decimals}f},'
            f'"interval_begin":"{iso(candle.open_ms, 9)}","interval":{stream.form},"timestamp":"{iso(end_ms)}"}}'
        )
        text = f'{{"channel":"ohlc","type":"update","timestamp":"{iso(now_ms, 9)}","data":[{row}]}}'
        return (Frame(text.encode()),)

    def _trades(self, kind: str, prints: Sequence[Print]) -> Frame:
        rows = ",".join(
            f'{{"symbol":"{self.listing.symbol}","side":"{"buy" if each.is_buy else "sell"}","price":{each.price},'
            f'"qty":{each.size},"ord_type":"market","trade_id":{each.number},"timestamp":"{iso(each.time_ms)}"}}'
            for each in prints
        )
        text = f'{{"channel":"trade","type":"{kind}","data":[{rows}]}}'
        return Frame(text.encode(), prints[0].number, prints[-1].number)

    def _ticker(self, kind: str, view: SymbolView, now_ms: int) -> Frame:
        numbers, quote, day = self.listing.numbers, view.quote, view.day
        price, size = numbers.price, numbers.size
        last, opened = (day.last, day.open) if day else (quote.bid, quote.bid)
        low, high, volume = (day.low, day.high, day.volume) if day else (quote.bid, quote.bid, 0)
        row = (
            f'{{"symbol":"{self.listing.symbol}","bid":{price(quote.bid)},"bid_qty":{size(quote.bid_size)},'
            f'"ask":{price(quote.ask)},"ask_qty":{size(quote.ask_size)},"last":{price(last)},"volume":{size(volume)},'
            f'"vwap":{price(last)},"low":{price(low)},"high":{price(high)},"change":{price(last - opened)},'
            f'"change_pct":{(last / opened - 1) * 100:.2f},"timestamp":"{iso(now_ms)}"}}'
        )
        return Frame(f'{{"channel":"ticker","type":"{kind}","data":[{row}]}}'.encode())

    def _book(self, kind: str, bids: Levels, asks: Levels, checksum: int, tail: str = "") -> str:
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self.listing.symbol}","bids":[{_levels(bids)}],'
            f'"asks":[{_levels(asks)}],"checksum":{checksum}{tail}}}]}}'
        )

    def _checksum(self, bids: Levels, asks: Levels) -> int:
        return checksum_of(bids, asks)


def checksum_of(bids: Levels, asks: Levels) -> int:
    """Make the checksum of the best levels: asks, then bids, without points and leading zeros.

    >>> checksum_of([("0.5", "1.00")], [("0.6", "2.00")]) == crc32(b"62005100")
    True
    """
    digits = (number.replace(".", "").lstrip("0") for number in chain.from_iterable(chain(asks, bids)))
    return crc32("".join(digits).encode())


def _stream(parameters: Mapping[str, Any], symbol: str, symbols: Symbols) -> Stream:
    """Tell what is asked for.

    Raises:
        _RefusedError: there is no such channel, symbol, depth, interval or trigger.
    """
    channel = parameters.get("channel")
    if channel not in CHANNELS:
        raise _RefusedError(f"Channel {channel} is not supported")
    if symbols.listing("spot", symbol) is None:
        raise _RefusedError(f"Currency pair not supported {symbol}")
    if channel == "trade":
        return Stream(market="spot", name=f"trade:{symbol}", kind="trade", symbol=symbol, channel="trade")
    if channel == "book":
        depth = _one_of(parameters, "depth", DEPTHS)
        name = f"book:{symbol}:{depth}"
        return Stream(
            market="spot", name=name, kind="depth", symbol=symbol, channel="book", every_ms=BOOK_MS, levels=depth,
            form=str(depth),
        )  # fmt: skip
    if channel == "ohlc":
        minutes = _one_of(parameters, "interval", INTERVALS)
        name = f"ohlc:{symbol}:{minutes}"
        return Stream(
            market="spot", name=name, kind="candle", symbol=symbol, channel="ohlc", every_ms=minutes * MINUTE_MS,
            form=str(minutes),
        )  # fmt: skip
    trigger = _one_of(parameters, "event_trigger", TRIGGERS)
    return Stream(
        market="spot",
        name=f"ticker:{symbol}:{trigger}",
        kind="quote" if trigger == "bbo" else "ticker",
        symbol=symbol,
        channel="ticker",
        form=trigger,
    )


def _one_of(parameters: Mapping[str, Any], name: str, known: Sequence[Any]) -> Any:
    """Read a parameter, by default the first that is known.

    Raises:
        _RefusedError: it is none of these.
    """
    value = parameters.get(name, known[0])
    if value not in known:
        raise _RefusedError(f"Field '{name}' value {value} is not supported")
    return value


def _told(stream: Stream) -> dict[str, Any]:
    """Tell the parameters of a subscription once more."""
    names = {"book": "depth", "ohlc": "interval", "ticker": "event_trigger"}
    if stream.channel not in names:
        return {}
    return {names[stream.channel]: int(stream.form) if stream.form.isdigit() else stream.form}


def _granted(request: Mapping[str, Any], result: Mapping[str, Any], now: Now) -> Say:
    body = {"method": request["method"], "result": result, "success": True, **_number(request), **_times(now)}
    return Say(_encode(body))


def _refusal(request: Mapping[str, Any], text: str, symbol: str, now: Now) -> Say:
    named = {"symbol": symbol} if symbol else {}
    body = {"error": text, "method": request["method"], **_number(request), "success": False, **named, **_times(now)}
    return Say(_encode(body))


def _number(request: Mapping[str, Any]) -> dict[str, Any]:
    return {"req_id": request["req_id"]} if "req_id" in request else {}


def _times(now: Now) -> dict[str, str]:
    return {"time_in": iso(now.ms), "time_out": iso(now.ms)}


def _status(system: str) -> bytes:
    data = {"api_version": "v2", "connection_id": 12393906104898154338, "system": system, "version": "2.0.10"}
    return _encode({"channel": "status", "type": "update", "data": [data]})


def _levels(levels: Levels) -> str:
    return ",".join([f'{{"price":{price},"qty":{size}}}' for price, size in levels])


def _pair(listing: Listing) -> dict[str, Any]:
    numbers = listing.numbers
    return {
        "symbol": listing.symbol,
        "base": listing.base,
        "quote": listing.quote,
        "status": "online",
        "qty_precision": numbers.size_decimals,
        "qty_increment": msgspec.Raw(numbers.size(1).encode()),
        "price_precision": numbers.price_decimals,
        "price_increment": msgspec.Raw(numbers.price(1).encode()),
        "cost_precision": 5,
        "marginable": False,
        "has_index": False,
    }


def _asset_pairs(market: str, ask: Ask) -> Answer:
    pairs = {}
    for each in ask.market.listings(market):
        base, quote = (ALIASES.get(name, name) for name in (each.base, each.quote))
        pairs[f"{base}{quote}"] = {
            "altname": f"{base}{quote}",
            "wsname": f"{base}/{quote}",
            "aclass_base": "currency",
            "base": base,
            "aclass_quote": "currency",
            "quote": f"Z{quote}" if quote in FIAT else quote,
            "lot": "unit",
            "cost_decimals": 5,
            "pair_decimals": each.numbers.price_decimals,
            "lot_decimals": each.numbers.size_decimals,
            "lot_multiplier": 1,
            "ordermin": each.numbers.size(1),
            "tick_size": each.numbers.price(1),
            "status": "online",
        }
    return Answer(_encode({"error": [], "result": pairs}))


def _past_trades(market: str, ask: Ask) -> Answer:
    """Answer with trades after a moment in ns, or the newest."""
    pair, since_ns = ask.query.get("pair", ""), int(ask.query.get("since", "0"))
    symbol = next((each.symbol for each in ask.market.listings(market) if pair == _rest_name(each)), "")
    kept = ask.market.trades(market, symbol, 0 if since_ns else -1, ALL_TRADES if since_ns else PAST_TRADES)
    if kept is None:
        return Answer(_encode({"error": ["EQuery:Unknown asset pair"]}))
    found = [each for each in kept if _moment_ns(each) > since_ns][:PAST_TRADES]
    rows = [
        [each.price, each.size, each.time_ms / 1000, "b" if each.is_buy else "s", "m", "", each.number]
        for each in found
    ]
    last_ns = _moment_ns(found[-1]) if found else since_ns
    return Answer(_encode({"error": [], "result": {pair: rows, "last": str(last_ns)}}))


def _rest_name(listing: Listing) -> str:
    return "".join(ALIASES.get(name, name) for name in (listing.base, listing.quote))


def _moment_ns(made: Print) -> int:
    """Tell the trades of a millisecond apart."""
    return made.time_ms * 1_000_000 + made.number % 1000


def _encode(body: object) -> bytes:
    return msgspec.json.encode(body)
