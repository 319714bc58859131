"""Rows of ClickHouse as Arrow, column by column over the native protocol."""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
from clickhouse_driver.errors import Error

from sinks.clickhouse_client import connect
from sinks.tables import TABLES as STORED
from tickerplant.questions import judged
from tickerplant.research.rows import TABLES, Clock, Name, Span, in_order, schema_of, with_id
from tickerplant.settings import ClickHouse

PAIRS: Final = {
    "bid_prices": "tupleElement(bids, 1)",
    "bid_sizes": "tupleElement(bids, 2)",
    "ask_prices": "tupleElement(asks, 1)",
    "ask_sizes": "tupleElement(asks, 2)",
}
"""Columns of records that are columns of pairs in ClickHouse."""


class ClickHouseRows:
    """Reads tables of this deployment."""

    def __init__(self, settings: ClickHouse) -> None:
        self._settings = settings
        self._client = connect(settings)

    def read(self, name: Name, span: Span, columns: Sequence[str], by: Clock = "event_time_us") -> pa.Table:
        """Read rows; raises as `Rows`."""
        table = next(each.name for each in STORED.values() if each.record is TABLES[name])
        wanted = with_id(columns)
        shown = ", ".join(f"{PAIRS[each]} AS {each}" if each in PAIRS else each for each in wanted)
        query = (
            f"SELECT {shown} FROM {table}{self._settings.table_suffix} FINAL "  # noqa: S608  # our own names
            "WHERE venue = %(venue)s AND symbol = %(symbol)s "
            f"AND {by} >= %(from_us)s AND {by} < %(to_us)s"
        )
        values = {"venue": span.venue, "symbol": span.symbol, "from_us": span.from_us, "to_us": span.to_us}
        try:
            found = self._client.execute(query, values, columnar=True)
        except (Error, OSError, EOFError) as error:
            raise judged(error, self._settings) from error
        schema = schema_of(name, wanted)
        arrays = [pa.array(values, field.type) for values, field in zip(found, schema, strict=True)] if found else []
        return in_order(pa.Table.from_arrays(arrays, schema=schema) if arrays else schema.empty_table(), columns)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
