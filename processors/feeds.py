"""Connections that each bring the whole of a stream whose items have ids, but no order → who is left when one ends."""

from collections.abc import Iterable

from processors.line import SILENCE_US


class Feeds:
    """Connections of one stream.

    One that brings nothing while others do, for `SILENCE_US`, carries the stream no more: it was killed, or the stream
    was taken from it.
    """

    __slots__ = ("behind_since_us",)

    def __init__(self) -> None:
        self.behind_since_us: dict[str, int] = {}  # by connection; 0 = nobody else brought an item since its last

    def bring(self, connection: str, now_us: int, *, is_new: bool) -> None:
        """Note that a connection brought an item, one that nobody had brought before or not."""
        behind = self.behind_since_us
        behind[connection] = 0
        if not is_new or len(behind) == 1:
            return
        for other, since_us in list(behind.items()):
            if other != connection and not since_us:
                behind[other] = now_us
            elif other != connection and now_us - since_us > SILENCE_US:
                del behind[other]

    def leave(self, connections: Iterable[str]) -> bool:
        """Note that connections are gone; True = one of them carried the stream."""
        left = [self.behind_since_us.pop(each, None) for each in connections]
        return any(since_us is not None for since_us in left)

    def has_others(self, connection: str) -> bool:
        """Tell whether any but this one carries the stream."""
        return any(each != connection for each in self.behind_since_us)

    def set_back(self, now_us: int) -> None:
        """Wait for nobody longer than usual: the clock was set back to this time."""
        for connection, since_us in self.behind_since_us.items():
            self.behind_since_us[connection] = min(since_us, now_us)
