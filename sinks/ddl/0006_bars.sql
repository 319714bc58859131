-- Bars are kept for ever. A later revision of a bar supersedes the earlier ones; bars_latest shows the newest.
CREATE TABLE IF NOT EXISTS market_data.bars
(
    timestamp DateTime('UTC') COMMENT 'open',
    symbol String,
    venue LowCardinality(String),
    asset_class Enum8('EQUITY' = 1, 'CRYPTO' = 2, 'FOREX' = 3, 'COMMODITY' = 4),
    interval LowCardinality(String) COMMENT '1m, 5m, 15m, 1h, 4h, 1d',
    open Float64,
    high Float64,
    low Float64,
    close Float64,
    volume Float64 COMMENT 'base currency',
    vwap Nullable(Float64) COMMENT 'null = no trades',
    trade_count Int32,
    buy_volume Nullable(Float64) COMMENT 'volume of aggressive buys, base currency; null = not known',
    revision Int32 COMMENT '0 first; rises each time the bar is made anew',
    flags String,
    event_time_us Int64 COMMENT 'when the bar was made, µs UTC',
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64 CODEC(Delta, LZ4),
    source_index Int32,
    INDEX by_source source_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (venue, symbol, interval, timestamp, revision)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS market_data.bars_latest AS
SELECT timestamp, symbol, venue, asset_class, interval, open, high, low, close, volume, vwap, trade_count, buy_volume, flags
FROM market_data.bars
ORDER BY venue, symbol, interval, timestamp, revision DESC
LIMIT 1 BY venue, symbol, interval, timestamp;
