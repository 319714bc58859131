CREATE TABLE IF NOT EXISTS stocks.historical_eod
(
    symbol String,
    date Date COMMENT 'trading day',
    open Float64,
    high Float64,
    low Float64,
    close Float64,
    volume Float64,
    dividend Float64 DEFAULT 0,
    split Float64 DEFAULT 1 COMMENT 'shares after for one before',
    adj_open Nullable(Float64),
    adj_high Nullable(Float64),
    adj_low Nullable(Float64),
    adj_close Nullable(Float64),
    adj_volume Nullable(Float64),
    source LowCardinality(String) COMMENT 'who told: nasdaq-data-link, polygon, tiingo',
    event_time_us Int64 COMMENT 'when it was fetched, µs UTC'
)
ENGINE = ReplacingMergeTree(event_time_us)
PARTITION BY toYear(date)
ORDER BY (symbol, source, date)
SETTINGS index_granularity = 8192;
