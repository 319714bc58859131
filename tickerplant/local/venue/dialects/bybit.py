"""Bybit v5 as the simulated venue speaks it: spot, linear and inverse; public topics and instruments.

Books come as a snapshot with the subscription, then as deltas whose `u` rises by one; no REST snapshot joins them.
Source: https://bybit-exchange.github.io/docs/v5/ws/connect
Source: https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
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
    Kind,
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
from tickerplant.local.venue.listings import Asset, Listing, price_decimals, quarter_end_ms, with_a_future
from tickerplant.local.venue.numbers import numbers_of

NAME: Final = "BYBIT"
MARKETS: Final = {
    "spot": MarketTerms(share=0.4),
    "linear": MarketTerms(share=0.4, has_marks=True),
    "inverse": MarketTerms(share=0.2, has_marks=True),
}
ENDPOINTS: Final = tuple(Endpoint(name=each, market=each, paths=(f"/v5/public/{each}",)) for each in MARKETS)
CHECKSUM: Final[re.Pattern[bytes] | None] = None

TOPIC: Final = re.compile(
    r"(?P<channel>orderbook)\.(?P<levels>1|50|200|500|1000)\.(?P<book>[^.]+)"
    r"|(?P<plain>publicTrade|tickers|allLiquidation)\.(?P<symbol>[^.]+)"
    r"|(?P<kline>kline)\.(?P<interval>1|3|5|15|30|60|120|240|360|720|D)\.(?P<candle>[^.]+)"
)
KINDS: Final[dict[str, Kind]] = {"publicTrade": "trade", "tickers": "ticker", "allLiquidation": "liquidation"}
SPEEDS_MS: Final = {"50": 20, "200": 100, "500": 100, "1000": 200}
DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
SPOT_ARGUMENTS: Final = 10
LIST_DEFAULT, LIST_MOST = 500, 1000
SPOT_TRADES: Final = 60
SIDES: Final = {True: "Buy", False: "Sell"}


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market."""
    if market == "spot":
        return [_listing(market, each, 0) for each in assets]
    delivery_ms = quarter_end_ms(now_ms)
    return [_listing(market, each, delivery_ms if is_dated else 0) for each, is_dated in with_a_future(assets)]


def routes(market: str) -> list[Route]:
    """List the REST addresses."""
    del market
    return [
        Route(path="/v5/market/instruments-info", answer=_instruments, counts_as="instruments"),
        Route(path="/v5/market/orderbook", answer=_orderbook, counts_as="snapshot"),
        Route(path="/v5/market/recent-trade", answer=_recent_trades, counts_as="trades"),
        Route(path="/v5/market/time", answer=_time),
    ]


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection."""
    return BybitConversation(handshake.endpoint.market, handshake.market)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    return BybitWriter(listing)


def stream_of(market: str, topic: str) -> Stream | None:
    """Tell what a topic is; None = there is no such topic."""
    found = TOPIC.fullmatch(topic)
    if found is None or (market == "spot" and found["plain"] == "allLiquidation"):
        return None
    symbol = found["book"] or found["symbol"] or found["candle"]
    levels, interval = found["levels"], found["interval"]
    if levels == "1":
        return Stream(market=market, name=topic, kind="quote", symbol=symbol, channel="orderbook")
    if levels:
        every_ms = SPEEDS_MS[levels]
        return Stream(
            market=market,
            name=topic,
            kind="depth",
            symbol=symbol,
            channel="orderbook",
            every_ms=every_ms,
            levels=int(levels),
        )
    if interval:
        every_ms = DAY_MS if interval == "D" else int(interval) * MINUTE_MS
        return Stream(
            market=market, name=topic, kind="candle", symbol=symbol, channel="kline", every_ms=every_ms, form=interval
        )
    return Stream(market=market, name=topic, kind=KINDS[found["plain"]], symbol=symbol, channel=found["plain"])


class BybitConversation(Conversation):
    """Operations: subscribe, unsubscribe, ping. A request with one bad topic is refused as a whole."""

    def __init__(self, market: str, symbols: Symbols) -> None:
        self._market = market
        self._symbols = symbols
        self._topics: dict[str, Stream] = {}

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do an operation."""
        del now
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [_say({}, "Invalid json", is_right=False)]
        operation = request.get("op") if isinstance(request, Mapping) else None
        if operation == "ping":
            return [_say(request, "pong")]
        if operation not in {"subscribe", "unsubscribe"}:
            return [_say({}, "error:request op not supported", is_right=False)]
        arguments = request.get("args")
        if not isinstance(arguments, list) or not arguments:
            return [_say(request, "error:args is empty", is_right=False)]
        if self._market == "spot" and len(arguments) > SPOT_ARGUMENTS:
            return [_say(request, "args size >10", is_right=False)]
        return self._subscribe(request) if operation == "subscribe" else self._unsubscribe(request)

    def _subscribe(self, request: Mapping[str, Any]) -> Iterable[Action]:
        streams = []
        for topic in request["args"]:
            stream = stream_of(self._market, str(topic))
            if stream is None or self._symbols.listing(self._market, stream.symbol) is None:
                return [_say(request, f"error:handler not found,topic:{topic}", is_right=False)]
            if stream.name in self._topics:
                return [_say(request, f"error:already subscribed,topic:{topic}", is_right=False)]
            streams.append(stream)
        self._topics.update((stream.name, stream) for stream in streams)
        return [_say(request, "subscribe"), *(Subscribe(stream, with_first=True) for stream in streams)]

    def _unsubscribe(self, request: Mapping[str, Any]) -> Iterable[Action]:
        gone = [self._topics.pop(str(topic), None) for topic in request["args"]]
        return [*(Unsubscribe(stream) for stream in gone if stream is not None), _say(request, "")]


