"""One planned connection, kept open: connect, renew with an overlap before it ends, connect again when it is lost."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog.stdlib
from websockets.exceptions import InvalidStatus

from producers.connection import STABLE_S, Backoff, Lifecycle, State
from producers.failures import FAILURES, ConnectionFailureError, error_type, pace, reason
from producers.http import HttpError
from producers.intake import Intake
from producers.limiter import retry_after_s
from producers.plan import ConnectionPlan
from producers.staleness import Staleness
from producers.transport import open_transport
from producers.turns import Turns
from producers.websocket import FeedOptions, Link
from producers.wire import Request, Stream
from tickerplant import metrics
from tickerplant.logs import logger

BUSY_MOST_S: Final = 600.0  # what a server that is merely busy may ask for; a rate limit may ask for more


class Feed:
    """Keeps one planned connection open and takes its frames into the intake.

    Args:
        name: unique within the process, e.g. `spot-p2-0`.
    """

    def __init__(self, name: str, plan: ConnectionPlan, intake: Intake, options: FeedOptions) -> None:
        self.name = name
        self.plan = plan
        settings = options.settings
        self.life = Lifecycle(Backoff(settings.backoff_first_s, settings.backoff_most_s))
        self._renewals = Backoff(settings.backoff_first_s, settings.backoff_most_s)
        self._intake = intake
        self._options = options
        self._settings = settings
        self._staleness = Staleness((), settings.stale_after_s)
        self._turns = Turns()
        self._link: Link | None = None
        self._successor: Link | None = None
        self._successor_state: State | None = None
        self.last_failure = ""
        self._spoken: set[str] = set()
        self._log: structlog.stdlib.BoundLogger = logger().bind(venue=plan.venue, connection=name)

    @property
    def states(self) -> list[State]:
        """Tell the state of each connection: one, or two during a renewal."""
        return [self.life.state, *([self._successor_state] if self._successor_state else [])]

    def silent(self) -> set[str]:
        """Name the kinds of its streams that should speak and never did."""
        wanted = {each.kind for each in self.plan.streams} - self._options.wire.QUIET_CHANNELS
        return wanted - self._spoken.union(*(link.spoken for link in self._links()))

    @property
    def has_spoken(self) -> bool:
        """Whether any of its streams ever did."""
        return bool(self._spoken) or any(link.spoken for link in self._links())

    def refused(self) -> dict[str, str]:
        """Tell which streams the venue does not give now, and why."""
        return {name: why for link in self._links() for name, why in link.refused.items()}

    def change(self, plan: ConnectionPlan) -> None:
        """Carry the streams of another plan for the same connection; those in both are not touched."""
        old, new = ({each.name: each for each in found.streams} for found in (self.plan, plan))
        self.plan = plan
        added = [each for name, each in new.items() if name not in old]
        removed = [each for name, each in old.items() if name not in new]
        for each in removed:
            self._turns.forget(each.name)
        if added or removed:
            self._log.info("changed", added=len(added), removed=len(removed))
            for link in self._links():
                link.change(added, removed)

    def resync(self, stream: Stream, connection: str = "") -> None:
        """Have the book of a stream sent anew; at once the first time, then ever less often.

        Args:
            connection: on the connection of this name alone; "" = on each that carries the stream.
        """
        names = [link.name for link in self._links() if connection in {"", link.name}]
        wait_s = self._turns.take(stream.name, self._options.now_us()) if names else None
        if wait_s is not None:
            asyncio.get_running_loop().call_later(wait_s, self._resync, stream, names)

    def _resync(self, stream: Stream, names: Sequence[str]) -> None:
        for link in self._links():
            if link.name in names:
                link.resync(stream)

    def _links(self) -> list[Link]:
        return [link for link in (self._link, self._successor) if link is not None]

    async def run(self) -> None:
        """Stay connected until cancelled; then what was read is taken in, and DISCONNECT written."""
        try:
            while True:
                if self._link is None:
                    await self._connect()
                else:
                    await self._keep(self._link)
        finally:
            for link in self._links():
                await link.end("stopped")
            self._successor_state = None
            self.life.closed()

    async def _connect(self) -> None:
        """Try to connect, once; where it fails, wait."""
        await self._admission()
        self.life.connecting()
        try:
            self._link = await self._open(is_alone=True)
        except FAILURES as error:
            await self._after(error)
            return
        self.life.connected(self._link.opened_time_us)
        if self.life.opened > 1:
            metrics.RECONNECTS.labels(self.plan.venue).inc()

    async def _keep(self, link: Link) -> None:
        """Keep an open connection until it is lost, or a successor has taken over."""
        renewal = asyncio.create_task(self._renew(link))
        try:
            await asyncio.wait((link.task, renewal), return_when=asyncio.FIRST_COMPLETED)
            if link.is_ending:  # by the renewal, which is about to finish
                await asyncio.wait((renewal,))
        finally:
            renewal.cancel()
            await asyncio.wait((renewal,))
        if not renewal.cancelled():
            renewal.result()
            return
        self._successor_state = None
        self._spoken |= link.spoken
        self._link, self._successor = self._successor, None
        try:
            link.task.result()
        except FAILURES as error:
            await self._lost(error)

    async def _lost(self, error: BaseException) -> None:
        """Go on with the successor where there is one already, else wait to connect again."""
        if self._link is None:
            await self._after(error)
            return
        self._count(error)
        self._log.warning("lost", reason=reason(error), wait_s=0.0)
        self._succeed(self._link, is_orderly=False)

    async def _after(self, error: BaseException) -> None:
        wait_s = self.life.lost(self._options.now_us(), self._options.chance(), pace(error))
        self._count(error)
        self._log.warning("lost", reason=reason(error), wait_s=round(wait_s, 1))
        await asyncio.sleep(wait_s)

    async def _renew(self, link: Link) -> None:
        """Replace a connection once it is due: both are taken until the new one is known to carry all."""
        due = await link.due
        if due.stale is not None:
            self._count(due.stale)
        if self._options.now_us() - link.opened_time_us >= STABLE_S * 1e6:
            self._renewals.reset()
        while True:
            is_first = not self._renewals.failures
            wait_s = self._renewals.next_s(self._options.chance())
            await asyncio.sleep(0.0 if is_first else wait_s)
            self._log.info("replacing", reason=due.reason)
            try:
                successor = await self._open_successor()
            except FAILURES as error:
                self._count(error)
                self._log.warning("not_replaced", reason=reason(error))
                self._successor = self._successor_state = None
            else:
                break
        await link.end(due.reason)
        self._link, self._successor, self._successor_state = successor, None, None
        self._succeed(successor, is_orderly=True)
        (metrics.RENEWALS if due.stale is None else metrics.RECONNECTS).labels(self.plan.venue).inc()

    async def _open_successor(self) -> Link:
        """Open a second connection, and see it deliver what the first one does."""
        self._successor_state = "connecting"
        await self._admission()
        successor = self._successor = await self._open(is_alone=False)
        self._successor_state = "connected"
        proving = asyncio.create_task(self._proven(successor))
        try:
            await asyncio.wait((proving, successor.task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            proving.cancel()
        if successor.task.done():
            successor.task.result()
        return successor

    async def _proven(self, link: Link) -> None:
        """Wait until a connection carries all its streams as far as can be told, and then for the overlap.

        A channel may be quiet: it is waited for as long as the overlap lasts.
        """
        await link.answered.wait()
        try:
            async with asyncio.timeout(self._settings.overlap_s):
                await link.proven.wait()
        except TimeoutError:
            self._log.info("not_all_heard_yet")
        await asyncio.sleep(self._settings.overlap_s)

    def _succeed(self, link: Link, *, is_orderly: bool) -> None:
        self.life.succeeded(link.opened_time_us)
        link.take_over(is_orderly=is_orderly)

    async def _admission(self) -> None:
        """Wait until Kafka takes frames and the venue lets us connect."""
        while True:
            await self._intake.gate.passed()
            wait_s = self._options.address.connect(self._options.now_us())
            if not wait_s:
                return
            await asyncio.sleep(wait_s)

    async def _open(self, *, is_alone: bool) -> Link:
        wire, market = self._options.wire, self.plan.market
        door = wire.door(market, self._options.rest_url)
        name = f"{self.name}-{self._options.start}-{self.life.opened + 1}"
        ticket = await self._ticket(door.ticket)
        try:
            url = wire.connect_url(self.plan.url, ticket, name)
        except ValueError as error:
            raise ConnectionFailureError("ticket", str(error)) from error
        try:
            transport = await open_transport(url, self._settings, door.headers)
        except InvalidStatus as error:
            self._heed(error)
            raise
        now = self._options.now_us()
        self.life.opened += 1
        lane = self._intake.lane(self.plan.market, name, self.plan.partition)
        lane.add("CONNECT", now, request=self.plan.url)
        self._log.info("connected", streams=len(self.plan.streams), opened=self.life.opened)
        return Link(
            self.plan, transport, lane, dialogue=wire.dialogue(market, ticket),
            staleness=self._staleness.successor(now), intake=self._intake, options=self._options, is_alone=is_alone,
        )  # fmt: skip

    async def _ticket(self, request: Request | None) -> bytes:
        """Get what a connection needs besides its URL."""
        if request is None or self._options.fetch is None:
            return b""
        try:
            return await self._options.fetch(request)
        except HttpError as error:
            raise ConnectionFailureError("ticket", str(error)) from error

    def _heed(self, error: InvalidStatus) -> None:
        """Note how long the venue wants to be left alone."""
        status, now = error.response.status_code, self._options.now_us()
        header = next(iter(error.response.headers.get_all("Retry-After")), None)
        address = self._options.address
        if address.is_refusal(status):
            wait_s = address.refused(address.connects, status, header, now)
        elif header is not None:
            wait_s = min(retry_after_s(header, now), BUSY_MOST_S)
            address.connects.pause(wait_s, now)
        else:
            return
        self._log.warning("held_back", status=status, wait_s=round(wait_s, 1))

    def _count(self, error: BaseException) -> None:
        self.last_failure = reason(error)
        metrics.CONNECTOR_ERRORS.labels(self.plan.venue, error_type(error)).inc()
