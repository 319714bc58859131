"""Dead letters carry the context headers of Kafka Connect."""

from typing import Any

import pytest

from schemas.records import DeadLetter
from sinks.letters import Origin, context_headers, refused_letter
from sinks.store import Refused

ORIGIN = Origin(connector="ticks", task=1, connector_class="sinks.clickhouse.ClickHouseStore")
PLACE = ("cleaned.tick-x", 3)


def test_a_record_that_cannot_be_read_is_named_with_its_place_and_error() -> None:
    letter = DeadLetter(
        event_time_us=0,
        stage="sink.clickhouse",
        reason="WireFormatError: magic byte is 1, not 0",
        payload=b"\x01junk",
        source_topic="cleaned.tick-x",
        source_partition=3,
        source_offset=17,
    )

    assert dict(context_headers(letter, PLACE, ORIGIN)) == {
        "__connect.errors.topic": b"cleaned.tick-x",
        "__connect.errors.partition": b"3",
        "__connect.errors.offset": b"17",
        "__connect.errors.connector.name": b"ticks",
        "__connect.errors.task.id": b"1",
        "__connect.errors.stage": b"VALUE_CONVERTER",
        "__connect.errors.class.name": b"schemas.codec.Decoder",
        "__connect.errors.exception.class.name": b"schemas.codec.WireFormatError",
        "__connect.errors.exception.message": b"magic byte is 1, not 0",
    }


def test_a_row_that_a_store_refused_is_told_from_it(tick: Any, chunk: Any) -> None:
    letter = refused_letter(chunk([tick(5)]), Refused(row=0, reason="DB::Exception: no: never"), "clickhouse")
    found = dict(context_headers(letter, PLACE, ORIGIN))

    assert found["__connect.errors.stage"] == b"TASK_PUT"
    assert found["__connect.errors.class.name"] == b"sinks.clickhouse.ClickHouseStore"
    assert found["__connect.errors.exception.message"] == b"market_data.tick: DB::Exception: no: never"
    assert "__connect.errors.offset" not in found  # its source is a raw topic


def test_a_reason_that_tells_a_password_is_masked(tick: Any, chunk: Any) -> None:
    refused = Refused(row=0, reason="DB::Exception: cannot reach http://me:hunter22@host")
    letter = refused_letter(chunk([tick(5)]), refused, "clickhouse")

    assert "hunter22" not in letter.reason
    assert "hunter22" not in str(context_headers(letter, PLACE, ORIGIN))


@pytest.mark.parametrize("reason", ["", "no colon", "IndexError: list index out of range"])
def test_any_reason_makes_headers(reason: str) -> None:
    letter = DeadLetter(event_time_us=0, stage="s", reason=reason, payload=b"", source_topic="a", source_offset=1)

    assert dict(context_headers(letter, ("a", 0), ORIGIN))["__connect.errors.stage"] == b"VALUE_CONVERTER"