class BybitWriter(Writer):
    """Writes the topics of one symbol."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing)
        self._symbol = listing.symbol
        self._is_spot = listing.market == "spot"
        self._hash = crc32(f"{listing.market}/{listing.symbol}".encode())
        self._tickers: dict[str, dict[str, str]] = {}  # as told last, by topic

    def trade_id(self, number: int) -> str:
        """Write a trade's id: digits on spot, else a UUID."""
        if self._is_spot:
            return str(2_290_000_000_000_000_000 + number)
        return f"{number:08x}-0000-5000-8000-{self._hash:012x}"

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write all trades of an order in one message, or a liquidation (whose side is that of the position)."""
        if stream.kind == "liquidation":
            data: list[dict[str, Any]] = [
                {"T": each.time_ms, "s": self._symbol, "S": SIDES[not each.is_buy], "v": each.size, "p": each.price}
                for each in prints
            ]
            return (Frame(_message(stream, "snapshot", data, now_ms)),)
        data = [self._trade(each) for each in prints]
        return (Frame(_message(stream, "snapshot", data, now_ms), prints[0].number, prints[-1].number),)

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the book of one level, always whole."""
        quote, numbers = view.quote, self.listing.numbers
        bids = [(numbers.price(quote.bid), numbers.size(quote.bid_size))]
        asks = [(numbers.price(quote.ask), numbers.size(quote.ask_size))]
        return (self._book(stream, "snapshot", (bids, asks), (view.update_id, view.update_id), now_ms),)

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write a delta."""
        ids = change.number, change.last_id
        return (self._book(stream, "delta", (change.bids, change.asks), ids, now_ms),)

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a snapshot."""
        ids = book.number, book.last_id
        return (self._book(stream, "snapshot", (book.bids, book.asks), ids, now_ms),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle."""
        price, size = self.listing.numbers.price, self.listing.numbers.size
        data = {
            "start": candle.open_ms,
            "end": candle.open_ms + stream.every_ms - 1,
            "interval": stream.form,
            "open": price(candle.open),
            "close": price(candle.close),
            "high": price(candle.high),
            "low": price(candle.low),
            "volume": size(candle.volume),
            "turnover": f"{candle.quote:.8f}",
            "confirm": is_closed,
            "timestamp": now_ms,
        }
        return (Frame(_message(stream, "snapshot", [data], now_ms)),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write statistics: whole on spot and at first, else the fields that changed."""
        fields, told = self._statistics(view, now_ms), self._tickers.get(stream.key)
        self._tickers[stream.key] = fields
        if self._is_spot or told is None:
            return (self._ticker(stream, "snapshot", fields, view, now_ms),)
        changed = {name: value for name, value in fields.items() if told.get(name) != value}
        return (self._ticker(stream, "delta", changed, view, now_ms),)

    def first(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write a best quote, or statistics as they were told last; none before the first trade."""
        if stream.kind == "quote":
            return self.quote(stream, view, now_ms)
        if stream.kind != "ticker" or view.day is None:
            return ()
        fields = self._tickers.setdefault(stream.key, self._statistics(view, now_ms))
        return (self._ticker(stream, "snapshot", fields, view, now_ms),)

    def _trade(self, made: Print) -> dict[str, Any]:
        trade = {
            "T": made.time_ms,
            "s": self._symbol,
            "S": SIDES[made.is_buy],
            "v": made.size,
            "p": made.price,
            "i": self.trade_id(made.number),
            "BT": False,
            "RPI": False,
            "seq": made.number,
        }
        return trade if self._is_spot else trade | {"L": "PlusTick" if made.is_buy else "MinusTick"}

    def _book(
        self, stream: Stream, kind: str, sides: tuple[Levels, Levels], ids: tuple[int, int], now_ms: int
    ) -> Frame:
        update, sequence = ids
        data = {"s": self._symbol, "b": sides[0], "a": sides[1], "u": update, "seq": sequence}
        message = {"topic": stream.name, "type": kind, "ts": now_ms, "data": data, "cts": now_ms}
        return Frame(msgspec.json.encode(message), update, update)

    def _statistics(self, view: SymbolView, now_ms: int) -> dict[str, str]:
        day, quote, numbers = view.day, view.quote, self.listing.numbers
        assert day is not None
        fields = {
            "lastPrice": numbers.price(day.last),
            "highPrice24h": numbers.price(day.high),
            "lowPrice24h": numbers.price(day.low),
            "prevPrice24h": numbers.price(day.open),
            "volume24h": numbers.size(day.volume),
            "turnover24h": f"{day.quote:.4f}",
            "price24hPcnt": f"{day.last / day.open - 1:.4f}",
        }
        if self._is_spot:
            return fields
        marks = view.marks(now_ms)
        funding = {"nextFundingTime": str(marks.funding_ms), "fundingRate": f"{marks.funding_rate:g}"}
        return fields | {
            "tickDirection": "PlusTick",
            "markPrice": f"{marks.mark_price:.{numbers.price_decimals}f}",
            "indexPrice": f"{marks.index_price:.{numbers.price_decimals}f}",
            "openInterest": f"{marks.open_interest:g}",
            "openInterestValue": f"{marks.open_interest * marks.mark_price:.2f}",
            "bid1Price": numbers.price(quote.bid),
            "bid1Size": numbers.size(quote.bid_size),
            "ask1Price": numbers.price(quote.ask),
            "ask1Size": numbers.size(quote.ask_size),
            **(funding if marks.funding_ms else {}),
        }

    def _ticker(self, stream: Stream, kind: str, fields: Mapping[str, str], view: SymbolView, now_ms: int) -> Frame:
        data = {"symbol": self._symbol, **fields}
        message = {"topic": stream.name, "type": kind, "data": data, "cs": view.update_id, "ts": now_ms}
        return Frame(msgspec.json.encode(message))


def _say(request: Mapping[str, Any], text: str, *, is_right: bool = True) -> Say:
    body = {
        "success": is_right,
        "ret_msg": text,
        "conn_id": "00000000-0000-4000-8000-000000000001",
        "req_id": str(request.get("req_id", "")),
        "op": str(request.get("op", "")),
    }
    return Say(msgspec.json.encode(body))


def _message(stream: Stream, kind: str, data: list[dict[str, Any]], now_ms: int) -> bytes:
    return msgspec.json.encode({"topic": stream.name, "type": kind, "ts": now_ms, "data": data})


def _listing(market: str, asset: Asset, delivery_ms: int) -> Listing:
    is_inverse = market == "inverse"
    quote = "USD" if is_inverse else "USDT"
    size_decimals = {"spot": 6, "linear": 3, "inverse": 0}[market]
    return Listing(
        market=market,
        symbol=asset.base + quote + _expiry(market, delivery_ms),
        base=asset.base,
        quote=quote,
        numbers=numbers_of(price_decimals(asset.price), size_decimals),
        start_price=asset.price,
        is_perpetual=market != "spot" and not delivery_ms,
        delivery_ms=delivery_ms,
        is_inverse=is_inverse,
    )


def _expiry(market: str, delivery_ms: int) -> str:
    """Write the end of a dated future's name: `-25DEC26` of linear ones, `Z26` of inverse ones.

    >>> _expiry("linear", 1_798_185_600_000), _expiry("inverse", 1_798_185_600_000)
    ('-25DEC26', 'Z26')
    """
    if not delivery_ms:
        return ""
    day = datetime.fromtimestamp(delivery_ms / 1000, UTC)
    return f"{'HMUZ'[day.month // 3 - 1]}{day:%y}" if market == "inverse" else f"-{day:%d%b%y}".upper()


def _instruments(ask: Ask) -> Answer:
    category = ask.query.get("category", "")
    if category not in MARKETS:
        return _failed(10001, "Illegal category", ask.now_ms)
    listed = [each for each in ask.market.listings(category) if ask.query.get("symbol") in {None, each.symbol}]
    first, most = _number(ask.query.get("cursor", "0")), _number(ask.query.get("limit", str(LIST_DEFAULT)))
    if first is None or most is None or not 0 < most <= LIST_MOST:
        return _failed(10001, "params error: limit or cursor invalid", ask.now_ms)
    last = len(listed) if category == "spot" else first + most  # of spot there is but one page
    page = [_entry(each) for each in listed[first:last]]
    cursor = str(last) if last < len(listed) else ""
    return _answered({"category": category, "list": page, "nextPageCursor": cursor}, ask.now_ms)


def _orderbook(ask: Ask) -> Answer:
    category, symbol = ask.query.get("category", ""), ask.query.get("symbol", "")
    book = ask.market.book(category, symbol, _number(ask.query.get("limit", "25")) or 25)
    if book is None:
        return _failed(10001, "Not supported symbols", ask.now_ms)
    sides = {"s": book.symbol, "b": book.bids, "a": book.asks}
    return _answered({**sides, "ts": ask.now_ms, "u": book.last_id, "seq": book.last_id, "cts": ask.now_ms}, ask.now_ms)


def _recent_trades(ask: Ask) -> Answer:
    """Answer with the newest trades, newest first."""
    category, symbol = ask.query.get("category", ""), ask.query.get("symbol", "")
    most = SPOT_TRADES if category == "spot" else LIST_MOST
    newest = ask.market.trades(category, symbol, -1, min(most, _number(ask.query.get("limit", "")) or LIST_DEFAULT))
    listing = ask.market.listing(category, symbol)
    if newest is None or listing is None:
        return _failed(10001, "Not supported symbols", ask.now_ms)
    writer = BybitWriter(listing)
    rows = [
        {
            "execId": writer.trade_id(each.number),
            "symbol": symbol,
            "price": each.price,
            "size": each.size,
            "side": SIDES[each.is_buy],
            "time": str(each.time_ms),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(each.number),
        }
        for each in reversed(newest)
    ]
    return _answered({"category": category, "list": rows}, ask.now_ms)


def _time(ask: Ask) -> Answer:
    result = {"timeSecond": str(ask.now_ms // 1000), "timeNano": str(ask.now_ms * 1_000_000)}
    return _answered(result, ask.now_ms)


def _answered(result: object, now_ms: int) -> Answer:
    body = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now_ms}
    return Answer(msgspec.json.encode(body))


def _failed(code: int, text: str, now_ms: int) -> Answer:
    body = {"retCode": code, "retMsg": text, "result": {}, "retExtInfo": {}, "time": now_ms}
    return Answer(msgspec.json.encode(body))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _entry(listing: Listing) -> dict[str, Any]:
    tick, lot = listing.numbers.price(1), listing.numbers.size(1)
    entry: dict[str, Any] = {
        "symbol": listing.symbol,
        "baseCoin": listing.base,
        "quoteCoin": listing.quote,
        "status": "Trading",
    }
    if listing.market == "spot":
        lots = {"basePrecision": lot, "quotePrecision": "0.00000001", "minOrderQty": lot}
        return entry | {
            "innovation": "0",
            "marginTrading": "none",
            "lotSizeFilter": lots,
            "priceFilter": {"tickSize": tick},
        }
    kind = ("Inverse" if listing.is_inverse else "Linear") + ("Futures" if listing.delivery_ms else "Perpetual")
    return entry | {
        "contractType": kind,
        "launchTime": "1585526400000",
        "deliveryTime": str(listing.delivery_ms),
        "deliveryFeeRate": "",
        "priceScale": str(listing.numbers.price_decimals),
        "priceFilter": {"minPrice": tick, "maxPrice": listing.numbers.price(10**12), "tickSize": tick},
        "lotSizeFilter": {"maxOrderQty": listing.numbers.size(10**12), "minOrderQty": lot, "qtyStep": lot},
        "fundingInterval": 480,
        "settleCoin": listing.base if listing.is_inverse else listing.quote,
        "isPreListing": False,
    }
