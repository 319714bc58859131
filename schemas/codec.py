"""Records ↔ bytes: Avro behind the Confluent header; encoded by `encoding.py`, decoded by fastavro.

0x00 | schema id, 4 bytes big-endian | Avro body
Source: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format

CodecError
├── WireFormatError   not framed so, cut short, or not of the schema it names
└── UnknownSchemaError  the registry does not know the schema id
"""

import json
import struct
from collections.abc import Callable
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Any, Generic, TypeVar, cast

import fastavro
import msgspec

from schemas.encoding import encoder_of
from schemas.records import Record

HEADER = struct.Struct(">bI")
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


class Encoder(Generic[R]):
    """Encodes records of one class under one schema id."""

    def __init__(self, record: type[R], schema_id: int) -> None:
        self._body = encoder_of(schema_text(record))
        self._header = HEADER.pack(0, schema_id)

    def encode(self, record: R) -> bytes:
        """Frame and encode one record."""
        return self._header + self._body(record)


class Decoder(Generic[R]):
    """Decodes records of one class, whichever registered version of its schema they were written with.

    Args:
        record: class to decode to.
        writer_schema: tells the schema text of an id, asked once an id; raises UnknownSchemaError.
    """

    def __init__(self, record: type[R], writer_schema: Callable[[int], str]) -> None:
        self._record = record
        self._reader = _parsed(record)
        self._writer_schema = writer_schema
        self._writers: dict[int, Any] = {}

    def decode(self, value: bytes) -> R:
        """Decode one framed record.

        Raises:
            WireFormatError: the bytes are no such record.
            UnknownSchemaError: the registry does not know the id.
        """
        return msgspec.convert(self.decode_fields(value), self._record)

    def decode_fields(self, value: bytes) -> dict[str, Any]:
        """Decode to plain fields, for those who build columns; raises as `decode`."""
        if len(value) < HEADER.size:
            raise WireFormatError(f"{len(value)} bytes are too few for a header")
        magic, schema_id = HEADER.unpack_from(value)
        if magic != 0:
            raise WireFormatError(f"magic byte is {magic}, not 0")
        stream = BytesIO(value)
        stream.seek(HEADER.size)
        writer = self._writers.get(schema_id) or self._writer(schema_id)
        try:
            fields = fastavro.schemaless_reader(stream, writer, None if writer is self._reader else self._reader)
        except (
            EOFError,
            ValueError,
            IndexError,
            KeyError,
            TypeError,
            struct.error,
            OverflowError,
            MemoryError,
        ) as error:
            raise WireFormatError(f"not a {self._record.__name__}: {type(error).__name__} {error}") from error
        if stream.tell() != len(value):
            raise WireFormatError(f"{len(value) - stream.tell()} bytes left over after a {self._record.__name__}")
        return cast("dict[str, Any]", fields)

    def _writer(self, schema_id: int) -> Any:
        text = json.loads(self._writer_schema(schema_id))
        own = json.loads(schema_text(self._record))
        self._writers[schema_id] = self._reader if text == own else fastavro.parse_schema(text)
        return self._writers[schema_id]


def _file_name(record: type[Record]) -> str:
    """CamelCase → snake_case."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in record.__name__).lstrip("_")
