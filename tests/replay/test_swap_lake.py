"""Rebuilt rows in the place of live ones, in lakes in folders: whatever ends a swap, readers see the old or the new."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tickerplant
from schemas.arrow import arrow_schema
from schemas.records import Tick
from sinks.chunk import Chunk, Span
from sinks.columns import columns
from sinks.parquet import ParquetStore, encode, partitions
from sinks.stored import object_name
from sinks.tables import TABLES, table_of
from tickerplant.demo.ids import parquet_ids
from tickerplant.replay.manifest import Liveness, Manifest, ObjectName, Replaced, Swap, read_name
from tickerplant.replay.span import Range
from tickerplant.replay.swap_lake import swap_lake
from tickerplant.replay.verify import lake_rows
from tickerplant.replay.wish import Wish
from tickerplant.settings import ObjectStore, Settings

DAY_US = 86_400_000_000
NOON_US = 20_000 * DAY_US + DAY_US // 2
SOURCE = "raw.binance@firstlif"
LIFE = "cleanlif"
FROM, TO = 20, 40
"""Offsets of the range: of raw records, one a second."""


def tick(offset: int, price: float, *, symbol: str = "BTC/USDT", venue: str = "BINANCE", flags: str = "") -> Tick:
    return Tick(
        event_time_us=NOON_US + offset * 1_000_000,
        venue=venue,
        symbol=symbol,
        asset_class="CRYPTO",
        kind="TRADE",
        price=price,
        quantity=1.0,
        sequence_id=offset,
        flags=flags,
        source_topic=SOURCE,
        source_offset=offset,
        source_index=0 if symbol == "BTC/USDT" else 1,
    )


def rows_of(ticks: Sequence[Tick]) -> Any:
    rows = [{name: getattr(each, name) for name in Tick.__struct_fields__} for each in ticks]
    return columns(arrow_schema(Tick), rows)


def write(settings: Settings, ticks: Sequence[Tick], start: int, end: int) -> list[Path]:
    """Write an object as the sink does; of a topic that is called as these settings say."""
    span = Span(topic="cleaned.tick" + settings.kafka.topic_suffix, partition=0, generation=LIFE, start=start, end=end)
    root, paths = Path(settings.object_store.root), []
    for folder, rows in partitions(pa.Table.from_batches([rows_of(ticks)])):
        path = root / "cleaned/tick" / folder / object_name(span)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(rows, span))
        paths.append(path)
    return paths


@pytest.fixture
def live(tmp_path: Path) -> Settings:
    """A lake of ten objects of ten raw records, each with a tick of two symbols, and of one of another venue."""
    settings = Settings(object_store=ObjectStore(root=str(tmp_path / "lake")))
    for start in range(0, 100, 10):
        numbers = range(start, start + 10)
        ticks = [each for n in numbers for each in (tick(n, 1.0), tick(n, 1.0, symbol="ETH/USDT"))]
        write(settings, [*ticks, tick(start, 1.0, venue="OKX")], start, start + 9)
    return settings


@pytest.fixture
def replay(live: Settings, tmp_path: Path) -> Settings:
    """What a replay of the range made: another price, and only every second tick."""
    settings = Settings(
        object_store=ObjectStore(root=str(tmp_path / "lake-fixed")),
        kafka=live.kafka.model_copy(update={"topic_suffix": ".fixed"}),
    )
    write(settings, [tick(offset, 2.0, flags="REPLAY") for offset in range(FROM, 30, 2)], 0, 4)
    write(settings, [tick(offset, 2.0, flags="REPLAY") for offset in range(30, TO, 2)], 5, 9)
    return settings


def span(**changes: Any) -> Range:
    wish = Wish(
        topic="raw.binance",
        into="fixed",
        symbols=frozenset({"BTC/USDT"}),
        from_us=NOON_US + FROM * 1_000_000,
        to_us=NOON_US + TO * 1_000_000,
    )
    return Range(**{"wish": wish, "source": SOURCE, "offsets": {0: (0, 100)}, **changes})


def seen(settings: Settings) -> list[tuple[str, int, float]]:
    table = tickerplant.read_lake("cleaned/tick", settings=settings)
    rows = zip(*(table[name].to_pylist() for name in ("venue", "symbol", "source_offset", "price")), strict=True)
    return [(f"{venue} {symbol}", offset, price) for venue, symbol, offset, price in rows]


def expected() -> list[tuple[str, int, float]]:
    ours = [("BINANCE BTC/USDT", n, 2.0 if FROM <= n < TO else 1.0) for n in range(100)]
    rest = [("BINANCE ETH/USDT", n, 1.0) for n in range(100)] + [("OKX BTC/USDT", n, 1.0) for n in range(0, 100, 10)]
    return sorted(each for each in [*ours, *rest] if each[2] == 1.0 or each[1] % 2 == 0)


def test_exactly_the_range_of_the_symbols_of_the_venue_is_replaced(live: Settings, replay: Settings) -> None:
    before = sorted(Path(live.object_store.root).rglob("*.parquet"))
    list(swap_lake(live, replay, span()))
    after = sorted(Path(live.object_store.root).rglob("*.parquet"))

    assert sorted(seen(live)) == expected()
    assert len(set(before) - set(after)) == 2  # the objects of the range; all others are the files they were
    assert len(set(after) - set(before)) == 1
    ours = [offset for name, offset, _ in seen(live) if name == "BINANCE BTC/USDT"]
    assert ours == sorted(ours)


def test_whatever_ends_it_readers_see_the_old_or_the_new_and_doing_it_again_completes_it(
    live: Settings, replay: Settings
) -> None:
    old, steps = sorted(seen(live)), 0
    while True:
        swap: Iterator[str] = swap_lake(live, replay, span())
        done = [step for _, step in zip(range(steps), swap, strict=False)]
        is_in = "committed" in done
        assert sorted(seen(live)) == (expected() if is_in else old), done
        if len(done) < steps:
            break
        if is_in:  # killed after it: what is left goes with the next one
            list(swap_lake(live, replay, span()))
            assert sorted(seen(live)) == expected()
        steps += 1

    names = [read_name(path.name) for path in Path(live.object_store.root).rglob("*.parquet")]
    assert len([name for name in names if name and name.swap]) == 1
    assert steps >= 4


def test_rows_are_compared_in_order_where_a_day_holds_some_of_the_next(live: Settings, tmp_path: Path) -> None:
    """As of trades restored after midnight; a swap has written the objects of the first day again, as one."""
    swapped, again = (
        Settings(object_store=ObjectStore(root=str(tmp_path / name)), kafka=live.kafka.model_copy(update=changes))
        for name, changes in (("swapped", {}), ("again", {"topic_suffix": ".fixed"}))
    )
    for settings in (swapped, again):
        for start in range(0, 100, 10):
            days = [int(start >= 30 and offset % 5 > 0) for offset in range(start, start + 10)]
            ticks = [msgspec.structs.replace(tick(start + n, 1.0), event_time_us=NOON_US + day * DAY_US + start + n)
                     for n, day in enumerate(days)]  # fmt: skip
            write(settings, ticks, start, start + 9)
    wish = replace(span().wish, from_us=NOON_US, to_us=NOON_US + DAY_US)
    list(swap_lake(swapped, again, span(wish=wish)))
    both = span(wish=replace(wish, to_us=NOON_US + 2 * DAY_US))
    read = [list(lake_rows(each, "cleaned.tick", TABLES["cleaned.tick"], both, 0)) for each in (swapped, again)]

    assert [[row["source_offset"] for row in rows] for rows in read] == [[*range(100)]] * 2


def test_a_replaced_object_that_a_sink_writes_again_does_not_count(live: Settings, replay: Settings) -> None:
    """A sink that was paused in the midst of a write, and wakes up."""
    root = Path(live.object_store.root)
    before = {path: path.read_bytes() for path in root.rglob("*.parquet")}
    list(swap_lake(live, replay, span()))
    for path in set(before) - set(root.rglob("*.parquet")):
        path.write_bytes(before[path])
    read = tickerplant.trades("BTC/USDT", "binance", NOON_US, NOON_US + 100_000_000, lake=live.object_store.root)

    assert sorted(seen(live)) == expected()
    assert sorted(read["price"].to_pylist()) == sorted(
        price for name, _, price in expected() if name == "BINANCE BTC/USDT"
    )


def test_a_sink_that_lost_its_offsets_stores_nothing_of_a_swapped_range_again(live: Settings, tmp_path: Path) -> None:
    """Not even where the swap took all rows of an object away."""
    nothing = Settings(
        object_store=ObjectStore(root=str(tmp_path / "lake-fixed")),
        kafka=live.kafka.model_copy(update={"topic_suffix": ".fixed"}),
    )
    symbols = frozenset({"BTC/USDT", "ETH/USDT"})
    list(swap_lake(live, nothing, span(wish=replace(span().wish, symbols=symbols))))
    before = sorted(seen(live))
    place = Span(topic="cleaned.tick", partition=0, generation=LIFE, start=15, end=24)
    batch = rows_of([tick(offset, 1.0) for offset in range(15, 25)])
    chunk = Chunk(table=TABLES["cleaned.tick"], span=place, batches=[batch], offsets=np.arange(15, 25))
    ParquetStore(live).write(chunk)

    assert sorted(seen(live)) == before
    assert not [each for each in before if FROM <= each[1] < TO and "OKX" not in each[0]]


def test_rows_that_no_live_object_holds_any_of_go_where_they_belong(live: Settings, replay: Settings) -> None:
    """As after raw records were lost: objects are still in the order of their rows."""
    for start in (20, 30):
        for path in Path(live.object_store.root).glob(f"cleaned/tick/venue=BINANCE/*/*-{start:019d}-*"):
            path.unlink()
    list(swap_lake(live, replay, span()))

    ours = [offset for name, offset, _ in seen(live) if name == "BINANCE BTC/USDT"]
    assert ours == [*range(20), *range(FROM, TO, 2), *range(40, 100)]


def test_objects_within_the_offsets_of_one_that_is_replaced_keep_their_rows(replay: Settings, tmp_path: Path) -> None:
    """As after a sink lost its offsets: it writes what is missing, under the name of the whole chunk."""
    nested = Settings(object_store=ObjectStore(root=str(tmp_path / "nested")))
    write(nested, [tick(offset, 1.0) for offset in range(10)], 0, 9)
    write(nested, [tick(offset, 1.0) for offset in range(10, 50)], 0, 49)
    list(swap_lake(nested, replay, span()))

    assert sorted(offset for _, offset, _ in seen(nested)) == [*range(20), *range(FROM, TO, 2), *range(40, 50)]


def test_a_second_swap_takes_the_place_of_the_first(live: Settings, replay: Settings, tmp_path: Path) -> None:
    list(swap_lake(live, replay, span()))
    other = Settings(object_store=ObjectStore(root=str(tmp_path / "lake-better")), kafka=replay.kafka)
    write(other, [tick(offset, 3.0) for offset in range(FROM, TO)], 0, 19)
    list(swap_lake(live, other, span()))

    ours = [(offset, price) for name, offset, price in seen(live) if name == "BINANCE BTC/USDT"]
    assert ours == [(offset, 3.0 if FROM <= offset < TO else 1.0) for offset in range(100)]


def test_rows_of_raw_records_that_were_missing_stay(live: Settings, replay: Settings) -> None:
    list(swap_lake(live, replay, span(gaps={0: [(21, 23)]})))

    ours = [(offset, price) for name, offset, price in seen(live) if name == "BINANCE BTC/USDT" and 20 <= offset < 26]
    assert ours == [(20, 2.0), (21, 1.0), (22, 1.0), (23, 1.0), (24, 2.0)]


def test_an_empty_lake_is_an_empty_table(tmp_path: Path) -> None:
    settings = Settings(object_store=ObjectStore(root=str(tmp_path / "nothing")))

    assert tickerplant.read_lake("cleaned/tick", settings=settings).num_rows == 0
    assert tickerplant.lake_files("cleaned/tick", settings=settings) == []


def test_what_is_not_written_to_its_end_is_not_read(live: Settings) -> None:
    before = seen(live)
    whole = min(Path(live.object_store.root, "cleaned", "tick").rglob("*.parquet"))
    whole.with_name(f"{whole.name}-9e2a40b1-e925-44c6-a8c7-a00d9fa67ffe").touch()  # a killed S3Proxy leaves such

    assert seen(live) == before
    assert len(parquet_ids(live, table_of("cleaned.tick"))) == len(before)


def test_names_of_objects_are_read_with_dashes_in_their_lives() -> None:
    name = "raw.binance-3-0000000000000000000-0000000000000000149-WW4E8a-_.parquet"

    assert read_name(name) == ObjectName(0, 149, "raw.binance", 3, "WW4E8a-_")
    assert str(read_name(name)) == name
    assert read_name("anything.parquet") is None


ranges = st.tuples(st.integers(0, 19), st.integers(1, 6))


@given(st.lists(st.lists(ranges, min_size=1, max_size=3), max_size=5))
def test_each_offset_lies_in_one_live_object_whatever_was_swapped(wanted: list[list[tuple[int, int]]]) -> None:
    """Objects of one offset each at first; a swap joins all live ones that touch a range."""
    folder, place = "f", {"topic": "t", "partition": 0, "life": ""}
    objects = [ObjectName(n, n, "t", 0, "") for n in range(20)]
    manifest = Manifest()
    for number, swap_ranges in enumerate(wanted):
        replaced = []
        swap_id = f"{number:08d}"
        for start, size in swap_ranges:
            liveness = Liveness(manifest)
            spans = {(each.start, each.end) for each in replaced}
            hit = [
                each
                for each in objects
                if liveness.is_live(folder, str(each))
                and each.start < start + size
                and each.end >= start
                and not any(low <= each.start <= high for low, high in spans)
            ]
            if hit:
                low, high = min(each.start for each in hit), max(each.end for each in hit)
                if any(low <= start <= high for start, _ in spans):
                    continue
                replaced.append(Replaced(folder=folder, start=low, end=high, **place))  # type: ignore[arg-type]
                objects.append(ObjectName(low, high, "t", 0, "", swap_id))
        swap = Swap(id=swap_id, replay="r", time_us=0, replaced=replaced)
        assert not any(Liveness(manifest).is_live(folder, str(each)) for each in objects if each.swap == swap_id)
        manifest = Manifest(swaps=[*manifest.swaps, swap])

        live = [each for each in objects if Liveness(manifest).is_live(folder, str(each))]
        assert sorted(n for each in live for n in range(each.start, each.end + 1)) == list(range(20))
