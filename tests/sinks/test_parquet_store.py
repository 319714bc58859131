import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from schemas.arrow import arrow_schema, raw_frames
from schemas.records import Frame, RawFrames, Source, Tick
from sinks import parquet
from sinks.parquet import ParquetStore
from sinks.places import Folder, s3_options
from sinks.store import StoreBusyError
from tickerplant.errors import UserError
from tickerplant.settings import ObjectStore, Settings

NOW_US = 1_795_248_000_000_000  # 2026-11-21 12:00 UTC
DAY_US = 86_400_000_000
PLACE = ("cleaned.tick", 0)
POINTS = [f"{when}:{what}" for what in ("intent", "write", "done") for when in ("before", "after")]


class Bucketful:
    """A lake on the S3 of the stack: what a folder is asked for in these tests."""

    def __init__(self, settings: ObjectStore) -> None:
        self._root = settings.root.removeprefix("s3://")
        self._fs = fsspec.filesystem("s3", **s3_options(settings))

    def names(self) -> list[str]:
        return sorted(name.removeprefix(f"{self._root}/") for name in self._fs.find(self._root))

    def offsets(self) -> list[int]:
        paths = [f"{self._root}/{name}" for name in self.names() if "/_" not in name]
        tables = [pq.read_table(pa.BufferReader(self._fs.cat_file(path))) for path in paths]
        return sorted(offset for table in tables for offset in table["source_offset"].to_pylist())

    def cut(self, name: str, size_bytes: int) -> None:
        self._fs.pipe_file(f"{self._root}/{name}", self._fs.cat_file(f"{self._root}/{name}")[:size_bytes])

    def remove(self, name: str) -> None:
        self._fs.rm_file(f"{self._root}/{name}")


class Folderful:
    """The same of a folder."""

    def __init__(self, settings: ObjectStore) -> None:
        self._root = Path(settings.root)

    def names(self) -> list[str]:
        return files(self._root)

    def offsets(self) -> list[int]:
        return sorted(pq.read_table(self._root / "cleaned")["source_offset"].to_pylist())

    def cut(self, name: str, size_bytes: int) -> None:
        path = self._root / name
        path.write_bytes(path.read_bytes()[:size_bytes])

    def remove(self, name: str) -> None:
        (self._root / name).unlink()


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.stack)])
def lake(request: pytest.FixtureRequest, root: Path) -> Any:
    """A lake of ten ticks of two venues, in objects of four offsets, and the world that wrote it."""
    settings, lake = Settings(object_store=ObjectStore(root=str(root))), Folderful
    if request.param == "s3":
        stack = request.getfixturevalue("stack")
        place = stack.object_store.model_copy(update={"root": f"s3://sinks-test/{abs(hash(request.node.name))}"})
        settings, lake = stack.model_copy(update={"object_store": place}), Bucketful
    world, tick = request.getfixturevalue("world"), request.getfixturevalue("tick")
    world.real_store = ParquetStore(settings)
    world.real_store.open()
    ticks = [tick(offset, venue="AB"[offset % 3 == 0]) for offset in range(10)]
    world.broker.append(PLACE, *map(world.value, ticks))
    world.run()
    return world, lake(settings.object_store)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def store(root: Path) -> ParquetStore:
    found = ParquetStore(Settings(object_store=ObjectStore(root=str(root))))
    found.open()
    return found


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_an_object_lies_where_its_venue_day_and_range_say(
    store: ParquetStore, root: Path, tick: Any, chunk: Any
) -> None:
    store.write(chunk([tick(0), tick(1)], start=41))
    name = "cleaned.tick-0-0000000000000000041-0000000000000000042.parquet"

    assert files(root) == [f"cleaned/tick/venue=BINANCE/date=2026-11-21/{name}"]


def test_every_column_comes_back_in_offset_order(store: ParquetStore, root: Path, tick: Any, chunk: Any) -> None:
    ticks = [tick(9, bid=math.nan), tick(10, trade_id="a\x00b"), tick(11, ask=2.0, flags="LATE")]
    store.write(chunk(ticks))
    table = ds.dataset(root / "cleaned", partitioning="hive").to_table()
    names = arrow_schema(Tick).names
    expected = [tuple(getattr(each, name) for name in names) for each in ticks]

    assert repr(expected) == repr(list(zip(*(table[name].to_pylist() for name in names), strict=True)))


