"""How long a request or a connection has to wait for what a venue allows one address, without I/O; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import inf
from typing import Final

from producers.wire import BANS, Limits

SHARE: Final = 0.6  # of the venue's budget, refilled evenly ...
BURST: Final = 0.2  # ... on top of which this much may go at once, so that a window never holds more than 0.8
MINUTE_S: Final = 60.0
CONNECTS_WINDOW_S: Final = 300.0

TOO_MANY: Final = 429
RETRY_AFTER_S: Final = 60.0  # where a refusal does not tell
RETRY_AFTER_LEAST_S: Final = 1.0
RETRY_AFTER_MOST_S: Final = 3 * 24 * 3600.0  # the longest ban that Binance hands out


@dataclass
class TokenBucket:
    """Tokens that refill evenly.

    Args:
        budget: how many the venue gives per window to one address.
        window_s: the venue's window.
    """

    budget: float
    window_s: float = MINUTE_S
    _tokens: float = field(init=False)
    _time_us: int = 0
    _paused_until_us: int = 0

    def __post_init__(self) -> None:
        """Start full."""
        self._tokens = self.budget * BURST

    def take(self, weight: float, now_us: int) -> float:
        """Take tokens: 0.0 = taken; else nothing was, and it may be tried again after so many seconds.

        A weight above what the bucket holds is let through when it is full.
        """
        self._refill(now_us)
        if now_us < self._paused_until_us:
            return (self._paused_until_us - now_us) / 1e6
        needed = min(weight, self.budget * BURST)
        if self._tokens >= needed:
            self._tokens -= weight
            return 0.0
        return (needed - self._tokens) / self._rate_per_s

    def pause(self, seconds: float, now_us: int) -> None:
        """Give nothing for a time: the venue said so."""
        self._paused_until_us = max(self._paused_until_us, now_us + int(seconds * 1e6))

    @property
    def _rate_per_s(self) -> float:
        return self.budget * SHARE / self.window_s

    def _refill(self, now_us: int) -> None:
        passed_s = max(0, now_us - self._time_us) / 1e6 if self._time_us else 0.0
        self._tokens = min(self.budget * BURST, self._tokens + passed_s * self._rate_per_s)
        self._time_us = now_us


class Address:
    """What one market of a venue, or several together, allow our address: requests over REST, and connections.

    Args:
        weight: of REST requests, in `weight_window_s`.
        connects: tries to connect, in `connects_window_s`.
        connects_per_s: of these, evenly spread.
        bans: statuses that hold back all, and for how many seconds where no header tells.
    """

    def __init__(
        self,
        weight: float,
        connects: float,
        *,
        weight_window_s: float = MINUTE_S,
        connects_window_s: float = CONNECTS_WINDOW_S,
        connects_per_s: float = inf,
        bans: Mapping[int, float] = BANS,
    ) -> None:
        self.bans = bans
        self.requests = TokenBucket(weight, weight_window_s)
        self.connects = TokenBucket(connects, connects_window_s)
        self._connect_every_us = int(1e6 / connects_per_s)
        self._next_connect_time_us = 0

    @classmethod
    def of(cls, limits: Limits) -> "Address":
        """Make one of the limits of a market."""
        return cls(
            limits.weight_per_window,
            limits.connects_per_window,
            weight_window_s=limits.weight_window_s,
            connects_window_s=limits.connects_window_s,
            connects_per_s=limits.connects_per_s,
            bans=limits.bans,
        )

    def connect(self, now_us: int) -> float:
        """Ask to connect: 0.0 = it may be done now; else it may be asked again after so many seconds."""
        if now_us < self._next_connect_time_us:
            return (self._next_connect_time_us - now_us) / 1e6
        wait_s = self.connects.take(1, now_us)
        if not wait_s:
            self._next_connect_time_us = now_us + self._connect_every_us
        return wait_s

    def is_refusal(self, status: int) -> bool:
        """Tell whether a status says that we ask too often, or are banned."""
        return status == TOO_MANY or status in self.bans

    def refused(self, bucket: TokenBucket, status: int, retry_after: str | None, now_us: int) -> float:
        """Note an answer 429 to what a bucket stands for, or a ban, which holds back all; returns for how many seconds.

        Args:
            retry_after: the header; None = there was none.
        """
        wait_s = retry_after_s(retry_after, now_us, self.bans.get(status, RETRY_AFTER_S))
        for each in (self.requests, self.connects) if status in self.bans else (bucket,):
            each.pause(wait_s, now_us)
        return wait_s


def retry_after_s(header: str | None, now_us: int, default_s: float = RETRY_AFTER_S) -> float:
    """Read a Retry-After header: seconds or an HTTP date, kept within a second and three days; else the default.

    Source: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after

    >>> retry_after_s("7", 0), retry_after_s("Thu, 01 Jan 1970 00:02:00 GMT", 60_000_000), retry_after_s("-1", 0)
    (7.0, 60.0, 60.0)
    """
    found_s = _seconds((header or "").strip(), now_us)
    return default_s if found_s is None else min(RETRY_AFTER_MOST_S, max(RETRY_AFTER_LEAST_S, found_s))


def _seconds(text: str, now_us: int) -> float | None:
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_MOST_S)
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now_us / 1e6
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
