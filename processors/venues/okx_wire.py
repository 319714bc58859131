"""Shapes of OKX's v5 messages, as documented; what is not used is `Any`."""

from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct, field

from processors.wire import Price, Rows, Size, Wire


class Argument(Struct, gc=False, rename="camel"):
    """Which stream a message is of."""

    channel: str
    inst_id: str = ""


class Envelope(Struct, gc=False):
    """What all channels share; rows of `data` are decoded by the channel's shape."""

    arg: Argument
    data: list[Raw]
    action: str = ""


class Answer(Struct, gc=False):
    """An answer to a request, an error, or a notice."""

    event: str
    code: str = ""
    msg: str = ""


class PastAnswer(Struct, gc=False, forbid_unknown_fields=True):
    """An answer of REST; code "0" = it is no error."""

    code: str
    data: Raw
    message: Any = field(name="msg", default=None)


class TradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`trades`, `trades-all`, and rows of REST; `count` is of `trades` alone, since 2023: fills in one."""

    inst_id: str
    trade_id: str
    price: str = field(name="px")
    size: str = field(name="sz")
    side: Literal["buy", "sell"]
    time: str = field(name="ts")
    count: Any = None
    source: Any = None
    seq_id: Any = None


class Level(Struct, array_like=True, gc=False):
    """A level of a book: one that lacks an element is none, since its size may stand at the place of the price."""

    price: Price
    size: Size
    liquidated: Any
    orders: Any


class BookData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`books`; `checksum` is 0 since 2026, ids are absent before 2023."""

    asks: Raw
    bids: Raw
    time: str = field(name="ts")
    checksum: int = 0
    seq_id: int | None = None
    prev_seq_id: int | None = None
    inst_id: Any = None


class TickerData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`tickers`; "" = there is none."""

    inst_id: str
    last: str
    last_size: str = field(name="lastSz")
    ask: str = field(name="askPx")
    ask_size: str = field(name="askSz")
    bid: str = field(name="bidPx")
    bid_size: str = field(name="bidSz")
    open: str = field(name="open24h")
    high: str = field(name="high24h")
    low: str = field(name="low24h")
    volume: str = field(name="vol24h")  # contracts; base currency of spot
    other_volume: str = field(name="volCcy24h")  # base currency; quote currency of spot
    time: str = field(name="ts")
    inst_type: Any = None
    start_utc: Any = field(name="sodUtc0", default=None)
    start_utc_8: Any = field(name="sodUtc8", default=None)


class FundingData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`funding-rate`: the rate is that of `funding_time`, which lies ahead."""

    inst_id: str
    funding_rate: str = ""
    funding_time: str
    time: str = field(name="ts", default="")
    inst_type: Any = None
    next_funding_rate: Any = None
    next_funding_time: Any = None
    prev_funding_time: Any = None  # since 2026-08
    method: Any = None
    formula_type: Any = None
    max_funding_rate: Any = None
    min_funding_rate: Any = None
    sett_state: Any = None
    sett_funding_rate: Any = None
    premium: Any = None
    interest_rate: Any = None
    impact_value: Any = None


class OpenInterestData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`open-interest`."""

    inst_id: str
    contracts: str = field(name="oi")
    time: str = field(name="ts")
    inst_type: Any = None
    oi_ccy: Any = None
    oi_usd: Any = None


class MarkPriceData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`mark-price`."""

    inst_id: str
    mark_price: str = field(name="markPx")
    time: str = field(name="ts")
    inst_type: Any = None


class IndexData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`index-tickers`: of an index, e.g. BTC-USD, which instruments of several kinds follow."""

    inst_id: str
    index_price: str = field(name="idxPx")
    time: str = field(name="ts")
    high24h: Any = None
    low24h: Any = None
    open24h: Any = None
    start_utc: Any = field(name="sodUtc0", default=None)
    start_utc_8: Any = field(name="sodUtc8", default=None)


class LiquidationOrders(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`liquidation-orders`."""

    inst_id: str
    details: list[Raw]
    inst_type: Any = None
    inst_family: Any = None
    uly: Any = None


class LiquidationDetail(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One forced order; `side` is the order's."""

    side: Literal["buy", "sell"]
    price: str = field(name="bkPx")
    size: str = field(name="sz")
    time: str = field(name="ts")
    position_side: Any = field(name="posSide", default=None)
    loss: Any = field(name="bkLoss", default=None)
    currency: Any = field(name="ccy", default=None)


ENVELOPE: Final = msgspec.json.Decoder(Envelope)
ANSWER: Final = msgspec.json.Decoder(Answer)
CANDLE: Final = msgspec.json.Decoder(list[str])
LEVELS: Final = msgspec.json.Decoder(list[Level], strict=False)
LEVEL_TEXTS: Final = msgspec.json.Decoder(list[list[str]])
TRADE: Final = Wire(TradeData, "trades")
PAST_ANSWER: Final = Wire(PastAnswer, "history-trades")
PAST_TRADES: Final = Rows(TradeData, "history-trades")
BOOK: Final = Wire(BookData, "books")
TICKER: Final = Wire(TickerData, "tickers")
FUNDING: Final = Wire(FundingData, "funding-rate")
OPEN_INTEREST: Final = Wire(OpenInterestData, "open-interest")
MARK_PRICE: Final = Wire(MarkPriceData, "mark-price")
INDEX: Final = Wire(IndexData, "index-tickers")
LIQUIDATIONS: Final = Wire(LiquidationOrders, "liquidation-orders")
LIQUIDATION: Final = Wire(LiquidationDetail, "liquidation-orders")