def test_pandas_and_pyarrow_read_the_folder_with_its_partitions(
    store: ParquetStore, root: Path, tick: Any, chunk: Any
) -> None:
    store.write(chunk([tick(0), tick(1, event_time_us=NOW_US + DAY_US), tick(2, venue="OKX")]))
    table = pq.read_table(root / "cleaned" / "tick")
    found = sorted(zip(table["venue"].to_pylist(), map(str, table["date"].to_pylist()), strict=True))

    assert found == [("BINANCE", "2026-11-21"), ("BINANCE", "2026-11-22"), ("OKX", "2026-11-21")]
    assert len(table.to_pandas()) == 3


def test_a_chunk_written_twice_is_the_same_one_object(store: ParquetStore, root: Path, tick: Any, chunk: Any) -> None:
    store.write(chunk([tick(0)]))
    (name,) = files(root)
    first = (root / name).stat()
    store.write(chunk([tick(0)], doubtful=True))

    assert files(root) == [name]
    again = (root / name).stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)


def test_an_object_is_zstd_with_statistics_and_documented_columns(
    store: ParquetStore, root: Path, tick: Any, chunk: Any
) -> None:
    store.write(chunk([tick(0)]))
    file = pq.ParquetFile(root / files(root)[0])
    column = file.metadata.row_group(0).column(0)

    assert column.compression == "ZSTD"
    assert column.statistics.min == NOW_US
    assert b"price" in file.schema_arrow.field("price").metadata[b"doc"]


def test_an_archived_raw_record_can_be_replayed(store: ParquetStore, root: Path, chunk: Any) -> None:
    frames = [
        Frame(source=index % 2, number=index, kind="MESSAGE", recv_time_us=5, payload=bytes([255, 0, index]))
        for index in range(5)
    ]
    sources = [Source(market="spot", connection="a"), Source(market="usdm", connection="b")]
    record = RawFrames(venue="BINANCE", event_time_us=NOW_US, sources=sources, frames=frames)
    store.write(chunk([record, record], topic="raw.binance", start=6))
    found = list(raw_frames(ds.dataset(root / "raw", partitioning="hive").to_table()))

    assert found == [("raw.binance", 0, 6, record), ("raw.binance", 0, 7, record)]


def test_a_venue_that_is_no_path_stays_within_the_folder(
    store: ParquetStore, root: Path, tick: Any, chunk: Any
) -> None:
    store.write(chunk([tick(0, venue="../../X Y"), tick(1, venue="")]))
    folders = {Path(name).parent.parent.name for name in files(root)}

    assert folders == {"venue=..%2F..%2FX%20Y", "venue=__HIVE_DEFAULT_PARTITION__"}


@pytest.mark.parametrize(("time_us", "day"), [(0, "1970-01-01"), (-1, "1969-12-31"), (NOW_US, "2026-11-21")])
def test_days_are_those_of_utc(
    store: ParquetStore, root: Path, tick: Any, chunk: Any, *, time_us: int, day: str
) -> None:
    store.write(chunk([tick(0, event_time_us=time_us)]))

    assert f"date={day}" in files(root)[0]


def test_a_disk_that_takes_nothing_is_busy_and_leaves_no_draft(
    store: ParquetStore, root: Path, tick: Any, chunk: Any
) -> None:
    (root / "cleaned").write_text("in the way")

    with pytest.raises(StoreBusyError, match="cleaned"):
        store.write(chunk([tick(0)]))
    assert files(root) == ["cleaned"]


def test_a_root_that_is_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(UserError, match=r"object_store\.root"):
        Folder(tmp_path / "file").open()


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_leaves_each_row_once(
    store: ParquetStore, root: Path, repeating: Any, faults: Any, *, point: str
) -> None:
    repeating.real_store = store
    repeating.dies(faults(at=point, count=2))
    repeating.run()

    assert list(range(10)) == sorted(pq.read_table(root / "cleaned")["source_offset"].to_pylist())


def test_a_crash_between_the_objects_of_a_chunk_leaves_each_row_once(
    store: ParquetStore, root: Path, world: Any, tick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.real_store = store
    ticks = [tick(offset, venue=venue) for offset, venue in enumerate(["A", "B", "A", "C"])]
    world.broker.append(("cleaned.tick", 0), *map(world.value, ticks))
    create: Callable[..., None] = Folder.create
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "create", _dies_at("venue=B", create))
        with pytest.raises(KeyboardInterrupt):
            world.run()
    world.run()

    assert sorted(pq.read_table(root / "cleaned")["source_offset"].to_pylist()) == [0, 1, 2, 3]


