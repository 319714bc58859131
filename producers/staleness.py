"""Silence per channel of a connection; pure.

A channel of illiquid symbols may be silent while all is well, so patience with a channel doubles each time that a new
connection did not make it speak, and is back to the start when it does.
"""

from collections.abc import Iterable
from typing import Final

MOST_DOUBLINGS: Final = 10


class Staleness:
    """Tells which channel of a connection was silent for too long."""

    def __init__(self, channels: Iterable[str], stale_after_s: float) -> None:
        self._stale_after_us = stale_after_s * 1e6
        self._doublings = dict.fromkeys(channels, 0)
        self._heard_time_us = dict.fromkeys(self._doublings, 0)

    def successor(self, now_us: int) -> "Staleness":
        """Make one for the next connection, which shares the patience learned so far, and start it."""
        other = Staleness((), self._stale_after_us / 1e6)
        other._doublings = self._doublings  # of our own class
        other._heard_time_us = dict.fromkeys(self._heard_time_us, now_us)
        return other

    def watch(self, channels: Iterable[str], now_us: int) -> None:
        """Watch these channels from now on, and no others; those watched already go on."""
        self._heard_time_us = {each: self._heard_time_us.get(each) or now_us for each in channels}
        for each in self._heard_time_us:
            self._doublings.setdefault(each, 0)

    def restart(self, now_us: int) -> None:
        """Start to listen: after a (re)subscribe, or when reading goes on."""
        self._heard_time_us = dict.fromkeys(self._heard_time_us, now_us)

    def heard(self, channels: Iterable[str], now_us: int) -> None:
        """Note the channels that spoke since the last call."""
        for channel in channels:
            if channel in self._heard_time_us:
                self._heard_time_us[channel] = now_us
                self._doublings[channel] = 0

    def patience_s(self, channel: str) -> float:
        """Tell how long a channel may be silent."""
        return self._stale_after_us * 2.0 ** self._doublings[channel] / 1e6

    def is_dead(self, now_us: int) -> bool:
        """Tell whether every channel is silent for too long; False where none is watched."""
        times = self._heard_time_us.items()
        return bool(times) and all(now_us - each > self.patience_s(channel) * 1e6 for channel, each in times)

    def silent(self, now_us: int) -> str | None:
        """Name a channel that was silent for too long, once; None = there is none."""
        for channel, heard_time_us in self._heard_time_us.items():
            if now_us - heard_time_us > self.patience_s(channel) * 1e6:
                self._doublings[channel] = min(self._doublings[channel] + 1, MOST_DOUBLINGS)
                return channel
        return None
