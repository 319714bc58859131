"""Hyperliquid as the simulated venue speaks it: perpetuals (one of a builder's exchange among them) and spot pairs.

Books come whole: 20 levels each 5 s, or 5 levels each 0.5 s of the fast ones.
Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tickerplant.local.venue.candles import Candle
from tickerplant.local.venue.dialect import (
    Action,
    Answer,
    Ask,
    Book,
    Close,
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
from tickerplant.local.venue.listings import Asset, Listing, price_decimals
from tickerplant.local.venue.numbers import numbers_of

NAME: Final = "HYPERLIQUID"
MARKETS: Final = {"perp": MarketTerms(share=0.6, has_marks=True), "spot": MarketTerms(share=0.4)}
ENDPOINTS: Final = tuple(Endpoint(name=each, market=each, paths=("/ws",)) for each in MARKETS)
CHECKSUM: Final[re.Pattern[bytes] | None] = None

BUILDER: Final = "xyz"
DOLLAR: Final = "USDC"
MINUTE_MS: Final = 60_000
INTERVALS_MS: Final = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip
"""In minutes."""
SLOW_MS, SLOW_LEVELS = 5000, 20
FAST_MS, FAST_LEVELS = 500, 5
RECENT: Final = 30
PATIENCE_S: Final = 60.0  # with a client that says nothing
MANY: Final = 2**50
SPREADING: Final = 0x9E3779B97F4A7C15  # odd, so that ids are as many as numbers
HASH: Final = "0x{:064x}"
USERS: Final = (f"0x{1:040x}", f"0x{2:040x}")
SIDES: Final = {True: "B", False: "A"}
SIZE_DECIMALS: Final = 4


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market: the last perpetual is of a builder's exchange, the first pair by name."""
    del now_ms
    last = len(assets) - 1
    if market == "perp":
        names = [f"{BUILDER}:{each.base}" if 0 < number == last else each.base for number, each in enumerate(assets)]
    else:
        names = [f"@{number}" if number else f"{each.base}/{DOLLAR}" for number, each in enumerate(assets)]
    return [
        Listing(
            market=market,
            symbol=name,
            base=each.base,
            quote=DOLLAR,
            numbers=numbers_of(price_decimals(each.price), SIZE_DECIMALS),
            start_price=each.price,
            is_perpetual=market == "perp",
        )
        for name, each in zip(names, assets, strict=True)
    ]


