"""KuCoin as the simulated venue speaks it: spot and futures; tokens by REST, a welcome, books joined by REST.

Source: https://www.kucoin.com/docs-new/websocket-api/base-info/introduction
Source: https://www.kucoin.com/docs/websocket/spot-trading/public-channels/level2-market-data
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tickerplant.local.venue.candles import Candle
from tickerplant.local.venue.dialect import (
    Action,
    Answer,
    Ask,
    BookChange,
    Close,
    Conversation,
    Endpoint,
    Frame,
    Handshake,
    Kind,
    LevelChange,
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
from tickerplant.local.venue.past import newest_first

NAME: Final = "KUCOIN"
MARKETS: Final = {"spot": MarketTerms(share=0.5), "futures": MarketTerms(share=0.5, has_marks=True)}
ENDPOINTS: Final = tuple(Endpoint(name=each, market=each, paths=("/endpoint",)) for each in MARKETS)
CHECKSUM: Final[re.Pattern[bytes] | None] = None

KINDS: Final[dict[str, Kind]] = {
    "/market/match": "trade", "/market/ticker": "quote", "/market/level2": "depth", "/market/snapshot": "ticker",
    "/market/candles": "candle", "/contractMarket/execution": "trade", "/contractMarket/tickerV2": "quote",
    "/contractMarket/level2": "depth", "/contractMarket/snapshot": "ticker", "/contractMarket/limitCandle": "candle",
    "/contract/instrument": "mark_price",
}  # fmt: skip
SUBJECTS: Final = {
    "/market/match": "trade.l3match", "/market/ticker": "trade.ticker", "/market/level2": "trade.l2update",
    "/market/snapshot": "trade.snapshot", "/market/candles": "trade.candles.update",
    "/contractMarket/execution": "match", "/contractMarket/tickerV2": "tickerV2", "/contractMarket/level2": "level2",
    "/contractMarket/snapshot": "snapshot.24h", "/contractMarket/limitCandle": "candle.stick",
}  # fmt: skip
INTERVALS_MS: Final = {
    "1min": 60_000, "3min": 180_000, "5min": 300_000, "15min": 900_000, "30min": 1_800_000, "1hour": 3_600_000,
    "2hour": 7_200_000, "4hour": 14_400_000, "8hour": 28_800_000, "12hour": 43_200_000, "1day": 86_400_000,
    "1week": 604_800_000,
}  # fmt: skip
OWN_NAMES: Final = {"BTC": "XBT"}
WORTH: Final = {"BTC": 0.001, "ETH": 0.01}
TOKEN: Final = "2neAiuYvAU61ZDXANAGAsiL4"  # noqa: S105  # of nobody
PING_INTERVAL_MS: Final = 18_000
QUIET_MOST_S: Final = 60.0
SNAPSHOT_LEVELS: Final = 100
NS: Final = 1_000_000
PAST_TRADES: Final = 100


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market; its dated future is inverse."""
    if market == "spot":
        return [_spot(each) for each in assets]
    delivery_ms = quarter_end_ms(now_ms)
    return [_future(each, delivery_ms if is_dated else 0) for each, is_dated in with_a_future(assets)]


