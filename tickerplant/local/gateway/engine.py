"""chdb in this process: one engine on one data folder, and a session (a connection and a thread) for each client.

A session's methods block and run on its own thread by `Session.run`; the GIL is released within the engine.
"""

import asyncio
import errno
import fcntl
import itertools
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from xml.sax.saxutils import escape

from tickerplant.errors import UserError
from tickerplant.lean import kept_out
from tickerplant.local.gateway.blocks import Columns
from tickerplant.local.gateway.faults import NOT_ENOUGH_SPACE, UNKNOWN_SETTING, QueryError, from_engine
from tickerplant.local.gateway.guard import check_setting
from tickerplant.local.gateway.shortage import Shortage

with kept_out("pyarrow", "pandas", "numpy"):  # for results as tables, which we never ask for: 0.2 s and 50 MB
    from chdb.state import connect

T = TypeVar("T")

QUERY_MEMORY_BYTES = 1_000_000_000
QUERY_S = 600  # a client that needs longer asks for it: max_execution_time
SERVER_MEMORY_BYTES = 2_000_000_000
NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))
_MIB = 1024 * 1024

# The caches of a server are sized for a server: 5 GiB of marks. These suffice for days of ticks.
_CONFIG = {
    "max_server_memory_usage": SERVER_MEMORY_BYTES,
    "mark_cache_size": 32 * _MIB,
    "index_mark_cache_size": 4 * _MIB,
    "primary_index_cache_size": 16 * _MIB,
    "query_condition_cache_size": 4 * _MIB,
    "compiled_expression_cache_size": 8 * _MIB,
    "mmap_cache_size": 64,
    "max_thread_pool_size": 2000,
    "max_thread_pool_free_size": 8,
    "background_pool_size": 2,
    "background_schedule_pool_size": 2,
}
# What every session starts with; a setting taken back returns to these, not to the engine's default.
_BASE = {
    "async_insert": "0",
    "implicit_select": "0",
    "log_queries": "0",
    "max_execution_time": str(QUERY_S),
    "max_memory_usage": str(QUERY_MEMORY_BYTES),
    "max_threads": str(min(4, os.cpu_count() or 1)),
    "allow_introspection_functions": "0",
}
# All rows of an insert become one block: a failure leaves none, and a part holds all rows of its partition.
ATOMIC_INSERT = {
    "max_insert_block_size": "1000000000",
    "min_insert_block_size_rows": "1000000000",
    "min_insert_block_size_bytes": "1000000000000",
}
_TABLE_LISTS = ("tables", "detached_tables")
_OURS = frozenset(("log_comment", "readonly", "profile"))
_BLANK = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_WRITES = re.compile(rf"{_BLANK}INSERT\b", re.IGNORECASE | re.DOTALL)
_KEEPS_COLUMNS = re.compile(
    rf"{_BLANK}(?:SELECT|WITH|INSERT|SET|USE|DESC|DESCRIBE|SHOW|EXISTS|EXPLAIN|CHECK|KILL)\b", re.IGNORECASE | re.DOTALL
)
_EACH_INSERT = "insert_deduplication_token"  # another with each insert, and nothing to its columns
_SAMPLES = 1000
_SETTING_NAME = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)


class Chunk(NamedTuple):
    """A piece of an answer: formatted bytes, rows in it, and what was read from storage to make it."""

    data: bytes
    rows: int
    read_rows: int
    read_bytes: int


class Head(NamedTuple):
    """The text of an INSERT before its rows: `INSERT INTO table (columns)`, and `SETTINGS ...` or nothing."""

    target: str
    settings: str


