"""Apicurio Registry with its data in an H2 file. Source: https://www.apicur.io/registry/docs/."""

from pathlib import Path
from typing import ClassVar

import httpx

from tickerplant.local.archives import fetch, read_lock
from tickerplant.local.java import QUICK_START, java_command
from tickerplant.local.ports import HOST
from tickerplant.local.server import Home, Launch, Listener, cache_folder, claim_data
from tickerplant.local.unpack import unpack
from tickerplant.settings import Settings

HEAP_MB = 256
PROBE_TIMEOUT_S = 1.0


class SchemaRegistry:
    """The schema registry, with the Confluent API at `/apis/ccompat/v7`."""

    name: ClassVar[str] = "registry"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = Home.of(settings).data(self.name)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Return the HTTP port."""
        return (
            Listener(port=self._settings.local.registry_port, setting="local.registry_port", follower="registry.url"),
        )

    def prepare(self) -> Launch:
        """Fetch and unpack the application."""
        locked = read_lock()[self.name]
        cache = cache_folder(self._settings)
        (archive,) = fetch(self.name, locked, cache)
        application = unpack(archive, cache / f"registry-{locked.version}-{locked.archives[0].sha256[:12]}")
        claim_data(self._folder, version=locked.version)
        return Launch(
            command=java_command(
                ("-jar", str(application / "quarkus-run.jar")),
                self._folder,
                heap_mb=HEAP_MB,
                flags=QUICK_START,
                properties=java_properties(self._settings.local.registry_port, self._folder),
            )
        )

    def is_ready(self) -> bool:
        """List the subjects, which needs its database."""
        address = f"http://{HOST}:{self._settings.local.registry_port}/apis/ccompat/v7/subjects"
        try:
            return httpx.get(address, timeout=PROBE_TIMEOUT_S, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def finish(self) -> None:
        """Nothing: schemas are registered by `tickerplant deploy`."""


def java_properties(port: int, folder: Path) -> dict[str, str]:
    """Return the settings of the registry as Java system properties."""
    return {
        "apicurio.storage.kind": "sql",
        "apicurio.datasource.url": f"jdbc:h2:file:{folder / 'database'}",
        "apicurio.import.work-dir": str(folder / "tmp"),
        "apicurio.storage.snapshot.location": str(folder / "tmp"),
        "quarkus.http.host": HOST,
        "quarkus.http.port": str(port),
        "quarkus.http.access-log.enabled": "false",
        # Its management interface cannot be switched off at run time: any free port on loopback.
        "quarkus.management.host": HOST,
        "quarkus.management.port": "0",
        "quarkus.otel.sdk.disabled": "true",
    }
