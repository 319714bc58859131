"""ccxt pro's own handlers over a recorded session, without a connection, in a Python of its own.

Run: python play_ccxt.py      (then a line of JSON for each question: [PLAY, SECONDS])

PLAY is a file that the benchmark wrote: which exchange, the URL of its client, the markets of the session, and its
frames. Messages go where ccxt's socket puts them (`client.handle_message`, which parses them with orjson); answers that
the recorder had of depth snapshots are what its requests get, and are put into the books as ccxt does, at the place
where they came. Nobody waits for the results. SECONDS 0 = tell trades and books, else the CPU seconds of a play, their
median.
"""

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import ccxt.pro  # type: ignore[import-not-found]  # of another environment
from aiohttp import WSMessage, WSMsgType  # type: ignore[import-not-found,unused-ignore]

PLAYS_LEAST: Final = 3
KEPT: Final = 1_000_000
SNAPSHOT_NAMES: Final = ("symbol", "currency_pair", "contract")  # of the parameter that names the market


class Told:
    """A session: its frames as ccxt gets them, made before the clock starts."""

    def __init__(self, play: dict[str, Any]) -> None:
        self.exchange, self.url = play["exchange"], play["url"]
        self.markets, self.hashes = play["markets"], play["subscriptions"]
        self.snapshots: list[str] = play["snapshots"]
        self.frames = [self._frame(*each) for each in play["frames"]]
        self.messages = sum(isinstance(each, WSMessage) for each in self.frames)

    def _frame(self, kind: str, request: str, body: str) -> Any:
        if kind == "HTTP":
            query = parse_qs(urlsplit(request).query)
            return next(query[name][0] for name in SNAPSHOT_NAMES if name in query), body
        return WSMessage(WSMsgType.TEXT, body, None)


def told_of(path: str) -> Told:
    """Read a session."""
    return Told(json.loads(Path(path).read_text(encoding="utf-8")))


async def started(told: Told, kept: int | None) -> tuple[Any, Any]:
    """Make an exchange that knows its markets, and a client for it that is connected to nothing."""
    options = {"tradesLimit": kept} if kept else {}
    exchange = getattr(ccxt.pro, told.exchange)(
        {"enableRateLimit": False, "options": options, "apiKey": "-", "secret": "-", "password": "-"}
    )
    exchange.set_markets([exchange.safe_market_structure(each) for each in told.markets])
    exchange.spawn = lambda *_args: None
    client = exchange.client(told.url)
    for symbol in exchange.markets:
        for each in told.hashes:
            client.subscriptions[each.format(symbol=symbol, id=exchange.markets[symbol]["id"])] = {}
        if told.snapshots:
            exchange.orderbooks[symbol] = exchange.order_book({}, 1000)
    return exchange, client


async def load(exchange: Any, client: Any, told: Told, name: str, body: str) -> None:
    """Take a depth snapshot as ccxt does when it asked for one."""

    async def fetch(*_args: Any, **_more: Any) -> Any:
        return exchange.parse_json(body)

    exchange.fetch = fetch
    market = exchange.markets_by_id[name][0]
    method, kind = told.snapshots
    if method == "fetch_order_book_snapshot":
        asked = {"symbol": market["symbol"], "limit": 1000, "type": kind, "params": {}}
        await exchange.fetch_order_book_snapshot(client, {}, asked)
    else:
        await exchange.load_order_book(client, "orderbook:" + market["symbol"], market["symbol"], 100)
    if client.rejections:  # the snapshot was too old: it would ask again, and the recording has what came then
        client.rejections.clear()


async def play(told: Told, kept: int | None = None) -> tuple[float, Any]:
    """Tell the CPU seconds of a play, and give the exchange that took it."""
    exchange, client = await started(told, kept)
    handle = client.handle_message
    gc.collect()
    began_s = time.process_time()
    for frame in told.frames:
        if type(frame) is tuple:
            await load(exchange, client, told, *frame)
        else:
            handle(frame)
    seconds = time.process_time() - began_s
    await exchange.close()
    return seconds, exchange


def summary(exchange: Any) -> dict[str, Any]:
    """Tell trades and best prices by the venue's name of a market."""
    trades = {}
    for symbol, each in exchange.trades.items():
        trades[exchange.markets[symbol]["id"]] = [len(each), sum(trade["price"] for trade in each)]
    best = {}
    for symbol, book in exchange.orderbooks.items():
        if book["bids"] and book["asks"]:
            best[exchange.markets[symbol]["id"]] = [book["bids"][0][0], book["asks"][0][0]]
    return {"trades": trades, "best": best}


async def main() -> None:
    """Answer questions until there are no more."""
    known: dict[str, Told] = {}
    for line in sys.stdin:
        path, least_s = json.loads(line)
        told = known.get(path) or known.setdefault(path, told_of(path))
        try:
            if not least_s:
                answer: Any = summary((await play(told, KEPT))[1])
            else:
                found: list[float] = []
                while sum(found) < least_s or len(found) < PLAYS_LEAST:
                    found.append((await play(told))[0])
                answer = told.messages / median(found)
        except Exception as error:  # noqa: BLE001  # a side that cannot is told apart
            answer = {"cannot": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
