"""Bytes of a topic's records → rows of its table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.codec import Decoder, UnknownSchemaError, WireFormatError
from schemas.columnar import columns_decoder_of
from schemas.records import DeadLetter, Record
from sinks.columns import Row, frame_rows
from sinks.tables import RAW, table_of
from tickerplant.errors import UserError
from tickerplant.once import with_life

MakeDecoder = Callable[[type[Record]], Decoder[Any]]


class Entry(NamedTuple):
    """A record as it lies in a log; value None = a tombstone."""

    topic: str
    partition: int
    offset: int
    value: bytes | None


class Run(NamedTuple):
    """Records of one partition as they lie in a log, one after the other: at least one, an offset and a value each.

    Args:
        values: None = a tombstone.
        written_us: when the last one was written; 0 = not known.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    values: Sequence[bytes | None]
    written_us: int = 0

    @property
    def length(self) -> int:
        """How many records."""
        return len(self.offsets)

    def entries(self) -> Iterator[Entry]:
        """Give them one by one."""
        for offset, value in zip(self.offsets, self.values, strict=True):
            yield Entry(self.topic, self.partition, offset, value)

    def part(self, first: int, end: int) -> "Run":
        """Take those from one number up to another."""
        each = slice(first, end)
        return self._replace(offsets=self.offsets[each], values=self.values[each])


class RowReader:
    """Reads entries of all topics; one decoder a record class.

    Args:
        make_decoder: makes the decoder of a record class.
        stage: who refuses what cannot be read.
        topic_suffix: what topics are called beyond their name in the catalogue.
        takes_unknown_ids: records of an unknown schema id are dead letters, instead of an error.
        lives: life of each topic (full name), as far as known; asked at each record.
    """

    def __init__(
        self,
        make_decoder: MakeDecoder,
        *,
        stage: str,
        topic_suffix: str = "",
        takes_unknown_ids: bool = False,
        lives: Mapping[str, str] | None = None,
    ) -> None:
        self._make_decoder = make_decoder
        self._stage = stage
        self._suffix = topic_suffix
        self._takes_unknown_ids = takes_unknown_ids
        self._lives = {} if lives is None else lives
        self._decoders: dict[str, Decoder[Any]] = {}

    def name(self, topic: str) -> str:
        """Tell a topic's name in the catalogue."""
        return topic.removesuffix(self._suffix)

    def reads_many(self, topic: str) -> bool:
        """Tell whether records of a topic may be decoded together."""
        return columns_decoder_of(table_of(self.name(topic)).record) is not None

    def read_many(self, run: Run) -> pa.RecordBatch | None:
        """Decode records to columns, a row each; None = they are to be read one by one."""
        decode = columns_decoder_of(table_of(self.name(run.topic)).record)
        if decode is None or None in run.values:
            return None
        decoder = self._decoders.get(run.topic) or self._decoder(run.topic)
        return decode(run.values, decoder.own_headers)  # type: ignore[arg-type]  # None is not in values

    def read(self, entry: Entry) -> list[Row] | DeadLetter:
        """Decode to rows (none for a tombstone), or tell why not as a dead letter.

        Raises:
            UserError: the schema id is unknown.
        """
        if entry.value is None:
            return []
        try:
            return self._rows(entry, entry.value)
        except UnknownSchemaError as error:
            if not self._takes_unknown_ids:
                raise UserError(self._unknown_id(entry, error)) from None
            return self._letter(entry, entry.value, error)
        except (WireFormatError, IndexError) as error:
            return self._letter(entry, entry.value, error)

    def _rows(self, entry: Entry, value: bytes) -> list[Row]:
        decoder = self._decoders.get(entry.topic) or self._decoder(entry.topic)
        fields = decoder.decode_fields(value)
        if "frames" in fields:
            source = with_life(self.name(entry.topic), self._lives.get(entry.topic, ""))
            return frame_rows(fields, (source, entry.partition), entry.offset)
        return [fields]

    def _decoder(self, topic: str) -> Decoder[Any]:
        decoder = self._decoders[topic] = self._make_decoder(table_of(self.name(topic)).record)
        return decoder

    def _unknown_id(self, entry: Entry, error: UnknownSchemaError) -> str:
        place = f"{entry.topic} [{entry.partition}] offset {entry.offset}"
        help_text = 'registry.unknown_id = "dead_letter" would pass over such records'
        return f"{place}: {error} Its subject would be {self.name(entry.topic)}-value; {help_text}"

    def _letter(self, entry: Entry, value: bytes, error: Exception) -> DeadLetter:
        name = self.name(entry.topic)
        return DeadLetter(
            event_time_us=0,
            stage=self._stage,
            venue=name.removeprefix("raw.").upper() if table_of(name) is RAW else "",
            reason=f"{type(error).__name__}: {error}",
            payload=value,
            source_topic=with_life(entry.topic, self._lives.get(entry.topic, "")),
            source_partition=entry.partition,
            source_offset=entry.offset,
        )
