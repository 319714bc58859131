"""A disk that fills: no insert is acknowledged whose rows cannot be read, and each can be repeated."""

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickerplant.local.gateway.engine import _WRITES, Engine, Head, Session
from tickerplant.local.gateway.faults import NOT_ENOUGH_SPACE, QueryError, from_engine
from tickerplant.local.gateway.shortage import Shortage

TABLE = (
    "CREATE TABLE kept (number UInt64, name LowCardinality(String)) ENGINE = ReplacingMergeTree ORDER BY number "
    "SETTINGS non_replicated_deduplication_window = 100"
)
WHOLE = 2**62
"""More room than any disk has: it is always near its end."""
STOP = "SYSTEM STOP MERGES"
INSERTS = 12
ROWS = 300
A_LITTLE_BYTES = 1_300_000  # an insert is begun with a megabyte at least


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = Engine(tmp_path / "clickhouse")
    engine.shortage._near_bytes = WHOLE
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
    begun = session._engine.shortage.begin()
    put(session, 0)
    spoil(session, name)

    with pytest.raises(QueryError) as refused:
        session._engine.shortage.confirm(begun)
    put(session, 0)

    assert refused.value.code == NOT_ENOUGH_SPACE
    assert count(session) == [f"{ROWS}\t{ROWS}"]


def test_what_is_whole_is_kept_and_not_taken_twice(session: Session) -> None:
    put(session, 0)
    put(session, 0)
    put(session, ROWS)

    assert count(session) == [f"{2 * ROWS}\t{2 * ROWS}"]


class Disk:
    """Answers for an engine that has one part.

    Args:
        answer: of CHECK; an exception = it is raised.
        has_room: for what takes it out.
    """

    def __init__(self, answer: str | QueryError = "all_1_1_0\t0\tno checksums", *, has_room: bool = True) -> None:
        self.answer = answer
        self.has_room = has_room
        self.asked: list[str] = []

    def run(self, sql: str) -> list[str]:
        self.asked.append(" ".join(sql.split()[:3]))
        if sql.startswith("SELECT"):
            return ["`d`.`t`\tall_1_1_0"]
        if sql.startswith("CHECK"):
            if isinstance(self.answer, QueryError):
                raise self.answer
            return [self.answer]
        if "DETACH PART" in sql and not self.has_room:
            raise QueryError(NOT_ENOUGH_SPACE, "Cannot reserve 1.00 MiB")
        return []


def test_until_there_is_room_to_take_it_out_every_statement_fails(tmp_path: Path) -> None:
    disk = Disk(has_room=False)
    shortage = Shortage(tmp_path, disk.run, WHOLE)
    begun = shortage.begin()

    for ask in (lambda: shortage.confirm(begun), shortage.begin, shortage.begin):
        with pytest.raises(QueryError, match="NOT_ENOUGH_SPACE"):
            ask()
    disk.has_room = True
    shortage.begin()
    disk.asked.clear()
    shortage.begin()

    assert disk.asked == [STOP]


def test_what_cannot_be_looked_at_is_neither_acknowledged_nor_taken_out(tmp_path: Path) -> None:
    disk = Disk(QueryError(241, "memory limit exceeded"))
    shortage = Shortage(tmp_path, disk.run, WHOLE)

    with pytest.raises(QueryError, match="NOT_ENOUGH_SPACE"):
        shortage.confirm(shortage.begin())
    disk.answer = "all_1_1_0\t1\t"
    shortage.confirm(shortage.begin())

    assert "ALTER TABLE `d`.`t`" not in disk.asked


def test_a_part_that_left_with_its_table_is_no_matter(tmp_path: Path) -> None:
    disk = Disk(QueryError(60, "no such table"))
    shortage = Shortage(tmp_path, disk.run, WHOLE)

    shortage.confirm(shortage.begin())

    assert "ALTER TABLE `d`.`t`" not in disk.asked


def test_an_insert_whose_part_another_session_took_out_fails_as_well(tmp_path: Path) -> None:
    disk = Disk()
    shortage = Shortage(tmp_path, disk.run, WHOLE)
    mine, theirs = shortage.begin(), shortage.begin()

    for begun in (mine, theirs):
        with pytest.raises(QueryError, match="not kept"):
            shortage.confirm(begun)
        disk.answer = "all_1_1_0\t1\t"


@pytest.mark.parametrize(("before", "after", "is_checked"), [(9, 9, False), (0, 9, True), (9, 0, True), (9, 5, True)])
def test_parts_are_checked_where_room_was_scarce_before_or_after_or_went(
    tmp_path: Path, before: int, after: int, *, is_checked: bool
) -> None:
    disk = Disk("all_1_1_0\t1\t")
    shortage = Shortage(tmp_path, disk.run, near_bytes=3)
    room = iter([before, after])
    shortage._room_bytes = lambda: next(room)  # type: ignore[method-assign]  # whatever the disk of this machine has

    shortage.confirm(shortage.begin())

    assert any(each.startswith("CHECK") for each in disk.asked) == is_checked


def test_nothing_is_merged_while_little_room_is_left(tmp_path: Path) -> None:
    disk = Disk()
    shortage = Shortage(tmp_path, disk.run, WHOLE)

    shortage.begin()
    shortage.begin()
    shortage._near_bytes = 0
    shortage.begin()
    shortage.begin()

    assert disk.asked == [STOP] * 2 + ["SYSTEM START MERGES"]


def test_merges_that_could_not_be_started_again_are_started_with_the_next_statement(tmp_path: Path) -> None:
    asked = []

    def run(sql: str) -> list[str]:
        asked.append(sql)
        if len(asked) == 2:
            raise QueryError(241, "memory limit exceeded")
        return []

    shortage = Shortage(tmp_path, run, WHOLE)
    shortage.begin()
    shortage._near_bytes = 0
    with pytest.raises(QueryError):
        shortage.begin()
    shortage.begin()

    assert asked == [STOP] + ["SYSTEM START MERGES"] * 2


@pytest.mark.parametrize(
    "text", ["INSERT INTO t SELECT 1", " /* by a UI\n */ insert into t SELECT 1", "-- a\nINSERT INTO t"]
)
def test_inserts_are_known_by_their_first_word(text: str) -> None:
    assert _WRITES.match(text)
    assert not _WRITES.match(text.lower().replace("insert", "select"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Code: 75. DB::ErrnoException: Cannot write to file, errno: 28, strerror: No space left on device", 243),
        ("Code: 1001. DB::Exception: std::exception: No space left on device", 243),
        ("No space left on device", 243),
        ("Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)", 60),
        ("something else", 1002),
    ],
)
def test_a_full_disk_has_one_code(text: str, code: int) -> None:
    assert from_engine(RuntimeError(text)).code == code


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
    for after_s in (0.001 * 1.1**step for step in range(100)):  # to 12 s: longer than any machine takes
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
