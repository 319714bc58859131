"""Lock file → verified server files in the cache folder, shared by all checkouts, downloaded once."""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tickerplant.errors import UserError
from tickerplant.local.maven import Coordinate, OnBytes, download
from tickerplant.local.progress import Progress

LOCK_PATH = Path(__file__).with_name("archives.lock.json")
DOWNLOADS_AT_ONCE = 4

Fetch = Callable[[Coordinate, Path, OnBytes], Path]


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """One locked file."""

    coordinate: Coordinate
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        if len(self.sha256) != hashlib.sha256().digest_size * 2 or self.size_bytes <= 0:
            raise ValueError(f"bad lock entry of {self.coordinate}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedServer:
    """All files of one server, the one that names its version first."""

    version: str
    archives: tuple[Archive, ...]


def read_lock(path: Path = LOCK_PATH) -> Mapping[str, LockedServer]:
    """Return the locked servers by name.

    Raises:
        UserError: the lock file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: _locked_server(entry) for name, entry in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"lock file {path} is unusable ({error}); write it by `python -m tickerplant.local.lock`"
        ) from None


def write_lock(servers: Mapping[str, LockedServer], path: Path = LOCK_PATH) -> None:
    """Write the lock file: coordinates, SHA-256 and sizes, no host names."""
    content = {
        name: {
            "version": server.version,
            "archives": [
                {"coordinate": str(each.coordinate), "sha256": each.sha256, "size_bytes": each.size_bytes}
                for each in server.archives
            ],
        }
        for name, server in servers.items()
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def fetch(name: str, server: LockedServer, cache: Path, *, download_file: Fetch | None = None) -> tuple[Path, ...]:
    """Return the verified files of a server in lock order; downloads those that are missing, else needs no network.

    Args:
        name: what progress lines on stderr call it.
        server: its lock entry.
        cache: folder shared by checkouts; one process downloads a server at a time, others wait for it.
        download_file: how a file comes into a folder (None = Maven).

    Raises:
        UserError: a file cannot be downloaded, or is not the one of the lock.
    """
    repository = cache / "maven"
    if any(not (repository / each.coordinate.path).exists() for each in server.archives):
        with exclusive(cache / f"{name}.lock"):
            _download_missing(name, server, repository, download_file or _download_by_maven)
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        return tuple(pool.map(lambda each: verify(repository / each.coordinate.path, each.sha256), server.archives))


def verify(path: Path, sha256: str) -> Path:
    """Return `path` if it has this SHA-256.

    Raises:
        UserError: it has another one, or cannot be read.
    """
    try:
        found = file_sha256(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; delete it and try again") from None
    if found != sha256:
        raise UserError(f"{path} is damaged or not ours (SHA-256 {found[:12]}…, locked {sha256[:12]}…); delete it")
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` among processes and threads; blocks until it is free.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; set local.home and local.cache elsewhere") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _locked_server(entry: Mapping[str, object]) -> LockedServer:
    archives = entry["archives"]
    if not isinstance(archives, list) or not archives:
        raise ValueError("a server without archives")
    return LockedServer(version=str(entry["version"]), archives=tuple(_archive(each) for each in archives))


def _archive(entry: Mapping[str, str | int]) -> Archive:
    return Archive(
        coordinate=Coordinate.parse(str(entry["coordinate"])),
        sha256=str(entry["sha256"]),
        size_bytes=int(entry["size_bytes"]),
    )


def _download_missing(name: str, server: LockedServer, repository: Path, download_file: Fetch) -> None:
    missing = [each for each in server.archives if not (repository / each.coordinate.path).exists()]
    if not missing:  # another process downloaded them while we waited for the lock
        return
    progress = Progress(name, total_bytes=sum(each.size_bytes for each in missing))
    # A file enters the repository by a rename, whole and verified: an interrupted download leaves nothing there.
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=repository.parent) as staging:

        def install(archive: Archive) -> None:
            path = download_file(archive.coordinate, Path(staging), progress.add)
            target = repository / archive.coordinate.path
            target.parent.mkdir(parents=True, exist_ok=True)
            verify(path, archive.sha256).replace(target)

        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            list(pool.map(install, missing))
    progress.done()


def _download_by_maven(coordinate: Coordinate, repository: Path, on_bytes: OnBytes) -> Path:
    return download(coordinate, repository, on_bytes=on_bytes)
