"""One `[[venues]]` entry at work: instrument lists, plan, feeds, depth snapshots."""

import asyncio
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from producers.claims import Claims
from producers.connection import STATES, Backoff
from producers.feed import Feed
from producers.healing import Healing
from producers.http import Fetcher, HttpError, RefusedError
from producers.intake import Intake
from producers.packer import Lane
from producers.plan import (
    ConnectionPlan,
    NotListedError,
    check_connections,
    find_wire,
    listed_instruments,
    obedient,
    plain_names,
    revised,
    streams_of,
)
from producers.snapshots import ROUTINE, URGENT, Snapshots
from producers.websocket import FeedOptions
from producers.wire import Missing, Request, Stream
from producers.wishes import ALL, Wishes
from schemas.records import Instrument
from schemas.symbology import Symbology
from schemas.venues import SYMBOLOGIES
from tickerplant import metrics
from tickerplant.clock import NowUs, now_us
from tickerplant.errors import UserError
from tickerplant.logs import logger
from tickerplant.settings import Producer, Venue

REFRESH_S: Final = 3600.0
MOST_PAGES: Final = 1000  # of an instrument list
TRADE: Final = "trade"  # kind of the streams whose missing trades are fetched
EXAMPLES: Final = 3  # named in a log line


@dataclass(frozen=True, kw_only=True)
class Run:
    """What all captures of a process share.

    Args:
        start: names this run, e.g. its start time in base 36.
        numbers: numbers connections, each once.
        claims: what each capture wants.
        is_strict: an entry of which nothing is listed ends the process; else the others go on without it.
    """

    settings: Producer
    start: str
    numbers: "count[int]"
    refresh_s: float = REFRESH_S
    now_us: NowUs = now_us
    chance: Callable[[], float] = random.random
    claims: Claims = field(default_factory=Claims)
    is_strict: bool = True


