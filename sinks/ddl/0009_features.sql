CREATE TABLE IF NOT EXISTS features.market_signals
(
    event_time_us Int64 COMMENT 'taken into the platform, µs UTC' CODEC(DoubleDelta, LZ4),
    exchange_time_us Int64 COMMENT 'the venue''s own time, µs UTC; 0 = none' CODEC(DoubleDelta, LZ4),
    recv_time_us Int64 COMMENT 'read from the socket, µs UTC' CODEC(DoubleDelta, LZ4),
    symbol String,
    venue LowCardinality(String),
    spread Nullable(Float64),
    mid Nullable(Float64),
    microprice Nullable(Float64),
    mid_volatility Nullable(Float64),
    book_imbalance Nullable(Float64),
    quote_imbalance Nullable(Float64),
    depth_weighted_price Nullable(Float64),
    trade_imbalance Nullable(Float64),
    signed_volume Nullable(Float64),
    order_flow_imbalance Nullable(Float64),
    mid_return Nullable(Float64),
    vwap Nullable(Float64),
    flags String,
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64 CODEC(Delta, LZ4),
    source_index Int32,
    INDEX by_source source_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(toDateTime(event_time_us / 1000000))
ORDER BY (venue, symbol, event_time_us, source_topic, source_partition, source_offset, source_index)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
