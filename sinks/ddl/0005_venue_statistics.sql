CREATE TABLE IF NOT EXISTS market_data.ticker
(
    event_time_us Int64 COMMENT 'taken into the platform, µs UTC' CODEC(DoubleDelta, LZ4),
    exchange_time_us Int64 COMMENT 'the venue''s own time, µs UTC; 0 = none' CODEC(DoubleDelta, LZ4),
    recv_time_us Int64 COMMENT 'read from the socket, µs UTC' CODEC(DoubleDelta, LZ4),
    symbol String,
    venue LowCardinality(String),
    asset_class Enum8('EQUITY' = 1, 'CRYPTO' = 2, 'FOREX' = 3, 'COMMODITY' = 4),
    bid Nullable(Float64),
    ask Nullable(Float64),
    bid_size Nullable(Float64),
    ask_size Nullable(Float64),
    last Float64,
    last_size Nullable(Float64),
    open Nullable(Float64),
    high Nullable(Float64),
    low Nullable(Float64),
    volume Float64 COMMENT 'base currency',
    quote_volume Nullable(Float64),
    trade_count Int64,
    open_time_us Int64 COMMENT 'start of the window, µs UTC; 0 = not told',
    close_time_us Int64 COMMENT 'end of the window, µs UTC; 0 = not told',
    flags String,
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64 CODEC(Delta, LZ4),
    source_index Int32,
    INDEX by_source source_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(toDateTime(event_time_us / 1000000))
ORDER BY (venue, symbol, event_time_us, source_topic, source_partition, source_offset, source_index)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS market_data.candle
(
    event_time_us Int64 COMMENT 'taken into the platform, µs UTC' CODEC(DoubleDelta, LZ4),
    exchange_time_us Int64 COMMENT 'the venue''s own time, µs UTC; 0 = none' CODEC(DoubleDelta, LZ4),
    recv_time_us Int64 COMMENT 'read from the socket, µs UTC' CODEC(DoubleDelta, LZ4),
    symbol String,
    venue LowCardinality(String),
    asset_class Enum8('EQUITY' = 1, 'CRYPTO' = 2, 'FOREX' = 3, 'COMMODITY' = 4),
    interval LowCardinality(String) COMMENT '1m, 5m, 15m, 1h, 4h, 1d ...',
    open_time_us Int64 COMMENT 'start of the candle, µs UTC',
    close_time_us Int64 COMMENT 'last instant of the candle as the venue says it, µs UTC; 0 = not told',
    open Float64,
    high Float64,
    low Float64,
    close Float64,
    volume Float64 COMMENT 'base currency',
    quote_volume Nullable(Float64),
    trade_count Int64,
    taker_buy_volume Nullable(Float64),
    taker_buy_quote_volume Nullable(Float64),
    is_closed Bool COMMENT 'the venue says that it is final',
    flags String,
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64 CODEC(Delta, LZ4),
    source_index Int32,
    INDEX by_source source_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(toDateTime(event_time_us / 1000000))
ORDER BY (venue, symbol, interval, open_time_us, event_time_us, source_topic, source_partition, source_offset, source_index)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS market_data.derivative
(
    event_time_us Int64 COMMENT 'taken into the platform, µs UTC' CODEC(DoubleDelta, LZ4),
    exchange_time_us Int64 COMMENT 'the venue''s own time, µs UTC; 0 = none' CODEC(DoubleDelta, LZ4),
    recv_time_us Int64 COMMENT 'read from the socket, µs UTC' CODEC(DoubleDelta, LZ4),
    symbol String,
    venue LowCardinality(String),
    kind Enum8('OTHER' = 0, 'FUNDING_RATE' = 1, 'MARK_PRICE' = 2, 'INDEX_PRICE' = 3, 'OPEN_INTEREST' = 4,
        'LIQUIDATION' = 5),
    value Float64 COMMENT 'rate, price, or size in base currency: by kind',
    quantity Nullable(Float64) COMMENT 'base currency (LIQUIDATION)',
    side Enum8('BUY' = 1, 'SELL' = 2, 'UNKNOWN' = 0),
    next_time_us Int64 COMMENT 'next funding, µs UTC; 0 = none',
    flags String,
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64 CODEC(Delta, LZ4),
    source_index Int32,
    INDEX by_source source_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(toDateTime(event_time_us / 1000000))
ORDER BY (venue, symbol, kind, event_time_us, source_topic, source_partition, source_offset, source_index)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