class Capture:
    """Captures what one entry wants, into the intake of its venue.

    Args:
        wishes: what `control.wanted` says of its market; None = nothing.
        is_first: of the entries of its market: it takes what is wished besides.
    """

    def __init__(
        self,
        venue: Venue,
        intake: Intake,
        fetcher: Fetcher,
        run: Run,
        *,
        wishes: Wishes | None = None,
        is_first: bool = True,
    ) -> None:
        self.wire = find_wire(venue)
        self._wishes = wishes or Wishes()
        self._is_first = is_first
        self._is_whole = False  # the last list
        self._lacks: list[str] = []  # what is wanted and not listed, in words
        self._has_news = asyncio.Event()
        self._is_wished = asyncio.Event()  # the news are of wishes; else of a list
        self._wants_list = asyncio.Event()
        self.venue = venue
        self.feeds: list[Feed] = []
        self.is_listed = False
        self._intake = intake
        self._fetcher = fetcher
        self._run = run
        self._listed = self._listed_before = Symbology()
        self._tasks: dict[Feed, asyncio.Task[None]] = {}
        self._books: dict[str, list[tuple[Feed, Stream]]] = {}  # by venue symbol: streams that carry its book
        self._is_doubted = False
        self._snapshots = Snapshots(fetcher, intake.gate, backoff=self._backoff(), now_us=run.now_us)
        self._healing = Healing(
            fetcher,
            intake.gate,
            self._snapshots.idle,
            wire=self.wire,
            market=venue.market,
            base=venue.rest_url,
            most_pages=run.settings.backfill_pages,
            backoff=self._backoff(),
            now_us=run.now_us,
        )
        number = next(run.numbers)
        names = (f"{venue.market}-p{p}-http{number}-{run.start}" for p in range(intake.partition_count))
        self._lanes: list[Lane] = [intake.lane(venue.market, name, p) for p, name in enumerate(names)]
        self._log = logger().bind(venue=self.wire.NAME, market=venue.market)
        run.claims.on_loss(venue, self.obey)

    async def run(self) -> None:
        """Capture until cancelled.

        Raises:
            UserError: no wanted symbol is listed, or another market of the venue captures one.
        """
        await self._list_until_done()
        for news in (self._has_news, self._is_wished):
            news.clear()
        wanted = self._first_wanted()
        self._tell_lacks()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._snapshots.run())
            tasks.create_task(self._healing.run())
            tasks.create_task(self._refresh_forever())
            self._serve(wanted, tasks)
            while True:
                await self._has_news.wait()
                self._has_news.clear()
                if self._is_wished.is_set():
                    self._is_wished.clear()
                    self._follow_wishes(tasks)
                elif ALL in self._names() or self._lacks:
                    self._follow_list(tasks)
                self._tell_lacks()

    def obey(self) -> None:
        """Take note that the wishes have changed."""
        self._is_wished.set()
        self._has_news.set()

    def resnapshot(self, venue_symbol: str, connection: str = "") -> bool:
        """Get a depth snapshot as soon as the venue's limits let; False = the symbol is not captured here.

        Args:
            venue_symbol: "" = of all symbols, behind those that are asked for by name.
            connection: where snapshots come on connections: on that of this name alone; "" = on all.
        """
        names = [venue_symbol] if venue_symbol else list(self._books)
        for name in names:
            for feed, stream in self._books.get(name, ()):
                if self.wire.snapshot_by(stream.channel) == "rest":
                    self._snapshots.ask(name, URGENT if venue_symbol else ROUTINE)
                else:
                    feed.resync(stream, connection)
        return any(name in self._books for name in names)

    def backfill(self, missing: Missing) -> bool:
        """Fetch trades that are missing, as soon as the venue's limits let; False = they are not captured here."""
        return self._healing.ask(missing)

    def states(self) -> Counter[str]:
        """Count connections by state; before there is a plan: one that is disconnected."""
        states = [state for feed in self.feeds for state in feed.states]
        return Counter(states if self.is_listed else ["disconnected"])

    async def _list_until_done(self) -> None:
        """Fetch the instrument list, again and again until it comes."""
        backoff = self._backoff()
        while True:
            try:
                await self._list()
            except (HttpError, ValueError) as error:
                wait_s = backoff.next_s(self._run.chance())
                if not isinstance(error, HttpError):  # which the fetcher has counted
                    metrics.CONNECTOR_ERRORS.labels(self.wire.NAME, "instruments").inc()
                self._log.warning("instruments_unavailable", reason=str(error)[:300], wait_s=round(wait_s, 1))
                await asyncio.sleep(wait_s)
            else:
                return

    async def _refresh_forever(self) -> None:
        """Fetch the list now and then, and when it is wanted; wishes are followed meanwhile."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._run.refresh_s):
                    await self._wants_list.wait()
            self._wants_list.clear()
            await self._list_until_done()
            self._has_news.set()

    async def _list(self) -> None:
        """Fetch the instrument list, and write it to every partition once it is known to be one."""
        bodies = await self._bodies()
        market, symbology = self.venue.market, SYMBOLOGIES[self.wire.NAME]
        instruments: list[Instrument] = []
        for _, body in bodies:
            listing = symbology.read_list(market, body, self._run.now_us())
            instruments += listing.instruments
            if listing.unreadable:
                examples = listing.unreadable[:EXAMPLES]
                self._log.warning("instruments_left_out", count=len(listing.unreadable), examples=examples)
        await self._intake.gate.passed()
        for page, (request, body) in enumerate(bodies, 1):
            name = f"{request}#page={page}/{len(bodies)}" if self._is_whole else request
            for lane in self._lanes:
                lane.add("INSTRUMENTS", self._run.now_us(), body, name)
        self._listed_before, self._listed = self._listed, Symbology(instruments)
        self.is_listed = True
        self._log.info("instruments", listed=len(instruments))

    async def _bodies(self) -> list[tuple[str, bytes]]:
        try:
            return await self._fetch_list(plain_names(self._names()))
        except RefusedError:  # one unknown name spoils the request: the whole list tells which
            return await self._fetch_list(())

    async def _fetch_list(self, names: Sequence[str]) -> list[tuple[str, bytes]]:
        market, base = self.venue.market, self.venue.rest_url
        asked, all_there_are = (self.wire.list_requests(market, each, base) for each in (names, ()))
        self._is_whole = asked == all_there_are
        return await fetch_list(self.venue, self._fetcher, names)

    def _first_wanted(self) -> list[Stream]:
        """List the wanted streams; none where that can wait until something of the entry is listed.

        Raises:
            UserError: it cannot, or what the settings want cannot be had.
        """
        try:
            return self._wanted()
        except NotListedError as error:
            if self._run.is_strict:
                raise
            self._tell_not_planned(error)
            return []

    def _wanted(self) -> list[Stream]:
        """List the wanted streams, as far as the venue lets one address have them: of wishes the latest are left out.

        Raises:
            UserError: no wanted symbol is listed, or one is another market's too; or there are more streams than the
                venue lets us have.
        """
        added = self._added()
        try:
            return self._planned(len(added))
        except UserError as error:
            if not added or isinstance(error, NotListedError):
                raise
            self._planned(0)
            fits = bisect_left(range(1, len(added)), 1, key=self._is_too_much)
            self._tell_not_planned(error, added[fits:])
            return self._planned(fits)

    def _wished_alone(self, pairs: Iterable[tuple[Instrument, str]]) -> set[str]:
        """Name the symbols of these that the settings do not want."""
        if not self._added():
            return set()
        by_settings = {each.symbol for each in listed_instruments(self.venue, self._listed)[0]}
        return {instrument.symbol for instrument, _ in pairs} - by_settings

    def _is_too_much(self, most_added: int) -> bool:
        try:
            self._planned(most_added)
        except UserError:
            return True
        return False

    def _planned(self, most_added: int) -> list[Stream]:
        """Plan with so many of what is wished besides the settings."""
        pairs = list(obedient(self.venue, self._listed, self._wishes, is_first=self._is_first, most_added=most_added))
        wanted = streams_of(self.venue, pairs, self._intake.partition_count)
        plans = revised(self.venue, [feed.plan for feed in self.feeds], wanted)
        count = sum(bool(plan.streams) for plan in plans)
        check_connections(self.venue, count + self._run.claims.connections_beside(self.venue))
        self._run.claims.hold(self.venue, (instrument for instrument, _ in pairs), self._wished_alone(pairs))
        self._run.claims.connections[self.venue] = count
        return wanted

    def _follow_list(self, tasks: asyncio.TaskGroup) -> None:
        """Take in what is newly listed, leave what is not listed any more."""
        wanted = self._possible()
        if wanted is None:
            return
        carried = sum(len(feed.plan.streams) for feed in self.feeds)
        self._is_doubted = 2 * len(wanted) < carried and not self._is_doubted
        if self._is_doubted:  # rather a bad answer than the end of most of a market: the next list decides
            self._log.warning("list_doubted", carried=carried, wanted=len(wanted))
            self._listed = self._listed_before
        else:
            self._serve(wanted, tasks)

    def _follow_wishes(self, tasks: asyncio.TaskGroup) -> None:
        """Do as is wished now; what is wished and not listed is looked up, and followed once it is."""
        wished = [name for name, _ in self._added()]
        if self._unlisted(wished) or (ALL in wished and not self._is_whole):
            self._wants_list.set()
        wanted = self._possible()
        if wanted is not None:
            self._log.info("wishes", streams=len(wanted))
            self._serve(wanted, tasks)

    def _tell_lacks(self) -> None:
        """Note what is wanted and not listed; what was not known of is told."""
        _, lacks = listed_instruments(self.venue, self._listed)
        wished = [name for name, _ in self._added()]
        lacks += [f"{name} is wished and not listed" for name in dict.fromkeys(self._unlisted(wished))]
        if news := [each for each in lacks if each not in self._lacks]:
            metrics.CONNECTOR_ERRORS.labels(self.wire.NAME, "not_listed").inc(len(news))
            self._log.error("not_listed", count=len(news), examples=news[:EXAMPLES])
        self._lacks = lacks

    def _unlisted(self, names: Iterable[str]) -> list[str]:
        return [each for each in names if each != ALL and self._listed.find(self.venue.market, each) is None]

    def _names(self) -> list[str]:
        """Name the symbols that the settings and the wishes want."""
        return [*self.venue.symbols, *(name for name, _ in self._added())]

    def _added(self) -> list[tuple[str, str]]:
        """List what is wished of this entry besides the settings."""
        return self._wishes.added() if self._is_first else []

    def _possible(self) -> list[Stream] | None:
        """List the wanted streams; None = it cannot be, which is told."""
        try:
            return self._wanted()
        except UserError as error:
            self._tell_not_planned(error)
            return None

    def _tell_not_planned(self, error: UserError, left_out: Sequence[tuple[str, str]] = ()) -> None:
        metrics.CONNECTOR_ERRORS.labels(self.wire.NAME, "plan").inc()
        examples = [" ".join(each) for each in left_out[:EXAMPLES]]
        self._log.error("not_planned", reason=str(error), wishes_left_out=len(left_out), examples=examples)

    def _serve(self, wanted: Sequence[Stream], tasks: asyncio.TaskGroup) -> None:
        """Carry the wanted streams and no others; those that stay are not touched."""
        self._serve_snapshots(wanted)
        self._healing.serve({each.venue_symbol: self._lanes[each.partition] for each in wanted if each.kind == TRADE})
        old = list(self.feeds)
        plans = revised(self.venue, [feed.plan for feed in old], wanted)
        for feed, plan in zip(old, plans[: len(old)], strict=True):
            if plan.streams:
                feed.change(plan)
            else:
                self.feeds.remove(feed)
                self._tasks.pop(feed).cancel()
        for plan in plans[len(old) :]:
            self._start_feed(plan, tasks)
        self._books.clear()
        for feed in self.feeds:
            for each in feed.plan.streams:
                if self.wire.snapshot_by(each.channel) != "none":
                    self._books.setdefault(each.venue_symbol, []).append((feed, each))

    def _start_feed(self, plan: ConnectionPlan, tasks: asyncio.TaskGroup) -> None:
        options = FeedOptions(
            wire=self.wire,
            settings=self._run.settings,
            start=self._run.start,
            on_subscribed=self._on_subscribed,
            address=self._fetcher.address,
            fetch=self._fetcher.fetch,
            rest_url=self.venue.rest_url,
            now_us=self._run.now_us,
            chance=self._run.chance,
        )
        name = f"{plan.market}-p{plan.partition}-{next(self._run.numbers)}"
        feed = Feed(name, plan, self._intake, options)
        self.feeds.append(feed)
        self._tasks[feed] = tasks.create_task(feed.run())

    def _serve_snapshots(self, wanted: Iterable[Stream]) -> None:
        by_rest = {each.venue_symbol: each for each in wanted if self.wire.snapshot_by(each.channel) == "rest"}
        for name in list(self._snapshots.requests):
            if name not in by_rest:
                self._snapshots.forget(name)
        for name, each in by_rest.items():
            request = self.wire.depth_request(self.venue.market, name, self.venue.rest_url, len(by_rest))
            if self._snapshots.requests.get(name) != request:
                self._snapshots.serve(name, request, self._lanes[each.partition])

    def _on_subscribed(self, subscribed: Iterable[Stream]) -> None:
        for each in subscribed:
            if self.wire.snapshot_by(each.channel) == "rest":
                self._snapshots.ask(each.venue_symbol)

    def _backoff(self) -> Backoff:
        return Backoff(self._run.settings.backoff_first_s, self._run.settings.backoff_most_s)


async def fetch_list(venue: Venue, fetcher: Fetcher, names: Sequence[str]) -> list[tuple[str, bytes]]:
    """Fetch all pages of the instrument list of an entry's market; returns what was asked and what came.

    Args:
        names: venue symbols that are enough, where the venue lets us choose; () = all.

    Raises:
        HttpError: a page cannot be had.
        ValueError: a page does not tell what follows it, or there are too many.
    """
    wire = find_wire(venue)
    waiting: list[Request | None] = [*wire.list_requests(venue.market, names, venue.rest_url)]
    found: list[tuple[str, bytes]] = []
    while waiting:
        request = waiting.pop(0)
        if request is not None:
            body = await fetcher.fetch(request)
            found.append((request.name, body))
            waiting.insert(0, wire.next_page(request, body))
        if len(found) > MOST_PAGES:
            raise ValueError(f"an instrument list of more than {MOST_PAGES} pages")
    return found


def show_states(captures: Iterable[Capture]) -> None:
    """Set the gauge of connections by state."""
    by_venue: dict[str, Counter[str]] = {}
    for each in captures:
        by_venue.setdefault(each.wire.NAME, Counter()).update(each.states())
    for venue, states in by_venue.items():
        for state in STATES:
            metrics.CONNECTIONS.labels(venue, state).set(states[state])
