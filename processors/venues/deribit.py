"""Deribit's notifications → items, of futures, options, spot, and the volatility index DVOL.

Trades are counted by instrument (`trade_seq`); those of blocks, and of the legs of combos, were not made on the book.
Source: https://docs.deribit.com/subscriptions/trades/tradesinstrument_nameinterval
Source: https://docs.deribit.com/subscriptions/orderbook/bookinstrument_nameinterval
Source: https://docs.deribit.com/subscriptions/market-data/tickerinstrument_nameinterval
Source: https://docs.deribit.com/subscriptions/market-data/deribit_volatility_indexindex_name
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from processors.book_rules import BookRule, PreviousIdRule
from processors.errors import FrameError
from processors.facts import Facts
from processors.items import (
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Liquidation,
    Notice,
    Quote,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues import deribit_wire as wire
from processors.wire import (
    MALFORMED,
    NO_ID,
    NOTICE_CHARS,
    asked,
    checked_levels,
    levels,
    notice,
    number,
    past_trades,
    time_us,
    unknown_answer,
)
from schemas.records import DerivativeKind, Frame, Side

NAME: Final = "DERIBIT"
MARKETS: Final[tuple[str, ...]] = ("futures", "options", "spot")
FACTS: Final[dict[str, Facts]] = {
    "futures": Facts(
        side="`direction`, the taker's",
        times="`timestamp`, ms",
        sizes="USD of inverse contracts, else base currency",
        since="2021, API v2",
        past_trades="`get_last_trades_by_instrument`, by `trade_seq`",
    ),
    "options": Facts(
        side="`direction`, the taker's",
        times="`timestamp`, ms",
        sizes="base currency",
        since="2021, API v2",
        past_trades="`get_last_trades_by_instrument`, by `trade_seq`",
    ),
    "spot": Facts(
        side="`direction`, the taker's",
        times="`timestamp`, ms",
        sizes="base currency",
        since="2023, API v2",
        past_trades="`get_last_trades_by_instrument`, by `trade_seq`",
    ),
}
RULE: Final = PreviousIdRule(ids_are_shared=False)  # what is put together in 100 ms differs by connection
SIDES: Final[dict[str, Side]] = {"buy": "BUY", "sell": "SELL"}
OTHERS: Final[dict[str, Side]] = {"buy": "SELL", "sell": "BUY"}
INTERVALS: Final = {
    "1": ("1m", 1), "3": ("3m", 3), "5": ("5m", 5), "10": ("10m", 10), "15": ("15m", 15), "30": ("30m", 30),
    "60": ("1h", 60), "120": ("2h", 120), "180": ("3h", 180), "360": ("6h", 360), "720": ("12h", 720),
    "1D": ("1d", 1440),
}  # fmt: skip
"""Resolution → its name, and its minutes."""
MINUTE_US: Final = 60_000_000
PLAIN_PARTS: Final = 3  # of `book.BTC-PERPETUAL.100ms`
GROUPED_PARTS: Final = 5  # of `book.BTC-PERPETUAL.none.20.100ms`
CANDLE_PARTS: Final = 4  # of `chart.trades.BTC-PERPETUAL.1`
UNREAD: Final = (
    "deribit_price_index", "deribit_price_ranking", "deribit_price_statistics", "estimated_expiration_price",
    "incremental_ticker", "block_rfq",
)  # fmt: skip
UNREAD_WORDS: Final = Notice("prices of indices by themselves, changes of tickers and block quotes are not read")

COMBO: Final = re.compile(r"[._](option_combo|future_combo)\.|\.[A-Z0-9]+(_[A-Z0-9]+)?-[A-Z][A-Z0-9]{1,8}-\d")
"""Of a channel: its kind, or an instrument such as BTC-FS-25DEC26_PERP."""
COMBO_WORDS: Final = Notice("combos are not read: their prices may be negative")

Items = list[AnyItem]
Unknown = list[UnknownField]
OneSide = tuple[list[float], list[float]]


def book_rule(market: str) -> BookRule:
    """Tell how a market's books hold together: each change names the one before it."""
    del market
    return RULE


def trades_are_counted(market: str) -> bool:
    """`trade_seq` of an instrument rises by one, in all markets."""
    return market in MARKETS


