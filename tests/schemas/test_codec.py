"""The codec keeps every record, refuses everything else, and reads what older schemas wrote."""

import json
from contextlib import suppress
from io import BytesIO
from typing import Any

import fastavro
import msgspec
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import records, topics
from schemas.arrow import arrow_schema
from schemas.codec import HEADER, Decoder, Encoder, UnknownSchemaError, WireFormatError, schema_text
from schemas.columnar import columns_decoder_of
from schemas.decoding import UNSURE
from schemas.decoding import decoder_of as quick_decoder_of

CATALOGUE = topics.catalogue(["binance"])
RECORDS = sorted({topic.record for topic in CATALOGUE}, key=lambda record: record.__name__)
SCHEMA_ID = 7


def unknown(schema_id: int) -> str:
    raise UnknownSchemaError(schema_id)


def decoder_of(record: type[records.Record]) -> Decoder[Any]:
    return Decoder(record, lambda schema_id: schema_text(record) if schema_id == SCHEMA_ID else unknown(schema_id))


def avro_values(avro: Any) -> st.SearchStrategy[Any]:
    """Values of an Avro type, as our records hold them."""
    if isinstance(avro, list):
        return st.one_of([avro_values(each) for each in avro])
    if isinstance(avro, dict):
        return complex_values(avro)
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "double": st.floats(allow_nan=False),
        "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        "bytes": st.binary(max_size=100),
    }[avro]


def complex_values(avro: dict[str, Any]) -> st.SearchStrategy[Any]:
    if avro["type"] == "enum":
        return st.sampled_from(avro["symbols"])
    if avro["type"] == "array":
        return st.lists(avro_values(avro["items"]), max_size=5)
    fields = {field["name"]: avro_values(field["type"]) for field in avro["fields"]}
    return st.builds(getattr(records, avro["name"]), **fields)


def tick(**changes: Any) -> records.Tick:
    values: dict[str, Any] = {
        "event_time_us": 1_700_000_000_000_000,
        "venue": "BINANCE",
        "symbol": "BTC/USDT",
        "asset_class": "CRYPTO",
        "kind": "TRADE",
        "price": 50_000.0,
        "quantity": 0.5,
        "sequence_id": 1,
    }
    return records.Tick(**values | changes)


@pytest.mark.parametrize("record", RECORDS)
def test_fields_and_defaults_of_a_record_are_those_of_its_schema(record: type[records.Record]) -> None:
    avro = json.loads(schema_text(record))

    assert {field["name"] for field in avro["fields"]} == set(record.__struct_fields__)
    assert {field["name"] for field in avro["fields"] if "default" in field} == optional_fields(record)


def optional_fields(record: type[records.Record]) -> set[str]:
    required = len(record.__struct_fields__) - len(record.__struct_defaults__)
    named = zip(record.__struct_fields__[required:], record.__struct_defaults__, strict=True)
    return {name for name, default in named if repr(default) != "NODEFAULT"}


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_of_every_schema_says_what_it_means(record: type[records.Record]) -> None:
    fields = json.loads(schema_text(record))["fields"]

    assert [field["name"] for field in fields if not field.get("doc")] == []


@pytest.mark.parametrize("record", RECORDS)
@given(data=st.data())
def test_decoding_gives_back_what_was_encoded(record: type[records.Record], data: st.DataObject) -> None:
    value = data.draw(avro_values(json.loads(schema_text(record))))
    framed, decoder = Encoder(record, SCHEMA_ID).encode(value), decoder_of(record)

    assert [decoder.decode(framed) for _ in range(2)] == [value, value]  # by fastavro at first, then without
    assert msgspec.convert(decoder.decode_fields(framed), record) == value


@pytest.mark.parametrize("topic", CATALOGUE, ids=lambda topic: topic.name)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_an_ordinary_consumer_reads_every_topic(topic: topics.Topic, data: st.DataObject) -> None:
    registry = SchemaRegistryClient.new_client({"url": "mock://"})
    text = schema_text(topic.record)
    encoder = Encoder(topic.record, registry.register_schema(topic.subject, Schema(text, "AVRO")))
    value = data.draw(avro_values(json.loads(text)))
    found = AvroDeserializer(registry)(encoder.encode(value), SerializationContext(topic.name, MessageField.VALUE))

    assert msgspec.to_builtins(value, builtin_types=(bytes,)) == found


