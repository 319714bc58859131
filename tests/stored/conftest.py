"""A ClickHouse with tables of its own suffix, to be filled by each test; a browser for what is drawn of them."""

import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sinks.clickhouse_client import connect
from sinks.migrations import migrate
from tests.debian import NotToBeHadError, unpacked
from tickerplant.settings import Settings

SUFFIX = "_stored"
TABLES = ("market_data.tick", "market_data.depth", "market_data.bars", "metadata.quality", "metadata.sink_commits")
Fill = Callable[..., None]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SHELL = "chromium-headless-shell"


@pytest.fixture(scope="module")
def settings(gateway: Any) -> Settings:
    """Settings of a deployment whose tables stand beside those of other tests."""
    migrate(gateway.settings)
    client = connect(gateway.settings.clickhouse)
    for table in TABLES:
        client.execute(f"CREATE TABLE IF NOT EXISTS {table}{SUFFIX} AS {table}")
    client.disconnect()
    clickhouse = gateway.settings.clickhouse.model_copy(update={"table_suffix": SUFFIX})
    found: Settings = gateway.settings.model_copy(update={"clickhouse": clickhouse})
    return found


@pytest.fixture(scope="module")
def emptied(settings: Settings) -> Iterator[Callable[[], Fill]]:
    """Empty all tables, and give what inserts rows (dictionaries by column) into one."""
    client = connect(settings.clickhouse)
    offsets = iter(range(10**9))

    def insert(table: str, *rows: dict[str, Any]) -> None:
        by_columns = defaultdict(list)  # which may differ from row to row
        for row in rows:
            full = {"venue": "BINANCE", "source_topic": "raw.x", "source_offset": next(offsets)}
            full |= {} if table == "metadata.sink_commits" else {"symbol": "BTC/USDT"}
            full |= row
            by_columns[tuple(full)].append(tuple(full.values()))
        for columns, values in by_columns.items():
            client.execute(f"INSERT INTO {table}{SUFFIX} ({', '.join(columns)}) VALUES", values)

    def empty() -> Fill:
        for table in TABLES:
            client.execute(f"TRUNCATE TABLE {table}{SUFFIX}")
        return insert

    yield empty
    client.disconnect()


@pytest.fixture
def fill(emptied: Callable[[], Fill]) -> Fill:
    """Insert rows into tables that were emptied before the test."""
    return emptied()


class Browser:
    """A Chromium without a window."""

    def __init__(self, program: Path, libraries: list[Path]) -> None:
        self._program = program
        paths = os.pathsep.join(map(str, libraries))
        self._environment = {**os.environ, "LD_LIBRARY_PATH": paths} if paths else None

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run it until it ends."""
        words = [str(self._program), *options]
        return subprocess.run(words, env=self._environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="session")
def browser() -> Browser:
    """One that is installed, else Debian's, fetched once into the cache; the test is skipped where it cannot be had."""
    for path in filter(None, map(shutil.which, (SHELL, *BROWSERS))):
        found = Browser(Path(path), [])
        if not found.run("--version").returncode:
            return found
    try:
        folder = unpacked(SHELL, with_needed=True)
    except NotToBeHadError as error:
        pytest.skip(f"no browser: none is installed, and Debian's cannot be fetched: {error}")
    libraries = [*folder.glob("usr/lib/*-linux-gnu"), *folder.glob("usr/lib/*-linux-gnu/pulseaudio")]
    return Browser(folder / "usr" / "lib" / "chromium" / SHELL, libraries)
