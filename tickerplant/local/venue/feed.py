"""What stands behind the venue's endpoints: a recording or a synthetic market."""

from collections.abc import Callable
from typing import Protocol

from tickerplant.local.venue.dialect import Market
from tickerplant.local.venue.hub import Told


class Feed(Market, Told, Protocol):
    """Serves streams through the hub, and answers about what it has served so far."""

    def recorded_instruments(self, market: str) -> bytes | None:
        """Give the instrument list that stands in a recording; None = there is none."""

    def position(self) -> dict[str, int]:
        """Tell how far it is."""

    async def run(self, is_stopping: Callable[[], bool]) -> None:
        """Serve until the end, or until told to stop; returns when all is handed to the sockets."""
