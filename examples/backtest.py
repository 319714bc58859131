"""A backtest: follow the order-flow imbalance of ten seconds, hold for ten, and pay the spread.

Run: python examples/backtest.py --venue binance --symbol BTC/USDT --from 2026-11-20T00:00 --to 2026-11-20T06:00
     [--store parquet | --lake FOLDER]
"""

import argparse

import numpy as np

import tickerplant

HOLD_S = 10
ENTRY = 1.0  # standard deviations of the signal


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="clickhouse")
    parser.add_argument("--lake")
    for name in ("--venue", "--symbol", "--from", "--to"):
        parser.add_argument(name, required=True)
    given = vars(parser.parse_args(arguments))
    where = {"store": given["store"], "lake": given["lake"]}
    rows = tickerplant.features(
        given["symbol"], given["venue"], given["from"], given["to"],
        windows_s=[10, 60], labels_s=[HOLD_S], has_book=False, **where,
    )  # fmt: skip
    signal, future, cost = (
        rows[name].to_numpy() for name in ("order_flow_imbalance_10s", f"label_mid_return_{HOLD_S}s", "relative_spread")
    )
    known = ~np.isnan(signal) & ~np.isnan(future) & ~np.isnan(cost)  # null is NaN here: no data, no trade
    scale = np.nanstd(signal[known]) if known.any() else 1.0
    position = np.where(known & (np.abs(signal) > ENTRY * scale), np.sign(signal), 0)[::HOLD_S]  # one at a time
    gain = (position * future[::HOLD_S] - np.abs(position) * cost[::HOLD_S])[position != 0]
    found = {"seconds": len(signal), "trades": len(gain), "gain_bps": float(gain.sum() * 1e4)}
    return found | {"hit_rate": float((gain > 0).mean()) if len(gain) else 0.0}


if __name__ == "__main__":
    print(main())
