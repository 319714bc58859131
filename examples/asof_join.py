"""Trades beside the quote that stood before each: effective spread, by the aggressor's side.

Run: python examples/asof_join.py --venue binance --symbol BTC/USDT --from 2026-11-20T00:00 --to 2026-11-20T01:00
     [--store parquet | --lake FOLDER]
"""

import argparse

import polars as pl

import tickerplant


def main(arguments: list[str] | None = None) -> pl.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="clickhouse")
    parser.add_argument("--lake")
    for name in ("--venue", "--symbol", "--from", "--to"):
        parser.add_argument(name, required=True)
    given = vars(parser.parse_args(arguments))
    what = (given["symbol"], given["venue"], given["from"], given["to"])
    where = {"store": given["store"], "lake": given["lake"], "library": "polars"}
    trades = tickerplant.trades(*what, **where).sort("time", maintain_order=True)
    quotes = tickerplant.quotes(*what, **where).sort("time", maintain_order=True).select("time", "bid", "ask")
    joined = trades.join_asof(quotes, on="time", strategy="backward", tolerance="10s")  # an older quote is no quote
    mid = (pl.col("bid") + pl.col("ask")) / 2
    return (
        joined.filter(mid.is_not_null())
        .group_by("side")
        .agg(pl.len().alias("trades"), ((pl.col("price") - mid).abs() / mid * 2e4).mean().alias("effective_spread_bps"))
        .sort("side")
    )


if __name__ == "__main__":
    print(main())
