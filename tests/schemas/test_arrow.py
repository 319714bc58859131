from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import records
from schemas.arrow import ArchiveError, arrow_schema, raw_frames
from schemas.records import Frame, RawFrames, Source

RECORDS = [records.Tick, records.Depth, records.Ticker, records.Candle, records.Derivative]
RECORDS += [records.Instrument, records.QualityEvent, records.DeadLetter]


def flat(record: RawFrames, offset: int) -> list[dict[str, object]]:
    """Rows of a raw record, written out by hand."""
    return [
        {
            "venue": record.venue,
            "market": record.sources[frame.source].market,
            "connection": record.sources[frame.source].connection,
            "number": frame.number,
            "kind": frame.kind,
            "request": frame.request,
            "recv_time_us": frame.recv_time_us,
            "event_time_us": record.event_time_us,
            "payload": frame.payload,
            "source_topic": "raw.binance",
            "source_partition": 0,
            "source_offset": offset,
            "source_index": index,
        }
        for index, frame in enumerate(record.frames)
    ]


def table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema(RawFrames))


def frame(source: int, number: int, payload: bytes = b"{}") -> Frame:
    return Frame(source=source, number=number, kind="MESSAGE", recv_time_us=5, payload=payload)


def raw(frames: list[Frame]) -> RawFrames:
    sources = [Source(market="spot", connection="a"), Source(market="usdm", connection="b")]
    return RawFrames(venue="BINANCE", event_time_us=9, sources=sources, frames=frames)


@pytest.mark.parametrize("record", RECORDS)
def test_columns_are_the_fields_of_the_avro_schema_in_its_order(record: type[records.Record]) -> None:
    expected = set(record.__struct_fields__)

    assert expected == set(arrow_schema(record).names)


@pytest.mark.parametrize("record", [*RECORDS, RawFrames])
def test_every_column_carries_its_documentation(record: type[records.Record]) -> None:
    undocumented = [field.name for field in arrow_schema(record) if not (field.metadata or {}).get(b"doc")]

    assert undocumented == []


def test_types_follow_avro() -> None:
    tick, depth = arrow_schema(records.Tick), arrow_schema(records.Depth)
    expected = [pa.int64(), pa.string(), pa.float64(), pa.int32(), pa.list_(pa.float64()), pa.bool_(), pa.binary()]
    found = [tick.field(name).type for name in ("event_time_us", "side", "price", "source_partition")]
    found += [depth.field(name).type for name in ("bid_prices", "is_snapshot")]
    found += [arrow_schema(RawFrames).field("payload").type]

    assert expected == found


def test_only_what_avro_lets_be_null_is_nullable() -> None:
    nullable = [field.name for field in arrow_schema(records.Tick) if field.nullable]

    assert nullable == ["bid", "ask", "bid_size", "ask_size"]


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2**40), st.binary(max_size=40)), min_size=1, max_size=5),
        max_size=5,
    ),
    st.randoms(),
)
def test_an_archive_in_any_order_gives_back_the_raw_records(
    frames: list[list[tuple[int, int, bytes]]], random: Random
) -> None:
    written = [raw([frame(source, number, payload) for source, number, payload in each]) for each in frames]
    rows = [row for offset, record in enumerate(written) for row in flat(record, offset)]
    random.shuffle(rows)
    found = list(raw_frames(table(rows)))

    assert [flat(each, offset) for offset, each in enumerate(written)] == [flat(e.record, e.offset) for e in found]
    assert [("raw.binance", 0)] * len(written) == [(each.topic, each.partition) for each in found]


def test_a_missing_frame_is_refused() -> None:
    rows = flat(raw([frame(0, 1), frame(0, 2)]), 7)

    with pytest.raises(ArchiveError, match=r"raw\.binance:0:7 is not whole"):
        list(raw_frames(table(rows[1:])))


def test_a_frame_that_is_there_twice_is_refused() -> None:
    rows = flat(raw([frame(0, 1), frame(0, 2)]), 7)

    with pytest.raises(ArchiveError, match="twice"):
        list(raw_frames(table([*rows, rows[0]])))


def test_a_table_without_the_columns_is_refused() -> None:
    with pytest.raises(ArchiveError, match="payload"):
        list(raw_frames(table([]).drop_columns(["payload"])))
