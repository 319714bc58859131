"""Hyperliquid messages as structs: every documented field under a readable name; what is not used is `Any`."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Raw, Struct, field

from processors.wire import Id, Instant, KnownInstant, Rows, Wire


class Envelope(Struct, gc=False, forbid_unknown_fields=True):
    """What all channels share; a pong has no data."""

    channel: str
    data: Raw = Raw(b"null")


class Wish(Struct, gc=False):
    """What was subscribed; `figures` = books are put together by so many digits."""

    type: str
    coin: str
    figures: Any = field(name="nSigFigs", default=None)
    fast: Any = None


class Answer(Struct, gc=False):
    """`subscriptionResponse`: it repeats the request."""

    method: str
    subscription: Wish


class TradeData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`trades`; side B = the taker bought, A = sold; `users` are buyer and seller."""

    coin: str
    side: Literal["A", "B"]
    price: Raw = field(name="px")
    size: Raw = field(name="sz")
    time: Instant
    trade_id: Id = field(name="tid")
    hash: Any = None
    users: Any = None


class BookData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`l2Book`: the best 20 levels of each side (5 of the fast one), bids first."""

    coin: str
    time: KnownInstant
    levels: tuple[Raw, Raw]
    fast: Any = None


class Level(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A level; `n` orders stand there."""

    price: float = field(name="px")
    size: float = field(name="sz")
    orders: Any = field(name="n", default=None)


class QuoteData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`bbo`: bid and ask; null, or left out at the end = that side is empty."""

    coin: str
    time: KnownInstant
    best: Annotated[list[Raw], msgspec.Meta(max_length=2)] = field(name="bbo")


class CandleData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`candle`."""

    coin: str = field(name="s")
    interval: str = field(name="i")
    open_time: KnownInstant = field(name="t")
    close_time: KnownInstant = field(name="T")
    open: Raw = field(name="o")
    close: Raw = field(name="c")
    high: Raw = field(name="h")
    low: Raw = field(name="l")
    volume: Raw = field(name="v")
    trade_count: Id = field(name="n", default=0)


class ContextData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`activeAssetCtx`, `activeSpotAssetCtx`."""

    coin: str
    context: Raw = field(name="ctx")


class Context(Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Of a perpetual or a spot pair; null = nobody quotes. Funding is the rate of an hour."""

    mark_price: Raw = field(name="markPx")
    mid_price: Raw = field(name="midPx", default=Raw(b"null"))
    open: Raw = field(name="prevDayPx")
    quote_volume: Raw = field(name="dayNtlVlm")
    base_volume: Raw = field(name="dayBaseVlm", default=Raw(b"null"))
    funding: Raw = Raw(b"null")
    open_interest: Raw = Raw(b"null")
    oracle_price: Raw = field(name="oraclePx", default=Raw(b"null"))
    coin: Any = None
    premium: Any = None
    impact_prices: Any = field(name="impactPxs", default=None)
    circulating_supply: Any = None
    total_supply: Any = None


TEXT: Final = msgspec.json.Decoder(str)
ANSWER: Final = msgspec.json.Decoder(Answer)
ENVELOPE: Final = Wire(Envelope, "message")
TRADES: Final = Rows(TradeData, "trades")
BOOK: Final = Wire(BookData, "l2Book")
LEVELS: Final = Rows(Level, "l2Book", is_quoted=True)
LEVEL: Final = Wire(Level, "bbo", is_quoted=True)
QUOTE: Final = Wire(QuoteData, "bbo")
CANDLE: Final = Wire(CandleData, "candle")
CANDLES: Final = Rows(CandleData, "candle")
CONTEXT_DATA: Final = Wire(ContextData, "activeAssetCtx")
CONTEXT: Final = Wire(Context, "activeAssetCtx")
