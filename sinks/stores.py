"""The stores there are, by name."""

from collections.abc import Callable
from typing import Final

from sinks.clickhouse import ClickHouseStore
from sinks.parquet import ParquetStore
from sinks.store import Store
from tickerplant.errors import UserError
from tickerplant.settings import Settings

STORES: Final[dict[str, Callable[[Settings], Store]]] = {
    ClickHouseStore.name: ClickHouseStore,
    ParquetStore.name: ParquetStore,
}


def make_store(settings: Settings, name: str) -> Store:
    """Make a store, without connecting.

    Raises:
        UserError: there is none of that name.
    """
    make = STORES.get(name)
    if make is None:
        raise UserError(f"no store is called {name}: there are {', '.join(sorted(STORES))}")
    return make(settings)