@given(value=avro_values(json.loads(schema_text(records.Tick))))
def test_what_we_encode_is_what_fastavro_encodes(value: records.Tick) -> None:
    framed = Encoder(records.Tick, SCHEMA_ID).encode(value)

    assert framed[:5] == HEADER.pack(0, SCHEMA_ID)
    assert framed[5:] == fastavro_bytes(value)


def fastavro_bytes(value: records.Tick) -> bytes:
    out = BytesIO()
    schema = fastavro.parse_schema(json.loads(schema_text(records.Tick)))
    fastavro.schemaless_writer(out, schema, {name: getattr(value, name) for name in value.__struct_fields__})
    return out.getvalue()


QUICK_RECORD = {record: quick_decoder_of(schema_text(record), 0, record) for record in RECORDS}
QUICK = {record: quick for record in RECORDS if (quick := quick_decoder_of(schema_text(record), 0)) is not None}


def read_by_both(record: type[records.Record], body: bytes) -> bool:
    """Compare with fastavro whatever is decoded without it; False = it is left to fastavro."""
    try:
        found = QUICK[record](body)
    except UNSURE:
        return False
    stream = BytesIO(body)
    expected = fastavro.schemaless_reader(stream, fastavro.parse_schema(json.loads(schema_text(record))), None)
    assert (repr(found), len(body)) == (repr(expected), stream.tell())  # the text, for NaN is not equal to itself
    assert repr(QUICK_RECORD[record](body)) == repr(msgspec.convert(found, record))
    return True


@pytest.mark.parametrize("record", QUICK)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_decoded_without_fastavro_is_what_it_decodes(record: type[records.Record], data: st.DataObject) -> None:
    body = Encoder(record, SCHEMA_ID).encode(data.draw(avro_values(json.loads(schema_text(record)))))[HEADER.size :]

    read_by_both(record, body)


@pytest.mark.parametrize("record", QUICK)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_damage_is_not_decoded_to_anything_else_than_fastavro_would(
    record: type[records.Record], data: st.DataObject
) -> None:
    body = Encoder(record, SCHEMA_ID).encode(data.draw(avro_values(json.loads(schema_text(record)))))[HEADER.size :]
    at, byte = data.draw(st.integers(0, len(body) - 1)), data.draw(st.binary(max_size=2))

    read_by_both(record, body[:at] + byte + body[at + data.draw(st.integers(0, 3)) :])


def test_what_flows_most_is_decoded_without_fastavro() -> None:
    body = Encoder(records.Tick, SCHEMA_ID).encode(tick(recv_time_us=1_700_000_000_000_321, trade_id="12"))

    assert {records.RawFrames, records.Tick, records.Depth, records.Candle} <= QUICK.keys()
    assert [read_by_both(records.Tick, body[HEADER.size :]) for _ in range(2)] == [True, True]


TOGETHER = [record for record in RECORDS if columns_decoder_of(record) is not None]
FRAME = HEADER.pack(0, SCHEMA_ID)


def read_together(record: type[records.Record], bodies: list[bytes]) -> list[str] | None:
    """Decode many at once, rows as text, for NaN is not equal to itself; None = they are to be read one by one."""
    decode = columns_decoder_of(record)
    assert decode
    found = decode([FRAME + body for body in bodies], {FRAME})
    if found is None:
        return None
    found.validate(full=True)
    assert found.schema == arrow_schema(record)
    return [repr(row) for row in found.to_pylist()]


@pytest.mark.parametrize("record", TOGETHER)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_decoded_together_is_what_is_decoded_one_by_one(
    record: type[records.Record], data: st.DataObject
) -> None:
    values = data.draw(st.lists(avro_values(json.loads(schema_text(record))), min_size=1, max_size=8))
    bodies = [Encoder(record, SCHEMA_ID).encode(value)[HEADER.size :] for value in values]
    if data.draw(st.booleans()):  # damage
        number = data.draw(st.integers(0, len(bodies) - 1))
        at, byte = data.draw(st.integers(0, len(bodies[number]) - 1)), data.draw(st.binary(max_size=2))
        bodies[number] = bodies[number][:at] + byte + bodies[number][at + data.draw(st.integers(0, 3)) :]
    found = read_together(record, bodies)

    if found is not None:
        decoder = decoder_of(record)
        assert [repr(decoder.decode_fields(FRAME + body)) for body in bodies] == found


