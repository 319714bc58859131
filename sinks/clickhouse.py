"""Chunks → ClickHouse, columnar over the native protocol; one block and one insert a chunk.

Not twice: the insert carries a deduplication token made from the chunk's span; for a chunk that may have been written
before, the table is asked first which of its source ids it has (the window of tokens counts parts and can be
outlasted by a long stop); ReplacingMergeTree on the source id is the last line.
"""

import contextlib
import struct
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import pyarrow as pa
from clickhouse_driver import Client
from clickhouse_driver.errors import Error, NetworkError, SocketTimeoutError

from sinks.altered import check_columns
from sinks.chunk import Chunk, Limits
from sinks.clickhouse_client import connect, first_line, greet, is_busy, make_client
from sinks.native import ColumnClient, insert_columns
from sinks.store import Refused, StoreBusyError
from sinks.tables import RAW, TABLES, Table
from tickerplant.errors import DependencyError, UserError
from tickerplant.health import CLICKHOUSE
from tickerplant.settings import ClickHouse, Settings

REVISION: Final = 1
"""Raised when rows of the same span are made differently, so that tokens of the old way do not hide them."""

REFUSED: Final = frozenset({6, 27, 33, 38, 41, 49, 53, 69, 70, 117, 128, 131, 321, 349, 407, 469, 691})
"""Server errors that are a matter of the rows: types, ranges, constraints."""

CLIENT_REFUSED: Final = (struct.error, TypeError, ValueError, OverflowError, AttributeError)
"""What the driver raises for values that do not fit their column (its own errors have codes in `REFUSED`)."""

REFUSED_LIMIT: Final = 100
"""So many refused rows of one chunk stop the sink, instead of emptying a topic into the dead letters."""

TOGETHER: Final = 4
"""An insert waits for its turn, for the disk and for the answer: partitions need not wait for one another's."""

INSERT_SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "max_partitions_per_insert_block": 0,  # a chunk of history may span many days
}
ID: Final = ("source_topic", "source_partition", "source_offset", "source_index")

Ids = set[tuple[Any, ...]]


class ClickHouseStore:
    """Writes chunks to their tables, over a connection for each that is written at the same time."""

    name: ClassVar = "clickhouse"
    dependency: ClassVar = CLICKHOUSE

    def __init__(self, settings: Settings) -> None:
        sink = settings.sink
        self._settings = settings.clickhouse
        self._limits = Limits(
            rows=sink.flush_rows, size_bytes=sink.flush_bytes, age_s=sink.flush_ms / 1000, together=TOGETHER
        )
        self._idle: list[Writer] = []
        self._asking: Client | None = None

    @property
    def limits(self) -> Limits:
        """Flushed by time, rows and encoded bytes, as set."""
        return self._limits

    def open(self) -> None:
        """Connect, and look at all tables.

        Raises:
            DependencyError: ClickHouse does not answer.
            UserError: it refuses us; a table is missing, or was altered so that rows do not fit.
        """
        self._drop()
        writer = Writer(self._settings)
        writer.open()
        self._idle.append(writer)

    def write(self, chunk: Chunk) -> Sequence[Refused]:
        """Insert a chunk; rows that ClickHouse refuses are found by halving. Raises as `Store.write`."""
        writer = self._taken()
        try:
            return writer.write(chunk)
        finally:
            self._idle.append(writer)

    def check(self, timeout_s: float) -> None:
        """Ask for a 1 over a connection that is kept for that; raises as `Store.check`."""
        # One client for ever: each holds a megabyte until it is collected.
        self._asking = self._asking or make_client(self._settings, timeout_s)
        try:
            greet(self._asking, self._settings)
        except DependencyError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise DependencyError("clickhouse", error.address, reason) from error

    def close(self) -> None:
        """Disconnect, once nobody checks any more."""
        self._drop()
        if self._asking is not None:
            self._asking.disconnect()
        self._asking = None

    def _taken(self) -> "Writer":
        """Take the writer that was last at work: others may do so at the same time."""
        try:
            return self._idle.pop()
        except IndexError:
            return Writer(self._settings)

    def _drop(self) -> None:
        while self._idle:
            self._idle.pop().close()


