"""clickhouse-driver reaches the gateway as it reaches a server."""

import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen
from uuid import UUID

import numpy as np
import pytest
import zstandard
from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException

COLUMNS = {
    "i64": ("Int64", [-(2**63), 5]),
    "u64": ("UInt64", [2**64 - 1, 5]),
    "i32": ("Int32", [-5, 5]),
    "f64": ("Float64", [0.1, -1e300]),
    "s": ("String", ["", "BTC/USDT ü" * 50]),
    "lc": ("LowCardinality(String)", ["BINANCE", "IBKR"]),
    "e": ("Enum8('BUY' = 1, 'SELL' = 2, 'UNKNOWN' = 0)", ["SELL", "UNKNOWN"]),
    "nf": ("Nullable(Float64)", [None, 2.5]),
    "levels": ("Array(Tuple(Float64, Float64))", [[(1.0, 2.0), (3.0, 4.0)], []]),
    "af": ("Array(Float64)", [[], [1.5]]),
    "dt": ("DateTime", [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).replace(tzinfo=None)] * 2),
    "dt64": ("DateTime64(6, 'UTC')", [datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)] * 2),
    "d": ("Date", [date(2026, 1, 2), date(1970, 1, 1)]),
    "b": ("Bool", [True, False]),
    "u8": ("UInt8", [0, 255]),
    "m": ("Map(String, String)", [{"a": "b"}, {}]),
    "id": ("UUID", [UUID(int=1), UUID(int=2**128 - 1)]),
}
NAMES = ", ".join(COLUMNS)


