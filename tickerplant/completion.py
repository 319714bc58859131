"""What a shell may complete: the script it loads, and the words that follow an option, which tell nothing of a server.

Each list is made when it is asked for, from the registry in the code that decides what is accepted.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem, get_completion_class

PROGRAM: Final = "tickerplant"
VARIABLE: Final = "_TICKERPLANT_COMPLETE"
SHELLS: Final = ("bash", "zsh", "fish")

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def script(command: click.Command, shell: str) -> str:
    """Make the script that a shell loads, which asks `tickerplant` for what may follow."""
    found = get_completion_class(shell)
    assert found is not None, shell
    return found(command, {}, PROGRAM, VARIABLE).source()


def words(make: Callable[[click.Context], Iterable[str]]) -> Complete:
    """Complete one of these words; what cannot be told is left to the person."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        try:
            found = sorted(make(context))
        except Exception:  # noqa: BLE001  # of settings that are being written just now; a shell shows no errors
            return []
        return [CompletionItem(word) for word in found if word.startswith(begun)]

    return complete


@words
def stores(_context: click.Context) -> Iterable[str]:
    """Name the stores of sinks."""
    from sinks.stores import STORES  # noqa: PLC0415  # asked for by a shell alone, as all that follow

    return STORES


@words
def roles(_context: click.Context) -> Iterable[str]:
    """Name the roles."""
    from tickerplant.acls import ROLES  # noqa: PLC0415

    return ROLES


@words
def venues(_context: click.Context) -> Iterable[str]:
    """Name the venues as commands take them."""
    from schemas.venues import SYMBOLOGIES  # noqa: PLC0415

    return map(str.lower, SYMBOLOGIES)


@words
def markets(context: click.Context) -> Iterable[str]:
    """Name the markets of the venue that is given, or of all."""
    from schemas.venues import SYMBOLOGIES  # noqa: PLC0415

    venue = str(context.params.get("venue") or "").upper()
    chosen = [SYMBOLOGIES[venue]] if venue in SYMBOLOGIES else SYMBOLOGIES.values()
    return {market for each in chosen for market in each.MARKETS}


@words
def raw_topics(_context: click.Context) -> Iterable[str]:
    """Name the raw topics."""
    from schemas.topics import raw_topic  # noqa: PLC0415
    from schemas.venues import SYMBOLOGIES  # noqa: PLC0415

    return (raw_topic(venue).name for venue in SYMBOLOGIES)


@words
def groups(_context: click.Context) -> Iterable[str]:
    """Name our consumer groups."""
    from tickerplant.lag import GROUPS  # noqa: PLC0415

    return GROUPS


@words
def faults(_context: click.Context) -> Iterable[str]:
    """Name the faults that the simulated venue injects, up to the value."""
    from tickerplant.local.venue.faults import CATALOGUE  # noqa: PLC0415

    return (f"{name}=" for name in CATALOGUE)


@words
def logs(context: click.Context) -> Iterable[str]:
    """Name the logs that there are on this machine."""
    from tickerplant.local.server import Home  # noqa: PLC0415
    from tickerplant.settings import load_settings  # noqa: PLC0415

    config: Path | None = context.params.get("config")
    return (path.stem for path in Home.of(load_settings(config)).path.glob("logs/*.log"))
