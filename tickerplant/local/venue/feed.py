"""What stands behind the venue's endpoints: a recording or a synthetic market."""

from collections.abc import Callable
from typing import Any, Protocol


class Feed(Protocol):
    """Serves streams through the hub, and answers REST requests about what it has served so far."""

    def exchange_info(self, market: str, now_ms: int) -> bytes:
        """Give the instrument list of a market."""

    def depth(self, market: str, symbol: str, limit: int) -> bytes | None:
        """Give a depth body that joins with the stream; None = no such symbol."""

    def klines(self, market: str, symbol: str, interval_ms: int, limit: int) -> list[list[Any]] | None:
        """Give kline rows, oldest first; None = no such symbol."""

    def position(self) -> dict[str, int]:
        """Tell how far it is."""

    async def run(self, is_stopping: Callable[[], bool]) -> None:
        """Serve until the end, or until told to stop; returns when all is handed to the sockets."""
