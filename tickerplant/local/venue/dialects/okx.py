"""OKX v5 as the simulated venue speaks it: spot, swaps, dated futures, options; books by prevSeqId and seqId.

Liquidations are subscribed to by type, and come of all its instruments.
Source: https://www.okx.com/docs-v5/en/#overview-websocket
Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel
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
from tickerplant.local.venue.listings import KNOWN, Asset, Listing, price_decimals, quarter_end_ms
from tickerplant.local.venue.numbers import numbers_of

NAME: Final = "OKX"
MARKETS: Final = {
    "spot": MarketTerms(share=0.4),
    "swap": MarketTerms(share=0.3, has_marks=True),
    "futures": MarketTerms(share=0.2, has_marks=True),
    "option": MarketTerms(share=0.1, has_marks=True),
}
PATHS: Final = ("/ws/v5/public", "/ws/v5/business")
ENDPOINTS: Final = tuple(Endpoint(name=each, market=each, paths=PATHS) for each in MARKETS)
CHECKSUM: Final[re.Pattern[bytes] | None] = None  # the field is 0 since 2026

KINDS: Final[dict[str, Kind]] = {
    "trades": "trade", "trades-all": "trade", "bbo-tbt": "quote", "books": "depth", "tickers": "ticker",
    "mark-price": "mark_price", "open-interest": "open_interest", "funding-rate": "funding", "index-tickers": "other",
}  # fmt: skip
EVERY_MS: Final = {"mark-price": 1000, "open-interest": 3000, "funding-rate": 30_000, "index-tickers": 1000}
CANDLE: Final = re.compile(r"candle(?P<count>\d+)(?P<unit>[smHDWM])(utc)?")
UNITS_MS: Final = {
    "s": 1000, "m": 60_000, "H": 3_600_000, "D": 86_400_000, "W": 604_800_000, "M": 30 * 86_400_000,
}  # fmt: skip
QUIET_MOST_S: Final = 30.0
BOOK_LEVELS: Final = 400
WORTH: Final = {"BTC": 0.01, "ETH": 0.1}
WORTH_USD: Final = {"BTC": 100.0}
WORTH_USD_OTHERS: Final = 10.0
OPTION_WORTH: Final = (("BTC", 0.01), ("ETH", 0.1))  # base currency a contract, of the families there are
OPTION_SHARE: Final = 0.05  # of the underlying's price
STRIKE_STEP: Final = 0.05
PAST_TRADES: Final = 100  # of an answer
TYPES: Final = {"spot": "SPOT", "swap": "SWAP", "futures": "FUTURES", "option": "OPTION"}
CONNECTION: Final = "a4d3ae55"


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market: futures are inverse; options are calls of two families."""
    if market == "option":
        return [_option(number, quarter_end_ms(now_ms)) for number in range(len(assets))]
    return [_listing(market, each, quarter_end_ms(now_ms) if market == "futures" else 0) for each in assets]


