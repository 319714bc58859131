"""Streams → the connections that listen to them."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Protocol

from tickerplant.local.venue import damage
from tickerplant.local.venue.counts import Counts
from tickerplant.local.venue.dialect import Book, Frame, Stream
from tickerplant.local.venue.fault_plan import FaultPlan, Strike
from tickerplant.local.venue.session import Session

POLL_S = 0.005
Spoil = Callable[[Book], Book]


class Told(Protocol):
    """What stands behind the streams, as the hub asks it."""

    def begin(self, stream: Stream) -> None:
        """Know that a stream has its first listener."""

    def first(self, stream: Stream, spoil: Spoil) -> Iterable[Frame]:
        """Write what joins with what the stream tells next: the book as it stands, recent trades, a ticker.

        What is still to be told of it goes first to those who listen already. spoil: what becomes of a book.
        """

    def book(self, market: str, symbol: str, levels: int) -> Book | None:
        """Give a book as it stands; None = no such symbol."""

    def neighbour(self, market: str, symbol: str) -> str:
        """Name the symbol listed next, or the same where there is no other."""


class Hub:
    """Routes frames by key, which is `market/stream`."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        self.counts = Counts()
        self.plan = plan or FaultPlan(0)
        self.sessions: dict[Session, None] = {}  # a set in the order in which they came
        self.told: Told | None = None  # None = nothing stands behind it yet
        self.published = 0  # frames that somebody listens to, each once, however many do
        self._routes: dict[str, list[Session]] = {}
        self._streams: dict[tuple[str, str], dict[str, dict[str, Stream]]] = {}  # market, symbol → kind → key

    def join(self, session: Session) -> None:
        """Take in a connection."""
        self.sessions[session] = None

    def leave(self, session: Session) -> None:
        """Forget a connection."""
        session.is_open = False
        self.sessions.pop(session, None)
        for stream in tuple(session.streams.values()):
            self.unsubscribe(session, stream)

    def subscribe(self, session: Session, stream: Stream, *, with_first: bool = False) -> None:
        """Let a connection listen; again = no change. with_first: it gets what joins with the stream before."""
        if stream.key not in self._routes:
            self._routes[stream.key] = []
            self.counts.streams[stream.key] = stream
            self.streams_of(stream.market, stream.symbol).setdefault(stream.kind, {})[stream.key] = stream
            if self.told is not None:
                self.told.begin(stream)
        if with_first:
            self.send_first(session, stream)
        if stream.key not in session.streams:
            session.streams[stream.key] = stream
            self._routes[stream.key].append(session)

    def send_first(self, session: Session, stream: Stream) -> None:
        """Put what joins with a stream into the queue of a connection."""
        if self.told is None:
            return
        self.counts.streams[stream.key] = stream
        active = self.plan.judge_book(stream.key) if stream.kind in {"depth", "book"} else None
        if active is None:
            frames = self.told.first(stream, _as_it_is)
        else:
            how = active.wrong_book(stream.key)
            frames = self.told.first(stream, partial(spoilt, self.told, stream.market, how=how))
            active.strike(Strike(stream.key, how))
        for frame in frames:
            session.put(stream, frame)

    def unsubscribe(self, session: Session, stream: Stream) -> None:
        """Let a connection listen no more; it does not = no change."""
        if session.streams.pop(stream.key, None) is None:
            return
        listeners = self._routes[stream.key]
        listeners.remove(session)
        if not listeners:
            del self._routes[stream.key]
            del self.streams_of(stream.market, stream.symbol)[stream.kind][stream.key]

    def streams_of(self, market: str, symbol: str) -> dict[str, dict[str, Stream]]:
        """Give the streams of a symbol that somebody listens to, by kind and key; it is kept up to date."""
        return self._streams.setdefault((market, symbol), {})

    def listeners(self, key: str) -> list[Session] | None:
        """Tell who listens to a stream; None = nobody, so it need not be made."""
        return self._routes.get(key)

    @property
    def is_heard(self) -> bool:
        """Tell whether anybody listens to anything."""
        return bool(self._routes)

    def subscribed(self) -> list[str]:
        """List the keys that somebody listens to."""
        return sorted(self._routes)

    def publish(self, stream: Stream, frame: Frame) -> None:
        """Put a frame into the queue of each listener; `flush` sends."""
        sessions = self._routes.get(stream.key)
        if sessions:
            self.published += 1
            for session in sessions:
                session.put(stream, frame)

    def publish_all(self, stream: Stream, frames: Iterable[Frame]) -> None:
        """Put frames into the queues in their order."""
        for frame in frames:
            self.publish(stream, frame)

    def waiting_bytes(self) -> int:
        """Tell the longest queue."""
        return max((session.waiting_bytes for session in self.sessions), default=0)

    async def flush(self) -> None:
        """Write all queues; returns when every socket takes more."""
        if self.plan.is_slow:  # one that waits for room shall not hold up the others
            await asyncio.gather(*(session.flush() for session in self.sessions))
            return
        for session in tuple(self.sessions):
            await session.flush()

    async def release(self) -> None:
        """Send what was held back."""
        for session in self.sessions:
            session.release()
        await self.flush()

    async def drained(self) -> None:
        """Wait until the sockets have taken everything."""
        await self.release()
        while any(session.unwritten_bytes() for session in self.sessions):  # noqa: ASYNC110  # sockets tell no event
            await asyncio.sleep(POLL_S)


def spoilt(told: Told, market: str, book: Book, *, how: str) -> Book:
    """Make a book wrong; `other_symbol` = with all that another one has, its name too."""
    if how != "other_symbol":
        return damage.wrong_book(book, how)
    other = told.book(market, told.neighbour(market, book.symbol), max(len(book.bids), len(book.asks)))
    return book if other is None else replace(other, number=book.number, recorded=b"")


def _as_it_is(book: Book) -> Book:
    return book
