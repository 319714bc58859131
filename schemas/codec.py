"""Records ↔ bytes: Avro behind the Confluent header; encoded by `encoding.py`, decoded by `decoding.py` or fastavro.

0x00 | schema id, 4 bytes big-endian | Avro body
Source: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format

CodecError
├── WireFormatError   not framed so, cut short, or not of the schema it names
└── UnknownSchemaError  the registry does not know the schema id
"""

import json
import struct
import time
from collections.abc import Callable, Collection
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Any, Generic, TypeVar, cast

import fastavro
import msgspec
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType

from schemas.decoding import UNSURE, decoder_of
from schemas.encoding import encoder_of
from schemas.records import Record

HEADER = struct.Struct(">bI")
MOST_REFUSED = 1000
ASK_AGAIN_S = 30.0
MOST_INT = 2**31
MALFORMED = (
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    OverflowError,
    MemoryError,
    SchemaResolutionError,
)
"""What fastavro raises for bytes that are not of the schema, or for a schema that is not ours."""
R = TypeVar("R", bound=Record)


class CodecError(Exception):
    """Base of what goes wrong between records and bytes."""


class WireFormatError(CodecError):
    """The bytes are not a record in Confluent's wire format."""


class UnknownSchemaError(CodecError):
    """The schema id is not in the registry."""

    def __init__(self, schema_id: int) -> None:
        self.schema_id = schema_id
        super().__init__(schema_id)

    def __str__(self) -> str:
        return f"schema id {self.schema_id} is not in the registry: was `tickerplant deploy` run against this one?"


def schema_text(record: type[Record]) -> str:
    """Read the Avro schema of a record class, as it is registered."""
    return (resources.files("schemas") / "avro" / f"{_file_name(record)}.avsc").read_text(encoding="utf-8")


@cache
def _parsed(record: type[Record]) -> Any:
    return fastavro.parse_schema(json.loads(schema_text(record)))


@cache
def _int_fields(record: type[Record]) -> tuple[str, ...]:
    """Name the fields of 32 bits, of which fastavro reads 64."""
    fields = json.loads(schema_text(record))["fields"]
    return tuple(field["name"] for field in fields if field["type"] == "int")


class Encoder(Generic[R]):
    """Encodes records of one class under one schema id."""

    def __init__(self, record: type[R], schema_id: int) -> None:
        self._encode = encoder_of(schema_text(record), HEADER.pack(0, schema_id))

    @property
    def encode(self) -> Callable[[R], bytes]:
        """What frames and encodes one record."""
        return self._encode