def routes(market: str) -> list[Route]:
    """List the REST addresses."""
    return [
        Route(
            path="/api/v5/public/instruments", answer=lambda ask: _instruments(market, ask), counts_as="instruments"
        ),
        Route(path="/api/v5/market/books", answer=lambda ask: _books(market, ask), counts_as="snapshot"),
        Route(path="/api/v5/market/history-trades", answer=lambda ask: _past_trades(market, ask), counts_as="trades"),
    ]  # fmt: skip


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection."""
    return OkxConversation(handshake.endpoint.market, handshake.market)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    return OkxWriter(listing)


class OkxConversation(Conversation):
    """Each argument is answered by itself; a channel that does not exist is an error which names it.

    A connection that nothing is sent on is cut: who listens to what is quiet has to ask for pongs.
    """

    tick_s = 1.0

    def __init__(self, market: str, symbols: Symbols) -> None:
        self._market = market
        self._symbols = symbols

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Answer a ping, subscribe, unsubscribe."""
        del now
        if message == b"ping":
            return [Say(b"pong")]
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if not isinstance(request, Mapping) or request.get("op") not in {"subscribe", "unsubscribe"}:
            return [_failed("60012", f"Invalid request: {message[:80].decode(errors='replace')}")]
        actions: list[Action] = []
        for argument in request.get("args") or []:
            actions += self._do(str(request["op"]), dict(argument), request.get("id"))
        return actions

    def tick(self, now: Now) -> Iterable[Action]:
        """Cut a connection on which nothing was sent for long."""
        return [Close(4004, "No data received in 30s.")] if now.quiet_s > QUIET_MOST_S else []

    def maintenance(self, now: Now) -> Iterable[bytes]:
        """Write the notice of an upgrade."""
        del now
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        return [msgspec.json.encode({"event": "notice", "code": "64008", "msg": text, "connId": CONNECTION})]

    def _do(self, op: str, argument: dict[str, Any], number: object) -> list[Action]:
        answer = {"event": op, "arg": argument, "connId": CONNECTION}
        done = Say(msgspec.json.encode(answer if number is None else {"id": number, **answer}))
        streams = self._streams(argument)
        if not streams:
            named = f"channel:{argument.get('channel')},instId:{argument.get('instId')}"
            return [_failed("60018", f"Wrong URL or {named} doesn't exist. Please use the correct URL.")]
        if op == "unsubscribe":
            return [*map(Unsubscribe, streams), done]
        return [done, *(Subscribe(each, with_first=each.kind != "liquidation") for each in streams)]

    def _streams(self, argument: Mapping[str, Any]) -> list[Stream]:
        """Tell what an argument asks for; nothing = there is no such thing."""
        channel, of_type = str(argument.get("channel")), argument.get("instType")
        if channel == "liquidation-orders":
            is_ours = of_type == TYPES[self._market] and MARKETS[self._market].has_marks
            names = [each.symbol for each in self._symbols.listings(self._market)] if is_ours else []
            return [self._make(channel, name, name, "liquidation") for name in names]
        stream = self._stream(channel, str(argument.get("instId")))
        return [] if stream is None else [stream]

    def _stream(self, channel: str, name: str) -> Stream | None:
        symbol = f"{name}-SWAP" if channel == "index-tickers" else name
        if self._symbols.listing(self._market, symbol) is None:
            return None
        found = CANDLE.fullmatch(channel)
        if found:
            every_ms = int(found["count"]) * UNITS_MS[found["unit"]]
            return self._make(channel, name, symbol, "candle", every_ms)
        kind = KINDS.get(channel)
        return None if kind is None else self._make(channel, name, symbol, kind, EVERY_MS.get(channel, 100))

    def _make(self, channel: str, name: str, symbol: str, kind: Kind, every_ms: int = 100) -> Stream:
        return Stream(
            market=self._market,
            name=f"{channel}:{name}",
            kind=kind,
            symbol=symbol,
            channel=channel,
            every_ms=every_ms,
            levels=BOOK_LEVELS if kind == "depth" else 0,
            form=name,
        )


