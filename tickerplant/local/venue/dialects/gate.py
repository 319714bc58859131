"""Gate v4 as the simulated venue speaks it: spot, futures in USDT, inverse, dated contracts; books joined by REST.

Source: https://www.gate.io/docs/developers/apiv4/ws/en/
Source: https://www.gate.io/docs/developers/futures/ws/en/
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
from tickerplant.local.venue.listings import Asset, Listing, price_decimals, quarter_end_ms
from tickerplant.local.venue.numbers import numbers_of
from tickerplant.local.venue.past import trades_of_time, whole_number

NAME: Final = "GATE"
MARKETS: Final = {
    "spot": MarketTerms(share=0.4),
    "futures": MarketTerms(share=0.3, has_marks=True),
    "inverse": MarketTerms(share=0.2, has_marks=True),
    "delivery": MarketTerms(share=0.1, has_marks=True),
}
PATHS: Final = {
    "spot": "/ws/v4/", "futures": "/v4/ws/usdt", "inverse": "/v4/ws/btc", "delivery": "/v4/ws/delivery/usdt",
}  # fmt: skip
ENDPOINTS: Final = tuple(Endpoint(name=each, market=each, paths=(PATHS[each],)) for each in MARKETS)
CHECKSUM: Final[re.Pattern[bytes] | None] = None
REST_PATHS: Final = {
    "spot": "/api/v4/spot", "futures": "/api/v4/futures/usdt", "inverse": "/api/v4/futures/btc",
    "delivery": "/api/v4/delivery/usdt",
}  # fmt: skip

KINDS: Final[dict[str, Kind]] = {
    "trades": "trade", "book_ticker": "quote", "order_book_update": "depth", "tickers": "ticker",
    "candlesticks": "candle", "public_liquidates": "liquidation",
}  # fmt: skip
INTERVALS_MS: Final = {
    "10s": 10_000, "1m": 60_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000, "4h": 14_400_000,
    "8h": 28_800_000, "1d": 86_400_000, "7d": 604_800_000,
}  # fmt: skip
BOOK_SPEEDS_MS: Final = {"20ms": 20, "100ms": 100, "1000ms": 1000}
WORTH: Final = {"BTC": 0.0001, "ETH": 0.01}
DEPTH_DEFAULT: Final = 10
PAST_DEFAULT, PAST_MOST = 100, 1000
UNKNOWN_PAIR: Final = 2
BAD_REQUEST: Final = 1


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market: dated contracts have one of their own."""
    delivery_ms = quarter_end_ms(now_ms) if market == "delivery" else 0
    return [_listing(market, each, delivery_ms) for each in assets]


