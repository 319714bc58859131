"""Avro records and their framing: whatever the bytes, a record that encodes to the same again, or a CodecError."""

import json
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any, Final

import fastavro

from fuzz.target import Target
from schemas import records
from schemas.codec import HEADER, CodecError, Decoder, Encoder, UnknownSchemaError, WireFormatError, schema_text
from schemas.topics import catalogue

SCHEMA_ID: Final = 1
RECORDS: Final = sorted({topic.record for topic in catalogue(["binance"])}, key=lambda record: record.__name__)
ENCODERS: Final = {record: Encoder(record, SCHEMA_ID) for record in RECORDS}
DECODERS: Final[dict[type[records.Record], Decoder[Any]]] = {
    record: Decoder(record, lambda _id, record=record: schema_text(record))  # type: ignore[misc]
    for record in RECORDS
}
PARSED: Final = {record: fastavro.parse_schema(json.loads(schema_text(record))) for record in RECORDS}
WRITERS: Final = {
    SCHEMA_ID: schema_text(records.Tick),
    2: schema_text(records.Depth),
    3: '"string"',
    4: "no schema",
    5: '{"type":"record","name":"Tick","fields":[]}',
    6: "[" * 100_000,
    7: '{"type":"record","name":"Tick","fields":[{"name":"next","type":"Tick"}]}',
}
"""What a registry may answer; ids that are not here it does not know."""


def targets() -> Iterator[Target]:
    """List the targets of this module."""
    yield Target(
        name="avro", run=decode_record, seeds=[bytes((number,)) + body(record) for number, record in samples()]
    )
    framed = [ENCODERS[type(record)].encode(record) for _, record in samples()]
    others = [HEADER.pack(0, number) + framed[0][HEADER.size :] for number in range(8)]
    yield Target(name="framing", run=decode_framed, seeds=[*framed, *others])


def decode_record(data: bytes) -> None:
    """Read an Avro body; the first byte names its class."""
    record = RECORDS[(data[0] if data else 0) % len(RECORDS)]
    try:
        found = DECODERS[record].decode(HEADER.pack(0, SCHEMA_ID) + data[1:])
    except WireFormatError:
        return
    again = ENCODERS[record].encode(found)
    assert ENCODERS[record].encode(DECODERS[record].decode(again)) == again
    assert again[HEADER.size :] == fastavro_bytes(found)


def decode_framed(data: bytes) -> None:
    """Read a value as it may lie in a topic, with a registry that answers with anything."""
    with suppress(CodecError):
        Decoder(records.Tick, _writer).decode(data)


def _writer(schema_id: int) -> str:
    if schema_id not in WRITERS:
        raise UnknownSchemaError(schema_id)
    return WRITERS[schema_id]


def fastavro_bytes(record: records.Record) -> bytes:
    """Encode by the library, which is slower and not ours."""
    out = BytesIO()
    fastavro.schemaless_writer(out, PARSED[type(record)], _fields(record))
    return out.getvalue()


def _fields(value: Any) -> Any:
    if isinstance(value, records.Record):
        return {name: _fields(getattr(value, name)) for name in value.__struct_fields__}
    return [_fields(each) for each in value] if isinstance(value, list) else value


def body(record: records.Record) -> bytes:
    """Encode a record without its header."""
    return ENCODERS[type(record)].encode(record)[HEADER.size :]


def samples() -> Iterator[tuple[int, records.Record]]:
    """Make a record of every class, every field set; with the number of its class."""
    for number, record in enumerate(RECORDS):
        yield number, _sample(record, json.loads(schema_text(record)))


def _sample(record: type[records.Record], avro: Any) -> records.Record:
    return record(**{field["name"]: _value(field["type"]) for field in avro["fields"]})


def _value(avro: Any) -> Any:
    if isinstance(avro, list):
        return _value(avro[-1])
    if isinstance(avro, dict):
        if avro["type"] == "enum":
            return avro["symbols"][-1]
        if avro["type"] == "array":
            return [_value(avro["items"])] * 2
        return _sample(getattr(records, avro["name"]), avro)
    samples = {"boolean": True, "int": 3, "long": 1_700_000_000_000_000, "double": 50_000.5, "string": "BTC/USDT"}
    return samples.get(avro, b'{"a":1}')
