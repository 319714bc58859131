"""Which records topics hold and which rows stores hold, by id: what is lost, doubled, or nobody's.

An id is (raw partition, raw offset, index within the raw record), packed into an integer: millions can be compared.
"""

from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds
from clickhouse_driver import Client

from schemas.records import RawFrames
from schemas.topics import Topic
from sinks.places import s3_options
from sinks.stored import is_whole
from sinks.tables import Table
from tickerplant.kafka import OFFSET_BEGINNING, Message, TopicPartition, consumer, partition_count
from tickerplant.once import Once, source_of
from tickerplant.registry import Registry
from tickerplant.settings import Settings

Ids = npt.NDArray[np.int64]
"""Sorted, as often as they are there."""

INDEX_BITS: Final = 26  # four ranges of `processors/batch.py`
OFFSET_BITS: Final = 31
COLUMNS: Final = ("source_partition", "source_offset", "source_index")
SHOWN: Final = 5
POLL_RECORDS: Final = 1000
POLL_S: Final = 0.5
GROUP: Final = "tickerplant.reconcile"


@dataclass(frozen=True)
class Difference:
    """How what is found differs from what should be there; empty lists = not at all.

    Args:
        lost: ids that should be there and are not; each as (partition, offset, index), the first few.
        doubled: those that are there more than once.
        foreign: those that should not be there.
        count: of all three, all told.
    """

    lost: list[tuple[int, int, int]]
    doubled: list[tuple[int, int, int]]
    foreign: list[tuple[int, int, int]]
    count: int


def compare(wanted: Ids, found: Ids) -> Difference:
    """Hold what is found against what should be there, each once."""
    distinct, counts = np.unique(found, return_counts=True)
    lost = np.setdiff1d(wanted, distinct)
    doubled = distinct[counts > 1]
    foreign = np.setdiff1d(distinct, wanted)
    count = len(lost) + len(doubled) + len(foreign)
    return Difference(_first(lost), _first(doubled), _first(foreign), count)


def pack(partition: int, offset: int, index: int) -> int:
    """Make one number of an id; order is kept.

    >>> unpack(pack(3, 1_000_000, 7))
    (3, 1000000, 7)
    """
    return partition << (OFFSET_BITS + INDEX_BITS) | offset << INDEX_BITS | index


def unpack(number: int) -> tuple[int, int, int]:
    """Read what `pack` made."""
    offset = number >> INDEX_BITS & (1 << OFFSET_BITS) - 1
    return number >> (OFFSET_BITS + INDEX_BITS), offset, number & (1 << INDEX_BITS) - 1


def messages(settings: Settings, topic: str, partition: int) -> Iterator[Message]:
    """Read a partition (topic without suffix) from its beginning to its end."""
    place = TopicPartition(topic + settings.kafka.topic_suffix, partition, OFFSET_BEGINNING)
    with closing(consumer(settings, GROUP)) as client:
        end = client.get_watermark_offsets(place, timeout=10)[1]
        client.assign([place])
        position = 0
        while position < end:
            for message in client.consume(POLL_RECORDS, POLL_S):
                if message.error() is not None:
                    raise ValueError(f"{topic} [{partition}]: {message.error()}")
                position = (message.offset() or 0) + 1
                yield message


def cleaned_ids(settings: Settings, topic: Topic) -> tuple[Ids, int]:
    """Read the ids of a cleaned topic as subscribers do; returns them, and how many repeats were dropped."""
    once, found, repeats = Once(), array("q"), 0
    for partition in range(partition_count(settings, topic.name)):
        for message in messages(settings, topic.name, partition):
            source = source_of(message.headers())
            if source is None:
                raise ValueError(f"{topic.name} [{partition}] offset {message.offset()} has no source")
            if once.is_new((topic.name, partition), source):
                found.append(pack(source.partition, source.offset, source.index))
            else:
                repeats += 1
    return _sorted(found), repeats


def frame_ids(settings: Settings, topic: str) -> Ids:
    """Read the ids of all frames of a raw topic."""
    decoder, found = Registry(settings).decoder(RawFrames), array("q")
    for partition in range(partition_count(settings, topic)):
        for message in messages(settings, topic, partition):
            offset, value = message.offset() or 0, message.value()
            if isinstance(value, bytes):
                count = len(decoder.decode(value).frames)
                found.extend(pack(partition, offset, index) for index in range(count))
    return _sorted(found)


def clickhouse_ids(client: Client, table: Table, *, is_final: bool) -> Ids:
    """Ask for the ids of a table: as it is, or by FINAL."""
    final = " FINAL" if is_final else ""
    columns = client.execute(f"SELECT {', '.join(COLUMNS)} FROM {table.name}{final}", columnar=True)  # noqa: S608  # our own names
    return _packed(columns or [[], [], []])


def lake(settings: Settings, table: Table) -> tuple[Any, str]:
    """Find the file system of the lake, and the folder of a table in it."""
    root = settings.object_store.root
    is_s3 = root.startswith("s3://")
    files = fsspec.filesystem("s3", **s3_options(settings.object_store)) if is_s3 else fsspec.filesystem("file")
    return files, f"{root.removeprefix('s3://')}/{table.folder}" if is_s3 else str(Path(root) / table.folder)


def parquet_ids(settings: Settings, table: Table) -> Ids:
    """Read the ids of a table's Parquet files."""
    files, folder = lake(settings, table)
    paths = [path for path in files.find(folder) if is_whole(path.rpartition("/")[2])]
    if not paths:
        return _packed([[], [], []])
    found = ds.dataset(paths, filesystem=files, format="parquet").to_table(columns=list(COLUMNS))
    return _packed([found[name].to_numpy() for name in COLUMNS])


def _first(ids: Ids) -> list[tuple[int, int, int]]:
    return [unpack(each) for each in ids[:SHOWN].tolist()]


def _packed(columns: Iterable[Any]) -> Ids:
    partition, offset, index = (np.asarray(column, dtype=np.int64) for column in columns)
    return np.sort(partition << (OFFSET_BITS + INDEX_BITS) | offset << INDEX_BITS | index)


def _sorted(found: "array[int]") -> Ids:
    return np.sort(np.frombuffer(found, dtype=np.int64)) if found else np.array([], dtype=np.int64)
