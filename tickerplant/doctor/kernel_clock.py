"""What the kernel knows of its clock.

Source: https://man7.org/linux/man-pages/man2/adjtimex.2.html
"""

import ctypes
import sys
from dataclasses import dataclass
from typing import Final

UNSYNCHRONIZED: Final = 0x0040
TIME_ERROR: Final = 5


class _Timex(ctypes.Structure):
    """`struct timex`, up to the fields that are read; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_long * 32),
    )


@dataclass(frozen=True)
class KernelClock:
    """How the clock is kept; `most_error_us` counts up while nobody corrects it."""

    is_synchronized: bool
    most_error_us: int


def kernel_clock() -> KernelClock | None:
    """Ask the kernel; None = this system does not tell."""
    if sys.platform != "linux":
        return None
    asked = _Timex(modes=0)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    is_synchronized = state != TIME_ERROR and not asked.status & UNSYNCHRONIZED
    return KernelClock(is_synchronized, int(asked.maxerror))
