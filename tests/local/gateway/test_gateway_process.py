"""The process: it starts on a folder nobody holds, keeps data over restarts, and outlives what is sent to it."""

import base64
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException

from tickerplant.local.gateway.__main__ import main
from tickerplant.local.gateway.wire import string, varint

pytestmark = pytest.mark.timeout(180)

PATIENCE_S = 45.0


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(arguments)
    return code, capsys.readouterr().err


def words(data: Path, port: int = 0, http_port: int = 0, host: str = "127.0.0.1") -> list[str]:
    return ["--host", host, "--port", str(port), "--http-port", str(http_port), "--data", str(data)]


def test_a_restart_keeps_data_of_all_databases(start: Callable[..., Any], tmp_path: Path) -> None:
    first = start(tmp_path)
    client = first.driver()
    client.execute("CREATE DATABASE market_data")
    for table in ("default.tick", "market_data.tick"):
        client.execute(f"CREATE TABLE {table} (a Int64) ENGINE = MergeTree ORDER BY a")
        client.execute(f"INSERT INTO {table} VALUES", [(number,) for number in range(1000)])
    client.disconnect()
    assert first.stop() == 0

    for _ in range(2):
        again = start(tmp_path)
        client = again.driver()
        counts = [client.execute(f"SELECT count() FROM {table}") for table in ("default.tick", "market_data.tick")]
        client.disconnect()
        assert (counts, again.stop()) == ([[(1000,)]] * 2, 0)


def test_a_kill_loses_nothing_that_was_acknowledged(start: Callable[..., Any], tmp_path: Path) -> None:
    first = start(tmp_path)
    client = first.driver()
    client.execute("CREATE TABLE tick (a Int64) ENGINE = MergeTree ORDER BY a")
    client.execute("INSERT INTO tick VALUES", [(number,) for number in range(1000)])
    client.disconnect()
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()

    client = start(tmp_path).driver()
    assert client.execute("SELECT count() FROM tick") == [(1000,)]
    client.disconnect()


def test_a_stop_within_a_query_ends_in_time(
    start: Callable[..., Any], tmp_path: Path, until: Callable[..., bool]
) -> None:
    gateway = start(tmp_path)
    watching, busy = gateway.driver(), gateway.driver()
    busy.connection.force_connect()
    busy.connection.send_query("SELECT sum(sleepEachRow(0.09)) FROM numbers(1000) SETTINGS max_block_size = 1")
    busy.connection.send_external_tables([])
    assert until(lambda: watching.execute("SELECT count() FROM system.processes WHERE query LIKE '%0.09%'")[0][0] == 2)

    assert gateway.stop() == 0
    for client in (watching, busy):
        client.disconnect()


def test_a_folder_in_use_is_one_line_and_exit_code_2(gateway: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = refused(words(gateway.data), capsys)

    assert (code, text.count("\n"), "in use by another process" in text) == (2, 1, True)


@pytest.mark.parametrize("which", ["port", "http_port"])
def test_a_port_in_use_is_one_line_and_exit_code_2(
    gateway: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    code, text = refused(words(tmp_path, **{which: getattr(gateway, which)}), capsys)

    assert (code, text.count("\n"), f"port {getattr(gateway, which)} is in use" in text) == (2, 1, True)


def test_an_address_beyond_loopback_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = refused(words(tmp_path, host="0.0.0.0"), capsys)

    assert (code, "loopback" in text) == (2, True)


def test_a_password_is_asked_for_where_one_is_set(start: Callable[..., Any], tmp_path: Path) -> None:
    gateway = start(tmp_path, "secret")
    right = gateway.driver(password="secret")

    assert right.execute("SELECT 1") == [(1,)]
    for wrong in ({"password": "wrong"}, {"user": "other", "password": "secret"}, {}):
        with pytest.raises(ServerException) as caught:
            gateway.driver(**wrong).execute("SELECT 1")
        assert caught.value.code == 516
    right.disconnect()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-ClickHouse-User": "default", "X-ClickHouse-Key": "wrong"}, 403),
        ({"Authorization": "Basic nonsense!"}, 403),
        ({"X-ClickHouse-User": "default", "X-ClickHouse-Key": "secret"}, 200),
        ({"Authorization": "Basic " + base64.b64encode(b"default:secret").decode()}, 200),
    ],
)
def test_a_password_is_asked_for_over_http(locked: Any, headers: dict[str, str], status: int) -> None:
    try:
        with urlopen(Request(f"{locked.url}/?query=SELECT%201", headers=headers)) as response:
            found = response.status
    except HTTPError as error:
        found = error.code
        error.close()

    assert status == found


@pytest.fixture(scope="module")
def locked(start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return start(tmp_path_factory.mktemp("locked"), "secret")


HELLO = b"\x00" + string("odd") + varint(1) + varint(1) + varint(54468) + string("") + string("default") + string("")
QUERY = b"\x01" + string("") + b"\x00" + string("") + b"\x02\x00" + string("SELECT 1")


def conversation(port: int, data: bytes) -> bytes:
    """Send bytes and return all that comes until the gateway closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(data)
        received = bytearray()
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass  # closed while our bytes were still under way
        return bytes(received)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 1000,
        b"\x01",
        b"\x00" + b"\xff" * 9 + b"\x01",
        b"\x00" + varint(1 << 40),
        HELLO + b"\x63",
        HELLO + b"\x02" + string("x"),
        HELLO + b"\x01" + varint(1 << 50),
        HELLO + QUERY + b"\x02" + string("") + b"\x07",
        HELLO + QUERY + b"\x02" + string("") + b"\x00" + varint(1) + varint(1 << 60) + string("a") + string("UInt64"),
        HELLO + QUERY + b"\x02" + string("") + b"\x00" + varint(1) + varint(1) + string("a") + string("Nonsense"),
        bytes(range(1, 256)) * 16,
    ],
    ids=lambda data: data[:8].hex(),
)
def test_odd_bytes_close_the_connection_and_nothing_else(gateway: Any, client: Client, data: bytes) -> None:
    conversation(gateway.port, data)

    assert client.execute("SELECT 1") == [(1,)]


def test_http_on_the_native_port_is_told_so(gateway: Any) -> None:
    assert b"400 Bad Request" in conversation(gateway.port, b"GET / HTTP/1.1\r\n\r\n")


def test_unread_bytes_are_not_heaped_up(gateway: Any) -> None:
    memory = psutil.Process(gateway.process.pid).memory_info
    before_bytes = memory().rss
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=2) as connection:
        connection.sendall(HELLO + b"\x01" + string("") + b"\x00" + string("") + b"\x02\x00")
        connection.sendall(string("SELECT sleep(3)") + b"\x02" + string("") + b"\x00\x00\x00")
        with pytest.raises(TimeoutError):
            connection.sendall(b"\x04" * 200_000_000)

        assert memory().rss - before_bytes < 60_000_000


def test_who_floods_the_gateway_leaves_others_their_turn(gateway: Any) -> None:
    other = gateway.driver(send_receive_timeout=PATIENCE_S)
    other.execute("SELECT 1")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=0.5) as flooding:
        flooding.sendall(HELLO)
        with suppress(TimeoutError):
            flooding.sendall(b"\x04" * 20_000_000)
        found = other.execute("SELECT 1")
    other.disconnect()

    assert found == [(1,)]


def test_the_process_is_small(gateway: Any, client: Client) -> None:
    client.execute("SELECT 1")

    assert psutil.Process(gateway.process.pid).memory_info().rss < 1_000_000_000
