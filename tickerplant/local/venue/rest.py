"""The venue's REST endpoints: exchangeInfo, depth, klines, ping, time; errors in the venue's words.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Order-Book
"""

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from aiohttp import web

from tickerplant.clock import NowUs
from tickerplant.local.venue.counts import Counts
from tickerplant.local.venue.feed import Feed
from tickerplant.local.venue.streams import INTERVALS_MS

PREFIXES: Final = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}
WEIGHT_HEADER: Final = "x-mbx-used-weight-1m"
MINUTE_US: Final = 60_000_000
SPOT_DEPTH: Final = ((100, 500, 1000, 5000), (5, 25, 50, 250))
FUTURES_DEPTH: Final = ((5, 10, 20, 50, 100, 500, 1000), (2, 2, 2, 2, 5, 10, 20))
DEPTH_DEFAULT: Final = {"spot": 100, "usdm": 500, "coinm": 500}
KLINES_MOST: Final = {"spot": 1000, "usdm": 1500, "coinm": 1500}
KLINES_DEFAULT: Final = 500
Handler = Callable[[web.Request], Awaitable[web.Response]]


class VenueError(Exception):
    """A request that the venue refuses with status 400."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(code, text)


@dataclass
class Weights:
    """The request weight used in the running minute."""

    now_us: NowUs
    minute: int = 0
    used: int = 0

    def add(self, weight: int) -> int:
        """Count a request; returns the weight used so far."""
        minute = self.now_us() // MINUTE_US
        if minute != self.minute:
            self.minute, self.used = minute, 0
        self.used += weight
        return self.used


@dataclass
class Rest:
    """Answers the requests of one market."""

    market: str
    feed: Feed
    counts: Counts
    now_us: NowUs
    weights: Weights = field(init=False)

    def __post_init__(self) -> None:
        self.weights = Weights(self.now_us)

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        prefix = f"/binance/{self.market}{PREFIXES[self.market]}"
        handlers: dict[str, Callable[[Mapping[str, str]], tuple[bytes, int]]] = {
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "klines": self._klines,
            "ping": lambda _query: (b"{}", 1),
            "time": lambda _query: (msgspec.json.encode({"serverTime": self._now_ms()}), 1),
        }
        return [web.get(f"{prefix}/{name}", self._answering(handler)) for name, handler in handlers.items()]

    def _answering(self, handler: Callable[[Mapping[str, str]], tuple[bytes, int]]) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            try:
                body, weight = handler(request.query)
                status = 200
            except VenueError as error:
                body, weight, status = msgspec.json.encode({"code": error.code, "msg": error.text}), 1, 400
                self.counts.refused += 1
            headers = {WEIGHT_HEADER: str(self.weights.add(weight))}
            return web.Response(body=body, status=status, headers=headers, content_type="application/json")

        return answer

    def _exchange_info(self, _query: Mapping[str, str]) -> tuple[bytes, int]:
        self.counts.instruments += 1
        return self.feed.exchange_info(self.market, self._now_ms()), 20 if self.market == "spot" else 1

    def _depth(self, query: Mapping[str, str]) -> tuple[bytes, int]:
        symbol, limit = _symbol(query), _integer(query, "limit", DEPTH_DEFAULT[self.market])
        limits, weights = SPOT_DEPTH if self.market == "spot" else FUTURES_DEPTH
        if self.market != "spot" and limit not in limits:
            raise VenueError(-4021, f"'{limit}' is not valid depth limit.")
        limit = min(limit, limits[-1])
        body = self.feed.depth(self.market, symbol, limit)
        if body is None:
            raise VenueError(-1121, "Invalid symbol.")
        self.counts.snapshots += 1
        return body, weights[bisect_left(limits, limit)]

    def _klines(self, query: Mapping[str, str]) -> tuple[bytes, int]:
        symbol, interval_ms = _symbol(query), INTERVALS_MS.get(query.get("interval", ""))
        if interval_ms is None:
            raise VenueError(-1120, "Invalid interval.")
        limit = min(_integer(query, "limit", KLINES_DEFAULT), KLINES_MOST[self.market])
        rows = self.feed.klines(self.market, symbol, interval_ms, limit)
        if rows is None:
            raise VenueError(-1121, "Invalid symbol.")
        return msgspec.json.encode(rows), 2

    def _now_ms(self) -> int:
        return self.now_us() // 1000


def _symbol(query: Mapping[str, str]) -> str:
    symbol = query.get("symbol")
    if not symbol:
        raise VenueError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    return symbol


def _integer(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise VenueError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return int(text)