class Decoder(Generic[R]):
    """Decodes records of one class, whichever registered version of its schema they were written with.

    Args:
        record: class to decode to.
        writer_schema: tells the schema text of an id, asked once an id; raises UnknownSchemaError.
        now_s: a clock that never goes back, seconds.
    """

    def __init__(
        self, record: type[R], writer_schema: Callable[[int], str], *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._record = record
        self._reader = _parsed(record)
        self._ints = _int_fields(record)
        self._quick = decoder_of(schema_text(record), HEADER.size, record)  # for what is written as we write it
        self._quick_fields = decoder_of(schema_text(record), HEADER.size)
        self._own: set[bytes] = set()  # headers of that
        self._writer_schema = writer_schema
        self._writers: dict[int, Any] = {}
        self._refused: dict[int, str] = {}
        self._now_s = now_s
        self._asked_s: dict[int, float] = {}  # id that was not known → when it was asked for

    @property
    def own_headers(self) -> Collection[bytes]:
        """Headers that were met of values which are written as we write them, by the same schema."""
        return self._own

    def decode(self, value: bytes) -> R:
        """Decode one framed record.

        Raises:
            WireFormatError: the bytes are no such record.
            UnknownSchemaError: the registry does not know the id.
        """
        if self._quick is not None and value[: HEADER.size] in self._own:
            try:
                return cast("R", self._quick(value))
            except UNSURE:
                pass  # fastavro tells what it is
        return msgspec.convert(self._decode_fields(value), self._record)

    def decode_fields(self, value: bytes) -> dict[str, Any]:
        """Decode to plain fields, for those who build columns; raises as `decode`."""
        if self._quick_fields is not None and value[: HEADER.size] in self._own:
            try:
                return cast("dict[str, Any]", self._quick_fields(value))
            except UNSURE:
                pass  # fastavro tells what it is
        return self._decode_fields(value)

    def _decode_fields(self, value: bytes) -> dict[str, Any]:
        """Decode by fastavro, as it may be written with any version of the schema."""
        if len(value) < HEADER.size:
            raise WireFormatError(f"{len(value)} bytes are too few for a header")
        magic, schema_id = HEADER.unpack_from(value)
        if magic != 0:
            raise WireFormatError(f"magic byte is {magic}, not 0")
        writer = self._writers.get(schema_id) or self._writer(schema_id)
        stream = BytesIO(value)
        stream.seek(HEADER.size)
        try:
            found = fastavro.schemaless_reader(stream, writer, None if writer is self._reader else self._reader)
        except MALFORMED as error:
            raise WireFormatError(f"not a {self._record.__name__}: {type(error).__name__} {error}") from error
        if stream.tell() != len(value):
            raise WireFormatError(f"{len(value) - stream.tell()} bytes left over after a {self._record.__name__}")
        fields = cast("dict[str, Any]", found)
        for name in self._ints:
            if not -MOST_INT <= fields[name] < MOST_INT:
                raise WireFormatError(f"not a {self._record.__name__}: {name} {fields[name]} does not fit into an int")
        return fields

    def _writer(self, schema_id: int) -> Any:
        """Find the schema that an id stands for; one that is not of our record is asked for once."""
        if schema_id in self._refused:
            raise WireFormatError(self._refused[schema_id])
        text = self._asked(schema_id)
        try:
            writer = self._read_writer(text)
        except (ValueError, TypeError, KeyError, RecursionError, SchemaParseException, UnknownType) as error:
            reason = f"schema id {schema_id} is none of a {self._record.__name__}: {type(error).__name__} {error}"
            if len(self._refused) < MOST_REFUSED:
                self._refused[schema_id] = reason[:200]
            raise WireFormatError(reason[:200]) from error
        self._writers[schema_id] = writer
        if writer is self._reader and self._quick is not None:
            self._own.add(HEADER.pack(0, schema_id))
        return writer

    def _asked(self, schema_id: int) -> str:
        """Ask for a schema; for one that was not known, again only after a while: the asking takes long."""
        now_s = self._now_s()
        if now_s - self._asked_s.get(schema_id, -ASK_AGAIN_S) < ASK_AGAIN_S:
            raise UnknownSchemaError(schema_id)
        try:
            text = self._writer_schema(schema_id)
        except UnknownSchemaError:
            if len(self._asked_s) >= MOST_REFUSED:
                self._asked_s.clear()
            self._asked_s[schema_id] = now_s
            raise
        self._asked_s.pop(schema_id, None)
        return text

    def _read_writer(self, text: str) -> Any:
        avro = json.loads(text)
        if avro == json.loads(schema_text(self._record)):
            return self._reader
        if not isinstance(avro, dict) or avro.get("name") != self._record.__name__:
            raise ValueError("it has another name")
        _refuse_recursion(avro, ())
        return fastavro.parse_schema(avro)


def _refuse_recursion(avro: Any, enclosing: tuple[str, ...]) -> None:
    """Refuse a type within itself: none of ours is, and fastavro would follow it until the stack ends."""
    if isinstance(avro, str) and avro.rpartition(".")[2] in enclosing:
        raise ValueError(f"{avro} holds itself")
    if isinstance(avro, list):
        for each in avro:
            _refuse_recursion(each, enclosing)
    elif isinstance(avro, dict):
        names = (
            (*enclosing, str(avro["name"]).rpartition(".")[2])
            if "name" in avro and avro.get("type") == "record"
            else enclosing
        )
        for inner in (avro.get("type"), avro.get("items"), avro.get("values")):
            _refuse_recursion(inner, names)
        for field in avro.get("fields") or ():
            _refuse_recursion(field["type"], names)


def _file_name(record: type[Record]) -> str:
    """CamelCase → snake_case."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in record.__name__).lstrip("_")