def routes(market: str) -> list[Route]:
    """List the REST addresses."""
    prefix = REST_PATHS[market]
    return [
        Route(path=f"{prefix}/order_book", answer=lambda ask: _order_book(market, ask), counts_as="snapshot"),
        Route(path=f"{prefix}/trades", answer=lambda ask: _past_trades(market, ask), counts_as="trades"),
        Route(
            path=prefix + ("/currency_pairs" if market == "spot" else "/contracts"),
            answer=lambda ask: _list(market, ask),
            counts_as="instruments",
        ),
    ]


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection."""
    return GateConversation(handshake.endpoint.market, handshake.market)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    return GateWriter(listing)


class GateConversation(Conversation):
    """Channels are subscribed to by lists of pairs, books and candles one by one; a bad pair refuses the request."""

    def __init__(self, market: str, symbols: Symbols) -> None:
        self._market = market
        self._symbols = symbols
        self._prefix = _prefix(market)

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Answer a ping, subscribe, unsubscribe."""
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if not isinstance(request, Mapping):
            return [_say({}, now, BAD_REQUEST, "invalid request")]
        prefix, _, channel = str(request.get("channel", "")).partition(".")
        if prefix != self._prefix:
            return [_say(request, now, UNKNOWN_PAIR, "unknown channel")]
        if channel == "ping":
            pong = {"time": now.ms // 1000, "channel": f"{prefix}.pong", "event": "", "result": None}
            return [Say(msgspec.json.encode(pong))]
        event = request.get("event")
        if channel not in KINDS or event not in {"subscribe", "unsubscribe"}:
            return [_say(request, now, UNKNOWN_PAIR, f"unknown channel {channel}")]
        streams = self._streams(channel, [str(each) for each in request.get("payload") or []])
        if not streams or None in streams:
            return [_say(request, now, UNKNOWN_PAIR, "unknown currency pair")]
        make = Subscribe if event == "subscribe" else Unsubscribe
        return [_say(request, now), *(make(stream) for stream in streams if stream is not None)]

    def maintenance(self, now: Now) -> Iterable[bytes]:
        """Tell of an upgrade."""
        result = {
            "type": "upgrade",
            "msg": "The connection will soon be closed for a service upgrade. Please reconnect.",
        }
        head = {"time": now.ms // 1000, "time_ms": now.ms, "channel": f"{self._prefix}.system", "event": "update"}
        return (msgspec.json.encode({**head, "result": result}),)

    def _streams(self, channel: str, payload: list[str]) -> list[Stream | None]:
        if channel == "candlesticks":
            return [self._stream(channel, payload[1], payload[0])] if len(payload) == 2 else []
        if channel == "order_book_update":
            return [self._stream(channel, payload[0], payload[1])] if len(payload) >= 2 else []
        return [self._stream(channel, each) for each in payload]

    def _stream(self, channel: str, symbol: str, form: str = "") -> Stream | None:
        every_ms = {**INTERVALS_MS, **BOOK_SPEEDS_MS, "": 100}.get(form)
        if every_ms is None or self._symbols.listing(self._market, symbol) is None:
            return None
        kind = KINDS[channel]
        name = f"{channel}:{form}_{symbol}" if kind == "candle" else f"{channel}:{symbol}"
        return Stream(
            market=self._market, name=name, kind=kind, symbol=symbol, channel=channel, every_ms=every_ms, form=form
        )  # fmt: skip


class GateWriter(Writer):
    """Writes the channels of one symbol; levels of contracts are objects, their sizes text with decimals."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing)
        self._symbol = listing.symbol
        self._is_spot = listing.market == "spot"
        self._prefix = _prefix(listing.market)

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write a message a trade on spot, one for all of an order elsewhere; sizes of sales are negative there."""
        if self._is_spot:
            frames = ((self._message(stream, self._spot_trade(each), now_ms), each.number) for each in prints)
            return [Frame(payload, number, number) for payload, number in frames]
        if stream.kind == "liquidation":
            rows = [self._forced(each) for each in prints]
            return (Frame(self._message(stream, rows, now_ms)),)
        rows = [self._futures_trade(each) for each in prints]
        return (Frame(self._message(stream, rows, now_ms), prints[0].number, prints[-1].number),)

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the best quote."""
        quote, numbers = view.quote, self.listing.numbers
        result = {
            "t": now_ms,
            "u": view.update_id,
            "s": self._symbol,
            "b": numbers.price(quote.bid),
            "B": numbers.size(quote.bid_size),
            "a": numbers.price(quote.ask),
            "A": numbers.size(quote.ask_size),
        }
        return (Frame(self._message(stream, result, now_ms)),)

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write what changed, with the first and last update id."""
        result = {
            "t": now_ms,
            **({"e": "depthUpdate", "E": now_ms // 1000} if self._is_spot else {}),
            "s": self._symbol,
            "U": change.first_id,
            "u": change.last_id,
            "b": levels(self._is_spot, change.bids),
            "a": levels(self._is_spot, change.asks),
        }
        return (Frame(self._message(stream, result, now_ms), change.first_id, change.last_id),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle: v is quote currency on spot, contracts elsewhere."""
        price, size = self.listing.numbers.price, self.listing.numbers.size
        row: dict[str, Any] = {
            "t": str(candle.open_ms // 1000) if self._is_spot else candle.open_ms // 1000,
            "v": f"{candle.quote:.8f}" if self._is_spot else size(candle.volume),
            "c": price(candle.close),
            "h": price(candle.high),
            "l": price(candle.low),
            "o": price(candle.open),
            "n": f"{stream.form}_{self._symbol}",
        }
        if self._is_spot:
            row |= {"a": size(candle.volume), "w": is_closed}
        return (Frame(self._message(stream, row if self._is_spot else [row], now_ms)),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write statistics; those of contracts tell marks and funding, too."""
        day, quote, numbers = view.day, view.quote, self.listing.numbers
        assert day is not None
        shared = {
            "last": numbers.price(day.last),
            "change_percentage": f"{(day.last / day.open - 1) * 100:.4f}",
            "high_24h": numbers.price(day.high),
            "low_24h": numbers.price(day.low),
        }
        if self._is_spot:
            own = {
                "currency_pair": self._symbol,
                "lowest_ask": numbers.price(quote.ask),
                "highest_bid": numbers.price(quote.bid),
                "base_volume": numbers.size(day.volume),
                "quote_volume": f"{day.quote:.8f}",
            }
            return (Frame(self._message(stream, own | shared, now_ms)),)
        return (Frame(self._message(stream, [self._contract_ticker(view, now_ms) | shared], now_ms)),)

    def _contract_ticker(self, view: SymbolView, now_ms: int) -> dict[str, str]:
        day, numbers, marks = view.day, self.listing.numbers, view.marks(now_ms)
        assert day is not None
        contracts = numbers.size(day.volume)
        base, quote = f"{day.volume * self.listing.contract:.8f}", f"{day.quote:.8f}"
        if self.listing.is_inverse:
            base, quote = f"{day.quote:.8f}", contracts
        return {
            "contract": self._symbol,
            "total_size": f"{marks.open_interest:.0f}",
            "volume_24h": contracts,
            "volume_24h_base": base,
            "volume_24h_quote": quote,
            "volume_24h_settle": base if self.listing.is_inverse else quote,
            "mark_price": f"{marks.mark_price:.{numbers.price_decimals}f}",
            "index_price": f"{marks.index_price:.{numbers.price_decimals}f}",
            **({"funding_rate": f"{marks.funding_rate:g}"} if marks.funding_ms else {}),
        }

    def _spot_trade(self, made: Print) -> dict[str, Any]:
        return {
            "id": made.number,
            "create_time": made.time_ms // 1000,
            "create_time_ms": f"{made.time_ms}.000000",
            "side": "buy" if made.is_buy else "sell",
            "currency_pair": self._symbol,
            "amount": made.size,
            "price": made.price,
        }

    def _futures_trade(self, made: Print) -> dict[str, Any]:
        return {
            "size": made.size if made.is_buy else f"-{made.size}",
            "id": made.number,
            "create_time": made.time_ms // 1000,
            "create_time_ms": made.time_ms,
            "price": made.price,
            "contract": self._symbol,
        }

    def _forced(self, made: Print) -> dict[str, Any]:
        return {
            "price": made.price,
            "size": made.size if made.is_buy else f"-{made.size}",
            "time_ms": made.time_ms,
            "time": made.time_ms // 1000,
            "contract": self._symbol,
        }

    def past_trades(self, prints: Iterable[Print]) -> list[dict[str, Any]]:
        """Write trades as REST tells them: ids of spot as text, times of contracts in seconds."""
        if self._is_spot:
            own = [self._spot_trade(each) for each in prints]
            return [each | {"id": str(each["id"]), "create_time": str(each["create_time"])} for each in own]
        return [self._futures_trade(each) | {"create_time_ms": each.time_ms / 1000} for each in prints]

    def _message(self, stream: Stream, result: object, now_ms: int) -> bytes:
        message = {
            "time": now_ms // 1000,
            "time_ms": now_ms,
            "channel": f"{self._prefix}.{stream.channel}",
            "event": "update",
            "result": result,
        }
        return msgspec.json.encode(message)


def levels(is_spot: bool, side: Levels) -> list[Any]:
    """Write levels as pairs on spot, as objects elsewhere."""
    return list(side) if is_spot else [{"p": price, "s": size} for price, size in side]


def _prefix(market: str) -> str:
    return "spot" if market == "spot" else "futures"


def _say(request: Mapping[str, Any], now: Now, code: int = 0, text: str = "") -> Say:
    error = {"code": code, "message": text} if code else None
    answer = {
        "time": now.ms // 1000,
        "id": request.get("id"),
        "channel": request.get("channel", ""),
        "event": request.get("event", ""),
        "payload": request.get("payload"),
        "error": error,
        "result": {"status": "fail" if code else "success"},
    }
    return Say(msgspec.json.encode(answer))


def _listing(market: str, asset: Asset, delivery_ms: int) -> Listing:
    is_inverse = market == "inverse"
    quote = "USD" if is_inverse else "USDT"
    day = f"_{datetime.fromtimestamp(delivery_ms / 1000, UTC):%Y%m%d}" if delivery_ms else ""
    worth = 1.0 if is_inverse or market == "spot" else WORTH.get(asset.base, 1.0)
    return Listing(
        market=market,
        symbol=f"{asset.base}_{quote}{day}",
        base=asset.base,
        quote=quote,
        numbers=numbers_of(price_decimals(asset.price), 6 if market == "spot" else 0),
        start_price=asset.price,
        is_perpetual=market != "spot" and not delivery_ms,
        delivery_ms=delivery_ms,
        contract=worth,
        is_inverse=is_inverse,
    )


def _order_book(market: str, ask: Ask) -> Answer:
    symbol = ask.query.get("currency_pair" if market == "spot" else "contract", "")
    limit = ask.query.get("limit", str(DEPTH_DEFAULT))
    book = ask.market.book(market, symbol, int(limit)) if limit.isdigit() else None
    if book is None:
        return _failed("INVALID_CURRENCY_PAIR", symbol)
    return Answer(book.recorded or _book_body(market, book, ask))


def _past_trades(market: str, ask: Ask) -> Answer:
    """Answer with trades of some seconds, newest first."""
    symbol = ask.query.get("currency_pair" if market == "spot" else "contract", "")
    first_s = whole_number(ask.query.get("from", ""), 0)
    end_s = whole_number(ask.query.get("to", ""), ask.now_ms // 1000 + 1)
    limit = min(PAST_MOST, whole_number(ask.query.get("limit", ""), PAST_DEFAULT))
    listing = ask.market.listing(market, symbol)
    found = trades_of_time(ask, market, symbol, (first_s * 1000, end_s * 1000))
    if found is None or listing is None:
        return _failed("INVALID_CURRENCY_PAIR", symbol)
    newest = found[::-1][:limit]
    return Answer(msgspec.json.encode(GateWriter(listing).past_trades(newest)))


def _book_body(market: str, book: Book, ask: Ask) -> bytes:
    is_spot = market == "spot"
    times = (ask.now_ms, book.time_ms) if is_spot else (ask.now_ms / 1000, book.time_ms / 1000)
    body: dict[str, Any] = {"id": book.last_id} if ask.query.get("with_id") == "true" else {}
    body |= {"current": times[0], "update": times[1]}
    return msgspec.json.encode(body | {"asks": levels(is_spot, book.asks), "bids": levels(is_spot, book.bids)})


def _list(market: str, ask: Ask) -> Answer:
    entries = [_pair(each) if market == "spot" else _contract(each) for each in ask.market.listings(market)]
    return Answer(msgspec.json.encode(entries))


def _pair(listing: Listing) -> dict[str, Any]:
    return {
        "id": listing.symbol,
        "base": listing.base,
        "quote": listing.quote,
        "fee": "0.2",
        "amount_precision": listing.numbers.size_decimals,
        "precision": listing.numbers.price_decimals,
        "trade_status": "tradable",
    }


def _contract(listing: Listing) -> dict[str, Any]:
    return {
        "name": listing.symbol,
        "type": "inverse" if listing.is_inverse else "direct",
        "quanto_multiplier": "0" if listing.is_inverse else f"{listing.contract:g}",
        "order_price_round": listing.numbers.price(1),
        "order_size_min": 1,
        "in_delisting": False,
    }


def _failed(label: str, message: str) -> Answer:
    return Answer(msgspec.json.encode({"label": label, "message": message}), status=400)
