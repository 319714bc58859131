"""Shapes of HTX's messages, as documented; what is not used is `Any`. Numbers come unquoted, some quoted: `Raw`."""

from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct, field

from processors.wire import NULL, Id, Instant, Wire


class Envelope(Struct, gc=False):
    """What all messages share; one of its parts is there."""

    ch: str = ""  # a stream's message
    tick: Raw = NULL
    ts: Instant | str = 0  # a string in some pings
    rep: str = ""  # the answer to a request for a snapshot
    data: Raw = NULL
    op: str = ""  # notify, sub, ping, error ...
    topic: str = ""
    ping: int | None = None
    status: str = ""
    subbed: str | None = None
    unsubbed: str | None = None
    code: Any = field(name="err-code", default=None)


class Trades(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`trade.detail`."""

    data: list[Raw]
    id: Any = None
    ts: Any = None


class TradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One trade; the direction is the taker's, and sometimes empty; amounts of contracts are of both sides."""

    id: Raw
    time: Instant = field(name="ts")
    trade_id: Raw = NULL
    amount: Raw
    price: Raw
    direction: Literal["buy", "sell", ""]
    quantity: Any = None
    is_rpi_trade: Any = None
    trade_turnover: Any = field(name="trade_turnover", default=None)


class PastBody(Struct, gc=False):
    """Body of REST `history/trade`: trades by the order that made them, each part as a stream's `trade.detail`."""

    data: list[Raw] = []
    status: str = ""


class PastSpotTrade(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A trade of spot in it; `trade-id` is what the stream calls tradeId."""

    id: Raw
    time: Instant = field(name="ts")
    trade_id: Raw = field(name="trade-id", default=NULL)
    amount: Raw
    price: Raw
    direction: Literal["buy", "sell", ""]


class MbpData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`mbp`; a side that did not change may be absent; a snapshot has no previous sequence, nor has a `refresh`."""

    seq_num: Id
    prev_seq_num: Id | None = None
    bids: Raw = NULL
    asks: Raw = NULL


class DepthData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`depth.size_N.high_freq` and `depth.stepN`; an empty side may be absent or null."""

    bids: Raw = NULL
    asks: Raw = NULL
    time: Instant = field(name="ts", default=0)
    version: Id = 0
    matching_id: Id = field(name="mrid", default=0)
    event: Literal["snapshot", "update", ""] = ""
    id: Any = None
    channel: Any = field(name="ch", default=None)


class SpotQuote(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`bbo` of spot."""

    symbol: str
    sequence: Id = field(name="seqId")
    time: Instant = field(name="quoteTime")
    bid: Raw = NULL
    bid_size: Raw = NULL
    ask: Raw = NULL
    ask_size: Raw = NULL


class SwapQuote(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`bbo` of contracts: [price, size], null = that side is empty."""

    time: Instant = field(name="ts")
    sequence: Id = field(name="mrid")
    bid: tuple[float, float] | None = None
    ask: tuple[float, float] | None = None
    id: Any = None
    version: Any = None
    channel: Any = field(name="ch", default=None)


class CandleData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`kline` and `detail`: amount is base currency; vol is quote currency of spot, else contracts; of both sides."""

    open_time_s: Id = field(name="id")
    open: Raw
    close: Raw
    high: Raw
    low: Raw
    amount: Raw
    volume: Raw = field(name="vol")
    trade_count: Id = field(name="count", default=0)
    turnover: Raw = field(name="trade_turnover", default=NULL)
    bid: tuple[float, float] | None = None
    ask: tuple[float, float] | None = None
    matching_id: Any = field(name="mrid", default=None)
    version: Any = None


class PriceCandle(Struct, gc=False, kw_only=True):
    """`index.1min`, `mark_price.1min`: candles of a price; the close is where it stands."""

    close: Raw


class TickerData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`ticker` of spot: statistics of 24 hours and the best quotes; amount is base currency, vol quote currency."""

    open: Raw
    close: Raw
    high: Raw
    low: Raw
    amount: Raw
    volume: Raw = field(name="vol")
    trade_count: Id = field(name="count", default=0)
    bid: Raw
    bid_size: Raw
    ask: Raw
    ask_size: Raw
    last_price: Raw
    last_size: Raw = NULL
    symbol: Any = None


class FundingData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`funding_rate`: of the period that ends at the settlement time; asked for, it has the funding time alone."""

    symbol: str = field(name="contract_code")
    funding_rate: Raw
    settlement_time: Raw = NULL
    coin: Any = field(name="symbol", default=None)
    fee_asset: Any = None
    funding_time: Raw = NULL
    next_funding_time: Any = None
    contract_type: Any = None
    business_type: Any = None
    pair: Any = None
    trade_partition: Any = None
    estimated_rate: Any = None
    realized_rate: Any = None


class OpenInterest(Struct, gc=False, kw_only=True):
    """A row of `swap_open_interest`: `volume` in contracts."""

    symbol: str = field(name="contract_code")
    volume: Raw


class LiquidationData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`liquidation_orders`: the direction is the order's."""

    symbol: str = field(name="contract_code")
    direction: Literal["buy", "sell"]
    volume: Raw
    price: Raw
    time: Instant = field(name="created_at")
    coin: Any = field(name="symbol", default=None)
    offset: Any = None
    amount: Any = None
    trade_turnover: Any = None
    business_type: Any = None
    pair: Any = None
    contract_type: Any = None


ENVELOPE: Final = msgspec.json.Decoder(Envelope)
ROWS: Final = msgspec.json.Decoder(list[Raw])
PRICE: Final = msgspec.json.Decoder(PriceCandle)
TRADES: Final = Wire(Trades, "trade.detail")
TRADE: Final = Wire(TradeData, "trade.detail")
PAST_BODY: Final = msgspec.json.Decoder(PastBody)
PAST_SPOT_TRADE: Final = Wire(PastSpotTrade, "past trades")
MBP: Final = Wire(MbpData, "mbp")
DEPTH: Final = Wire(DepthData, "depth")
SPOT_QUOTE: Final = Wire(SpotQuote, "bbo")
SWAP_QUOTE: Final = Wire(SwapQuote, "bbo")
CANDLE: Final = Wire(CandleData, "kline")
TICKER: Final = Wire(TickerData, "ticker")
OPEN_INTEREST: Final = Wire(OpenInterest, "open_interest")
FUNDING: Final = Wire(FundingData, "funding_rate")
LIQUIDATION: Final = Wire(LiquidationData, "liquidation_orders")
