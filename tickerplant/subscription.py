"""`tickerplant.subscribe`: records of a topic as typed objects, each once, in order; for loops and for asyncio."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self, TypedDict, TypeVar, Unpack, overload

from schemas.codec import CodecError, Decoder
from schemas.records import (
    Bar,
    Candle,
    DeadLetter,
    Depth,
    Derivative,
    Instrument,
    QualityEvent,
    Record,
    Signal,
    Tick,
    Ticker,
)
from schemas.topics import Topic, catalogue
from schemas.venues import SYMBOLOGIES
from sinks.position import Position, PositionError, read_position
from tickerplant.choices import check_options, check_symbol, chosen_venue
from tickerplant.errors import DependencyError, TickerplantError, UserError
from tickerplant.kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    OffsetReader,
    TopicPartition,
    consumer,
    end_offsets,
    is_end,
    partition_count,
    refusal,
    settled,
)
from tickerplant.logs import logger
from tickerplant.once import Once, SourceError, header_of
from tickerplant.registry import Registry
from tickerplant.settings import Settings, load_settings

GROUP: Final = "tickerplant.subscriber"  # names the connections of those who keep no position; nothing is committed
OUR_GROUPS: Final = "tickerplant."
KEYED_BY_SYMBOL: Final = "venue|symbol"
POLL_RECORDS: Final = 1000
POLL_S: Final = 0.1
TIMEOUT_S: Final = 10.0
COMMIT_S: Final = 5.0
LIFE_S: Final = 5.0
MOST_KEYS: Final = 100_000
LEAST_US: Final = 100_000_000_000_000
"""In 1973. What is smaller was meant in other units: the seconds and milliseconds of today are, as µs, in 1970."""
SKEW_MS: Final = 60_000
"""Times of Kafka are of the processor's clock, those of records of the producer's: so much earlier is searched from."""
FETCH: Final = {"fetch.queue.backoff.ms": 10}
"""A queue of 100,000 records lasts for less than the second that librdkafka else waits before it fetches again."""
PASSING: Final = frozenset(
    {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT}  # noqa: SLF001  # the library's own errors all start so
)

R = TypeVar("R", bound=Record)
Start = Literal["latest", "earliest"] | datetime | int
Place = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a subscriber wants.

    Args:
        topic: from the catalogue.
        venue: only this one's, in capitals; None = all.
        symbols: only these canonical symbols; empty = all.
        start: where to begin where the group kept no position: µs since the epoch, or an end of the topic.
        group: name under which the position is kept in Kafka; None = it is not.
        follows: go on with what comes; False = end at what was there when subscribing.
        idle_s: end when nothing new came for so long; None = never.
    """

    topic: Topic
    venue: str | None = None
    symbols: frozenset[str] = frozenset()
    start: Literal["latest", "earliest"] | int = "latest"
    group: str | None = None
    follows: bool = True
    idle_s: float | None = None

    @property
    def is_all(self) -> bool:
        """Tell whether every record is wanted."""
        return self.venue is None and not self.symbols and not isinstance(self.start, int)

    def wants_key(self, key: bytes | str | None) -> bool:
        """Tell whether a record may be wanted, before it is decoded."""
        if self.topic.key != KEYED_BY_SYMBOL or not isinstance(key, bytes):
            return True
        venue, _, symbol = key.decode("utf-8", "replace").partition("|")
        return self._wants(venue, symbol)

    def wants(self, record: Record) -> bool:
        """Tell whether a decoded record is wanted."""
        venue, symbol = getattr(record, "venue", ""), getattr(record, "symbol", "")
        is_early = isinstance(self.start, int) and getattr(record, "event_time_us", self.start) < self.start
        return not is_early and self._wants(venue, symbol)

    def _wants(self, venue: str, symbol: str) -> bool:
        return (self.venue is None or venue == self.venue) and (not self.symbols or symbol in self.symbols)


