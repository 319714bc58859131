"""Shapes of Bybit's v5 messages, as documented; what is not used is `Any`."""

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from processors.wire import Id, Instant, KnownInstant, Name, Rows, Wire


class Envelope(Struct, gc=False):
    """What all topics share; `data` is decoded by the topic's shape."""

    topic: str
    data: Raw
    type: str = ""
    ts: Instant = 0
    cts: Instant = 0  # when the matching engine did it


class Answer(Struct, gc=False):
    """An answer to a request, or to a ping."""

    success: bool | None = None
    ret_msg: str = ""
    op: str = ""
    topic: str = ""


class TradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`publicTrade`."""

    time: Instant = field(name="T")
    symbol: str = field(name="s")
    side: Literal["Buy", "Sell"] = field(name="S")
    size: str = field(name="v")
    price: str = field(name="p")
    tick_direction: Any = field(name="L", default=None)
    trade_id: Name = field(name="i")
    is_block_trade: bool = field(name="BT", default=False)
    is_rpi: Any = field(name="RPI", default=None)
    sequence: Any = field(name="seq", default=None)
    mark_price: Any = field(name="mP", default=None)  # options
    index_price: Any = field(name="iP", default=None)
    mark_volatility: Any = field(name="mIv", default=None)
    volatility: Any = field(name="iv", default=None)


class BookData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`orderbook`."""

    symbol: str = field(name="s")
    bids: Raw = field(name="b")
    asks: Raw = field(name="a")
    update_id: Id = field(name="u")
    sequence: Id = field(name="seq", default=0)


class TickerData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`tickers`: spot and the snapshot of futures are whole; deltas tell what changed; "" = there is none."""

    symbol: str
    last_price: str | UnsetType = UNSET
    prev_price24h: str | UnsetType = field(name="prevPrice24h", default=UNSET)
    high_price24h: str | UnsetType = field(name="highPrice24h", default=UNSET)
    low_price24h: str | UnsetType = field(name="lowPrice24h", default=UNSET)
    volume24h: str | UnsetType = UNSET
    turnover24h: str | UnsetType = UNSET
    mark_price: str = ""
    index_price: str = ""
    open_interest: str = ""
    funding_rate: str = ""
    next_funding_time: str = ""
    bid1_price: str | UnsetType = UNSET
    bid1_size: str | UnsetType = UNSET
    ask1_price: str | UnsetType = UNSET
    ask1_size: str | UnsetType = UNSET
    tick_direction: Any = None
    price24h_pcnt: Any = field(name="price24hPcnt", default=None)
    prev_price1h: Any = field(name="prevPrice1h", default=None)
    open_interest_value: Any = None
    usd_index_price: Any = None
    delivery_time: Any = None
    basis: Any = None
    basis_rate: Any = None
    basis_rate_year: Any = None
    delivery_fee_rate: Any = None
    predicted_delivery_price: Any = None
    pre_open_price: Any = None
    pre_qty: Any = None
    cur_pre_listing_phase: Any = None
    funding_interval_hour: Any = None
    funding_cap: Any = None


class CandleData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`kline`; volume in the venue's unit, turnover in the other one."""

    start: KnownInstant
    end: KnownInstant
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str
    is_closed: bool = field(name="confirm")
    timestamp: Instant = 0


class PastTradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A row of REST `recent-trade`."""

    trade_id: Name = field(name="execId")
    symbol: str
    price: str
    size: str
    side: Literal["Buy", "Sell"]
    time: str
    is_block_trade: bool = field(name="isBlockTrade", default=False)
    is_rpi: Any = field(name="isRPITrade", default=None)
    sequence: Any = field(name="seq", default=None)
    mark_price: Any = field(name="mP", default=None)  # options
    index_price: Any = field(name="iP", default=None)
    mark_volatility: Any = field(name="mIv", default=None)
    volatility: Any = field(name="iv", default=None)


class PastList(Struct, gc=False, forbid_unknown_fields=True):
    """Result of `recent-trade`."""

    rows: Raw = field(name="list")
    category: Any = None


class PastAnswer(Struct, gc=False, forbid_unknown_fields=True):
    """An answer of REST."""

    code: int = field(name="retCode")
    result: Raw
    message: Any = field(name="retMsg", default=None)
    more: Any = field(name="retExtInfo", default=None)
    time: Any = None


class LiquidationData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`allLiquidation`; the side is the position's."""

    time: Instant = field(name="T")
    symbol: str = field(name="s")
    side: Literal["Buy", "Sell"] = field(name="S")
    size: str = field(name="v")
    price: str = field(name="p")


class OneLiquidationData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`liquidation`, until 2025; the side is the position's."""

    time: Instant = field(name="updatedTime")
    symbol: str
    side: Literal["Buy", "Sell"]
    size: str
    price: str


ENVELOPE: Final = msgspec.json.Decoder(Envelope)
ANSWER: Final = msgspec.json.Decoder(Answer)
ROWS: Final = msgspec.json.Decoder(list[Raw])
TRADES: Final = msgspec.json.Decoder(list[TradeData])
TRADE: Final = Wire(TradeData, "publicTrade")
PAST_ANSWER: Final = Wire(PastAnswer, "recent-trade")
PAST_LIST: Final = Wire(PastList, "recent-trade")
PAST_TRADES: Final = Rows(PastTradeData, "recent-trade")
BOOK: Final = Wire(BookData, "orderbook")
TICKER: Final = Wire(TickerData, "tickers")
CANDLE: Final = Wire(CandleData, "kline")
LIQUIDATION: Final = Wire(LiquidationData, "allLiquidation")
ONE_LIQUIDATION: Final = Wire(OneLiquidationData, "liquidation")
