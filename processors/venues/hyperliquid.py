"""Hyperliquid frames (perpetuals, spot) → items.

Books come whole, the best 20 levels each time: one that is missing is mended by the next, one that came late is older,
and one whose time stands still is no longer believed. Ids of trades tell them apart and do not count; the first message
after the answer to a subscription has the last trades of before. No 24-hour ticker is sent: statistics come with the
mark price (since 2025 with the volume in base currency), and the middle of the best quotes stands for the last price.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

from collections.abc import Callable
from typing import Final

import msgspec

from processors.book_rules import BookRule, CountedRule
from processors.errors import FrameError
from processors.facts import Facts
from processors.items import (
    AnyItem,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Notice,
    Quote,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues import hyperliquid_wire as wire
from processors.wire import MALFORMED, amount, checked_levels, digits, left_out, notice, positive, signed, time_us
from schemas.records import DerivativeKind, Frame, Side

NAME: Final = "HYPERLIQUID"
MARKETS: Final[tuple[str, ...]] = ("perp", "spot")
FACTS: Final[dict[str, Facts]] = {
    "perp": Facts(
        side="`side`: B = the buyer took, A = the seller",
        times="`time`, ms",
        sizes="base currency",
        since="2025",
    ),
    "spot": Facts(
        side="`side`: B = the buyer took, A = the seller",
        times="`time`, ms",
        sizes="base currency",
        since="2025",
    ),
}
STALE_US: Final = 30_000_000  # a book is sent each 5 s since 2026-07-25, whether or not it changed
RULE: Final = CountedRule(is_in_time=True, stale_after_us=STALE_US)
SIDES: Final[dict[str, Side]] = {"B": "BUY", "A": "SELL"}
INTERVALS: Final = frozenset({"1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "3d", "1w", "1M"})
GREETING: Final = b"Websocket connection established."  # which is no JSON
ANSWER: Final = "subscriptionResponse"
PONG: Final = "pong"
NOTICES: Final = frozenset({"error", "notification"})
UNREAD: Final = frozenset({
    "allMids", "allDexsAssetCtxs", "fastAssetCtxs", "outcomeMetaUpdates", "explorerBlock", "explorerTxs", "post",
    "webData2", "webData3", "user", "userFills", "userFundings", "userNonFundingLedgerUpdates", "userTwapSliceFills",
    "userTwapHistory", "orderUpdates", "openOrders", "clearinghouseState", "spotState", "twapStates", "activeAssetData",
    "allDexsClearinghouseState",
})  # fmt: skip
UNREAD_WORDS: Final = Notice("prices of all coins together, answers to requests, and accounts are not read")
SLOW: Final = "slow"
FAST: Final = "fast"
GROUPED: Final = "grouped"
FAST_LEVELS: Final = 5  # of a side
SLOW_LEVELS: Final = 20
CLOCK: Final = "clock"  # the venue's time, as books and quotes of the connection told it last
NULL: Final = b"null"
NOBODY: Final = (msgspec.Raw(NULL), msgspec.Raw(NULL))

Items = list[AnyItem]
Unknown = list[UnknownField]


def book_rule(market: str) -> BookRule:
    """Tell how a market's books hold together: each is whole, and newer than the one before."""
    del market
    return RULE


def trades_are_counted(market: str) -> bool:
    """Ids of trades are hashes."""
    del market
    return False


