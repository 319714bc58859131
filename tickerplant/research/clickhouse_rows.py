"""Rows of ClickHouse as Arrow, column by column over the native protocol."""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
from clickhouse_driver.errors import Error

from sinks.clickhouse_client import connect
from sinks.tables import TABLES as STORED
from tickerplant.questions import judged
from tickerplant.research.blocks import read_arrow, select
from tickerplant.research.rows import TABLES, Clock, Name, Only, Span, in_order, schema_of, with_id
from tickerplant.settings import ClickHouse

PAIRS: Final = {
    "bid_prices": "tupleElement(bids, 1)",
    "bid_sizes": "tupleElement(bids, 2)",
    "ask_prices": "tupleElement(asks, 1)",
    "ask_sizes": "tupleElement(asks, 2)",
}
"""Columns of records that are columns of pairs in ClickHouse."""
SORTED_BY_ID: Final = frozenset({"tick", "depth"})
"""Tables whose rows are one for each source id: what is there twice is left out here, for FINAL takes longer."""


class ClickHouseRows:
    """Reads tables of this deployment."""

    def __init__(self, settings: ClickHouse) -> None:
        self._settings = settings
        self._client = connect(settings)
        read_arrow(self._client)

    def read(
        self, name: Name, span: Span, columns: Sequence[str], by: Clock = "event_time_us", only: Only | None = None
    ) -> pa.Table:
        """Read rows; raises as `Rows`."""
        table = next(each.name for each in STORED.values() if each.record is TABLES[name])
        wanted = with_id(columns)
        shown = ", ".join(f"{PAIRS[each]} AS {each}" if each in PAIRS else each for each in wanted)
        final = "" if name in SORTED_BY_ID else " FINAL"
        conditions = "".join(f" AND {each} = %(only_{each})s" for each in only or ())
        query = (
            f"SELECT {shown} FROM {table}{self._settings.table_suffix}{final} "  # noqa: S608  # our own names
            "WHERE venue = %(venue)s AND symbol = %(symbol)s "
            f"AND {by} >= %(from_us)s AND {by} < %(to_us)s{conditions}"
        )
        values: dict[str, Any] = {f"only_{each}": value for each, value in (only or {}).items()}
        values |= {"venue": span.venue, "symbol": span.symbol, "from_us": span.from_us, "to_us": span.to_us}
        try:
            found = select(self._client, query, values)
        except (Error, OSError, EOFError) as error:
            raise judged(error, self._settings) from error
        schema = schema_of(name, wanted)
        if not found:
            return schema.empty_table().select(list(columns))
        arrays = [column.cast(field.type) for column, field in zip(found, schema, strict=True)]
        return in_order(pa.Table.from_arrays(arrays, schema=schema), columns)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
