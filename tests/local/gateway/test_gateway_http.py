"""curl and clickhouse-connect reach the gateway as they reach a server."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import clickhouse_connect
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client as Connect
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_driver import Client

from tickerplant.local.gateway.compression import compress
from tickerplant.local.gateway.encodings import decode_frames


def curl(url: str, *words: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Call curl; return status, headers in lower case, body."""
    data = [] if body is None else ["--data-binary", "@-"]
    done = subprocess.run(["curl", "-sS", "-i", *data, *words, url], input=body, capture_output=True, check=True)
    head, _, rest = done.stdout.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, rest


def query(gateway: Any, sql: str, *words: str, **parameters: str) -> tuple[int, dict[str, str], bytes]:
    encoded = [word for name, value in parameters.items() for word in ("--data-urlencode", f"{name}={value}")]
    return curl(gateway.url, "-G", "--data-urlencode", f"query={sql}", *encoded, *words)


@pytest.fixture
def connect(gateway: Any) -> Iterator[Connect]:
    client = clickhouse_connect.get_client(host="127.0.0.1", port=gateway.http_port)
    yield client
    client.close()


@pytest.fixture
def ticks(client: Client, table: str) -> str:
    client.execute(f"CREATE TABLE {table} (a Int64, b String, f Nullable(Float64)) ENGINE = MergeTree ORDER BY a")
    return table


@pytest.mark.parametrize("path", ["/ping", "/replicas_status", "/"])
def test_the_gateway_says_ok(gateway: Any, path: str) -> None:
    status, _, body = curl(gateway.url + path)

    assert (status, body) == (200, b"Ok.\n")


def test_a_query_comes_by_get_or_post(gateway: Any) -> None:
    _, headers, by_get = query(gateway, "SELECT 1, 'x'")
    _, _, by_post = curl(gateway.url, body=b"SELECT 1, 'x'")
    _, _, by_both = curl(f"{gateway.url}/?query=SELECT%201,", body=b"'x'")

    assert by_get == by_post == by_both == b"1\tx\n"
    assert headers["x-clickhouse-format"] == "TabSeparated"
    assert json.loads(headers["x-clickhouse-summary"])["result_rows"] == "1"


def test_the_format_is_named_by_the_query_or_a_default(gateway: Any) -> None:
    _, _, named = query(gateway, "SELECT 1 AS a FORMAT CSVWithNames", default_format="JSON")
    _, _, default = query(gateway, "SELECT 1 AS a", default_format="JSONEachRow")
    _, _, header = query(gateway, "SELECT 1 AS a", "-H", "X-ClickHouse-Format: CSV")

    assert (named, default, header) == (b'"a"\n1\n', b'{"a":1}\n', b"1\n")


@pytest.mark.parametrize("name", ["JSON", "JSONCompact", "XML", "CSVWithNames", "RowBinaryWithNamesAndTypes"])
def test_a_long_answer_has_one_head(gateway: Any, name: str) -> None:
    _, _, long = query(gateway, f"SELECT number FROM numbers(150000) FORMAT {name}")
    _, _, short = query(gateway, f"SELECT number FROM numbers(1) FORMAT {name}")

    assert long[:10] == short[:10]
    assert long.count(short[:12]) == 1


