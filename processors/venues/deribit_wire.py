"""Deribit notifications as structs: every documented field under a readable name; what is not used is `Any`.

Numbers stand unquoted; quoted ones are read as well.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, field

from processors.wire import LEAST_AMOUNT, MALFORMED, MOST_AMOUNT, Id, Instant, KnownInstant, Rows, Wire

Price = Annotated[float, msgspec.Meta(ge=LEAST_AMOUNT, le=MOST_AMOUNT)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=MOST_AMOUNT)]
Rate = Annotated[float, msgspec.Meta(ge=-MOST_AMOUNT, le=MOST_AMOUNT)]


class Params(Struct, gc=False):
    """Of a notification; those of heartbeats have a type alone."""

    channel: str = ""
    data: Raw = Raw(b"")
    type: str = ""


class Message(Struct, gc=False, rename="camel", forbid_unknown_fields=True):
    """A notification, or an answer: it has an id, and a result or an error."""

    method: str = ""
    params: Params | None = None
    id: Any = UNSET
    result: Raw = Raw(b"")
    error: Raw = Raw(b"")
    jsonrpc: Any = None
    us_in: Any = None
    us_out: Any = None
    us_diff: Any = None
    testnet: Any = None


class TradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`trades`; `liquidation` names who was liquidated: M maker, T taker, MT both. `legs` are those of combos."""

    instrument_name: str
    trade_seq: Id
    trade_id: str
    timestamp: Instant
    price: Price
    amount: Amount
    direction: Literal["buy", "sell"]
    liquidation: Literal["M", "T", "MT", "TM", "none"] | None = None
    block_trade_id: str | None = None
    block_rfq_id: Any = None
    combo_id: str | None = None
    combo_trade_id: Any = None
    block_trade_leg_count: Any = None
    contracts: Any = None
    iv: Any = None
    index_price: Any = None
    legs: Any = None
    mark_price: Any = None
    tick_direction: Any = None


class PastData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Result of `get_last_trades_by_instrument`."""

    trades: Raw
    has_more: bool


class BookData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`book`; a type came in 2020: before, a snapshot is what names no previous change."""

    instrument_name: str
    timestamp: Instant
    change_id: Id
    bids: Raw
    asks: Raw
    type: Literal["snapshot", "change"] | None = None
    prev_change_id: Id | None = None


class Stats(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Of 24 hours; null = nothing was traded. `volume` is in base currency."""

    volume: Amount | None = None
    volume_usd: Amount | None = None
    volume_notional: Amount | None = None
    low: Amount | None = None
    high: Amount | None = None
    price_change: Any = None


class TickerData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`ticker`; perpetuals tell their funding, options their volatilities and greeks; 0 or null = there is none."""

    instrument_name: str
    timestamp: Instant
    stats: Raw
    last_price: Amount | None = None
    best_bid_price: Amount | None = None
    best_bid_amount: Amount | None = None
    best_ask_price: Amount | None = None
    best_ask_amount: Amount | None = None
    mark_price: Amount | None = None
    index_price: Amount | None = None
    open_interest: Amount | None = None
    current_funding: Rate | None = None
    ask_iv: Any = None
    bid_iv: Any = None
    combo_state: Any = None
    delivery_price: Any = None
    estimated_delivery_price: Any = None
    funding_8h: Any = None
    greeks: Any = None
    implied_ask: Any = None
    implied_bid: Any = None
    interest_rate: Any = None
    interest_value: Any = None
    mark_iv: Any = None
    max_price: Any = None
    min_price: Any = None
    settlement_price: Any = None
    state: Any = None
    underlying_index: Any = None
    underlying_price: Any = None


class QuoteData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`quote`; 0 or null = that side is empty."""

    instrument_name: str
    timestamp: KnownInstant
    best_bid_price: Amount | None = None
    best_bid_amount: Amount | None = None
    best_ask_price: Amount | None = None
    best_ask_amount: Amount | None = None


class CandleData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`chart.trades`; `tick` is when it opens, `cost` its volume in quote currency."""

    open_time: KnownInstant = field(name="tick")
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Amount
    cost: Amount | None = None


class MarkData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A row of `markprice.options`."""

    instrument_name: str
    mark_price: Amount
    timestamp: Instant = 0
    iv: Any = None


class PerpetualData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`perpetual`; `interest` is the funding of the moment, as `current_funding` of `ticker`."""

    timestamp: Instant
    interest: Rate
    index_price: Amount | None = None


class VolatilityData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`deribit_volatility_index`, in per cent a year."""

    index_name: str
    volatility: Price
    timestamp: Instant


class PlatformState(Struct, gc=False):
    """`platform_state`: of an index, or of the whole venue."""

    locked: bool | Literal["true", "false", "partial"]
    price_index: str
    maintenance: Any = UNSET


_PLATFORM = msgspec.json.Decoder(PlatformState)


def is_unlocked(body: Raw) -> bool:
    """Tell whether all that a state says is that one index can be traded."""
    try:
        state = _PLATFORM.decode(body)
    except MALFORMED:
        return False
    return state.locked in {False, "false"} and state.maintenance is UNSET


MESSAGE: Final = Wire(Message, "message")
PAST: Final = Wire(PastData, "past trades")
TRADES: Final = Rows(TradeData, "trades", is_quoted=True)
BOOK: Final = Wire(BookData, "book")
CHANGES: Final = msgspec.json.Decoder(list[tuple[Literal["new", "change", "delete"], float, float]], strict=False)
TICKER: Final = Wire(TickerData, "ticker", is_quoted=True)
STATS: Final = Wire(Stats, "ticker", is_quoted=True)
QUOTE: Final = Wire(QuoteData, "quote", is_quoted=True)
CANDLE: Final = Wire(CandleData, "chart.trades", is_quoted=True)
MARKS: Final = Rows(MarkData, "markprice.options", is_quoted=True)
PERPETUAL: Final = Wire(PerpetualData, "perpetual", is_quoted=True)
VOLATILITY: Final = Wire(VolatilityData, "deribit_volatility_index", is_quoted=True)
