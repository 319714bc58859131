"""Stored rows for research: ticks, books, bars and features, from ClickHouse, Parquet or DuckDB alike."""
