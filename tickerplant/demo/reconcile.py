"""Reconciliation: what was served, what each topic holds, what each store holds; where they differ.

Nothing is taken from the pipeline's own counters: topics are read from their beginning with a consumer of its own,
stores are asked, and what should come of the frames is counted from their bytes.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from schemas.codec import Decoder
from schemas.records import DeadLetter, Depth, Frame, QualityEvent, RawFrames, Record, Source, Tick
from schemas.topics import DEAD_PROCESSOR, DEPTH, QUALITY, TICK, Topic, raw_topic
from tickerplant.demo.books import Books
from tickerplant.kafka import OFFSET_BEGINNING, TopicPartition, consumer, partition_count
from tickerplant.registry import Registry
from tickerplant.settings import Settings

POLL_RECORDS = 1000
MOST_QUOTES = 100_000  # remembered, to know them when another connection brings them too
POLL_S = 0.2
SourceId = tuple[int, int, int]


class _Data(msgspec.Struct):
    """The fields of a Binance message that identify it."""

    e: str = ""
    s: str = ""
    t: int = 0
    T: int = 0
    u: int = 0
    a: int | list[Any] | str = 0
    b: int | list[Any] | str = 0
    A: int | str = 0
    B: int | str = 0


class _PastTrade(msgspec.Struct):
    """A trade of a REST answer."""

    id: int


class _Envelope(msgspec.Struct):
    """A message of a combined stream."""

    stream: str
    data: _Data


@dataclass
class RawCount:
    """What the raw topic holds, counted from the bytes of its frames.

    Args:
        dead: payloads that went to the dead letters: they are counted as frames, but nothing is expected of them.
        quotes: those that are neither the symbol's last one once more, nor what another connection brought before.
        trades, aggregates: market, venue symbol, id: a number, or the venue's name.
        numbers: market, venue symbol, number of a trade, by which it is counted, whatever it is called.
        restored: the same of trades that came by REST, where they were missing between those of streams.
        answered: market, venue symbol, name of trades that came by REST, where names tell nothing of holes.
        deltas: market, venue symbol, id; unnumbered: depth updates of venues that give them none.
    """

    dead: Container[bytes] = frozenset()
    frames: int = 0
    quotes: int = 0
    by_channel: Counter[str] = field(default_factory=Counter)
    trades: set[tuple[str, str, int | str]] = field(default_factory=set)
    numbers: set[tuple[str, str, int]] = field(default_factory=set)
    restored: set[tuple[str, str, int]] = field(default_factory=set)
    answered: set[tuple[str, str, int | str]] = field(default_factory=set)
    aggregates: set[tuple[str, str, int | str]] = field(default_factory=set)
    deltas: set[tuple[str, str, int]] = field(default_factory=set)
    unnumbered: int = 0
    _last_quotes: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)
    _bounds: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  # numbers of streams, so far
    _brought: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def add(self, raw: RawFrames) -> None:
        """Count the market data of one raw record; answers to our own requests are not."""
        for frame in raw.frames:
            if frame.kind == "MESSAGE" and (frame.payload.startswith(b'{"stream"') or frame.payload in self.dead):
                self._add_message(raw.sources[frame.source], frame.payload)
            elif frame.kind == "HTTP" and "rades?" in frame.request and frame.payload not in self.dead:
                self._add_past_trades(raw.sources[frame.source].market, frame)

    def _add_past_trades(self, market: str, frame: Frame) -> None:
        symbol = parse_qs(urlsplit(frame.request).query)["symbol"][0]
        for each in msgspec.json.decode(frame.payload, type=list[_PastTrade]):
            self._restore(market, symbol, each.id)

    def _restore(self, market: str, symbol: str, number: int) -> None:
        """Count a trade that came by REST, if there was a hole where it belongs."""
        first, last = self._bounds.get((market, symbol), (number, number))
        if first < number < last and (market, symbol, number) not in self.numbers:
            self.restored.add((market, symbol, number))

    def _count_trade(self, market: str, symbol: str, name: int | str, number: int) -> None:
        """Count a trade of a stream."""
        key = (market, symbol, number)
        first, last = self._bounds.get((market, symbol), (number, number))
        self._bounds[market, symbol] = min(first, number), max(last, number)
        if key not in self.restored:
            self.trades.add((market, symbol, name))
            self.numbers.add(key)

    def _add_message(self, source: Source, payload: bytes) -> None:
        self.frames += 1
        if payload in self.dead:
            self.by_channel["dead letter"] += 1
            return
        message = msgspec.json.decode(payload, type=_Envelope)
        channel = message.stream.partition("@")[2].partition("@")[0]
        self.by_channel[channel] += 1
        self._add_item(source, channel, message.data)

    def _add_item(self, source: Source, channel: str, data: _Data) -> None:
        market = source.market
        if channel == "trade":
            self._count_trade(market, data.s, data.t, data.t)
        elif channel == "aggTrade" and isinstance(data.a, int):
            self.aggregates.add((market, data.s, data.a))
        elif channel == "depth":
            self.deltas.add((market, data.s, data.u))
        elif channel == "bookTicker":
            self._add_quote(source, data)

    def _add_quote(self, source: Source, data: _Data) -> None:
        key = (source.market, data.s)
        quote = (*key, data.u, data.T, data.b, data.B, data.a, data.A)
        is_redundant = self._brought.setdefault(quote, source.connection) != source.connection
        self.quotes += quote != self._last_quotes.get(key) and not is_redundant
        self._last_quotes[key] = quote
        if len(self._brought) > MOST_QUOTES:
            del self._brought[next(iter(self._brought))]


@dataclass
class CleanedCount:
    """What a cleaned topic holds: records, and those that stand there more than once."""

    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    backfilled: int = 0
    sources: set[SourceId] = field(default_factory=set)
    times_us: list[tuple[int, int]] = field(default_factory=list)  # read from the socket, written to the topic

    @property
    def doubled(self) -> int:
        """Tell how many records repeat another one's source id."""
        return self.records - len(self.sources)

    def add(self, fields: dict[str, Any], kind: str, written_time_ms: int) -> None:
        """Count one record, written to Kafka at a time, which Kafka keeps in ms."""
        self.times_us.append((fields["recv_time_us"], written_time_ms * 1000))
        self.records += 1
        self.kinds[kind] += 1
        self.backfilled += "BACKFILL" in fields.get("flags", "")
        self.sources.add((fields["source_partition"], fields["source_offset"], fields["source_index"]))


