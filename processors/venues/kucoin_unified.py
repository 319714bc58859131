"""Messages of KuCoin's unified feed (2026), spot and futures → items; no token leads to it, and books begin in band.

A topic is a channel and a product, `obu.SPOT`. Of a book, `increment@10ms` keeps the best 500 levels: what falls out of
them is told with size 0.
Source: https://www.kucoin.com/docs-new/websocket-api/base-info/introduction-uta
Source: https://www.kucoin.com/announcement/en-announcement-500-level-depth-feed-api-rate-limit
"""

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct, field

from processors.errors import FrameError
from processors.items import (
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Quote,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues.kucoin_wire import interval
from processors.wire import (
    LAST_MS,
    MALFORMED,
    Id,
    Instant,
    Wire,
    amount,
    digits,
    left_out,
    maybe_digits,
    ns_us,
    positive,
    seconds_us,
    signed,
    time_us,
    wide_levels,
)
from schemas.records import Side
from schemas.venues.kucoin import is_inverse

SIDES: Final[dict[str, Side]] = {"buy": "BUY", "sell": "SELL"}
BEST: Final = "1"  # depth of a book that gives quotes
WHOLE: Final = {"increment": 10_000, "increment@10ms": 500}
"""Books that are kept, and of how many levels they are: the first is of all, and began without a snapshot in 2026."""

Items = list[AnyItem]
Unknown = list[UnknownField]
Levels = tuple[list[float], list[float]]


class Message(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """What all topics share; books tell their depth, and whether they are whole."""

    topic: str = field(name="T")
    data: Raw = field(name="d")
    kind: str = field(name="t", default="")
    depth: str = field(name="dp", default="")
    pushed: int = field(name="P", default=0)  # ns, once ms


class BookData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`obu`: from the first sequence to the last; E instead of both in snapshots of 2025. Time in ns, once in µs."""

    symbol: str = field(name="s")
    first: Id | None = field(name="O", default=None)
    last: Id | None = field(name="C", default=None)
    sequence: Id | None = field(name="E", default=None)
    time: int = field(name="M", default=0)
    bids: Raw = field(name="b")
    asks: Raw = field(name="a")


class TradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`trade`; the side is the taker's."""

    symbol: str = field(name="s")
    trade_id: str | int = field(name="ti")
    side: str = field(name="S")
    price: Raw = field(name="p")
    size: Raw = field(name="q")
    time: int = field(name="M")  # ns
    sequence: Any = field(name="E", default=None)
    rpi: Any = None


class TickerData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`ticker`: best quotes, and the last trade."""

    symbol: str = field(name="s")
    sequence: Id = field(name="E")
    time: int = field(name="M")  # ns
    bid: Raw = field(name="b")
    bid_size: Raw = field(name="B")
    ask: Raw = field(name="a")
    ask_size: Raw = field(name="A")
    last: Any = field(name="l", default=None)
    last_size: Any = field(name="q", default=None)
    side: Any = field(name="S", default=None)


class CandleData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`kline`: volume in base currency on spot, contracts of futures; S = it is closed."""

    symbol: str = field(name="s")
    interval: str = field(name="i")
    open_time: Raw = field(name="O")  # s
    open: Raw = field(name="o")
    high: Raw = field(name="h")
    low: Raw = field(name="l")
    close: Raw = field(name="c")
    volume: Raw = field(name="v")
    turnover: Raw = field(name="a")
    is_closed: bool | Literal["true", "false"] = field(name="S")
    end_time: Any = field(name="C", default=None)


class MarkData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`mark-price`, with the open interest in contracts."""

    symbol: str = field(name="s")
    mark: Raw = field(name="mp")
    index: Raw = field(name="ip")
    open_interest: Raw = field(name="oi", default=Raw(b"null"))
    time: Instant = field(name="ts")


class FundingData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`funding-fee`: the rate of a period, and when it ends."""

    symbol: str = field(name="s")
    rate: Raw = field(name="fr")
    next_time: Instant = field(name="nt", default=0)
    last_time: Any = field(name="ft", default=None)
    last_rate: Any = field(name="lfr", default=None)
    period: Any = field(name="gl", default=None)
    cap: Any = field(name="fc", default=None)
    floor: Any = field(name="ff", default=None)


MESSAGE: Final = Wire(Message, "message")
BOOK: Final = Wire(BookData, "obu")
TRADE: Final = Wire(TradeData, "trade")
TICKER: Final = Wire(TickerData, "ticker")
CANDLE: Final = Wire(CandleData, "kline")
MARK: Final = Wire(MarkData, "mark-price")
FUNDING: Final = Wire(FundingData, "funding-fee")
ROWS: Final = msgspec.json.Decoder(list[Raw])


def parse(market: str, payload: bytes, memory: Memory, unknown: Unknown) -> Items:
    """Parse a message that names a topic.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    message = MESSAGE.decode(payload, unknown)
    channel, _, product = message.topic.lower().partition(".")
    read = CHANNELS.get(channel)
    if read is None or product not in {"", market}:
        raise FrameError(f"topic {message.topic[:80]!r} is not known in the market {market}")
    return read(message, memory, unknown)


def _book(message: Message, memory: Memory, unknown: Unknown) -> Items:
    data = BOOK.decode(message.data, unknown)
    instant, bids, asks = _instant_us(data.time), wide_levels(data.bids), wide_levels(data.asks)
    last = data.sequence if data.last is None else data.last
    if last is None:
        raise FrameError("obu: without a sequence")
    is_whole = message.kind == "snapshot"
    if message.depth in WHOLE and not memory.keeps_book(data.symbol, WHOLE[message.depth], instant, is_whole=is_whole):
        return [left_out(f"{message.topic} {message.depth} of {data.symbol}")] if is_whole else []
    if message.kind == "delta" and message.depth in WHOLE:
        if data.first is None or data.first > last:
            raise FrameError(f"obu: from {data.first} to {last}")
        return [BookDelta(data.symbol, instant, data.first, last, 0, *bids, *asks)]
    if not is_whole:
        raise FrameError(f"obu: {message.kind[:20]!r} of depth {message.depth[:20]!r} is not known")
    if message.depth == BEST:
        return [Quote(data.symbol, instant, last, *_best(bids), *_best(asks))]
    if message.depth in WHOLE:
        return [BookSnapshot(data.symbol, instant, last, *bids, *asks, is_in_stream=True)]
    most = int(message.depth) if message.depth in {"5", "50"} else 0
    if not most:
        raise FrameError(f"obu: depth {message.depth[:20]!r} is not known")
    return [BookSnapshot(data.symbol, instant, last, *bids, *asks, is_in_stream=True, most_levels=most, is_top=True)]


def _best(side: Levels) -> tuple[float, float]:
    """Take the best level; 0 and 0 of an empty side."""
    return (side[0][0], side[1][0]) if side[0] else (0.0, 0.0)


def _trade(message: Message, _memory: Memory, unknown: Unknown) -> Items:
    data = TRADE.decode(message.data, unknown)
    name, side = str(data.trade_id), SIDES.get(data.side.lower())
    if side is None or not name.isalnum():
        raise FrameError(f"trade: {name[:40]!r} of side {data.side[:20]!r}")
    price, size = positive(digits(data.price)), amount(digits(data.size))
    return [Trade(data.symbol, _instant_us(data.time), 0, price, size, side, name=name)]


def _ticker(message: Message, _memory: Memory, unknown: Unknown) -> Items:
    data = TICKER.decode(message.data, unknown)
    best = [maybe_digits(each) or 0.0 for each in (data.bid, data.bid_size, data.ask, data.ask_size)]
    return [Quote(data.symbol, _instant_us(data.time), data.sequence, *best)]


def _candle(message: Message, _memory: Memory, unknown: Unknown) -> Items:
    data = CANDLE.decode(message.data, unknown)
    turnover = amount(digits(data.turnover))
    return [
        CandleItem(
            symbol=data.symbol,
            exchange_time_us=_instant_us(message.pushed),
            interval=interval(data.interval),
            open_time_us=seconds_us(digits(data.open_time)),
            close_time_us=0,
            open=positive(digits(data.open)),
            high=positive(digits(data.high)),
            low=positive(digits(data.low)),
            close=positive(digits(data.close)),
            volume=amount(digits(data.volume)),
            quote_volume=None if is_inverse(data.symbol) else turnover,
            is_closed=data.is_closed in {True, "true"},
            is_stamped=True,
        )
    ]


def _mark(message: Message, _memory: Memory, unknown: Unknown) -> Items:
    data = MARK.decode(message.data, unknown)
    instant = time_us(data.time)
    items: Items = [
        DerivativeItem(data.symbol, instant, "MARK_PRICE", amount(digits(data.mark))),
        DerivativeItem(data.symbol, instant, "INDEX_PRICE", amount(digits(data.index))),
    ]
    open_interest = maybe_digits(data.open_interest)
    if open_interest is not None:
        items.append(DerivativeItem(data.symbol, instant, "OPEN_INTEREST", open_interest))
    return items


def _funding(message: Message, _memory: Memory, unknown: Unknown) -> Items:
    return [_rate(message, FUNDING.decode(message.data, unknown))]


def _all_funding(message: Message, _memory: Memory, unknown: Unknown) -> Items:
    try:
        rows = ROWS.decode(message.data)
    except MALFORMED as error:
        raise FrameError(f"funding-fee: {error}") from error
    return [_rate(message, FUNDING.decode(row, unknown)) for row in rows]


def _rate(message: Message, data: FundingData) -> DerivativeItem:
    instant, rate = _instant_us(message.pushed), signed(digits(data.rate))
    return DerivativeItem(data.symbol, instant, "FUNDING_RATE", rate, time_us(data.next_time))


def _instant_us(instant: int) -> int:
    """Turn ms, µs or ns, told apart by their size, into µs."""
    return time_us(instant) if instant < LAST_MS * 1000 else ns_us(instant)


CHANNELS: Final[dict[str, Callable[[Message, Memory, Unknown], Items]]] = {
    "obu": _book,
    "trade": _trade,
    "ticker": _ticker,
    "kline": _candle,
    "mark-price": _mark,
    "funding-fee": _funding,
    "funding-fee-all-symbols": _all_funding,
}
"""By what stands before the product."""
