"""Shapes of Gate's v4 messages, as documented; what is not used is `Any`. Numbers come quoted or not: `Raw`."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from processors.wire import LAST_MS, Id, Instant, NamedLevels, Rows, Wire


class Failure(Struct, gc=False):
    """Why a request was refused."""

    code: int = 0
    message: str = ""


class Envelope(Struct, gc=False):
    """What all messages share; `result` is decoded by the channel's shape."""

    channel: str
    event: str = ""
    time: Annotated[int, Meta(ge=0, lt=LAST_MS // 1000)] = 0  # seconds
    time_ms: Instant = 0
    result: Raw = Raw(b"null")
    error: Failure | None = None
    symbol: str = ""  # of what a recorder asked for


class SpotTrade(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`spot.trades`; the last three are told since 2026."""

    trade_id: Id = field(name="id")
    time: Raw = field(name="create_time_ms")
    side: Literal["buy", "sell"]
    symbol: str = field(name="currency_pair")
    size: str = field(name="amount")
    price: str
    create_time: Any = None
    id_market: Any = None
    range: Any = None
    stock: Any = None
    money: Any = None
    trade_mode: Any = None


class FuturesTrade(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`futures.trades`: a negative size is a taker's sale; ms are told since 2021.

    Internal ones, with the insurance fund or by auto-deleveraging, are not made on the book.
    """

    trade_id: Id = field(name="id")
    time_s: Raw = field(name="create_time")
    time_ms: Raw = field(name="create_time_ms", default=Raw(b""))
    symbol: str = field(name="contract")
    size: Raw
    price: Raw
    is_internal: bool = False


class PastSpotTrade(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A row of REST `/spot/trades`; accounts of others are not told."""

    trade_id: str = field(name="id")
    time: Raw = field(name="create_time_ms")
    side: Literal["buy", "sell"]
    symbol: str = field(name="currency_pair")
    size: str = field(name="amount")
    price: str
    create_time: Any = None
    sequence_id: Any = None
    role: Any = None
    order_id: Any = None
    fee: Any = None
    fee_currency: Any = None
    point_fee: Any = None
    gt_fee: Any = None
    amend_text: Any = None
    text: Any = None
    deal: Any = None


class QuoteData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`book_ticker`; "" = that side is empty."""

    time: Instant = field(name="t")
    sequence: Id = field(name="u")
    symbol: str = field(name="s")
    bid: str = field(name="b")
    bid_size: Raw = field(name="B")
    ask: str = field(name="a")
    ask_size: Raw = field(name="A")


class BookData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`order_book_update`: spot levels are pairs, those of contracts objects; and `obu`, with its snapshots."""

    time: Instant = field(name="t")
    symbol: str = field(name="s")
    first_sequence: Id | None = field(name="U", default=None)
    sequence: Id = field(name="u")
    bids: Raw = field(name="b", default=Raw(b"[]"))
    asks: Raw = field(name="a", default=Raw(b"[]"))
    is_whole: bool = field(name="full", default=False)
    level: str = field(name="l", default="")  # since 2025: so many levels a side were asked for, and are told
    event: Any = field(name="e", default=None)
    event_time: Any = field(name="E", default=None)


class TopData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`order_book`: the best levels alone, each time; spot and contracts name symbol and id by other words."""

    time: Instant = field(name="t", default=0)
    symbol: str = field(name="s", default="")
    contract: str = ""
    sequence: Id = field(name="lastUpdateId", default=0)
    id: Id = 0
    bids: Raw
    asks: Raw
    level: str = field(name="l", default="")


class ChangeMessage(Struct, gc=False):
    """The whole of an `order_book_update`, as most messages are, without an error."""

    channel: Literal["spot.order_book_update", "futures.order_book_update"]
    event: Literal["update"]
    result: BookData
    time: Annotated[int, Meta(ge=0, lt=LAST_MS // 1000)] = 0
    time_ms: Instant = 0
    error: None = None


class SnapshotData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Body of a REST order book."""

    sequence: Id = field(name="id")
    bids: Raw
    asks: Raw
    made: Any = field(name="current", default=None)
    changed: Raw = field(name="update", default=Raw(b""))


class SpotTicker(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`spot.tickers`."""

    symbol: str = field(name="currency_pair")
    last: str
    ask: str = field(name="lowest_ask")
    bid: str = field(name="highest_bid")
    base_volume: str
    quote_volume: str
    high: str = field(name="high_24h")
    low: str = field(name="low_24h")
    change_percentage: Any = None


class FuturesTicker(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`futures.tickers`; dated contracts have no funding. `funding_due`: seconds, not told before 2026."""

    symbol: str = field(name="contract")
    last: str
    volume: Raw = field(name="volume_24h")
    base_volume: Raw = field(name="volume_24h_base", default=Raw(b""))
    quote_volume: Raw = field(name="volume_24h_quote", default=Raw(b""))
    high: str = field(name="high_24h", default="")
    low: str = field(name="low_24h", default="")
    mark_price: str = ""
    index_price: str = ""
    funding_rate: str = ""
    open_interest: Raw = field(name="total_size", default=Raw(b""))
    funding_due: Raw = field(name="funding_next_apply", default=Raw(b""))
    funding_interval: Any = None
    funding_offset: Any = None
    t: Any = None
    change_percentage: Any = None
    funding_rate_indicative: Any = None
    quanto_base_rate: Any = None
    volume_24h_settle: Any = None
    volume_24h_usd: Any = None
    volume_24h_btc: Any = None
    volume_24_usd: Any = None
    volume_24_btc: Any = None
    ask: Raw = field(name="lowest_ask", default=Raw(b""))
    ask_size: Raw = field(name="lowest_size", default=Raw(b""))
    bid: Raw = field(name="highest_bid", default=Raw(b""))
    bid_size: Raw = field(name="highest_size", default=Raw(b""))
    settle_price: Any = None
    basis_value: Any = None
    basis_rate: Any = None
    price_type: Any = None
    change_from: Any = None
    change_price: Any = None
    change_utc0: Any = None
    change_utc8: Any = None
    change_utc0_price: Any = None
    change_utc8_price: Any = None


class CandleData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`candlesticks`: v is quote currency on spot, contracts of futures; a is base currency, and absent until 2022."""

    open_time: Raw = field(name="t")
    name: str = field(name="n")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    close: str = field(name="c")
    volume: Raw = field(name="v")
    base_volume: Raw = field(name="a", default=Raw(b""))
    is_closed: bool = field(name="w", default=False)
    total: Any = field(name="sum", default=None)


class LiquidationData(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """`futures.public_liquidates`: a negative size is a forced sale; `time` is ms since 2026-08, seconds before."""

    symbol: str = field(name="contract")
    price: Raw
    size: Raw
    time_ms: Raw = Raw(b"")
    time: Raw = Raw(b"")


ENVELOPE: Final = msgspec.json.Decoder(Envelope)
CHANGE: Final = msgspec.json.Decoder(ChangeMessage)
ROWS: Final = msgspec.json.Decoder(list[Raw])
FUTURES_LEVELS: Final = NamedLevels("p", "s")
SPOT_TRADE: Final = Wire(SpotTrade, "trades")
FUTURES_TRADE: Final = Wire(FuturesTrade, "trades")
PAST_SPOT_TRADES: Final = Rows(PastSpotTrade, "past trades")
PAST_FUTURES_TRADES: Final = Rows(FuturesTrade, "past trades")
QUOTE: Final = Wire(QuoteData, "book_ticker")
BOOK: Final = Wire(BookData, "order_book_update")
TOP: Final = Wire(TopData, "order_book")
SNAPSHOT: Final = Wire(SnapshotData, "order_book")
SPOT_TICKER: Final = Wire(SpotTicker, "tickers")
FUTURES_TICKER: Final = Wire(FuturesTicker, "tickers")
CANDLE: Final = Wire(CandleData, "candlesticks")
LIQUIDATION: Final = Wire(LiquidationData, "public_liquidates")