def routes(market: str) -> list[Route]:
    """List the REST addresses."""
    token = Route(path="/api/v1/bullet-public", answer=lambda ask: _token(market, ask), method="POST")
    if market == "spot":
        book, listed = "/api/v1/market/orderbook/level2_100", "/api/v2/symbols"
    else:
        book, listed = "/api/v1/level2/snapshot", "/api/v1/contracts/active"
    past = "/api/v1/market/histories" if market == "spot" else "/api/v1/trade/history"
    return [
        token,
        Route(path=past, answer=lambda ask: _past_trades(market, ask), counts_as="trades"),
        Route(path=book, answer=lambda ask: _snapshot(market, ask), counts_as="snapshot"),
        Route(path=listed, answer=lambda ask: _list(market, ask), counts_as="instruments"),
    ]


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection: without the token it is not welcome."""
    return KucoinConversation(handshake.endpoint.market, handshake.market, handshake.query)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    return KucoinWriter(listing)


class KucoinConversation(Conversation):
    """Topics with symbols behind a colon; connections that send no pings are cut."""

    most_messages = (100, 10.0)
    tick_s = 1.0

    def __init__(self, market: str, symbols: Symbols, query: Mapping[str, str]) -> None:
        self._market = market
        self._symbols = symbols
        self._query = query
        self._said_s = 0.0

    def open(self, now: Now) -> Iterable[Action]:
        """Welcome whoever has the token."""
        del now
        if self._query.get("token") != TOKEN:
            return [_say({"type": "error", "code": 401, "data": "token is invalid"}), Close(1000, "token is invalid")]
        return [_say({"id": self._query.get("connectId", ""), "type": "welcome"})]

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Answer a ping, subscribe, unsubscribe."""
        self._said_s = now.s
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if not isinstance(request, Mapping):
            return [_say({"type": "error", "code": 400, "data": "invalid json"})]
        number, kind = request.get("id", ""), request.get("type")
        if kind == "ping":
            return [_say({"id": number, "type": "pong"})]
        topic, _, names = str(request.get("topic", "")).partition(":")
        streams = [self._stream(topic, name) for name in names.split(",")]
        if kind not in {"subscribe", "unsubscribe"} or None in streams:
            return [_say({"id": number, "type": "error", "code": 404, "data": f"topic {topic}:{names} is not found"})]
        make = Subscribe if kind == "subscribe" else Unsubscribe
        actions: list[Action] = [make(stream) for stream in streams if stream is not None]
        return [_say({"id": number, "type": "ack"}), *actions] if request.get("response") else actions

    def tick(self, now: Now) -> Iterable[Action]:
        """Cut who has said nothing for a minute, whatever it was sent."""
        return [Close(1001, "ping timeout")] if now.s - self._said_s > QUIET_MOST_S else []

    def too_many(self) -> Iterable[Action]:
        """Ignore what is above the limit, without a word."""
        return ()

    def _stream(self, topic: str, name: str) -> Stream | None:
        kind = KINDS.get(topic)
        symbol, _, form = name.partition("_") if kind == "candle" else (name, "", "")
        if kind is None or self._symbols.listing(self._market, symbol) is None:
            return None
        every_ms = INTERVALS_MS.get(form) if kind == "candle" else 1000 if kind == "mark_price" else 20
        if every_ms is None:
            return None
        return Stream(
            market=self._market, name=f"{topic}:{name}", kind=kind, symbol=symbol, channel=topic, every_ms=every_ms
        )


