"""One `[[venues]]` entry at work: instrument lists, plan, feeds, depth snapshots."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from producers.connection import STATES, Backoff
from producers.feed import Feed
from producers.http import Fetcher, HttpError, RefusedError
from producers.intake import Intake
from producers.packer import Lane
from producers.plan import ALL, Stream, connections, find_wire, plain_names, streams, wanted_instruments
from producers.snapshots import URGENT, Snapshots
from producers.websocket import FeedOptions
from schemas.records import Instrument
from schemas.symbology import Symbology
from schemas.venues import SYMBOLOGIES
from tickerplant import metrics
from tickerplant.clock import NowUs, now_us
from tickerplant.logs import logger
from tickerplant.settings import Producer, Venue

REFRESH_S: Final = 3600.0
EXAMPLES: Final = 3  # named in a log line


@dataclass(frozen=True, kw_only=True)
class Run:
    """What all captures of a process share.

    Args:
        start: names this run, e.g. its start time in base 36.
        numbers: numbers connections, each once.
    """

    settings: Producer
    start: str
    numbers: "count[int]"
    refresh_s: float = REFRESH_S
    now_us: NowUs = now_us
    chance: Callable[[], float] = random.random


class Capture:
    """Captures what one entry wants, into the intake of its venue."""

    def __init__(self, venue: Venue, intake: Intake, fetcher: Fetcher, run: Run) -> None:
        self.wire = find_wire(venue)
        self.venue = venue
        self.feeds: list[Feed] = []
        self.is_listed = False
        self._intake = intake
        self._fetcher = fetcher
        self._run = run
        self._listed = Symbology()
        self._captured: set[Stream] = set()
        self._snapshots = Snapshots(fetcher, intake.gate, backoff=self._backoff(), now_us=run.now_us)
        number = next(run.numbers)
        names = (f"{venue.market}-p{p}-http{number}-{run.start}" for p in range(intake.partition_count))
        self._lanes: list[Lane] = [intake.lane(venue.market, name, p) for p, name in enumerate(names)]
        self._log = logger().bind(venue=self.wire.NAME, market=venue.market)

    async def run(self) -> None:
        """Capture until cancelled.

        Raises:
            UserError: a wanted symbol is not listed.
        """
        await self._until_done(self._list)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._snapshots.run())
            self._start_feeds(tasks)
            while True:
                await asyncio.sleep(self._run.refresh_s)
                await self._until_done(self._list)
                if ALL in self.venue.symbols:
                    self._start_feeds(tasks)

    def resnapshot(self, venue_symbol: str) -> bool:
        """Fetch a depth snapshot as soon as the rate limit lets; False = the symbol is not captured here."""
        return self._snapshots.ask(venue_symbol, URGENT)

    def states(self) -> Counter[str]:
        """Count connections by state; before there is a plan: one that is disconnected."""
        states = [state for feed in self.feeds for state in feed.states]
        return Counter(states if self.is_listed else ["disconnected"])

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step that needs REST until it succeeds."""
        backoff = self._backoff()
        while True:
            try:
                await step()
            except (HttpError, ValueError) as error:
                wait_s = backoff.next_s(self._run.chance())
                if not isinstance(error, HttpError):  # which the fetcher has counted
                    metrics.CONNECTOR_ERRORS.labels(self.wire.NAME, "instruments").inc()
                self._log.warning("instruments_unavailable", reason=str(error)[:300], wait_s=round(wait_s, 1))
                await asyncio.sleep(wait_s)
            else:
                return

    async def _list(self) -> None:
        """Fetch the instrument list, and write it to every partition once it is known to be one."""
        bodies = await self._bodies()
        market, symbology = self.venue.market, SYMBOLOGIES[self.wire.NAME]
        instruments: list[Instrument] = []
        for _, body in bodies:
            instruments += symbology.instruments(market, body, self._run.now_us())
            left_out = symbology.unreadable(market, body)
            if left_out:
                self._log.warning("instruments_left_out", count=len(left_out), examples=left_out[:EXAMPLES])
        await self._intake.gate.passed()
        for url, body in bodies:
            for lane in self._lanes:
                lane.add("INSTRUMENTS", self._run.now_us(), body, url)
        self._listed.update(instruments)
        self.is_listed = True
        self._log.info("instruments", listed=len(instruments))

    async def _bodies(self) -> list[tuple[str, bytes]]:
        try:
            return await self._fetch_list(plain_names(self.venue))
        except RefusedError:  # one unknown name spoils the request: the whole list tells which
            return await self._fetch_list(())

    async def _fetch_list(self, names: Sequence[str]) -> list[tuple[str, bytes]]:
        requests = self.wire.list_requests(self.venue.market, names, self.venue.rest_url)
        return [(request.url, await self._fetcher.fetch(request)) for request in requests]

    def _start_feeds(self, tasks: asyncio.TaskGroup) -> None:
        """Connect for those wanted streams that are not captured yet."""
        instruments = wanted_instruments(self.venue, self._listed)
        wanted = streams(self.venue, instruments, self._intake.partition_count)
        new = [each for each in wanted if each not in self._captured]
        self._captured.update(new)
        self._serve_snapshots(new)
        options = FeedOptions(
            wire=self.wire,
            settings=self._run.settings,
            start=self._run.start,
            on_subscribed=self._on_subscribed,
            address=self._fetcher.address,
            now_us=self._run.now_us,
            chance=self._run.chance,
        )
        for plan in connections(self.venue, new):
            name = f"{plan.market}-p{plan.partition}-{next(self._run.numbers)}"
            feed = Feed(name, plan, self._intake, options)
            self.feeds.append(feed)
            tasks.create_task(feed.run())

    def _serve_snapshots(self, wanted: Iterable[Stream]) -> None:
        for each in wanted:
            if self.wire.is_depth(each.channel):
                request = self.wire.depth_request(self.venue.market, each.venue_symbol, self.venue.rest_url)
                self._snapshots.serve(each.venue_symbol, request, self._lanes[each.partition])

    def _on_subscribed(self, subscribed: Iterable[Stream]) -> None:
        for each in subscribed:
            if self.wire.is_depth(each.channel):
                self._snapshots.ask(each.venue_symbol)

    def _backoff(self) -> Backoff:
        return Backoff(self._run.settings.backoff_first_s, self._run.settings.backoff_most_s)


def show_states(captures: Iterable[Capture]) -> None:
    """Set the gauge of connections by state."""
    by_venue: dict[str, Counter[str]] = {}
    for each in captures:
        by_venue.setdefault(each.wire.NAME, Counter()).update(each.states())
    for venue, states in by_venue.items():
        for state in STATES:
            metrics.CONNECTIONS.labels(venue, state).set(states[state])
