"""KuCoin frames (spot, futures) → items; those of its unified feed are read in `kucoin_unified`.

Source: https://www.kucoin.com/docs-new/websocket-api/base-info/introduction
Source: https://www.kucoin.com/docs/websocket/spot-trading/public-channels/level2-market-data
Source: https://www.kucoin.com/docs/websocket/futures-trading/public-channels/level2-market-data
"""

from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Final
from urllib.parse import parse_qs, urlsplit

from msgspec import UNSET, Raw

from processors.book_rules import BookRule, FirstIdRule
from processors.errors import FrameError
from processors.facts import Facts
from processors.items import (
    AnyItem,
    BookDelta,
    BookSnapshot,
    CandleItem,
    DerivativeItem,
    Notice,
    PastTrades,
    Quote,
    TickerItem,
    Trade,
    UnknownField,
)
from processors.memory import Memory
from processors.venues import kucoin_unified
from processors.venues import kucoin_wire as wire
from processors.wire import (
    MALFORMED,
    NULL,
    amount,
    asked,
    digits,
    maybe_digits,
    notice,
    ns_us,
    number,
    positive,
    seconds_us,
    signed,
    time_us,
    wide_levels,
)
from schemas.records import Frame, Side
from schemas.venues.kucoin import is_inverse

NAME: Final = "KUCOIN"
MARKETS: Final[tuple[str, ...]] = ("spot", "futures")
FACTS: Final[dict[str, Facts]] = {
    "spot": Facts(
        side="`side`, the taker's",
        times="`time`: ns of trades, ms of books and quotes",
        sizes="base currency",
        since="2021; its unified feed, 2026",
        past_trades="`GET /api/v1/market/histories`, the newest 100",
    ),
    "futures": Facts(
        side="`side`, the taker's",
        times="`ts` in ns, `timestamp` in ms",
        sizes="contracts",
        since="2021; its unified feed, 2026",
        past_trades="`GET /api/v1/trade/history`, the newest 100",
    ),
}
RULE: Final = FirstIdRule()
SIDES: Final[dict[str, Side]] = {"buy": "BUY", "sell": "SELL"}
ANSWERS: Final = frozenset({"welcome", "ack", "pong"})
PAST_PATHS: Final = ("/market/histories", "/trade/history")
DONE: Final = "200000"
SETTLEMENTS: Final = frozenset({"funding.begin", "funding.end"})
ORDERS_WORDS: Final = Notice("books by order are not read")
UNREAD: Final = (
    "/indicator/index", "/indicator/markPrice", "/margin/fundingBook", "/margin/loan", "/contract/details",
    "/callauction/level2Depth50", "/callauction/callauctionData",
)  # fmt: skip
UNREAD_WORDS: Final = Notice("indices of spot, loans, auctions and details of contracts are not read")
OLD_INTERVALS: Final = {
    1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 120: "2h", 240: "4h", 480: "8h", 720: "12h", 1440: "1d",
    10080: "1w",
}  # fmt: skip
"""By minutes."""
BOOK_PATHS: Final = ("/orderbook/level2", "/orderbook/level2_100", "/level2/snapshot")

Items = list[AnyItem]
Unknown = list[UnknownField]
Change = tuple[int, bool, float, float]  # sequence, is a bid, price, size


def book_rule(market: str) -> BookRule:
    """Tell how a market's books hold together: the sequence goes on from the last one."""
    del market
    return RULE


def trades_are_counted(market: str) -> bool:
    """Ids of trades are hex or shared with other events of a symbol: neither counts."""
    del market
    return False


