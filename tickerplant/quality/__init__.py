"""How good what is stored is: what went wrong by venue and symbol, and how much of each day is there."""
