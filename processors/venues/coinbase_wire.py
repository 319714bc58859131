"""Coinbase messages as structs: every documented field under a readable name; what is not used is `Any`."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Raw, Struct, field

from processors.wire import Id, Name, Rows, Wire

MakerSide = Literal["buy", "sell", "BUY", "SELL", "UNKNOWN_ORDER_SIDE"]
SequenceNumber = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Head(Struct, gc=False):
    """What tells the messages of the Exchange feed apart; `message` and `reason` are those of errors."""

    type: str
    message: str = ""
    reason: str = ""


class MatchData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`match`, and `last_match`, the one before the subscription; `sequence` is the product's, of all its messages."""

    type: Any
    trade_id: Id
    product_id: str
    price: str
    size: str
    side: MakerSide
    time: str
    sequence: Any = None
    maker_order_id: Any = None
    taker_order_id: Any = None


class ExchangeTicker(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`ticker`; sizes of the best quotes came in 2022."""

    type: Any
    sequence: Id
    product_id: str
    price: str
    time: str = ""
    open_24h: str = ""
    volume_24h: str = ""
    low_24h: str = ""
    high_24h: str = ""
    best_bid: str | None = None
    best_bid_size: str = ""
    best_ask: str | None = None
    best_ask_size: str = ""
    last_size: str = ""
    volume_30d: Any = None
    side: Any = None
    trade_id: Any = None


class ExchangeSnapshot(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`snapshot`, the first message of a book; `time` came in 2023."""

    type: Any
    product_id: str
    bids: Raw
    asks: Raw
    time: str = ""


class ExchangeUpdate(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`l2update`."""

    type: Any
    product_id: str
    changes: Raw
    time: str = ""


class Envelope(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """What all channels of Advanced Trade share; errors have a type and no channel."""

    channel: str = ""
    sequence_num: SequenceNumber | None = None
    timestamp: str = ""
    events: Raw = Raw(b"")
    type: str = ""
    message: str = ""
    client_id: Any = None


class LevelsEvent(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`l2_data`."""

    type: Literal["snapshot", "update"]
    product_id: str
    updates: Raw


class Level(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A level of `l2_data`; thousands of them stand in a snapshot."""

    side: Literal["bid", "offer", "ask"]
    price_level: float
    new_quantity: float
    event_time: str = ""


class TradesEvent(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`market_trades`: the last 100 trades, then those of each 250 ms, the newest first."""

    type: Literal["snapshot", "update"]
    trades: Raw


class AdvancedTrade(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A trade; ids of derivatives need not be numbers."""

    trade_id: Name
    product_id: str
    price: str
    size: str
    side: MakerSide
    time: str


class TickersEvent(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`ticker` and `ticker_batch`."""

    type: Literal["snapshot", "update"]
    tickers: Raw


class AdvancedTicker(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A ticker; `ticker_batch` has no best quotes."""

    product_id: str
    price: str
    volume: str = field(name="volume_24_h")
    low: str = field(name="low_24_h", default="")
    high: str = field(name="high_24_h", default="")
    best_bid: str | None = None
    best_bid_quantity: str = ""
    best_ask: str | None = None
    best_ask_quantity: str = ""
    type: Any = None
    low_52_w: Any = None
    high_52_w: Any = None
    price_percent_chg_24_h: Any = None


class CandlesEvent(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`candles`."""

    type: Literal["snapshot", "update"]
    candles: Raw


class CandleData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A candle of five minutes; `start` in seconds."""

    product_id: str
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str


HEAD: Final = msgspec.json.Decoder(Head)
ROWS: Final = msgspec.json.Decoder(list[Raw])


class PastTradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A row of REST `/products/{id}/trades`."""

    trade_id: Id
    price: str
    size: str
    side: MakerSide
    time: str


class PastAdvanced(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Body of REST `/market/products/{id}/ticker`."""

    trades: Raw
    best_bid: Any = None
    best_ask: Any = None


class PastAdvancedTrade(AdvancedTrade, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A row of it."""

    bid: Any = None
    ask: Any = None
    exchange: Any = None


MATCH: Final = Wire(MatchData, "matches")
PAST_TRADES: Final = Rows(PastTradeData, "trades")
EXCHANGE_TICKER: Final = Wire(ExchangeTicker, "ticker")
EXCHANGE_SNAPSHOT: Final = Wire(ExchangeSnapshot, "level2")
EXCHANGE_UPDATE: Final = Wire(ExchangeUpdate, "level2")
CHANGES: Final = msgspec.json.Decoder(list[tuple[Literal["buy", "sell"], float, float]], strict=False)

ENVELOPE: Final = Wire(Envelope, "advanced")
LEVELS_EVENTS: Final = Rows(LevelsEvent, "level2")
LEVELS: Final = Rows(Level, "level2", is_quoted=True)
TRADES_EVENTS: Final = Rows(TradesEvent, "market_trades")
TRADES: Final = Rows(AdvancedTrade, "market_trades")
PAST_ADVANCED: Final = Wire(PastAdvanced, "past trades")
PAST_ADVANCED_TRADES: Final = Rows(PastAdvancedTrade, "past trades")
TICKERS_EVENTS: Final = Rows(TickersEvent, "ticker")
TICKERS: Final = Rows(AdvancedTicker, "ticker")
CANDLES_EVENTS: Final = Rows(CandlesEvent, "candles")
CANDLES: Final = Rows(CandleData, "candles")
