"""Bitfinex as the simulated venue speaks it: spot and perpetuals; numbered channels and messages, checksums of books.

What stands in a message besides its data (channel, number, time) follows from the connection and the flags it has set.
Source: https://docs.bitfinex.com/docs/ws-general
Source: https://docs.bitfinex.com/reference/ws-public-books
Source: https://docs.bitfinex.com/reference/ws-public-status
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

import msgspec

from tickerplant.local.venue.candles import Candle
from tickerplant.local.venue.dialect import (
    NO_ID,
    Action,
    Answer,
    Ask,
    Book,
    BookChange,
    Conversation,
    Endpoint,
    Frame,
    Handshake,
    Kind,
    Levels,
    MarketTerms,
    Now,
    Print,
    Quote,
    Route,
    Say,
    Stream,
    Subscribe,
    SymbolView,
    Unsubscribe,
    Writer,
)
from tickerplant.local.venue.dialect import Market as Symbols
from tickerplant.local.venue.listings import Asset, Listing, price_decimals
from tickerplant.local.venue.numbers import numbers_of
from tickerplant.local.venue.past import trades_of_time, whole_number
from tickerplant.local.venue.text import signed_crc32

NAME: Final = "BITFINEX"
MARKETS: Final = {"spot": MarketTerms(share=0.6), "derivatives": MarketTerms(share=0.4, has_marks=True)}
ENDPOINTS: Final = tuple(Endpoint(name=each, market=each, paths=("/ws/2",)) for each in MARKETS)
CHECKSUM: Final = re.compile(rb'"cs",(-?\d+)')

TIMES: Final = 32_768
NUMBERS: Final = 65_536
CHECKSUMS: Final = 131_072
KINDS: Final[dict[str, Kind]] = {"trades": "trade", "ticker": "ticker", "book": "depth"}
BOOK_MS: Final = 50
STATUS_MS: Final = 1000
HEARTBEAT_S: Final = 15.0
MOST_CHANNELS: Final = 25
TRADES_AT_FIRST: Final = 30
PAST_DEFAULT, PAST_MOST = 125, 10_000
TOP: Final = 25  # levels of each side that a checksum is made of
LENGTHS: Final = ("1", "25", "100", "250")
INTERVALS_MS: Final = {
    "1m": 60_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000, "3h": 10_800_000,
    "6h": 21_600_000, "12h": 43_200_000, "1D": 86_400_000,
}  # fmt: skip
BEHIND: Final = b"\0"  # stands between the data of a message and its time, until a connection finishes it
MOST_NUMBER_DIGITS: Final = 12  # of a message's number; its time has more
SIZE_DECIMALS: Final = 8
ALIASES: Final = {"USDT": "UST"}
UNKNOWN_EVENT: Final = 10000
SUBSCRIBE_FAILED: Final = 10300
ALREADY: Final = 10301
TOO_MANY: Final = 10305
NOT_SUBSCRIBED: Final = 10400

_PARTS = msgspec.json.Decoder(list[msgspec.Raw])


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market."""
    del now_ms
    is_perpetual = market == "derivatives"
    return [
        Listing(
            market=market,
            symbol=f"t{each.base}F0:USTF0" if is_perpetual else _pair(each.base, "USD"),
            base=each.base,
            quote="USDT" if is_perpetual else "USD",
            numbers=numbers_of(price_decimals(each.price), SIZE_DECIMALS),
            start_price=each.price,
            is_perpetual=is_perpetual,
        )
        for each in assets
    ]