class Samples:
    """Columns that inserts give, as the engine described them; forgotten when a statement may have changed some.

    Describing takes half as long as a small insert.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = 0
        self._known: dict[Hashable, Columns] = {}

    def columns(self, key: Hashable, describe: Callable[[], Columns]) -> Columns:
        """Tell the columns of a key; described where they are not known."""
        with self._lock:
            found, version = self._known.get(key), self._version
        if found is None:
            found = describe()
            with self._lock:
                if version == self._version and len(self._known) < _SAMPLES:
                    self._known[key] = found
        return found

    def forget(self) -> None:
        """Forget all, and what is being described now."""
        with self._lock:
            self._version += 1
            self._known.clear()


class Written(NamedTuple):
    """What an insert wrote, materialized views included."""

    rows: int
    size_bytes: int


class Engine:
    """The embedded engine.

    Args:
        folder: its data; created where missing.

    Raises:
        UserError: the folder is in use by another process, or is no data folder of ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder)
        self.spool = _empty(self.folder / "spool")
        self.samples = Samples()
        self._tags = itertools.count(1)
        config = self.folder / "gateway.xml"
        config.write_text(_config_xml(self.folder), encoding="utf-8")
        self._address = f"{self.folder}?config-file={config}"
        self._keeper = self._connect()
        self.shortage = Shortage(self.folder, lambda sql: _lines(_asked(self._keeper, sql, "TSVRaw")))
        self._control = self.session()
        self.setting_names = frozenset(self._control.values("SELECT name FROM system.settings"))
        self.version, self.timezone = self._control.values("SELECT arrayJoin([version(), timezone()])")
        _bar_file_system(self._control, self.folder)

    def session(self) -> "Session":
        """Open a session; blocks for about a millisecond."""
        connection = self._connect()
        try:
            return Session(self, connection, tag=f"gateway-{next(self._tags)}")
        except QueryError:
            connection.close()
            raise

    async def kill(self, tag: str) -> None:
        """End the running query of a session; it fails with code 394, or has ended already."""
        sql = f"KILL QUERY WHERE Settings['log_comment'] = '{tag}' ASYNC"
        await self._control.run(lambda: self._control.query(sql))

    def close(self) -> None:
        """Close the engine: the last connection to close flushes all. All sessions must be closed before."""
        self._keeper.close()
        self._control.close()
        os.close(self._lock)

    def _connect(self) -> Any:
        try:
            return connect(self._address)
        except RuntimeError as error:
            raise UserError(f"ClickHouse's engine does not start on {self.folder}: {error}") from error


class Session:
    """One client's connection: its database, temporary tables and settings."""

    def __init__(self, engine: Engine, connection: Any, *, tag: str) -> None:
        self._engine = engine
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=tag)
        self._base = _BASE | {"log_comment": tag}
        self._applied: dict[str, str] = {}
        self._own: list[str] = []
        self._database: str | None = "default"  # None: a USE of the client has changed it
        self.tag = tag
        self._set(self._base)

    async def run(self, work: Callable[[], T]) -> T:
        """Run one of the blocking methods on this session's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @property
    def is_changed(self) -> bool:
        """Whether statements of the client have left something behind."""
        return bool(self._own) or self._database is None

    async def kill(self) -> None:
        """End the running query."""
        await self._engine.kill(self.tag)

    def use(self, database: str) -> None:
        """Change the current database.

        Raises:
            QueryError: 81, there is none of this name.
        """
        if database != self._database:
            self.query("USE " + _name(database))
            self._database = database

    def apply(self, settings: Mapping[str, str]) -> None:
        """Make these the settings of the next query, taking back those of the last.

        Raises:
            QueryError: a value does not fit, or the guard refuses a name.
        """
        wanted = {name: value for name, value in settings.items() if name not in _OURS}
        for name in wanted:
            check_setting(name)
        if wanted == self._applied:
            return
        gone = [name for name in self._applied if name not in wanted]
        changed = {name: value for name, value in wanted.items() if self._applied.get(name) != value}
        self._applied |= wanted
        self._take_back(gone)
        self._set(changed)
        self._applied = wanted

    def _take_back(self, names: Iterable[str]) -> None:
        defaults = {name: self._base.get(name) for name in names}
        self._set(defaults)
        if defaults:
            for statement in self._own:
                self.query(statement)

    def _set(self, values: Mapping[str, str | None]) -> None:
        if values:
            self.query("SET " + ", ".join(f"{name}={_literal(value)}" for name, value in values.items()))

    def known(self, settings: Mapping[str, str], *, strict: bool) -> dict[str, str]:
        """Keep the settings that this engine has.

        Raises:
            QueryError: 115, there is an unknown one and `strict` is set.
        """
        names = self._engine.setting_names
        unknown = next((name for name in settings if name not in names and not name.startswith("SQL_")), None)
        if unknown is not None and strict:
            raise QueryError(UNKNOWN_SETTING, f"Unknown setting '{unknown}'.")
        return {name: value for name, value in settings.items() if name in names and _SETTING_NAME.fullmatch(name)}

    def change(self, statement: str) -> None:
        """Run a SET or USE of the client, and keep it in mind: it holds for the session."""
        self.query(statement)
        if statement[:3].upper() == "SET":
            self._own.append(statement)
        else:
            self._database = None

    def query(self, sql: str, output: str = "Native", parameters: Mapping[str, str] | None = None) -> Chunk:
        """Run a statement and return the whole answer.

        Raises:
            QueryError: with the engine's code.
        """
        return _chunk(self._run(sql, output, parameters))

    def _run(self, sql: str, output: str, parameters: Mapping[str, str] | None) -> Any:
        begun = self._engine.shortage.begin()
        if _KEEPS_COLUMNS.match(sql):
            result = _asked(self._connection, sql, output, parameters)
        else:
            try:
                result = _asked(self._connection, sql, output, parameters)
            finally:
                self._engine.samples.forget()
        if _WRITES.match(sql):
            self._engine.shortage.confirm(begun)
        return result

    def values(self, sql: str) -> list[str]:
        """Run a query for one column and return it as text; values must be free of line ends."""
        return self.query(sql, "TSV").data.decode().splitlines()

    def stream(self, sql: str, output: str = "Native", parameters: Mapping[str, str] | None = None) -> "Stream":
        """Begin a SELECT.

        Raises:
            QueryError: with the engine's code; later codes come with the first fetch.
        """
        self._engine.shortage.begin()
        try:
            return Stream(self._connection.send_query(sql, output, params=dict(parameters or {})))
        except RuntimeError as error:
            raise from_engine(error) from None

    def insert(self, head: Head, rows_format: str, pieces: Iterable[bytes]) -> Written:
        """Run an INSERT and hand it all pieces of its rows.

        They go through a file: chdb 4.4's `send_insert` reports success where a constraint, a partition limit or a
        view has refused the rows (tried 2026-11), a query from a file reports the error, and takes the same time.

        Raises:
            QueryError: with the engine's code; nothing has been written.
        """
        try:
            with tempfile.NamedTemporaryFile(dir=self._engine.spool) as spool:
                spool.writelines(pieces)
                spool.flush()
                source = f"FROM INFILE {_literal(spool.name)}"
                result = self._run(f"{head.target} {source} {head.settings} FORMAT {rows_format}", "Native", None)
                return Written(result.rows_written(), result.bytes_written())
        except OSError as error:  # of the file, or of the connection that the pieces come from
            if error.errno not in NO_SPACE:
                raise
            raise QueryError(NOT_ENOUGH_SPACE, f"cannot keep the rows: {error.strerror}") from error

    def describe(self, query: str) -> Columns:
        """Return name and type of each column of a query."""
        rows = [line.split(b"\t") for line in self.query(f"DESCRIBE ({query})", "TSVRaw").data.splitlines()]
        return tuple((row[0], row[1]) for row in rows)

    def sample(self, query: str) -> Columns:
        """Return name and type of each column that an insert gives, told by a query; see `Samples`."""
        if self.is_changed:  # names may mean something else here
            return self.describe(query)
        settings = frozenset(each for each in self._applied.items() if each[0] != _EACH_INSERT)
        key = (self._database, query, settings)
        return self._engine.samples.columns(key, lambda: self.describe(query))

    def close(self) -> None:
        """Close the connection; what runs is cancelled. Blocks until it has ended."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._connection.close()


