"""Versions we want → `archives.lock.json`: run `python -m tickerplant.local.lock` after changing one."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tickerplant.errors import UserError
from tickerplant.local.archives import LOCK_PATH, Archive, LockedServer, file_sha256, write_lock
from tickerplant.local.maven import Coordinate, download, resolve

# Kafka 4.4.0 cannot be resolved: its kafka-tools-api is missing (2026-11).
BROKER = (
    Coordinate.parse("org.apache.kafka:kafka_2.13:jar:4.3.1"),
    Coordinate.parse("org.slf4j:slf4j-simple:jar:1.7.36"),
)
REGISTRY = Coordinate.parse("io.apicurio:apicurio-registry-app:tar.gz:all:3.3.3")
S3 = Coordinate.parse("org.gaul:s3proxy:jar:jar-with-dependencies:4.1.0")


def lock_servers(folder: Path) -> Mapping[str, LockedServer]:
    """Resolve and download everything into `folder` and return what was found."""
    wanted = {"broker": resolve(BROKER, folder), "registry": (REGISTRY,), "s3": (S3,)}
    return {name: _lock(coordinates, folder) for name, coordinates in wanted.items()}


def main() -> int:
    """Write the lock file; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            servers = lock_servers(Path(folder))
        except UserError as error:
            sys.stderr.write(f"{error}\n")
            return 2
    write_lock(servers)
    sys.stderr.write(f"{LOCK_PATH.name}: {sum(len(server.archives) for server in servers.values())} files\n")
    return 0


def _lock(coordinates: tuple[Coordinate, ...], folder: Path) -> LockedServer:
    return LockedServer(version=coordinates[0].version, archives=tuple(_hash(each, folder) for each in coordinates))


def _hash(coordinate: Coordinate, folder: Path) -> Archive:
    path = download(coordinate, folder)
    return Archive(coordinate=coordinate, sha256=file_sha256(path), size_bytes=path.stat().st_size)


if __name__ == "__main__":
    sys.exit(main())