def test_what_flows_most_is_decoded_together() -> None:
    first = tick(recv_time_us=1_700_000_000_000_321, trade_id="12", bid=1.0, symbol="Δ/USDT", venue_sequence=2**61)
    values = [first, tick(price=-1.5, source_offset=-(2**35), flags="A,B"), tick(sequence_id=300, ask=2.0)]
    bodies = [Encoder(records.Tick, SCHEMA_ID).encode(value)[HEADER.size :] for value in values]

    assert {records.Tick, records.Depth, records.Candle, records.Bar} <= set(TOGETHER)
    assert read_together(records.Tick, bodies) == [repr(msgspec.to_builtins(value)) for value in reordered(values)]
    assert read_together(records.Tick, [*bodies, bodies[0][:-1]]) is None


def reordered(values: list[records.Tick]) -> list[dict[str, Any]]:
    names = [field["name"] for field in json.loads(schema_text(records.Tick))["fields"]]
    return [{name: getattr(value, name) for name in names} for value in values]


def test_records_of_other_schemas_are_not_decoded_together() -> None:
    decode, value = columns_decoder_of(records.Tick), Encoder(records.Tick, SCHEMA_ID + 1).encode(tick())

    assert decode
    assert decode([value], {FRAME}) is None
    assert decode([value], set()) is None


def test_a_number_at_the_end_of_a_record_is_read_again_as_before() -> None:
    command = records.ControlCommand(event_time_us=0, venue="V", market="m", command="backfill", from_time_us=2**36)
    body = Encoder(records.ControlCommand, SCHEMA_ID).encode(command)[HEADER.size :]

    assert [QUICK_RECORD[records.ControlCommand](body) for _ in range(2)] == [command, command]


@given(garbage=st.binary(max_size=200))
def test_garbage_is_a_wire_format_error_or_an_unknown_schema(garbage: bytes) -> None:
    with suppress(WireFormatError, UnknownSchemaError):
        decoder_of(records.Tick).decode(garbage)


@given(garbage=st.binary(max_size=200))
def test_garbage_behind_a_good_header_is_a_wire_format_error(garbage: bytes) -> None:
    framed = HEADER.pack(0, SCHEMA_ID) + garbage
    with suppress(WireFormatError):
        decoder_of(records.Depth).decode(framed)


@given(cut=st.integers(min_value=1))
def test_a_record_cut_short_is_a_wire_format_error(cut: int) -> None:
    whole = Encoder(records.Tick, SCHEMA_ID).encode(tick())

    with pytest.raises(WireFormatError):
        decoder_of(records.Tick).decode(whole[: -(1 + cut % len(whole))])


def test_bytes_after_a_record_are_a_wire_format_error() -> None:
    with pytest.raises(WireFormatError):
        decoder_of(records.Tick).decode(Encoder(records.Tick, SCHEMA_ID).encode(tick()) + b"\0")


def test_an_unknown_schema_id_is_told_with_what_to_do() -> None:
    with pytest.raises(UnknownSchemaError, match=r"999 .* deploy"):
        decoder_of(records.Tick).decode(Encoder(records.Tick, 999).encode(tick()))


def test_a_record_written_before_a_field_was_added_reads_with_its_default() -> None:
    older = json.loads(schema_text(records.Tick))
    older["fields"] = [field for field in older["fields"] if field["name"] != "venue_sequence"]
    decoder = Decoder(records.Tick, lambda _id: json.dumps(older))

    assert decoder.decode(encode_with(older, tick())) == tick()


def test_a_record_written_after_a_field_was_added_reads_without_it() -> None:
    newer = json.loads(schema_text(records.Tick))
    newer["fields"].insert(3, {"name": "later", "type": "string", "default": "x", "doc": "new"})
    decoder = Decoder(records.Tick, lambda _id: json.dumps(newer))

    assert decoder.decode(encode_with(newer, tick())) == tick()


def test_a_kind_newer_than_the_reader_reads_as_other() -> None:
    newer = json.loads(schema_text(records.Tick))
    kind = next(field for field in newer["fields"] if field["name"] == "kind")
    kind["type"]["symbols"].append("AUCTION")
    decoder = Decoder(records.Tick, lambda _id: json.dumps(newer))

    assert decoder.decode(encode_with(newer, tick(), kind="AUCTION")).kind == "OTHER"


def encode_with(schema: dict[str, Any], record: records.Record, **changes: Any) -> bytes:
    out = BytesIO(HEADER.pack(0, SCHEMA_ID))
    out.seek(HEADER.size)
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), fields | changes)
    return out.getvalue()
