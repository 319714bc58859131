"""HTX as the simulated venue speaks it: spot, linear and coin swaps; gzip frames, pings that are owed an answer.

Spot books are joined by a snapshot that is asked for on the connection, those of swaps begin with one in the stream.
Trades, candles and statistics of swaps count contracts of both sides: each twice.
Source: https://www.htx.com/en-us/opend/newApiPages/?id=7ec53241-7773-11ed-9966-0242ac110003
Source: https://www.htx.com/en-us/opend/newApiPages/?id=8cb7de1c-77b5-11ed-9966-0242ac110003
"""

import gzip
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

import msgspec

from tickerplant.local.venue.candles import Candle
from tickerplant.local.venue.dialect import (
    Action,
    Answer,
    Ask,
    Book,
    BookChange,
    Close,
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
    SendBook,
    Stream,
    Subscribe,
    SymbolView,
    Unsubscribe,
    Writer,
)
from tickerplant.local.venue.dialect import Market as Symbols
from tickerplant.local.venue.listings import Asset, Listing, price_decimals
from tickerplant.local.venue.numbers import numbers_of
from tickerplant.local.venue.past import newest_first, whole_number

NAME: Final = "HTX"
MARKETS: Final = {
    "spot": MarketTerms(share=0.4),
    "linear": MarketTerms(share=0.4, has_marks=True),
    "coin": MarketTerms(share=0.2, has_marks=True),
}
PATHS: Final = {
    "spot": ("/ws", "/feed"),
    "linear": ("/linear-swap-ws", "/linear-swap-notification", "/ws_index"),
    "coin": ("/swap-ws", "/swap-notification", "/ws_index"),
}
ENDPOINTS: Final = tuple(Endpoint(name=each, market=each, paths=PATHS[each]) for each in MARKETS)
CHECKSUM: Final[re.Pattern[bytes] | None] = None
LISTS: Final = {
    "spot": "/v1/common/symbols",
    "linear": "/linear-swap-api/v1/swap_contract_info",
    "coin": "/swap-api/v1/swap_contract_info",
}

PAST_TRADES: Final = {
    "spot": "/market/history/trade",
    "linear": "/linear-swap-ex/market/history/trade",
    "coin": "/swap-ex/market/history/trade",
}
PAST_MOST: Final = 2000

NAMED: Final = re.compile(
    r"market\.(?P<symbol>[^.]+)\.(?P<rest>trade\.detail|bbo|detail|(?P<mbp>mbp)\.(?P<levels>5|20|150|400)"
    r"|(?P<depth>depth)\.size_(?P<size>20|150)\.high_freq|kline\.(?P<interval>[a-z0-9]+)"
    r"|(?P<price>mark_price|index)\.1min)"
    r"|public\.(?P<contract>[^.]+)\.(?P<notice>funding_rate|liquidation_orders)"
)
KINDS: Final[dict[str, Kind]] = {"trade.detail": "trade", "bbo": "quote", "detail": "ticker"}
INTERVALS_MS: Final = {
    "1min": 60_000, "5min": 300_000, "15min": 900_000, "30min": 1_800_000, "60min": 3_600_000, "4hour": 14_400_000,
    "1day": 86_400_000, "1week": 604_800_000,
}  # fmt: skip
MARKS_EVERY_MS: Final = {"mark_price": 1000, "index": 1000, "funding_rate": 60_000}
WORTH: Final = {"BTC": 0.001, "ETH": 0.01}
WORTH_USD: Final = {"BTC": 100.0}
WORTH_USD_OTHERS: Final = 10.0
PING_EVERY_S: Final = 5.0
PINGS_MISSED: Final = 2
FIRST_ID: Final = 123_140_716_701_236_887_569_077_664  # beyond 64 bits


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market."""
    del now_ms
    return [_listing(market, each) for each in assets]


def routes(market: str) -> list[Route]:
    """List the REST addresses."""
    return [
        Route(path=LISTS[market], answer=lambda ask: _list(market, ask), counts_as="instruments"),
        Route(path=PAST_TRADES[market], answer=lambda ask: _past_trades(market, ask), counts_as="trades"),
    ]


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection."""
    return HtxConversation(handshake.endpoint.market, handshake.market)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    return HtxWriter(listing)


def _packed(message: bytes) -> bytes:
    return gzip.compress(message, compresslevel=1, mtime=0)


