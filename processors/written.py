"""Output topics → how far earlier owners of raw partitions have come in each: read where their heads cannot tell.

A head tells, for each output, an offset that none of the records after it is below, and between which times such
records were stamped: the owner waits for its next snapshot once that time is over. So what other venues wrote since,
which may be the output of hours, is not read. An output partition is read once for all venues.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from processors.pieces import OutputsPiece
from processors.silence import NOTHING, Mark, Marks
from processors.state_store import LOAD_GROUP, StateAwayError
from schemas.topics import CLEANED
from tickerplant.errors import DependencyError
from tickerplant.kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    OffsetReader,
    TopicPartition,
    consumer,
)
from tickerplant.once import SOURCE_HEADER
from tickerplant.settings import Settings

Place = tuple[str, int]
"""Topic and partition."""
Span = tuple[int, int]
"""First offset, offset after the last."""

SHORT_RECORDS: Final = 20_000  # read whole: a tenth of a second, what asking for times takes too
MARGIN_US: Final = 30_000_000  # how far clocks of processors may differ, and be set back
POLL_RECORDS: Final = 10_000
POLL_S: Final = 0.05
PATIENCE_POLLS: Final = 600


@dataclass
class Written:
    """What was found.

    Args:
        ends: by output (without suffix) and partition, where it ended before it was read.
        marks: by source (raw topic with its life, without suffix) and partition.
        read_records: how many records were looked at.
    """

    ends: dict[Place, int] = field(default_factory=dict)
    marks: dict[Place, Marks] = field(default_factory=dict)
    read_records: int = 0

    def ends_of(self, partition: int) -> dict[str, int]:
        """Tell where the outputs of a partition ended."""
        return {topic: end for (topic, number), end in self.ends.items() if number == partition}

    def note(self, topic: str, source: bytes) -> None:
        """Note the source header of a record of an output."""
        self.read_records += 1
        name, offset, index = source.rsplit(b":", 2)
        origin, _, number = name.decode().rpartition(":")
        marks = self.marks.get((origin, int(number)))
        if marks is None:  # of a partition that is not ours
            return
        mark: Mark = (int(offset), int(index))
        if mark > marks.get(topic, NOTHING):
            marks[topic] = mark


def find_written(
    settings: Settings,
    offsets: OffsetReader,
    heads: Mapping[Place, OutputsPiece | None],
    *,
    now_us: int,
    connect: Callable[..., Consumer] = consumer,
) -> Written:
    """Read what was written after these heads, by source and partition; None = there is none; blocks.

    Args:
        now_us: by our clock; one that was set back since a head was written cannot tell which records are after it.

    Raises:
        StateAwayError: the broker does not answer now.
    """
    suffix = settings.kafka.topic_suffix
    try:
        spans, found = plan(offsets, suffix, heads, now_us)
        if spans:
            eof = {"enable.partition.eof": True}
            with closing(connect(settings, LOAD_GROUP, **eof)) as client:
                for topic, source in read_spans(
                    client, {(name + suffix, n): each for (name, n), each in spans.items()}
                ):
                    found.note(topic.removesuffix(suffix), source)
    except (DependencyError, KafkaException) as error:
        raise StateAwayError(f"outputs: {error}") from error
    return found


def merged(spans: Iterable[Span]) -> list[Span]:
    """Join spans that touch, so that nothing is read twice; empty ones are left out.

    >>> merged([(5, 9), (0, 3), (8, 12), (4, 4)])
    [(0, 3), (5, 12)]
    """
    joined: list[Span] = []
    for start, end in sorted(each for each in spans if each[0] < each[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def plan(
    offsets: OffsetReader, suffix: str, heads: Mapping[Place, OutputsPiece | None], now_us: int
) -> tuple[dict[Place, list[Span]], Written]:
    """Tell which part of each output is to be read after these heads, by our clock."""
    count = max((number for _, number in heads), default=-1) + 1
    asked = offsets.watermarks({topic.name + suffix: count for topic in CLEANED})
    kept = {(name.removesuffix(suffix), number): each for (name, number), each in asked.items()}
    found = Written({place: end for place, (_, end) in kept.items()}, {origin: {} for origin in heads})
    spans: dict[Place, list[Span]] = {}
    for (_, number), head in heads.items():
        if head is not None:
            trusts_times = now_us > head.since_us - MARGIN_US
            for place, span in _spans(offsets, suffix, head, number, kept, trusts_times=trusts_times).items():
                spans.setdefault(place, []).append(span)
    joined = {place: merged(each) for place, each in spans.items()}
    return {place: each for place, each in joined.items() if each}, found


def _spans(
    offsets: OffsetReader,
    suffix: str,
    head: OutputsPiece,
    number: int,
    kept: Mapping[Place, Span],
    *,
    trusts_times: bool,
) -> dict[Place, Span]:
    """Tell where records after one head may stand: by its offsets, and where that is much, by its times."""
    spans: dict[Place, Span] = {}
    for topic in CLEANED:
        place = (topic.name, number)
        first, end = kept[place]
        spans[place] = (max(first, head.ends.get(topic.name, first)), end)
    if not trusts_times:
        return spans
    long = [(place[0] + suffix, number) for place, (start, end) in spans.items() if end - start > SHORT_RECORDS]
    since = offsets.offsets_at(dict.fromkeys(long, (head.since_us - MARGIN_US) // 1000))
    until = offsets.offsets_at(dict.fromkeys(long, (head.until_us + MARGIN_US) // 1000))
    for name, _ in long:
        place = (name.removesuffix(suffix), number)
        start, end = spans[place]
        spans[place] = narrowed((start, end), since[name, number], until[name, number])
    return spans


def narrowed(span: Span, begin: int | None, over: int | None) -> Span:
    """Narrow a span to the first offsets of two times; None = nothing was written since.

    The second one lies before the span where the clock was set back before the span was written: it tells nothing then.

    >>> narrowed((100, 900), 300, 500), narrowed((100, 900), 40, 60)
    ((300, 500), (100, 900))
    """
    start, end = span
    return end if begin is None else max(start, begin), end if over is None or over <= start else min(end, over)


def read_spans(client: Consumer, spans: Mapping[Place, list[Span]]) -> Iterator[tuple[str, bytes]]:
    """Read spans of partitions, the first of each, then the second of each, and so on; gives topics and source headers.

    Args:
        client: made with `enable.partition.eof`; it is assigned these partitions.

    Raises:
        StateAwayError: the broker does not give them.
    """
    for turn in range(max(map(len, spans.values()))):
        for message in _read_turn(client, {place: each[turn] for place, each in spans.items() if turn < len(each)}):
            source = _source_header(message)
            if source:
                yield message.topic() or "", source


def _read_turn(client: Consumer, spans: dict[Place, Span]) -> Iterator[Message]:
    client.assign([TopicPartition(*place, start) for place, (start, _) in spans.items()])
    left, patience = {place: end for place, (_, end) in spans.items()}, PATIENCE_POLLS
    while left:
        messages = client.consume(POLL_RECORDS, POLL_S)
        patience = PATIENCE_POLLS if messages else patience - 1
        if not patience:
            raise StateAwayError(f"outputs are not given: {sorted(left)}")
        for message in messages:
            place = (message.topic() or "", message.partition() or 0)
            end = left.get(place)
            if end is None:  # fetched ahead of its end
                continue
            is_over = _is_end(message)
            if not is_over and (message.offset() or 0) < end:
                yield message
            if is_over or (message.offset() or 0) >= end - 1:
                del left[place]
                client.incremental_unassign([TopicPartition(*place)])


def _is_end(message: Message) -> bool:
    """Tell whether this is no record but the end of its partition: the last ones may be gone, by age or compaction."""
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the library's own errors all start so
        return True
    raise StateAwayError(f"{message.topic()}:{message.partition()}: {error.str()}")


def _source_header(message: Message) -> bytes | None:
    headers = message.headers()
    for name, value in headers.items() if isinstance(headers, dict) else headers or ():
        if name == SOURCE_HEADER and isinstance(value, bytes):
            return value
    return None
