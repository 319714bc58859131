"""`tickerplant checkpoint --restore`: the last archived state of a raw partition in the place of the one in Kafka."""

import re
from contextlib import closing
from typing import Any, Final

import msgspec

from processors.errors import StateError
from processors.outputs import Encoders, Outputs
from processors.pieces import HEAD, HeadPiece, Piece, decode_piece, encode_piece
from processors.state_store import LOAD_GROUP, StateStore, epoch_of, newest_records
from schemas.topics import STATE
from tickerplant.clock import now_us
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import OFFSET_BEGINNING, OffsetReader, Publisher, TopicPartition, consumer, source_name
from tickerplant.lag import group_name
from tickerplant.once import life_in
from tickerplant.registry import Registry
from tickerplant.replay import checkpoint
from tickerplant.replay.checkpoint import Checkpoint
from tickerplant.replay.lake import Lake
from tickerplant.settings import Settings

PLACE: Final = re.compile(r"(raw\.[a-z0-9_]+):(\d+)")
IDLE: Final = frozenset({"empty", "dead"})
FLUSH_S: Final = 60.0
FOREVER_US: Final = 2**62


def restore(settings: Settings, place: str) -> dict[str, Any]:
    """Put the last checkpoint of a raw partition (`raw.binance:1`) in the place of its state; processors must not run.

    A processor then goes on from there, and leaves out what is in its outputs already.

    Raises:
        UserError: there is no checkpoint, or processors run.
        DependencyError: a server does not answer.
    """
    topic, partition = _place(place)
    life = life_in(source_name(settings, topic))
    group = group_name("tickerplant.processor", settings)
    with closing(OffsetReader(settings)) as reader:
        state = reader.groups().get(group, "empty")
    if state not in IDLE:
        raise UserError(f"processors run (group {group} is {state}): stop them first")
    lake = Lake(settings.object_store)
    found = checkpoint.newest_before(checkpoint.places(lake, topic, partition), FOREVER_US, life)
    if found is None:
        raise UserError(f"there is no checkpoint of {place} at {lake.root}; see docs/operations.md")
    _write(settings, checkpoint.read(lake, topic, partition, found), life)
    return {"restored": place, "next_offset": found.next_offset, "event_time_us": found.event_time_us}


def _place(text: str) -> tuple[str, int]:
    match = PLACE.fullmatch(text)
    if match is None:
        raise UserError(f"{text!r} is no raw partition, such as raw.binance:1")
    return match[1], int(match[2])


def _write(settings: Settings, found: Checkpoint, life: str) -> None:
    """Forget what is there, then write all pieces, the head last."""
    head = _head(found)
    encoders, publisher = Encoders(Registry(settings)), Publisher(settings)
    outputs = Outputs(publisher, encoders, topic=found.topic, partition=found.partition)
    keys = _keys(settings, found)
    epoch = 1 + max(map(epoch_of, keys), default=0)
    store = StateStore(outputs, encoders, topic=found.topic, partition=found.partition, epoch=epoch, life=life)
    for name, payloads in found.pieces.items():
        if name != HEAD:
            first = found.next_offset - len(payloads) + 1  # offsets only have to rise to that of the head
            for number, payload in enumerate(payloads):
                store.write(Piece(name, payload, is_whole=number == 0), first + number)
    store.write_head(head, found.next_offset)
    for key in keys:  # last: ended before it, the old state is there, or the new one counts by its epoch
        publisher.send(STATE.name, found.partition, key, None)
    if publisher.flush(FLUSH_S):
        raise DependencyError("kafka", settings.kafka.bootstrap_servers, "it does not take the state; do it again")


def _head(found: Checkpoint) -> bytes:
    """Make the head say that outputs are to be searched to their ends: what was written after it is of long ago."""
    try:
        head = decode_piece(HeadPiece, HEAD, found.pieces[HEAD][-1])
    except StateError as error:
        raise UserError(f"checkpoint {found.place.name} cannot be used: {error}; remove it to use another") from error
    if head.outputs is not None:
        head = msgspec.structs.replace(head, outputs=msgspec.structs.replace(head.outputs, until_us=now_us()))
    return encode_piece(head)


def _keys(settings: Settings, found: Checkpoint) -> list[bytes]:
    """List the keys that the state of a raw partition has now."""
    where = TopicPartition(STATE.name + settings.kafka.topic_suffix, found.partition, OFFSET_BEGINNING)
    prefix = f"{found.topic}|{found.partition}|".encode()
    with closing(consumer(settings, LOAD_GROUP)) as client:
        return [key for key in newest_records(client, where) if key.startswith(prefix)]