class KucoinWriter(Writer):
    """Writes the topics of one symbol."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing)
        self._symbol = listing.symbol
        self._is_spot = listing.market == "spot"

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write a message a trade."""
        del now_ms
        return [Frame(_message(stream, self._trade(each)), each.number, each.number) for each in prints]

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the best quote."""
        quote, numbers = view.quote, self.listing.numbers
        bid, bid_size = numbers.price(quote.bid), numbers.size(quote.bid_size)
        ask, ask_size = numbers.price(quote.ask), numbers.size(quote.ask_size)
        if self._is_spot:
            last = numbers.price(view.day.last) if view.day else ask
            head = {"bestAsk": ask, "bestAskSize": ask_size, "bestBid": bid, "bestBidSize": bid_size}
            data = head | {"price": last, "sequence": str(view.update_id), "size": "0", "time": now_ms}
            return (Frame(_message(stream, data)),)
        futures = {
            "symbol": self._symbol,
            "sequence": view.update_id,
            "bestBidSize": int(bid_size),
            "bestBidPrice": bid,
            "bestAskPrice": ask,
            "bestAskSize": int(ask_size),
            "ts": now_ms * NS,
        }
        return (Frame(_message(stream, futures)),)

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write all changes in a message on spot, each in one of its own elsewhere."""
        if not self._is_spot:
            return [self._one_change(stream, each, now_ms) for each in change.each()]
        sides: dict[str, list[tuple[str, str, str]]] = {"asks": [], "bids": []}
        for each in change.each():
            sides["bids" if each.is_bid else "asks"].append((each.price, each.size, str(each.update_id)))
        data = {
            "sequenceStart": change.first_id,
            "sequenceEnd": change.last_id,
            "symbol": self._symbol,
            "changes": sides,
            "time": now_ms,
        }
        return (Frame(_message(stream, data), change.first_id, change.last_id),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle: its close stands before high and low; what volume it tells depends on the market."""
        del is_closed
        price, size = self.listing.numbers.price, self.listing.numbers.size
        prices = [price(each) for each in (candle.open, candle.close, candle.high, candle.low)]
        volumes = [size(candle.volume), f"{candle.quote:.8f}"] if self._is_spot else ["0", size(candle.volume)]
        data = {
            "symbol": self._symbol,
            "candles": [str(candle.open_ms // 1000), *prices, *volumes],
            "time": now_ms * NS if self._is_spot else now_ms,
        }
        return (Frame(_message(stream, data)),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write statistics."""
        day, quote, numbers = view.day, view.quote, self.listing.numbers
        assert day is not None
        last, high, low = (float(numbers.price(each)) for each in (day.last, day.high, day.low))
        if self._is_spot:
            inside = {
                "symbol": self._symbol,
                "datetime": now_ms,
                "lastTradedPrice": last,
                "open": float(numbers.price(day.open)),
                "high": high,
                "low": low,
                "vol": float(numbers.size(day.volume)),
                "volValue": day.quote,
                "buy": float(numbers.price(quote.bid)),
                "sell": float(numbers.price(quote.ask)),
            }
            return (Frame(_message(stream, {"sequence": str(view.update_id), "data": inside})),)
        worth = day.volume / numbers.size_scale * self.listing.contract
        data = {
            "symbol": self._symbol,
            "volume": worth,
            "turnover": day.quote,
            "lastPrice": last,
            "lowPrice": low,
            "highPrice": high,
            "priceChgPct": 0.0,
            "priceChg": 0.0,
            "ts": now_ms * NS,
        }
        return (Frame(_message(stream, data)),)

    def marks(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write mark and index price, and the funding rate of perpetuals."""
        marks = view.marks(now_ms)
        prices = {"markPrice": marks.mark_price, "indexPrice": marks.index_price, "granularity": 1000}
        yield Frame(_message(stream, prices | {"timestamp": now_ms}, "mark.index.price"))
        if marks.funding_ms:
            funding = {"granularity": 60_000, "fundingRate": marks.funding_rate, "timestamp": now_ms}
            yield Frame(_message(stream, funding, "funding.rate"))

    def _trade(self, made: Print) -> dict[str, Any]:
        trade = {
            "symbol": self._symbol,
            "side": "buy" if made.is_buy else "sell",
            "takerOrderId": f"{made.number:024x}",
            "makerOrderId": f"{made.number:024x}",
            "tradeId": str(made.number),
        }
        if self._is_spot:
            return trade | {
                "type": "match",
                "sequence": str(made.number),
                "size": made.size,
                "price": made.price,
                "time": str(made.time_ms * NS),
            }
        return trade | {"sequence": made.number, "size": int(made.size), "price": made.price, "ts": made.time_ms * NS}

    def past_trade(self, made: Print) -> dict[str, Any]:
        """Write a trade as REST tells it: of spot by its sequence, which is its id."""
        trade = self._trade(made)
        if not self._is_spot:
            return {name: trade[name] for name in trade if name != "symbol"} | {"contractId": 1}
        return {name: trade[name] for name in ("sequence", "price", "size", "side")} | {"time": made.time_ms * NS}

    def _one_change(self, stream: Stream, change: LevelChange, now_ms: int) -> Frame:
        text = f"{change.price},{'buy' if change.is_bid else 'sell'},{change.size}"
        data = {"sequence": change.update_id, "change": text, "timestamp": now_ms}
        return Frame(_message(stream, data), change.update_id, change.update_id)


def _message(stream: Stream, data: object, subject: str = "") -> bytes:
    head = {"type": "message", "topic": stream.name, "subject": subject or SUBJECTS[stream.channel]}
    return msgspec.json.encode(head | {"data": data})


def _say(answer: Mapping[str, Any]) -> Say:
    return Say(msgspec.json.encode(answer))


def _spot(asset: Asset) -> Listing:
    return Listing(
        market="spot",
        symbol=f"{asset.base}-USDT",
        base=asset.base,
        quote="USDT",
        numbers=numbers_of(price_decimals(asset.price), 6),
        start_price=asset.price,
    )


def _future(asset: Asset, delivery_ms: int) -> Listing:
    own = OWN_NAMES.get(asset.base, asset.base)
    day = datetime.fromtimestamp(delivery_ms / 1000, UTC)
    symbol = f"{own}M{'HMUZ'[day.month // 3 - 1]}{day:%y}" if delivery_ms else f"{own}USDTM"
    return Listing(
        market="futures",
        symbol=symbol,
        base=asset.base,
        quote="USD" if delivery_ms else "USDT",
        numbers=numbers_of(price_decimals(asset.price), 0),
        start_price=asset.price,
        is_perpetual=not delivery_ms,
        delivery_ms=delivery_ms,
        contract=1.0 if delivery_ms else WORTH.get(asset.base, 1.0),
        is_inverse=bool(delivery_ms),
    )


def _token(market: str, ask: Ask) -> Answer:
    server = {
        "endpoint": f"ws://{ask.address}/kucoin/{market}/endpoint",
        "encrypt": False,
        "protocol": "websocket",
        "pingInterval": PING_INTERVAL_MS,
        "pingTimeout": 10_000,
    }
    return _answered({"token": TOKEN, "instanceServers": [server]})


def _snapshot(market: str, ask: Ask) -> Answer:
    is_spot = market == "spot"
    book = ask.market.book(market, ask.query.get("symbol", ""), SNAPSHOT_LEVELS if is_spot else 0)
    if book is None:
        return Answer(msgspec.json.encode({"code": "400100", "msg": "symbol not exists"}), status=400)
    if book.recorded:
        return Answer(book.recorded)
    if is_spot:
        head: dict[str, Any] = {"time": ask.now_ms, "sequence": str(book.last_id)}
        return _answered(head | {"bids": book.bids, "asks": book.asks})
    sides = {
        side: [[float(price), int(size)] for price, size in levels]
        for side, levels in (("bids", book.bids), ("asks", book.asks))
    }
    return _answered({"symbol": book.symbol, "sequence": book.last_id, **sides, "ts": ask.now_ms * NS})


def _past_trades(market: str, ask: Ask) -> Answer:
    """Answer with the newest trades, newest first."""
    symbol = ask.query.get("symbol", "")
    found, listing = newest_first(ask, market, symbol, PAST_TRADES), ask.market.listing(market, symbol)
    if found is None or listing is None:
        return Answer(msgspec.json.encode({"code": "400100", "msg": "symbol not exists"}), status=400)
    return _answered([KucoinWriter(listing).past_trade(each) for each in found])


def _list(market: str, ask: Ask) -> Answer:
    return _answered([_pair(each) if market == "spot" else _contract(each) for each in ask.market.listings(market)])


def _answered(data: object) -> Answer:
    return Answer(msgspec.json.encode({"code": "200000", "data": data}))


def _pair(listing: Listing) -> dict[str, Any]:
    return {
        "symbol": listing.symbol,
        "name": listing.symbol,
        "baseCurrency": listing.base,
        "quoteCurrency": listing.quote,
        "baseIncrement": listing.numbers.size(1),
        "priceIncrement": listing.numbers.price(1),
        "enableTrading": True,
    }


def _contract(listing: Listing) -> dict[str, Any]:
    own = OWN_NAMES.get(listing.base, listing.base)
    return {
        "symbol": listing.symbol,
        "type": "FFICSX" if listing.delivery_ms else "FFWCSX",
        "expireDate": listing.delivery_ms or None,
        "baseCurrency": own,
        "quoteCurrency": listing.quote,
        "settleCurrency": own if listing.is_inverse else listing.quote,
        "multiplier": -listing.contract if listing.is_inverse else listing.contract,
        "lotSize": 1,
        "tickSize": float(listing.numbers.price(1)),
        "isInverse": listing.is_inverse,
        "status": "Open",
    }
