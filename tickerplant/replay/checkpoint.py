"""A checkpoint: the state of one raw partition as of one offset, as an object beside the raw archive.

`<root>/checkpoint/<raw topic>/<partition>/<next offset>-<event time µs>-<life>.ckpt`: MessagePack, zstd. Written once,
never changed; it is of use as long as raw records after it are kept, so it may expire with them.
"""

import re
from dataclasses import dataclass
from typing import Final

import msgspec
import pyarrow as pa

from processors.state_store import Loaded
from tickerplant.errors import UserError
from tickerplant.replay.lake import Lake

FORMAT: Final = 1
NAME: Final = re.compile(r"(\d{19})-(\d{19})(?:-(.{8}))?\.ckpt")
MARGIN_US: Final = 1_000_000
"""Producers share partitions, so raw records may lie this far out of the order of their times."""


@dataclass(frozen=True, order=True)
class Place:
    """Where a checkpoint stands: the next offset, and the time of the last raw record before it, µs.

    `life` is that of the raw topic; empty = not known.
    """

    next_offset: int
    event_time_us: int
    life: str = ""

    @property
    def name(self) -> str:
        """Name of its object; names sort as offsets do."""
        life = f"-{self.life}" if self.life else ""
        return f"{self.next_offset:019d}-{self.event_time_us:019d}{life}.ckpt"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the object holds."""

    format: int = FORMAT
    topic: str
    partition: int
    next_offset: int
    event_time_us: int
    pieces: dict[str, tuple[bytes, ...]]
    life: str = ""

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.next_offset, self.event_time_us, self.life)

    def loaded(self) -> Loaded:
        """Give the state as a processor loads it."""
        return Loaded(self.next_offset, self.pieces, life=self.life)


def encode(checkpoint: Checkpoint) -> bytes:
    """Encode and compress."""
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(msgspec.msgpack.encode(checkpoint))
    return bytes(out.getvalue())


def decode(content: bytes) -> Checkpoint:
    """Read what `encode` wrote.

    Raises:
        ValueError: it is damaged, or of a format that this version does not know.
    """
    try:
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            found = msgspec.msgpack.decode(stream.read(), type=Checkpoint)
    except (OSError, msgspec.DecodeError) as error:
        raise ValueError(f"no checkpoint: {error}") from error
    if found.format != FORMAT:
        raise ValueError(f"checkpoint of format {found.format}; this version knows {FORMAT}")
    return found


def folder(topic: str, partition: int) -> str:
    """Tell where the checkpoints of a raw partition lie (topic without suffix)."""
    return f"checkpoint/{topic}/{partition}"


def places(lake: Lake, topic: str, partition: int) -> list[Place]:
    """List the checkpoints of a raw partition, oldest first."""
    found = (NAME.fullmatch(name) for name in lake.names(folder(topic, partition)))
    return sorted(Place(int(match[1]), int(match[2]), match[3] or "") for match in found if match)


def newest_before(found: list[Place], time_us: int, life: str = "") -> Place | None:
    """Choose the newest checkpoint of a life that holds nothing of `time_us` and later; None = there is none.

    >>> newest_before([Place(10, 5_000_000), Place(20, 9_000_000)], 8_000_000)
    Place(next_offset=10, event_time_us=5000000, life='')
    """
    ours = [each for each in found if each.life in {"", life}]
    return max((each for each in ours if each.event_time_us + MARGIN_US <= time_us), default=None)


def read(lake: Lake, topic: str, partition: int, place: Place) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        UserError: it cannot be read.
    """
    path = f"{folder(topic, partition)}/{place.name}"
    try:
        return decode(lake.read(path))
    except ValueError as error:
        raise UserError(f"{lake.root}/{path}: {error}; remove it to use the one before") from error


def write(lake: Lake, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, unless it is there."""
    lake.create(f"{folder(checkpoint.topic, checkpoint.partition)}/{checkpoint.place.name}", encode(checkpoint))
