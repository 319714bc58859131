"""A whole pipeline on a stack of its own: servers can be taken away from it, and connections cut, stalled, delayed."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from unittest.mock import patch

import pytest

from tickerplant.ask_health import ask_roles
from tickerplant.demo import reconcile, stores
from tickerplant.demo.options import write_settings
from tickerplant.demo.report import Findings
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.deploy import deploy
from tickerplant.errors import DependencyError
from tickerplant.kafka import OffsetReader
from tickerplant.lag import GROUPS, LagReader
from tickerplant.local import background, broker, process, stack
from tickerplant.local.ports import with_local
from tickerplant.local.revive import Reviver, local_reviver
from tickerplant.local.server import Home
from tickerplant.room import local_reserve
from tickerplant.settings import Local, Settings, Venue
from tickerplant.supervise import Child, Supervisor, roles_of

WAIT_S = 180.0
"""Patience with a machine that does much else."""
RAW = "raw.binance"
ROLES = ("produce", "process", "sink-clickhouse", "sink-parquet", "lag-exporter")
CHANNELS = ("trade", "bookTicker", "depth")
SERVERS = {each.name: each for each in stack.SERVERS}


def until(condition: Callable[[], object], what: str | Callable[[], str], seconds: float = WAIT_S) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline_s:
            pytest.fail(f"{what if isinstance(what, str) else what()} within {seconds:.0f} s")
        time.sleep(0.1)


class Proxy:
    """Passes TCP connections on to a port of this machine; a thread of its own, from `with`.

    Args:
        target_port: None = to be set later.
    """

    def __init__(self, target_port: int | None = None) -> None:
        self.target_port, self.port = target_port, 0
        self.passed_bytes = 0
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """End all connections at once, without a goodbye."""
        self._loop.call_soon_threadsafe(self._abort)

    def stall(self) -> None:
        """Pass nothing on until `flow`; connections stay, and new ones are taken."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """Pass on what waits, and all else without delay."""
        self._delay_s = 0.0
        self._loop.call_soon_threadsafe(self._flowing.set)

    def delay(self, seconds: float) -> None:
        """Hold each piece back for so long."""
        self._delay_s = seconds

    def _abort(self) -> None:
        for writer in self._open:
            reset(writer)

    async def _close(self) -> None:
        self._server.close()
        self._flowing.set()
        mine = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        self._abort()
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self.target_port)
            self._open.add(there)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, there))
                tasks.create_task(self._pass(back, writer))
        except* OSError:  # whoever it was for is away, or it was cut
            pass
        finally:
            for each in (writer, there):
                if each is not None:
                    self._open.discard(each)
                    reset(each)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while content := await source.read(65536):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._flowing.wait()
            target.write(content)
            await target.drain()
            self.passed_bytes += len(content)
        raise ConnectionResetError  # ends the other direction, too


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a network does that forgot it: what is not read yet is gone."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


ROUTES = ("venue", "broker", "registry", "s3", "clickhouse")
"""What roles speak to."""


@contextlib.contextmanager
def routes_of(settings: Settings) -> Iterator[tuple[Settings, Mapping[str, Proxy]]]:
    """Put a proxy before each server and the venue; gives the settings of roles that go through them.

    Kafka's clients go where a broker tells them to: it gets a second listener, which tells of its proxy.
    """
    local = settings.local
    hidden_port = free_port()
    ports = (local.simulator_port, hidden_port, local.registry_port, local.s3_port, local.clickhouse_port)
    with contextlib.ExitStack() as opened:
        proxies = {name: opened.enter_context(Proxy(port)) for name, port in zip(ROUTES, ports, strict=True)}
        told = {name: proxy.port for name, proxy in proxies.items()}
        listener = (hidden_port, told["broker"])
        opened.enter_context(patch.object(broker, "server_properties", with_listener(listener)))
        venue = {
            name: getattr(settings.venues[0], name).replace(str(local.simulator_port), str(told["venue"]))
            for name in ("websocket_url", "rest_url")
        }
        sections = {
            "venues": (settings.venues[0].model_copy(update=venue),),
            "kafka": settings.kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{told['broker']}"}),
            "registry": settings.registry.model_copy(
                update={"url": settings.registry.url.replace(str(local.registry_port), str(told["registry"]))}
            ),
            "object_store": settings.object_store.model_copy(update={"endpoint_url": f"http://127.0.0.1:{told['s3']}"}),
            "clickhouse": settings.clickhouse.model_copy(update={"port": told["clickhouse"]}),
        }
        yield settings.model_copy(update=sections), proxies


def with_listener(listener: tuple[int, int]) -> Callable[..., str]:
    """Make the properties of a broker that has one listener more: (port, port that clients are told)."""
    made = broker.server_properties
    port, told_port = listener

    def properties(*args: object) -> str:
        lines = dict(line.split("=", 1) for line in made(*args).splitlines())  # type: ignore[arg-type]  # as given
        lines["listeners"] += f",PROXIED://127.0.0.1:{port}"
        lines["advertised.listeners"] += f",PROXIED://127.0.0.1:{told_port}"
        lines["listener.security.protocol.map"] += ",PROXIED:PLAINTEXT"
        return "".join(f"{name}={value}\n" for name, value in lines.items())

    return properties


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Line:
    """A running pipeline.

    Args:
        settings: by which tests ask, straight.
        proxies: through which roles speak; empty = none.
    """

    settings: Settings
    supervisor: Supervisor
    lags: LagReader
    offsets: OffsetReader
    reviver: Reviver | None = None
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    keeper: threading.Thread = field(default_factory=threading.Thread)  # runs `supervise`

    @property
    def venue(self) -> SimulatedVenue:
        return SimulatedVenue(self.settings)

    def missing(self) -> dict[str, set[str]]:
        """Tell what each role misses, as each says itself; one that does not answer misses `itself`."""
        found = ask_roles(self.settings, "ready")
        return {each.role: {one.dependency for one in each.missing} or {"itself"} for each in found if not each.is_good}

    def roles(self) -> set[str]:
        return {each.role for each in ask_roles(self.settings, "ready")}

    def are_live(self) -> bool:
        return all(each.is_good for each in ask_roles(self.settings, "live"))

    def children(self) -> dict[str, Child]:
        """Tell which process is in which slot."""
        return dict(zip(self.supervisor.pids(), self.supervisor.children, strict=True))

    def processed(self) -> dict[tuple[str, int], int]:
        """Tell what the processor has committed."""
        with contextlib.suppress(DependencyError):
            lags = [each for each in self.lags.read() if each.group == GROUPS[0]]
            return {(each.topic, each.partition): each.committed or 0 for each in lags}
        return {}

    def signal(self, servers: Sequence[str], number: int) -> None:
        """Send a signal to servers; one that is killed is waited for."""
        for name in servers:
            running = process.read_pid_file(Home.of(self.settings).pid_file(name))
            assert running is not None
            os.kill(running.pid, number)
            if number == signal.SIGKILL:
                until(lambda running=running: process.find(running) is None, f"{name} ends")

    def server_processes(self) -> dict[str, process.Running]:
        """Tell which process each server is."""
        found = {name: process.read_pid_file(Home.of(self.settings).pid_file(name)) for name in SERVERS}
        return {name: running for name, running in found.items() if running is not None}

    def start(self, servers: Sequence[str]) -> None:
        stack.up(self.settings, print, servers=tuple(SERVERS[name] for name in servers))

    def tells_offsets(self) -> bool:
        """Tell whether offsets can be asked for over a connection that was there before, as processors do."""
        with contextlib.suppress(DependencyError):
            return bool(self.offsets.watermarks({RAW: self.settings.kafka.partitions}))
        return False

    def died(self) -> list[str]:
        return stack.died(self.settings)

    def log_sizes(self) -> dict[str, int]:
        """Count the lines of each role's log."""
        folder = self.settings.local.home / "logs"
        return {name: len((folder / f"{name}.log").read_text().splitlines()) for name in self.supervisor.pids()}

    def finish(self) -> Findings:
        """End the market, wait until all is stored, and count."""
        self.venue.stop()
        until(lambda: self.venue.status()["state"] == "done", "the venue ends")
        served = int(self.venue.status()["frames_served"])
        self.stopping.set()
        self.keeper.join()
        self.supervisor.stop(["produce"])
        until(self._is_drained, lambda: f"all is stored, not {self._waiting()}; missing {self.missing()}")
        topics = reconcile.count_topics(self.settings, "binance")
        stored = {"parquet": stores.count_parquet(self.settings)}
        with stores.clickhouse(self.settings) as client:
            stored["clickhouse"] = stores.count_clickhouse(client)
        return Findings(frames_served=served, topics=topics, stored=stored, latency_us={}, memory_mb={}, seconds=1.0)

    def supervise(self) -> None:
        while not self.stopping.wait(0.1):
            self._keep()

    def _keep(self) -> None:
        self.supervisor.restart_dead()
        if self.reviver is not None:
            self.reviver.look()

    def _is_drained(self) -> bool:
        self._keep()  # no thread does any more
        return not self._waiting() and not self._waiting()

    def _waiting(self) -> list[str]:
        return [f"{lag.group} {lag.topic}-{lag.partition}: {lag.records}" for lag in self.lags.read() if lag.records]


