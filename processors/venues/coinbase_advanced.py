"""Frames of Coinbase's Advanced Trade feed → items; the messages of a connection, of all channels, are numbered from 0.

Source: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

import msgspec

from processors.errors import FrameError
from processors.items import BookDelta, BookSnapshot, CandleItem, ConnectionGap, Notice, TickerItem, Trade
from processors.memory import Memory
from processors.venues import coinbase_wire as wire
from processors.venues.coinbase_common import (
    AGGRESSORS,
    Items,
    Unknown,
    instant_us,
    quotes,
    sides_of,
)
from processors.wire import (
    MOST_ID_DIGITS,
    NOTICE_CHARS,
    amount,
    asked,
    asked_seconds,
    maybe,
    number,
    positive,
    seconds_us,
    trades_of_time,
    unknown_answer,
)
from schemas.records import Frame

CANDLE_US: Final = 300_000_000
PAST_TRADES: Final = re.compile(r".*/market/products/([^/]+)/ticker")


def parse_advanced(payload: bytes, memory: Memory) -> Items:
    """Parse a message; answers, heartbeats and lists of products yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    unknown: Unknown = []
    envelope = wire.ENVELOPE.decode(payload, unknown)
    if envelope.type == "error":
        return [Notice(envelope.message[:NOTICE_CHARS])]
    if envelope.sequence_num is None or not envelope.events:
        raise FrameError("neither a channel's message nor an error")
    try:
        items = _items(envelope, unknown)
    except FrameError:
        # one of a book is left to be missed by the next message, and what was missed before as well
        if envelope.channel != "l2_data" and envelope.sequence_num == memory.sequence + 1:
            memory.counts_on(envelope.sequence_num)
        raise
    return _in_order(envelope.sequence_num, memory, [*items, *unknown])


def parse_answer(frame: Frame) -> Items:
    """Parse trades of some seconds that were asked for, newest first; their side is read as the stream's is.

    Raises:
        FrameError: malformed, or no answer we know.
    """
    path, query = asked(frame.request)
    found = PAST_TRADES.fullmatch(path)
    if found is None:
        raise unknown_answer(frame.request)
    product = unquote(found[1])
    unknown: Unknown = []
    rows = wire.PAST_ADVANCED_TRADES.decode(wire.PAST_ADVANCED.decode(frame.payload, unknown).trades, unknown)
    if any(row.product_id != product for row in rows):
        raise FrameError("trades of another product than was asked for")
    is_full = len(rows) >= number(query.get("limit", "0"))
    times = asked_seconds(query, "start", "end")
    return [trades_of_time(product, [_trade(row) for row in rows], times, is_full=is_full), *unknown]


def _items(envelope: wire.Envelope, unknown: Unknown) -> Items:
    if envelope.channel in SILENT:
        return []
    read = CHANNELS.get(envelope.channel)
    if read is None:
        raise FrameError(f"channel {envelope.channel[:40]!r} is not known")
    return read(envelope.events, instant_us(envelope.timestamp), unknown)


def _in_order(sequence: int, memory: Memory, items: Items) -> Items:
    """Tell of messages that are missing; of one that came late, or again, only trades can be used."""
    if sequence == 0:
        memory.sequence = -1  # the venue began anew, whether or not the close of the connection was noted
    if sequence <= memory.sequence:
        notice = Notice(f"message {sequence} came after message {memory.sequence} of its connection")
        return [*(item for item in items if isinstance(item, Trade)), notice]
    missing = memory.counts_on(sequence)
    return [ConnectionGap(*missing), *items] if missing else items


def _levels(events: msgspec.Raw, sent_us: int, unknown: Unknown) -> Items:
    items: Items = []
    for event in wire.LEVELS_EVENTS.decode(events, unknown):
        updates = wire.LEVELS.decode(event.updates, unknown)
        sides = sides_of([(each.side == "bid", each.price_level, each.new_quantity) for each in updates])
        if event.type == "snapshot":
            items.append(BookSnapshot(event.product_id, sent_us, 0, *sides, is_in_stream=True))
            continue
        instant = max(map(instant_us, {each.event_time for each in updates}), default=0)
        items.append(BookDelta(event.product_id, instant or sent_us, 0, 0, 0, *sides))
    return items


def _trades(events: msgspec.Raw, _sent_us: int, unknown: Unknown) -> Items:
    found = wire.TRADES_EVENTS.decode(events, unknown)
    trades = [
        _trade(data, is_past=event.type == "snapshot")
        for event in found
        for data in wire.TRADES.decode(event.trades, unknown)
    ]
    return [*sorted(trades, key=lambda trade: (trade.exchange_time_us, trade.trade_id))]


def _trade(data: wire.AdvancedTrade, *, is_past: bool = False) -> Trade:
    is_number = data.trade_id.isascii() and data.trade_id.isdigit() and len(data.trade_id) < MOST_ID_DIGITS
    return Trade(
        data.product_id,
        instant_us(data.time),
        int(data.trade_id) if is_number else 0,
        positive(data.price),
        amount(data.size),
        AGGRESSORS[data.side],
        name="" if is_number else data.trade_id,
        is_past=is_past,
    )


def _tickers(events: msgspec.Raw, sent_us: int, unknown: Unknown) -> Items:
    found = wire.TICKERS_EVENTS.decode(events, unknown)
    tickers = [data for event in found for data in wire.TICKERS.decode(event.tickers, unknown)]
    return [item for data in tickers for item in _ticker(data, sent_us)]


def _ticker(data: wire.AdvancedTicker, sent_us: int) -> Items:
    ticker = TickerItem(
        data.product_id,
        sent_us,
        last=amount(data.price),
        high=maybe(data.high),
        low=maybe(data.low),
        volume=amount(data.volume),
        bid=maybe(data.best_bid or ""),
        bid_size=maybe(data.best_bid_quantity),
        ask=maybe(data.best_ask or ""),
        ask_size=maybe(data.best_ask_quantity),
        is_stamped=True,
    )
    best = (data.best_bid, data.best_bid_quantity, data.best_ask, data.best_ask_quantity)
    return [*quotes((data.product_id, sent_us, sent_us), best), ticker]


def _candles(events: msgspec.Raw, sent_us: int, unknown: Unknown) -> Items:
    found = wire.CANDLES_EVENTS.decode(events, unknown)
    return [_candle(data, sent_us) for event in found for data in wire.CANDLES.decode(event.candles, unknown)]


def _candle(data: wire.CandleData, sent_us: int) -> CandleItem:
    open_us = seconds_us(data.start)
    if not open_us:
        raise FrameError("candles: one that began at no time")
    return CandleItem(
        data.product_id,
        sent_us,
        interval="5m",
        open_time_us=open_us,
        close_time_us=open_us + CANDLE_US,
        open=positive(data.open),
        high=positive(data.high),
        low=positive(data.low),
        close=positive(data.close),
        volume=amount(data.volume),
        is_closed=open_us + CANDLE_US <= sent_us,
        is_stamped=True,
    )


Channel = Callable[[msgspec.Raw, int, Unknown], Items]
CHANNELS: Final[dict[str, Channel]] = {
    "l2_data": _levels,
    "market_trades": _trades,
    "ticker": _tickers,
    "ticker_batch": _tickers,
    "candles": _candles,
}
SILENT: Final = frozenset({"subscriptions", "heartbeats", "status"})
