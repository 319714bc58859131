-- Kinds that venues after the first brought.
ALTER TABLE market_data.derivative
    MODIFY COLUMN kind Enum8('OTHER' = 0, 'FUNDING_RATE' = 1, 'MARK_PRICE' = 2, 'INDEX_PRICE' = 3, 'OPEN_INTEREST' = 4,
        'LIQUIDATION' = 5, 'VOLATILITY_INDEX' = 6);

ALTER TABLE symbols.mapping
    MODIFY COLUMN kind Enum8('OTHER' = 0, 'SPOT' = 1, 'PERPETUAL' = 2, 'FUTURE' = 3, 'OPTION' = 4, 'INDEX' = 5);
