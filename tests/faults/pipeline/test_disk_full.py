"""A store on a disk without room takes nothing by halves, says so, and takes the same write once there is room."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clickhouse_driver
import pyarrow as pa
import pytest
from clickhouse_driver.errors import ServerException

from sinks.clickhouse_client import BUSY
from sinks.places import Folder
from sinks.store import StoreBusyError
from tickerplant.errors import DependencyError
from tickerplant.local import stack
from tickerplant.local.clickhouse import ClickHouse
from tickerplant.settings import Settings

ROWS = 200_000
MEGABYTE = 1024 * 1024
ROOMS_MB = (0, 2, 6, 12, 20)
"""Free space in which the rows do not fit: neither as they come, nor as a part of the table beside them."""


@pytest.fixture
def disk(small_disk: Any) -> Iterator[Any]:
    if small_disk is None:
        pytest.skip("no file system can be mounted here to be filled: it takes root")
    yield small_disk
    small_disk.free()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_without_room_takes_nothing_and_keeps_no_draft(disk: Any) -> None:
    lake = disk.folder / "lake"
    folder, content = Folder(lake), pa.py_buffer(b"x" * MEGABYTE)
    folder.open()
    disk.fill(leave_bytes=MEGABYTE // 2)

    with pytest.raises(StoreBusyError, match="No space left"):
        folder.create("cleaned/tick/one.parquet", content)
    assert files(lake) == []
    disk.fill(leave_bytes=0)
    with pytest.raises(DependencyError, match="make room"):
        folder.check(1.0)

    disk.free()
    folder.check(1.0)
    folder.create("cleaned/tick/one.parquet", content)
    assert [path.stat().st_size for path in files(lake)] == [MEGABYTE]


@pytest.fixture
def clickhouse(disk: Any, settings_in: Callable[[Path], Settings]) -> Iterator[clickhouse_driver.Client]:
    """A client of a ClickHouse whose data lies on the small disk."""
    settings = settings_in(disk.folder / "home")
    stack.up(settings, print, servers=(ClickHouse,))
    client = clickhouse_driver.Client("127.0.0.1", settings.clickhouse.port)
    try:
        client.execute("CREATE DATABASE full")
        client.execute("CREATE TABLE full.t (x Int64, y String) ENGINE = MergeTree ORDER BY x")
        yield client
    finally:
        client.disconnect()
        disk.free()
        stack.down(settings, print, servers=(ClickHouse,))


@pytest.mark.stack
@pytest.mark.timeout(180)
def test_clickhouse_without_room_takes_no_row_and_all_of_them_later(
    clickhouse: clickhouse_driver.Client, disk: Any
) -> None:
    rows = [list(range(ROWS)), [f"{number * 2654435761 % 2**64:040x}" for number in range(ROWS)]]

    def insert() -> None:
        clickhouse.execute("INSERT INTO full.t (x, y) VALUES", rows, columnar=True)

    for room in ROOMS_MB:
        disk.free()
        disk.fill(leave_bytes=room * MEGABYTE)
        with pytest.raises(ServerException) as raised:
            insert()
        assert raised.value.code in BUSY, raised.value
        assert clickhouse.execute("SELECT count() FROM full.t") == [(0,)]

    disk.free()
    insert()
    assert clickhouse.execute("SELECT count(), uniqExact(x) FROM full.t") == [(ROWS, ROWS)]
