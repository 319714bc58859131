-- By measurement (docs/decisions/0090-codecs-by-measurement.md): messages of venues take 40 % less, levels of books 29 %, at
-- no more of the server's time for an insert. What is stored stays as it is until parts are merged.
ALTER TABLE market_data.tick_raw MODIFY COLUMN payload CODEC(ZSTD(1));

ALTER TABLE market_data.depth
    MODIFY COLUMN bids CODEC(ZSTD(1)),
    MODIFY COLUMN asks CODEC(ZSTD(1));