def test_parameters_settings_database_and_query_id_are_taken(gateway: Any) -> None:
    sql = "SELECT {p:UInt8} + 1, {s:String}, getSetting('max_block_size'), currentDatabase()"
    _, headers, body = query(
        gateway, sql, param_p="4", param_s="it's", max_block_size="777", database="system", query_id="mine"
    )

    assert (body, headers["x-clickhouse-query-id"]) == (b"5\tit\\'s\t777\tsystem\n", "mine")
    assert query(gateway, "SELECT currentDatabase()")[2] == b"default\n"


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        ("FORMAT JSONEachRow", b'{"a": 1, "b": "x;"}\n{"a": 2, "b": "y"}\n'),
        ("FORMAT CSV", b'1,"x;",0\n2,y,0\n'),
        ("FORMAT TSV", b"1\tx;\t0\n2\ty\t0"),
        ("VALUES", b"(1, 'x;', 0), (2, 'y', 0);"),
    ],
)
@pytest.mark.parametrize("place", ["body", "option"])
def test_rows_are_inserted_by_post(gateway: Any, ticks: str, head: str, rows: bytes, place: str) -> None:
    sql = f"INSERT INTO {ticks} {head}"
    if place == "body":
        status, headers, _ = curl(gateway.url, body=sql.encode() + b"\n" + rows)
    else:
        status, headers, _ = curl(f"{gateway.url}/?query={sql.replace(' ', '%20')}", body=rows)

    assert (status, json.loads(headers["x-clickhouse-summary"])["written_rows"]) == (200, "2")
    assert query(gateway, f"SELECT a, b FROM {ticks} ORDER BY a")[2] == b"1\tx;\n2\ty\n"


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT * FROM no_such_table", 404, "60"),
        ("SELEC 1", 400, "62"),
        ("SELECT 1; SELECT 2", 400, "62"),
        ("SELECT * FROM file('/etc/hostname')", 403, "497"),
        ("DROP TABLE no_such_table", 403, "164"),
        ("SELECT throwIf(1)", 500, "395"),
        ("SELECT 1 SETTINGS no_such_setting = 1", 404, "115"),
    ],
)
def test_an_error_has_status_code_and_text(gateway: Any, sql: str, status: int, code: str) -> None:
    found, headers, body = query(gateway, sql)

    assert (status, code) == (found, headers["x-clickhouse-exception-code"])
    assert body.startswith(f"Code: {code}. DB::Exception: ".encode())


def test_an_unknown_setting_is_an_error(gateway: Any) -> None:
    status, headers, _ = query(gateway, "SELECT 1", no_such_setting="1")

    assert (status, headers["x-clickhouse-exception-code"]) == (404, "115")


def test_rows_of_values_are_looked_through_in_the_body_too(gateway: Any, ticks: str) -> None:
    url = f"{gateway.url}/?query=INSERT%20INTO%20{ticks}%20FORMAT%20Values"
    status, headers, _ = curl(url, body=b"(1, file('/etc/hostname'), 0)")

    assert (status, headers["x-clickhouse-exception-code"]) == (403, "497")


def test_an_error_within_a_stream_breaks_the_answer_off(gateway: Any) -> None:
    sql = "SELECT throwIf(number = 500000) FROM numbers(600000) FORMAT TSV"
    done = subprocess.run(
        ["curl", "-sS", "-G", "--data-urlencode", f"query={sql}", gateway.url], capture_output=True, check=False
    )

    assert (done.returncode, b"Code: 395" in done.stdout[-500:]) == (18, True)


def test_an_error_after_many_rows_has_its_status_where_the_end_is_awaited(gateway: Any) -> None:
    status, _, _ = query(gateway, "SELECT throwIf(number = 500000) FROM numbers(600000)", wait_end_of_query="1")

    assert status == 500


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_answers_are_packed_as_accepted(gateway: Any, encoding: str) -> None:
    words = ("--compressed", "-H", f"Accept-Encoding: {encoding}")
    _, headers, body = query(gateway, "SELECT number FROM numbers(100000)", *words, enable_http_compression="1")

    assert (encoding, 100_000) == (headers["content-encoding"], body.count(b"\n"))


def test_frames_of_clickhouse_go_both_ways(gateway: Any) -> None:
    url = f"{gateway.url}/?compress=1&decompress=1"
    _, _, body = curl(url, body=compress(b"SELECT 'both ways'"))

    assert decode_frames(body, 1000) == b"both ways\n"


@pytest.mark.parametrize("words", [("-H", "Content-Encoding: gzip"), ("-H", "Content-Encoding: nonsense")])
def test_a_broken_body_is_an_error(gateway: Any, words: tuple[str, ...]) -> None:
    status, _, _ = curl(gateway.url, *words, body=b"SELECT 1")

    assert status == 400


