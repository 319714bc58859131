"""Deribit as the simulated venue speaks it: futures, options and spot over JSON-RPC, and the volatility index.

A change of a book names the one before it. Sizes of inverse futures are USD, all others base currency.
Source: https://docs.deribit.com/articles/notifications
Source: https://docs.deribit.com/subscriptions/orderbook/bookinstrument_nameinterval
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from schemas.venues.deribit import VOLATILITY_INDICES
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
    Stream,
    Subscribe,
    SymbolView,
    Unsubscribe,
    Writer,
)
from tickerplant.local.venue.dialect import Market as Symbols
from tickerplant.local.venue.listings import Asset, Listing, price_decimals, quarter_end_ms, with_a_future
from tickerplant.local.venue.numbers import numbers_of

NAME: Final = "DERIBIT"
MARKETS: Final = {
    "futures": MarketTerms(share=0.5, has_marks=True),
    "options": MarketTerms(share=0.3, has_marks=True),
    "spot": MarketTerms(share=0.2),
}
ENDPOINTS: Final = tuple(Endpoint(name=each, market=each, paths=("/ws/api/v2",)) for each in MARKETS)
CHECKSUM: Final[re.Pattern[bytes] | None] = None

INVERSE: Final = frozenset({"BTC", "ETH"})  # the others are settled in USDC
OPTION_SHARE: Final = 0.05  # of the underlying's price
LISTED_KINDS: Final = {"futures": "future", "options": "option", "spot": "spot"}
CHANNEL: Final = re.compile(
    r"(?P<book>book)\.(?P<of_book>[^.]+)\.(?P<book_speed>raw|agg2|100ms)"
    r"|(?P<timed>trades|ticker)\.(?P<of_timed>[^.]+)\.(?P<speed>raw|agg2|100ms)"
    r"|(?P<quote>quote)\.(?P<of_quote>[^.]+)"
    r"|(?P<chart>chart)\.trades\.(?P<of_chart>[^.]+)\.(?P<resolution>1|3|5|10|15|30|60|120|180|360|720|1D)"
    r"|(?P<index>deribit_volatility_index)\.(?P<of_index>[a-z0-9]+)_usd"
)
KINDS: Final[dict[str, Kind]] = {"trades": "trade", "ticker": "ticker", "book": "depth", "quote": "quote"}
MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1440
BOOK_MS: Final = 100
INDEX_MS: Final = 1000
FORCED: Final = 25  # of so many trades one takes from a position that is liquidated
VOLATILITY: Final = 54.25
LEAST_HEARTBEAT_S: Final = 10
NEVER_MS: Final = 32_503_708_800_000


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market."""
    delivery_ms = quarter_end_ms(now_ms)
    if market == "spot":
        return [_listing(market, each, f"{each.base}_USDC", each.price, 4) for each in assets]
    if market == "options":
        return [_option(each, delivery_ms) for each in assets]
    chosen = with_a_future(assets)
    return [_future(each, delivery_ms if is_dated else 0) for each, is_dated in chosen]


