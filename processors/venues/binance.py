"""Binance frames (spot, USD-M, COIN-M) → items: combined streams, answers, REST depth snapshots.

Source: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
Source: https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

import msgspec

from processors.book_rules import BookRule, FirstIdRule, OverlappingRule
from processors.errors import FrameError
from processors.facts import Facts
from processors.items import (
    AggTrade,
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Liquidation,
    MarkPrice,
    Notice,
    Quote,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues import binance_wire as wire
from processors.wire import (
    MALFORMED,
    NO_ID,
    amount,
    asked,
    levels,
    maybe,
    notice,
    number,
    past_trades,
    positive,
    signed,
    time_us,
    unknown_answer,
)
from schemas.records import Frame, Side

NAME: Final = "BINANCE"
MARKETS: Final[tuple[str, ...]] = ("spot", "usdm", "coinm")
FACTS: Final[dict[str, Facts]] = {
    "spot": Facts(
        side="`m`: the buyer is the maker → SELL",
        times="`T`, `E`, ms or µs; quotes carry none",
        sizes="base currency",
        since="2023 (trades with order ids, before)",
        past_trades="`GET /api/v3/historicalTrades`, by id",
    ),
    "usdm": Facts(
        side="`m`: the buyer is the maker → SELL",
        times="`T`, `E`, ms",
        sizes="base currency",
        since="2026-04-23 (one path for all, before)",
        past_trades="`GET /fapi/v1/trades`, the newest 1,000; with a key `historicalTrades`, by id",
    ),
    "coinm": Facts(
        side="`m`: the buyer is the maker → SELL",
        times="`T`, `E`, ms",
        sizes="contracts of 100 or 10 USD",
        since="2023",
        past_trades="`GET /dapi/v1/trades`, the newest 1,000; with a key `historicalTrades`, by id",
    ),
}
BOOK_RULES: Final[dict[str, BookRule]] = {"spot": FirstIdRule(), "usdm": OverlappingRule(), "coinm": OverlappingRule()}
BEST_LEVELS: Final = {"depth5": 5, "depth10": 10, "depth20": 20}
INTERVALS: Final = frozenset(
    {"1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"}
)
UNREAD_STREAMS: Final = frozenset({
    "assetIndex", "avgPrice", "blockTrade", "compositeIndex", "contractInfo", "miniTicker", "rpiDepth", "ticker_1d",
    "ticker_1h", "ticker_4h", "tradingSession",
})  # fmt: skip
UNREAD_EVENTS: Final = frozenset({
    "1dTicker", "1hTicker", "24hrMiniTicker", "4hTicker", "assetIndexUpdate", "avgPrice", "blockTrade",
    "compositeIndex", "continuous_kline", "contractInfo",
})  # fmt: skip
UNREAD_WORDS: Final = Notice(
    "short and rolling tickers, averages, indices of several, lists, and candles of other days are not read"
)
OTHER_DAYS: Final = "@+08:00"  # candles whose days are not of UTC
PAST_TRADES: Final = frozenset({"historicalTrades", "trades"})
ON_BOOK: Final = "MARKET"  # other kinds of futures trades: INSURANCE_FUND, ADL, NA

_match_usual: Final = wire.USUAL.fullmatch
_decode_quote: Final = wire.USUAL_QUOTE.decode
_decode_trade: Final = wire.USUAL_TRADE.decode

Items = list[AnyItem]
Unknown = list[UnknownField]


def book_rule(market: str) -> BookRule:
    """Tell how update ids of a market's books chain."""
    return BOOK_RULES[market]


def trades_are_counted(market: str) -> bool:
    """Trade ids of a symbol have no holes, in all markets."""
    return market in BOOK_RULES