class Writer:
    """Writes chunks over one connection, which is made when it is needed; not thread-safe."""

    def __init__(self, settings: ClickHouse) -> None:
        self._settings = settings
        self._suffix = settings.table_suffix
        self._client: Client | None = None

    def open(self) -> None:
        """Connect, and look at all tables; raises as `ClickHouseStore.open`."""
        for table in (RAW, *TABLES.values()):
            self._look_at(table)

    def write(self, chunk: Chunk) -> Sequence[Refused]:
        """Insert a chunk; raises as `Store.write`."""
        try:
            rows, numbers = self._missing(chunk)
            refused = salvage(rows, numbers, lambda part, first: self._insert(chunk, part, first))
        except Error as error:
            judged = self._judge(error)
            if isinstance(judged, UserError):
                self._suspect(chunk.table)
            raise judged from error
        except (OSError, EOFError, DependencyError) as error:
            self.close()
            raise StoreBusyError(f"connection lost: {type(error).__name__} {error}") from error
        except UserError:
            self._suspect(chunk.table)
            raise
        if refused:
            self._suspect(chunk.table)
        return refused

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.disconnect()
        self._client = None

    def _connected(self) -> Client:
        if self._client is None:
            self._client = connect(self._settings, ColumnClient)
        return self._client

    def _suspect(self, table: Table) -> None:
        """Look whether rows are refused because the table was altered: then all that follow would be.

        Raises:
            UserError: it was.
        """
        with contextlib.suppress(Error, OSError, EOFError, DependencyError):
            self._look_at(table)
            return
        self.close()

    def _look_at(self, table: Table) -> None:
        name = table.name + self._suffix
        database, _, bare = name.partition(".")
        query = "SELECT name, type FROM system.columns WHERE database = %(database)s AND table = %(table)s"
        found = self._connected().execute(query, {"database": database, "table": bare})
        try:
            check_columns(table, name, dict(found))
        except UserError:
            self.close()
            raise

    def _missing(self, chunk: Chunk) -> tuple[pa.Table, list[int]]:
        """Leave out the rows that the table has, where that may be; with the rows' indices within the chunk."""
        everything = list(range(chunk.row_count))
        if not chunk.is_doubtful:
            return chunk.rows, everything
        known = self._known(chunk)
        ids = zip(*(chunk.rows[name].to_pylist() for name in identity(chunk.table)), strict=True)
        numbers = [number for number, each in enumerate(ids) if each not in known]
        if len(numbers) == len(everything):
            return chunk.rows, everything
        return chunk.rows.take(pa.array(numbers, pa.int64())), numbers

    def _known(self, chunk: Chunk) -> Ids:
        """Ask which source ids the table has, within the range of each source in the chunk."""
        sources = chunk.rows.group_by(list(ID[:2])).aggregate([("source_offset", "min"), ("source_offset", "max")])
        query = (
            f"SELECT {', '.join(identity(chunk.table))} FROM {chunk.table.name}{self._suffix} "  # noqa: S608  # own names
            "WHERE source_topic = %(topic)s AND source_partition = %(partition)s "
            "AND source_offset BETWEEN %(low)s AND %(high)s"
        )
        known: Ids = set()
        for source in sources.to_pylist():
            values = {
                "topic": source["source_topic"],
                "partition": source["source_partition"],
                "low": source["source_offset_min"],
                "high": source["source_offset_max"],
            }
            known.update(self._connected().execute(query, values))
        return known

    def _insert(self, chunk: Chunk, rows: pa.Table, token_suffix: str) -> None:
        names, columns = insert_columns(rows)
        self._connected().execute(
            f"INSERT INTO {chunk.table.name}{self._suffix} ({', '.join(names)}) VALUES",
            [columns],
            settings={**INSERT_SETTINGS, "insert_deduplication_token": token(chunk) + token_suffix},
        )

    def _judge(self, error: Error) -> Exception:
        """Retryable or fatal: the one place that decides."""
        self.close()
        if isinstance(error, NetworkError | SocketTimeoutError) or is_busy(error):
            return StoreBusyError(first_line(error))
        return UserError(f"ClickHouse refuses to be written to: {first_line(error)}; was `tickerplant deploy` run?")


def identity(table: Table) -> tuple[str, ...]:
    """Name the columns that identify a row for ever; two sinks may refuse the same record, so letters have one more."""
    return (*ID, "stage") if "stage" in table.schema.names else ID


def token(chunk: Chunk) -> str:
    """Name a chunk for ClickHouse: the same span, the same token."""
    span = chunk.span
    name = f"{chunk.table.name}:{span.topic}:{span.partition}:{span.start}-{span.end}:r{REVISION}"
    return f"{name}:{span.generation}" if span.generation else name


def salvage(rows: pa.Table, numbers: Sequence[int], insert: Callable[[pa.Table, str], None]) -> list[Refused]:
    """Insert rows; where they are refused, insert each half by itself, down to single rows.

    Args:
        numbers: index of each row within its chunk.
        insert: takes rows and what to add to the token.

    Returns:
        The rows that are refused by themselves, in order.

    Raises:
        UserError: so many are that the fault must lie elsewhere.
    """
    refused: list[Refused] = []
    waiting = [(rows, numbers, "")] if rows.num_rows else []
    while waiting:
        part, indices, suffix = waiting.pop()
        reason = _refusal(insert, part, suffix)
        if reason is None:
            continue
        if part.num_rows > 1:
            half = part.num_rows // 2
            waiting.append((part.slice(half), indices[half:], f"{suffix}:1"))
            waiting.append((part.slice(0, half), indices[:half], f"{suffix}:0"))
            continue
        refused.append(Refused(row=indices[0], reason=reason))
        if len(refused) > REFUSED_LIMIT:
            raise UserError(f"ClickHouse refuses more than {REFUSED_LIMIT} rows of a chunk, the last one: {reason}")
    return refused


def _refusal(insert: Callable[[pa.Table, str], None], rows: pa.Table, suffix: str) -> str | None:
    """Insert; tell why the rows were refused, None = they were not."""
    try:
        insert(rows, suffix)
    except CLIENT_REFUSED as error:
        return f"{type(error).__name__}: {error}"
    except Error as error:
        if error.code not in REFUSED:
            raise
        return first_line(error)
    return None
