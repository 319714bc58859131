"""The proxy that tests cut connections with does what it is told, or what it proves would be nothing."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes."""

    def handle(self) -> None:
        try:
            while content := self.request.recv(1000):
                self.request.sendall(content)
        except ConnectionError:
            return


@pytest.fixture
def proxy(new_proxy: Any) -> Iterator[Any]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with new_proxy(server.server_address[1]) as found:
            yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def connect(proxy: Any) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=20)
    client.sendall(b"hello")
    assert client.recv(5) == b"hello"
    return client


def test_a_cut_ends_what_is_open_and_lets_new_ones_in(proxy: Any) -> None:
    with connect(proxy) as client:
        proxy.cut()

        with pytest.raises(ConnectionResetError):
            assert client.recv(1) == b"", "closed with a goodbye"
    connect(proxy).close()


def test_what_is_stalled_comes_when_it_flows_again(proxy: Any) -> None:
    with connect(proxy) as client:
        proxy.stall()
        client.sendall(b"later")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(5)
        proxy.flow()
        client.settimeout(20)

        assert client.recv(5) == b"later"


def test_a_server_that_is_away_ends_the_connection(new_proxy: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            new_proxy(nobody.getsockname()[1]) as found,
            pytest.raises(ConnectionResetError),  # from `connect` itself, where the proxy is that quick
            socket.create_connection(("127.0.0.1", found.port), timeout=20) as client,
        ):
            assert client.recv(1) == b"", "closed with a goodbye"
