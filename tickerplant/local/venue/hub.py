"""Streams → the connections that listen to them."""

import asyncio
from collections.abc import Callable, Iterable

from tickerplant.local.venue.counts import Counts, TradeId
from tickerplant.local.venue.fault_plan import FaultPlan
from tickerplant.local.venue.session import Session
from tickerplant.local.venue.streams import SERVED, channel_of

POLL_S = 0.005


class Hub:
    """Routes frames by key, which is `market/stream`; `on_new_stream` is told of keys that get their first listener."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        self.counts = Counts()
        self.plan = plan or FaultPlan(0)
        self.sessions: dict[Session, None] = {}  # a set in the order in which they came
        self.on_new_stream: Callable[[str], None] = _ignore
        self._routes: dict[str, list[Session]] = {}
        self._keys: dict[Session, set[str]] = {}

    def join(self, session: Session) -> None:
        """Let a connection listen, or bring its routes up to date after a request."""
        self.sessions[session] = None
        wanted = _keys_of(session)
        known = self._keys.get(session, set())
        self._keys[session] = wanted
        for key in wanted - known:
            if key not in self._routes:
                self._routes[key] = []
                self.on_new_stream(key)
            self._routes[key].append(session)
        self._unroute(session, known - wanted)

    def leave(self, session: Session) -> None:
        """Forget a connection."""
        session.is_open = False
        self.sessions.pop(session, None)
        self._unroute(session, self._keys.pop(session, set()))

    def listeners(self, key: str) -> list[Session] | None:
        """Tell who listens to a stream; None = nobody, so it need not be made."""
        return self._routes.get(key)

    def subscribed(self) -> list[str]:
        """List the keys that somebody listens to, where they are served."""
        return sorted(self._routes)

    def publish(self, key: str, combined: bytes, trade: TradeId | None = None) -> None:
        """Put a frame into the queue of each listener; `flush` sends."""
        for session in self._routes.get(key, ()):
            session.put(key, combined, trade)

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

    def _unroute(self, session: Session, keys: Iterable[str]) -> None:
        for key in keys:
            listeners = self._routes[key]
            listeners.remove(session)
            if not listeners:
                del self._routes[key]


def _keys_of(session: Session) -> set[str]:
    """List what a connection gets: of its streams those that its endpoint serves."""
    served = SERVED[session.endpoint]
    return {f"{session.market}/{name}" for name in session.subscriptions.streams if channel_of(name) in served}


def _ignore(_key: str) -> None:
    """Nobody wants to know."""
