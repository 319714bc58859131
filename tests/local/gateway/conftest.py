"""One gateway process for all tests of it, and the means to start others."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from clickhouse_driver import Client

_START_S = 50.0
_STOP_S = 30.0
"""Patience with a machine that does much else."""


@dataclass(frozen=True, kw_only=True)
class Gateway:
    process: subprocess.Popen[str]
    port: int
    http_port: int
    data: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def driver(self, **options: object) -> Client:
        return Client("127.0.0.1", self.port, **options)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def spawn(data: Path, port: int, http_port: int, password: str = "") -> subprocess.Popen[str]:
    words = ["--port", str(port), "--http-port", str(http_port), "--data", str(data)]
    environment = os.environ | {"TICKERPLANT_CLICKHOUSE__PASSWORD": password}
    return subprocess.Popen(
        [sys.executable, "-m", "tickerplant.local.gateway", *words],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/ping", timeout=1) as response:
            return bool(response.read() == b"Ok.\n")
    except OSError:
        return False


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Poll until it holds; False after `within_s`."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., Gateway]]:
    """Start a gateway on a folder and wait until it answers; all are stopped at the end."""
    started: list[Gateway] = []

    def begin(data: Path, password: str = "") -> Gateway:
        port, http_port = free_port(), free_port()
        process = spawn(data, port, http_port, password)
        gateway = Gateway(process=process, port=port, http_port=http_port, data=data)
        started.append(gateway)
        assert eventually(lambda: answers(gateway.url), _START_S), "the gateway does not answer"
        return gateway

    yield begin
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.stop()
        assert gateway.process.stderr is not None
        gateway.process.stderr.close()


@pytest.fixture(scope="session")
def gateway(start: Callable[..., Gateway], tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    return start(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    client = gateway.driver()
    yield client
    client.disconnect()


@pytest.fixture
def table(gateway: Gateway) -> str:
    """Name of a table that no other test uses."""
    return f"t_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def until() -> Callable[..., bool]:
    return eventually
