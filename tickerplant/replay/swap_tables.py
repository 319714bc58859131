"""Rebuilt rows in the place of live ones, in ClickHouse: a reader sees either the old or the new of a partition.

For each table and partition (a day, or a month) a staging table is made of the live parts, by links, without the rows
of the range, with the rebuilt ones; then `REPLACE PARTITION` puts it in place. What comes into the live table meanwhile
must not be lost: for the last look, the last rows and the replacing, live tables take no inserts, by a setting: sinks
are told to come again, and do. Whatever ends it in the midst, doing it again completes it, and lets inserts in again.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ServerException

from schemas.records import Instrument
from schemas.topics import CLEANED
from sinks.clickhouse_client import connect
from sinks.tables import TABLES, Table
from tickerplant.errors import DependencyError, UserError
from tickerplant.replay.span import Range
from tickerplant.settings import Settings

STAGING: Final = "__swap"
CLOSED: Final = "max_parts_in_total = 1"
"""A table that has a part takes no inserts then; each is refused with TOO_MANY_PARTS, which passes for sinks."""
PARTS_LIMIT: Final = re.compile(r"max_parts_in_total = (\d+)")
OPEN_TRIES, CLOSED_TRIES = 5, 50
INSERTS_WAIT_S: Final = 60.0
POLL_S: Final = 0.05
CLEAN_WAIT_S: Final = 60.0
CLEAN_POLL_S: Final = 1.0
COPY: Final = "insert_deduplicate = 0, max_partitions_per_insert_block = 0"


class Part(NamedTuple):
    """A part of a table: its name, and the blocks that it holds."""

    name: str
    min_block: int
    max_block: int


UNKNOWN: Final = frozenset({Part("", -1, -1)})
"""What a staging was made of where it is to be made again."""


@dataclass
class Staged:
    """One table's staging: of each partition the live parts that it was made of."""

    table: Table
    live: str
    rebuilt: str
    staging: str
    partitions: dict[str, frozenset[Part]] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)  # partitions without live rows: what comes into one stays


def swapped_tables(span: Range) -> list[Table]:
    """List the tables that hold rows of a range."""
    found = [table for table in (TABLES[topic.name] for topic in CLEANED) if span.concerns(table)]
    # instruments are replaced by newer lists: rebuilt rows of a past range would not show
    return [table for table in found if table.record is not Instrument]


def swap_tables(live: Settings, replay: Settings, span: Range) -> Iterator[str]:
    """Put rebuilt rows in place, a step at a time; yields what was done.

    Raises:
        UserError: tables were altered by others meanwhile, or an insert does not end: nothing was put in place. Or
            tables could not be opened again, or cleaned up: which ones, and what to do.
    """
    with closing(_Swap(live, replay, span)) as swap:
        swap.clean()
        try:
            staged = [swap.stage(table) for table in swapped_tables(span)]
            staged = [each for each in staged if each.partitions]
            yield "staged"
            swap.close_tables([each.live for each in staged])
            yield "closed"
            for each in staged:
                swap.catch_up(each)
            yield "checked"
            for each in staged:
                for partition in each.partitions:
                    swap.put(each, partition)
                    yield f"put {each.live} {partition}"
        finally:
            swap.clean(within_s=CLEAN_WAIT_S)


def open_tables(live: Settings, replay: Settings) -> None:
    """Undo what a swap left that was killed: staging tables, and live tables that take no inserts.

    Raises:
        UserError: ClickHouse refuses, of some table; all others are as they were.
        DependencyError: it does not answer.
    """
    with closing(_Swap(live, replay, None)) as swap:
        swap.clean()


