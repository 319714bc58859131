CREATE TABLE IF NOT EXISTS market_data.depth
(
    event_time_us Int64 COMMENT 'taken into the platform, µs UTC' CODEC(DoubleDelta, LZ4),
    exchange_time_us Int64 COMMENT 'the venue''s own time, µs UTC; 0 = none' CODEC(DoubleDelta, LZ4),
    recv_time_us Int64 COMMENT 'read from the socket, µs UTC' CODEC(DoubleDelta, LZ4),
    symbol String COMMENT 'canonical, e.g. BTC/USDT',
    venue LowCardinality(String),
    bids Array(Tuple(Float64, Float64)) COMMENT '(price, size); size 0 removes a level',
    asks Array(Tuple(Float64, Float64)) COMMENT '(price, size); size 0 removes a level',
    snapshot_id Int64 COMMENT 'rises with each snapshot; a delta carries the one it builds on' CODEC(Delta, LZ4),
    is_snapshot Bool COMMENT 'true = the whole book, false = changed levels',
    is_keyframe Bool COMMENT 'true = written by us from our book',
    sequence Int64 COMMENT 'the venue''s last update id contained; 0 = none' CODEC(Delta, LZ4),
    first_sequence Int64 COMMENT 'the venue''s first update id contained; 0 = none' CODEC(Delta, LZ4),
    previous_sequence Int64 COMMENT 'the venue''s last update id before; 0 = none' CODEC(Delta, LZ4),
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
