"""`tickerplant replay`: cleaned topics, tables and Parquet made again from raw records, beside the live ones."""
