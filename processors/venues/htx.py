"""HTX frames (spot, linear swaps, coin swaps), gzip and all → items.

Source: https://www.htx.com/en-us/opend/newApiPages/?id=7ec53241-7773-11ed-9966-0242ac110003
Source: https://huobiapi.github.io/docs/spot/v1/en/#get-the-most-recent-trades
Source: https://huobiapi.github.io/docs/usdt_swap/v1/en/#general-query-a-batch-of-trade-records-of-a-contract
Source: https://www.htx.com/en-us/opend/newApiPages/?id=8cb7de1c-77b5-11ed-9966-0242ac110003
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from processors.book_rules import BookRule, FirstIdRule, PreviousIdRule
from processors.errors import FrameError
from processors.facts import Facts
from processors.inflate import inflated
from processors.items import (
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Liquidation,
    Notice,
    PastTrades,
    Quote,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues import htx_wire as wire
from processors.wire import (
    MALFORMED,
    NULL,
    amount,
    asked,
    digits,
    left_out,
    levels,
    maybe_digits,
    notice,
    number,
    positive,
    seconds_us,
    signed,
    time_us,
    unknown_answer,
)
from schemas.records import DerivativeKind, Frame, Side

NAME: Final = "HTX"
MARKETS: Final[tuple[str, ...]] = ("spot", "linear", "coin")
FACTS: Final[dict[str, Facts]] = {
    "spot": Facts(
        side="`direction`, the taker's; empty = unknown",
        times="`ts`, `quoteTime`, ms",
        sizes="base currency",
        since="2021",
        past_trades="`GET /market/history/trade`, the newest 2,000",
    ),
    "linear": Facts(
        side="`direction`, the taker's; empty = unknown",
        times="`ts`, ms",
        sizes="contracts; of trades, candles and tickers those of both sides, halved",
        since="2021",
        past_trades="`GET /linear-swap-ex/market/history/trade`, the newest 2,000",
    ),
    "coin": Facts(
        side="`direction`, the taker's; empty = unknown",
        times="`ts`, ms",
        sizes="contracts of 100 or 10 USD; of trades, candles and tickers those of both sides, halved",
        since="2021",
        past_trades="`GET /swap-ex/market/history/trade`, the newest 2,000",
    ),
}
RULES: Final[dict[str, BookRule]] = {
    "spot": PreviousIdRule(ids_are_shared=False),  # prevSeqNum is the last seqNum
    "linear": FirstIdRule(ids_are_shared=False),  # version + 1
    "coin": FirstIdRule(ids_are_shared=False),
}
PAST_PATH: Final = "/market/history/trade"
SIDES_SUMMED: Final = {"spot": 1, "linear": 2, "coin": 2}
"""How often what is traded is counted: of contracts the buyer's and the seller's; books and liquidations count once."""
SIDES: Final[dict[str, Side]] = {"buy": "BUY", "sell": "SELL", "": "UNKNOWN"}
INTERVALS: Final = {
    "1min": "1m", "5min": "5m", "15min": "15m", "30min": "30m", "60min": "1h", "4hour": "4h", "1day": "1d",
    "1week": "1w", "1mon": "1M",
}  # fmt: skip
MOST_DIGITS: Final = 4  # of a number of levels
HEARTBEAT: Final = ".heartbeat"  # of a topic: whether a market works
UNREAD: Final = ("basis", "premium_index", "estimated_rate", "option_index", "option_market_index")
UNREAD_OF_ALL: Final = frozenset({"market.tickers", "market.overview"})
UNREAD_TOPICS: Final = frozenset({"contract_info", "contract_elements"})
UNREAD_WORDS: Final = Notice("bases, premiums, lists, all symbols together, and answers without a book are not read")
STEPS_OF_20: Final = frozenset({6, 7, 8, 9, 10, 11, 12, 13, 18, 19})
MOST_OF_STEP: Final = {f"step{each}": 20 if each in STEPS_OF_20 else 150 for each in range(20)}

Items = list[AnyItem]
Unknown = list[UnknownField]


class Stream(NamedTuple):
    """What `market.btcusdt.kline.1min` names, of a market; and what the connection told before."""

    market: str
    symbol: str
    rest: str
    memory: Memory


def book_rule(market: str) -> BookRule:
    """Tell how a market's books hold together."""
    return RULES[market]


