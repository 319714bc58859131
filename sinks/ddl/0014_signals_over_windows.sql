-- Features over several windows are arrays, one value for each of windows_s; the columns that were there before tell those
-- over a minute, null where that is none of the windows. What each means: docs/features.md.
ALTER TABLE features.market_signals
    COMMENT COLUMN exchange_time_us 'end of the second, µs UTC: nothing of what came later is in it',
    ADD COLUMN IF NOT EXISTS relative_spread Nullable(Float64) AFTER spread,
    ADD COLUMN IF NOT EXISTS book_imbalance_1 Nullable(Float64) AFTER quote_imbalance,
    ADD COLUMN IF NOT EXISTS book_imbalance_5 Nullable(Float64) AFTER book_imbalance_1,
    ADD COLUMN IF NOT EXISTS book_imbalance_10 Nullable(Float64) AFTER book_imbalance_5,
    ADD COLUMN IF NOT EXISTS book_imbalance_20 Nullable(Float64) AFTER book_imbalance_10,
    ADD COLUMN IF NOT EXISTS bid_liquidity_5bps Nullable(Float64) COMMENT 'base currency' AFTER depth_weighted_price,
    ADD COLUMN IF NOT EXISTS bid_liquidity_10bps Nullable(Float64) COMMENT 'base currency' AFTER bid_liquidity_5bps,
    ADD COLUMN IF NOT EXISTS bid_liquidity_25bps Nullable(Float64) COMMENT 'base currency' AFTER bid_liquidity_10bps,
    ADD COLUMN IF NOT EXISTS ask_liquidity_5bps Nullable(Float64) COMMENT 'base currency' AFTER bid_liquidity_25bps,
    ADD COLUMN IF NOT EXISTS ask_liquidity_10bps Nullable(Float64) COMMENT 'base currency' AFTER ask_liquidity_5bps,
    ADD COLUMN IF NOT EXISTS ask_liquidity_25bps Nullable(Float64) COMMENT 'base currency' AFTER ask_liquidity_10bps,
    ADD COLUMN IF NOT EXISTS windows_s Array(Int32) COMMENT 'what the arrays hold one value for each of' AFTER ask_liquidity_25bps,
    ADD COLUMN IF NOT EXISTS mid_returns Array(Nullable(Float64)) AFTER windows_s,
    ADD COLUMN IF NOT EXISTS mid_volatilities Array(Nullable(Float64)) AFTER mid_returns,
    ADD COLUMN IF NOT EXISTS trade_rates Array(Nullable(Float64)) COMMENT '1 / s' AFTER mid_volatilities,
    ADD COLUMN IF NOT EXISTS volumes Array(Nullable(Float64)) COMMENT 'base currency' AFTER trade_rates,
    ADD COLUMN IF NOT EXISTS vwaps Array(Nullable(Float64)) AFTER volumes,
    ADD COLUMN IF NOT EXISTS signed_volumes Array(Nullable(Float64)) COMMENT 'base currency' AFTER vwaps,
    ADD COLUMN IF NOT EXISTS trade_imbalances Array(Nullable(Float64)) AFTER signed_volumes,
    ADD COLUMN IF NOT EXISTS order_flow_imbalances Array(Nullable(Float64)) COMMENT 'base currency' AFTER trade_imbalances,
    ADD COLUMN IF NOT EXISTS illiquidities Array(Nullable(Float64)) COMMENT '1 / quote currency' AFTER order_flow_imbalances;

ALTER TABLE features.market_signals
    MODIFY COLUMN book_imbalance Nullable(Float64) DEFAULT book_imbalance_5,
    MODIFY COLUMN mid_return Nullable(Float64) DEFAULT mid_returns[indexOf(windows_s, 60)],
    MODIFY COLUMN mid_volatility Nullable(Float64) DEFAULT mid_volatilities[indexOf(windows_s, 60)],
    MODIFY COLUMN trade_imbalance Nullable(Float64) DEFAULT trade_imbalances[indexOf(windows_s, 60)],
    MODIFY COLUMN signed_volume Nullable(Float64) DEFAULT signed_volumes[indexOf(windows_s, 60)],
    MODIFY COLUMN order_flow_imbalance Nullable(Float64) DEFAULT order_flow_imbalances[indexOf(windows_s, 60)],
    MODIFY COLUMN vwap Nullable(Float64) DEFAULT vwaps[indexOf(windows_s, 60)];

CREATE VIEW IF NOT EXISTS features.by_window AS
SELECT
    fromUnixTimestamp64Micro(exchange_time_us, 'UTC') AS time,
    venue, symbol, window_s, mid, spread, microprice, quote_imbalance, book_imbalance_5,
    of_mid_return AS mid_return,
    of_mid_volatility AS mid_volatility,
    of_trade_rate AS trade_rate,
    of_volume AS volume,
    of_vwap AS vwap,
    of_signed_volume AS signed_volume,
    of_trade_imbalance AS trade_imbalance,
    of_order_flow_imbalance AS order_flow_imbalance,
    of_illiquidity AS illiquidity
FROM features.market_signals
ARRAY JOIN
    windows_s AS window_s,
    mid_returns AS of_mid_return,
    mid_volatilities AS of_mid_volatility,
    trade_rates AS of_trade_rate,
    volumes AS of_volume,
    vwaps AS of_vwap,
    signed_volumes AS of_signed_volume,
    trade_imbalances AS of_trade_imbalance,
    order_flow_imbalances AS of_order_flow_imbalance,
    illiquidities AS of_illiquidity;
