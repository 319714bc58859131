"""The error tree of the frame.

TickerplantError
├── UserError            the person at the keyboard can mend it: one line, exit code 2
│   └── DependencyError  a server we need does not answer (broker, registry, object store, ClickHouse)
└── OutputError          stdout or stderr takes no more
"""

from typing import Final

DEPENDENCY_AWAY_CODE: Final = 75
"""Exit code of a role under supervision that must be started again because a server is away (EX_TEMPFAIL)."""


class TickerplantError(Exception):
    """Base of all errors that the frame raises on purpose."""


class UserError(TickerplantError):
    """A mistake the user can mend; its text says what is wrong and what to do, in one line."""


class OutputError(TickerplantError, OSError):
    """Whatever reads what is printed takes no more: a pipe was closed, a disk is full."""

    def __str__(self) -> str:
        return f"output cannot be written: {self.strerror}"


class DependencyError(UserError):
    """A server that this process needs cannot be reached.

    Args:
        dependency: what is missing, e.g. `kafka`.
        address: where it was looked for.
        hint: what to do about it.
    """

    def __init__(self, dependency: str, address: str, hint: str = "is it running? `tickerplant status` tells") -> None:
        self.dependency = dependency
        self.address = address
        self.hint = hint
        super().__init__(dependency, address, hint)

    def __str__(self) -> str:
        return f"{self.dependency} does not answer at {self.address}: {self.hint}"