def trades_are_counted(market: str) -> bool:
    """Ids of trades leave some out."""
    del market
    return False


def parse(market: str, frame: Frame, memory: Memory) -> Items:
    """Parse a MESSAGE frame, compressed or not, or HTTP; answers on the connection, and pings, yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    unknown: Unknown = []
    if frame.kind == "HTTP":
        return [*_answered(market, frame, unknown), *unknown]
    payload = inflated(frame.payload)
    try:
        envelope = wire.ENVELOPE.decode(payload)
    except MALFORMED as error:
        raise FrameError(f"no message: {error}") from error
    if envelope.ch:
        items = _stream(market, envelope, memory, unknown)
    elif envelope.op == "notify":
        items = [notice(payload)] if envelope.topic.endswith(HEARTBEAT) else _notified(envelope, unknown)
    elif envelope.status == "error" or envelope.op in {"error", "close"} or envelope.code:
        return [notice(payload)]
    elif envelope.rep:
        items = _requested(envelope, memory, unknown)
    else:
        is_answer = envelope.ping is not None or envelope.op or envelope.subbed or envelope.unsubbed
        if not is_answer:
            raise FrameError("neither a stream's message nor an answer")
        return []
    return [*items, *unknown] if unknown else items


def _stream(market: str, envelope: wire.Envelope, memory: Memory, unknown: Unknown) -> Items:
    if envelope.ch in UNREAD_OF_ALL:
        return [UNREAD_WORDS]
    parts = envelope.ch.split(".", 3)
    if len(parts) < 3 or parts[0] != "market":
        raise FrameError(f"stream {envelope.ch[:80]!r} is not known")
    read = CHANNELS.get(parts[2])
    if read is None:
        raise FrameError(f"stream {envelope.ch[:80]!r} is not known")
    return read(Stream(market, parts[1], parts[3] if len(parts) > 3 else "", memory), envelope, unknown)


def _unread(_stream: Stream, _envelope: wire.Envelope, _unknown: Unknown) -> Items:
    return [UNREAD_WORDS]


def _trades(stream: Stream, envelope: wire.Envelope, unknown: Unknown) -> Items:
    rows = [wire.TRADE.decode(row, unknown) for row in wire.TRADES.decode(envelope.tick, unknown).data]
    return [_trade(stream.market, stream.symbol, row) for row in rows]


def _trade(market: str, symbol: str, data: wire.TradeData | wire.PastSpotTrade) -> Trade:
    name = digits(data.id if data.trade_id == NULL else data.trade_id)
    if not name.isdigit():
        raise FrameError(f"trade.detail: {name!r} is no id")
    price, size = positive(digits(data.price)), amount(digits(data.amount)) / SIDES_SUMMED[market]
    return Trade(symbol, time_us(data.time), 0, price, size, SIDES[data.direction], name=name)


def _past_trades(market: str, frame: Frame) -> Items:
    """Parse the newest trades, those of the newest order first; their ids tell no holes."""
    path, query = asked(frame.request)
    if not path.endswith(PAST_PATH):
        raise unknown_answer(frame.request)
    try:
        body = wire.PAST_BODY.decode(frame.payload)
    except MALFORMED as error:
        raise FrameError(f"past trades: {error}") from error
    if body.status != "ok":
        return [notice(frame.payload)]
    unknown: Unknown = []
    read: Callable[[msgspec.Raw, Unknown], wire.TradeData | wire.PastSpotTrade]
    read = wire.PAST_SPOT_TRADE.decode if market == "spot" else wire.TRADE.decode
    symbol = query.get("symbol") or query.get("contract_code", "")
    orders = (wire.TRADES.decode(order, unknown).data for order in body.data)
    trades = [_trade(market, symbol, read(row, unknown)) for rows in orders for row in rows]
    trades.sort(key=attrgetter("exchange_time_us"))
    return [PastTrades(symbol, 0, trades), *unknown] if trades else list(unknown)


def _mbp(stream: Stream, envelope: wire.Envelope, unknown: Unknown) -> Items:
    data = wire.MBP.decode(envelope.tick, unknown)
    bids, asks = _levels(data.bids), _levels(data.asks)
    previous, instant = data.prev_seq_num, _sent_us(envelope)
    kind, _, most = stream.rest.partition(".")
    if kind == "refresh" and _count(most):  # the best levels, each time
        top, sides = _count(most), (*bids, *asks)
        return [
            BookSnapshot(stream.symbol, instant, data.seq_num, *sides, is_in_stream=True, most_levels=top, is_top=True)
        ]
    if previous is None:
        raise FrameError("mbp: an update that names no previous one")
    if not stream.memory.keeps_book(stream.symbol, _count(kind), instant, is_whole=False):
        return []
    return [BookDelta(stream.symbol, instant, previous + 1, data.seq_num, previous, *bids, *asks)]


def _count(text: str) -> int:
    """Read a number of levels; 0 = it is none."""
    return int(text[:MOST_DIGITS]) if text.isascii() and text.isdigit() else 0


def _requested(envelope: wire.Envelope, memory: Memory, unknown: Unknown) -> Items:
    """Read the snapshot that was asked for on the connection: it is to be joined to the updates."""
    parts = envelope.rep.split(".")
    if len(parts) != 4 or parts[2] != "mbp":
        return [UNREAD_WORDS]
    data = wire.MBP.decode(envelope.tick if envelope.data == NULL else envelope.data, unknown)
    bids, asks = _levels(data.bids), _levels(data.asks)
    if not memory.keeps_book(parts[1], _count(parts[3]), _sent_us(envelope), is_whole=True):
        return [left_out(envelope.rep)]
    return [BookSnapshot(parts[1], _sent_us(envelope), data.seq_num, *bids, *asks)]


def _depth(stream: Stream, envelope: wire.Envelope, unknown: Unknown) -> Items:
    """Read `depth.size_150.high_freq`, with its snapshots and updates, or the best levels of `depth.step0`."""
    most = MOST_OF_STEP.get(stream.rest, 0)
    if not most and not stream.rest.endswith("high_freq"):
        raise FrameError(f"depth of {stream.rest[:40]!r} is not known")
    data = wire.DEPTH.decode(envelope.tick, unknown)
    bids, asks = _levels(data.bids), _levels(data.asks)
    instant = time_us(data.time) if data.time else _sent_us(envelope)
    if most:
        place = (stream.symbol, instant, data.matching_id or instant)
        return [BookSnapshot(*place, *bids, *asks, is_in_stream=True, most_levels=most, is_top=True)]
    if not data.version:
        raise FrameError("depth: without a version")
    is_whole = data.event == "snapshot"
    depth = _count(stream.rest.removeprefix("size_").partition(".")[0])
    if not stream.memory.keeps_book(stream.symbol, depth, instant, is_whole=is_whole):
        return [left_out(envelope.ch)] if is_whole else []
    if is_whole:
        return [BookSnapshot(stream.symbol, instant, data.version, *bids, *asks, is_in_stream=True)]
    if data.event != "update":
        raise FrameError("depth: neither a snapshot nor an update")
    return [BookDelta(stream.symbol, instant, data.version, data.version, 0, *bids, *asks)]


def _quote(stream: Stream, envelope: wire.Envelope, unknown: Unknown) -> Items:
    if stream.market == "spot":
        spot = wire.SPOT_QUOTE.decode(envelope.tick, unknown)
        best = [maybe_digits(each) or 0.0 for each in (spot.bid, spot.bid_size, spot.ask, spot.ask_size)]
        return [Quote(stream.symbol, time_us(spot.time), spot.sequence, *best)]
    data = wire.SWAP_QUOTE.decode(envelope.tick, unknown)
    bid, ask = _pair(data.bid), _pair(data.ask)
    return [Quote(stream.symbol, time_us(data.time), data.sequence, *bid, *ask)]


def _candle(stream: Stream, envelope: wire.Envelope, unknown: Unknown) -> Items:
    data = wire.CANDLE.decode(envelope.tick, unknown)
    if stream.rest not in INTERVALS:
        raise FrameError(f"kline: interval {stream.rest[:20]!r} is not known")
    volume, base, quote = _volumes(stream.market, data)
    return [
        CandleItem(
            symbol=stream.symbol,
            exchange_time_us=_sent_us(envelope),
            interval=INTERVALS[stream.rest],
            open_time_us=seconds_us(str(data.open_time_s)),
            close_time_us=0,
            open=positive(digits(data.open)),
            high=positive(digits(data.high)),
            low=positive(digits(data.low)),
            close=positive(digits(data.close)),
            volume=volume,
            base_volume=base,
            quote_volume=quote,
            trade_count=data.trade_count,
            is_closed=None,
        )
    ]


def _ticker(stream: Stream, envelope: wire.Envelope, unknown: Unknown) -> Items:
    data = wire.CANDLE.decode(envelope.tick, unknown)
    volume, base, quote = _volumes(stream.market, data)
    bid, ask = _pair(data.bid), _pair(data.ask)
    return [
        TickerItem(
            symbol=stream.symbol,
            exchange_time_us=_sent_us(envelope),
            last=amount(digits(data.close)),
            open=maybe_digits(data.open),
            high=maybe_digits(data.high),
            low=maybe_digits(data.low),
            volume=volume,
            base_volume=base,
            quote_volume=quote,
            trade_count=data.trade_count,
            bid=bid[0] or None,
            bid_size=bid[1] if bid[0] else None,
            ask=ask[0] or None,
            ask_size=ask[1] if ask[0] else None,
        )
    ]


def _spot_ticker(stream: Stream, envelope: wire.Envelope, unknown: Unknown) -> Items:
    """Read statistics, and the best quotes that stand with them: they have no sequence, as those of `bbo` have."""
    data = wire.TICKER.decode(envelope.tick, unknown)
    bid, bid_size, ask, ask_size = map(maybe_digits, (data.bid, data.bid_size, data.ask, data.ask_size))
    ticker = TickerItem(
        symbol=stream.symbol,
        exchange_time_us=_sent_us(envelope),
        last=amount(digits(data.last_price)),
        last_size=maybe_digits(data.last_size),
        open=maybe_digits(data.open),
        high=maybe_digits(data.high),
        low=maybe_digits(data.low),
        volume=amount(digits(data.amount)),
        quote_volume=amount(digits(data.volume)),
        trade_count=data.trade_count,
        bid=bid or None,
        bid_size=bid_size if bid else None,
        ask=ask or None,
        ask_size=ask_size if ask else None,
    )
    return [ticker]


def _answered(market: str, frame: Frame, unknown: Unknown) -> Items:
    """Read past trades, or the funding rates of all contracts, as recorders ask for them."""
    if not asked(frame.request)[0].endswith("/swap_batch_funding_rate"):
        return _past_trades(market, frame)
    try:
        envelope = wire.ENVELOPE.decode(frame.payload)
        if envelope.status != "ok":
            return [notice(frame.payload)]
        rows = wire.ROWS.decode(envelope.data)
    except MALFORMED as error:
        raise FrameError(f"funding rates: {error}") from error
    return [_funding(wire.FUNDING.decode(row, unknown), _sent_us(envelope)) for row in rows]


def _price_of(kind: DerivativeKind) -> "Channel":
    """Make a reader of candles of a price."""

    def read(stream: Stream, envelope: wire.Envelope, unknown: Unknown) -> Items:
        del unknown
        try:
            data = wire.PRICE.decode(envelope.tick)
        except MALFORMED as error:
            raise FrameError(f"{envelope.ch[:80]}: {error}") from error
        return [DerivativeItem(stream.symbol, _sent_us(envelope), kind, positive(digits(data.close)))]

    return read


def _notified(envelope: wire.Envelope, unknown: Unknown) -> Items:
    name = envelope.topic.rpartition(".")[2]
    if name in UNREAD_TOPICS:
        return [UNREAD_WORDS]
    try:
        rows = wire.ROWS.decode(envelope.data)
    except MALFORMED as error:
        raise FrameError(f"{envelope.topic[:80]}: {error}") from error
    if name == "funding_rate":
        return [_funding(wire.FUNDING.decode(row, unknown), _sent_us(envelope)) for row in rows]
    if name == "liquidation_orders":
        return [_liquidation(wire.LIQUIDATION.decode(row, unknown)) for row in rows]
    raise FrameError(f"topic {envelope.topic[:80]!r} is not known")


def _open_interest(_stream: Stream, envelope: wire.Envelope, unknown: Unknown) -> Items:
    """Read open interest, in contracts, as a recorder asked for it and wrote it among the messages."""
    try:
        rows = [wire.OPEN_INTEREST.decode(row, unknown) for row in wire.ROWS.decode(envelope.data)]
    except MALFORMED as error:
        raise FrameError(f"open interest: {error}") from error
    instant = _sent_us(envelope)
    return [DerivativeItem(row.symbol, instant, "OPEN_INTEREST", amount(digits(row.volume))) for row in rows]


def _funding(data: wire.FundingData, instant: int) -> DerivativeItem:
    due = data.funding_time if data.settlement_time == NULL else data.settlement_time
    has_time = due != NULL and digits(due) != ""
    due_us = time_us(number(digits(due))) if has_time else 0
    return DerivativeItem(data.symbol, instant, "FUNDING_RATE", signed(digits(data.funding_rate)), due_us)


def _liquidation(data: wire.LiquidationData) -> Liquidation:
    price, size = positive(digits(data.price)), amount(digits(data.volume))
    return Liquidation(data.symbol, time_us(data.time), price, size, SIDES[data.direction])


def _volumes(market: str, data: wire.CandleData) -> tuple[float, float, float | None]:
    """Tell volume as it is numbered, in base and in quote currency; of coin swaps contracts are the latter: None."""
    volume, base = amount(digits(data.volume)), amount(digits(data.amount))
    if market == "spot":
        return volume, base, volume
    sides = SIDES_SUMMED[market]
    quote = None if data.turnover == NULL else amount(digits(data.turnover)) / sides
    return volume / sides, base / sides, quote


def _sent_us(envelope: wire.Envelope) -> int:
    return time_us(number(envelope.ts) if isinstance(envelope.ts, str) else envelope.ts)


def _levels(body: msgspec.Raw) -> tuple[list[float], list[float]]:
    return ([], []) if body == NULL else levels(body)


def _pair(level: tuple[float, float] | None) -> tuple[float, float]:
    """Check a level; an empty side is 0 and 0."""
    return (0.0, 0.0) if level is None else (amount(repr(level[0])), amount(repr(level[1])))


Channel = Callable[[Stream, wire.Envelope, Unknown], Items]
CHANNELS: Final[dict[str, Channel]] = {
    "trade": _trades,
    "mbp": _mbp,
    "depth": _depth,
    "bbo": _quote,
    "kline": _candle,
    "detail": _ticker,
    "ticker": _spot_ticker,
    "index": _price_of("INDEX_PRICE"),
    "mark_price": _price_of("MARK_PRICE"),
    "open_interest": _open_interest,
    **dict.fromkeys(UNREAD, _unread),
}
"""By the third part of a stream's name."""