def parse(market: str, frame: Frame, memory: Memory) -> Items:
    """Parse a MESSAGE or HTTP frame; answers to our own requests on the connection and heartbeats yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    del memory
    if market not in MARKETS:
        raise FrameError(f"Deribit has no market {market!r}")
    unknown: Unknown = []
    if frame.kind == "HTTP":
        return [*_past_trades(frame, unknown), *unknown]
    message = wire.MESSAGE.decode(frame.payload, unknown)
    if message.method != "subscription" or message.params is None:
        return _answer(message)
    channel, data = message.params.channel, message.params.data
    read, parts = _reader_of(channel)
    if read is None:
        raise FrameError(f"channel {channel[:80]!r} is not known")
    return [*read(parts, data, unknown), *unknown]


@lru_cache(maxsize=65536)
def _reader_of(channel: str) -> "tuple[Channel | None, list[str]]":
    """Tell what reads a channel (None = it is not known), and the parts of its name."""
    parts = channel.split(".")
    return _combo if COMBO.search(channel) else CHANNELS.get(parts[0]), parts


def _answer(message: wire.Message) -> Items:
    if bytes(message.error) not in {b"", b"null"}:
        return [notice(message.error)]
    is_answer = message.id is not msgspec.UNSET and bool(bytes(message.result))
    if not is_answer and message.method != "heartbeat":
        raise FrameError("neither a notification nor an answer")
    return []


def _past_trades(frame: Frame, unknown: Unknown) -> Items:
    """Parse trades that were asked for by their numbers, of one instrument; liquidations among them are not told."""
    path, query = asked(frame.request)
    if path.rpartition("/")[2] != "get_last_trades_by_instrument":
        raise unknown_answer(frame.request)
    message = wire.MESSAGE.decode(frame.payload, unknown)
    if bytes(message.error) not in {b"", b"null"}:
        return [notice(message.error)]
    result = wire.PAST.decode(message.result, unknown)
    rows = wire.TRADES.decode(result.trades, unknown)
    if any(row.instrument_name != query.get("instrument_name") for row in rows):
        raise FrameError("trades of another instrument than was asked for")
    last = NO_ID if result.has_more else number(query.get("end_seq", "0"))
    return [*past_trades([_trade(row) for row in rows], number(query.get("start_seq", "0")), last)]


def _trade(data: wire.TradeData) -> Trade:
    is_off_book = bool(data.block_trade_id or data.block_rfq_id or data.combo_id)
    place = (data.instrument_name, time_us(data.timestamp))
    return Trade(*place, data.trade_seq, data.price, data.amount, SIDES[data.direction], is_off_book, data.trade_id)


def _trades(_channel: list[str], body: msgspec.Raw, unknown: Unknown) -> Items:
    items: Items = []
    for data in wire.TRADES.decode(body, unknown):
        items.append(_trade(data))
        place, side = (data.instrument_name, time_us(data.timestamp)), SIDES[data.direction]
        if "T" in (data.liquidation or ""):
            items.append(Liquidation(*place, data.price, data.amount, side))
        if "M" in (data.liquidation or ""):
            items.append(Liquidation(*place, data.price, data.amount, OTHERS[data.direction]))
    return items


def _book(channel: list[str], body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.BOOK.decode(body, unknown)
    place = (data.instrument_name, time_us(data.timestamp))
    if len(channel) == GROUPED_PARTS:
        if channel[2] != "none":
            raise FrameError(f"levels grouped by {channel[2][:20]!r} are no book")
        sides, most = (*levels(data.bids), *levels(data.asks)), number(channel[3])
        return [BookSnapshot(*place, data.change_id, *sides, is_in_stream=True, most_levels=most, is_top=True)]
    if len(channel) != PLAIN_PARTS:
        raise FrameError(f"channel {'.'.join(channel)[:80]!r} is not known")
    bids, asks = _changed(data.bids), _changed(data.asks)
    previous = data.prev_change_id
    if data.type == "change" and previous is None:
        raise FrameError("book: a change that names no previous one")
    if data.type == "snapshot" or not previous:  # nothing was before the first change of a new instrument
        return [BookSnapshot(*place, data.change_id, *bids, *asks, is_in_stream=True)]
    return [BookDelta(*place, previous + 1, data.change_id, previous, *bids, *asks)]


def _changed(body: msgspec.Raw) -> OneSide:
    try:
        changes = wire.CHANGES.decode(body)
    except MALFORMED as error:
        raise FrameError(f"book: {error}") from error
    sizes = [0.0 if what == "delete" else size for what, _, size in changes]
    return checked_levels([price for _, price, _ in changes], sizes)


def _ticker(_channel: list[str], body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.TICKER.decode(body, unknown)
    stats = wire.STATS.decode(data.stats, unknown)
    symbol, instant = data.instrument_name, time_us(data.timestamp)
    ticker = TickerItem(
        symbol,
        instant,
        last=data.last_price or 0.0,
        high=stats.high,
        low=stats.low,
        volume=None,
        base_volume=stats.volume or 0.0,
        quote_volume=stats.volume_usd if stats.volume_notional is None else stats.volume_notional,
        bid=data.best_bid_price,
        bid_size=data.best_bid_amount,
        ask=data.best_ask_price,
        ask_size=data.best_ask_amount,
    )
    facts: tuple[tuple[DerivativeKind, float | None], ...] = (
        ("MARK_PRICE", data.mark_price), ("INDEX_PRICE", data.index_price), ("OPEN_INTEREST", data.open_interest),
        ("FUNDING_RATE", data.current_funding),
    )  # fmt: skip
    return [ticker, *(DerivativeItem(symbol, instant, kind, value) for kind, value in facts if value is not None)]


def _quote(_channel: list[str], body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.QUOTE.decode(body, unknown)
    instant = time_us(data.timestamp)
    bid, bid_size = data.best_bid_price or 0.0, data.best_bid_amount or 0.0
    ask, ask_size = data.best_ask_price or 0.0, data.best_ask_amount or 0.0
    return [Quote(data.instrument_name, instant, instant, bid, bid_size, ask, ask_size)]


def _candle(channel: list[str], body: msgspec.Raw, unknown: Unknown) -> Items:
    if len(channel) != CANDLE_PARTS or channel[3] not in INTERVALS:
        raise FrameError(f"channel {'.'.join(channel)[:80]!r} is not known")
    data = wire.CANDLE.decode(body, unknown)
    interval, minutes = INTERVALS[channel[3]]
    open_us = time_us(data.open_time)
    candle = CandleItem(
        channel[2],
        0,
        interval=interval,
        open_time_us=open_us,
        close_time_us=open_us + minutes * MINUTE_US,
        open=data.open,
        high=data.high,
        low=data.low,
        close=data.close,
        volume=None,
        base_volume=data.volume,
        quote_volume=data.cost,
        is_closed=None,
    )
    return [candle]


def _volatility(_channel: list[str], body: msgspec.Raw, unknown: Unknown) -> Items:
    data = wire.VOLATILITY.decode(body, unknown)
    return [DerivativeItem(data.index_name, time_us(data.timestamp), "VOLATILITY_INDEX", data.volatility)]


def _marks(_channel: list[str], body: msgspec.Raw, unknown: Unknown) -> Items:
    rows = wire.MARKS.decode(body, unknown)
    return [DerivativeItem(row.instrument_name, time_us(row.timestamp), "MARK_PRICE", row.mark_price) for row in rows]


def _perpetual(channel: list[str], body: msgspec.Raw, unknown: Unknown) -> Items:
    if len(channel) != PLAIN_PARTS:
        raise FrameError(f"channel {'.'.join(channel)[:80]!r} is not known")
    data = wire.PERPETUAL.decode(body, unknown)
    place = channel[1], time_us(data.timestamp)
    items: Items = [DerivativeItem(*place, "FUNDING_RATE", data.interest)]
    if data.index_price is not None:
        items.append(DerivativeItem(*place, "INDEX_PRICE", data.index_price))
    return items


def _combo(_channel: list[str], _body: msgspec.Raw, _unknown: Unknown) -> Items:
    return [COMBO_WORDS]


def _unread(_channel: list[str], _body: msgspec.Raw, _unknown: Unknown) -> Items:
    return [UNREAD_WORDS]


def _platform(channel: list[str], body: msgspec.Raw, unknown: Unknown) -> Items:
    """Pass on that trading is locked, or that the venue is at work; that an index is not, is told again and again."""
    return [] if wire.is_unlocked(body) else _notice(channel, body, unknown)


def _notice(channel: list[str], body: msgspec.Raw, _unknown: Unknown) -> Items:
    text = bytes(body).decode(errors="replace")
    return [Notice(f"{'.'.join(channel)}: {text}"[:NOTICE_CHARS])]


Channel = Callable[[list[str], msgspec.Raw, Unknown], Items]
CHANNELS: Final[dict[str, Channel]] = {
    "trades": _trades,
    "book": _book,
    "ticker": _ticker,
    "quote": _quote,
    "chart": _candle,
    "deribit_volatility_index": _volatility,
    "markprice": _marks,
    "perpetual": _perpetual,
    "platform_state": _platform,
    "announcements": _notice,
    "instrument": _notice,
    **dict.fromkeys(UNREAD, _unread),
}
"""By the first part of a channel's name."""
