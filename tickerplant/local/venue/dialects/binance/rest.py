"""Binance's REST addresses: exchangeInfo, depth, trades, klines, ping, time; errors in the venue's words.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Order-Book
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from tickerplant.local.venue.dialect import Answer, Ask, Route
from tickerplant.local.venue.dialects.binance.klines import kline_rows
from tickerplant.local.venue.dialects.binance.listings import exchange_info
from tickerplant.local.venue.dialects.binance.streams import INTERVALS_MS
from tickerplant.local.venue.dialects.binance.writer import depth_body, past_trades_body

PREFIXES: Final = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}
WEIGHT_HEADER: Final = "x-mbx-used-weight-1m"
MINUTE_MS: Final = 60_000
SPOT_DEPTH: Final = ((100, 500, 1000, 5000), (5, 25, 50, 250))
FUTURES_DEPTH: Final = ((5, 10, 20, 50, 100, 500, 1000), (2, 2, 2, 2, 5, 10, 20))
DEPTH_DEFAULT: Final = {"spot": 100, "usdm": 500, "coinm": 500}
TRADES_MOST: Final = 1000
TRADES_DEFAULT: Final = 500
TRADES_WEIGHTS: Final = {"spot": 25, "usdm": 5, "coinm": 5}
OLD_TRADES_WEIGHTS: Final = {"spot": 25, "usdm": 20, "coinm": 20}
KEY_HEADER: Final = "X-MBX-APIKEY"
KLINES_MOST: Final = {"spot": 1000, "usdm": 1500, "coinm": 1500}
KLINES_DEFAULT: Final = 500
Weighed = Callable[[str, Ask], tuple[bytes, int]]
"""(market, request) → body and weight."""


class _RequestError(Exception):
    """A request that the venue refuses with status 400."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(code, text)


@dataclass
class _Weights:
    """The request weight used in the running minute."""

    minute: int = 0
    used: int = 0

    def add(self, weight: int, now_ms: int) -> int:
        """Count a request; returns the weight used so far."""
        minute = now_ms // MINUTE_MS
        if minute != self.minute:
            self.minute, self.used = minute, 0
        self.used += weight
        return self.used


def routes(market: str) -> list[Route]:
    """List the REST addresses of a market, which count weights together."""
    weights, prefix = _Weights(), PREFIXES[market]

    def answering(handler: Weighed) -> Callable[[Ask], Answer]:
        def answer(ask: Ask) -> Answer:
            try:
                body, weight = handler(market, ask)
                status = 200
            except _RequestError as error:
                body, weight, status = msgspec.json.encode({"code": error.code, "msg": error.text}), 1, 400
            return Answer(body, status, {WEIGHT_HEADER: str(weights.add(weight, ask.now_ms))})

        return answer

    return [
        Route(path=f"{prefix}/exchangeInfo", answer=answering(_exchange_info), counts_as="instruments"),
        Route(path=f"{prefix}/depth", answer=answering(_depth), counts_as="snapshot"),
        Route(path=f"{prefix}/trades", answer=answering(_trades), counts_as="trades"),
        Route(path=f"{prefix}/historicalTrades", answer=answering(_historical_trades), counts_as="trades"),
        Route(path=f"{prefix}/klines", answer=answering(_klines)),
        Route(path=f"{prefix}/ping", answer=answering(lambda _market, _ask: (b"{}", 1))),
        Route(path=f"{prefix}/time", answer=answering(_time)),
    ]


def _time(_market: str, ask: Ask) -> tuple[bytes, int]:
    return msgspec.json.encode({"serverTime": ask.now_ms}), 1


def _exchange_info(market: str, ask: Ask) -> tuple[bytes, int]:
    return exchange_info(market, ask.market.listings(market), ask.now_ms), 20 if market == "spot" else 1


def _depth(market: str, ask: Ask) -> tuple[bytes, int]:
    symbol, limit = _symbol(ask.query), _integer(ask.query, "limit", DEPTH_DEFAULT[market])
    limits, weights = SPOT_DEPTH if market == "spot" else FUTURES_DEPTH
    if market != "spot" and limit not in limits:
        raise _RequestError(-4021, f"'{limit}' is not valid depth limit.")
    limit = min(limit, limits[-1])
    book = ask.market.book(market, symbol, limit)
    if book is None:
        raise _RequestError(-1121, "Invalid symbol.")
    return book.recorded or depth_body(market, book), weights[bisect_left(limits, limit)]


def _trades(market: str, ask: Ask) -> tuple[bytes, int]:
    return _past_trades(market, ask, -1), TRADES_WEIGHTS[market]


def _historical_trades(market: str, ask: Ask) -> tuple[bytes, int]:
    """Answer from an id on; futures want a key for it, any will do."""
    if market != "spot" and not ask.headers.get(KEY_HEADER):
        raise _RequestError(-2014, "API-key format invalid.")
    from_id = _integer(ask.query, "fromId", 1) if "fromId" in ask.query else -1
    return _past_trades(market, ask, from_id), OLD_TRADES_WEIGHTS[market]


def _past_trades(market: str, ask: Ask, from_id: int) -> bytes:
    symbol, limit = _symbol(ask.query), min(_integer(ask.query, "limit", TRADES_DEFAULT), TRADES_MOST)
    trades = ask.market.trades(market, symbol, from_id, limit)
    listing = ask.market.listing(market, symbol)
    if trades is None or listing is None:
        raise _RequestError(-1121, "Invalid symbol.")
    return past_trades_body(listing, trades)


def _klines(market: str, ask: Ask) -> tuple[bytes, int]:
    symbol, interval_ms = _symbol(ask.query), INTERVALS_MS.get(ask.query.get("interval", ""))
    if interval_ms is None:
        raise _RequestError(-1120, "Invalid interval.")
    limit = min(_integer(ask.query, "limit", KLINES_DEFAULT), KLINES_MOST[market])
    listing, series = ask.market.listing(market, symbol), ask.market.candles(market, symbol)
    if listing is None or series is None:
        raise _RequestError(-1121, "Invalid symbol.")
    return msgspec.json.encode(kline_rows(series, interval_ms, limit, listing.numbers)), 2


def _symbol(query: Mapping[str, str]) -> str:
    symbol = query.get("symbol")
    if not symbol:
        raise _RequestError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    return symbol


def _integer(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise _RequestError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return int(text)