class HtxConversation(Conversation):
    """A request a stream; who owes two pongs is cut. Notifications are spoken of in another form."""

    tick_s = 1.0
    encode: ClassVar[Callable[[bytes], bytes] | None] = staticmethod(_packed)

    def __init__(self, market: str, symbols: Symbols) -> None:
        self._market = market
        self._symbols = symbols
        self._next_ping_s = PING_EVERY_S
        self._owed = 0

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Note a pong, subscribe, unsubscribe, send a book."""
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if not isinstance(request, Mapping):
            return [_say({"status": "error", "err-code": "bad-request", "err-msg": "invalid json", "ts": now.ms})]
        if "pong" in request or request.get("op") == "pong":
            self._owed = 0
            return []
        if "op" in request:
            return self._notify(request, now)
        for verb in ("sub", "unsub", "req"):
            if verb in request:
                return self._do(verb, str(request[verb]), request.get("id"), now)
        return [_failed(request.get("id"), "invalid request", now)]

    def tick(self, now: Now) -> Iterable[Action]:
        """Ping, or cut who does not answer."""
        if now.s < self._next_ping_s:
            return []
        if self._owed >= PINGS_MISSED:
            return [Close(1003, "ping check expired")]
        self._next_ping_s += PING_EVERY_S
        self._owed += 1
        return [_say({"ping": now.ms})]

    def _notify(self, request: Mapping[str, Any], now: Now) -> Iterable[Action]:
        topic, op = str(request.get("topic", "")), request.get("op")
        found = NAMED.fullmatch(topic)
        answer = {"op": op, "cid": request.get("cid", ""), "topic": topic, "ts": now.ms}
        if op not in {"sub", "unsub"} or not found or not found["notice"] or not self._is_listed(found["contract"]):
            return [_say(answer | {"err-code": 2011, "err-msg": "illegal topic"})]
        notice = found["notice"]
        stream = Stream(
            market=self._market,
            name=topic,
            kind="funding" if notice == "funding_rate" else "liquidation",
            symbol=found["contract"],
            channel=notice,
            every_ms=MARKS_EVERY_MS.get(notice, 100),
        )
        return [_say(answer | {"err-code": 0}), Subscribe(stream) if op == "sub" else Unsubscribe(stream)]

    def _do(self, verb: str, name: str, number: object, now: Now) -> Iterable[Action]:
        stream = self._stream(name)
        if stream is None or (verb == "req" and stream.channel != "mbp"):
            return [_failed(number, f"invalid topic {name}", now)]
        if verb == "req":
            return [SendBook(stream)]
        done = _say({"id": number, "status": "ok", f"{verb}bed": name, "ts": now.ms})
        if verb == "unsub":
            return [Unsubscribe(stream), done]
        return [done, Subscribe(stream, with_first=stream.channel == "depth")]

    def _stream(self, name: str) -> Stream | None:
        found = NAMED.fullmatch(name)
        if found is None or found["notice"] or not self._is_listed(found["symbol"]):
            return None
        symbol, rest = found["symbol"], found["rest"]
        if found["mbp"] or found["depth"]:
            levels = int(found["levels"] or found["size"])
            return Stream(
                market=self._market,
                name=name,
                kind="depth",
                symbol=symbol,
                channel=found["mbp"] or found["depth"],
                levels=levels,
            )
        if found["price"]:
            kind: Kind = "mark_price" if found["price"] == "mark_price" else "other"
            return Stream(
                market=self._market, name=name, kind=kind, symbol=symbol, channel=found["price"], every_ms=1000
            )  # fmt: skip
        if found["interval"]:
            every_ms = INTERVALS_MS.get(found["interval"], 0)
            kline = Stream(
                market=self._market, name=name, kind="candle", symbol=symbol, channel="kline", every_ms=every_ms
            )  # fmt: skip
            return kline if every_ms else None
        return Stream(market=self._market, name=name, kind=KINDS[rest], symbol=symbol, channel=rest)

    def _is_listed(self, symbol: str) -> bool:
        return self._symbols.listing(self._market, symbol) is not None


class HtxWriter(Writer):
    """Writes the streams of one symbol; numbers are JSON numbers."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing)
        self._symbol = listing.symbol
        self._is_spot = listing.market == "spot"

    def trade_id(self, number: int) -> str:
        """Write a trade's id: of spot it is `tradeId`, elsewhere `id`."""
        return str(number if self._is_spot else number * 10_000)

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write all trades of an order in one message, or a forced order as a notification."""
        if stream.kind == "liquidation":
            rows = [self._forced(each) for each in prints]
            return (Frame(msgspec.json.encode({"op": "notify", "topic": stream.name, "ts": now_ms, "data": rows})),)
        data = ",".join(self._trade(each) for each in prints)
        tick = f'{{"id":{prints[0].number},"ts":{prints[0].time_ms},"data":[{data}]}}'
        return (Frame(_told(stream, tick, now_ms), prints[0].number, prints[-1].number),)

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the best quote."""
        quote, numbers = view.quote, self.listing.numbers
        bid, ask = (_number(numbers.price(each)) for each in (quote.bid, quote.ask))
        bid_size, ask_size = (_number(numbers.size(each)) for each in (quote.bid_size, quote.ask_size))
        if self._is_spot:
            head: dict[str, Any] = {"seqId": view.update_id, "ask": ask, "askSize": ask_size, "bid": bid}
            tick = head | {"bidSize": bid_size, "quoteTime": now_ms, "symbol": self._symbol}
        else:
            tick = {"mrid": view.update_id, "id": now_ms // 1000, "bid": [bid, bid_size], "ask": [ask, ask_size]}
            tick |= {"ts": now_ms, "version": view.update_id, "ch": stream.name}
        return (Frame(_told(stream, tick, now_ms)),)

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write what changed: with this and the last sequence on spot, with a version that rises by one elsewhere."""
        if self._is_spot:
            tick = {"seqNum": change.last_id, "prevSeqNum": change.previous_id, **_sides(change.bids, change.asks)}
            return (Frame(_told(stream, tick, now_ms), change.previous_id + 1, change.last_id),)
        return (self._high_freq(stream, "update", (change.bids, change.asks), change.number, now_ms),)

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a snapshot: as the answer to a request on spot, in the stream elsewhere."""
        if self._is_spot:
            data = {"seqNum": book.last_id, **_sides(book.bids, book.asks)}
            answer = {"id": "1", "rep": stream.name, "status": "ok", "ts": now_ms, "data": data}
            return (Frame(msgspec.json.encode(answer)),)
        return (self._high_freq(stream, "snapshot", (book.bids, book.asks), book.number, now_ms),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle."""
        del is_closed
        price = self.listing.numbers.price
        tick = {
            "id": candle.open_ms // 1000,
            "open": _number(price(candle.open)),
            "close": _number(price(candle.close)),
            "high": _number(price(candle.high)),
            "low": _number(price(candle.low)),
            "count": candle.count,
            **self._volumes(candle.volume, candle.quote),
        }
        return (Frame(_told(stream, tick, now_ms)),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write statistics."""
        day, quote, numbers = view.day, view.quote, self.listing.numbers
        assert day is not None
        tick = {
            "id": view.update_id,
            "open": _number(numbers.price(day.open)),
            "close": _number(numbers.price(day.last)),
            "high": _number(numbers.price(day.high)),
            "low": _number(numbers.price(day.low)),
            "count": day.last_id,
            **self._volumes(day.volume, day.quote),
        }
        if not self._is_spot:
            tick["bid"] = [_number(numbers.price(quote.bid)), _number(numbers.size(quote.bid_size))]
            tick["ask"] = [_number(numbers.price(quote.ask)), _number(numbers.size(quote.ask_size))]
        return (Frame(_told(stream, tick, now_ms)),)

    def marks(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write mark price and index as candles of a minute, and funding rates as notifications."""
        marks = view.marks(now_ms)
        if stream.kind != "funding":
            value = marks.mark_price if stream.kind == "mark_price" else marks.index_price
            text = f"{value:.{self.listing.numbers.price_decimals}f}"
            tick = {"id": now_ms // 60_000 * 60, "open": text, "close": text, "high": text, "low": text, "amount": "0"}
            return (Frame(_told(stream, tick | {"vol": "0", "count": "0"}, now_ms)),)
        row = {
            "symbol": self.listing.base,
            "contract_code": self._symbol,
            "fee_asset": self.listing.quote,
            "funding_time": str(now_ms),
            "funding_rate": f"{marks.funding_rate:.18f}",
            "estimated_rate": None,
            "settlement_time": str(marks.funding_ms),
        }
        notice = {"op": "notify", "topic": stream.name, "ts": now_ms, "data": [row]}
        return (Frame(msgspec.json.encode(notice)),)

    def past_trades(self, prints: Iterable[Print]) -> str:
        """Write trades as REST tells them, each an order's: there the id of spot has a dash."""
        rows = ((each, self._trade(each).replace('"tradeId"', '"trade-id"')) for each in prints)
        return ",".join(f'{{"id":{each.number},"ts":{each.time_ms},"data":[{row}]}}' for each, row in rows)

    def _trade(self, made: Print) -> str:
        """Write by hand: ids of spot are larger than an encoder takes."""
        direction = "buy" if made.is_buy else "sell"
        size = made.size if self._is_spot else f"{2 * Decimal(made.size):f}"
        shared = f'"ts":{made.time_ms},"amount":{size},"price":{made.price},"direction":"{direction}"'
        if self._is_spot:
            return f'{{"id":{FIRST_ID + made.number},"tradeId":{made.number},{shared}}}'
        return f'{{"id":{self.trade_id(made.number)},{shared}}}'

    def _forced(self, made: Print) -> dict[str, Any]:
        return {
            "symbol": self.listing.base,
            "contract_code": self._symbol,
            "direction": "buy" if made.is_buy else "sell",
            "offset": "close",
            "volume": _number(made.size),
            "price": _number(made.price),
            "created_at": made.time_ms,
        }

    def _high_freq(self, stream: Stream, event: str, sides: tuple[Levels, Levels], version: int, now_ms: int) -> Frame:
        tick = _sides(*sides) | {
            "ch": stream.name,
            "event": event,
            "id": version,
            "mrid": version,
            "ts": now_ms,
            "version": version,
        }
        return Frame(msgspec.json.encode({"ch": stream.name, "tick": tick, "ts": now_ms}), version, version)

    def _volumes(self, lots: float, amount: float) -> dict[str, Any]:
        """Tell volume: in base currency, and in quote currency of spot or contracts of others, of both sides."""
        size = lots / self.listing.numbers.size_scale
        if self._is_spot:
            return {"amount": size, "vol": amount}
        if self.listing.is_inverse:
            return {"amount": 2 * amount, "vol": 2 * size}
        return {"amount": 2 * size * self.listing.contract, "vol": 2 * size, "trade_turnover": 2 * amount}


def _told(stream: Stream, tick: Mapping[str, Any] | str, now_ms: int) -> bytes:
    body = tick.encode() if isinstance(tick, str) else msgspec.json.encode(tick)
    return b'{"ch":"%s","ts":%d,"tick":%s}' % (stream.name.encode(), now_ms, body)


def _sides(bids: Levels, asks: Levels) -> dict[str, Any]:
    return {
        side: [[_number(price), _number(size)] for price, size in levels]
        for side, levels in (("bids", bids), ("asks", asks))
    }


def _number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _say(answer: Mapping[str, Any]) -> Say:
    return Say(msgspec.json.encode(answer))


def _failed(number: object, text: str, now: Now) -> Say:
    return _say({"id": number, "status": "error", "err-code": "bad-request", "err-msg": text, "ts": now.ms})


def _listing(market: str, asset: Asset) -> Listing:
    quote = "USD" if market == "coin" else "USDT"
    symbol = f"{asset.base}{quote}".lower() if market == "spot" else f"{asset.base}-{quote}"
    worth = {
        "spot": 1.0,
        "linear": WORTH.get(asset.base, 1.0),
        "coin": WORTH_USD.get(asset.base, WORTH_USD_OTHERS),
    }[market]
    return Listing(
        market=market,
        symbol=symbol,
        base=asset.base,
        quote=quote,
        numbers=numbers_of(price_decimals(asset.price), 6 if market == "spot" else 0),
        start_price=asset.price,
        is_perpetual=market != "spot",
        contract=worth,
        is_inverse=market == "coin",
    )


def _past_trades(market: str, ask: Ask) -> Answer:
    """Answer with the newest trades, newest first."""
    symbol = ask.query.get("symbol" if market == "spot" else "contract_code", "")
    most = min(PAST_MOST, whole_number(ask.query.get("size", ""), 1))
    found, listing = newest_first(ask, market, symbol, most), ask.market.listing(market, symbol)
    if found is None or listing is None:
        return Answer(b'{"status":"error","err-code":"invalid-parameter","err-msg":"invalid symbol"}')
    rows = HtxWriter(listing).past_trades(found)
    head = f'"ch":"market.{symbol}.trade.detail","status":"ok","ts":{ask.now_ms}'
    return Answer(f'{{{head},"data":[{rows}]}}'.encode())


def _list(market: str, ask: Ask) -> Answer:
    entries = [_pair(each) if market == "spot" else _contract(each) for each in ask.market.listings(market)]
    return Answer(msgspec.json.encode({"status": "ok", "data": entries}))


def _pair(listing: Listing) -> dict[str, Any]:
    return {
        "symbol": listing.symbol,
        "base-currency": listing.base.lower(),
        "quote-currency": listing.quote.lower(),
        "price-precision": listing.numbers.price_decimals,
        "amount-precision": listing.numbers.size_decimals,
        "state": "online",
    }


def _contract(listing: Listing) -> dict[str, Any]:
    return {
        "symbol": listing.base,
        "contract_code": listing.symbol,
        "contract_size": listing.contract,
        "price_tick": float(listing.numbers.price(1)),
        "delivery_time": "",
        "contract_status": 1,
    }
