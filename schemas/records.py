"""The records that flow through Kafka, one class for each Avro schema in `schemas/avro`, with its fields.

Instants end in `_time_us`: µs since the UTC epoch, 0 = unknown. Sizes are in base currency. What each field means is
said once, in the `doc` of its Avro schema; a test holds both against each other.
"""

from typing import Literal

import msgspec

AssetClass = Literal["EQUITY", "CRYPTO", "FOREX", "COMMODITY"]
Side = Literal["UNKNOWN", "BUY", "SELL"]
FrameKind = Literal["OTHER", "MESSAGE", "SENT", "HTTP", "INSTRUMENTS", "CONNECT", "DISCONNECT", "CLOCK"]
TickKind = Literal["OTHER", "TRADE", "QUOTE", "AGG_TRADE"]
DerivativeKind = Literal[
    "OTHER", "FUNDING_RATE", "MARK_PRICE", "INDEX_PRICE", "OPEN_INTEREST", "LIQUIDATION", "VOLATILITY_INDEX"
]
InstrumentKind = Literal["OTHER", "SPOT", "PERPETUAL", "FUTURE", "OPTION", "INDEX"]


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all records: frozen, keyword-only, compared by value."""


class Source(Record, frozen=True, kw_only=True, gc=False):
    """Where frames of a raw record came from: a market and a connection."""

    market: str
    connection: str


class Frame(Record, frozen=True, kw_only=True, gc=False):
    """One frame as it came: `source` indexes `RawFrames.sources`, `number` counts frames of the connection."""

    source: int
    number: int
    kind: FrameKind
    request: str = ""
    recv_time_us: int
    payload: bytes


class RawFrames(Record, frozen=True, kw_only=True, gc=False):
    """Frames of one venue, untouched, packed in arrival order: the value of `raw.<venue>`."""

    venue: str
    event_time_us: int
    sources: list[Source]
    frames: list[Frame]


class Derived(Record, frozen=True, kw_only=True, gc=False):
    """Base of what is derived from raw records: the four fields together identify a record for ever."""

    source_topic: str = ""
    source_partition: int = 0
    source_offset: int = 0
    source_index: int = 0


class Tick(Derived, frozen=True, kw_only=True, gc=False):
    """A trade, an aggregated trade, or a change of the best quote: the value of `cleaned.tick`."""

    event_time_us: int
    exchange_time_us: int = 0
    recv_time_us: int = 0
    venue: str
    symbol: str
    asset_class: AssetClass
    kind: TickKind
    price: float
    quantity: float
    side: Side = "UNKNOWN"
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    sequence_id: int
    trade_id: str = ""
    venue_sequence: int = 0
    flags: str = ""


class Depth(Derived, frozen=True, kw_only=True, gc=False):
    """A change of an order book (size 0 removes a level), or the whole of it: the value of `cleaned.depth`."""

    event_time_us: int
    exchange_time_us: int = 0
    recv_time_us: int = 0
    venue: str
    symbol: str
    is_snapshot: bool
    is_keyframe: bool = False
    snapshot_id: int
    sequence: int = 0
    first_sequence: int = 0
    previous_sequence: int = 0
    bid_prices: list[float]
    bid_sizes: list[float]
    ask_prices: list[float]
    ask_sizes: list[float]
    flags: str = ""


class Ticker(Derived, frozen=True, kw_only=True, gc=False):
    """The venue's own 24-hour statistics: the value of `cleaned.ticker`."""

    event_time_us: int
    exchange_time_us: int = 0
    recv_time_us: int = 0
    venue: str
    symbol: str
    asset_class: AssetClass
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last: float
    last_size: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float
    quote_volume: float | None = None
    trade_count: int = 0
    open_time_us: int = 0
    close_time_us: int = 0
    flags: str = ""


class Candle(Derived, frozen=True, kw_only=True, gc=False):
    """The venue's own candle: the value of `cleaned.candle`."""

    event_time_us: int
    exchange_time_us: int = 0
    recv_time_us: int = 0
    venue: str
    symbol: str
    asset_class: AssetClass
    interval: str
    open_time_us: int
    close_time_us: int = 0
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    trade_count: int = 0
    taker_buy_volume: float | None = None
    taker_buy_quote_volume: float | None = None
    is_closed: bool
    flags: str = ""


class Bar(Derived, frozen=True, kw_only=True, gc=False):
    """A revision of a bar that we made from trades, the highest holds: the value of `cleaned.bar`."""

    event_time_us: int
    venue: str
    symbol: str
    asset_class: AssetClass
    interval: str
    open_time_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float = 0.0
    buy_volume: float | None = None
    vwap: float | None = None
    trade_count: int
    first_trade_id: str = ""
    last_trade_id: str = ""
    revision: int = 0
    flags: str = ""


class Derivative(Derived, frozen=True, kw_only=True, gc=False):
    """Funding, mark and index price, open interest, liquidation: the value of `cleaned.derivative`."""

    event_time_us: int
    exchange_time_us: int = 0
    recv_time_us: int = 0
    venue: str
    symbol: str
    kind: DerivativeKind
    value: float
    quantity: float | None = None
    side: Side = "UNKNOWN"
    next_time_us: int = 0
    flags: str = ""


