"""Ports of the local stack: free, ours, or taken by whom."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from tickerplant.doctor.finding import Finding
from tickerplant.local import background, process, stack
from tickerplant.local.ports import is_free
from tickerplant.local.server import Home, Listener
from tickerplant.settings import Settings

VENUE: Final = "simulated venue"


@dataclass(frozen=True)
class Holder:
    """Who listens on a port; pid None = the system does not tell us."""

    pid: int | None
    name: str

    def __str__(self) -> str:
        return self.name if self.pid is None else f"{self.name} (pid {self.pid})"


UNTOLD: Final = Holder(None, "a program of another user")


def ports(settings: Settings, answering: Collection[str]) -> list[Finding]:
    """Look at each port.

    Args:
        answering: servers that answer at the addresses of the settings, by the names of the local stack's.
    """
    holders, ours = _holders(), _ours(settings)
    needed = _needed(settings) - set(answering)
    return [
        _port(server, listener, holders.get(listener.port), ours.get(server), is_needed=server in needed)
        for server, listener in _listeners(settings)
    ]


def _port(server: str, listener: Listener, holder: Holder | None, our_pid: int | None, *, is_needed: bool) -> Finding:
    """Look at one port; `our_pid` is that of our server that should have it, None = it does not run."""
    name, port = listener.setting.removeprefix("local."), listener.port
    if holder is None and not is_free(port):
        holder = UNTOLD
    if holder is None:
        return Finding(name=name, what=f"{port} is free", facts={"port": port, "is": "free"})
    facts = {"port": port, "pid": holder.pid, "program": holder.name}
    if our_pid is not None and holder.pid in {our_pid, None}:
        return Finding(name=name, what=f"{port} is ours: {server} (pid {our_pid})", facts={**facts, "is": "ours"})
    what = f"{port} is taken by {holder}"
    if not is_needed:
        return Finding(name=name, what=what, state="note", facts={**facts, "is": "taken"})
    follower = f" (and {listener.follower} to match)" if listener.follower else ""
    todo = f"{server} needs it: end that program, or set {listener.setting}{follower}"
    return Finding(name=name, what=what, state="wrong", todo=todo, facts={**facts, "is": "taken"})


def _listeners(settings: Settings) -> Iterator[tuple[str, Listener]]:
    for server in (each(settings) for each in stack.SERVERS):
        for listener in server.listeners:
            yield server.name, listener
    yield VENUE, Listener(port=settings.local.simulator_port, setting="local.simulator_port")


def _needed(settings: Settings) -> set[str]:
    """Name the servers that the settings look for on this machine's own stack."""
    local = settings.local
    addresses = {
        "broker": (settings.kafka.bootstrap_servers.rpartition(":")[2], str(local.kafka_port)),
        "registry": (urlsplit(settings.registry.url).port, local.registry_port),
        "s3": (urlsplit(settings.object_store.endpoint_url or "").port, local.s3_port),
        "clickhouse": (settings.clickhouse.port, local.clickhouse_port),
    }
    return {name for name, (wanted, ours) in addresses.items() if wanted == ours}


def _ours(settings: Settings) -> dict[str, int]:
    """Tell the ids of our processes of this home, by their names."""
    home = Home.of(settings)
    files = {**{each.name: each.name for each in stack.SERVERS}, VENUE: background.VENUE}
    running = {name: process.find(process.read_pid_file(home.pid_file(file))) for name, file in files.items()}
    return {name: each.pid for name, each in running.items() if each is not None}


def _holders() -> dict[int, Holder]:
    """List who listens, as far as the system tells us."""
    try:
        connections: list[Any] = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return {}
    listening = [each for each in connections if each.status == psutil.CONN_LISTEN and each.laddr]
    return {each.laddr.port: _holder(each.pid) for each in listening}


def _holder(pid: int | None) -> Holder:
    if pid is None:
        return UNTOLD
    try:
        return Holder(pid, psutil.Process(pid).name())
    except psutil.Error:
        return Holder(pid, "a program")
