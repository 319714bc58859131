-- Three lines against doubles: the insert token (deduplication window, counted in parts), the sink's own marks, and
-- ReplacingMergeTree on the source id, which is part of every sorting key below.
CREATE TABLE IF NOT EXISTS market_data.tick
(
    event_time_us Int64 COMMENT 'taken into the platform, µs UTC' CODEC(DoubleDelta, LZ4),
    exchange_time_us Int64 COMMENT 'the venue''s own time, µs UTC; 0 = none' CODEC(DoubleDelta, LZ4),
    recv_time_us Int64 COMMENT 'read from the socket, µs UTC' CODEC(DoubleDelta, LZ4),
    symbol String COMMENT 'canonical, e.g. BTC/USDT',
    venue LowCardinality(String),
    asset_class Enum8('EQUITY' = 1, 'CRYPTO' = 2, 'FOREX' = 3, 'COMMODITY' = 4),
    kind Enum8('OTHER' = 0, 'TRADE' = 1, 'QUOTE' = 2, 'AGG_TRADE' = 3) COMMENT 'never sum TRADE and AGG_TRADE',
    price Float64 COMMENT 'trade price, or mid of a quote' CODEC(Gorilla, LZ4),
    quantity Float64 COMMENT 'base currency; 0 for a quote',
    side Enum8('BUY' = 1, 'SELL' = 2, 'UNKNOWN' = 0) COMMENT 'the aggressor''s',
    bid Nullable(Float64),
    ask Nullable(Float64),
    bid_size Nullable(Float64),
    ask_size Nullable(Float64),
    sequence_id Int64 COMMENT 'our own counter, rising per venue and symbol' CODEC(Delta, LZ4),
    trade_id String COMMENT 'the venue''s; empty for quotes',
    venue_sequence Int64 COMMENT 'the venue''s update id of a quote; 0 = none' CODEC(Delta, LZ4),
    flags String COMMENT 'comma-separated, alphabetical',
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64 CODEC(Delta, LZ4),
    source_index Int32,
    INDEX by_exchange_time exchange_time_us TYPE minmax GRANULARITY 1,
    INDEX by_source source_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(toDateTime(event_time_us / 1000000))
ORDER BY (venue, symbol, event_time_us, source_topic, source_partition, source_offset, source_index)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE VIEW IF NOT EXISTS market_data.trades AS
SELECT
    fromUnixTimestamp64Micro(event_time_us, 'UTC') AS event_time,
    if(exchange_time_us = 0, NULL, fromUnixTimestamp64Micro(exchange_time_us, 'UTC')) AS exchange_time,
    venue, symbol, asset_class, price, quantity, side, trade_id, sequence_id, flags
FROM market_data.tick
WHERE kind = 'TRADE';

CREATE VIEW IF NOT EXISTS market_data.quotes AS
SELECT
    fromUnixTimestamp64Micro(event_time_us, 'UTC') AS event_time,
    if(exchange_time_us = 0, NULL, fromUnixTimestamp64Micro(exchange_time_us, 'UTC')) AS exchange_time,
    venue, symbol, asset_class, bid, ask, bid_size, ask_size, price AS mid, sequence_id, flags
FROM market_data.tick
WHERE kind = 'QUOTE';
