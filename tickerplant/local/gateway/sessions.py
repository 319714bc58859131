"""Engine sessions for HTTP: named ones that remember, and nameless ones that serve one request after the other."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tickerplant.local.gateway.engine import Engine, Session
from tickerplant.local.gateway.faults import SESSION_IS_LOCKED, TOO_MANY_SESSIONS, QueryError

_NAMED_LIMIT = 500
_IDLE_LIMIT = 8
_AT_ONCE_LIMIT = 64
_TIMEOUT_MOST_S = 3600.0


class Sessions:
    """All sessions of the HTTP port.

    Args:
        now_s: a clock that only goes forward.
    """

    def __init__(self, engine: Engine, now_s: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._now_s = now_s
        self._idle: list[Session] = []
        self._named: dict[str, tuple[Session, float]] = {}
        self._in_use: set[str] = set()
        self._at_once = asyncio.Semaphore(_AT_ONCE_LIMIT)

    @asynccontextmanager
    async def lease(self, name: str, timeout_s: float) -> AsyncIterator[Session]:
        """Lend a session: one without memory for an empty name, else the named one, kept for `timeout_s` once used.

        Raises:
            QueryError: 373, the named session is in use; 202, there are too many.
        """
        async with self._at_once:
            await self._expire()
            if not name:
                async with self._nameless() as session:
                    yield session
                return
            if name in self._in_use:
                raise QueryError(SESSION_IS_LOCKED, f"Session {name} is locked by a concurrent client.")
            self._in_use.add(name)
            try:
                session = await self._find(name)
                yield session
                self._named[name] = (session, self._now_s() + min(timeout_s, _TIMEOUT_MOST_S))
            finally:
                self._in_use.discard(name)

    async def _find(self, name: str) -> Session:
        if name in self._named:
            return self._named[name][0]
        if len(self._named) >= _NAMED_LIMIT:
            raise QueryError(TOO_MANY_SESSIONS, f"Too many sessions: at most {_NAMED_LIMIT} are kept")
        session = await asyncio.to_thread(self._engine.session)
        self._named[name] = (session, self._now_s() + _TIMEOUT_MOST_S)
        return session

    @asynccontextmanager
    async def _nameless(self) -> AsyncIterator[Session]:
        session = self._idle.pop() if self._idle else await asyncio.to_thread(self._engine.session)
        try:
            yield session
        finally:
            if session.is_changed or len(self._idle) >= _IDLE_LIMIT:
                await asyncio.to_thread(session.close)
            else:
                self._idle.append(session)

    async def _expire(self) -> None:
        now_s = self._now_s()
        for name in [name for name, (_, end_s) in self._named.items() if end_s < now_s and name not in self._in_use]:
            session, _ = self._named.pop(name)
            await asyncio.to_thread(session.close)

    async def close(self) -> None:
        """Close all; nobody may use one any more."""
        for session in [*self._idle, *(session for session, _ in self._named.values())]:
            await asyncio.to_thread(session.close)
        self._idle.clear()
        self._named.clear()
