CREATE TABLE IF NOT EXISTS metadata.quality
(
    event_time_us Int64 COMMENT 'taken into the platform, µs UTC' CODEC(DoubleDelta, LZ4),
    exchange_time_us Int64 COMMENT 'the venue''s own time, µs UTC; 0 = none',
    recv_time_us Int64 COMMENT 'read from the socket, µs UTC',
    venue LowCardinality(String),
    symbol String,
    kind LowCardinality(String) COMMENT 'GAP, BOOK_RESET, DUPLICATE ...',
    market LowCardinality(String),
    channel LowCardinality(String),
    from_sequence Int64,
    to_sequence Int64,
    count Int64 COMMENT 'how many items are concerned',
    detail String,
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

CREATE TABLE IF NOT EXISTS metadata.dead_letters
(
    event_time_us Int64 COMMENT 'µs UTC; 0 = unknown',
    recv_time_us Int64 COMMENT 'µs UTC; 0 = unknown',
    stage LowCardinality(String) COMMENT 'who refused it: processor, sink.clickhouse, sink.parquet',
    venue LowCardinality(String),
    market LowCardinality(String),
    reason String,
    frame_kind LowCardinality(String),
    request String,
    payload String COMMENT 'the bytes, untouched',
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64,
    source_index Int32,
    INDEX by_source source_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(toDateTime(event_time_us / 1000000))
ORDER BY (stage, source_topic, source_partition, source_offset, source_index, reason)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS metadata.ingestion_runs
(
    run_id String,
    source LowCardinality(String) COMMENT 'binance, polygon, dukascopy ...',
    dataset LowCardinality(String) COMMENT 'trades, bars_1m, eod ...',
    symbol String,
    from_time_us Int64 COMMENT 'first instant of the range, µs UTC',
    to_time_us Int64 COMMENT 'first instant after the range, µs UTC',
    status Enum8('RUNNING' = 0, 'DONE' = 1, 'FAILED' = 2),
    rows Int64 COMMENT 'rows fetched',
    detail String COMMENT 'for people: why it failed',
    started_time_us Int64,
    updated_time_us Int64
)
ENGINE = ReplacingMergeTree(updated_time_us)
ORDER BY (source, dataset, symbol, from_time_us, to_time_us, run_id)
SETTINGS index_granularity = 8192;