def parse(market: str, frame: Frame, memory: Memory) -> Items:
    """Parse a MESSAGE or HTTP frame; answers to our own requests yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    del memory
    if market not in BOOK_RULES:
        raise FrameError(f"Binance has no market {market!r}")
    if frame.kind == "HTTP":
        return _http(frame)
    usual = _match_usual(frame.payload)
    if usual is not None:
        try:
            return _usual_quote(frame.payload) if usual.lastindex == 1 else _usual_trade(frame.payload)
        except MALFORMED:
            pass  # a 0, or what is out of range: `_message` tells
    return _message(market, frame.payload)


def _usual_quote(payload: bytes) -> Items:
    data = _decode_quote(payload).data
    time = time_us(data.time)
    return [Quote(data.symbol, time, data.sequence, data.bid, data.bid_size, data.ask, data.ask_size)]


def _usual_trade(payload: bytes) -> Items:
    data = _decode_trade(payload).data
    side: Side = "SELL" if data.is_buyer_maker else "BUY"
    return [Trade(data.symbol, time_us(data.time), data.trade_id, data.price, data.size, side)]


def _message(market: str, payload: bytes) -> Items:
    try:
        envelope = wire.ENVELOPE.decode(payload)
    except MALFORMED:
        return _bare(market, payload)
    unknown: Unknown = []
    items = _channel(envelope.stream)(market, envelope.data, unknown)
    return [*items, *unknown] if unknown else items


@lru_cache(maxsize=65536)
def _channel(stream: str) -> "Channel":
    """Find the parser of `btcusdt@depth@100ms`, `btcusdt@kline_1m`, `!ticker@arr`, `!serverShutdown` ..."""
    name = stream.partition("@")[0] if stream.startswith("!") or "@" not in stream else stream.split("@")[1]
    plain = name.removeprefix("!").partition("_")[0] if name.startswith("continuousKline") else name.removeprefix("!")
    if plain in UNREAD_STREAMS or plain == "continuousKline" or stream.endswith(OTHER_DAYS):
        return _unread
    if name in BEST_LEVELS:
        return partial(_best_levels, stream.partition("@")[0].upper(), BEST_LEVELS[name])
    found = CHANNELS.get("kline" if name.startswith("kline_") else name)
    if found is None:
        raise FrameError(f"stream {stream[:80]!r} is not known")
    return found


def _bare(market: str, payload: bytes) -> Items:
    """Parse what has no envelope: answers to subscriptions, errors, notices, messages of `/ws/<stream>`."""
    try:
        answer = wire.ANSWER.decode(payload)
    except MALFORMED as error:
        raise FrameError(f"not a combined-stream message or an answer: {error}") from error
    if answer.event == "serverShutdown":
        return [Notice("serverShutdown")]
    if answer.event in UNREAD_EVENTS:
        return [UNREAD_WORDS]
    read = EVENTS.get(answer.event) or (_quote if answer.is_quote else None)
    if read is not None:
        unknown: Unknown = []
        return [*read(market, msgspec.Raw(payload), unknown), *unknown]
    if answer.error is not None or answer.code is not None:
        return [notice(payload)]
    if answer.result is msgspec.UNSET or answer.id is msgspec.UNSET:
        raise FrameError("neither a combined-stream message nor an answer")
    return []


def _trade(_market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.TRADE.decode(body, unknown)
    is_off_book = data.execution != ON_BOOK
    price = amount(data.price) if is_off_book else positive(data.price)
    side: Side = "SELL" if data.is_buyer_maker else "BUY"
    return [Trade(data.symbol, time_us(data.time), data.trade_id, price, amount(data.size), side, is_off_book)]


def _agg_trade(_market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.AGG_TRADE.decode(body, unknown)
    side: Side = "SELL" if data.is_buyer_maker else "BUY"
    return [AggTrade(data.symbol, time_us(data.time), data.trade_id, positive(data.price), amount(data.size), side)]


def _quote(_market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.QUOTE.decode(body, unknown)
    return [
        Quote(
            data.symbol,
            time_us(data.time),
            data.sequence,
            amount(data.bid),
            amount(data.bid_size),
            amount(data.ask),
            amount(data.ask_size),
        )
    ]


def _depth(market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.DEPTH.decode(body, unknown)
    if data.first_sequence > data.sequence:
        raise FrameError(f"depth: first update id {data.first_sequence} is above the last {data.sequence}")
    if market != "spot" and data.previous_sequence is None:
        raise FrameError("depth: pu is missing")
    return [
        BookDelta(
            data.symbol,
            time_us(data.time or data.event_time),
            data.first_sequence,
            data.sequence,
            max(data.previous_sequence or 0, 0),
            *levels(data.bids),
            *levels(data.asks),
        )
    ]


def _best_levels(symbol: str, most: int, market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    """Read the best levels, sent anew each time; those of spot do not name their symbol."""
    if market == "spot":
        data = wire.SNAPSHOT.decode(body, unknown)
        place = (symbol, 0, data.sequence)
        sides = (*levels(data.bids), *levels(data.asks))
    else:
        update = wire.DEPTH.decode(body, unknown)
        place = (update.symbol, time_us(update.time or update.event_time), update.sequence)
        sides = (*levels(update.bids), *levels(update.asks))
    return [BookSnapshot(*place, *sides, is_in_stream=True, most_levels=most, is_top=True)]


def _ticker(market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.TICKER.decode(body, unknown)
    is_contracts = market == "coinm"
    return [
        TickerItem(
            data.symbol,
            time_us(data.event_time),
            last=amount(data.last),
            last_size=amount(data.last_size),
            open=amount(data.open),
            high=amount(data.high),
            low=amount(data.low),
            volume=amount(data.volume),
            base_volume=amount(data.quote_volume) if is_contracts else None,
            quote_volume=None if is_contracts else amount(data.quote_volume),
            trade_count=data.trade_count,
            open_time_us=time_us(data.open_time),
            close_time_us=time_us(data.close_time),
            bid=maybe(data.bid),
            bid_size=maybe(data.bid_size),
            ask=maybe(data.ask),
            ask_size=maybe(data.ask_size),
        )
    ]


def _kline(market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    event = wire.KLINE_EVENT.decode(body, unknown)
    data = wire.KLINE.decode(event.kline, unknown)
    if data.interval not in INTERVALS:
        raise FrameError(f"kline: interval {data.interval[:20]!r} is not known")
    is_contracts = market == "coinm"
    base, buy_base = amount(data.quote_volume), amount(data.taker_buy_quote_volume)
    return [
        CandleItem(
            event.symbol,
            time_us(event.event_time),
            interval=data.interval,
            open_time_us=time_us(data.open_time),
            close_time_us=time_us(data.close_time),
            open=positive(data.open),
            high=positive(data.high),
            low=positive(data.low),
            close=positive(data.close),
            volume=amount(data.volume),
            taker_buy_volume=amount(data.taker_buy_volume),
            base_volume=base if is_contracts else None,
            quote_volume=None if is_contracts else base,
            taker_buy_base_volume=buy_base if is_contracts else None,
            taker_buy_quote_volume=None if is_contracts else buy_base,
            trade_count=data.trade_count,
            is_closed=data.is_closed,
        )
    ]


def _mark_price(_market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.MARK_PRICE.decode(body, unknown)
    index = maybe(data.index_price)
    funding = signed(data.funding_rate) if data.funding_rate and data.next_funding_time else None
    mark = positive(data.mark_price)
    return [
        MarkPrice(data.symbol, time_us(data.event_time), mark, index or None, funding, time_us(data.next_funding_time))
    ]


def _index_price(_market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    """Give the index of a pair, which a stream of its own told until mark prices did, to the pair's perpetual."""
    data = wire.INDEX_PRICE.decode(body, unknown)
    symbol, price = f"{data.pair_name}_PERP", positive(data.price)
    return [DerivativeItem(symbol, time_us(data.event_time), "INDEX_PRICE", price)]


