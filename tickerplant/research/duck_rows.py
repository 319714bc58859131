"""Rows of a DuckDB database as Arrow: of its tables or views `tick`, `depth` and `quality`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from tickerplant.errors import UserError
from tickerplant.extras import need_library
from tickerplant.research.rows import TIME, TIME_SQL, Clock, Name, Only, Span, in_order, schema_of, with_id

HOW: Final = (
    "make views over the lake: CREATE VIEW {name} AS SELECT * FROM "
    "read_parquet('lake/{folder}/**/*.parquet', hive_partitioning = true)"
)
FOLDERS: Final[dict[Name, str]] = {
    "tick": "cleaned/tick",
    "depth": "cleaned/depth",
    "quality": "quality/event",
    "bar": "cleaned/bar",
}


class DuckRows:
    """Reads a database file; it is not written to.

    Raises:
        UserError: no file is named, or it is none of DuckDB.
    """

    def __init__(self, database: str | None) -> None:
        need_library("duckdb")
        if database is None:
            raise UserError("no DuckDB file is named: give one by --database")
        if not Path(database).is_file():
            raise UserError(f"DuckDB file {database} does not exist: name one by --database")
        import duckdb  # noqa: PLC0415  # an extra

        self._error: type[Exception] = duckdb.Error
        self._database = database
        try:
            self._client: Any = duckdb.connect(database, read_only=True)
        except duckdb.Error as error:
            raise UserError(f"{database} cannot be opened by DuckDB: {_first_line(error)}") from None

    def read(
        self, name: Name, span: Span, columns: Sequence[str], by: Clock = "event_time_us", only: Only | None = None
    ) -> pa.Table:
        """Read rows; raises as `Rows`."""
        wanted = with_id(columns)
        conditions = "".join(f" AND {each} = ?" for each in only or ())
        query = (
            f"SELECT {', '.join(TIME_SQL if each == TIME else each for each in wanted)} FROM {name} "  # noqa: S608  # ours
            f"WHERE venue = ? AND symbol = ? AND {by} >= ? AND {by} < ?{conditions}"
        )
        try:
            values = [span.venue, span.symbol, span.from_us, span.to_us, *(only or {}).values()]
            rows = self._client.sql(query, params=values).to_arrow_table()
        except self._error as error:
            how = HOW.format(name=name, folder=FOLDERS[name])
            raise UserError(f"{self._database}: {_first_line(error)}; {how}") from None
        return in_order(rows.cast(schema_of(name, wanted)), columns)

    def close(self) -> None:
        """Close the file."""
        self._client.close()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