def _dies_at(part: str, create: Callable[..., None]) -> Callable[..., None]:
    def dying(folder: Folder, path: str, content: pa.Buffer) -> None:
        if part in path:
            raise KeyboardInterrupt
        create(folder, path, content)

    return dying


def lose_offsets(world: Any, committed: tuple[int, str] | None) -> None:
    """Let the group forget where it stood, or be set back by hand; chunks have other borders from now on."""
    world.broker.committed.clear()
    if committed is not None:
        world.broker.committed[PLACE] = committed
    world.limits = type(world.limits)(rows=3, size_bytes=10_000, age_s=1.0)


@pytest.mark.parametrize("committed", [None, (2, ""), (5, "")], ids=["lost", "set to 2", "set to 5"])
def test_a_group_that_lost_its_offsets_doubles_nothing(lake: Any, *, committed: Any) -> None:
    world, found = lake
    before = found.names()
    lose_offsets(world, committed)
    world.run()

    assert before == found.names()
    assert found.offsets() == list(range(10))


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_while_all_is_read_again_doubles_nothing(lake: Any, faults: Any, tick: Any, *, point: str) -> None:
    world, found = lake
    world.broker.append(PLACE, *map(world.value, [tick(10), tick(11)]))
    lose_offsets(world, None)
    for _ in range(2):
        world.dies(faults(at=point, count=2))
    world.run()

    assert found.offsets() == list(range(12))


def test_what_was_removed_is_written_again_where_offsets_are_set_back(lake: Any) -> None:
    world, found = lake
    gone = next(name for name in found.names() if "venue=A" in name)
    found.remove(gone)
    lose_offsets(world, (0, ""))
    world.run()

    assert found.offsets() == list(range(10))


@pytest.mark.parametrize("size_bytes", [0, 3, 500])
def test_a_damaged_object_is_set_aside_and_its_rows_are_written_again(lake: Any, *, size_bytes: int) -> None:
    world, found = lake
    damaged = found.names()[0]
    found.cut(damaged, size_bytes)
    lose_offsets(world, None)
    world.run()
    folder, _, name = damaged.rpartition("/")

    assert found.offsets() == list(range(10))
    assert f"{folder}/_damaged-{name}" in found.names()


def test_an_object_that_a_killed_writer_left_by_halves_is_written_anew(lake: Any, faults: Any, tick: Any) -> None:
    world, found = lake
    world.broker.append(PLACE, *map(world.value, [tick(offset) for offset in range(10, 14)]))
    before = set(found.names())
    world.dies(faults(at="after:write"))
    (half,) = set(found.names()) - before
    found.cut(half, 500)
    world.run()

    assert found.offsets() == list(range(14))
    assert half in found.names()


def test_the_same_rows_give_the_same_bytes(tick: Any, chunk: Any) -> None:
    one, two = (chunk([tick(0), tick(1)]) for _ in range(2))

    assert parquet.encode(one.rows, one.span).equals(parquet.encode(two.rows, two.span))


def test_nobody_at_the_endpoint_is_a_clear_error() -> None:
    place = ObjectStore(root="s3://bucket/lake", endpoint_url="http://127.0.0.1:1")

    with pytest.raises(UserError, match=r"object store does not answer at http://127\.0\.0\.1:1"):
        ParquetStore(Settings(object_store=place)).open()


@pytest.mark.stack
def test_objects_on_s3_are_created_once(stack: Settings, tick: Any, chunk: Any) -> None:
    place = stack.object_store.model_copy(update={"root": "s3://sinks-test/a/lake"})
    store = ParquetStore(stack.model_copy(update={"object_store": place}))
    store.open()
    store.open()
    for _ in range(2):
        store.write(chunk([tick(0), tick(1)]))
    files_there = fsspec.filesystem("s3", **s3_options(place)).find("sinks-test/a/lake")

    assert len(files_there) == 1
    assert files_there[0].startswith("sinks-test/a/lake/cleaned/tick/venue=BINANCE/date=2026-11-21/cleaned.tick-0-")
