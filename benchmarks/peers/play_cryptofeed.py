"""cryptofeed's own handlers over a recorded session, in a Python of its own.

Run: python play_cryptofeed.py FOLDER NAME FILE

All of the session is in memory before the clock starts; REST answers that its recorder kept serve the feed, callbacks
of all its channels are there and do nothing. Checksums are verified, as ours are. The session is played several times,
each to a new feed. Prints CPU seconds (the median of the plays) and messages.
"""

import ast
import asyncio
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from cryptofeed.connection import HTTPAsyncConn, HTTPSync  # type: ignore[import-not-found]  # of another environment
from cryptofeed.exchanges import EXCHANGE_MAP  # type: ignore[import-not-found]

PLAYS_S: Final = 1.0
PLAYS_LEAST: Final = 5


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


async def run(folder: Path, name: str, file: str) -> dict[str, float]:
    """Time the handler over all messages, again and again."""
    told, found = messages(folder / file), list[float]()
    while sum(found) < PLAYS_S or len(found) < PLAYS_LEAST:
        found.append(await play(Recorded(folder, name), name, told))
    return {"seconds": median(found), "messages": len(told)}


async def play(recorded: Recorded, name: str, told: list[tuple[str, Any]]) -> float:
    """Tell the CPU seconds that a new feed takes for all messages."""

    async def ignore(*_args: Any, **_more: Any) -> None:
        pass

    async def read(_self: Any, url: str, **more: Any) -> str:
        return await recorded.read(url, **more)

    HTTPAsyncConn.read = read
    HTTPSync.read = lambda *_args, **_more: recorded.lists.pop(0)
    wanted = recorded.subscription
    callbacks = dict.fromkeys(wanted, ignore)
    feed = EXCHANGE_MAP[name](
        candle_closed_only=False, checksum_validation=True, subscription=wanted, callbacks=callbacks
    )
    recorded.subscription = {
        feed.std_channel_to_exchange(channel): [feed.std_symbol_to_exchange_symbol(each) for each in symbols]
        for channel, symbols in wanted.items()
    }
    (_, subscribe, handler, _auth), *_others = feed.connect()
    await subscribe(recorded)
    began_s = time.process_time()
    for stamp, body in told:
        await handler(body, recorded, float(stamp))
    seconds = time.process_time() - began_s
    feed.stop()
    await feed.shutdown()
    return seconds


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))))
