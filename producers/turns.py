"""How often a thing may be done again: at once, then ever less often while it keeps being asked for; pure."""

from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 5.0
MOST_S: Final = 300.0


@dataclass(slots=True)
class _Turn:
    time_us: int  # of the last one, done or still waited for
    wait_s: float  # until the next one


class Turns:
    """Gives turns by name. Instants are µs of any clock that does not go back."""

    def __init__(self, first_s: float = FIRST_S, most_s: float = MOST_S) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._turns: dict[str, _Turn] = {}

    def take(self, name: str, now_us: int) -> float | None:
        """Ask for a turn: after how many seconds it is (0.0 = now); None = one that is given already is still to come.

        A name that was not asked for during twice its wait starts anew.
        """
        turn = self._turns.get(name)
        if turn is None or now_us - turn.time_us > 2e6 * turn.wait_s:
            self._turns[name] = _Turn(now_us, self._first_s)
            return 0.0
        if turn.time_us > now_us:
            return None
        turn.time_us = max(now_us, turn.time_us + int(turn.wait_s * 1e6))
        turn.wait_s = min(self._most_s, turn.wait_s * 2)
        return (turn.time_us - now_us) / 1e6

    def forget(self, name: str) -> None:
        """Forget a name that is asked for no more."""
        self._turns.pop(name, None)