def routes(market: str) -> list[Route]:
    """List the REST addresses."""
    path = "/api/v2/public/get_last_trades_by_instrument"
    return [
        Route(path="/api/v2/public/get_instruments", answer=_instruments, counts_as="instruments"),
        Route(path=path, answer=lambda ask: _past_trades(market, ask), counts_as="trades"),
    ]


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection."""
    return DeribitConversation(handshake.endpoint.market, handshake.market)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    return DeribitWriter(listing)


def stream_of(market: str, channel: str, symbols: Symbols) -> Stream | None:
    """Tell what a channel is; None = there is no such channel, or no such symbol."""
    found = CHANNEL.fullmatch(channel)
    if found is None or found["index"]:
        return _index_stream(market, channel, found["of_index"], symbols) if found else None
    symbol = found["of_book"] or found["of_timed"] or found["of_quote"] or found["of_chart"]
    if symbols.listing(market, symbol) is None:
        return None
    word, kind, every_ms = _told(found)
    return Stream(market=market, name=channel, kind=kind, symbol=symbol, channel=word, every_ms=every_ms)


def _told(found: re.Match[str]) -> tuple[str, Kind, int]:
    """Tell the word, the kind, and how often it is told."""
    if found["chart"]:
        minutes = DAY_MINUTES if found["resolution"] == "1D" else int(found["resolution"])
        return "chart", "candle", minutes * MINUTE_MS
    word = found["book"] or found["timed"] or found["quote"]
    return word, KINDS[word], BOOK_MS


def _index_stream(market: str, channel: str, base: str, symbols: Symbols) -> Stream | None:
    """Let the first option of a currency tell its volatility index."""
    options = [each.symbol for each in symbols.listings("options") if each.base == base.upper()]
    if market != "options" or not options or base.upper() not in VOLATILITY_INDICES:
        return None
    return Stream(market=market, name=channel, kind="other", symbol=options[0], channel="index", every_ms=INDEX_MS)


class DeribitConversation(Conversation):
    """JSON-RPC methods: subscribe, unsubscribe, set_heartbeat, test. What cannot be subscribed is left out."""

    tick_s = 1.0

    def __init__(self, market: str, symbols: Symbols) -> None:
        self._market = market
        self._symbols = symbols
        self._heard: dict[str, Stream] = {}
        self._heartbeat_s = 0.0
        self._beat_s = 0.0
        self._is_asked = False  # whether the client is there

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do a method."""
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return (_say({}, now, error={"code": -32700, "message": "Parse error"}),)
        if not isinstance(request, Mapping):
            return (_say({}, now, error={"code": -32600, "message": "Invalid Request"}),)
        given = request.get("params")
        parameters = given if isinstance(given, Mapping) else {}
        method = str(request.get("method", "")).removeprefix("public/")
        if method == "test":
            self._is_asked = False
            return (_say(request, now, result={"version": "1.2.26"}),)
        if method == "set_heartbeat":
            return (self._set_heartbeat(request, parameters, now),)
        if method not in {"subscribe", "unsubscribe"}:
            return (_say(request, now, error={"code": -32601, "message": "Method not found"}),)
        return self._channels(request, method, parameters.get("channels"), now)

    def tick(self, now: Now) -> Iterable[Action]:
        """Ask whether the client is there, and end where it was not."""
        if not self._heartbeat_s or now.s - self._beat_s < self._heartbeat_s:
            return ()
        self._beat_s = now.s
        if self._is_asked:
            return (Close(1000, "heartbeat timeout"),)
        self._is_asked = True
        return (Say(_encode({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}})),)

    def maintenance(self, now: Now) -> Iterable[bytes]:
        """Tell that the platform is locked."""
        del now
        return (_notification("platform_state", {"price_index": "btc_usd", "locked": True}),)

    def _channels(self, request: Mapping[str, Any], method: str, channels: object, now: Now) -> Iterable[Action]:
        if not isinstance(channels, list):
            return (_invalid(request, "channels", now),)
        names = list(dict.fromkeys(map(str, channels)))
        return self._subscribe(request, names, now) if method == "subscribe" else self._end(request, names, now)

    def _set_heartbeat(self, request: Mapping[str, Any], parameters: Mapping[str, Any], now: Now) -> Say:
        interval = parameters.get("interval")
        if not isinstance(interval, int) or interval < LEAST_HEARTBEAT_S:
            return _invalid(request, "interval", now)
        self._heartbeat_s, self._beat_s = float(interval), now.s
        return _say(request, now, result="ok")

    def _subscribe(self, request: Mapping[str, Any], names: Sequence[str], now: Now) -> Iterable[Action]:
        if any(name.endswith(".raw") for name in names):
            text = "raw_subscriptions_not_available_for_unauthorized"
            return (_say(request, now, error={"code": 13778, "message": text}),)
        found = {name: stream_of(self._market, name, self._symbols) for name in names}
        granted = {name: stream for name, stream in found.items() if stream is not None}
        new = [stream for name, stream in granted.items() if name not in self._heard]
        self._heard |= granted
        return (_say(request, now, result=list(granted)), *(Subscribe(each, with_first=True) for each in new))

    def _end(self, request: Mapping[str, Any], names: Sequence[str], now: Now) -> Iterable[Action]:
        gone = [self._heard.pop(name) for name in names if name in self._heard]
        return (*(Unsubscribe(each) for each in gone), _say(request, now, result=[each.name for each in gone]))