class OkxWriter(Writer):
    """Writes the channels of one symbol; all numbers are text."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing)
        self._symbol = listing.symbol

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write a message a trade, or a forced order."""
        del now_ms
        if stream.kind == "liquidation":
            return [Frame(self._forced(each)) for each in prints]
        return [Frame(self._message(stream, [self._trade(stream, each)]), each.number, each.number) for each in prints]

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the best quote as a book of one level."""
        quote, numbers = view.quote, self.listing.numbers
        asks = [(numbers.price(quote.ask), numbers.size(quote.ask_size))]
        bids = [(numbers.price(quote.bid), numbers.size(quote.bid_size))]
        row = {"asks": _levels(asks), "bids": _levels(bids), "ts": str(now_ms), "seqId": view.update_id}
        return (Frame(self._message(stream, [row])),)

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write what changed, with the ids of this and the last message."""
        ids = {"prevSeqId": change.previous_id, "seqId": change.last_id}
        return (self._book(stream, "update", (change.bids, change.asks), ids, now_ms),)

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a snapshot."""
        ids = {"prevSeqId": -1, "seqId": book.last_id}
        return (self._book(stream, "snapshot", (book.bids, book.asks), ids, now_ms),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle: volume in contracts, in base and in quote currency."""
        del now_ms
        price, size = self.listing.numbers.price, self.listing.numbers.size
        base, quote = self._worth(candle.volume, candle.quote)
        row = [
            str(candle.open_ms),
            *(price(each) for each in (candle.open, candle.high, candle.low, candle.close)),
            size(candle.volume),
            base if self.listing.market != "spot" else quote,
            quote,
            "1" if is_closed else "0",
        ]
        return (Frame(self._message(stream, [row])),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write statistics."""
        day, quote, numbers = view.day, view.quote, self.listing.numbers
        assert day is not None
        base, amount = self._worth(day.volume, day.quote)
        row = {
            "instType": TYPES[self.listing.market],
            "instId": self._symbol,
            "last": numbers.price(day.last),
            "lastSz": numbers.size(day.last_lots),
            "askPx": numbers.price(quote.ask),
            "askSz": numbers.size(quote.ask_size),
            "bidPx": numbers.price(quote.bid),
            "bidSz": numbers.size(quote.bid_size),
            "open24h": numbers.price(day.open),
            "high24h": numbers.price(day.high),
            "low24h": numbers.price(day.low),
            "sodUtc0": numbers.price(day.open),
            "sodUtc8": numbers.price(day.open),
            "volCcy24h": amount if self.listing.market == "spot" else base,
            "vol24h": numbers.size(day.volume),
            "ts": str(now_ms),
        }
        return (Frame(self._message(stream, [row])),)

    def marks(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write mark price, index, funding rate, open interest."""
        marks, decimals = view.marks(now_ms), self.listing.numbers.price_decimals
        head = {"instId": stream.form, "instType": TYPES[self.listing.market], "ts": str(now_ms)}
        if stream.kind == "mark_price":
            row = head | {"markPx": f"{marks.mark_price:.{decimals}f}"}
        elif stream.kind == "open_interest":
            row = head | {"oi": f"{marks.open_interest:.0f}", "oiCcy": f"{marks.open_interest:.4f}", "oiUsd": "0"}
        elif stream.kind == "funding":
            if not marks.funding_ms:
                return ()
            row = head | {"fundingRate": f"{marks.funding_rate:.10f}", "fundingTime": str(marks.funding_ms)}
        else:
            row = {"instId": stream.form, "idxPx": f"{marks.index_price:.{decimals}f}", "ts": str(now_ms)}
        return (Frame(self._message(stream, [row])),)

    def _worth(self, lots: float, amount: float) -> tuple[str, str]:
        """Tell lots in base and quote currency; `amount` of inverse contracts is base currency."""
        size = lots / self.listing.numbers.size_scale * self.listing.contract
        base, quote = (amount, size) if self.listing.is_inverse else (size, amount)
        return f"{base:.8f}", f"{quote:.8f}"

    def past_trade(self, made: Print) -> dict[str, Any]:
        """Make a row of past trades, and of `trades-all`."""
        return {
            "instId": self._symbol,
            "tradeId": str(made.number),
            "px": made.price,
            "sz": made.size,
            "side": "buy" if made.is_buy else "sell",
            "ts": str(made.time_ms),
            "source": "0",
        }

    def _trade(self, stream: Stream, made: Print) -> dict[str, Any]:
        row = self.past_trade(made)
        return row | {"count": "1", "seqId": made.number} if stream.channel == "trades" else row

    def _forced(self, made: Print) -> bytes:
        of_type = TYPES[self.listing.market]
        family = f"{self.listing.base}-{self.listing.quote}"
        order = {
            "bkLoss": "0",
            "bkPx": made.price,
            "ccy": "",
            "posSide": "short" if made.is_buy else "long",
            "side": "buy" if made.is_buy else "sell",
            "sz": made.size,
            "ts": str(made.time_ms),
        }
        row = {"details": [order], "instFamily": family, "instId": self._symbol, "instType": of_type, "uly": family}
        return msgspec.json.encode({"arg": {"channel": "liquidation-orders", "instType": of_type}, "data": [row]})

    def _book(
        self, stream: Stream, action: str, sides: tuple[Levels, Levels], ids: Mapping[str, int], now_ms: int
    ) -> Frame:
        bids, asks = sides
        row = {"asks": _levels(asks), "bids": _levels(bids), "ts": str(now_ms), "checksum": 0, **ids}
        message = {"arg": {"channel": stream.channel, "instId": self._symbol}, "action": action, "data": [row]}
        return Frame(msgspec.json.encode(message), ids["prevSeqId"] + 1, ids["seqId"])

    def _message(self, stream: Stream, rows: object) -> bytes:
        return msgspec.json.encode({"arg": {"channel": stream.channel, "instId": stream.form}, "data": rows})


def _levels(side: Levels) -> list[tuple[str, str, str, str]]:
    return [(price, size, "0", "1") for price, size in side]


def _failed(code: str, text: str) -> Say:
    return Say(msgspec.json.encode({"event": "error", "code": code, "msg": text, "connId": CONNECTION}))


def _listing(market: str, asset: Asset, delivery_ms: int) -> Listing:
    is_inverse = market == "futures"
    quote = "USD" if is_inverse else "USDT"
    end = f"-{datetime.fromtimestamp(delivery_ms / 1000, UTC):%y%m%d}" if delivery_ms else ""
    worth = {
        "spot": 1.0,
        "swap": WORTH.get(asset.base, 1.0),
        "futures": WORTH_USD.get(asset.base, WORTH_USD_OTHERS),
    }[market]
    return Listing(
        market=market,
        symbol=f"{asset.base}-{quote}{'-SWAP' if market == 'swap' else end}",
        base=asset.base,
        quote=quote,
        numbers=numbers_of(price_decimals(asset.price), 6 if market == "spot" else 0),
        start_price=asset.price,
        is_perpetual=market == "swap",
        delivery_ms=delivery_ms,
        contract=worth,
        is_inverse=is_inverse,
    )


def _option(number: int, delivery_ms: int) -> Listing:
    """Make a call, priced in the coin: families in turn, each strike above the last one."""
    base, worth = OPTION_WORTH[number % len(OPTION_WORTH)]
    strike = KNOWN[base] * (1 + number // len(OPTION_WORTH) * STRIKE_STEP)
    return Listing(
        market="option",
        symbol=f"{base}-USD-{datetime.fromtimestamp(delivery_ms / 1000, UTC):%y%m%d}-{strike:.0f}-C",
        base=base,
        quote="USD",
        numbers=numbers_of(price_decimals(OPTION_SHARE), 0),
        start_price=OPTION_SHARE,
        delivery_ms=delivery_ms,
        contract=worth,
    )


def _instruments(market: str, ask: Ask) -> Answer:
    if ask.query.get("instType") != TYPES[market]:
        return _refused("51000", "Parameter instType error")
    entries = [_entry(each) for each in ask.market.listings(market)]
    if market != "option":
        return _answered(entries)
    family = ask.query.get("instFamily")
    if family is None:
        return _refused("50014", "Parameter instFamily can not be empty.")
    return _answered([each for each in entries if each["instFamily"] == family])


def _books(market: str, ask: Ask) -> Answer:
    size = ask.query.get("sz", "1")
    book = ask.market.book(market, ask.query.get("instId", ""), int(size)) if size.isdigit() else None
    if book is None:
        return _refused("51001", "Instrument ID does not exist")
    return _answered([{"asks": _levels(book.asks), "bids": _levels(book.bids), "ts": str(book.time_ms)}])


def _past_trades(market: str, ask: Ask) -> Answer:
    """Answer with trades before an id, or the newest; newest first."""
    symbol, after = ask.query.get("instId", ""), int(ask.query.get("after", 0))
    limit = min(PAST_TRADES, int(ask.query.get("limit", PAST_TRADES)))
    newest = ask.market.trades(market, symbol, max(0, after - limit) if after else -1, limit)
    listing = ask.market.listing(market, symbol)
    if newest is None or listing is None:
        return _refused("51001", "Instrument ID does not exist")
    trades = [each for each in newest if not after or each.number < after]
    writer = OkxWriter(listing)
    return _answered([writer.past_trade(each) for each in reversed(trades)])


def _answered(rows: list[Any]) -> Answer:
    return Answer(msgspec.json.encode({"code": "0", "msg": "", "data": rows}))


def _refused(code: str, text: str) -> Answer:
    return Answer(msgspec.json.encode({"code": code, "msg": text, "data": []}))


def _entry(listing: Listing) -> dict[str, str]:
    is_spot, is_option = listing.market == "spot", listing.market == "option"
    settle = listing.base if listing.is_inverse or is_option else listing.quote
    return {
        "instType": TYPES[listing.market],
        "instId": listing.symbol,
        "uly": "" if is_spot else f"{listing.base}-{listing.quote}",
        "instFamily": "" if is_spot else f"{listing.base}-{listing.quote}",
        "baseCcy": listing.base if is_spot else "",
        "quoteCcy": listing.quote if is_spot else "",
        "settleCcy": "" if is_spot else settle,
        "ctVal": "" if is_spot else f"{listing.contract:g}",
        "ctMult": "" if is_spot else "1",
        "ctType": "" if is_spot or is_option else "inverse" if listing.is_inverse else "linear",
        "expTime": str(listing.delivery_ms or ""),
        "stk": listing.symbol.split("-")[3] if is_option else "",
        "optType": "C" if is_option else "",
        "tickSz": listing.numbers.price(1),
        "lotSz": listing.numbers.size(1),
        "state": "live",
    }
