"""Writes of several partitions at the same time: each of them mostly waits for a server."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

T = TypeVar("T")


class Together(Protocol):
    """Does jobs."""

    def __call__(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """Do all of them; returns what they return, in their order, once all have ended. Raises as the first does."""


class Threads:
    """Does jobs in threads, which are kept for the next ones; the first job in the thread that asks.

    Args:
        most: so many jobs are done at the same time; 1 = one after the other, without threads.
    """

    def __init__(self, most: int) -> None:
        self._pool = ThreadPoolExecutor(most - 1, thread_name_prefix="write") if most > 1 else None

    def __call__(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """Do all of them; as `Together`."""
        if self._pool is None or len(jobs) == 1:
            return [job() for job in jobs]
        others = [self._pool.submit(job) for job in jobs[1:]]
        try:
            first = jobs[0]()
        finally:
            wait(others)
        return [first, *(each.result() for each in others)]
