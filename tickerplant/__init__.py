"""The frame around producers, processors and sinks: command line, settings, Kafka access, metrics, the local stack.

For users of the data: `tickerplant.subscribe` follows topics; `trades`, `quotes`, `bars`, `book_at`, `books` and
`features` read what is stored, `read_lake` and `lake_files` the lake as it is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickerplant.lake import lake_files, read_lake
    from tickerplant.research.books import BookView
    from tickerplant.research.frames import bars, book_at, books, features, quotes, trades
    from tickerplant.subscription import Subscription, subscribe

__all__ = [
    "BookView",
    "Subscription",
    "bars",
    "book_at",
    "books",
    "features",
    "lake_files",
    "quotes",
    "read_lake",
    "subscribe",
    "trades",
]

_MODULES = dict.fromkeys(("Subscription", "subscribe"), "subscription") | dict.fromkeys(
    ("lake_files", "read_lake"), "lake"
)


def __getattr__(name: str) -> Any:
    """Import what users of the data need when they ask for it: processes of ours need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"tickerplant.{_MODULES.get(name, 'research.frames')}"), name)