class _Swap:
    """Statements of one swap."""

    def __init__(self, live: Settings, replay: Settings, span: Range | None) -> None:
        self._address = f"{live.clickhouse.host}:{live.clickhouse.port}"
        self._client: Client = connect(live.clickhouse)
        self._live, self._rebuilt = live.clickhouse.table_suffix, replay.clickhouse.table_suffix
        self._span = span

    def close(self) -> None:
        self._client.disconnect()

    def stage(self, table: Table) -> Staged:
        """Make the staging table of all partitions that hold rows of the range on either side."""
        staged = self._names(table)
        self._run(f"DROP TABLE IF EXISTS {staged.staging} SYNC")
        partitions = sorted(self._partitions(staged, staged.live) | self._partitions(staged, staged.rebuilt))
        if partitions:
            self._run(f"CREATE TABLE {staged.staging} AS {staged.live}")
            if " TTL " in self._described(staged.staging):
                self._run(f"ALTER TABLE {staged.staging} REMOVE TTL")
        for partition in partitions:
            staged.partitions[partition] = self._fill(staged, partition, OPEN_TRIES) or UNKNOWN
        return staged

    def close_tables(self, names: Sequence[str]) -> None:
        """Let no inserts in, and wait until those are over that were let in before."""
        for name in names:
            self._run(f"ALTER TABLE {name} MODIFY SETTING {CLOSED}")
        waiting = self._inserts()
        deadline_s = time.monotonic() + INSERTS_WAIT_S
        while waiting & self._inserts():
            if time.monotonic() > deadline_s:
                raise UserError(f"an insert into ClickHouse does not end within {INSERTS_WAIT_S:.0f} s; try again")
            time.sleep(POLL_S)

    def catch_up(self, staged: Staged) -> None:
        """Take in what came into the live table since its staging was made, and make sure that nothing is missing.

        Raises:
            UserError: the live table was altered.
        """
        for partition, known in staged.partitions.items():
            found = self._parts(staged.live, partition)
            fresh = newer(known, found)
            if fresh is None:
                self._run(f"ALTER TABLE {staged.staging} DROP PARTITION ID '{partition}'")
                refilled = self._fill(staged, partition, CLOSED_TRIES)
                if refilled is None:
                    raise UserError(f"{staged.live} is merged all the time and left as it was; try again")
                found = refilled
            elif fresh:
                self._copy_parts(staged, [each.name for each in fresh])
            if not found:  # the first insert into a table without parts is let in: it must not be replaced
                staged.empty.add(partition)
            self._check(staged, partition)

    def put(self, staged: Staged, partition: str) -> None:
        """Put a partition in place, at once for readers."""
        how = "ATTACH" if partition in staged.empty else "REPLACE"
        self._run(f"ALTER TABLE {staged.live} {how} PARTITION ID '{partition}' FROM {staged.staging}")

    def clean(self, *, within_s: float = 0.0) -> None:
        """Let inserts in, and drop staging tables; what fails keeps no other table closed, and is tried again.

        Args:
            within_s: for how long it is tried again; 0 = each table is tried once.

        Raises:
            UserError: ClickHouse refused to the end.
            DependencyError: it did not answer in the end.
        """
        deadline_s = time.monotonic() + within_s
        staged = [self._names(TABLES[topic.name]) for topic in CLEANED]
        closed, left = [each.live for each in staged], [each.staging for each in staged]
        while True:
            closed, why_closed = self._tried(self._open, closed)
            left, why_left = self._tried(self._drop, left)
            error = why_closed or why_left
            if error is None:
                return
            if time.monotonic() >= deadline_s:
                break
            time.sleep(CLEAN_POLL_S)
        what = f"{', '.join(closed)} may take no inserts" if closed else f"{', '.join(left)} may be left over"
        hint = f"{what}; --resume or --drop of this replay tries again"
        if isinstance(error, DependencyError):
            raise DependencyError(error.dependency, error.address, f"{error.hint}: {hint}") from error
        raise UserError(f"{error}: {hint}") from error

    def _tried(self, step: Callable[[str], None], names: Sequence[str]) -> tuple[list[str], UserError | None]:
        """Take a step for each table; returns those of which it failed, and why the last of them did."""
        failed: list[str] = []
        why: UserError | None = None
        for number, name in enumerate(names):
            try:
                step(name)
            except DependencyError as error:  # nor would it answer for the others
                return [*failed, *names[number:]], error
            except UserError as error:
                failed.append(name)
                why = error
        return failed, why

    def _open(self, name: str) -> None:
        found = PARTS_LIMIT.search(self._described(name))
        if found and found[1] == "1":
            self._run(f"ALTER TABLE {name} RESET SETTING max_parts_in_total")

    def _drop(self, name: str) -> None:
        self._run(f"DROP TABLE IF EXISTS {name} SYNC")

    def _names(self, table: Table) -> Staged:
        rebuilt = table.name + self._rebuilt
        return Staged(table, table.name + self._live, rebuilt, rebuilt + STAGING)

    def _partitions(self, staged: Staged, name: str) -> set[str]:
        condition, values = self._condition(staged)
        rows = self._run(f"SELECT DISTINCT _partition_id FROM {name} WHERE {condition}", values)  # noqa: S608  # own names
        return {row[0] for row in rows}

    def _fill(self, staged: Staged, partition: str, tries: int) -> frozenset[Part] | None:
        """Link the live parts of a partition, take the rows of the range out, and put the rebuilt ones in.

        Returns:
            The parts that were linked; None = they change all the time, nothing was done.
        """
        parts = self._link(staged, partition, tries)
        if parts is None:
            return None
        condition, values = self._condition(staged)
        where = f"IN PARTITION ID '{partition}' WHERE {condition}"
        self._run(f"ALTER TABLE {staged.staging} DELETE {where} SETTINGS mutations_sync = 2", values)
        columns = ", ".join(self._columns(staged))
        self._run(
            f"INSERT INTO {staged.staging} ({columns}) SELECT {columns} FROM {staged.rebuilt} FINAL "  # noqa: S608  # own names
            f"WHERE _partition_id = '{partition}' AND {condition} SETTINGS {COPY}",
            values,
        )
        return parts

    def _link(self, staged: Staged, partition: str, tries: int) -> frozenset[Part] | None:
        """Link parts until it is sure which ones: they may be merged or come just then; None = it is not."""
        before = self._parts(staged.live, partition)
        for _ in range(tries):
            self._run(f"ALTER TABLE {staged.staging} ATTACH PARTITION ID '{partition}' FROM {staged.live}")
            after = self._parts(staged.live, partition)
            if after == before:
                return after
            before = after
            self._run(f"ALTER TABLE {staged.staging} DROP PARTITION ID '{partition}'")
        return None

    def _copy_parts(self, staged: Staged, names: Sequence[str]) -> None:
        columns = ", ".join(self._columns(staged))
        condition, values = self._condition(staged)
        self._run(
            f"INSERT INTO {staged.staging} ({columns}) SELECT {columns} FROM {staged.live} "  # noqa: S608  # own names
            f"WHERE _part IN %(names)s AND NOT ({condition}) SETTINGS {COPY}",
            values | {"names": tuple(names)},
        )

    def _check(self, staged: Staged, partition: str) -> None:
        """Count: the staging has the live rows outside of the range, and the rebuilt ones."""
        outside = f"_partition_id = '{partition}' AND NOT"
        sides = (staged.live, staged.staging)
        if not any(
            len({self._count(staged, side + final, outside) for side in sides}) == 1
            for final in ("", " FINAL")  # merges drop doubles on one side before the other
        ):
            raise UserError(f"{staged.live} was altered meanwhile and is left as it was; try again")
        inside = f"_partition_id = '{partition}' AND"
        rebuilt, found = (self._count(staged, f"{side} FINAL", inside) for side in (staged.rebuilt, staged.staging))
        if rebuilt != found:
            raise UserError(f"{staged.rebuilt} was altered meanwhile: {rebuilt} rows, not {found}; try again")

    def _count(self, staged: Staged, name: str, where: str) -> int:
        condition, values = self._condition(staged)
        return int(self._run(f"SELECT count() FROM {name} WHERE {where} ({condition})", values)[0][0])  # noqa: S608  # own names

    def _parts(self, name: str, partition: str) -> frozenset[Part]:
        database, table = name.split(".")
        rows = self._run(
            "SELECT name, min_block_number, max_block_number FROM system.parts WHERE database = %(database)s "
            "AND table = %(table)s AND partition_id = %(partition)s AND active AND rows > 0",
            {"database": database, "table": table, "partition": partition},
        )
        return frozenset(Part(*row) for row in rows)

    def _inserts(self) -> set[str]:
        rows = self._run("SELECT query_id FROM system.processes WHERE query_kind IN ('Insert', 'AsyncInsertFlush')")
        return {row[0] for row in rows}

    def _columns(self, staged: Staged) -> list[str]:
        database, table = staged.live.split(".")
        rows = self._run(
            "SELECT name FROM system.columns WHERE database = %(database)s AND table = %(table)s "
            "AND default_kind NOT IN ('ALIAS', 'MATERIALIZED') ORDER BY position",
            {"database": database, "table": table},
        )
        return [row[0] for row in rows]

    def _condition(self, staged: Staged) -> tuple[str, dict[str, Any]]:
        assert self._span is not None
        return self._span.sql(staged.table)

    def _described(self, name: str) -> str:
        database, table = name.split(".")
        query = "SELECT create_table_query FROM system.tables WHERE database = %(database)s AND name = %(table)s"
        rows = self._run(query, {"database": database, "table": table})
        return str(rows[0][0]) if rows else ""

    def _run(self, query: str, values: dict[str, Any] | None = None) -> Any:
        try:
            return self._client.execute(query, values or {})
        except ServerException as error:
            raise UserError(f"ClickHouse refuses: {str(error.message or error).splitlines()[0][:300]}") from error
        except (Error, OSError, EOFError) as error:
            self._client.disconnect()
            raise DependencyError("clickhouse", self._address, type(error).__name__) from error


def newer(known: frozenset[Part], found: frozenset[Part]) -> list[Part] | None:
    """Tell which parts came since: all of them of later blocks; None = the known ones are not there as they were.

    >>> newer(frozenset({Part("a", 1, 3)}), frozenset({Part("a", 1, 3), Part("b", 5, 5)}))
    [Part(name='b', min_block=5, max_block=5)]
    """
    last_block = max((part.max_block for part in known), default=-1)
    fresh = sorted(found - known)
    return fresh if known <= found and all(part.min_block > last_block for part in fresh) else None
