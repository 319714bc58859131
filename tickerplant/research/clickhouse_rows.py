"""Rows of ClickHouse as Arrow, column by column over the native protocol."""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
from clickhouse_driver.errors import Error, ServerException

from sinks.clickhouse_client import ANSWER_S, make_client, unanswered
from sinks.tables import TABLES as STORED
from tickerplant.questions import judged
from tickerplant.research.blocks import read_arrow, select
from tickerplant.research.rows import TABLES, TIME, TIME_SQL, Clock, Name, Only, Span, in_order, schema_of, with_id
from tickerplant.security import is_loopback
from tickerplant.settings import ClickHouse

SHOWN: Final = {
    "bid_prices": "tupleElement(bids, 1) AS bid_prices",
    "bid_sizes": "tupleElement(bids, 2) AS bid_sizes",
    "ask_prices": "tupleElement(asks, 1) AS ask_prices",
    "ask_sizes": "tupleElement(asks, 2) AS ask_sizes",
    TIME: TIME_SQL,
}
"""Columns that are none of ClickHouse's: those of records that are columns of pairs there, and `TIME`."""
SORTED_BY_ID: Final = frozenset({"tick", "depth"})
"""Tables whose rows are one for each source id: what is there twice is left out here, for FINAL takes longer."""


class ClickHouseRows:
    """Reads tables of this deployment; connects with the first question."""

    def __init__(self, settings: ClickHouse) -> None:
        self._settings = settings
        # On one machine LZ4 costs both sides more than the bytes it spares: docs/decisions/0113.
        self._client = make_client(settings, ANSWER_S, is_plain=is_loopback(settings.host))
        self._has_answered = False
        read_arrow(self._client)

    def read(
        self, name: Name, span: Span, columns: Sequence[str], by: Clock = "event_time_us", only: Only | None = None
    ) -> pa.Table:
        """Read rows; raises as `Rows`."""
        table = next(each.name for each in STORED.values() if each.record is TABLES[name])
        wanted = with_id(columns)
        shown = ", ".join(SHOWN.get(each, each) for each in wanted)
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
            is_first = not (self._has_answered or isinstance(error, ServerException))
            raise (unanswered if is_first else judged)(error, self._settings) from error
        self._has_answered = True
        schema = schema_of(name, columns)
        return in_order(pa.table(found, wanted), columns).cast(schema) if found else schema.empty_table()

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
