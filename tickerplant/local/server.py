"""What a server of the stack is: where it lies, what it listens on, how it is launched and found ready."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from tickerplant.errors import UserError
from tickerplant.local.ports import is_free
from tickerplant.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """One port of a server on 127.0.0.1."""

    port: int
    setting: str  # the setting that moves it
    follower: str = ""  # the setting by which clients find it; empty = it has no clients of ours


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How a server process is started."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # besides the few names all children get


class Server(Protocol):
    """One server of the stack."""

    name: ClassVar[str]

    def __init__(self, settings: Settings) -> None: ...

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """All ports, the one that clients use first."""

    def prepare(self) -> Launch:
        """Fetch what is needed, write config files, make the data folder; blocks. The server is not running then.

        Raises:
            UserError: something cannot be fetched, or the data folder is of another version.
        """

    def is_ready(self) -> bool:
        """Tell whether clients are answered now; blocks at most about a second."""

    def finish(self) -> None:
        """Do what needs the running server, each time it has started; blocks."""


@dataclass(frozen=True, slots=True)
class Home:
    """Folders of one stack."""

    path: Path

    @classmethod
    def of(cls, settings: Settings) -> "Home":
        """Return the home that the settings name, as an absolute path."""
        return cls(settings.local.home.expanduser().resolve())

    def data(self, name: str) -> Path:
        """Return the folder of a server's config and data."""
        return self.path / name

    def log(self, name: str) -> Path:
        """Return the log file of a server or role."""
        return self.path / "logs" / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        """Return the pid file of a server."""
        return self.path / "run" / f"{name}.json"


def cache_folder(settings: Settings) -> Path:
    """Return the folder of downloads, as an absolute path."""
    return settings.local.cache.expanduser().resolve()


def claim_data(folder: Path, *, version: str) -> None:
    """Make a server's folder, or check that its data was made by the same series (the first two numbers) of the server.

    Raises:
        UserError: the data is of another series, its stamp is damaged, or the folder cannot be written.
    """
    stamp = folder / "version.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = json.loads(stamp.read_text(encoding="utf-8"))["version"] if stamp.exists() else None
        if found is None:
            _claim_empty(folder, stamp, version)
        elif _series(found) != _series(version):
            raise UserError(f"{folder} was made by version {found}, this is {version}: move it away to start empty")
    except OSError as error:
        raise UserError(f"cannot use {folder}: {error.strerror}; set local.home elsewhere") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{stamp} is damaged: move {folder} away to start empty") from None


def check_ports(servers: Mapping[str, tuple[Listener, ...]]) -> None:
    """Check that every listener of servers about to start has a free port of its own.

    Raises:
        UserError: a port is 0, named twice, or in use by another program.
    """
    owners: dict[int, str] = {}
    for name, listener in ((name, each) for name, listeners in servers.items() for each in listeners):
        if listener.port == 0:
            raise UserError(f"{listener.setting} is 0: {name} needs a port number, since clients are told it")
        if listener.port in owners:
            raise UserError(f"port {listener.port} is set for {owners[listener.port]} and {name}: {_move(listener)}")
        if not is_free(listener.port):
            raise UserError(
                f"port {listener.port} of {name} is in use by another program: end that, or {_move(listener)}"
            )
        owners[listener.port] = name


def _move(listener: Listener) -> str:
    follower = f" (and {listener.follower} to match)" if listener.follower else ""
    return f"set {listener.setting}{follower}"


def _series(version: str) -> list[str]:
    return version.split(".")[:2]


def _claim_empty(folder: Path, stamp: Path, version: str) -> None:
    if any(folder.iterdir()):
        raise UserError(f"{folder} has files but no {stamp.name}: it is not ours; move it away or set local.home")
    stamp.write_text(json.dumps({"version": version}), encoding="utf-8")
