"""Rows of objects of a lake: those that a filter over all of them would give, whatever statistics tell."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.arrow import arrow_schema
from schemas.records import Tick
from sinks.chunk import Span as Offsets
from sinks.parquet import encode
from sinks.stored import object_name
from tickerplant.errors import UserError
from tickerplant.research import lake_rows
from tickerplant.research.lake_rows import LakeRows
from tickerplant.research.parquet_rows import Wanted, may_hold, outline_of, read_rows
from tickerplant.research.rows import TIME, Span
from tickerplant.settings import ObjectStore

COLUMNS = ("bid", "event_time_us", "symbol", "flags", "source_topic", "source_partition")
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "event_time_us": st.integers(0, 9),
            "symbol": st.sampled_from(["A/B", "A/C", "C/D"]),
            "kind": st.sampled_from(["QUOTE", "TRADE"]),
            "flags": st.sampled_from(["", "late"]),
            "bid": st.sampled_from([None, 1.5, 2.5]),
            "source_topic": st.sampled_from(["raw.a", "raw.b"]),
            "source_partition": st.just(3),
        }
    ),
    min_size=1,
    max_size=30,
)
SCHEMA = pa.schema([arrow_schema(Tick).field(name) for name in dict.fromkeys((*COLUMNS, "kind"))])


def plain(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.select(COLUMNS).to_pylist()
    return rows


@settings(max_examples=150)
@given(
    ROWS,
    st.integers(1, 12),
    st.tuples(st.integers(0, 9), st.integers(0, 10)),
    st.fixed_dictionaries({"symbol": st.sampled_from(["A/B", "none"])}, optional={"kind": st.just("QUOTE")}),
    st.fixed_dictionaries({"use_dictionary": st.booleans(), "write_statistics": st.booleans()}),
)
def test_rows_are_those_that_fulfil_all_conditions_in_their_order(
    rows: list[dict[str, Any]], group: int, times: tuple[int, int], only: dict[str, str], options: dict[str, Any]
) -> None:
    table, out = pa.Table.from_pylist(rows, SCHEMA), pa.BufferOutputStream()
    pq.write_table(table, out, row_group_size=group, **options)
    source = pa.BufferReader(out.getvalue())
    metadata = pq.read_metadata(source)
    wanted = Wanted(columns=COLUMNS, by="event_time_us", from_us=times[0], to_us=times[1], only=only)
    found = read_rows(source, metadata, outline_of(metadata), wanted)
    is_wanted = (pc.field("event_time_us") >= times[0]) & (pc.field("event_time_us") < times[1])
    for name, value in only.items():
        is_wanted &= pc.field(name) == value

    assert [row for each in found for row in plain(each)] == plain(table.filter(is_wanted))


def test_row_groups_that_hold_none_of_the_rows_are_known_by_their_statistics(tmp_path: Path) -> None:
    rows = [{"event_time_us": number, "symbol": "A/B" if number < 4 else "C/D"} for number in range(8)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "object.parquet", row_group_size=2)
    outline = outline_of(pq.read_metadata(tmp_path / "object.parquet"))
    wanted = Wanted(columns=["symbol"], by="event_time_us", from_us=3, to_us=6, only={"symbol": "A/B"})

    assert [may_hold(bounds, wanted) for bounds in outline] == [False, True, False, False]


def tick(number: int, **fields: Any) -> dict[str, Any]:
    known = {"symbol": "A/B", "kind": "TRADE", "price": float(number), "event_time_us": number, "exchange_time_us": 1}
    text = dict.fromkeys((each.name for each in arrow_schema(Tick) if pa.types.is_string(each.type)), "")
    zeros = dict.fromkeys((each.name for each in arrow_schema(Tick) if not each.nullable), 0)
    return zeros | text | known | {"source_topic": "raw.okx", "source_offset": number} | fields


def lake_of(root: Path, objects: dict[str, pa.Table]) -> LakeRows:
    folder = root / "cleaned/tick/venue=OKX/date=1970-01-01"
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in objects.items():
        pq.write_table(table.drop_columns(["venue"]), folder / f"{name}.parquet")
    return LakeRows(ObjectStore(root=str(root)))


def table_of(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), arrow_schema(Tick))


def prices(lake: LakeRows) -> list[float]:
    span = Span(venue="OKX", symbol="A/B", from_us=0, to_us=100)
    found: list[float] = lake.read("tick", span, ["price"])["price"].to_pylist()
    return found


def test_an_object_that_was_written_anew_is_looked_at_anew(tmp_path: Path) -> None:
    before = prices(lake_of(tmp_path, {"a": table_of(tick(1, symbol="C/D"))}))
    after = prices(lake_of(tmp_path, {"a": table_of(tick(1, symbol="C/D"), tick(2))}))

    assert (before, after) == ([], [2.0])


def test_an_object_that_is_known_to_hold_none_of_the_rows_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_of(tmp_path, {"a": table_of(tick(1, symbol="C/D")), "b": table_of(tick(2))})
    opened: list[str] = []
    real = lake_rows.Lake.open
    monkeypatch.setattr(lake_rows.Lake, "open", lambda lake, path: opened.append(path[-9:]) or real(lake, path))

    assert [prices(lake), prices(lake)] == [[2.0], [2.0]]
    assert sorted(opened) == ["a.parquet", "b.parquet", "b.parquet"]


def test_rows_of_several_writers_come_in_order_and_each_once(tmp_path: Path) -> None:
    first, second = table_of(tick(1), tick(3)), table_of(tick(2), tick(3, price=4.0))
    wide = second.cast(pa.schema([each.with_type(wider(each.type)) for each in second.schema]))

    assert prices(lake_of(tmp_path, {"a": first, "b": wide})) == [1.0, 2.0, 3.0]


ORDERED = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=6, unique=True)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=st.lists(st.tuples(ORDERED, st.booleans(), st.booleans()), min_size=1, max_size=3))
def test_rows_come_in_order_and_each_once_whatever_objects_say_of_theirs(
    objects: list[tuple[list[tuple[int, int]], bool, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, expected = tmp_path_factory.mktemp("lake"), set[tuple[int, int]]()
    folder = root / "cleaned/tick/venue=OKX/date=1970-01-01"
    folder.mkdir(parents=True)
    for number, (ids, is_sorted, is_ours) in enumerate(objects):
        places = sorted(ids) if is_sorted else ids
        table = table_of(*(tick(at[0], source_index=at[1], price=float(10 * at[0] + at[1])) for at in places))
        span = Offsets(topic="cleaned.tick", partition=0, generation="", start=0, end=0)
        content = encode(table, span) if is_ours else plainly(table)
        (folder / f"{number}.parquet").write_bytes(content)
        expected |= set(ids)

    assert prices(LakeRows(ObjectStore(root=str(root)))) == [
        10.0 * offset + index for offset, index in sorted(expected)
    ]


def plainly(table: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(table.drop_columns(["venue"]), out)
    return bytes(out.getvalue())


def test_ids_are_not_decoded_where_objects_say_that_rows_rise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = lake_of(tmp_path, {})
    asked: list[set[str]] = []
    real = lake_rows.read_rows
    monkeypatch.setattr(
        lake_rows, "read_rows", lambda *args, **more: asked.append(set(args[3].columns)) or real(*args, **more)
    )
    for start in (1, 3):
        span = Offsets(topic="cleaned.tick", partition=0, generation="", start=start, end=start + 1)
        path = tmp_path / "cleaned/tick/venue=OKX/date=1970-01-01" / object_name(span)
        path.write_bytes(encode(table_of(tick(start), tick(start + 1)), span))

    assert prices(lake) == [1.0, 2.0, 3.0, 4.0]
    assert asked == [{"price"}, {"price"}]


@pytest.mark.parametrize("group", [1, 8])
def test_time_is_the_exchanges_or_that_of_reading_where_there_is_none(group: int, tmp_path: Path) -> None:
    lake = lake_of(tmp_path, {})
    rows = table_of(*(tick(number, exchange_time_us=number % 3, recv_time_us=50 + number) for number in range(1, 7)))
    pq.write_table(
        rows.drop_columns(["venue"]),
        tmp_path / "cleaned/tick/venue=OKX/date=1970-01-01/a.parquet",
        row_group_size=group,
    )
    found = lake.read("tick", Span(venue="OKX", symbol="A/B", from_us=0, to_us=100), [TIME])

    assert found[TIME].to_pylist() == [1, 2, 53, 1, 2, 56]


def wider(kind: pa.DataType) -> pa.DataType:
    return pa.large_string() if pa.types.is_string(kind) else kind


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (table_of(tick(1)).drop_columns(["price"]), "a.parquet cannot be read: .*column price is missing"),
        (None, "a.parquet cannot be read: "),
    ],
)
def test_an_object_that_cannot_be_read_is_named(table: pa.Table | None, told: str, tmp_path: Path) -> None:
    lake = lake_of(tmp_path, {"a": table_of(tick(1)) if table is None else table})
    if table is None:
        path = next(tmp_path.rglob("a.parquet"))
        path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(UserError, match=told):
        prices(lake)
