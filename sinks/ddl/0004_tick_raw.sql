CREATE TABLE IF NOT EXISTS market_data.tick_raw
(
    venue LowCardinality(String),
    market LowCardinality(String),
    connection LowCardinality(String) COMMENT 'unique in the life of the producer',
    number Int64 COMMENT 'frames of the connection from 0; a hole is a loss' CODEC(Delta, LZ4),
    kind Enum8('OTHER' = 0, 'MESSAGE' = 1, 'SENT' = 2, 'HTTP' = 3, 'INSTRUMENTS' = 4, 'CONNECT' = 5, 'DISCONNECT' = 6,
        'CLOCK' = 7),
    request String COMMENT 'URL asked for or connected to',
    recv_time_us Int64 COMMENT 'read from the socket, µs UTC' CODEC(DoubleDelta, LZ4),
    event_time_us Int64 COMMENT 'taken into the platform, µs UTC' CODEC(DoubleDelta, LZ4),
    payload String COMMENT 'the bytes, untouched; any bytes, not only UTF-8',
    source_topic LowCardinality(String) COMMENT 'where the frame lies in Kafka',
    source_partition Int32,
    source_offset Int64 CODEC(Delta, LZ4),
    source_index Int32,
    INDEX by_source source_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(toDateTime(event_time_us / 1000000))
ORDER BY (venue, event_time_us, source_topic, source_partition, source_offset, source_index)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