def test_a_session_remembers_and_the_nameless_do_not(gateway: Any) -> None:
    curl(f"{gateway.url}/?session_id=s1", body=b"CREATE TEMPORARY TABLE mine (a UInt8)")
    curl(f"{gateway.url}/?session_id=s1", body=b"SET max_block_size = 999")
    curl(gateway.url, body=b"SET max_block_size = 999")
    sql = "SELECT getSetting('max_block_size')"

    assert query(gateway, sql, session_id="s1")[2] == b"999\n"
    assert query(gateway, "SELECT count() FROM mine", session_id="s1")[2] == b"0\n"
    assert query(gateway, sql)[2] != b"999\n"


def test_a_query_ends_with_its_client(gateway: Any, client: Client, until: Callable[..., bool]) -> None:
    sql = "SELECT sum(sleepEachRow(0.08)) FROM numbers(1000) SETTINGS max_block_size = 1"
    counting = (
        "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(0.08)%' AND query NOT LIKE '%processes%'"
    )
    leaving = subprocess.Popen(["curl", "-sS", gateway.url, "-d", sql], stdout=subprocess.DEVNULL)
    assert until(lambda: client.execute(counting) == [(1,)])
    leaving.kill()
    leaving.wait()

    assert until(lambda: client.execute(counting) == [(0,)])


def test_connect_queries_and_inserts_rows(connect: Connect, ticks: str) -> None:
    summary = connect.insert(ticks, [[1, "x", None], [2, "y", 0.5]], column_names=["a", "b", "f"])
    result = connect.query(f"SELECT * FROM {ticks} ORDER BY a")

    assert (summary.written_rows, result.result_rows) == (2, [(1, "x", None), (2, "y", 0.5)])
    assert result.column_names == ("a", "b", "f")
    assert connect.command(f"SELECT count() FROM {ticks}") == 2


def test_connect_sees_the_columns_of_nothing(connect: Connect, ticks: str) -> None:
    assert connect.query(f"SELECT a, b FROM {ticks}").column_names == ("a", "b")


def test_connect_takes_frames_arrays_and_arrow(connect: Connect, ticks: str) -> None:
    frame = pd.DataFrame({"a": range(1000), "b": "x", "f": 0.5})
    connect.insert_df(ticks, frame)
    connect.insert_arrow(ticks, pa.table({"a": [5000], "b": ["y"], "f": [1.5]}))

    assert len(connect.query_df(f"SELECT * FROM {ticks}")) == 1001
    assert np.sum(connect.query_np(f"SELECT a FROM {ticks} WHERE a < 1000")) == 499_500
    assert connect.query_arrow(f"SELECT * FROM {ticks}").num_rows == 1001


def test_connect_streams(connect: Connect) -> None:
    with connect.query_row_block_stream("SELECT number FROM numbers(300000)") as stream:
        assert sum(len(block) for block in stream) == 300_000


def test_connect_sends_settings_and_parameters(connect: Connect) -> None:
    result = connect.query(
        "SELECT getSetting('max_block_size'), {x:String}", settings={"max_block_size": 777}, parameters={"x": "it's"}
    )

    assert result.result_rows == [(777, "it's")]


@pytest.mark.parametrize("compress_by", ["lz4", "zstd", "gzip", False])
def test_connect_may_compress(gateway: Any, ticks: str, compress_by: str | bool) -> None:
    client = clickhouse_connect.get_client(host="127.0.0.1", port=gateway.http_port, compress=compress_by)
    client.insert(ticks, [[number, "x" * 100, None] for number in range(5000)], column_names=["a", "b", "f"])

    assert len(client.query(f"SELECT * FROM {ticks}").result_rows) == 5000
    client.close()


def test_connect_is_told_errors(connect: Connect) -> None:
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        connect.query("SELECT * FROM no_such_table")
