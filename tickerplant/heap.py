"""Memory that was freed, given back to the system: glibc keeps it for what may come, in an arena for each thread."""

import ctypes
from functools import cache
from typing import Any


def give_back() -> bool:
    """Give back the free pages of all arenas; takes some ms for a heap of 200 MB.

    Returns:
        Whether there was something to give back, and a libc that can.

    Source:
        https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    trim = _malloc_trim()
    return trim is not None and bool(trim(0))


@cache
def _malloc_trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl, not on macOS
