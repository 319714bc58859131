"""Room on the disk of a local stack's data folder."""

import shutil
from pathlib import Path
from typing import Final

from tickerplant.local.server import Home
from tickerplant.settings import Settings

MEGABYTE: Final = 1024 * 1024
SHARE_MOST: Final = 0.1  # of the disk: a reserve meant for large disks would leave nothing of a small one
REOPEN: Final = 1.25


class Reserve:
    """Tells whether the disk has room for more, with some distance between no and yes.

    Args:
        folder: anywhere on the disk.
        reserve_bytes: what must stay free, at most a tenth of the disk.
    """

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self.has_room = True

    def look(self) -> bool:
        """Look how much is free now; a folder that is gone has room, since nothing is written there."""
        try:
            disk = shutil.disk_usage(self._folder)
        except OSError:
            self.has_room = True
            return True
        least_bytes = min(self._reserve_bytes, disk.total * SHARE_MOST)
        self.has_room = disk.free >= least_bytes * (1 if self.has_room else REOPEN)
        return self.has_room

    def lack(self) -> str:
        """Say what is missing."""
        return f"the disk of {self._folder} has less than local.disk_reserve_mb free: make room"


def local_reserve(settings: Settings) -> Reserve | None:
    """Make the reserve of the local stack's disk; None = the broker is elsewhere, or no reserve is wanted."""
    folder = Home.of(settings).data("broker")
    is_local = settings.kafka.bootstrap_servers.endswith(f":{settings.local.kafka_port}") and folder.is_dir()
    if not is_local or not settings.local.disk_reserve_mb:
        return None
    return Reserve(folder, settings.local.disk_reserve_mb * MEGABYTE)
