"""Features of one symbol, second by second, from its trades, quotes and book; defined in docs/features.md."""
