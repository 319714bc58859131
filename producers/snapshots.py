"""Depth snapshots: who needs one, in which order, and the shell that fetches them into their partitions."""

import asyncio
import heapq
import random
from typing import Final

from producers.connection import Backoff
from producers.http import Fetcher, RefusedError, RetryError
from producers.intake import Gate
from producers.packer import Lane
from producers.wire import Request
from tickerplant.clock import NowUs
from tickerplant.logs import logger

URGENT: Final = 0  # a gap: the book stands still until then
ROUTINE: Final = 1  # a fresh subscription


class Waiting:
    """Symbols that wait for a snapshot, each once: urgent ones first, then in the order they came; pure."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._priorities: dict[str, int] = {}
        self._count = 0

    def add(self, venue_symbol: str, priority: int) -> None:
        """Take in a symbol; one that waits already only moves forward."""
        if self._priorities.get(venue_symbol, ROUTINE + 1) <= priority:
            return
        self._priorities[venue_symbol] = priority
        self._count += 1
        heapq.heappush(self._heap, (priority, self._count, venue_symbol))

    def pop(self) -> str | None:
        """Take out the next symbol; None = nobody waits."""
        while self._heap:
            priority, _, venue_symbol = heapq.heappop(self._heap)
            if self._priorities.get(venue_symbol) == priority:
                del self._priorities[venue_symbol]
                return venue_symbol
        return None

    def __len__(self) -> int:
        return len(self._priorities)


class Snapshots:
    """Fetches the depth snapshots of one market, one at a time, into the lanes of their symbols.

    Args:
        requests: venue symbol → its request.
        lanes: venue symbol → lane of its partition.
    """

    def __init__(self, fetcher: Fetcher, gate: Gate, *, backoff: Backoff, now_us: NowUs) -> None:
        self.requests: dict[str, Request] = {}
        self.lanes: dict[str, Lane] = {}
        self._fetcher = fetcher
        self._gate = gate
        self._backoff = backoff
        self._now_us = now_us
        self._waiting = Waiting()
        self._wake = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._log = logger()

    def serve(self, venue_symbol: str, request: Request, lane: Lane) -> None:
        """Make a symbol known, so that snapshots of it can be asked for."""
        self.requests[venue_symbol] = request
        self.lanes[venue_symbol] = lane

    def forget(self, venue_symbol: str) -> None:
        """Make a symbol unknown again."""
        self.requests.pop(venue_symbol, None)
        self.lanes.pop(venue_symbol, None)

    def ask(self, venue_symbol: str, priority: int = ROUTINE) -> bool:
        """Ask for a snapshot; False = the symbol is not ours."""
        if venue_symbol not in self.requests:
            return False
        self._waiting.add(venue_symbol, priority)
        self._wake.set()
        self._is_idle.clear()
        return True

    async def idle(self) -> None:
        """Wait until no snapshot is asked for that was not fetched."""
        await self._is_idle.wait()

    async def run(self) -> None:
        """Fetch what is asked for, until cancelled."""
        while True:
            venue_symbol = self._waiting.pop()
            if venue_symbol is None:
                self._is_idle.set()
                self._wake.clear()
                await self._wake.wait()
            else:
                await self._fetch(venue_symbol)

    async def _fetch(self, venue_symbol: str) -> None:
        request, lane = self.requests.get(venue_symbol), self.lanes.get(venue_symbol)
        if request is None or lane is None:  # forgotten meanwhile
            return
        try:
            body = await self._fetcher.fetch(request)
        except RetryError as error:
            await self._retry(venue_symbol, error)
        except RefusedError as error:
            self._log.error("snapshot_refused", symbol=venue_symbol, reason=str(error))
        else:
            self._backoff.reset()
            recv_time_us = self._now_us()
            await self._gate.passed()
            lane.add("HTTP", recv_time_us, body, request.name)

    async def _retry(self, venue_symbol: str, error: RetryError) -> None:
        """Put a symbol back: its book cannot stand without."""
        self._log.warning("snapshot_failed", symbol=venue_symbol, reason=str(error))
        self._waiting.add(venue_symbol, ROUTINE)
        await asyncio.sleep(self._backoff.next_s(random.random()))  # noqa: S311  # jitter, no secret
