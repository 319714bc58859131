"""cryptofeed's own handlers over a recorded session, in a Python of its own.

Run: python play_cryptofeed.py FOLDER      (then a line of JSON for each question: [NAME, FILE, SECONDS])

All of the session is in memory before the clock starts; REST answers that its recorder kept serve the feed, callbacks
of all its channels are there and do nothing. Checksums are verified, as ours are. The session is played several times,
each to a new feed. SECONDS 0 = tell trades and books, else the CPU seconds of a play, their median.
"""

import ast
import asyncio
import gc
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from cryptofeed.connection import HTTPAsyncConn, HTTPSync  # type: ignore[import-not-found]  # of another environment
from cryptofeed.exchanges import EXCHANGE_MAP  # type: ignore[import-not-found]
from cryptofeed.types import Trade  # type: ignore[import-not-found]

PLAYS_LEAST: Final = 3


class Recorded:
    """A connection that gives what was recorded."""

    conn_type = "wss"
    uuid = "1"

    def __init__(self, folder: Path, name: str) -> None:
        self.bodies: dict[str, list[str]] = defaultdict(list)
        self.lists: list[Any] = []
        self.subscription: Any = None
        for line in (folder / f"{name}.0").read_text(encoding="utf-8").splitlines():
            head, _, body = line.partition(": ")
            if head == "configuration":
                self.subscription = json.loads(body)
            elif body:
                self.lists.append(json.loads(body))
        for path in folder.glob(f"{name}.http.*"):
            for line in path.read_text(encoding="utf-8").splitlines():
                url, _, rest = line.partition(" -> ")
                if rest:
                    self.bodies[url].append(rest.partition(": ")[2])

    async def write(self, *_args: Any, **_more: Any) -> None:
        """Send nothing."""

    async def read(self, url: str, **_more: Any) -> str:
        """Give the next body that was recorded of a URL."""
        found = self.bodies[url]
        return found.pop(0) if len(found) > 1 else found[0]


def messages(path: Path) -> list[tuple[str, Any]]:
    """Read times and messages of a session; binary ones as bytes."""
    found: list[tuple[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        stamp, _, body = line.partition(": ")
        if stamp[:1].isdigit():
            found.append((stamp, ast.literal_eval(body) if body.startswith(("b'", 'b"')) else body))
    return found


async def play(recorded: Recorded, name: str, told: list[tuple[str, Any]], take: Any) -> tuple[float, Any]:
    """Tell the CPU seconds that a new feed takes for all messages, and give that feed.

    Args:
        take: the callback of all channels.
    """

    async def read(_self: Any, url: str, **more: Any) -> str:
        return await recorded.read(url, **more)

    HTTPAsyncConn.read = read
    HTTPSync.read = lambda *_args, **_more: recorded.lists.pop(0)
    wanted = recorded.subscription
    callbacks = dict.fromkeys(wanted, take)
    feed = EXCHANGE_MAP[name](
        candle_closed_only=False, checksum_validation=True, subscription=wanted, callbacks=callbacks
    )
    recorded.subscription = {
        feed.std_channel_to_exchange(channel): [feed.std_symbol_to_exchange_symbol(each) for each in symbols]
        for channel, symbols in wanted.items()
    }
    (_, subscribe, handler, _auth), *_others = feed.connect()
    await subscribe(recorded)
    gc.collect()
    began_s = time.process_time()
    for stamp, body in told:
        await handler(body, recorded, float(stamp))
    seconds = time.process_time() - began_s
    feed.stop()
    await feed.shutdown()
    return seconds, feed


async def ignore(*_args: Any, **_more: Any) -> None:
    """Take what comes."""


async def summary(recorded: Recorded, name: str, told: list[tuple[str, Any]]) -> dict[str, Any]:
    """Tell trades and best prices by the venue's name of a market."""
    trades: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])

    async def take(item: Any, *_args: Any) -> None:
        if isinstance(item, Trade):
            found = trades[item.symbol]
            found[0] += 1
            found[1] += float(item.price)

    _, feed = await play(recorded, name, told, take)
    books = {symbol: book.book for symbol, book in feed._l2_book.items()}  # noqa: SLF001  # it shows them nowhere else
    best = {
        symbol: [float(book.bids.index(0)[0]), float(book.asks.index(0)[0])]
        for symbol, book in books.items()
        if len(book.bids) and len(book.asks)
    }
    names = feed.std_symbol_to_exchange_symbol
    return {
        "trades": {names(symbol): found for symbol, found in trades.items()},
        "best": {names(symbol): found for symbol, found in best.items()},
    }


async def main(folder: Path) -> None:
    """Answer questions until there are no more."""
    known: dict[str, list[tuple[str, Any]]] = {}
    for line in sys.stdin:
        name, file, least_s = json.loads(line)
        told = known.get(file) or known.setdefault(file, messages(folder / file))
        try:
            if not least_s:
                answer: Any = await summary(Recorded(folder, name), name, told)
            else:
                found: list[float] = []
                while sum(found) < least_s or len(found) < PLAYS_LEAST:
                    found.append((await play(Recorded(folder, name), name, told, ignore))[0])
                answer = len(told) / median(found)
        except Exception as error:  # noqa: BLE001  # a side that cannot is told apart
            answer = {"cannot": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