def routes(market: str) -> list[Route]:
    """List the REST addresses."""
    del market
    return [Route(path="/info", answer=_info, method="POST", counts_as="instruments")]


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection."""
    return HyperliquidConversation(handshake.endpoint.market, handshake.market)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    return HyperliquidWriter(listing)


def stream_of(market: str, wish: Mapping[str, Any]) -> Stream | None:
    """Tell what a subscription is of; None = there is no such type."""
    kind, coin = wish.get("type"), str(wish.get("coin"))
    if kind == "trades":
        return Stream(market=market, name=f"trades:{coin}", kind="trade", symbol=coin, channel="trades")
    if kind == "bbo":
        return Stream(market=market, name=f"bbo:{coin}", kind="quote", symbol=coin, channel="bbo")
    if kind == "l2Book":
        return _book_stream(market, coin, is_fast=wish.get("fast") is True)
    if kind == "activeAssetCtx":
        name = f"activeAssetCtx:{coin}"
        return Stream(market=market, name=name, kind="ticker", symbol=coin, channel="activeAssetCtx")
    interval = wish.get("interval")
    if kind == "candle" and interval in INTERVALS_MS:
        every_ms = INTERVALS_MS[interval] * MINUTE_MS
        name = f"candle:{coin}:{interval}"
        return Stream(
            market=market, name=name, kind="candle", symbol=coin, channel="candle", every_ms=every_ms, form=interval
        )
    return None


def _book_stream(market: str, coin: str, *, is_fast: bool) -> Stream:
    every_ms, levels = (FAST_MS, FAST_LEVELS) if is_fast else (SLOW_MS, SLOW_LEVELS)
    name = f"l2Book:{coin}{':fast' if is_fast else ''}"
    return Stream(
        market=market, name=name, kind="book", symbol=coin, channel="l2Book", every_ms=every_ms, levels=levels
    )


class HyperliquidConversation(Conversation):
    """Methods: subscribe, unsubscribe, ping; one subscription a message."""

    tick_s = 1.0

    def __init__(self, market: str, symbols: Symbols) -> None:
        self._market = market
        self._symbols = symbols
        self._heard: dict[str, Stream] = {}
        self._said_s = 0.0

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do a method."""
        self._said_s = now.s
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return (_error(f"Error parsing JSON into valid websocket request: {message.decode(errors='replace')}"),)
        method = request.get("method") if isinstance(request, Mapping) else None
        if method == "ping":
            return (Say(b'{"channel":"pong"}'),)
        wish = request.get("subscription") if isinstance(request, Mapping) else None
        if method not in {"subscribe", "unsubscribe"} or not isinstance(wish, Mapping):
            return (_error(f"Error parsing JSON into valid websocket request: {message.decode(errors='replace')}"),)
        stream = stream_of(self._market, wish)
        if stream is None or self._symbols.listing(self._market, stream.symbol) is None:
            return (_error(f"Invalid subscription {_text(wish)}"),)
        if (method == "subscribe") is (stream.name in self._heard):
            return (_error(f"Already {method}d: {_text(wish)}"),)
        return self._subscribe(stream, wish) if method == "subscribe" else self._unsubscribe(stream, wish)

    def tick(self, now: Now) -> Iterable[Action]:
        """End the connection of a client that says nothing."""
        return (Close(1000, "Inactive"),) if now.s - self._said_s > PATIENCE_S else ()

    def _subscribe(self, stream: Stream, wish: Mapping[str, Any]) -> Iterable[Action]:
        self._heard[stream.name] = stream
        return (_granted("subscribe", wish), Subscribe(stream, with_first=True))

    def _unsubscribe(self, stream: Stream, wish: Mapping[str, Any]) -> Iterable[Action]:
        del self._heard[stream.name]
        return (Unsubscribe(stream), _granted("unsubscribe", wish))