def routes(market: str) -> list[Route]:
    """List the REST addresses: what is listed stands in the path."""
    kind = "futures" if market == "derivatives" else "exchange"
    paths = (f"/v2/conf/pub:list:pair:{kind}", f"/v2/conf/pub:list:pair:{kind},pub:map:currency:sym")
    lists = [Route(path=path, answer=lambda ask: _pairs(market, ask), counts_as="instruments") for path in paths]
    past = Route(path="/v2/trades/{symbol}/hist", answer=lambda ask: _past_trades(market, ask), counts_as="trades")
    return [*lists, past]


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection."""
    return BitfinexConversation(handshake.endpoint.market, handshake.market)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    return BitfinexWriter(listing)


class BitfinexConversation(Conversation):
    """Events: conf, ping, subscribe, unsubscribe. Each subscription is a channel with a number."""

    tick_s = 0.5

    def __init__(self, market: str, symbols: Symbols) -> None:
        self.does_finish = True
        self._market = market
        self._symbols = symbols
        self._flags = 0
        self._sent = 0  # messages with numbers
        self._last_channel = 10_000
        self._streams: dict[int, list[Stream]] = {}  # by channel
        self._channels: dict[str, int] = {}  # by key of a stream
        self._beat_s = 0.0

    def open(self, now: Now) -> Iterable[Action]:
        """Greet."""
        del now
        return (_say({"event": "info", "version": 2, "serverId": "simulated", "platform": {"status": 1}}),)

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do an event."""
        try:
            event = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            event = None
        if not isinstance(event, Mapping):
            return (_error({}, UNKNOWN_EVENT, "Unknown event"),)
        if event.get("event") == "conf":
            self._flags = int(event.get("flags") or 0)
            return (_say({"event": "conf", "status": "OK", "flags": self._flags}),)
        if event.get("event") == "ping":
            return (_say({"event": "pong", "ts": now.ms, "cid": event.get("cid", 0)}),)
        if event.get("event") == "subscribe":
            return self._subscribe(event)
        if event.get("event") == "unsubscribe":
            return self._unsubscribe(event)
        return (_error(event, UNKNOWN_EVENT, "Unknown event"),)

    def tick(self, now: Now) -> Iterable[Action]:
        """Send a heartbeat on each channel."""
        if now.s - self._beat_s < HEARTBEAT_S:
            return ()
        self._beat_s = now.s
        beat = b',"hb"' + BEHIND + str(now.ms).encode()
        return [Say(str(channel).encode() + beat, is_finished=False) for channel in self._streams]

    def maintenance(self, now: Now) -> Iterable[bytes]:
        """Tell that the server stops."""
        del now
        notice = {"event": "info", "code": 20051, "msg": "Stop/Restart Websocket Server (please reconnect)"}
        return (msgspec.json.encode(notice),)

    def finish(self, stream: Stream | None, payload: bytes) -> bytes:
        """Put in the channel, and behind the data what the flags ask for."""
        data, _, time_ms = payload.partition(BEHIND)
        head = b"" if stream is None else str(self._channels.get(stream.key, 0)).encode() + b","
        return b"[" + head + data + self._tail(time_ms) + b"]"

    def replay(self, payload: bytes) -> bytes:
        """Give a recorded message a number of this connection; its channel is the one that the answer told."""
        parts = [bytes(part) for part in _PARTS.decode(payload)]
        size = 3 if parts[1][:1] == b'"' else 2
        times = [part for part in parts[size:] if len(part) > MOST_NUMBER_DIGITS]
        return b"[" + b",".join(parts[:size]) + self._tail(*times[:1]) + b"]"

    def _tail(self, time_ms: bytes = b"") -> bytes:
        self._sent += 1
        number = b",%d" % self._sent if self._flags & NUMBERS else b""
        return number + (b"," + time_ms if time_ms and self._flags & TIMES else b"")

    def _subscribe(self, event: Mapping[str, Any]) -> Iterable[Action]:
        streams = self._wanted(event)
        if not streams:
            return (_error(event, SUBSCRIBE_FAILED, "symbol: invalid" if event.get("symbol") else "key: invalid"),)
        if streams[0].key in self._channels:
            return (_error(event, ALREADY, "subscribe: dup"),)
        if len(self._streams) >= MOST_CHANNELS:
            return (_error(event, TOO_MANY, "subscribe: limit"),)
        channel = self._number(event)
        self._streams[channel] = streams
        self._channels |= {stream.key: channel for stream in streams}
        told = {name: event[name] for name in ("symbol", "key", "prec", "freq", "len", "subId") if name in event}
        answer = {"event": "subscribed", "channel": event["channel"], "chanId": channel, **told}
        has_first = streams[0].kind != "liquidation"
        return (_say(answer), *(Subscribe(stream, has_first) for stream in streams))

    def _number(self, event: Mapping[str, Any]) -> int:
        """Give a channel the number that it has in the recording that is played, or the next one."""
        recorded = self._symbols.recorded_numbers().get(_subject(event))
        if recorded is not None:
            return recorded
        self._last_channel += 7
        return self._last_channel

    def _unsubscribe(self, event: Mapping[str, Any]) -> Iterable[Action]:
        channel = event.get("chanId")
        streams = self._streams.pop(channel, None) if isinstance(channel, int) else None
        if streams is None:
            return (_error(event, NOT_SUBSCRIBED, "unsubscribe: invalid"),)
        for stream in streams:
            del self._channels[stream.key]
        answer = {"event": "unsubscribed", "status": "OK", "chanId": channel}
        return (*(Unsubscribe(stream) for stream in streams), _say(answer))

    def _wanted(self, event: Mapping[str, Any]) -> list[Stream]:
        """Tell what is asked for; nothing = there is no such thing."""
        channel, key = event.get("channel"), str(event.get("key", ""))
        kind, _, symbol = key.partition(":")
        if channel == "candles":
            interval, _, symbol = symbol.partition(":")
            every_ms = INTERVALS_MS.get(interval)
            known = every_ms is not None and kind == "trade"
            return self._stream("candle", f"candles {key}", symbol, every_ms or 0) if known else []
        if channel == "status" and self._market == "derivatives":
            if key == "liq:global":
                each = self._symbols.listings(self._market)
                return [s for one in each for s in self._stream("liquidation", f"liq {one.symbol}", one.symbol)]
            return self._stream("mark_price", f"status {symbol}", symbol, STATUS_MS) if kind == "deriv" else []
        symbol = str(event.get("symbol", ""))
        if channel == "book":
            return self._book(event, symbol)
        return self._stream(KINDS[channel], f"{channel} {symbol}", symbol) if channel in KINDS else []

    def _book(self, event: Mapping[str, Any], symbol: str) -> list[Stream]:
        length = str(event.get("len", "25"))
        if length not in LENGTHS or event.get("prec", "P0") != "P0" or event.get("freq", "F0") != "F0":
            return []
        form = "cs" if self._flags & CHECKSUMS else ""
        if length == "1":
            return self._stream("quote", f"book {symbol} 1", symbol)
        name = f"book {symbol} {length} {form}".rstrip()
        return self._stream("depth", name, symbol, BOOK_MS, levels=int(length), form=form)

    def _stream(
        self, kind: Kind, name: str, symbol: str, every_ms: int = 100, *, levels: int = 0, form: str = ""
    ) -> list[Stream]:
        if self._symbols.listing(self._market, symbol) is None:
            return []
        channel = name.partition(" ")[0]
        return [
            Stream(
                market=self._market, name=name, kind=kind, symbol=symbol, channel=channel, every_ms=every_ms,
                levels=levels, form=form,
            )
        ]  # fmt: skip


