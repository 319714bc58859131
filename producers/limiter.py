"""A token bucket by weight, without I/O: how long a request has to wait; pure."""

from dataclasses import dataclass, field
from typing import Final

SHARE: Final = 0.6  # of the venue's budget, refilled evenly ...
BURST: Final = 0.2  # ... on top of which this much may go at once, so that a minute never holds more than 0.8
RETRY_AFTER_S: Final = 60.0  # where a refusal does not tell


@dataclass
class TokenBucket:
    """Tokens that refill evenly.

    Args:
        per_minute: how many the venue gives per minute to one address.
    """

    per_minute: float
    _tokens: float = field(init=False)
    _time_us: int = 0
    _paused_until_us: int = 0

    def __post_init__(self) -> None:
        """Start full."""
        self._tokens = self.per_minute * BURST

    def take(self, weight: float, now_us: int) -> float:
        """Take tokens: 0.0 = taken; else nothing was, and it may be tried again after so many seconds.

        A weight above what the bucket holds is let through when it is full.
        """
        self._refill(now_us)
        if now_us < self._paused_until_us:
            return (self._paused_until_us - now_us) / 1e6
        needed = min(weight, self.per_minute * BURST)
        if self._tokens >= needed:
            self._tokens -= weight
            return 0.0
        return (needed - self._tokens) / self._rate_per_s

    def pause(self, seconds: float, now_us: int) -> None:
        """Give nothing for a time: the venue said so."""
        self._paused_until_us = max(self._paused_until_us, now_us + int(seconds * 1e6))

    @property
    def _rate_per_s(self) -> float:
        return self.per_minute * SHARE / 60

    def _refill(self, now_us: int) -> None:
        passed_s = max(0, now_us - self._time_us) / 1e6 if self._time_us else 0.0
        self._tokens = min(self.per_minute * BURST, self._tokens + passed_s * self._rate_per_s)
        self._time_us = now_us


def retry_after_s(header: str | None) -> float:
    """Read a Retry-After header in seconds; absent or a date: a minute, the venue's window."""
    return float(header) if header is not None and header.strip().isdigit() else RETRY_AFTER_S
