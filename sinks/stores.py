"""The stores there are, by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tickerplant.errors import UserError
from tickerplant.settings import Settings

if TYPE_CHECKING:  # so that the names are known where the libraries of stores are not installed
    from sinks.store import Store


def _clickhouse(settings: Settings) -> "Store":
    from sinks.clickhouse import ClickHouseStore  # noqa: PLC0415  # each store has a client library of its own

    return ClickHouseStore(settings)


def _parquet(settings: Settings) -> "Store":
    from sinks.parquet import ParquetStore  # noqa: PLC0415  # see above

    return ParquetStore(settings)


STORES: Final[dict[str, Callable[[Settings], "Store"]]] = {"clickhouse": _clickhouse, "parquet": _parquet}


def make_store(settings: Settings, name: str) -> "Store":
    """Make a store, without connecting.

    Raises:
        UserError: there is none of that name.
    """
    make = STORES.get(name)
    if make is None:
        raise UserError(f"no store is called {name}: there are {', '.join(sorted(STORES))}")
    return make(settings)