class Signal(Derived, frozen=True, kw_only=True, gc=False):
    """Features of a symbol at the end of a second: the value of `features.signal`."""

    event_time_us: int
    exchange_time_us: int = 0
    recv_time_us: int = 0
    venue: str
    symbol: str
    spread: float | None = None
    relative_spread: float | None = None
    mid: float | None = None
    microprice: float | None = None
    quote_imbalance: float | None = None
    book_imbalance_1: float | None = None
    book_imbalance_5: float | None = None
    book_imbalance_10: float | None = None
    book_imbalance_20: float | None = None
    depth_weighted_price: float | None = None
    bid_liquidity_5bps: float | None = None
    bid_liquidity_10bps: float | None = None
    bid_liquidity_25bps: float | None = None
    ask_liquidity_5bps: float | None = None
    ask_liquidity_10bps: float | None = None
    ask_liquidity_25bps: float | None = None
    windows_s: list[int]
    mid_returns: list[float | None]
    mid_volatilities: list[float | None]
    trade_rates: list[float | None]
    volumes: list[float | None]
    vwaps: list[float | None]
    signed_volumes: list[float | None]
    trade_imbalances: list[float | None]
    order_flow_imbalances: list[float | None]
    illiquidities: list[float | None]
    flags: str = ""


class Instrument(Derived, frozen=True, kw_only=True, gc=False):
    """What a venue trades: the value of `reference.instrument`."""

    event_time_us: int
    venue: str
    market: str
    venue_symbol: str
    symbol: str
    asset_class: AssetClass
    kind: InstrumentKind
    base: str
    quote: str
    settle: str = ""
    expiry_time_us: int = 0
    tick_size: float | None = None
    lot_size: float | None = None
    contract_multiplier: float = 1.0
    is_inverse: bool = False
    is_trading: bool = True
    is_assumed: bool = False

    def base_quantity(self, size: float, price: float) -> float:
        """Turn a size in the venue's unit (contracts, or base currency) at a price into base currency.

        >>> perp = Instrument(event_time_us=0, venue="BINANCE", market="coinm", venue_symbol="BTCUSD_PERP",
        ...     symbol="BTC/USD:PERP", asset_class="CRYPTO", kind="PERPETUAL", base="BTC", quote="USD",
        ...     contract_multiplier=100.0, is_inverse=True)
        >>> perp.base_quantity(5.0, 50_000.0)
        0.01
        """
        amount = size * self.contract_multiplier
        return amount / price if self.is_inverse else amount


class QualityEvent(Derived, frozen=True, kw_only=True, gc=False):
    """Something about the data that its users should know: kinds in `schemas/quality.py`: `quality.event`."""

    event_time_us: int
    exchange_time_us: int = 0
    recv_time_us: int = 0
    venue: str
    symbol: str
    kind: str
    market: str = ""
    channel: str = ""
    from_sequence: int = 0
    to_sequence: int = 0
    count: int = 1
    detail: str = ""


class DeadLetter(Derived, frozen=True, kw_only=True, gc=False):
    """A frame or record that could not be used, with its bytes and the reason: the value of `dlq.<stage>`."""

    event_time_us: int
    recv_time_us: int = 0
    stage: str
    venue: str = ""
    market: str = ""
    reason: str
    frame_kind: str = ""
    request: str = ""
    payload: bytes


class SinkCommit(Derived, frozen=True, kw_only=True, gc=False):
    """A chunk that a store has acknowledged: the value of `metadata.sink_commit`; its source is the range it holds."""

    event_time_us: int
    venue: str = ""
    stage: str
    table_name: str
    end_offset: int
    row_count: int
    repeats: int = 0
    dead_letters: int = 0
    size_bytes: int = 0
    first_event_time_us: int = 0
    last_event_time_us: int = 0
    first_exchange_time_us: int = 0
    last_exchange_time_us: int = 0


class ControlCommand(Record, frozen=True, kw_only=True, gc=False):
    """A thing to do once, never repeated by a replay: the value of `control.command`."""

    event_time_us: int
    venue: str
    market: str
    venue_symbol: str = ""
    command: str
    reason: str = ""
    connection: str = ""
    from_sequence: int = 0
    to_sequence: int = 0
    from_time_us: int = 0
    to_time_us: int = 0


class ControlWanted(Record, frozen=True, kw_only=True, gc=False):
    """What shall be captured, on top of the settings; the last record of a key holds: the value of `control.wanted`."""

    event_time_us: int
    venue: str
    market: str
    venue_symbol: str = ""
    channel: str = ""
    is_wanted: bool
    reason: str = ""


class State(Record, frozen=True, kw_only=True, gc=False):
    """A piece of a processor's state: of one symbol, or (symbol empty) the head of a partition: `state.<app>`."""

    source_topic: str
    source_partition: int
    symbol: str
    next_offset: int
    version: int
    payload: bytes
    previous_offset: int = -1
    part: int = 0
    parts: int = 1
    epoch: int = 0
    lineage: str = ""
    life: str = ""