def create(client: Client, table: str, columns: str = "a Int64, b String", rest: str = "") -> None:
    client.execute(f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY tuple() {rest}")


@pytest.fixture
def zstd_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the driver the package `zstd` by the one we have: the bytes are the same."""
    module = SimpleNamespace(compress=zstandard.compress, decompress=zstandard.decompress)
    monkeypatch.setitem(sys.modules, "zstd", module)


@pytest.mark.parametrize("compression", [False, "lz4", "lz4hc", "zstd"])
def test_every_column_type_comes_back_as_it_was_inserted(
    gateway: Any, zstd_module: None, table: str, compression: bool | str
) -> None:
    client = gateway.driver(compression=compression)
    create(client, table, ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items()))
    values = [values for _, values in COLUMNS.values()]

    written = client.execute(f"INSERT INTO {table} ({NAMES}) VALUES", values, columnar=True)
    rows, types = client.execute(f"SELECT {NAMES} FROM {table}", with_column_types=True)

    assert (2, list(zip(*values, strict=True))) == (written, rows)
    assert list(COLUMNS) == [name for name, _ in types]
    client.disconnect()


def test_rows_are_inserted_too(client: Client, table: str) -> None:
    create(client, table)

    assert client.execute(f"INSERT INTO {table} VALUES", [(1, "x"), (2, "y")]) == 2
    client.execute(f"INSERT INTO {table} (b, a) FORMAT Native", [{"a": 3, "b": "z"}])
    client.execute(f"INSERT INTO {table} VALUES (4, 'in; line')")

    assert client.execute(f"SELECT * FROM {table} ORDER BY a") == [(1, "x"), (2, "y"), (3, "z"), (4, "in; line")]


def test_numpy_columns_come_and_go(gateway: Any, table: str) -> None:
    client = gateway.driver(settings={"use_numpy": True})
    create(client, table, "a Int64, f Float64")
    numbers = np.arange(200_000)

    client.execute(f"INSERT INTO {table} VALUES", [numbers, numbers / 2], columnar=True)
    found = client.execute(f"SELECT a, f FROM {table} ORDER BY a", columnar=True)

    assert np.array_equal(numbers, found[0])
    assert np.array_equal(numbers / 2, found[1])
    client.disconnect()


def test_a_large_answer_streams(client: Client) -> None:
    rows = client.execute_iter(
        "SELECT number, toString(number) FROM numbers(300000)", settings={"max_block_size": 10_000}
    )

    assert sum(number for number, _ in rows) == 300_000 * 299_999 // 2


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT 1 AS a, 'x' AS b WHERE 0", ["a", "b"]),
        ("SELECT * FROM system.one WHERE dummy = 5", ["dummy"]),
        ("SHOW TABLES LIKE 'no such table'", ["name"]),
        ("SHOW DATABASES LIKE 'no such database'", ["name"]),
    ],
)
def test_an_empty_answer_has_its_columns(client: Client, sql: str, names: list[str]) -> None:
    rows, types = client.execute(sql, with_column_types=True)

    assert ([], names) == (rows, [name for name, _ in types])


def test_ddl_and_what_shows_it(client: Client, table: str) -> None:
    create(client, table)

    assert client.execute(f"EXISTS {table}") == [(1,)]
    assert (table,) in client.execute("SHOW TABLES")
    assert [row[:2] for row in client.execute(f"DESCRIBE {table}")] == [("a", "Int64"), ("b", "String")]
    assert "MergeTree" in client.execute(f"SHOW CREATE TABLE {table}")[0][0]
    assert client.execute(f"SELECT engine FROM system.tables WHERE name = '{table}'") == [("MergeTree",)]
    client.execute(f"ALTER TABLE {table} ADD COLUMN c UInt8")
    client.execute(f"DROP TABLE {table}")
    assert client.execute(f"EXISTS {table}") == [(0,)]


def test_columns_the_walk_does_not_know_are_answered(client: Client) -> None:
    rows = client.execute(
        "SELECT CAST('x', 'Variant(String, UInt64)')::String, sumState(1) IS NOT NULL FROM numbers(3)"
    )

    assert rows == [("x", 1)]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM no_such_table", 60),
        ("SELECT no_such_column FROM system.one", 47),
        ("SELEC 1", 62),
        ("SELECT 1; SELECT 2", 62),
        ("USE no_such_database", 81),
        ("SELECT throwIf(number = 150000) FROM numbers(200000)", 395),
        ("INSERT INTO no_such_table VALUES", 60),
        ("SELECT * FROM file('/etc/hostname')", 497),
    ],
)
def test_an_error_has_clickhouses_code_and_the_connection_goes_on(client: Client, sql: str, code: int) -> None:
    with pytest.raises(ServerException) as caught:
        client.execute(sql, [(1,)] if sql.startswith("INSERT") else None)

    assert code == caught.value.code
    assert client.execute("SELECT 1") == [(1,)]


def test_settings_hold_for_their_query_only(client: Client) -> None:
    sql = "SELECT getSetting('max_block_size'), getSetting('max_threads')"
    before = client.execute(sql)

    assert client.execute(sql, settings={"max_block_size": 777, "max_threads": 1}) == [(777, 1)]
    assert before == client.execute(sql)


def test_settings_of_the_session_come_back_after_those_of_a_query(client: Client) -> None:
    client.execute("SET max_block_size = 888")

    assert client.execute("SELECT getSetting('max_block_size')", settings={"max_block_size": 777}) == [(777,)]
    assert client.execute("SELECT getSetting('max_block_size')") == [(888,)]


def test_a_time_limit_ends_a_query(client: Client) -> None:
    with pytest.raises(ServerException) as caught:
        client.execute(
            "SELECT sum(sleepEachRow(0.05)) FROM numbers(100)",
            settings={"max_execution_time": 0.2, "max_block_size": 1},
        )

    assert caught.value.code == 159


def test_unknown_settings_are_dropped_unless_important(gateway: Any, client: Client) -> None:
    strict = gateway.driver(settings_is_important=True)

    assert client.execute("SELECT 1", settings={"no_such_setting": 1}) == [(1,)]
    with pytest.raises(ServerException) as caught:
        strict.execute("SELECT 1", settings={"no_such_setting": 1})
    assert caught.value.code == 115
    strict.disconnect()


def test_readonly_can_be_asked_for_and_is_taken_back(client: Client, table: str) -> None:
    with pytest.raises(ServerException) as caught:
        client.execute(f"CREATE TABLE {table} (a UInt8) ENGINE = Memory", settings={"readonly": 1})

    assert caught.value.code == 164
    create(client, table)


def test_an_insert_with_a_known_token_is_written_once(client: Client, table: str) -> None:
    create(client, table, rest="SETTINGS non_replicated_deduplication_window = 100")
    for token in ("a", "a", "b"):
        client.execute(f"INSERT INTO {table} VALUES", [(1, "x")] * 3, settings={"insert_deduplication_token": token})

    assert client.execute(f"SELECT count() FROM {table}") == [(6,)]


def test_an_insert_above_a_million_rows_is_one_part(client: Client, table: str) -> None:
    create(client, table, "a UInt8")
    client.execute(f"INSERT INTO {table} VALUES", [[7] * 1_500_000], columnar=True)

    assert client.execute(f"SELECT count(), uniqExact(_part) FROM {table}") == [(1_500_000, 1)]


REFUSALS = {
    "constraint": ("a UInt32, CONSTRAINT low CHECK a < 500", "", 469),
    "partitions": ("a UInt32", "PARTITION BY a", 252),
    "type": ("a UInt32, b UInt8 MATERIALIZED throwIf(a = 500)", "", 395),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_an_insert_that_the_table_refuses_is_an_error_and_writes_nothing(
    client: Client, table: str, reason: str
) -> None:
    columns, rest, code = REFUSALS[reason]
    create(client, table, columns, rest)
    with pytest.raises(ServerException) as caught:
        client.execute(f"INSERT INTO {table} (a) VALUES", [list(range(1000))], columnar=True)

    assert (code, [(0,)]) == (caught.value.code, client.execute(f"SELECT count() FROM {table}"))


def test_a_view_that_fails_is_an_error(client: Client, table: str) -> None:
    create(client, table, "a UInt32")
    create(client, f"{table}_to", "a UInt32")
    client.execute(f"CREATE MATERIALIZED VIEW {table}_v TO {table}_to AS SELECT a + throwIf(a = 7) AS a FROM {table}")
    with pytest.raises(ServerException) as caught:
        client.execute(f"INSERT INTO {table} VALUES", [list(range(10))], columnar=True)

    assert caught.value.code == 395


def test_an_insert_may_carry_settings_and_fills_defaults(client: Client, table: str) -> None:
    create(client, table, "a Int64, b String DEFAULT toString(a)")
    client.execute(f"INSERT INTO {table} (a) SETTINGS max_threads = 1 VALUES", [(5,)])

    assert client.execute(f"SELECT * FROM {table}") == [(5, "5")]


@pytest.mark.parametrize("way", ["native", "http"])
def test_an_insert_knows_what_somebody_has_just_altered(gateway: Any, client: Client, table: str, way: str) -> None:
    create(client, table, "a Int64")
    client.execute(f"INSERT INTO {table} VALUES", [(5,)])
    for change, row in (("ADD COLUMN b String", (6, "x")), ("MODIFY COLUMN a String", ("7", "y"))):
        sql = f"/* by hand */ ALTER TABLE {table} {change}"
        if way == "native":
            other = gateway.driver()
            other.execute(sql)
            other.disconnect()
        else:
            with urlopen(f"{gateway.url}/", data=sql.encode()) as answer:
                assert answer.read() == b""
        client.execute(f"INSERT INTO {table} VALUES", [row])

    assert client.execute(f"SELECT * FROM {table} ORDER BY a") == [("5", ""), ("6", "x"), ("7", "y")]


def test_a_client_killed_within_an_insert_leaves_no_rows(
    gateway: Any, client: Client, table: str, until: Callable[..., bool]
) -> None:
    create(client, table)
    dying = gateway.driver()

    def rows() -> Any:
        yield from ((number, "x") for number in range(200_000))
        dying.connection.socket.shutdown(socket.SHUT_RDWR)
        yield from ((number, "x") for number in range(200_000))

    with pytest.raises((OSError, EOFError)):
        dying.execute(f"INSERT INTO {table} VALUES", rows(), settings={"insert_block_size": 50_000})

    assert client.execute(f"SELECT count() FROM {table}") == [(0,)]
    assert client.execute(f"INSERT INTO {table} VALUES", [(1, "x")]) == 1


def sleepers(client: Client) -> int:
    sql = (
        "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(0.07)%' AND query NOT LIKE '%processes%'"
    )
    return int(client.execute(sql)[0][0])


@pytest.mark.parametrize("way", ["cancel", "disconnect"])
def test_a_query_ends_with_its_client(gateway: Any, client: Client, until: Callable[..., bool], way: str) -> None:
    leaving = gateway.driver()
    leaving.connection.force_connect()
    leaving.connection.send_query("SELECT sum(sleepEachRow(0.07)) FROM numbers(1000) SETTINGS max_block_size = 1")
    leaving.connection.send_external_tables([])
    assert until(lambda: sleepers(client) == 1)

    if way == "cancel":
        leaving.cancel()
        assert leaving.execute("SELECT 1") == [(1,)]
    else:
        leaving.disconnect()

    assert until(lambda: sleepers(client) == 0)
    leaving.disconnect()


def test_clients_work_in_parallel(gateway: Any, client: Client, table: str) -> None:
    create(client, table)

    def work(number: int) -> int:
        own = gateway.driver()
        for _ in range(5):
            own.execute(f"INSERT INTO {table} VALUES", [(number, "x")] * 100)
        own.disconnect()
        return number

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert client.execute(f"SELECT a, count() FROM {table} GROUP BY a ORDER BY a") == [(n, 500) for n in range(8)]


def test_a_database_is_chosen_at_hello(gateway: Any, client: Client, table: str) -> None:
    client.execute(f"CREATE DATABASE db_{table}")
    inside = gateway.driver(database=f"db_{table}")

    assert inside.execute("SELECT currentDatabase()") == [(f"db_{table}",)]
    inside.disconnect()
    client.execute(f"DROP DATABASE db_{table}")


def test_an_unknown_database_is_refused_at_hello(gateway: Any) -> None:
    with pytest.raises(ServerException) as caught:
        gateway.driver(database="no_such_database").execute("SELECT 1")

    assert caught.value.code == 81


def test_external_tables_are_refused_and_the_connection_goes_on(client: Client) -> None:
    external = [{"name": "x", "structure": [("a", "Int8")], "data": [{"a": 1}]}]
    with pytest.raises(ServerException) as caught:
        client.execute("SELECT * FROM x", external_tables=external)

    assert (caught.value.code, client.execute("SELECT 1")) == (48, [(1,)])


def test_progress_tells_what_was_read(client: Client) -> None:
    client.execute("SELECT sum(number) FROM numbers(100000)")

    assert client.last_query.progress.rows == 100_000
