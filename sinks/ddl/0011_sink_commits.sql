CREATE TABLE IF NOT EXISTS metadata.sink_commits
(
    event_time_us Int64 COMMENT 'the store acknowledged the chunk, µs UTC' CODEC(DoubleDelta, LZ4),
    commit_time_us Int64 ALIAS event_time_us,
    commit_time DateTime64(6, 'UTC') ALIAS fromUnixTimestamp64Micro(event_time_us, 'UTC'),
    venue LowCardinality(String) COMMENT 'empty = rows of several venues, or none',
    stage LowCardinality(String) COMMENT 'sink.clickhouse, sink.parquet',
    table_name LowCardinality(String),
    topic LowCardinality(String) ALIAS source_topic,
    partition Int32 ALIAS source_partition,
    start_offset Int64 ALIAS source_offset,
    end_offset Int64 COMMENT 'last offset of the chunk',
    row_count Int64 COMMENT 'rows written',
    repeats Int64 COMMENT 'rows left out because they had come before',
    dead_letters Int64,
    size_bytes Int64 COMMENT 'of the records in Kafka',
    first_event_time_us Int64 COMMENT 'of its rows, µs UTC; 0 = none',
    last_event_time_us Int64,
    first_exchange_time_us Int64 COMMENT 'of its rows, µs UTC; 0 = none',
    last_exchange_time_us Int64,
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64 COMMENT 'first offset of the chunk' CODEC(Delta, LZ4),
    source_index Int32,
    INDEX by_source source_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(toDateTime(event_time_us / 1000000))
ORDER BY (stage, source_topic, source_partition, source_offset)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
