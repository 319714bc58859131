"""S3, ClickHouse and the registry behind TLS: written to where the authority is known, refused in one line else."""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pyarrow as pa
import pytest
import trustme
from pydantic import SecretStr

from schemas.records import Tick
from schemas.topics import TICK
from sinks.clickhouse_client import connect
from sinks.migrations import migrate
from sinks.places import Bucket
from sinks.store import StoreBusyError
from tickerplant.demo.stores import clickhouse, count_parquet
from tickerplant.errors import UserError
from tickerplant.registry import Registry
from tickerplant.settings import Settings

pytestmark = pytest.mark.stack

HOST = "127.0.0.1"


class Front(ThreadingTCPServer):
    """Ends TLS before a plain port of the stack, a thread for each connection."""

    def __init__(self, context: ssl.SSLContext, target_port: int) -> None:
        super().__init__((HOST, 0), Relay)
        self.context, self.target_port = context, target_port
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Relay(BaseRequestHandler):
    """One connection: bytes both ways until one side has ended, or the client does not trust us."""

    server: Front

    def handle(self) -> None:
        self.request.settimeout(10)
        with (
            contextlib.suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as outside,
            socket.create_connection((HOST, self.server.target_port), 10) as inside,
        ):
            while not self.server.stopping.is_set() and self._relay(outside, inside):
                pass

    @staticmethod
    def _relay(outside: ssl.SSLSocket, inside: socket.socket) -> bool:
        ready = [outside] if outside.pending() else select.select([outside, inside], [], [], 0.1)[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return False
            (inside if source is outside else outside).sendall(data)
        return True


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def front(authority: trustme.CA) -> Iterator[Callable[[int], int]]:
    """Put TLS before a port; returns the port to use instead."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    fronts: list[Front] = []

    def begin(target_port: int) -> int:
        fronts.append(Front(context, target_port))
        return int(fronts[-1].server_address[1])

    yield begin
    for each in fronts:
        each.close()


@pytest.fixture
def known(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    return tmp_path / "other.pem"


def changed(settings: Settings, section: str, **values: Any) -> Settings:
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})


def test_objects_are_written_through_tls(stack: Settings, front: Callable[[int], int], known: Path) -> None:
    url = f"https://{HOST}:{front(stack.local.s3_port)}"
    secure = changed(stack, "object_store", endpoint_url=url, ca_location=known)
    bucket = Bucket(secure.object_store)

    bucket.open()
    bucket.create("tls/one", pa.py_buffer(b"content"))

    plain = Bucket(stack.object_store)
    assert plain._fs.cat_file(f"{plain._root}/tls/one") == b"content"
    assert count_parquet(changed(secure, "object_store", root=f"{stack.object_store.root}/none"))["tick"].rows == 0


@pytest.mark.parametrize("ca", ["unknown", None])
def test_an_object_store_that_nobody_vouches_for_is_refused_in_one_line(
    stack: Settings, front: Callable[[int], int], unknown: Path, ca: str | None
) -> None:
    url = f"https://{HOST}:{front(stack.local.s3_port)}"
    store = changed(stack, "object_store", endpoint_url=url, ca_location=unknown if ca else None).object_store

    told = rf"^object store at {url} is not trusted: [^\n]*certificate[^\n]*see object_store\.ca_location$"
    with pytest.raises(UserError, match=told):
        Bucket(store).open()


@pytest.mark.parametrize(
    "changes", [{"secret_key": SecretStr("canary-wrong")}, {"access_key": SecretStr("canary-who")}]
)
def test_wrong_keys_are_one_line(stack: Settings, changes: dict[str, SecretStr]) -> None:
    with pytest.raises(UserError, match=r"^bucket [^\n]* cannot be used: [^\n]*see object_store\.access_key") as caught:
        Bucket(changed(stack, "object_store", **changes).object_store).open()

    assert "canary-wrong" not in str(caught.value)


def test_keys_that_are_withdrawn_end_the_sink(stack: Settings) -> None:
    bucket = Bucket(changed(stack, "object_store", secret_key=SecretStr("canary-wrong")).object_store)

    with pytest.raises(UserError, match=r"^object store refuses [^\n]*see object_store"):
        bucket.create("keys/one", pa.py_buffer(b"content"))


def test_a_certificate_that_changes_is_waited_for(stack: Settings, front: Callable[[int], int], unknown: Path) -> None:
    url = f"https://{HOST}:{front(stack.local.s3_port)}"
    bucket = Bucket(changed(stack, "object_store", endpoint_url=url, ca_location=unknown).object_store)

    with pytest.raises(StoreBusyError, match="SSL"):
        bucket.create("keys/two", pa.py_buffer(b"content"))


def test_clickhouse_is_migrated_and_read_through_tls(stack: Settings, front: Callable[[int], int], known: Path) -> None:
    port = front(stack.local.clickhouse_port)
    secure = changed(stack, "clickhouse", port=port, secure=True, ca_location=known)

    assert migrate(secure) == []
    with clickhouse(secure) as client:
        assert client.execute("SELECT 1") == [(1,)]
    unverified = changed(stack, "clickhouse", port=port, secure=True, verify=False)
    connect(unverified.clickhouse).disconnect()


@pytest.mark.parametrize("ca", ["unknown", None])
def test_a_clickhouse_that_nobody_vouches_for_is_refused_in_one_line(
    stack: Settings, front: Callable[[int], int], unknown: Path, ca: str | None
) -> None:
    port = front(stack.local.clickhouse_port)
    secure = changed(stack, "clickhouse", port=port, secure=True, ca_location=unknown if ca else None)

    told = rf"^ClickHouse at {HOST}:{port} is not trusted: [^\n]*certificate[^\n]*see clickhouse\.secure"
    with pytest.raises(UserError, match=told):
        connect(secure.clickhouse)


def test_tls_to_a_plain_port_is_told_in_one_line(stack: Settings) -> None:
    with pytest.raises(UserError, match=r"^[^\n]*(is this its port for TLS\?|see clickhouse\.secure[^\n]*)$"):
        connect(changed(stack, "clickhouse", secure=True).clickhouse)


def test_a_wrong_password_of_clickhouse_is_one_line(stack: Settings) -> None:
    with pytest.raises(UserError, match=r"^ClickHouse at [^\n]* refuses: [^\n]*Authentication failed[^\n]*$") as caught:
        connect(changed(stack, "clickhouse", password=SecretStr("canary-wrong")).clickhouse)

    assert "canary" not in str(caught.value)


def test_the_registry_is_asked_through_tls(
    stack: Settings, front: Callable[[int], int], known: Path, unknown: Path
) -> None:
    url = f"https://{HOST}:{front(stack.local.registry_port)}/apis/ccompat/v7"
    user = {"username": "me", "password": SecretStr("canary-secret")}

    assert Registry(changed(stack, "registry", url=url, ca_location=known, **user)).encoder(TICK, Tick)
    with pytest.raises(UserError, match=r"^schema registry at [^\n]* is not trusted: [^\n]*registry\.ca_location$"):
        Registry(changed(stack, "registry", url=url, ca_location=unknown)).encoder(TICK, Tick)


def test_a_registry_that_refuses_the_user_is_one_line(stack: Settings) -> None:
    asked: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://{HOST}:{server.server_port}"
        settings = changed(stack, "registry", url=url, username="me", password=SecretStr("secret"))
        with pytest.raises(UserError, match=r"^schema registry at [^\n]* refuses \(401\): see registry\.username"):
            Registry(settings).encoder(TICK, Tick)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert set(asked) == {"Basic bWU6c2VjcmV0"}
