"""What a sink asks of a store.

StoreError
├── StoreBusyError   down, overloaded or out of space: the same write may succeed later
└── (UserError)      wrong credentials, missing tables: someone must act; ends the process
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from sinks.chunk import Chunk, Limits
from tickerplant.settings import Settings


class StoreError(Exception):
    """Base of what stores raise on purpose."""


class StoreBusyError(StoreError):
    """The store did not take a write, and may take it later.

    Args:
        dependency: what is missing, as in `tickerplant.health`; empty = the store itself.
    """

    def __init__(self, reason: str, dependency: str = "") -> None:
        super().__init__(reason)
        self.dependency = dependency


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A row that the store will never take: its index within the chunk, and why."""

    row: int
    reason: str


class Store(Protocol):
    """Somewhere chunks are kept. Not thread-safe, but for `check`, and for as many writes as its limits allow."""

    name: ClassVar[str]
    dependency: ClassVar[str]  # what it is called in `tickerplant.health`

    def __init__(self, settings: Settings) -> None:
        """Take the settings, without connecting."""

    @property
    def limits(self) -> Limits:
        """When a chunk for this store is full, and how many are written at the same time."""

    def open(self) -> None:
        """Make sure the store can be used; blocks.

        Raises:
            UserError: it cannot, and what to do.
        """

    def write(self, chunk: Chunk) -> Sequence[Refused]:
        """Write a chunk durably; blocks. A chunk of the same span written before changes nothing.

        Returns:
            Rows the store refused, in order; all others are stored.

        Raises:
            StoreBusyError: try again later; parts may be stored.
            UserError: someone must act.
        """

    def check(self, timeout_s: float) -> None:
        """Make sure that the store answers within a time; from any thread, beside a `write`.

        Raises:
            DependencyError: it does not.
            UserError: it refuses us.
        """

    def close(self) -> None:
        """Let go of connections."""
