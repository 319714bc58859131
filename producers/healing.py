"""Trades that are missing: what is asked for, in which order, and the shell that fetches them into their partitions."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from producers.connection import Backoff
from producers.http import Fetcher, RefusedError, RetryError
from producers.intake import Gate
from producers.packer import Lane
from producers.wire import Missing, Request, Wire
from tickerplant.clock import NowUs
from tickerplant.logs import logger

MOST_WAITING: Final = 1000
TRIES: Final = 3
YIELD_MOST_S: Final = 60.0


class Waiting:
    """What waits to be fetched, each once, in the order it came; more than `MOST_WAITING` do not wait; pure.

    A processor asks again for what it does not get, so nothing is lost by leaving some out.
    """

    def __init__(self) -> None:
        self._missing: OrderedDict[Missing, None] = OrderedDict()

    def add(self, missing: Missing) -> bool:
        """Take in; False = too much waits already."""
        if missing not in self._missing and len(self._missing) >= MOST_WAITING:
            return False
        self._missing[missing] = None
        return True

    def pop(self) -> Missing | None:
        """Take out what came first; None = nothing waits."""
        return self._missing.popitem(last=False)[0] if self._missing else None


class Healing:
    """Fetches the missing trades of one market, one page at a time, into the lanes of their symbols.

    It shares the rate limit of the market's REST with all others who ask there, lets those go first who need it more,
    and asks for a bounded number of pages.

    Args:
        others: waits until those who go first have what they need; not waited for longer than `YIELD_MOST_S`.
        base: of the REST URLs; None = the venue's own host.
        most_pages: of what is asked for at once; 0 = nothing is fetched.
    """

    def __init__(  # as `Snapshots`, and what differs from venue to venue
        self,
        fetcher: Fetcher,
        gate: Gate,
        others: Callable[[], Awaitable[None]],
        *,
        wire: Wire,
        market: str,
        base: str | None,
        most_pages: int,
        backoff: Backoff,
        now_us: NowUs,
    ) -> None:
        self._fetcher = fetcher
        self._gate = gate
        self._others = others
        self._wire = wire
        self._market = market
        self._base = base
        self._most_pages = most_pages
        self._backoff = backoff
        self._now_us = now_us
        self._lanes: dict[str, Lane] = {}
        self._waiting = Waiting()
        self._wake = asyncio.Event()
        self._log = logger().bind(venue=wire.NAME, market=market)

    def serve(self, lanes: dict[str, Lane]) -> None:
        """Make symbols known whose trades are captured, and no others.

        Args:
            lanes: venue symbol → lane of the partition that its trades go to.
        """
        self._lanes = lanes

    def ask(self, missing: Missing) -> bool:
        """Ask for trades; False = the symbol is not ours, or too much waits."""
        if missing.venue_symbol not in self._lanes or not self._most_pages:
            return False
        self._wake.set()
        return self._waiting.add(missing)

    async def run(self) -> None:
        """Fetch what is asked for, until cancelled."""
        while True:
            missing = self._waiting.pop()
            if missing is None:
                self._wake.clear()
                await self._wake.wait()
            else:
                await self._heal(missing)

    async def _heal(self, missing: Missing) -> None:
        request = self._wire.trades_request(self._market, missing, self._base, is_keyed=self._fetcher.is_keyed)
        pages = 0
        try:
            while request is not None and pages < self._most_pages:
                await self._yield()
                body = await self._fetch(request)
                await self._gate.passed()
                lane = self._lanes.get(missing.venue_symbol)
                if lane is None:  # forgotten meanwhile
                    return
                lane.add("HTTP", self._now_us(), body, request.name)
                pages += 1
                request = self._wire.next_trades(request, body, missing)
        except (RefusedError, RetryError, ValueError, RecursionError) as error:
            self._log.warning("backfill_failed", symbol=missing.venue_symbol, pages=pages, reason=str(error)[:300])
        else:
            ids = (missing.first_id, missing.last_id)
            self._log.info("backfill", symbol=missing.venue_symbol, ids=ids, pages=pages)

    async def _yield(self) -> None:
        """Let others go first: a small request would take the tokens that a large one waits for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(YIELD_MOST_S):
                await self._others()

    async def _fetch(self, request: Request) -> bytes:
        """Fetch a page, again where the venue may answer later.

        Raises:
            RefusedError: it will not.
            RetryError: it did not, several times.
        """
        for _ in range(TRIES - 1):
            try:
                body = await self._fetcher.fetch(request)
            except RetryError as error:
                self._log.info("backfill_again", reason=str(error))
                await asyncio.sleep(self._backoff.next_s(random.random()))  # noqa: S311  # jitter, no secret
            else:
                self._backoff.reset()
                return body
        return await self._fetcher.fetch(request)