def parse(market: str, frame: Frame, memory: Memory) -> Items:
    """Parse a MESSAGE frame; answers to our own requests yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    if market not in MARKETS:
        raise FrameError(f"Hyperliquid has no market {market!r}")
    if frame.kind == "HTTP":
        raise FrameError("answer to a request we do not know")
    unknown: Unknown = []
    if frame.payload == GREETING:
        return []
    envelope = wire.ENVELOPE.decode(frame.payload, unknown)
    read = CHANNELS.get(envelope.channel)
    if read is not None:
        return [*read(envelope.data, memory, unknown), *unknown]
    if envelope.channel == ANSWER:
        _note_answer(envelope.data, frame.recv_time_us, memory)
        return []
    if envelope.channel == PONG:
        return []
    if envelope.channel in NOTICES:
        return [notice(envelope.data)]
    if envelope.channel in UNREAD:
        return [UNREAD_WORDS]
    raise FrameError(f"channel {envelope.channel[:40]!r} is not known")


def _note_answer(body: msgspec.Raw, now_us: int, memory: Memory) -> None:
    """Note what was subscribed: whose trades begin with those of before, and which books of a coin come."""
    try:
        answer = wire.ANSWER.decode(body)
    except MALFORMED:  # it is of a stream that we do not know
        return
    wish = answer.subscription
    is_begun = answer.method == "subscribe"
    if wish.type == "trades":
        memory.counts.pop(_trades_of(wish.coin), None)
        if is_begun:
            memory.counts[_trades_of(wish.coin)] = memory.counts.get(CLOCK) or now_us
    elif wish.type == "l2Book":
        kind = FAST if wish.fast is True else SLOW if wish.figures is None else GROUPED
        kinds = set(memory.names.get(_books_of(wish.coin), "").split())
        kinds = kinds | {kind} if is_begun else kinds - {kind}
        memory.names[_books_of(wish.coin)] = " ".join(sorted(kinds))


def _trades_of(coin: str) -> str:
    return f"trades {coin}"


def _books_of(coin: str) -> str:
    return f"books {coin}"


def _trades(body: msgspec.Raw, memory: Memory, unknown: Unknown) -> Items:
    """Read trades; in the first message after an answer, those from before it are of the past."""
    rows = wire.TRADES.decode(body, unknown)
    begun_us = memory.counts.pop(_trades_of(rows[0].coin), 0) if rows else 0
    return [_trade(row, begun_us) for row in rows]


def _trade(data: wire.TradeData, begun_us: int) -> Trade:
    instant, price, size = time_us(data.time), positive(digits(data.price)), amount(digits(data.size))
    return Trade(data.coin, instant, data.trade_id, price, size, SIDES[data.side], is_past=instant < begun_us)


def _book(body: msgspec.Raw, memory: Memory, unknown: Unknown) -> Items:
    data = wire.BOOK.decode(body, unknown)
    bids, asks = (_levels(side, unknown) for side in data.levels)
    memory.counts[CLOCK] = instant = time_us(data.time)
    kinds = memory.names.get(_books_of(data.coin), "")
    most = max(len(bids[0]), len(asks[0]))
    if GROUPED in kinds or (" " in kinds and not _is_kept(data.coin, most, instant, memory)):
        return [left_out(f"l2Book of {data.coin}, grouped or of 5 levels,")]
    return [BookSnapshot(data.coin, instant, 0, *bids, *asks, is_in_stream=True)]


def _is_kept(coin: str, most: int, instant: int, memory: Memory) -> bool:
    """Tell the slow book, of more levels, from the fast one that comes beside it, as far as their sizes tell."""
    return memory.keeps_book(coin, SLOW_LEVELS if most > FAST_LEVELS else FAST_LEVELS, instant, is_whole=True)


def _levels(body: msgspec.Raw, unknown: Unknown) -> tuple[list[float], list[float]]:
    found = wire.LEVELS.decode(body, unknown)
    return checked_levels([each.price for each in found], [each.size for each in found])


def _quote(body: msgspec.Raw, memory: Memory, unknown: Unknown) -> Items:
    data = wire.QUOTE.decode(body, unknown)
    memory.counts[CLOCK] = instant = time_us(data.time)
    bid, ask = (_best(side, unknown) for side in (*data.best, *NOBODY)[:2])
    return [Quote(data.coin, instant, instant, *bid, *ask)]


def _best(side: msgspec.Raw, unknown: Unknown) -> tuple[float, float]:
    if bytes(side) == NULL:
        return 0.0, 0.0
    level = wire.LEVEL.decode(side, unknown)
    (price,), (size,) = checked_levels([level.price], [level.size])
    return price, size


def _candles(body: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    is_list = bytes(body)[:1] == b"["  # as documented; one comes bare
    found = wire.CANDLES.decode(body, unknown) if is_list else [wire.CANDLE.decode(body, unknown)]
    return [_candle(data) for data in found]


def _candle(data: wire.CandleData) -> CandleItem:
    if data.interval not in INTERVALS:
        raise FrameError(f"candle: interval {data.interval[:20]!r} is not known")
    return CandleItem(
        data.coin,
        0,
        interval=data.interval,
        open_time_us=time_us(data.open_time),
        close_time_us=time_us(data.close_time),
        open=positive(digits(data.open)),
        high=positive(digits(data.high)),
        low=positive(digits(data.low)),
        close=positive(digits(data.close)),
        volume=amount(digits(data.volume)),
        trade_count=data.trade_count,
        is_closed=None,
    )


def _context(body: msgspec.Raw, _memory: Memory, unknown: Unknown) -> Items:
    data = wire.CONTEXT_DATA.decode(body, unknown)
    context = wire.CONTEXT.decode(data.context, unknown)
    mark, oracle, base_volume = map(_maybe, (context.mark_price, context.oracle_price, context.base_volume))
    items: Items = []
    if base_volume is not None:
        ticker = TickerItem(
            data.coin,
            0,
            last=_maybe(context.mid_price) or mark or 0.0,
            open=_maybe(context.open),
            volume=None,
            base_volume=base_volume,
            quote_volume=_maybe(context.quote_volume),
        )
        items.append(ticker)
    facts: list[tuple[DerivativeKind, float | None]] = [
        ("MARK_PRICE", mark if oracle is not None else None),  # of a spot pair it is no mark price
        ("INDEX_PRICE", oracle),
        ("OPEN_INTEREST", _maybe(context.open_interest)),
        ("FUNDING_RATE", None if bytes(context.funding) == NULL else signed(digits(context.funding))),
    ]
    items += [DerivativeItem(data.coin, 0, kind, value) for kind, value in facts if value is not None]
    return items


def _maybe(number: msgspec.Raw) -> float | None:
    return None if bytes(number) == NULL else amount(digits(number))


Channel = Callable[[msgspec.Raw, Memory, Unknown], Items]
CHANNELS: Final[dict[str, Channel]] = {
    "trades": _trades,
    "l2Book": _book,
    "bbo": _quote,
    "candle": _candles,
    "activeAssetCtx": _context,
    "activeSpotAssetCtx": _context,
}