class Stream:
    """The answer to a SELECT, a chunk at a time."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def fetch(self) -> Chunk | None:
        """Return the next chunk; None at the end.

        Raises:
            QueryError: with the engine's code.
        """
        try:
            result = self._result.fetch()
        except RuntimeError as error:
            raise from_engine(error) from None
        return None if result is None else _chunk(result)

    def cancel(self) -> None:
        """Stop; without effect at the end."""
        try:
            self._result.cancel()
        except RuntimeError as error:
            raise from_engine(error) from None


def _asked(connection: Any, sql: str, output: str, parameters: Mapping[str, str] | None = None) -> Any:
    try:
        return connection.query(sql, output, params=dict(parameters or {}))
    except RuntimeError as error:
        raise from_engine(error) from None


def _lines(result: Any) -> list[str]:
    return bytes(result.bytes()).decode().splitlines()


def _chunk(result: Any) -> Chunk:
    return Chunk(bytes(result.bytes()), result.rows_read(), result.storage_rows_read(), result.storage_bytes_read())


def _literal(value: str | None) -> str:
    if value is None:
        return "DEFAULT"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _name(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _config_xml(folder: Path) -> str:
    lines = "".join(f"<{name}>{value}</{name}>" for name, value in _CONFIG.items())
    return f"<clickhouse><path>{escape(str(folder))}</path>{lines}</clickhouse>"


def _lock(folder: Path) -> int:
    held = os.open(folder / "gateway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise UserError(
            f"the data folder {folder} is in use by another process; stop that one, or choose another folder"
        ) from None
    return held


def _empty(folder: Path) -> Path:
    """Make a folder without what a killed process has left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _bar_file_system(session: Session, folder: Path) -> None:
    """Make `default` an ordinary database: chdb lays the file system under it, every path would be a table."""
    tables = [session.values(f"SELECT 1 FROM system.{name} WHERE database = 'default'") for name in _TABLE_LISTS]  # noqa: S608
    if not any(tables):
        statements = ("DROP DATABASE default", "CREATE DATABASE default ENGINE = Atomic")
    elif (folder / "metadata" / "default.sql").exists():
        statements = ("DETACH DATABASE default", "ATTACH DATABASE default")
    else:
        raise UserError(f"the data folder {folder} was written by another program; choose another folder")
    for statement in (*statements, "USE default"):
        session.query(statement)