def make_settings(home: Path) -> Settings:
    """Settings of a pipeline with one market, on free ports."""
    base = Settings(local=Local(home=home))
    ours = with_local(base, home, keep_free_ports=False)
    address = f"127.0.0.1:{ours.local.simulator_port}/binance/spot"
    venue = Venue(
        venue="BINANCE",
        market="spot",
        symbols=("*",),
        channels=CHANNELS,
        websocket_url=f"ws://{address}",
        rest_url=f"http://{address}",
    )
    sections = {
        "venues": (venue,),
        "lag_exporter": ours.lag_exporter.model_copy(update={"poll_s": 1.0}),
        "kafka": ours.kafka.model_copy(update={"partitions": 2}),
        "sink": ours.sink.model_copy(update={"parquet_roll_s": 1.0, "flush_ms": 300.0}),
    }
    return ours.model_copy(update=sections)


@contextlib.contextmanager
def proxied(settings: Settings, rate: int) -> Iterator[Line]:
    """A pipeline whose roles go through proxies."""
    with routes_of(settings) as (routed, proxies), running(settings, rate, routed) as line:
        line.proxies = proxies
        yield line


@contextlib.contextmanager
def running(settings: Settings, rate: int, of_roles: Settings | None = None) -> Iterator[Line]:
    """A pipeline that has begun to store, and what it needs; ended in the end.

    Args:
        of_roles: the settings of the roles, where they are others.
    """
    config = settings.local.home / "tickerplant.toml"
    write_settings(of_roles or settings, config)
    roles = [role for role in roles_of(settings) if role.name in ROLES]
    supervisor = Supervisor(config, roles, settings.local.home / "logs")
    line = Line(settings, supervisor, LagReader(settings), OffsetReader(settings))
    line.keeper = threading.Thread(target=line.supervise)
    try:
        stack.up(settings, print)
        reserve = local_reserve(settings)
        assert reserve is not None
        line.reviver = local_reviver(settings, reserve)
        deploy(settings)
        port = str(settings.local.simulator_port)
        arguments = ["tickerplant.local.venue", "--port", port, "--symbols", "8", "--seed", "1", "--rate", str(rate)]
        background.start(settings, background.VENUE, arguments)
        until(line.venue.is_up, "the venue answers")
        supervisor.start()
        line.keeper.start()
        symbols = len(line.venue.instruments("spot"))
        until(lambda: len(line.venue.status()["subscribed"]) >= symbols * len(CHANNELS), "all is subscribed")
        until(lambda: len(line.roles()) == len(supervisor.roles) and not line.missing(), "all roles are ready")
        line.venue.start()
        until(lambda: any(line.processed().values()), "something is processed")
        yield line
    finally:
        line.stopping.set()
        if line.keeper.ident is not None:
            line.keeper.join()
        supervisor.stop()
        line.lags.close()
        line.offsets.close()
        background.stop(settings, print)
        stack.down(settings, print)


