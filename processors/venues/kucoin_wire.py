"""Shapes of KuCoin's messages, as documented; what is not used is `Any`. Numbers come quoted or not: `Raw`."""

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, field

from processors.errors import FrameError
from processors.wire import NULL, Id, Instant, KnownInstant, Rows, Wire

INTERVALS: Final = {"hour": "h", "day": "d", "week": "w", "month": "M", "min": "m"}


def interval(text: str) -> str:
    """Turn `1min`, `8hour`, `1week` into our words.

    Raises:
        FrameError: it is none.
    """
    count = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = INTERVALS.get(text[len(count) :])
    if unit is None or not (count.isascii() and count.isdigit()):
        raise FrameError(f"interval {text[:20]!r} is not known")
    return count + unit


class Envelope(Struct, gc=False):
    """What all messages share; `data` is decoded by the topic's shape. Those of the unified feed have no type."""

    type: str = ""
    topic: str = ""
    subject: str = ""
    data: Raw = Raw(b"null")
    unified_topic: str = field(name="T", default="")
    result: Any = UNSET  # of a request on the unified feed
    message: Any = ""


class SpotTrade(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`/market/match`; the side is the taker's."""

    symbol: str
    trade_id: str
    side: Literal["buy", "sell"]
    size: str
    price: str
    time: str  # ns
    sequence: Any = None
    type: Any = None
    maker_order_id: Any = None
    taker_order_id: Any = None


class FuturesTrade(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`/contractMarket/execution`; the side is the taker's."""

    symbol: str
    trade_id: str
    side: Literal["buy", "sell"]
    size: Raw
    price: Raw
    ts: int  # ns
    sequence: Any = None
    maker_user_id: Any = None
    taker_user_id: Any = None
    maker_order_id: Any = None
    taker_order_id: Any = None
    trade_type: Any = None


class PastBody(Struct, gc=False):
    """Body of REST trades; `code` is 200000 where all is well."""

    data: Raw = NULL
    code: Any = None


class PastSpotTrade(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A row of REST `/market/histories`: its sequence is what the stream calls tradeId as well."""

    trade_id: str = field(name="sequence")
    side: Literal["buy", "sell"]
    size: str
    price: str
    time: int  # ns


class PastFuturesTrade(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A row of REST `/trade/history`."""

    trade_id: str
    side: Literal["buy", "sell"]
    size: Raw
    price: Raw
    ts: int  # ns
    sequence: Any = None
    contract_id: Any = None
    maker_order_id: Any = None
    taker_order_id: Any = None
    trade_type: Any = None


class SpotQuote(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`/market/ticker`: best quotes and the last trade; null = that side is empty."""

    sequence: str
    bid: str | None = field(name="bestBid", default=None)
    best_bid_size: str | None = None
    ask: str | None = field(name="bestAsk", default=None)
    best_ask_size: str | None = None
    time: Instant = 0
    price: Any = None
    size: Any = None


class FuturesQuote(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`/contractMarket/tickerV2`, and `ticker` with the last trade beside; null = that side is empty."""

    symbol: str
    sequence: Id
    best_bid_price: Raw
    best_bid_size: Raw
    best_ask_price: Raw
    best_ask_size: Raw
    ts: int  # ns
    side: Any = None
    size: Any = None
    price: Any = None
    trade_id: Any = None


class TopData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`level2Depth5`, `level2Depth50`: the best levels; a sequence of futures alone."""

    bids: Raw
    asks: Raw
    time: Instant = field(name="timestamp")
    sequence: Id = 0
    ts: Any = None


class BestData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`level1`: the best level of each side, [price, size]; null or [] = that side is empty."""

    bids: list[str] | None
    asks: list[str] | None
    time: Instant = field(name="timestamp")


class Changes(Struct, gc=False):
    """Changed levels [price, size, sequence] of each side."""

    asks: list[tuple[str, str, str]] = []
    bids: list[tuple[str, str, str]] = []


class SpotBook(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`/market/level2`: price "0" only moves the sequence on."""

    symbol: str
    sequence_start: Id
    sequence_end: Id
    changes: Changes
    time: Instant = 0


class FuturesBook(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`/contractMarket/level2`: one level, `price,side,size`."""

    sequence: Id
    change: str
    timestamp: Instant


class Snapshot(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Inside of a REST order book; times in ms on spot, in ns of futures, which name the symbol."""

    sequence: Raw
    bids: Raw
    asks: Raw
    time: int = 0
    ts: int = 0
    symbol: str = ""


class SnapshotBody(Struct, gc=False):
    """Body of a REST order book."""

    data: Raw
    code: Any = None


class SpotCandle(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`/market/candles`: [open time s, open, close, high, low, base volume, quote volume]."""

    symbol: str
    candles: list[str]
    time: int = 0  # ns


class FuturesCandle(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`/contractMarket/limitCandle`: [open time s, open, close, high, low, a volume that is wrong, contracts]."""

    symbol: str
    candles: list[str]
    time: int = 0  # ms


class OldCandle(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`/contractMarket/candle`, until 2022: of so many minutes."""

    symbol: str
    granularity: int
    time: KnownInstant
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw
    turnover: Any = None


class SpotTickerOuter(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`/market/snapshot`."""

    sequence: Any = None
    data: Raw


class SpotTicker(Struct, gc=False, kw_only=True):
    """Inside of it; much else is told there."""

    symbol: str
    time: Instant = field(name="datetime", default=0)
    last: Raw = field(name="lastTradedPrice", default=NULL)
    high: Raw = NULL
    low: Raw = NULL
    open: Raw = NULL
    volume: Raw = field(name="vol", default=NULL)
    quote_volume: Raw = field(name="volValue", default=NULL)
    bid: Raw = field(name="buy", default=NULL)
    ask: Raw = field(name="sell", default=NULL)


class FuturesTicker(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`/contractMarket/snapshot`: volume in base currency of linear contracts, in USD of inverse ones."""

    symbol: str
    volume: Raw
    turnover: Raw
    last_price: Raw
    low_price: Raw
    high_price: Raw
    ts: int  # ns
    price_chg_pct: Any = None
    price_chg: Any = None
    before: Any = field(name="price24HoursBefore", default=None)
    funding_rate: Any = None


class MarkData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`/contract/instrument`, subject mark.index.price."""

    mark_price: Raw
    index_price: Raw
    timestamp: Instant
    granularity: Any = None


class FundingData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`/contract/instrument`, subject funding.rate."""

    funding_rate: Raw
    timestamp: Instant
    granularity: Any = None
    period: Any = None


class SettlementData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`/contract/announcement`, when funding is paid."""

    symbol: str
    funding_time: Instant
    funding_rate: Raw
    timestamp: Instant


ENVELOPE: Final = msgspec.json.Decoder(Envelope)
SNAPSHOT_BODY: Final = msgspec.json.Decoder(SnapshotBody)
TICKER_INSIDE: Final = msgspec.json.Decoder(SpotTicker)
SPOT_TRADE: Final = Wire(SpotTrade, "match")
FUTURES_TRADE: Final = Wire(FuturesTrade, "execution")
PAST_BODY: Final = msgspec.json.Decoder(PastBody)
PAST_SPOT_TRADES: Final = Rows(PastSpotTrade, "past trades")
PAST_FUTURES_TRADES: Final = Rows(PastFuturesTrade, "past trades")
SPOT_QUOTE: Final = Wire(SpotQuote, "ticker")
FUTURES_QUOTE: Final = Wire(FuturesQuote, "tickerV2")
TOP: Final = Wire(TopData, "level2Depth")
BEST: Final = Wire(BestData, "level1")
SPOT_BOOK: Final = Wire(SpotBook, "level2")
FUTURES_BOOK: Final = Wire(FuturesBook, "level2")
SNAPSHOT: Final = Wire(Snapshot, "order book")
SPOT_CANDLE: Final = Wire(SpotCandle, "candles")
OLD_CANDLE: Final = Wire(OldCandle, "candle")
FUTURES_CANDLE: Final = Wire(FuturesCandle, "limitCandle")
SPOT_TICKER: Final = Wire(SpotTickerOuter, "snapshot")
FUTURES_TICKER: Final = Wire(FuturesTicker, "snapshot")
MARK: Final = Wire(MarkData, "mark.index.price")
SETTLEMENT: Final = Wire(SettlementData, "announcement")
FUNDING: Final = Wire(FundingData, "funding.rate")
