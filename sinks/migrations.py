"""Numbered SQL files in `sinks/ddl` → tables in ClickHouse, each applied once, in order; then how long rows are kept.

What was applied is recorded in `metadata.migrations` with a checksum of the file. Statements use IF NOT EXISTS, so a
migration that was cut off half-way is repeated as a whole.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Protocol

from sinks.clickhouse_client import connect
from tickerplant.clock import NowUs, now_us
from tickerplant.errors import UserError
from tickerplant.settings import Settings

NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
STATEMENT: Final = re.compile(r"""(?:--[^\n]*|'(?:[^'\\]|\\.)*'|`[^`]*`|"[^"]*"|[^;'`"-]|-)+""", re.DOTALL)
COMMENT: Final = re.compile(r"^\s*--[^\n]*\n", re.MULTILINE)
LEDGER: Final = (
    "CREATE DATABASE IF NOT EXISTS metadata",
    """CREATE TABLE IF NOT EXISTS metadata.migrations
    (number UInt32, name String, checksum String, applied_time_us Int64)
    ENGINE = ReplacingMergeTree ORDER BY number""",
)
EXPIRING: Final = (
    "market_data.tick",
    "market_data.depth",
    "market_data.tick_raw",
    "market_data.ticker",
    "market_data.candle",
    "market_data.derivative",
    "features.market_signals",
    "metadata.quality",
    "metadata.dead_letters",
)
"""Tables whose rows are kept for `clickhouse.retention_days`; all others for ever."""


class Executor(Protocol):
    """What runs one statement: a ClickHouse client."""

    def execute(self, query: str, params: Any = None) -> Any:
        """Run a statement; rows, or the number of rows inserted."""


@dataclass(frozen=True)
class Migration:
    """One file: its number orders it, its checksum tells whether it was changed after it was applied."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrate(settings: Settings) -> list[str]:
    """Apply the migrations that are missing, and set retention; returns the names of those applied.

    Raises:
        DependencyError: ClickHouse does not answer.
        UserError: an applied migration was changed or is missing here, or ClickHouse refuses a statement.
    """
    client = connect(settings.clickhouse)
    try:
        applied = apply(client, read_migrations(), now_us=now_us)
        keep(client, settings.clickhouse.retention_days)
    finally:
        client.disconnect()
    return applied


def read_migrations() -> list[Migration]:
    """Read the files of this version, in order.

    Raises:
        UserError: a file's name or number does not fit.
    """
    files = sorted((file for file in resources.files("sinks").joinpath("ddl").iterdir()), key=lambda file: file.name)
    return ordered(Migration(_number(file.name), file.name, file.read_text(encoding="utf-8")) for file in files)


def ordered(migrations: Iterable[Migration]) -> list[Migration]:
    """Check that numbers are 1, 2, 3 ... in the order of names.

    Raises:
        UserError: they are not.
    """
    found = list(migrations)
    if [each.number for each in found] != list(range(1, len(found) + 1)):
        raise UserError(f"migrations are not numbered 0001, 0002 ...: {', '.join(each.name for each in found)}")
    return found


def apply(client: Executor, migrations: Sequence[Migration], *, now_us: NowUs) -> list[str]:
    """Apply those that the ledger does not have, in order, each recorded at once; raises as `migrate`."""
    for statement in LEDGER:
        client.execute(statement)
    done = dict(client.execute("SELECT number, (name, checksum) FROM metadata.migrations FINAL ORDER BY number"))
    _check(migrations, done)
    missing = [each for each in migrations if each.number not in done]
    for migration in missing:
        for statement in statements(migration.text):
            client.execute(statement)
        row = (migration.number, migration.name, migration.checksum, now_us())
        client.execute("INSERT INTO metadata.migrations VALUES", [row])
    return [each.name for each in missing]


def keep(client: Executor, retention_days: int) -> None:
    """Set how long rows of the expiring tables are kept, where it is not so already."""
    for table in EXPIRING:
        database, name = table.split(".")
        query = "SELECT create_table_query FROM system.tables WHERE database = %(database)s AND name = %(name)s"
        found = client.execute(query, {"database": database, "name": name})
        if found and f"toIntervalDay({retention_days})" not in found[0][0]:
            client.execute(
                f"ALTER TABLE {table} MODIFY TTL toDateTime(intDiv(event_time_us, 1000000)) "
                f"+ toIntervalDay({retention_days}) SETTINGS materialize_ttl_after_modify = 0"
            )


def statements(text: str) -> Iterator[str]:
    """Split a file at the semicolons outside of strings and comments; comments before a statement are left out."""
    for match in STATEMENT.finditer(text):
        statement = COMMENT.sub("", match[0] + "\n").strip()
        if statement:
            yield statement


def _check(migrations: Sequence[Migration], done: dict[int, tuple[str, str]]) -> None:
    known = {each.number: each for each in migrations}
    for number, (name, checksum) in sorted(done.items()):
        migration = known.get(number)
        if migration is None:
            raise UserError(f"ClickHouse has migration {name}, this version does not: it is older than the database")
        if migration.checksum != checksum:
            raise UserError(f"migration {migration.name} was changed after it was applied: undo that, add a new one")


def _number(name: str) -> int:
    match = NAME.fullmatch(name)
    if match is None:
        raise UserError(f"sinks/ddl/{name} is not named NNNN_what.sql")
    return int(match[1])