class HyperliquidWriter(Writer):
    """Writes the messages of one coin."""

    def trade_id(self, number: int) -> str:
        """Write a trade's id: a number that does not count."""
        return str(_spread(number))

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write the trades of an order."""
        del stream, now_ms
        rows = [
            {
                "coin": self.listing.symbol,
                "side": SIDES[each.is_buy],
                "px": each.price,
                "sz": each.size,
                "time": each.time_ms,
                "hash": HASH.format(each.number),
                "tid": _spread(each.number),
                "users": USERS,
            }
            for each in prints
        ]
        return (Frame(_message("trades", rows), prints[0].number, prints[-1].number),)

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the best of both sides."""
        del stream
        quote, numbers = view.quote, self.listing.numbers
        best = [
            {"px": numbers.price(price), "sz": numbers.size(size), "n": 1}
            for price, size in ((quote.bid, quote.bid_size), (quote.ask, quote.ask_size))
        ]
        return (Frame(_message("bbo", {"coin": self.listing.symbol, "time": now_ms, "bbo": best})),)

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a whole book."""
        del stream
        levels = [_levels(book.bids), _levels(book.asks)]
        body = _message("l2Book", {"coin": book.symbol, "time": now_ms, "levels": levels})
        return (Frame(body, book.last_id, book.last_id),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle; whether it is closed is not told."""
        del now_ms, is_closed
        price, size = self.listing.numbers.price, self.listing.numbers.size
        data = {
            "t": candle.open_ms,
            "T": candle.open_ms + stream.every_ms - 1,
            "s": self.listing.symbol,
            "i": stream.form,
            "o": price(candle.open),
            "c": price(candle.close),
            "h": price(candle.high),
            "l": price(candle.low),
            "v": size(candle.volume),
            "n": candle.count,
        }
        return (Frame(_message("candle", data)),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write what is known of the coin."""
        numbers, day, marks = self.listing.numbers, view.day, view.marks(now_ms)
        mark = f"{marks.mark_price:.{numbers.price_decimals}f}"
        context: dict[str, Any] = {
            "prevDayPx": numbers.price(day.open) if day else mark,
            "dayNtlVlm": f"{day.quote if day else 0.0:.8f}",
            "markPx": mark,
            "midPx": mark,
            "dayBaseVlm": numbers.size(day.volume if day else 0),
        }
        if self.listing.market == "spot":
            context |= {"circulatingSupply": "1000000.0", "coin": self.listing.symbol, "totalSupply": "1000000.0"}
            return (Frame(_message("activeSpotAssetCtx", {"coin": self.listing.symbol, "ctx": context})),)
        context |= {
            "funding": f"{marks.funding_rate:.10f}",
            "openInterest": f"{marks.open_interest:g}",
            "premium": "0.0001",
            "oraclePx": f"{marks.index_price:.{numbers.price_decimals}f}",
            "impactPxs": [numbers.price(view.quote.bid), numbers.price(view.quote.ask)],
        }
        return (Frame(_message(stream.channel, {"coin": self.listing.symbol, "ctx": context})),)

    def first(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the last trades, the best quote, or what is known of the coin."""
        if stream.kind == "trade":
            recent = view.recent(RECENT)
            return self.trades(stream, recent, now_ms) if recent else ()
        write = {"quote": self.quote, "ticker": self.ticker}.get(stream.kind)
        return write(stream, view, now_ms) if write else ()


def _spread(number: int) -> int:
    return number * SPREADING % MANY


def _levels(levels: Levels) -> list[dict[str, Any]]:
    return [{"px": price, "sz": size, "n": 1} for price, size in levels]


def _info(ask: Ask) -> Answer:
    try:
        wish = msgspec.json.decode(ask.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        wish = None
    kind = wish.get("type") if isinstance(wish, Mapping) else None
    if kind == "allPerpMetas":
        return Answer(msgspec.json.encode([_meta(ask.market, is_builders=each) for each in (False, True)]))
    if kind == "meta":
        return Answer(msgspec.json.encode(_meta(ask.market, is_builders=bool(wish.get("dex")))))
    if kind == "spotMeta":
        return Answer(msgspec.json.encode(_spot_meta(ask.market)))
    return Answer(b"Failed to deserialize the JSON body into the target type", 422)


def _meta(symbols: Symbols, *, is_builders: bool) -> dict[str, Any]:
    universe = [
        {"szDecimals": each.numbers.size_decimals, "name": each.symbol, "maxLeverage": 40, "marginTableId": 56}
        for each in symbols.listings("perp")
        if (":" in each.symbol) is is_builders
    ]
    return {"universe": universe, "marginTables": [], "collateralToken": 0}


def _spot_meta(symbols: Symbols) -> dict[str, Any]:
    listed = symbols.listings("spot")
    tokens = [{"name": DOLLAR, "szDecimals": 8, "weiDecimals": 8, "index": 0, "tokenId": "0x0", "isCanonical": True}]
    universe = []
    for number, each in enumerate(listed, start=1):
        decimals = {"szDecimals": each.numbers.size_decimals, "weiDecimals": 8}
        tokens.append(
            {"name": each.base, **decimals, "index": number, "tokenId": hex(number), "isCanonical": number == 1}
        )
        universe.append({"tokens": [number, 0], "name": each.symbol, "index": number - 1, "isCanonical": number == 1})
    return {"universe": universe, "tokens": tokens}


def _granted(method: str, wish: Mapping[str, Any]) -> Say:
    added = {"nSigFigs": None, "mantissa": None} if wish.get("type") == "l2Book" else {}
    return Say(_message("subscriptionResponse", {"method": method, "subscription": {**wish, **added}}))


def _error(text: str) -> Say:
    return Say(_message("error", text))


def _text(wish: Mapping[str, Any]) -> str:
    return msgspec.json.encode(wish).decode()


def _message(channel: str, data: object) -> bytes:
    return msgspec.json.encode({"channel": channel, "data": data})
