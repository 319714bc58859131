-- What bars made from trades tell besides; `timestamp` follows from `open_time_us`, which is what is written.
ALTER TABLE market_data.bars
    ADD COLUMN IF NOT EXISTS open_time_us Int64 COMMENT 'open, µs UTC' CODEC(DoubleDelta, LZ4) AFTER interval,
    ADD COLUMN IF NOT EXISTS quote_volume Float64 COMMENT 'sum of price × quantity' AFTER volume,
    ADD COLUMN IF NOT EXISTS first_trade_id String COMMENT 'empty = no trades' AFTER buy_volume,
    ADD COLUMN IF NOT EXISTS last_trade_id String COMMENT 'empty = no trades' AFTER first_trade_id;

ALTER TABLE market_data.bars
    MODIFY COLUMN timestamp DateTime('UTC') DEFAULT toDateTime(intDiv(open_time_us, 1000000), 'UTC') COMMENT 'open';

CREATE OR REPLACE VIEW market_data.bars_latest AS
SELECT timestamp, symbol, venue, asset_class, interval, open, high, low, close, volume, vwap, trade_count, buy_volume, flags,
    quote_volume, first_trade_id, last_trade_id, revision
FROM market_data.bars
ORDER BY venue, symbol, interval, timestamp, revision DESC
LIMIT 1 BY venue, symbol, interval, timestamp;
