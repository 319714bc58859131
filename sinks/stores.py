"""The stores there are, by name."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from tickerplant.errors import UserError
from tickerplant.settings import Settings

if TYPE_CHECKING:  # so that the names are known where the libraries of stores are not installed
    from sinks.store import Store

STORES: Final[dict[str, str]] = {
    "clickhouse": "sinks.clickhouse.ClickHouseStore",
    "parquet": "sinks.parquet.ParquetStore",
}
"""Name → class, imported when it is made: each store has a client library of its own."""


def make_store(settings: Settings, name: str) -> "Store":
    """Make a store, without connecting.

    Raises:
        UserError: there is none of that name.
    """
    if name not in STORES:
        raise UserError(f"no store is called {name}: there are {', '.join(sorted(STORES))}")
    module, _, kind = STORES[name].rpartition(".")
    store: Store = getattr(import_module(module), kind)(settings)
    return store
