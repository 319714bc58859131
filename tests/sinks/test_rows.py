from typing import Any

import pytest

from schemas.codec import Decoder, UnknownSchemaError, schema_text
from schemas.records import DeadLetter, Frame, RawFrames, Record, Source
from sinks.kafka_log import runs_of, subscription
from sinks.rows import Entry, RowReader, Run
from tickerplant.errors import UserError
from tickerplant.kafka import Message


@pytest.fixture
def reader() -> RowReader:
    return RowReader(
        lambda record: Decoder(record, lambda _id: schema_text(record)), stage="sink.memory", topic_suffix="-replay"
    )


def test_a_raw_record_gives_a_row_for_each_frame_with_its_place(reader: RowReader, value: Any) -> None:
    frames = [
        Frame(source=source, number=9, kind="HTTP", request="u", recv_time_us=5, payload=b"p") for source in (1, 0)
    ]
    sources = [Source(market="spot", connection="a"), Source(market="usdm", connection="b")]
    record = RawFrames(venue="BINANCE", event_time_us=6, sources=sources, frames=frames)
    rows = reader.read(Entry("raw.binance-replay", 2, 77, value(record)))

    assert isinstance(rows, list)
    assert [(row["market"], row["connection"], row["source_index"]) for row in rows] == [
        ("usdm", "b", 0),
        ("spot", "a", 1),
    ]
    assert {(row["source_topic"], row["source_partition"], row["source_offset"]) for row in rows} == {
        ("raw.binance", 2, 77)
    }


def test_a_raw_record_without_frames_gives_no_rows(reader: RowReader, value: Any) -> None:
    record = RawFrames(venue="BINANCE", event_time_us=6, sources=[], frames=[])

    assert reader.read(Entry("raw.binance-replay", 0, 0, value(record))) == []


def test_a_frame_that_names_no_source_is_a_dead_letter(reader: RowReader, value: Any) -> None:
    frame = Frame(source=3, number=0, kind="MESSAGE", recv_time_us=5, payload=b"p")
    record = value(RawFrames(venue="BINANCE", event_time_us=6, sources=[], frames=[frame]))
    letter = reader.read(Entry("raw.binance-replay", 1, 4, record))

    assert isinstance(letter, DeadLetter)
    assert (letter.venue, letter.payload, letter.source_topic, letter.source_offset) == (
        "BINANCE",
        record,
        "raw.binance-replay",
        4,
    )


def test_an_unknown_schema_stops_the_sink_where_that_is_set(tick: Any, value: Any) -> None:
    def unknown(schema_id: int) -> str:
        raise UnknownSchemaError(schema_id)

    reader = RowReader(lambda record: Decoder(record, unknown), stage="sink.memory")

    with pytest.raises(
        UserError, match=r"cleaned\.tick \[0\] offset 5: schema id 1 .* deploy.* subject would be cleaned\.tick-value"
    ):
        reader.read(Entry("cleaned.tick", 0, 5, value(tick(0))))


def test_an_unknown_schema_id_is_a_dead_letter_with_its_bytes_and_asked_for_seldom(value: Any, tick: Any) -> None:
    asked, clock = [], [0.0]

    def unknown(schema_id: int) -> str:
        asked.append(schema_id)
        raise UnknownSchemaError(schema_id)

    def make(record: type[Record]) -> Decoder[Any]:
        return Decoder(record, unknown, now_s=lambda: clock[0])

    reader, payload = RowReader(make, stage="sink.memory", takes_unknown_ids=True), value(tick(0))
    for offset in range(100):
        letter = reader.read(Entry("cleaned.tick", 0, offset, payload))
        assert isinstance(letter, DeadLetter)
        assert (letter.payload, "schema id 1" in letter.reason) == (payload, True)
        clock[0] += 0.4

    assert asked == [1, 1]


def test_all_raw_topics_of_a_suffix_are_subscribed_to_by_pattern() -> None:
    topics = subscription("-replay.1")

    assert topics[0] == r"^raw\.[a-z0-9_]+-replay\.1$"
    assert "cleaned.tick-replay.1" in topics
    assert "dlq.sink-replay.1" in topics


def test_messages_are_cut_where_their_partition_changes() -> None:
    def message(partition: int, offset: int) -> Message:
        value = None if offset == 4 else b"%d" % offset
        return Message(topic="t", partition=partition, offset=offset, value=value, timestamp=(1, 1000 + offset))

    found = list(runs_of([message(0, 3), message(0, 4), message(1, 9), message(0, 5)]))

    assert found == [
        Run("t", 0, [3, 4], [b"3", None], 1_004_000),
        Run("t", 1, [9], [b"9"], 1_009_000),
        Run("t", 0, [5], [b"5"], 1_005_000),
    ]
    assert list(runs_of([])) == []