class DeribitWriter(Writer):
    """Writes the channels of one instrument."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing)
        self._told: dict[str, set[tuple[str, str]]] = {}  # sides and prices that stand, by key of the stream

    def trade_id(self, number: int) -> str:
        """Write a trade's id: digits of Bitcoin, else with the currency."""
        return str(number) if self.listing.base == "BTC" else f"{self.listing.base}-{number}"

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write the trades of an order."""
        del now_ms
        body = _notification(stream.name, [self.trade(each) for each in prints])
        return (Frame(body, prints[0].number, prints[-1].number),)

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the best quote."""
        data = {"timestamp": now_ms, "instrument_name": self.listing.symbol, **self._best(view)}
        return (Frame(_notification(stream.name, data)),)

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write what changed."""
        ids = {"prev_change_id": change.previous_id, "change_id": change.last_id}
        standing = self._told.setdefault(stream.key, set())
        sides = {side: _changes(side, levels, standing) for side, levels in _sides(change)}
        return (self._levels(stream, {"type": "change", "timestamp": now_ms, **ids, **sides}, change.last_id),)

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a snapshot."""
        standing = self._told[stream.key] = set()
        sides = {side: _changes(side, levels, standing) for side, levels in _sides(book)}
        body = {"type": "snapshot", "timestamp": now_ms, "change_id": book.last_id, **sides}
        return (self._levels(stream, body, book.last_id),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle; whether it is closed is not told."""
        del now_ms, is_closed
        numbers = self.listing.numbers
        volume, cost = candle.volume / numbers.size_scale, candle.quote
        if self.listing.is_inverse:
            volume, cost = cost, volume
        prices = {name: getattr(candle, name) / numbers.price_scale for name in ("open", "high", "low", "close")}
        return (Frame(_notification(stream.name, {"tick": candle.open_ms, **prices, "volume": volume, "cost": cost})),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write statistics and what is known of the contract."""
        numbers, day = self.listing.numbers, view.day
        marks = view.marks(now_ms)
        data: dict[str, Any] = {
            "timestamp": now_ms,
            "instrument_name": self.listing.symbol,
            "state": "open",
            "stats": self._statistics(view),
            "last_price": day.last / numbers.price_scale if day else None,
            **self._best(view),
            "mark_price": marks.mark_price,
            "index_price": marks.index_price,
            "estimated_delivery_price": marks.index_price,
            "min_price": marks.mark_price * 0.9,
            "max_price": marks.mark_price * 1.1,
        }
        if self.listing.market != "spot":
            data["open_interest"] = marks.open_interest
        if marks.funding_ms:
            data |= {"current_funding": marks.funding_rate, "funding_8h": marks.funding_rate, "interest_value": 0.0}
        return (Frame(_notification(stream.name, data)),)

    def marks(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the volatility index of the base currency."""
        del view
        data = {"timestamp": now_ms, "volatility": VOLATILITY, "index_name": stream.name.rpartition(".")[2]}
        return (Frame(_notification(stream.name, data)),)

    def first(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write a quote, a ticker or the volatility index."""
        write = {"quote": self.quote, "ticker": self.ticker, "other": self.marks}.get(stream.kind)
        return write(stream, view, now_ms) if write else ()

    def trade(self, made: Print) -> dict[str, Any]:
        """Make the body of a trade, in streams and answers alike."""
        price = float(made.price)
        forced = {"liquidation": "T"} if self.listing.market == "futures" and made.number % FORCED == 0 else {}
        volatility = {"iv": VOLATILITY} if self.listing.market == "options" else {}
        return {
            "timestamp": made.time_ms,
            "price": price,
            "amount": float(made.size),
            "contracts": float(made.size),
            "direction": "buy" if made.is_buy else "sell",
            "index_price": price,
            "mark_price": price,
            "instrument_name": self.listing.symbol,
            "trade_seq": made.number,
            "trade_id": self.trade_id(made.number),
            "tick_direction": 0 if made.is_buy else 2,
            **volatility,
            **forced,
        }

    def _best(self, view: SymbolView) -> dict[str, float]:
        quote, numbers = view.quote, self.listing.numbers
        return {
            "best_bid_price": quote.bid / numbers.price_scale,
            "best_bid_amount": quote.bid_size / numbers.size_scale,
            "best_ask_price": quote.ask / numbers.price_scale,
            "best_ask_amount": quote.ask_size / numbers.size_scale,
        }

    def _statistics(self, view: SymbolView) -> dict[str, float | None]:
        numbers, day = self.listing.numbers, view.day
        if day is None:
            return {"volume": None, "price_change": None, "low": None, "high": None}
        volume, worth = day.volume / numbers.size_scale, day.quote
        if self.listing.is_inverse:
            volume, worth = worth, volume
        return {
            "volume": volume,
            "volume_usd": worth,
            "volume_notional": worth,
            "price_change": (day.last / day.open - 1) * 100,
            "low": day.low / numbers.price_scale,
            "high": day.high / numbers.price_scale,
        }

    def _levels(self, stream: Stream, body: dict[str, Any], last_id: int) -> Frame:
        data = {**body, "instrument_name": self.listing.symbol}
        return Frame(_notification(stream.name, data), last_id, last_id)


def _sides(book: Book | BookChange) -> tuple[tuple[str, Levels], tuple[str, Levels]]:
    return ("bids", book.bids), ("asks", book.asks)


def _changes(side: str, levels: Levels, standing: set[tuple[str, str]]) -> list[tuple[str, float, float]]:
    """Tell what becomes of each level, and note which stand; one that came and went meanwhile is not told."""
    told = []
    for price, size in levels:
        level, amount = (side, price), float(size)
        if amount:
            told.append(("change" if level in standing else "new", float(price), amount))
            standing.add(level)
        elif level in standing:
            told.append(("delete", float(price), 0.0))
            standing.discard(level)
    return told


def _listing(market: str, asset: Asset, symbol: str, price: float, size_decimals: int, **fields: Any) -> Listing:
    return Listing(
        market=market,
        symbol=symbol,
        base=asset.base,
        quote=fields.pop("quote", "USDC"),
        numbers=numbers_of(price_decimals(price), size_decimals),
        start_price=price,
        **fields,
    )


def _future(asset: Asset, delivery_ms: int) -> Listing:
    is_inverse = asset.base in INVERSE
    end = _day(delivery_ms) if delivery_ms else "PERPETUAL"
    symbol = f"{asset.base}{'' if is_inverse else '_USDC'}-{end}"
    quote, decimals = ("USD", 0) if is_inverse else ("USDC", 3)
    facts = {"is_perpetual": not delivery_ms, "delivery_ms": delivery_ms, "is_inverse": is_inverse}
    return _listing("futures", asset, symbol, asset.price, decimals, quote=quote, **facts)


def _option(asset: Asset, delivery_ms: int) -> Listing:
    """Make a call at about today's price; inverse ones cost a share of a coin."""
    is_inverse = asset.base in INVERSE
    strike = f"{asset.price:g}".replace(".", "d")
    symbol = f"{asset.base}{'' if is_inverse else '_USDC'}-{_day(delivery_ms)}-{strike}-C"
    price = OPTION_SHARE if is_inverse else asset.price * OPTION_SHARE
    quote = "USD" if is_inverse else "USDC"
    return _listing("options", asset, symbol, price, 1, quote=quote, delivery_ms=delivery_ms)


def _day(time_ms: int) -> str:
    """Write a day as names have it.

    >>> _day(1_798_185_600_000), _day(1_709_971_200_000)
    ('25DEC26', '9MAR24')
    """
    day = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{day.day}{day:%b%y}".upper()


def _instruments(ask: Ask) -> Answer:
    market = next((each for each, kind in LISTED_KINDS.items() if kind == ask.query.get("kind")), None)
    if market is None:
        error = {"code": -32602, "message": "Invalid params", "data": {"param": "kind", "reason": "wrong value"}}
        return Answer(_encode({"jsonrpc": "2.0", "error": error}), 400)
    listed = [_entry(each) for each in ask.market.listings(market)]
    return Answer(_encode({"jsonrpc": "2.0", "result": listed, "usIn": ask.now_ms, "usOut": ask.now_ms, "usDiff": 0}))


def _past_trades(market: str, ask: Ask) -> Answer:
    """Answer with trades by their numbers, rising."""
    name, query = ask.query.get("instrument_name", ""), ask.query
    listing, count = ask.market.listing(market, name), min(1000, int(query.get("count", "10")))
    first, last = int(query.get("start_seq", "1")), int(query.get("end_seq", str(1 << 62)))
    found = ask.market.trades(market, name, first, count + 1)
    if listing is None or found is None:
        return Answer(_encode({"jsonrpc": "2.0", "error": {"code": 13020, "message": "not_found"}}), 400)
    within = [each for each in found if each.number <= last]
    writer = DeribitWriter(listing)
    result = {"trades": [writer.trade(each) for each in within[:count]], "has_more": len(within) > count}
    return Answer(_encode({"jsonrpc": "2.0", "result": result, "usIn": ask.now_ms, "usOut": ask.now_ms, "usDiff": 0}))


def _entry(listing: Listing) -> dict[str, Any]:
    is_inverse = listing.base in INVERSE and listing.market != "spot"
    is_option = listing.market == "options"
    entry: dict[str, Any] = {
        "instrument_name": listing.symbol,
        "kind": LISTED_KINDS[listing.market],
        "base_currency": listing.base,
        "quote_currency": listing.base if is_option and is_inverse else listing.quote,
        "counter_currency": listing.quote,
        "settlement_currency": listing.base if is_inverse else listing.quote,
        "instrument_type": "reversed" if is_inverse else "linear",
        "price_index": f"{listing.base}_{listing.quote}".lower(),
        "tick_size": float(listing.numbers.price(1)),
        "tick_size_steps": [],
        "min_trade_amount": float(listing.numbers.size(1)),
        "contract_size": 1.0,
        "is_active": True,
        "creation_timestamp": 1_534_167_754_000,
        "settlement_period": "perpetual" if listing.is_perpetual else "month",
        "expiration_timestamp": listing.delivery_ms or NEVER_MS,
    }
    if is_option:
        _, _, strike, _ = listing.symbol.split("-")
        entry |= {"option_type": "call", "strike": float(strike.replace("d", "."))}
    return entry


def _invalid(request: Mapping[str, Any], parameter: str, now: Now) -> Say:
    data = {"param": parameter, "reason": "wrong format"}
    return _say(request, now, error={"code": -32602, "message": "Invalid params", "data": data})


def _say(request: Mapping[str, Any], now: Now, **outcome: Any) -> Say:
    number = {"id": request["id"]} if "id" in request else {}
    times = {"usIn": now.ms * 1000, "usOut": now.ms * 1000, "usDiff": 0, "testnet": False}
    return Say(_encode({"jsonrpc": "2.0", **number, **outcome, **times}))


def _notification(channel: str, data: object) -> bytes:
    return _encode({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}})


def _encode(body: object) -> bytes:
    return msgspec.json.encode(body)
