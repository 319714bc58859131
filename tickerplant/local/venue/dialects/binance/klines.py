"""Candles → the rows of `GET /klines`; pure.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#klinecandlestick-data
"""

from collections import deque
from typing import Any

from tickerplant.local.venue.candles import MINUTE_MS, Candle, CandleSeries
from tickerplant.local.venue.numbers import Numbers

DECIMALS = 8


def kline_rows(series: CandleSeries, interval_ms: int, limit: int, numbers: Numbers) -> list[list[Any]]:
    """Make the newest rows, oldest first; intervals under a minute have none."""
    if interval_ms < MINUTE_MS:
        return []
    newest = deque(series.merged(interval_ms), maxlen=limit)
    return [_row(candle, interval_ms, numbers) for candle in newest]


def _row(candle: Candle, interval_ms: int, numbers: Numbers) -> list[Any]:
    return [
        candle.open_ms,
        *(numbers.price(value) for value in (candle.open, candle.high, candle.low, candle.close)),
        numbers.size(candle.volume),
        candle.open_ms + interval_ms - 1,
        f"{candle.quote:.{DECIMALS}f}",
        candle.count,
        numbers.size(candle.bought),
        f"{candle.bought_quote:.{DECIMALS}f}",
        "0",
    ]
