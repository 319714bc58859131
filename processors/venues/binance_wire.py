"""Binance messages as structs: every documented field, old and new, under a readable name.

What is not used is typed Any: its type may change without harm. `ps` (pair) and `st` (symbol type: 1 = USD-M,
2 = COIN-M) came to futures messages over time.
"""

import re
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, field

from processors.wire import Id, Instant, KnownInstant, PreviousId, Price, Rows, Wire


class Envelope(Struct, gc=False, forbid_unknown_fields=True):
    """`{"stream": ..., "data": ...}` of a combined stream."""

    stream: str
    data: Raw


class Answer(Struct, gc=False):
    """Answers to SUBSCRIBE and the like, errors, and notices that come outside of streams."""

    id: Any = UNSET
    result: Any = UNSET
    error: Any = None
    code: int | None = None
    event: str = field(name="e", default="")
    sequence: Any = field(name="u", default=None)
    bid: Any = field(name="b", default=None)

    @property
    def is_quote(self) -> bool:
        """Tell whether it is the best quote of spot, which has no event."""
        return not self.event and self.sequence is not None and self.bid is not None


class Message(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Base of what streams carry."""

    pair: Any = field(name="ps", default=None)
    symbol_type: Any = field(name="st", default=None)


class TradeData(Message, gc=False, kw_only=True):
    """`@trade`."""

    event: Literal["trade"] = field(name="e")
    event_time: Instant = field(name="E")
    time: Instant = field(name="T")
    symbol: str = field(name="s")
    trade_id: Id = field(name="t")
    price: str = field(name="p")
    size: str = field(name="q")
    is_buyer_maker: bool = field(name="m")
    execution: str = field(name="X", default="MARKET")
    is_best_match: Any = field(name="M", default=None)
    buyer_order_id: Any = field(name="b", default=None)  # spot, until 2023
    seller_order_id: Any = field(name="a", default=None)


class AggTradeData(Message, gc=False, kw_only=True):
    """`@aggTrade`."""

    event: Literal["aggTrade"] = field(name="e")
    event_time: Instant = field(name="E")
    time: Instant = field(name="T")
    symbol: str = field(name="s")
    trade_id: Id = field(name="a")
    price: str = field(name="p")
    size: str = field(name="q")
    size_without_rpi: Any = field(name="nq", default=None)  # USD-M, since 2025-12-31
    first_trade_id: Id = field(name="f")
    last_trade_id: Id = field(name="l")
    is_buyer_maker: bool = field(name="m")
    is_best_match: Any = field(name="M", default=None)


class QuoteData(Message, gc=False, kw_only=True):
    """`@bookTicker`; spot sends neither event nor times."""

    event: Literal["bookTicker"] = field(name="e", default="bookTicker")
    event_time: Instant = field(name="E", default=0)
    time: Instant = field(name="T", default=0)
    symbol: str = field(name="s")
    sequence: Id = field(name="u")
    bid: str = field(name="b")
    bid_size: str = field(name="B")
    ask: str = field(name="a")
    ask_size: str = field(name="A")


class UsualQuote(Struct, gc=False):
    """What is used of a best quote that is written as most are, and has both sides."""

    symbol: str = field(name="s")
    sequence: Id = field(name="u")
    bid: Price = field(name="b")
    bid_size: Price = field(name="B")
    ask: Price = field(name="a")
    ask_size: Price = field(name="A")
    time: Instant = field(name="T", default=0)
    event_time: Instant = field(name="E", default=0)


class UsualTrade(Struct, gc=False):
    """The same of a trade on the book."""

    symbol: str = field(name="s")
    trade_id: Id = field(name="t")
    price: Price = field(name="p")
    size: Price = field(name="q")
    is_buyer_maker: bool = field(name="m")
    time: Instant = field(name="T")
    event_time: Instant = field(name="E")


class UsualQuoteMessage(Struct, gc=False):
    """A best quote in a combined stream."""

    data: UsualQuote


class UsualTradeMessage(Struct, gc=False):
    """A trade in a combined stream."""

    data: UsualTrade


class DepthData(Message, gc=False, kw_only=True):
    """`@depth`; futures add T and pu."""

    event: Literal["depthUpdate"] = field(name="e")
    event_time: Instant = field(name="E")
    time: Instant = field(name="T", default=0)
    symbol: str = field(name="s")
    first_sequence: Id = field(name="U")
    sequence: Id = field(name="u")
    previous_sequence: PreviousId | None = field(name="pu", default=None)
    bids: Raw = field(name="b")
    asks: Raw = field(name="a")


class KlineEvent(Message, gc=False, kw_only=True):
    """`@kline_1m`."""

    event: Literal["kline"] = field(name="e")
    event_time: Instant = field(name="E")
    symbol: str = field(name="s")
    kline: Raw = field(name="k")


class KlineData(Message, gc=False, kw_only=True):
    """The candle inside; COIN-M counts contracts in v and V, base currency in q and Q."""

    open_time: KnownInstant = field(name="t")
    close_time: KnownInstant = field(name="T")
    symbol: str = field(name="s")
    interval: str = field(name="i")
    first_trade_id: Any = field(name="f", default=None)
    last_trade_id: Any = field(name="L", default=None)
    open: str = field(name="o")
    close: str = field(name="c")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    trade_count: Id = field(name="n")
    is_closed: bool = field(name="x")
    quote_volume: str = field(name="q")
    taker_buy_volume: str = field(name="V")
    taker_buy_quote_volume: str = field(name="Q")
    ignored: Any = field(name="B", default=None)


class TickerData(Message, gc=False, kw_only=True):
    """`@ticker`; futures send no bid and ask."""

    event: Literal["24hrTicker"] = field(name="e")
    event_time: Instant = field(name="E")
    symbol: str = field(name="s")
    change: Any = field(name="p", default=None)
    change_percent: Any = field(name="P", default=None)
    weighted_average: Any = field(name="w", default=None)
    previous_close: Any = field(name="x", default=None)
    last: str = field(name="c")
    last_size: str = field(name="Q")
    bid: str = field(name="b", default="")
    bid_size: str = field(name="B", default="")
    ask: str = field(name="a", default="")
    ask_size: str = field(name="A", default="")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    quote_volume: str = field(name="q")
    open_time: Instant = field(name="O")
    close_time: Instant = field(name="C")
    first_trade_id: Any = field(name="F", default=None)
    last_trade_id: Any = field(name="L", default=None)
    trade_count: Id = field(name="n")


class MarkPriceData(Message, gc=False, kw_only=True):
    """`@markPrice`; dated COIN-M futures send "" as funding rate and 0 as its time."""

    event: Literal["markPriceUpdate"] = field(name="e")
    event_time: Instant = field(name="E")
    symbol: str = field(name="s")
    mark_price: str = field(name="p")
    mark_price_average: Any = field(name="ap", default=None)  # USD-M, since 2026-03
    settle_price: Any = field(name="P", default=None)
    index_price: str = field(name="i", default="")
    funding_rate: str = field(name="r", default="")
    next_funding_time: Instant = field(name="T", default=0)


class IndexPriceData(Message, gc=False, kw_only=True):
    """`@indexPrice` of COIN-M, of a pair."""

    event: Literal["indexPriceUpdate"] = field(name="e")
    event_time: Instant = field(name="E")
    pair_name: str = field(name="i")
    price: str = field(name="p")


class ForceOrderEvent(Message, gc=False, kw_only=True):
    """`@forceOrder`."""

    event: Literal["forceOrder"] = field(name="e")
    event_time: Instant = field(name="E")
    order: Raw = field(name="o")


class ForcedOrder(Message, gc=False, kw_only=True):
    """The liquidation order inside."""

    symbol: str = field(name="s")
    side: Literal["BUY", "SELL"] = field(name="S")
    order_type: Any = field(name="o", default=None)
    time_in_force: Any = field(name="f", default=None)
    size: str = field(name="q")
    price: str = field(name="p")
    average_price: str = field(name="ap")
    status: Any = field(name="X", default=None)
    last_filled_size: Any = field(name="l", default=None)
    filled_size: str = field(name="z")
    time: Instant = field(name="T")


class SnapshotData(Message, gc=False, kw_only=True):
    """Body of a REST depth answer; spot sends no times, only COIN-M the symbol."""

    sequence: Id = field(name="lastUpdateId")
    event_time: Instant = field(name="E", default=0)
    time: Instant = field(name="T", default=0)
    symbol: str = ""
    pair_name: Any = field(name="pair", default=None)
    bids: Raw
    asks: Raw


class PastTradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A row of REST `historicalTrades` and `trades`."""

    trade_id: Id = field(name="id")
    price: str
    size: str = field(name="qty")
    quote_size: Any = field(name="quoteQty", default=None)
    base_size: Any = field(name="baseQty", default=None)  # COIN-M
    time: Instant
    is_buyer_maker: bool = field(name="isBuyerMaker")
    is_best_match: Any = field(name="isBestMatch", default=None)  # spot
    is_rpi: Any = field(name="isRPITrade", default=None)  # USD-M


class OpenInterestData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Body of a REST `openInterest` answer; in contracts."""

    symbol: str
    open_interest: str = field(name="openInterest")
    time: Instant = 0
    pair: Any = None
    contract_type: Any = field(name="contractType", default=None)


USUAL: Final = re.compile(
    rb"""\{"stream":"[a-z0-9_]++@(?:"""
    rb"""(bookTicker)","data":\{(?:"e":"bookTicker",)?"u":[0-9]++,(?:"e":"bookTicker",)?"s":"[^"\\]++","""
    rb"""(?:"ps":"[^"\\]++",)?"b":"[^"]++","B":"[^"]++","a":"[^"]++","A":"[^"]++"(?:,"T":[0-9]++,"E":[0-9]++)?"""
    rb"""|"""
    rb"""(trade)","data":\{"e":"trade","E":[0-9]++,(?:"T":[0-9]++,)?"s":"[^"\\]++",(?:"ps":"[^"\\]++",)?"""
    rb""""t":[0-9]++,"p":"[^"]++","q":"[^"]++",(?:"b":[0-9]++,"a":[0-9]++,)?(?:"T":[0-9]++,)?(?:"X":"MARKET",)?"""
    rb""""m":(?:true|false)(?:,"M":(?:true|false))?"""
    rb""")(?:,"st":[0-9]++)?\}\}"""
)
"""How quotes (group 1) and trades (group 2) are written, in full: which numbers stand in strings, and which do not.

The decoders take both, so only what is written so is theirs.
"""
USUAL_QUOTE: Final = msgspec.json.Decoder(UsualQuoteMessage, strict=False)
USUAL_TRADE: Final = msgspec.json.Decoder(UsualTradeMessage, strict=False)
ENVELOPE: Final = msgspec.json.Decoder(Envelope)
ROWS: Final = msgspec.json.Decoder(list[Raw])
ANSWER: Final = msgspec.json.Decoder(Answer)
TRADE: Final = Wire(TradeData, "trade")
AGG_TRADE: Final = Wire(AggTradeData, "aggTrade")
QUOTE: Final = Wire(QuoteData, "bookTicker")
DEPTH: Final = Wire(DepthData, "depth")
KLINE_EVENT: Final = Wire(KlineEvent, "kline")
KLINE: Final = Wire(KlineData, "kline")
TICKER: Final = Wire(TickerData, "ticker")
MARK_PRICE: Final = Wire(MarkPriceData, "markPrice")
INDEX_PRICE: Final = Wire(IndexPriceData, "indexPrice")
FORCE_ORDER: Final = Wire(ForceOrderEvent, "forceOrder")
FORCED: Final = Wire(ForcedOrder, "forceOrder")
SNAPSHOT: Final = Wire(SnapshotData, "depth snapshot")
OPEN_INTEREST: Final = Wire(OpenInterestData, "openInterest")
PAST_TRADES: Final = Rows(PastTradeData, "historicalTrades")
