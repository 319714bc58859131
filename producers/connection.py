"""The life of a planned connection, without I/O: its states, and how long to wait before the next try; pure."""

from dataclasses import dataclass
from typing import Final, Literal

from producers.failures import Pace

State = Literal["disconnected", "connecting", "connected", "reconnecting", "closed"]
STATES: Final[tuple[State, ...]] = ("disconnected", "connecting", "connected", "reconnecting", "closed")
STABLE_S: Final = 60.0  # connected for as long, a connection starts again with the shortest wait
SLOW_FAILURES: Final = 3  # a failure that asks for patience counts at least as if these had gone before

NEXT: Final[dict[State, frozenset[State]]] = {
    "disconnected": frozenset({"connecting", "closed"}),
    "connecting": frozenset({"connected", "reconnecting", "closed"}),
    "connected": frozenset({"reconnecting", "closed"}),
    "reconnecting": frozenset({"connecting", "closed"}),
    "closed": frozenset(),
}


@dataclass
class Backoff:
    """Waits that double from first to most, each shortened by chance by up to a half."""

    first_s: float
    most_s: float
    failures: int = 0

    def next_s(self, chance: float, pace: Pace = "usual") -> float:
        """Count a failure and tell how long to wait (chance: 0 ≤ and < 1).

        Args:
            pace: slow = at least the fourth wait; quick = a part of the first one, unless other failures went before.
        """
        if pace == "slow":
            self.failures = max(self.failures, SLOW_FAILURES)
        full_s = min(self.most_s, self.first_s * 2.0 ** min(self.failures, 60))
        is_quick = pace == "quick" and not self.failures
        self.failures += 1
        return full_s * chance if is_quick else full_s * (1.0 - chance / 2)

    def reset(self) -> None:
        """Start again with the shortest wait."""
        self.failures = 0


@dataclass
class Lifecycle:
    """Where a connection stands. Instants are µs of any clock that does not go back."""

    backoff: Backoff
    state: State = "disconnected"
    opened: int = 0  # how often it was opened
    _connected_time_us: int = 0

    def connecting(self) -> None:
        """Note that the connection is being opened."""
        self._move("connecting")

    def connected(self, now_us: int) -> None:
        """Note that it is open."""
        self._move("connected")
        self._connected_time_us = now_us

    def lost(self, now_us: int, chance: float, pace: Pace = "usual") -> float:
        """Note that it could not be opened, or was lost; returns how many seconds to wait."""
        if self.state == "connected" and now_us - self._connected_time_us >= STABLE_S * 1e6:
            self.backoff.reset()
        self._move("reconnecting")
        return self.backoff.next_s(chance, pace)

    def succeeded(self, opened_time_us: int) -> None:
        """Note that a successor, open since then, carries on in its place."""
        if self.state != "connected":
            raise RuntimeError(f"a connection that is {self.state} has no successor")
        self._connected_time_us = opened_time_us

    def closed(self) -> None:
        """Note that it is closed for good."""
        self._move("closed")

    def _move(self, state: State) -> None:
        if state not in NEXT[self.state]:
            raise RuntimeError(f"a connection that is {self.state} cannot become {state}")
        self.state = state