@dataclass(frozen=True)
class TopicCounts:
    """All that was counted in topics.

    Args:
        letters: dead letters by kind of frame.
        trade_gaps: market, symbol, first and last id of each GAP in trade ids.
        books: as cleaned.depth has them at its end.
    """

    raw: RawCount
    ticks: CleanedCount
    depth: CleanedCount
    quality: Counter[str]
    duplicates: Counter[str]
    dead_letters: int
    letters: Counter[str] = field(default_factory=Counter)
    trade_gaps: list[tuple[str, str, int, int]] = field(default_factory=list)
    books: Books = field(default_factory=Books)

    @property
    def expected_ticks(self) -> int:
        """Distinct trades, restored ones too, and aggregates, and quotes but for those that come again at once."""
        named = min(len(self.raw.answered - self.raw.trades), self.ticks.backfilled)
        return len(self.raw.trades) + len(self.raw.restored) + named + len(self.raw.aggregates) + self.raw.quotes

    @property
    def expected_deltas(self) -> int:
        """Each distinct depth update is published once."""
        return len(self.raw.deltas) + self.raw.unnumbered


def count_topics(
    settings: Settings, venue: str, make_raw: Callable[[frozenset[bytes]], RawCount] = RawCount
) -> TopicCounts:
    """Read the raw and cleaned topics from their beginning and count; takes about a second per 50,000 frames.

    Args:
        make_raw: begins to count raw frames, given the payloads of dead letters; the default is for Binance.

    Raises:
        DependencyError: broker or registry does not answer.
    """
    registry = Registry(settings)
    letters = registry.decoder(DeadLetter)
    dead = [letters.decode(value) for value, _written_time_ms in read_topic(settings, DEAD_PROCESSOR)]
    raw = make_raw(frozenset(each.payload for each in dead))
    frames = registry.decoder(RawFrames)
    for value, _written_time_ms in read_topic(settings, raw_topic(venue)):
        raw.add(frames.decode(value))
    ticks = _count_cleaned(settings, TICK, registry.decoder(Tick), lambda fields: str(fields["kind"]))
    books = Books()
    depth = _count_cleaned(settings, DEPTH, registry.decoder(Depth), _depth_kind, books.add)
    quality, duplicates, gaps = _count_quality(settings, registry.decoder(QualityEvent))
    kinds = Counter(each.frame_kind for each in dead)
    return TopicCounts(raw, ticks, depth, quality, duplicates, len(dead), kinds, gaps, books)


def read_topic(settings: Settings, topic: Topic) -> Iterator[tuple[bytes, int]]:
    """Yield all values of a topic up to its end as it is now, each with the time it was written, ms UTC."""
    name = topic.name + settings.kafka.topic_suffix
    client = consumer(settings, "tickerplant.reconcile", **{"enable.partition.eof": True})
    waiting = set(range(partition_count(settings, topic.name)))
    client.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in waiting])
    try:
        while waiting:
            for message in client.consume(POLL_RECORDS, POLL_S):
                if message.error() is not None:
                    waiting.discard(message.partition())
                elif (value := message.value()) is not None:
                    yield value, message.timestamp()[1]
    finally:
        client.close()


def _count_cleaned(
    settings: Settings,
    topic: Topic,
    decoder: Decoder[Any],
    kind_of: Callable[[dict[str, Any]], str],
    see: Callable[[dict[str, Any]], None] = lambda _fields: None,
) -> CleanedCount:
    count = CleanedCount()
    for value, written_time_ms in read_topic(settings, topic):
        fields = decoder.decode_fields(value)
        known = len(count.sources)
        count.add(fields, kind_of(fields), written_time_ms)
        if len(count.sources) > known:  # not a repeat, which readers drop
            see(fields)
    return count


def _depth_kind(fields: dict[str, Any]) -> str:
    if fields["is_keyframe"]:
        return "KEYFRAME"
    return "SNAPSHOT" if fields["is_snapshot"] else "DELTA"


def _count_quality(
    settings: Settings, decoder: Decoder[Record]
) -> tuple[Counter[str], Counter[str], list[tuple[str, str, int, int]]]:
    """Count quality events by kind, and dropped duplicates by channel; list gaps in trade ids."""
    kinds: Counter[str] = Counter()
    duplicates: Counter[str] = Counter()
    gaps = []
    for value, _written_time_ms in read_topic(settings, QUALITY):
        fields = decoder.decode_fields(value)
        kinds[fields["kind"]] += 1
        if fields["kind"] == "DUPLICATE":
            duplicates[fields["channel"]] += fields["count"]
        elif fields["kind"] == "GAP" and fields["channel"] == "trade":
            gaps.append((fields["market"], fields["symbol"], fields["from_sequence"], fields["to_sequence"]))
    return kinds, duplicates, gaps
