"""A disk that fills: no insert is acknowledged whose rows cannot be read, and each can be repeated."""

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickerplant.local.gateway.engine import Engine, Head, Session
from tickerplant.local.gateway.faults import NOT_ENOUGH_SPACE, QueryError
from tickerplant.local.gateway.shortage import Shortage

TABLE = (
    "CREATE TABLE kept (number UInt64, name LowCardinality(String)) ENGINE = ReplacingMergeTree ORDER BY number "
    "SETTINGS non_replicated_deduplication_window = 100"
)
WHOLE = 2**62
"""More room than any disk has: it is always near its end."""
INSERTS = 12
ROWS = 300
A_LITTLE_BYTES = 1_300_000  # an insert is begun with a megabyte at least


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = Engine(tmp_path / "clickhouse")
    engine.shortage = Shortage(engine.folder, WHOLE)
    with opened(engine) as session:
        yield session


@contextlib.contextmanager
def opened(engine: Engine) -> Iterator[Session]:
    session = engine.session()
    try:
        session.query(TABLE)
        yield session
    finally:
        session.close()
        engine.close()


def put(session: Session, first: int) -> None:
    """Insert rows from a number on; under the same token each time."""
    rows = "".join(f"{number}\tname{number % 3}\n" for number in range(first, first + ROWS))
    head = Head("INSERT INTO kept (number, name)", f"SETTINGS insert_deduplication_token = 'from {first}'")
    session.insert(head, "TSV", [rows.encode()])


def spoil(session: Session, name: str) -> None:
    """Empty a file of the only part, as a full disk leaves it."""
    (path,) = session.values("SELECT path FROM system.parts WHERE active AND table = 'kept'")
    (file,) = Path(path).glob(name)
    file.write_bytes(b"")


def count(session: Session) -> list[str]:
    return session.values("SELECT count(), uniqExact(number) FROM kept WHERE name IN ('name0', 'name1', 'name2')")


@pytest.mark.parametrize("name", ["checksums.txt", "data.cmrk*", "data.bin"])
def test_a_part_that_a_full_disk_spoilt_is_refused_and_may_come_again(session: Session, name: str) -> None:
    begun_s = time.time()
    put(session, 0)
    spoil(session, name)

    with pytest.raises(QueryError) as refused:
        session._engine.shortage.confirm(session._lines, begun_s)
    put(session, 0)

    assert refused.value.code == NOT_ENOUGH_SPACE
    assert count(session) == [f"{ROWS}\t{ROWS}"]


def test_what_is_whole_is_kept_and_not_taken_twice(session: Session) -> None:
    put(session, 0)
    put(session, 0)
    put(session, ROWS)

    assert count(session) == [f"{2 * ROWS}\t{2 * ROWS}"]


class Disk:
    """Answers for an engine that has one part, broken.

    Args:
        has_room: for what takes it out.
    """

    def __init__(self, *, has_room: bool) -> None:
        self.has_room = has_room
        self.asked: list[str] = []

    def run(self, sql: str) -> list[str]:
        self.asked.append(sql.split(" PART", maxsplit=1)[0])
        if sql.startswith("SELECT"):
            return ["`d`.`t`\tall_1_1_0"]
        if sql.startswith("CHECK"):
            return ["all_1_1_0\t0\tno checksums"]
        if "DETACH PART" in sql and not self.has_room:
            raise QueryError(NOT_ENOUGH_SPACE, "Cannot reserve 1.00 MiB")
        return []


def test_until_there_is_room_to_take_it_out_every_statement_fails(tmp_path: Path) -> None:
    disk, shortage = Disk(has_room=False), Shortage(tmp_path, WHOLE)

    for ask in (lambda: shortage.confirm(disk.run, time.time()), lambda: shortage.prepare(disk.run)):
        with pytest.raises(QueryError, match="NOT_ENOUGH_SPACE"):
            ask()
    disk.has_room = True
    shortage.prepare(disk.run)
    disk.asked.clear()
    shortage.prepare(disk.run)

    assert disk.asked == ["SYSTEM STOP MERGES"]


def test_an_insert_whose_part_another_session_took_out_fails_as_well(tmp_path: Path) -> None:
    disk, shortage = Disk(has_room=True), Shortage(tmp_path, WHOLE)
    begun_s = time.time()

    for run in (disk.run, lambda _sql: []):
        with pytest.raises(QueryError, match="not kept"):
            shortage.confirm(run, begun_s)


def test_nothing_is_merged_while_little_room_is_left(tmp_path: Path) -> None:
    disk, shortage = Disk(has_room=True), Shortage(tmp_path, WHOLE)

    shortage.prepare(disk.run)
    shortage.prepare(disk.run)
    shortage._near_bytes = 0
    shortage.prepare(disk.run)

    shortage.prepare(disk.run)

    assert disk.asked == ["SYSTEM STOP MERGES"] * 2 + ["SYSTEM START MERGES"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 60 MB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here to be filled: it takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave_bytes: int) -> None:
    with (folder / "filler").open("ab", buffering=0) as file:
        while (room := shutil.disk_usage(folder).free - leave_bytes) > 0:
            try:
                file.write(b"x" * min(room, 1024 * 1024))
            except OSError:
                return


def test_whenever_the_disk_fills_what_is_acknowledged_is_there_once(small_disk: Path) -> None:
    engine = Engine(small_disk / "clickhouse")
    with opened(engine) as session:
        for number in range(INSERTS):
            repeat_while_it_fills(session, small_disk, number)
        (small_disk / "filler").unlink(missing_ok=True)

        assert count(session) == [f"{INSERTS * ROWS}\t{INSERTS * ROWS}"]


def repeat_while_it_fills(session: Session, folder: Path, number: int) -> None:
    """Insert until it is acknowledged, on a disk that fills a little later each time."""
    for after_s in (step * 0.001 for step in range(100)):
        fill(folder, A_LITTLE_BYTES)
        filling = threading.Timer(after_s, fill, (folder, 0))
        filling.start()
        try:
            put(session, number * ROWS)
        except QueryError as error:
            if error.code != NOT_ENOUGH_SPACE:
                raise
        else:
            return
        finally:
            filling.cancel()
            filling.join()
            (folder / "filler").unlink(missing_ok=True)
    pytest.fail("it was never acknowledged")