class BitfinexWriter(Writer):
    """Writes the data of one symbol's messages."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing)
        self._best: dict[str, Quote] = {}  # by stream: what was told last

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write each trade twice: when it is executed, and again."""
        if stream.kind == "liquidation":
            return [self._liquidation(each, now_ms) for each in prints]
        frames = []
        for each in prints:
            row = _trade(each)
            frames += [
                Frame(_data(f'"te",{row}', now_ms), each.number, each.number),
                Frame(_data(f'"tu",{row}', now_ms), is_silent=True),
            ]
        return frames

    def first(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write recent trades, the newest first; the best levels; a ticker, a candle or a state as it is."""
        if stream.kind == "trade":
            prints = view.recent(TRADES_AT_FIRST)
            rows = ",".join(_trade(each) for each in reversed(prints))
            ids = (prints[0].number, prints[-1].number) if prints else (NO_ID, NO_ID)
            return (Frame(_data(f"[{rows}]", now_ms), *ids, is_silent=not prints),)
        if stream.kind == "quote":
            self._best[stream.key] = view.quote
            return (Frame(_data(f"[{','.join(self._sides(view.quote))}]", now_ms)),)
        if stream.kind == "mark_price":
            return self.marks(stream, view, now_ms)
        return (
            self.ticker(stream, view, now_ms)
            if stream.kind == "ticker"
            else (Frame(_data("[]", now_ms), is_silent=True),)
        )

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write what changed in a book of one level: a level that goes, then the one in its place.

        The side that makes room goes first, so that no message leaves the book crossed.
        """
        before, self._best[stream.key] = self._best.get(stream.key, view.quote), view.quote
        (old_bid, old_ask), (new_bid, new_ask) = self._sides(before), self._sides(view.quote)
        bids = self._replaced((before.bid, view.quote.bid), (old_bid, new_bid), 1, now_ms)
        asks = self._replaced((before.ask, view.quote.ask), (old_ask, new_ask), -1, now_ms)
        return asks + bids if view.quote.bid >= before.ask else bids + asks

    def _replaced(self, prices: tuple[int, int], rows: tuple[str, str], sign: int, now_ms: int) -> list[Frame]:
        """Write the change of one side, from the first to the second of each."""
        frames = []
        if prices[0] != prices[1]:
            gone = f"[{plain(self.listing.numbers.price(prices[0]))},0,{sign}]"
            frames.append(Frame(_data(gone, now_ms), is_silent=True))
        return [*frames, Frame(_data(rows[1], now_ms))] if rows[0] != rows[1] else frames

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write each changed level, then the checksum of the book."""
        rows = [*_levels(change.bids, is_ask=False), *_levels(change.asks, is_ask=True)]
        if stream.form:
            rows.append(f'"cs",{checksum_of(*change.top(TOP))}')
        return [Frame(_data(row, now_ms), change.last_id, change.last_id) for row in rows]

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write the whole book, with its checksum."""
        rows = ",".join([*_levels(book.bids, is_ask=False), *_levels(book.asks, is_ask=True)])
        texts = [f"[{rows}]"]
        if stream.form:
            texts.append(f'"cs",{checksum_of(book.bids[:TOP], book.asks[:TOP])}')
        return [Frame(_data(text, now_ms), book.last_id, book.last_id) for text in texts]

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle; that it is closed shows by the time of the message alone."""
        del stream, is_closed
        price, size = self.listing.numbers.price, self.listing.numbers.size
        numbers = (price(candle.open), price(candle.close), price(candle.high), price(candle.low), size(candle.volume))
        return (Frame(_data(f"[{candle.open_ms},{','.join(map(plain, numbers))}]", now_ms)),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write statistics."""
        del stream
        numbers, quote, day = self.listing.numbers, view.quote, view.day
        opened, last = (day.open, day.last) if day else (quote.bid, quote.bid)
        high, low, volume = (day.high, day.low, day.volume) if day else (quote.bid, quote.bid, 0)
        best = [
            numbers.price(quote.bid), numbers.size(quote.bid_size), numbers.price(quote.ask),
            numbers.size(quote.ask_size),
        ]  # fmt: skip
        rest = [
            numbers.price(last - opened), f"{last / opened - 1:.4f}", numbers.price(last), numbers.size(volume),
            numbers.price(high), numbers.price(low),
        ]  # fmt: skip
        return (Frame(_data(f"[{','.join(map(plain, [*best, *rest]))}]", now_ms)),)

    def marks(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the state of a contract."""
        del stream
        marks, last = view.marks(now_ms), view.day.last if view.day else view.quote.bid
        row = [
            now_ms, None, float(self.listing.numbers.price(last)), marks.index_price, None, 1000000.5, None,
            marks.funding_ms, 0.0, 0, None, marks.funding_rate, None, None, marks.mark_price, None, None,
            marks.open_interest, None, None, None, -0.0005, 0.0025,
        ]  # fmt: skip
        return (Frame(_data(msgspec.json.encode(row).decode(), now_ms)),)

    def _liquidation(self, made: Print, now_ms: int) -> Frame:
        """Write the position that an order closed: a long one is sold."""
        amount = f"-{plain(made.size)}" if made.is_buy else plain(made.size)
        price = plain(made.price)
        row = (
            f'["pos",{made.number},{made.time_ms},null,"{self.listing.symbol}",{amount},{price},null,1,1,null,{price}]'
        )
        return Frame(_data(f"[{row}]", now_ms))

    def _sides(self, quote: Quote) -> list[str]:
        price, size = self.listing.numbers.price, self.listing.numbers.size
        bid = _levels([(price(quote.bid), size(quote.bid_size))], is_ask=False)
        return bid + _levels([(price(quote.ask), size(quote.ask_size))], is_ask=True)


def plain(number: str) -> str:
    """Write a number as JavaScript does, without zeros at its end.

    >>> plain("45000.0"), plain("0.10000000"), plain("500")
    ('45000', '0.1', '500')
    """
    return number.rstrip("0").rstrip(".") if "." in number else number


def checksum_of(bids: Levels, asks: Levels) -> int:
    """Make the checksum of the best levels: by turns, asks with a sign.

    >>> checksum_of([("6000.0", "1"), ("5900", "2")], [("6100", "3")]) == signed_crc32("6000:1:6100:-3:5900:2")
    True
    """
    words = []
    for bid, ask in zip_longest(bids, asks):
        words += [plain(bid[0]), plain(bid[1])] if bid else []
        words += [plain(ask[0]), f"-{plain(ask[1])}"] if ask else []
    return signed_crc32(":".join(words))


def _levels(levels: Levels, *, is_ask: bool) -> list[str]:
    """Write levels as `[price,count,amount]`: no orders and an amount of one where it goes."""
    sign = "-" if is_ask else ""
    sizes = ((plain(price), plain(size)) for price, size in levels)
    return [f"[{price},{0 if size == '0' else 1},{sign}{1 if size == '0' else size}]" for price, size in sizes]


def _trade(made: Print) -> str:
    return f"[{made.number},{made.time_ms},{'' if made.is_buy else '-'}{plain(made.size)},{plain(made.price)}]"


def _past_trades(market: str, ask: Ask) -> Answer:
    """Answer with trades of some time, the newest first unless `sort` is 1."""
    times_ms = (whole_number(ask.query.get("start", ""), 0), whole_number(ask.query.get("end", ""), ask.now_ms) + 1)
    found = trades_of_time(ask, market, ask.path["symbol"], times_ms)
    if found is None:
        return Answer(b'["error",10020,"symbol: invalid"]', status=500)
    in_order = found if ask.query.get("sort") == "1" else found[::-1]
    limit = min(PAST_MOST, whole_number(ask.query.get("limit", ""), PAST_DEFAULT))
    return Answer(f"[{','.join(map(_trade, in_order[:limit]))}]".encode())


def _data(text: str, now_ms: int) -> bytes:
    return text.encode() + BEHIND + str(now_ms).encode()


def _subject(event: Mapping[str, Any]) -> str:
    """Name what a subscription is of, as the processor does: channel, interval, symbol."""
    name, detail, symbol = str(event["channel"]), "-", str(event.get("symbol", ""))
    kind, _, rest = str(event.get("key", "")).partition(":")
    if name == "candles":
        detail, _, symbol = rest.partition(":")
    elif name == "status":
        name, symbol = kind, rest if kind == "deriv" else "-"
    elif name == "book" and str(event.get("len")) == "1":
        name = "quote"
    return f"{name} {detail} {symbol}"


def _say(event: Mapping[str, Any]) -> Say:
    return Say(msgspec.json.encode(event))


def _error(event: Mapping[str, Any], code: int, text: str) -> Say:
    return _say({**event, "event": "error", "msg": text, "code": code})


def _pair(base: str, quote: str) -> str:
    separator = "" if len(base) == len(quote) == 3 else ":"
    return f"t{base}{separator}{quote}"


def _pairs(market: str, ask: Ask) -> Answer:
    pairs = [each.symbol.removeprefix("t") for each in ask.market.listings(market)]
    renames = [[own, theirs] for theirs, own in ALIASES.items()]
    return Answer(msgspec.json.encode([pairs, renames]))