@pytest.fixture(scope="session")
def pipeline() -> Callable[[Settings, int], contextlib.AbstractContextManager[Line]]:
    """Runs a pipeline: settings and frames per second → a context with a `Line`."""
    return running


@pytest.fixture(scope="session")
def proxied_pipeline() -> Callable[[Settings, int], contextlib.AbstractContextManager[Line]]:
    """Runs a pipeline through proxies, as `pipeline`."""
    return proxied


@pytest.fixture(scope="session")
def new_proxy() -> type[Proxy]:
    return Proxy


@pytest.fixture(scope="session")
def settings_in() -> Callable[[Path], Settings]:
    """Makes the settings of a pipeline with its home in a folder."""
    return make_settings


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Waits for a condition: what, and seconds."""
    return until


class SmallDisk:
    """A file system of its own, in memory, that can be filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, leave_bytes: int) -> None:
        """Fill it until about so much is free."""
        with self._filler.open("ab", buffering=0) as file:
            while (free := shutil.disk_usage(self.folder).free) > leave_bytes:
                try:
                    file.write(b"x" * min(free - leave_bytes, 1024 * 1024))
                except OSError:
                    return

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk | None]:
    """A disk of 600 MB; None = we may not mount one here."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def outage_s() -> float:
    """How long each outage lasts after all roles have noticed it; `make soak` makes it a minute."""
    return float(os.environ.get("OUTAGE_S", "2"))
