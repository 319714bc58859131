"""Requests to the registry: what is sent, what comes of each kind of answer, and a connection that is lost."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from tickerplant import registry_http
from tickerplant.errors import DependencyError
from tickerplant.registry import RegistryProbe, describe_registry
from tickerplant.registry_http import NO_ANSWER, RegistryClient, RegistryStatusError
from tickerplant.settings import Registry, Settings

Answer = tuple[int, bytes]


class Served:
    """A registry of one answer for each request, which remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: Callable[[str], Answer] = lambda _path: (200, b"{}")
        self.asked: list[tuple[str, str, object]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.closes = False
        self.url = ""


@pytest.fixture
def served() -> Iterator[Served]:
    registry = Served()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            registry.connections += 1
            super().setup()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            registry.asked.append((self.command, self.path, json.loads(body) if body else None))
            registry.headers.append(dict(self.headers))
            status, content = registry.answers(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = registry.closes  # without a word: as a server that is restarted

        do_GET = do_POST = do_PUT = _answer  # noqa: N815  # names of the standard library

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        registry.url = f"http://127.0.0.1:{server.server_port}/apis/ccompat/v7"
        yield registry
        server.shutdown()
        thread.join()


@pytest.fixture
def client(served: Served) -> Iterator[RegistryClient]:
    settings = Registry(url=f"{served.url}/", username="me", password=SecretStr("secret"))
    with closing(RegistryClient(settings, 5.0)) as made:
        yield made


def test_requests_are_those_of_the_published_api(served: Served, client: RegistryClient) -> None:
    served.answers = lambda _path: (200, b'{"id": 7, "schema": "text", "compatibilityLevel": "BACKWARD"}')

    assert (client.lookup("a/b-value", "x"), client.register("s", "x"), client.schema(7)) == (7, 7, "text")
    assert client.compatibility() == "BACKWARD"
    client.set_compatibility("s", "FULL")
    root = "/apis/ccompat/v7"
    assert served.asked == [
        ("POST", f"{root}/subjects/a%2Fb-value", {"schema": "x"}),
        ("POST", f"{root}/subjects/s/versions", {"schema": "x"}),
        ("GET", f"{root}/schemas/ids/7", None),
        ("GET", f"{root}/config", None),
        ("PUT", f"{root}/config/s", {"compatibility": "FULL"}),
    ]
    assert {each["Authorization"] for each in served.headers} == {"Basic bWU6c2VjcmV0"}
    assert served.connections == 1


def test_a_refusal_carries_its_status_and_the_words_of_the_registry(served: Served, client: RegistryClient) -> None:
    served.answers = lambda _path: (404, b'{"error_code": 40403, "message": "Schema not found"}')

    with pytest.raises(RegistryStatusError, match=r"^Schema not found \(HTTP status 404\)$") as raised:
        client.schema(1)

    assert raised.value.status == 404


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"\xff", b'{"message": 1}', b"[" * 100_000])
def test_a_refusal_needs_no_words(served: Served, client: RegistryClient, content: bytes) -> None:
    served.answers = lambda _path: (503, content)

    with pytest.raises(RegistryStatusError, match="503"):
        client.compatibility()


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b"\xff", b"{}", b'{"id": "7"}', b'{"id": true}', b'{"id": 1e400}', b"[" * 100_000],
)
def test_what_no_registry_would_answer_is_no_answer(served: Served, client: RegistryClient, content: bytes) -> None:
    served.answers = lambda _path: (200, content)

    with pytest.raises((*NO_ANSWER, TypeError, KeyError)):
        client.lookup("s", "x")


def test_redirects_are_not_followed(served: Served, client: RegistryClient) -> None:
    served.answers = lambda _path: (301, b"")

    with pytest.raises(RegistryStatusError, match="301"):
        client.compatibility()


def test_an_answer_without_end_is_bounded(
    served: Served, client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_http, "MOST_BYTES", 1000)
    served.answers = lambda _path: (200, b'{"a":"' + b"x" * 5000 + b'"}')
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        client.compatibility()

    served.answers = lambda _path: (200, b'{"compatibilityLevel": "NONE"}')
    assert client.compatibility() == "NONE"  # what was left of the answer before is not taken for this one


def test_a_connection_that_was_closed_meanwhile_is_made_again(served: Served, client: RegistryClient) -> None:
    served.answers = lambda _path: (200, b'{"compatibilityLevel": "NONE"}')
    served.closes = True

    assert [client.compatibility() for _ in range(3)] == ["NONE"] * 3
    assert served.connections == 3


def test_a_probe_keeps_its_connection(served: Served) -> None:
    served.answers = lambda _path: (200, b'{"compatibilityLevel": "NONE"}')
    with closing(RegistryProbe(Settings(registry=Registry(url=served.url)), 5.0)) as probe:
        for _ in range(3):
            probe()

    assert served.connections == 1


@pytest.mark.parametrize("url", ["127.0.0.1:8081", "ftp://host", "http://", "http://host:port"])
def test_an_address_that_is_none_is_told_in_one_line(url: str) -> None:
    with pytest.raises(DependencyError) as raised:
        describe_registry(Settings(registry=Registry(url=url)), 1.0)

    assert len(str(raised.value).splitlines()) == 1


def test_the_version_is_told_by_both_kinds_or_not_at_all(served: Served) -> None:
    settings = Settings(registry=Registry(url=served.url))
    served.answers = lambda path: (200, b'{"compatibilityLevel": "NONE", "version": "' + path[:5].encode() + b'"}')
    assert describe_registry(settings, 5.0).version == "/apis"
    assert served.asked[-1][1] == "/apis/registry/v3/system/info"

    served.answers = lambda path: (200, b'{"compatibilityLevel": "NONE"}') if "config" in path else (404, b"")
    assert describe_registry(settings, 5.0).version == ""