def parse(market: str, frame: Frame, memory: Memory) -> Items:
    """Parse a MESSAGE or HTTP frame; answers to our own requests yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    unknown: Unknown = []
    if frame.kind == "HTTP":
        is_book = not asked(frame.request)[0].endswith(PAST_PATHS)
        return [_snapshot(market, frame, unknown), *unknown] if is_book else _past_trades(market, frame)
    try:
        envelope = wire.ENVELOPE.decode(frame.payload)
    except MALFORMED as error:
        raise FrameError(f"no message of a topic: {error}") from error
    if envelope.unified_topic:
        return [*kucoin_unified.parse(market, frame.payload, memory, unknown), *unknown]
    if envelope.type in ANSWERS or envelope.message == "welcome":
        return []
    if envelope.type == "error" or envelope.result is False or envelope.result == "false":
        return [notice(frame.payload)]
    if not envelope.type and envelope.result is not UNSET:
        return []
    name, _, argument = envelope.topic.partition(":")
    read = CHANNELS.get(name)
    if read is None or envelope.type != "message":
        raise FrameError(f"{envelope.type[:40]!r} of topic {envelope.topic[:80]!r} is not known")
    items = read(envelope, argument, unknown)
    return [*items, *unknown] if unknown else items


def _spot_trade(envelope: wire.Envelope, _argument: str, unknown: Unknown) -> Items:
    data = wire.SPOT_TRADE.decode(envelope.data, unknown)
    price, size, instant = positive(data.price), amount(data.size), ns_us(_ns(data.time))
    return [Trade(data.symbol, instant, 0, price, size, SIDES[data.side], name=data.trade_id)]


def _futures_trade(envelope: wire.Envelope, _argument: str, unknown: Unknown) -> Items:
    data = wire.FUTURES_TRADE.decode(envelope.data, unknown)
    price, size = positive(digits(data.price)), amount(digits(data.size))
    return [Trade(data.symbol, ns_us(data.ts), 0, price, size, SIDES[data.side], name=data.trade_id)]


def _past_trades(market: str, frame: Frame) -> Items:
    """Parse the newest trades, newest first; their ids tell no holes."""
    _, query = asked(frame.request)
    symbol = query.get("symbol", "")
    try:
        body = wire.PAST_BODY.decode(frame.payload)
    except MALFORMED as error:
        raise FrameError(f"past trades: {error}") from error
    if body.code != DONE:
        return [notice(frame.payload)]
    unknown: Unknown = []
    if market == "spot":
        trades = [_past_spot_trade(symbol, row) for row in wire.PAST_SPOT_TRADES.decode(body.data, unknown)]
    else:
        trades = [_past_futures_trade(symbol, row) for row in wire.PAST_FUTURES_TRADES.decode(body.data, unknown)]
    trades.sort(key=attrgetter("exchange_time_us"))
    return [PastTrades(symbol, 0, trades), *unknown] if trades else list(unknown)


def _past_spot_trade(symbol: str, row: wire.PastSpotTrade) -> Trade:
    price, size, instant = positive(row.price), amount(row.size), ns_us(row.time)
    return Trade(symbol, instant, 0, price, size, SIDES[row.side], name=row.trade_id)


def _past_futures_trade(symbol: str, row: wire.PastFuturesTrade) -> Trade:
    price, size = positive(digits(row.price)), amount(digits(row.size))
    return Trade(symbol, ns_us(row.ts), 0, price, size, SIDES[row.side], name=row.trade_id)


def _spot_quote(envelope: wire.Envelope, argument: str, unknown: Unknown) -> Items:
    """Read best quotes; `all` names the symbol in the subject."""
    data = wire.SPOT_QUOTE.decode(envelope.data, unknown)
    symbol = envelope.subject if argument == "all" else argument
    best = [amount(each or "0") for each in (data.bid, data.best_bid_size, data.ask, data.best_ask_size)]
    return [Quote(symbol, time_us(data.time), number(data.sequence), *best)]


def _futures_quote(envelope: wire.Envelope, _argument: str, unknown: Unknown) -> Items:
    data = wire.FUTURES_QUOTE.decode(envelope.data, unknown)
    raws = (data.best_bid_price, data.best_bid_size, data.best_ask_price, data.best_ask_size)
    return [Quote(data.symbol, ns_us(data.ts), data.sequence, *(maybe_digits(each) or 0.0 for each in raws))]


def _best_quote(envelope: wire.Envelope, argument: str, unknown: Unknown) -> Items:
    """Read best quotes that have no sequence: their time serves."""
    data = wire.BEST.decode(envelope.data, unknown)
    instant = time_us(data.time)
    best = [*_level(data.bids), *_level(data.asks)]
    return [Quote(argument, instant, instant, *best)]


def _level(texts: list[str] | None) -> tuple[float, float]:
    if not texts:
        return 0.0, 0.0
    if len(texts) < 2:
        raise FrameError("level1: a price without a size")
    return amount(texts[0]), amount(texts[1])


def _top(envelope: wire.Envelope, argument: str, unknown: Unknown) -> Items:
    """Read the best levels alone."""
    data = wire.TOP.decode(envelope.data, unknown)
    instant = time_us(data.time)
    most = int(envelope.topic.partition(":")[0].rpartition("Depth")[2])
    bids, asks = wide_levels(data.bids), wide_levels(data.asks)
    sequence = data.sequence or instant
    top = BookSnapshot(argument, instant, sequence, *bids, *asks, is_in_stream=True, most_levels=most, is_top=True)
    return [top]


def _spot_book(envelope: wire.Envelope, _argument: str, unknown: Unknown) -> Items:
    """Split a message by the sequence of its changes: a snapshot may contain some of them."""
    data = wire.SPOT_BOOK.decode(envelope.data, unknown)
    start, end = data.sequence_start, data.sequence_end
    if start > end:
        raise FrameError(f"level2: from {start} to {end}")
    changes: list[Change] = []
    for is_bid, rows in ((True, data.changes.bids), (False, data.changes.asks)):
        for price_text, size_text, sequence in rows:
            price, at = amount(price_text), min(max(number(sequence), start), end)
            if price:  # 0 = the sequence alone moves on
                changes.append((at, is_bid, price, amount(size_text)))
    return _deltas(data.symbol, time_us(data.time), (start, end), sorted(changes, key=lambda change: change[0]))


def _deltas(symbol: str, instant: int, ends: tuple[int, int], changes: list[Change]) -> Items:
    """Make a delta for each sequence that changes levels; together they reach from the first to the last."""
    first, last = ends
    sequences = sorted({change[0] for change in changes})
    if len(sequences) <= 1:
        return [_delta(symbol, instant, (first, last), changes)]
    items: Items = []
    for sequence in sequences:
        reach = last if sequence == sequences[-1] else sequence
        items.append(_delta(symbol, instant, (first, reach), [each for each in changes if each[0] == sequence]))
        first = reach + 1
    return items


def _delta(symbol: str, instant: int, ends: tuple[int, int], changes: list[Change]) -> BookDelta:
    bids = [change for change in changes if change[1]]
    asks = [change for change in changes if not change[1]]
    return BookDelta(
        symbol,
        instant,
        *ends,
        0,
        [price for _, _, price, _ in bids],
        [size for _, _, _, size in bids],
        [price for _, _, price, _ in asks],
        [size for _, _, _, size in asks],
    )


def _futures_book(envelope: wire.Envelope, argument: str, unknown: Unknown) -> Items:
    data = wire.FUTURES_BOOK.decode(envelope.data, unknown)
    parts = data.change.split(",")
    if len(parts) != 3 or parts[1] not in SIDES:
        raise FrameError(f"level2: change {data.change[:80]!r} is not price,side,size")
    change = (data.sequence, parts[1] == "buy", positive(parts[0]), amount(parts[2]))
    return [_delta(argument, time_us(data.timestamp), (data.sequence, data.sequence), [change])]


def _snapshot(market: str, frame: Frame, unknown: Unknown) -> BookSnapshot:
    symbol = _book_symbol(frame.request)
    try:
        body = wire.SNAPSHOT_BODY.decode(frame.payload)
    except MALFORMED as error:
        raise FrameError(f"order book: {error}") from error
    return _book_of(symbol, body.data, unknown, is_spot=market == "spot")


def _told_snapshot(envelope: wire.Envelope, argument: str, unknown: Unknown) -> Items:
    """Read a snapshot that a recorder asked for and wrote among the messages."""
    return [_book_of(argument, envelope.data, unknown, is_spot=envelope.topic.startswith("/market"))]


def _book_of(symbol: str, body: Raw, unknown: Unknown, *, is_spot: bool) -> BookSnapshot:
    data = wire.SNAPSHOT.decode(body, unknown)
    if data.symbol not in {"", symbol}:
        raise FrameError(f"a book of {data.symbol[:40]!r} answers a request for {symbol[:40]!r}")
    instant = time_us(data.time) if is_spot else ns_us(data.ts)
    bids, asks = (([], []) if each == NULL else wide_levels(each) for each in (data.bids, data.asks))
    return BookSnapshot(symbol, instant, number(digits(data.sequence)), *bids, *asks)


def _spot_candle(envelope: wire.Envelope, argument: str, unknown: Unknown) -> Items:
    data = wire.SPOT_CANDLE.decode(envelope.data, unknown)
    return [_candle(data.symbol, argument, data.candles, ns_us(data.time))]


def _futures_candle(envelope: wire.Envelope, argument: str, unknown: Unknown) -> Items:
    data = wire.FUTURES_CANDLE.decode(envelope.data, unknown)
    return [_candle(data.symbol, argument, data.candles, time_us(data.time))]


def _old_candle(envelope: wire.Envelope, _argument: str, unknown: Unknown) -> Items:
    """Read a candle of a contract as it was told until 2022; of inverse ones the volume is in USD, as contracts are."""
    data = wire.OLD_CANDLE.decode(envelope.data, unknown)
    if data.granularity not in OLD_INTERVALS:
        raise FrameError(f"candle: of {data.granularity} minutes")
    return [
        CandleItem(
            symbol=data.symbol,
            exchange_time_us=0,
            interval=OLD_INTERVALS[data.granularity],
            open_time_us=time_us(data.time),
            close_time_us=0,
            open=positive(digits(data.open)),
            high=positive(digits(data.high)),
            low=positive(digits(data.low)),
            close=positive(digits(data.close)),
            volume=amount(digits(data.volume)),
            is_closed=None,
        )
    ]


def _candle(symbol: str, argument: str, fields: list[str], instant: int) -> CandleItem:
    if len(fields) != 7:
        raise FrameError(f"candles: {len(fields)} fields, not 7")
    is_spot = "-" in symbol
    return CandleItem(
        symbol=symbol,
        exchange_time_us=instant,
        interval=wire.interval(argument.rpartition("_")[2]),
        open_time_us=seconds_us(fields[0]),
        close_time_us=0,
        open=positive(fields[1]),
        close=positive(fields[2]),
        high=positive(fields[3]),
        low=positive(fields[4]),
        volume=amount(fields[5] if is_spot else fields[6]),  # field 5 of contracts is documented to be wrong
        quote_volume=amount(fields[6]) if is_spot else None,
        is_closed=None,
    )


def _spot_ticker(envelope: wire.Envelope, _argument: str, unknown: Unknown) -> Items:
    outer = wire.SPOT_TICKER.decode(envelope.data, unknown)
    try:
        data = wire.TICKER_INSIDE.decode(outer.data)
    except MALFORMED as error:
        raise FrameError(f"snapshot: {error}") from error
    if NULL in (data.last, data.volume):  # nothing was traded
        return []
    return [
        TickerItem(
            symbol=data.symbol,
            exchange_time_us=time_us(data.time),
            last=amount(digits(data.last)),
            open=maybe_digits(data.open),
            high=maybe_digits(data.high),
            low=maybe_digits(data.low),
            volume=amount(digits(data.volume)),
            quote_volume=maybe_digits(data.quote_volume),
            bid=maybe_digits(data.bid),
            ask=maybe_digits(data.ask),
        )
    ]


def _futures_ticker(envelope: wire.Envelope, _argument: str, unknown: Unknown) -> Items:
    data = wire.FUTURES_TICKER.decode(envelope.data, unknown)
    volume, turnover = amount(digits(data.volume)), amount(digits(data.turnover))
    base, quote = (turnover, volume) if is_inverse(data.symbol) else (volume, turnover)
    return [
        TickerItem(
            symbol=data.symbol,
            exchange_time_us=ns_us(data.ts),
            last=amount(digits(data.last_price)),
            high=amount(digits(data.high_price)),
            low=amount(digits(data.low_price)),
            volume=volume,
            base_volume=base,
            quote_volume=quote,
        )
    ]


def _instrument(envelope: wire.Envelope, argument: str, unknown: Unknown) -> Items:
    if envelope.subject == "mark.index.price":
        mark = wire.MARK.decode(envelope.data, unknown)
        instant = time_us(mark.timestamp)
        return [
            DerivativeItem(argument, instant, "MARK_PRICE", amount(digits(mark.mark_price))),
            DerivativeItem(argument, instant, "INDEX_PRICE", amount(digits(mark.index_price))),
        ]
    if envelope.subject == "funding.rate":
        funding = wire.FUNDING.decode(envelope.data, unknown)
        rate = signed(digits(funding.funding_rate))
        return [DerivativeItem(argument, time_us(funding.timestamp), "FUNDING_RATE", rate)]
    raise FrameError(f"subject {envelope.subject[:40]!r} of {envelope.topic[:80]!r} is not known")


def _announcement(envelope: wire.Envelope, _argument: str, unknown: Unknown) -> Items:
    if envelope.subject not in SETTLEMENTS:
        return [notice(bytes(envelope.data))]
    data = wire.SETTLEMENT.decode(envelope.data, unknown)
    instant, due, rate = time_us(data.timestamp), time_us(data.funding_time), signed(digits(data.funding_rate))
    return [DerivativeItem(data.symbol, instant, "FUNDING_RATE", rate, due)]


def _unread(_envelope: wire.Envelope, _argument: str, _unknown: Unknown) -> Items:
    return [UNREAD_WORDS]


def _orders(_envelope: wire.Envelope, _argument: str, _unknown: Unknown) -> Items:
    return [ORDERS_WORDS]


def _ns(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 21):
        raise FrameError(f"{text[:40]!r} is no time in ns")
    return int(text)


@lru_cache(maxsize=8192)
def _book_symbol(request: str) -> str:
    """Take the symbol out of the URL of an order book."""
    try:
        url = urlsplit(request)
        symbols = parse_qs(url.query).get("symbol", [""])
    except ValueError as error:
        raise FrameError(f"request {request[:80]!r}: {error}") from None
    if not url.path.endswith(BOOK_PATHS) or not symbols[0]:
        raise FrameError(f"answer to a request we do not know: {request[:80]!r}")
    return symbols[0]


Channel = Callable[[wire.Envelope, str, Unknown], Items]
CHANNELS: Final[dict[str, Channel]] = {
    "/market/match": _spot_trade,
    "/market/ticker": _spot_quote,
    "/spotMarket/level1": _best_quote,
    "/spotMarket/level2Depth5": _top,
    "/spotMarket/level2Depth50": _top,
    "/market/level2": _spot_book,
    "/market/level2Snapshot": _told_snapshot,
    "/market/candles": _spot_candle,
    "/market/snapshot": _spot_ticker,
    "/contractMarket/execution": _futures_trade,
    "/contractMarket/tickerV2": _futures_quote,
    "/contractMarket/level2": _futures_book,
    "/contractMarket/level2Snapshot": _told_snapshot,
    "/contractMarket/level2Depth5": _top,
    "/contractMarket/level2Depth50": _top,
    "/contractMarket/limitCandle": _futures_candle,
    "/contractMarket/candle": _old_candle,
    "/contractMarket/snapshot": _futures_ticker,
    "/contract/instrument": _instrument,
    "/contract/announcement": _announcement,
    "/contractMarket/ticker": _futures_quote,
    "/spotMarket/level3": _orders,
    "/contractMarket/level3": _orders,
    "/contractMarket/level3v2": _orders,
    **dict.fromkeys(UNREAD, _unread),
}
"""By the topic, what stands behind its colon left out."""