class Subscription(Generic[R]):
    """An endless sequence of records; iterate with `for` or `async for`, and close it, best by `with`.

    The records of one symbol come in the venue's order, each once, whatever the processors went through. What the loop
    has finished with, is what a group's position tells: an exception inside of `with` leaves the record at hand for
    the next time. Not thread-safe; one process a group. `anext` may be cancelled, as by `asyncio.wait_for`.

    Attributes:
        repeats: how many records were left out because they had come before.
        lost: how many records of the topic had expired before they could be read; each such hole is a warning in the
            log, too.

    Raises:
        UserError: the topic does not exist; from a loop: it was deleted and made anew meanwhile.
        DependencyError: Kafka does not answer.
    """

    def __init__(self, settings: Settings, wish: Wish) -> None:
        self.repeats = self.lost = 0
        self._wish, self._keeps, self._takes_all = wish, wish.group is not None, wish.is_all
        self._address = settings.kafka.bootstrap_servers
        self._name = wish.topic.name + settings.kafka.topic_suffix
        self._once, self._kept = Once(), Once()
        self._done: dict[Place, int] = {}  # offsets after what the loop has finished with
        self._at_hand: tuple[Place, int, bytes | None] | None = None  # what the loop is busy with
        self._wanted_keys: dict[bytes | str | None, bool] = {}
        self._fetched: deque[Message] = deque()
        self._committed_s = time.monotonic()
        self._lock = threading.RLock()  # held by whoever uses the consumer
        self._beside: asyncio.Future[None] | None = None  # what is done in a thread
        self._ends: dict[Place, int] = {}
        self._reader = OffsetReader(settings)
        self._asked_s = time.monotonic()  # when the life of the topic was
        partitions = partition_count(settings, wish.topic.name)
        self._places: dict[int, Place] = {number: (self._name, number) for number in range(partitions)}
        self._life = self._reader.lives([self._name]).get(self._name, "")
        self._decoder: Decoder[R] = Registry(settings).decoder(wish.topic.record)  # type: ignore[arg-type]  # the topic tells R
        config = {**FETCH, "enable.partition.eof": not wish.follows}
        self._consumer: Consumer = consumer(settings, wish.group or GROUP, **config)
        try:
            places = [TopicPartition(self._name, number) for number in range(partitions)]
            starts = settled(lambda: self._starts(places))
            self._reached = {(each.topic, each.partition): each.offset for each in starts}
            self._consumer.assign(starts)
        except UserError:
            self._consumer.close()
            raise
        except KafkaException as error:
            self._consumer.close()
            reason = error.args[0]
            raise refusal(settings, reason) or DependencyError("kafka", self._address, reason.str()) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._at_hand = None
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(TickerplantError):
            await self._done_beside()
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        """Wait for the next record.

        Raises:
            StopIteration: the end was reached, or nothing new came for `idle_s`.
            UserError: a record cannot be read, or Kafka refuses us.
        """
        since_s = time.monotonic()
        if self._is_due(since_s):
            self._keep_position()
        while (record := self._pop()) is None:
            if self._is_over(since_s):
                raise StopIteration
            self._fetch()
        return record

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        """Wait for the next record, in a thread; raises StopAsyncIteration, and else as `__next__`."""
        since_s = time.monotonic()
        if self._beside is not None:
            await self._done_beside()
        if self._is_due(since_s):
            await self._do_beside(self._keep_position)
        while (record := self._pop()) is None:
            if self._is_over(since_s):
                raise StopAsyncIteration
            await self._do_beside(self._fetch)
        return record

    async def _do_beside(self, work: Callable[[], None]) -> None:
        self._beside = asyncio.ensure_future(asyncio.to_thread(work))
        await self._done_beside()

    async def _done_beside(self) -> None:
        """Wait for what is done in a thread, if something is; a call that is cancelled leaves it to the next one.

        Two fetches at a time would bring records in another order, and the filter would drop some of them.
        """
        if self._beside is None:
            return
        if not self._beside.done():
            await asyncio.wait([self._beside])
        done, self._beside = self._beside, None
        if not done.cancelled():  # by the end of another event loop
            done.result()

    def commit(self) -> None:
        """Keep the position after the record at hand now, not only every 5 s; without a group nothing is kept.

        Raises:
            DependencyError: Kafka does not take it.
            UserError: it does not fit into a commit.
        """
        with self._lock:
            self._finish_with_last()
            self._committed_s = time.monotonic()
            if self._wish.group is None or not self._done:
                return
            try:
                offsets = [self._position(place, offset) for place, offset in self._done.items()]
                self._consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:
                raise DependencyError("kafka", self._address, f"position not kept: {error.args[0].str()}") from error
            except PositionError as error:
                raise UserError(f"too many sources feed one partition of {self._name}: {error}") from error

    def close(self) -> None:
        """Keep the position and let go of the connections; raises as `commit`."""
        with self._lock:  # not beneath a fetch in another thread
            try:
                self.commit()
            finally:
                self._consumer.close()
                self._reader.close()

    def _pop(self) -> R | None:
        """Take the next wanted record of those fetched; None = there is none."""
        if self._at_hand is not None:
            self._finish_with_last()
        while self._fetched:
            record = self._read(self._fetched.popleft())
            if record is not None:
                return record
            if self._at_hand is not None:
                self._finish_with_last()
        return None

    def _read(self, message: Message) -> R | None:
        """Read a record unless it is unwanted or a repeat; what tells that is looked at before it is decoded."""
        place = self._places[message.partition() or 0]
        header = header_of(message.headers())
        if self._keeps:
            self._at_hand = (place, (message.offset() or 0) + 1, header)
        try:
            if header is not None and not self._once.is_new_header(place, header):
                self.repeats += 1
                return None
            value = message.value()
            if not isinstance(value, bytes) or not (self._takes_all or self._wants_key(message.key())):
                return None
            record = self._decoder.decode(value)
        except (CodecError, SourceError) as error:
            raise UserError(f"{self._name} [{place[1]}] offset {message.offset()} cannot be read: {error}") from error
        return record if self._takes_all or self._wish.wants(record) else None

    def _wants_key(self, key: bytes | str | None) -> bool:
        wanted = self._wanted_keys.get(key)
        if wanted is None:
            if len(self._wanted_keys) >= MOST_KEYS:
                self._wanted_keys.clear()
            wanted = self._wanted_keys[key] = self._wish.wants_key(key)
        return wanted

    def _finish_with_last(self) -> None:
        if self._at_hand is None:
            return
        place, offset, header = self._at_hand
        self._at_hand = None
        self._done[place] = offset
        if header is not None:
            self._kept.is_new_header(place, header)

    def _is_due(self, now_s: float) -> bool:
        return self._keeps and now_s - self._committed_s > COMMIT_S

    def _keep_position(self) -> None:
        """Commit; where Kafka is away, the loop goes on, and it is tried again."""
        try:
            self.commit()
        except DependencyError as error:
            logger().warning("position not kept yet", group=self._wish.group, reason=str(error))

    def _is_over(self, since_s: float) -> bool:
        if not self._wish.follows and all(self._reached.get(place, 0) >= end for place, end in self._ends.items()):
            return True
        return self._wish.idle_s is not None and time.monotonic() - since_s >= self._wish.idle_s

    def _fetch(self) -> None:
        if self._is_due(time.monotonic()):
            self._keep_position()
        with self._lock:
            messages = self._consumer.consume(POLL_RECORDS, POLL_S)
            if messages:
                self._check_life()
            for message in messages:
                error = message.error()
                if error is None:
                    self._take(message)
                elif is_end(error):
                    self._reach_end(self._places[message.partition() or 0])
                elif error.code() not in PASSING:
                    raise UserError(f"Kafka refuses {self._name}: {error.str()}")

    def _check_life(self) -> None:
        """Make sure, now and then while records come, that they are of the topic that was subscribed to.

        One that was made anew and is longer already would be read from its middle; offsets tell nothing of it.

        Raises:
            UserError: it was.
        """
        if time.monotonic() - self._asked_s < LIFE_S:
            return
        self._asked_s = time.monotonic()
        life = ""
        with suppress(UserError):  # Kafka is away just now, or refuses to tell: it is asked again
            life = self._reader.lives([self._name]).get(self._name, "")
        if life not in {"", self._life}:
            raise UserError(f"{self._name} was deleted and made anew while it was read: subscribe again")

    def _take(self, message: Message) -> None:
        place, offset = self._places[message.partition() or 0], message.offset() or 0
        if offset > self._reached[place]:
            self._note_hole(place, offset)
        self._reached[place] = offset + 1
        if self._wish.follows or offset < self._ends[place]:
            self._fetched.append(message)

    def _reach_end(self, place: Place) -> None:
        """Note that nothing is left to read, also where the last records have expired, so that none tells."""
        if self._reached[place] < self._ends[place]:
            self._note_hole(place, self._ends[place])
            self._reached[place] = self._ends[place]

    def _note_hole(self, place: Place, end: int) -> None:
        """Tell of offsets at which no record stands any more; what is compacted has such by its nature."""
        if self._wish.topic.retention_ms is None:
            return
        first = self._reached[place]
        self.lost += end - first
        name = f"{self._name} [{place[1]}]"
        logger().warning("records expired before they were read", topic=name, first=first, last=end - 1)

    def _starts(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Tell where to begin in each partition."""
        starts = self._wished_starts(partitions)
        if self._wish.group is None:
            return starts
        kept = {each.partition: each for each in self._consumer.committed(partitions, timeout=TIMEOUT_S)}
        return [self._resumed(kept[each.partition], each) for each in starts]

    def _wished_starts(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        start = self._wish.start
        self._ends = end_offsets(self._consumer, partitions)
        if start == "latest":
            return [_at(each, self._ends[each.topic, each.partition]) for each in partitions]
        if start == "earliest":
            begins = [self._consumer.get_watermark_offsets(each, timeout=TIMEOUT_S)[0] for each in partitions]
            return [_at(each, begin) for each, begin in zip(partitions, begins, strict=True)]
        times = [_at(each, max(0, start // 1000 - SKEW_MS)) for each in partitions]
        found = self._consumer.offsets_for_times(times, timeout=TIMEOUT_S)
        return [each if each.offset >= 0 else _at(each, self._ends[each.topic, each.partition]) for each in found]

    def _resumed(self, kept: TopicPartition, start: TopicPartition) -> TopicPartition:
        if kept.offset < 0:
            return start
        place = (kept.topic, kept.partition)
        try:
            position = read_position(kept.offset, kept.metadata)
        except PositionError as error:
            raise UserError(f"group {self._wish.group} is somebody else's: {error}; take another name") from None
        if position.life not in {"", self._life}:
            logger().warning("position in another topic of this name", topic=self._name, life=position.life)
            begin, _end = self._consumer.get_watermark_offsets(start, timeout=TIMEOUT_S)
            return _at(start, begin)  # nothing of it was read
        self._once.resume(place, position.marks)
        self._kept.resume(place, position.marks)
        return TopicPartition(*place, kept.offset)

    def _position(self, place: Place, offset: int) -> TopicPartition:
        position = Position(offset=offset, marks=self._kept.marks(place), life=self._life)
        return TopicPartition(*place, offset, position.metadata())


def _at(place: TopicPartition, offset: int) -> TopicPartition:
    return TopicPartition(place.topic, place.partition, offset)


class Options(TypedDict, total=False):
    """What may be said to `subscribe` besides the topic; see there."""

    venue: str | None
    symbols: Collection[str]
    from_: Start | str
    group: str | None
    follow: bool
    idle_s: float | None
    settings: Settings | Path | str | None


@overload
def subscribe(topic: Literal["cleaned.tick"], **options: Unpack[Options]) -> Subscription[Tick]: ...
@overload
def subscribe(topic: Literal["cleaned.depth"], **options: Unpack[Options]) -> Subscription[Depth]: ...
@overload
def subscribe(topic: Literal["cleaned.ticker"], **options: Unpack[Options]) -> Subscription[Ticker]: ...
@overload
def subscribe(topic: Literal["cleaned.candle"], **options: Unpack[Options]) -> Subscription[Candle]: ...
@overload
def subscribe(topic: Literal["cleaned.bar"], **options: Unpack[Options]) -> Subscription[Bar]: ...
@overload
def subscribe(topic: Literal["cleaned.derivative"], **options: Unpack[Options]) -> Subscription[Derivative]: ...
@overload
def subscribe(topic: Literal["features.signal"], **options: Unpack[Options]) -> Subscription[Signal]: ...
@overload
def subscribe(topic: Literal["reference.instrument"], **options: Unpack[Options]) -> Subscription[Instrument]: ...
@overload
def subscribe(topic: Literal["quality.event"], **options: Unpack[Options]) -> Subscription[QualityEvent]: ...
@overload
def subscribe(topic: Literal["dlq.processor", "dlq.sink"], **options: Unpack[Options]) -> Subscription[DeadLetter]: ...
@overload
def subscribe(topic: str, **options: Unpack[Options]) -> Subscription[Any]: ...


def subscribe(topic: str, **options: Unpack[Options]) -> Subscription[Any]:
    """Follow a topic, from now on or from its past.

    `for tick in tickerplant.subscribe("cleaned.tick", symbols=["BTC/USDT"]): ...`

    Args:
        topic: its name in the catalogue, without suffix, e.g. `cleaned.tick` or `raw.binance`.
        options: each may be left out:
            venue: only this one's, e.g. `BINANCE`; None = all.
            symbols: only these canonical symbols; empty = all.
            from_: `latest` (default) = what is written from now on; `earliest` = all that is kept; a time (datetime
                with time zone, ISO 8601, or µs since the epoch) = all that was taken in since.
            group: keep the position under this name, and go on there next time; None = begin at `from_` each time.
            follow: True (default) = wait for what comes; False = end at what was there when subscribing.
            idle_s: end the iteration when nothing new came for so long; None = never.
            settings: or the path of a settings file; None = TICKERPLANT_CONFIG and the environment.

    Raises:
        UserError: no such topic, option, venue or symbol, records of the topic have none, `from_` is no time, or
            `group` is one of our own.
        DependencyError: Kafka does not answer.
    """
    check_options(options, Options.__annotations__)
    settings, venue, group = options.get("settings"), options.get("venue"), options.get("group")
    symbols, wanted = _symbols_of(options.get("symbols", ())), find_topic(topic)
    if venue:
        chosen_venue(venue, SYMBOLOGIES)
    _check_filter(wanted, {"venue": bool(venue), "symbol": bool(symbols)})
    if group is not None and (not group.strip() or group.startswith(OUR_GROUPS)):
        raise UserError(f"group {group!r} cannot be yours: give it a name that does not begin with {OUR_GROUPS}")
    if not isinstance(settings, Settings):
        settings = load_settings(Path(settings) if settings is not None else None)
    wish = Wish(
        topic=wanted,
        venue=venue.upper() if venue else None,
        symbols=symbols,
        start=start_of(options.get("from_", "latest")),
        group=group,
        follows=options.get("follow", True),
        idle_s=options.get("idle_s"),
    )
    return Subscription(settings, wish)


def _check_filter(topic: Topic, given: Mapping[str, bool]) -> None:
    """Make sure that records have what they are chosen by: of those that have not, none would ever come."""
    for name, is_given in given.items():
        if is_given and name not in topic.record.__struct_fields__:
            raise UserError(f"records of {topic.name} have no {name}: leave it out")


def _symbols_of(given: Collection[str]) -> frozenset[str]:
    symbols = frozenset([given] if isinstance(given, str) else given)
    for symbol in sorted(symbols):
        check_symbol(symbol)
    return symbols


def find_topic(name: str) -> Topic:
    """Find a topic of the catalogue.

    Raises:
        UserError: there is none of this name.
    """
    known = {each.name: each for each in catalogue(SYMBOLOGIES)}
    if name in known:
        return known[name]
    raise UserError(f"topic {name} is not known; known: {', '.join(sorted(known))}")


def start_of(value: Start | str) -> Literal["latest", "earliest"] | int:
    """Tell where to begin: an end of the topic, or µs since the epoch.

    >>> start_of("2026-11-21T00:00:00Z")
    1795219200000000

    Raises:
        UserError: it is neither.
    """
    if value == "latest" or value == "earliest":  # noqa: PLR1714  # so mypy sees which strings are left
        return value  # type: ignore[return-value]  # the same
    if isinstance(value, Integral):
        if value == 0 or value >= LEAST_US:
            return int(value)
        raise UserError(f"{value} is no time in µs since the epoch, such as 1795219200000000: is it in s or ms?")
    if not isinstance(value, str | datetime):
        raise UserError(f"{value!r} is no time: latest, earliest, ISO 8601, a datetime or whole µs since the epoch")
    try:
        time_of = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError:
        raise UserError(f"{value!r} is no time: latest, earliest, ISO 8601 or µs since the epoch") from None
    if time_of.tzinfo is None:
        raise UserError(f"{value} names no time zone: add Z for UTC")
    return round(time_of.timestamp() * 1_000_000)
