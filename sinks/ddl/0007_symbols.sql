-- Newest entry per venue symbol; read it with FINAL.
CREATE TABLE IF NOT EXISTS symbols.mapping
(
    venue LowCardinality(String),
    market LowCardinality(String),
    venue_symbol String,
    symbol String COMMENT 'canonical',
    asset_class Enum8('EQUITY' = 1, 'CRYPTO' = 2, 'FOREX' = 3, 'COMMODITY' = 4),
    kind Enum8('OTHER' = 0, 'SPOT' = 1, 'PERPETUAL' = 2, 'FUTURE' = 3, 'OPTION' = 4),
    base LowCardinality(String),
    quote LowCardinality(String),
    settle LowCardinality(String) COMMENT 'empty for spot',
    expiry_time_us Int64 COMMENT 'µs UTC; 0 = never',
    tick_size Nullable(Float64) COMMENT 'null = not told',
    lot_size Nullable(Float64) COMMENT 'in the venue''s size unit; null = not told',
    contract_multiplier Float64,
    is_inverse Bool COMMENT 'base size = venue size × contract_multiplier / price',
    is_trading Bool,
    is_assumed Bool COMMENT 'derived from the name, for want of the venue''s list',
    event_time_us Int64 COMMENT 'when the list was taken in, µs UTC',
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64,
    source_index Int32
)
ENGINE = ReplacingMergeTree(event_time_us)
ORDER BY (venue, market, venue_symbol)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000;
