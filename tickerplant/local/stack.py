"""Settings → a running stack: start what is missing, stop all, tell how it is."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal

import psutil

from tickerplant.errors import UserError
from tickerplant.local import process
from tickerplant.local.archives import exclusive
from tickerplant.local.broker import Broker
from tickerplant.local.clickhouse import ClickHouse
from tickerplant.local.registry import SchemaRegistry
from tickerplant.local.s3 import ObjectStore
from tickerplant.local.server import Home, Server, check_ports
from tickerplant.settings import Settings

SERVERS: tuple[type[Server], ...] = (Broker, SchemaRegistry, ObjectStore, ClickHouse)

START_WAIT_S = 90.0
READY_POLL_S = 0.05
ERROR_LINES = 8
MEGABYTE = 1024 * 1024

Say = Callable[[str], None]
State = Literal["running", "starting", "died", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerStatus:
    """How one server is; `died` = it was started and ended by itself."""

    name: str
    state: State
    pid: int | None  # None = no process
    port: int
    memory_mb: int | None  # resident; None = no process
    uptime_s: int | None  # None = no process


def up(settings: Settings, say: Say = print, *, servers: tuple[type[Server], ...] = SERVERS) -> None:
    """Start the servers that do not run yet, all at once, and return when all are ready.

    If one cannot be started, those that this call started are stopped again.

    Args:
        settings: ports, home and cache are under `local`.
        say: is told one line a server.
        servers: which ones.

    Raises:
        UserError: a port is in use, something cannot be fetched, data does not fit, a server dies at start.
    """
    home = Home.of(settings)
    with exclusive(home.path / "run" / "up.lock"):
        missing = []
        for server in (each(settings) for each in servers):
            running = process.find(process.read_pid_file(home.pid_file(server.name)))
            if running is None:
                missing.append(server)
            else:
                say(f"{server.name}: already running on port {server.listeners[0].port} (pid {running.pid})")
        check_ports({server.name: server.listeners for server in missing})
        _start_all(missing, home, say)
        _await_all(settings, servers)


def down(settings: Settings, say: Say = print, *, servers: tuple[type[Server], ...] = SERVERS) -> None:
    """Stop all servers at once and return when they have ended; their data stays."""
    home = Home.of(settings)
    if not home.path.exists():
        return
    with exclusive(home.path / "run" / "up.lock"):
        _stop_all([server.name for server in servers], home, say)


def status(settings: Settings, *, servers: tuple[type[Server], ...] = SERVERS) -> list[ServerStatus]:
    """Return how each server is, in the order of the stack."""
    home = Home.of(settings)
    with ThreadPoolExecutor(len(servers)) as pool:
        return list(pool.map(lambda each: _status(each(settings), home), servers))


def died(settings: Settings) -> list[str]:
    """Name the servers that were started and have ended by themselves; quick."""
    home = Home.of(settings)
    recorded = {each.name: process.read_pid_file(home.pid_file(each.name)) for each in SERVERS}
    return [name for name, running in recorded.items() if running is not None and process.find(running) is None]


def logs(settings: Settings, name: str, *, lines: int = 50, follow: bool = False) -> Iterator[str]:
    """Return the last lines of the log of a server or role, and with `follow` go on for ever.

    Raises:
        UserError: there is no such log.
    """
    log = Home.of(settings).log(name)
    folder = Home.of(settings).log("x").parent
    known = sorted(path.stem for path in folder.glob("*.log"))
    if name not in known:  # a name is no path: what lies elsewhere is no log of ours
        raise UserError(f"no log of {name or repr(name)} in {folder}; there are: {', '.join(known) or 'none yet'}")
    return process.follow_lines(log, lines) if follow else iter(process.last_lines(log, lines))


def _start_all(servers: list[Server], home: Home, say: Say) -> None:
    if not servers:
        return
    abandoned = threading.Event()
    try:
        with ThreadPoolExecutor(len(servers)) as pool:
            starts = [pool.submit(_start, server, home, say, abandoned=abandoned) for server in servers]
            try:
                wait(starts, return_when=FIRST_EXCEPTION)
            finally:  # what one failed start, or Ctrl-C, leaves behind need not be waited for
                if not all(each.done() and each.exception() is None for each in starts):
                    abandoned.set()
        _raise_first(each.exception() for each in starts)
    except BaseException:
        _stop_all([server.name for server in servers], home, lambda _: None)
        raise


def _start(server: Server, home: Home, say: Say, *, abandoned: threading.Event) -> None:
    began_s = time.monotonic()
    launch = server.prepare()
    if abandoned.is_set():
        return
    environment = process.child_environment(launch.environment)
    log = home.log(server.name)
    running = process.start(launch.command, home.pid_file(server.name), log=log, environment=environment)
    deadline_s = time.monotonic() + START_WAIT_S
    while not (server.is_ready() and process.listens(running, server.listeners[0].port)):
        if process.find(running) is None:
            raise UserError(f"{server.name} ended at its start; {_log_end(home, server.name)}")
        if time.monotonic() > deadline_s:
            raise UserError(f"{server.name} is not ready after {START_WAIT_S:.0f} s; {_log_end(home, server.name)}")
        if abandoned.wait(READY_POLL_S):
            return
    server.finish()
    took_s = time.monotonic() - began_s
    say(f"{server.name}: ready on port {server.listeners[0].port} after {took_s:.1f} s (pid {running.pid})")


def _await_all(settings: Settings, servers: tuple[type[Server], ...]) -> None:
    """Wait for servers that another `up` had started but not seen ready (it was killed)."""
    deadline_s = time.monotonic() + START_WAIT_S
    for server in (each(settings) for each in servers):
        while not server.is_ready():
            if time.monotonic() > deadline_s:
                raise UserError(f"{server.name} runs but does not answer: `tickerplant down`, then `tickerplant up`")
            time.sleep(READY_POLL_S)


def _raise_first(errors: Iterable[BaseException | None]) -> None:
    for error in errors:
        if error is not None:
            raise error


def _log_end(home: Home, name: str) -> str:
    log = home.log(name)
    return "\n  ".join([f"the end of {log}:", *process.last_lines(log, ERROR_LINES)])


def _stop_all(names: list[str], home: Home, say: Say) -> None:
    with ThreadPoolExecutor(len(names)) as pool:
        for name, stopped in zip(names, pool.map(lambda each: process.stop(home.pid_file(each)), names), strict=True):
            say(f"{name}: {'stopped' if stopped else 'was not running'}")


def _status(server: Server, home: Home) -> ServerStatus:
    recorded = process.read_pid_file(home.pid_file(server.name))
    port = server.listeners[0].port
    try:
        found = process.find(recorded)
        if found is not None:
            state: State = "running" if server.is_ready() else "starting"
            memory_mb = found.memory_info().rss // MEGABYTE
            uptime_s = int(time.time() - found.create_time())
            return ServerStatus(
                name=server.name, state=state, pid=found.pid, port=port, memory_mb=memory_mb, uptime_s=uptime_s
            )
    except psutil.NoSuchProcess:  # it ended while we looked
        pass
    state = "stopped" if recorded is None else "died"
    return ServerStatus(name=server.name, state=state, pid=None, port=port, memory_mb=None, uptime_s=None)
