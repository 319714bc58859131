"""Active faults and what they decide: for each frame, request, handshake; and what each of them struck; pure.

Everything follows from the seed, the number of the fault, and the frames of a stream (or requests) in their order: who
else listens or asks makes no difference to the frames of a stream.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from tickerplant.local.venue import damage
from tickerplant.local.venue.dialect import NO_ID, Frame
from tickerplant.local.venue.faults import (
    AnyFault,
    ClockStep,
    Corrupt,
    Double,
    FrameFault,
    Lose,
    Refuse,
    Reorder,
    RequestFault,
    Silence,
    Slow,
    Truncate,
    WrongChecksum,
    WrongSnapshotFault,
)

MOST_STRIKES: Final = 100_000


class Strike(NamedTuple):
    """What was hit: stream, request or connection; how (empty = as the fault's name says); its ids, `NO_ID` = none."""

    target: str
    how: str = ""
    first_id: int = NO_ID
    last_id: int = NO_ID


class Verdict(NamedTuple):
    """What becomes of a frame.

    Args:
        copies: times it is written; 0 = never.
        behind: frames of its stream that go first.
    """

    payload: bytes
    copies: int = 1
    is_intact: bool = True
    behind: int = 0


@dataclass
class ActiveFault:
    """A fault at work, or one that was.

    Args:
        hits: how often it struck; `strikes` are the newest of them, `by_target` all, counted.
    """

    number: int
    fault: AnyFault
    seed: int
    is_active: bool = False  # a fault waits for `after_s` first
    is_over: bool = False
    hits: int = 0
    by_target: Counter[str] = field(default_factory=Counter)
    by_how: Counter[str] = field(default_factory=Counter)
    strikes: deque[Strike] = field(default_factory=lambda: deque(maxlen=MOST_STRIKES))
    _randoms: dict[str, Random] = field(default_factory=dict)
    _matches: dict[str, bool] = field(default_factory=dict)

    def matches(self, target: str) -> bool:
        """Tell whether the fault's pattern is that of a stream, endpoint or request."""
        known = self._matches.get(target)
        if known is None:
            known = self._matches[target] = fnmatchcase(target, self.fault.match)
        return known

    def random(self, target: str) -> Random:
        """Give the chance of a stream, endpoint or request: the same for the same seed, whatever others do."""
        found = self._randoms.get(target)
        if found is None:
            text = f"{self.seed}/{self.number}/{target}"
            found = self._randoms[target] = Random(text)  # noqa: S311  # a fault, not a secret
        return found

    def hits_now(self, target: str) -> bool:
        """Throw the dice for something that may be hit."""
        if not self.is_active or not self.matches(target):
            return False
        probability = getattr(self.fault, "probability", 1.0)
        return bool(probability >= 1.0 or self.random(target).random() < probability)

    def wrong_book(self, target: str) -> str:
        """Choose what is to be wrong with a book."""
        assert isinstance(self.fault, WrongSnapshotFault)
        kind = self.fault.kind
        return self.random(target).choice(damage.WRONG_BOOKS) if kind == "any" else kind

    def strike(self, strike: Strike) -> None:
        """Note what was hit; the fault ends with its last hit."""
        self.hits += 1
        self.by_target[strike.target] += 1
        if strike.how:
            self.by_how[strike.how] += 1
        self.strikes.append(strike)
        if self.hits == getattr(self.fault, "count", 0):
            self.end()

    def end(self) -> None:
        """Strike no more."""
        self.is_active, self.is_over = False, True

    def as_json(self) -> dict[str, Any]:
        """Tell what it is and whom it struck."""
        return {
            "id": self.number,
            **msgspec.to_builtins(self.fault),
            "is_active": self.is_active,
            "hits": self.hits,
            "by_target": dict(self.by_target),
            "by_how": dict(self.by_how),
            "strikes": [[*each] for each in self.strikes],
        }


class FaultPlan:
    """All faults of a venue. `frame_faults` is empty while frames go as they are: the only thing looked at for each.

    Args:
        checksum: finds the checksum in a message as its group 1; None = the venue sends none.
    """

    def __init__(self, seed: int, checksum: re.Pattern[bytes] | None = None) -> None:
        self.checksum = checksum
        self.faults: dict[int, ActiveFault] = {}
        self.frame_faults: list[ActiveFault] = []
        self.request_faults: list[ActiveFault] = []
        self.is_slow = False
        self.clock_offset_us = 0
        self._seed = seed

    def add(self, fault: AnyFault) -> ActiveFault:
        """Take in a fault that does not strike yet."""
        number = len(self.faults) + 1
        self.faults[number] = ActiveFault(number, fault, self._seed)
        return self.faults[number]

    def begin(self, active: ActiveFault) -> None:
        """Let a fault strike, unless it was ended meanwhile."""
        active.is_active = not active.is_over
        if active.is_active and isinstance(active.fault, ClockStep):
            active.strike(Strike("clock", f"{active.fault.step_ms:+d} ms"))
        self._sort()

    def end(self, active: ActiveFault) -> None:
        """Let a fault strike no more."""
        active.end()
        self._sort()

    def judge(self, key: str, frame: Frame) -> Verdict:
        """Decide what becomes of a frame of `market/stream`."""
        payload = frame.payload
        for active in self.frame_faults:
            if isinstance(active.fault, WrongChecksum) and not self._has_checksum(payload):
                continue
            if active.hits_now(key):
                how, verdict = self._verdict(active, key, payload)
                active.strike(Strike(key, how, frame.first_id, frame.last_id))
                if active.is_over:
                    self._sort()
                return verdict
        return Verdict(payload)

    def _verdict(self, active: ActiveFault, key: str, payload: bytes) -> tuple[str, Verdict]:
        if isinstance(active.fault, WrongChecksum):
            assert self.checksum is not None
            return "", Verdict(damage.wrong_checksum(payload, self.checksum, active.random(key)))
        return _JUDGES[type(active.fault)](active, key, payload)

    def _has_checksum(self, payload: bytes) -> bool:
        return self.checksum is not None and self.checksum.search(payload) is not None

    def judge_request(self, path: str) -> ActiveFault | None:
        """Choose the fault that a REST request meets; None = none. The caller notes the strike."""
        return next((each for each in self.request_faults if each.hits_now(path)), None)

    def judge_book(self, key: str) -> ActiveFault | None:
        """Choose the fault that a book sent in a stream meets; None = none. The caller notes the strike."""
        wrong = (each for each in self.request_faults if isinstance(each.fault, WrongSnapshotFault))
        return next((each for each in wrong if each.hits_now(key)), None)

    def refusal(self, endpoint: str) -> Refuse | None:
        """Choose the refusal that a handshake meets, and note it; None = none."""
        for active in self.faults.values():
            if isinstance(active.fault, Refuse) and active.hits_now(endpoint):
                active.strike(Strike(endpoint, str(active.fault.status)))
                return active.fault
        return None

    def keeps_quiet(self, market: str) -> bool:
        """Tell whether answers to the requests of a market's connections are not given."""
        silences = (each for each in self.frame_faults if isinstance(each.fault, Silence) and each.fault.answers)
        return any(each.is_active and each.fault.match.partition("/")[0] in {"*", market} for each in silences)

    def bytes_per_s(self, endpoint: str) -> float:
        """Tell how much a socket takes; 0 = any."""
        rates = [each.fault.bytes_per_s for each in self._slow(endpoint) if isinstance(each.fault, Slow)]
        return min((rate for rate in rates if rate), default=0.0)

    def handshake_s(self, endpoint: str) -> float:
        """Tell how long a handshake waits."""
        waits = [each.fault.handshake_s for each in self._slow(endpoint) if isinstance(each.fault, Slow)]
        return max(waits, default=0.0)

    def _slow(self, endpoint: str) -> Iterator[ActiveFault]:
        return (
            each
            for each in self.faults.values()
            if isinstance(each.fault, Slow) and each.is_active and each.matches(endpoint)
        )

    def _sort(self) -> None:
        """Bring what is looked at often up to date."""
        active = [each for each in self.faults.values() if each.is_active]
        self.frame_faults[:] = [each for each in active if isinstance(each.fault, FrameFault | Silence)]
        self.request_faults[:] = [each for each in active if isinstance(each.fault, RequestFault)]
        self.is_slow = any(isinstance(each.fault, Slow) for each in active)
        self.clock_offset_us = sum(each.fault.step_ms * 1000 for each in active if isinstance(each.fault, ClockStep))


def _lose(_active: ActiveFault, _key: str, payload: bytes) -> tuple[str, Verdict]:
    return "", Verdict(payload, copies=0)


def _double(_active: ActiveFault, _key: str, payload: bytes) -> tuple[str, Verdict]:
    return "", Verdict(payload, copies=2)


def _reorder(active: ActiveFault, key: str, payload: bytes) -> tuple[str, Verdict]:
    assert isinstance(active.fault, Reorder)
    return "", Verdict(payload, behind=active.random(key).randint(1, active.fault.within))


def _truncate(active: ActiveFault, key: str, payload: bytes) -> tuple[str, Verdict]:
    return "", Verdict(damage.truncated(payload, active.random(key)), is_intact=False)


def _corrupt(active: ActiveFault, key: str, payload: bytes) -> tuple[str, Verdict]:
    assert isinstance(active.fault, Corrupt)
    how, damaged = damage.corrupted(payload, active.fault.kind, active.random(key))
    return how, Verdict(damaged, is_intact=False)


_JUDGES: Final[dict[type, Callable[[ActiveFault, str, bytes], tuple[str, Verdict]]]] = {
    Lose: _lose,
    Double: _double,
    Reorder: _reorder,
    Truncate: _truncate,
    Corrupt: _corrupt,
    Silence: _lose,
}