def _force_order(_market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    event = wire.FORCE_ORDER.decode(body, unknown)
    data = wire.FORCED.decode(event.order, unknown)
    price = amount(data.average_price) or positive(data.price)
    size = amount(data.filled_size) or amount(data.size)
    return [Liquidation(data.symbol, time_us(data.time), price, size, data.side)]


def _each(read: "Channel", market: str, body: msgspec.Raw, unknown: Unknown) -> Items:
    """Read what a stream of a whole market tells of its symbols."""
    try:
        rows = wire.ROWS.decode(body)
    except MALFORMED as error:
        raise FrameError(f"not a list: {error}") from error
    return [item for row in rows for item in read(market, row, unknown)]


def _unread(_market: str, _body: msgspec.Raw, _unknown: Unknown) -> Items:
    return [UNREAD_WORDS]


def _shutdown(_market: str, _body: msgspec.Raw, _unknown: Unknown) -> Items:
    return [Notice("serverShutdown")]


def _http(frame: Frame) -> Items:
    path, query = asked(frame.request)
    what, symbol = path.rpartition("/")[2], query.get("symbol", "").upper()
    if what == "depth":
        return _snapshot(frame, symbol)
    if what in PAST_TRADES:
        return _past_trades(frame, symbol, number(query["fromId"]) if "fromId" in query else NO_ID)
    if what == "openInterest":
        return _open_interest(frame)
    raise unknown_answer(frame.request)


def _open_interest(frame: Frame) -> Items:
    """Read what no stream tells: recorders ask for it."""
    unknown: Unknown = []
    data = wire.OPEN_INTEREST.decode(frame.payload, unknown)
    return [DerivativeItem(data.symbol, time_us(data.time), "OPEN_INTEREST", amount(data.open_interest)), *unknown]


def _past_trades(frame: Frame, symbol: str, from_id: int) -> Items:
    """Parse trades that were asked for: from an id on, or the newest."""
    unknown: Unknown = []
    try:
        rows = wire.PAST_TRADES.decode(frame.payload, unknown)
    except FrameError:
        if _is_error(frame.payload):
            return [Notice(f"{symbol}: {notice(frame.payload).text}")]
        raise
    if not symbol:
        raise FrameError("trades were asked for of no symbol")
    return [*past_trades([_past_trade(symbol, row) for row in rows], from_id, NO_ID), *unknown]


def _past_trade(symbol: str, row: wire.PastTradeData) -> Trade:
    side: Side = "SELL" if row.is_buyer_maker else "BUY"
    return Trade(symbol, time_us(row.time), row.trade_id, positive(row.price), amount(row.size), side)


def _snapshot(frame: Frame, symbol: str) -> Items:
    unknown: Unknown = []
    try:
        body = wire.SNAPSHOT.decode(frame.payload, unknown)
    except FrameError:
        if _is_error(frame.payload):
            return [Notice(f"{symbol}: {notice(frame.payload).text}")]
        raise
    if symbol and body.symbol and symbol != body.symbol:
        raise FrameError(f"a snapshot of {body.symbol[:40]!r} answers a request for {symbol[:40]!r}")
    if not symbol and not body.symbol:
        raise FrameError("a snapshot that names no symbol, in neither body nor request")
    bids, asks = levels(body.bids), levels(body.asks)
    time = body.time or body.event_time
    return [BookSnapshot(symbol or body.symbol, time_us(time), body.sequence, *bids, *asks), *unknown]


def _is_error(payload: bytes) -> bool:
    try:
        return wire.ANSWER.decode(payload).code is not None
    except MALFORMED:
        return False


Channel = Callable[[str, msgspec.Raw, Unknown], Items]
CHANNELS: Final[dict[str, Channel]] = {
    "trade": _trade,
    "aggTrade": _agg_trade,
    "bookTicker": _quote,
    "depth": _depth,
    "kline": _kline,
    "ticker": _ticker,
    "markPrice": _mark_price,
    "indexPrice": _index_price,
    "forceOrder": _force_order,
    "!bookTicker": _quote,
    "!forceOrder": _force_order,
    "!markPrice": partial(_each, _mark_price),
    "!ticker": partial(_each, _ticker),
    "!serverShutdown": _shutdown,
}
"""By the part of a stream's name after the symbol, speed and interval left out."""
EVENTS: Final[dict[str, Channel]] = {
    "trade": _trade,
    "aggTrade": _agg_trade,
    "bookTicker": _quote,
    "depthUpdate": _depth,
    "kline": _kline,
    "24hrTicker": _ticker,
    "markPriceUpdate": _mark_price,
    "indexPriceUpdate": _index_price,
    "forceOrder": _force_order,
}
"""The same by what a message calls itself; partial depth of spot does not say of what it is."""
