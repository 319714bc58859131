"""Fixtures of all tests: one local stack for the session, one ClickHouse, and the recordings beside the project."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from sinks.clickhouse_client import connect
from tickerplant.deploy import deploy
from tickerplant.errors import DependencyError
from tickerplant.local import stack as local_stack
from tickerplant.local.ports import with_local
from tickerplant.settings import ClickHouse, Settings

hypothesis_settings.register_profile("tickerplant", deadline=None)  # no test is timed: machines are shared
hypothesis_settings.load_profile("tickerplant")

RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of recorded venue messages; tests that need it are skipped where it is absent."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings at {RECORDINGS}")
    return RECORDINGS


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running, deployed local stack, one for the session: keep to symbols and groups of your own."""
    settings = with_local(Settings(), tmp_path_factory.mktemp("stack"), keep_free_ports=False)
    local_stack.up(settings, print)
    try:
        deploy(settings)
        yield settings
    finally:
        local_stack.down(settings, print)


class Gateway:
    """The local ClickHouse in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = [free_port(), free_port()]
        clickhouse = ClickHouse(port=ports[0], http_port=ports[1], retention_days=3650)
        self.settings = Settings(clickhouse=clickhouse)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        ports = ["--port", str(self.settings.clickhouse.port), "--http-port", str(self.settings.clickhouse.http_port)]
        command = [sys.executable, "-m", "tickerplant.local.gateway", *ports, "--data", str(self.folder)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until_s = time.monotonic() + 30
        while not self.answers():
            assert time.monotonic() < until_s
            assert self.process.poll() is None

    def answers(self) -> bool:
        try:
            connect(self.settings.clickhouse).disconnect()
        except DependencyError:
            return False
        return True

    def stop(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait(20)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One ClickHouse without the rest of a stack: empty the tables that you use before you fill them."""
    server = Gateway(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A ClickHouse to be stopped and started."""
    server = Gateway(tmp_path / "clickhouse")
    server.start()
    yield server
    server.stop()
