"""Tables on whatever stdout is: a terminal's width, or all of it where it is a file or a pipe."""

from typing import Final

from rich.console import Console

WIDE: Final = 160  # columns: no table of ours has more


def make_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Make a console; where it is no terminal nothing is cut off, unless COLUMNS says more."""
    console = Console(stderr=stderr, quiet=quiet)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    return console
