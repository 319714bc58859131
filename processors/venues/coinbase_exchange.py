"""Frames of Coinbase's Exchange feed → items.

Books have no numbers: a message that is missing shows by a book that is crossed, one that came late by its time.
Source: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

import msgspec

from processors.errors import FrameError, OtherFrameError
from processors.items import BookDelta, BookSnapshot, Notice, Refused, TickerItem, Trade
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
    MALFORMED,
    NO_ID,
    NOTICE_CHARS,
    amount,
    asked,
    levels,
    maybe,
    past_trades,
    positive,
    unknown_answer,
)
from schemas.records import Frame

PAST_TRADES: Final = re.compile(r".*/products/([^/]+)/trades")


def parse_exchange(payload: bytes) -> Items:
    """Parse a message; answers, heartbeats and lists of products yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    if payload.startswith(COMPACT):
        return [UNREAD_WORDS]
    try:
        head = wire.HEAD.decode(payload)
    except MALFORMED as error:
        raise FrameError(f"not a message: {error}") from error
    if head.type in SILENT:
        return []
    if head.type == "error":
        return [Notice(f"{head.message}: {head.reason}"[:NOTICE_CHARS])]
    read = TYPES.get(head.type)
    if read is None:
        if head.type in UNREAD:
            return [UNREAD_WORDS]
        raise OtherFrameError(f"type {head.type[:40]!r} is not known")
    unknown: Unknown = []
    try:
        items = read(payload, unknown)
    except FrameError as error:
        if head.type in OF_BOOKS:
            raise
        raise OtherFrameError(str(error)) from error
    return [*items, *unknown] if unknown else items


def parse_answer(frame: Frame) -> Items:
    """Parse trades that were asked for, newest first.

    Raises:
        FrameError: malformed, or no answer we know.
    """
    found = PAST_TRADES.fullmatch(asked(frame.request)[0])
    if found is None:
        raise unknown_answer(frame.request)
    product = unquote(found[1])
    unknown: Unknown = []
    trades = [_past_trade(product, row) for row in wire.PAST_TRADES.decode(frame.payload, unknown)]
    return [*past_trades(trades, NO_ID, NO_ID), *unknown]


def _past_trade(product: str, row: wire.PastTradeData) -> Trade:
    price, size = positive(row.price), amount(row.size)
    return Trade(product, instant_us(row.time), row.trade_id, price, size, AGGRESSORS[row.side])


def _match(payload: bytes, unknown: Unknown) -> Items:
    data = wire.MATCH.decode(payload, unknown)
    price, size, side = positive(data.price), amount(data.size), AGGRESSORS[data.side]
    is_past = data.type == "last_match"
    return [Trade(data.product_id, instant_us(data.time), data.trade_id, price, size, side, is_past=is_past)]


def _ticker(payload: bytes, unknown: Unknown) -> Items:
    data = wire.EXCHANGE_TICKER.decode(payload, unknown)
    instant = instant_us(data.time)
    items: Items = quotes(
        (data.product_id, instant, data.sequence),
        (data.best_bid, data.best_bid_size, data.best_ask, data.best_ask_size),
    )
    if data.volume_24h:
        ticker = TickerItem(
            data.product_id,
            instant,
            last=amount(data.price),
            last_size=maybe(data.last_size),
            open=maybe(data.open_24h),
            high=maybe(data.high_24h),
            low=maybe(data.low_24h),
            volume=amount(data.volume_24h),
            bid=maybe(data.best_bid or ""),
            bid_size=maybe(data.best_bid_size),
            ask=maybe(data.best_ask or ""),
            ask_size=maybe(data.best_ask_size),
        )
        items.append(ticker)
    return items


def _snapshot(payload: bytes, unknown: Unknown) -> Items:
    data = wire.EXCHANGE_SNAPSHOT.decode(payload, unknown)
    refused: list[Refused] = []
    bids, asks = _levels(data.bids, refused), _levels(data.asks, refused)
    return [BookSnapshot(data.product_id, instant_us(data.time), 0, *bids, *asks, is_in_stream=True), *refused]


def _levels(body: msgspec.Raw, refused: list[Refused]) -> tuple[list[float], list[float]]:
    """Read levels; one that is none was sent like that, and each snapshot would tell it again: the others are used.

    Raises:
        FrameError: it is no list.
    """
    try:
        return levels(body)
    except FrameError:
        prices, sizes = [], []
        for row in _rows(body):
            try:
                (price,), (size,) = levels(msgspec.Raw(b"[%b]" % bytes(row)))
            except FrameError as error:
                refused.append(Refused(f"{bytes(row)[:60]!r}: {error}"))
            else:
                prices.append(price)
                sizes.append(size)
        return prices, sizes


def _rows(body: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return wire.ROWS.decode(body)
    except MALFORMED as error:
        raise FrameError(f"book levels: {error}") from error


def _update(payload: bytes, unknown: Unknown) -> Items:
    data = wire.EXCHANGE_UPDATE.decode(payload, unknown)
    try:
        changes = wire.CHANGES.decode(data.changes)
    except MALFORMED as error:
        raise FrameError(f"level2: {error}") from error
    sides = sides_of([(side == "buy", price, size) for side, price, size in changes])
    return [BookDelta(data.product_id, instant_us(data.time), 0, 0, 0, *sides)]


Type = Callable[[bytes, Unknown], Items]
TYPES: Final[dict[str, Type]] = {
    "match": _match,
    "last_match": _match,
    "ticker": _ticker,
    "snapshot": _snapshot,
    "l2update": _update,
}
OF_BOOKS: Final = frozenset({"snapshot", "l2update"})
SILENT: Final = frozenset({"subscriptions", "heartbeat", "status"})
UNREAD: Final = frozenset({"received", "open", "done", "change", "activate", "auction", "rfq_match"})
UNREAD_WORDS: Final = Notice("orders (full, level3), auctions and requests for quotes are not read")
COMPACT: Final = b"["  # of level3
