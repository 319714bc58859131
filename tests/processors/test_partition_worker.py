"""A partition's worker without Kafka: offsets, dead letters, metrics, state from one owner to the next."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from processors.outputs import Encoders, Outputs
from processors.pipeline import Pipeline
from processors.state_store import Loaded, StateStore, choose
from processors.worker import OffsetError, PartitionWorker
from schemas.codec import Decoder, Encoder, UnknownSchemaError, schema_text
from schemas.records import DeadLetter, RawFrames, State, Tick
from schemas.topics import DEAD_PROCESSOR, STATE, TICK, Topic
from tickerplant.errors import UserError
from tickerplant.kafka import DeliveryError, KafkaError

TOPIC = "raw.binance"
TRADE = "btcusdt@trade"
SCHEMA_ID, UNKNOWN_ID = 1, 9
LIMIT = 3
LISTING = b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT"}]}'


class MemoryRegistry:
    """Knows one id."""

    def encoder(self, _topic: Topic, record: Any) -> Encoder[Any]:
        return Encoder(record, SCHEMA_ID)

    def decoder(self, record: Any) -> Decoder[Any]:
        def schema(schema_id: int) -> str:
            if schema_id != SCHEMA_ID:
                raise UnknownSchemaError(schema_id)
            return schema_text(record)

        return Decoder(record, schema)


class MemoryPublisher:
    """Keeps what is sent; `deliver` calls back."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, bytes, bytes, Any]] = []
        self._waiting: list[Callable[..., None]] = []

    def send(self, *record: Any) -> None:
        *kept, on_delivered = record
        self.sent.append(tuple(kept))
        self._waiting.append(on_delivered)

    def deliver(self, error: Any = None) -> None:
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback(error, None)


class Owner:
    """A worker and all it works with."""

    def __init__(self, loaded: Loaded | None = None) -> None:
        self.publisher, self.registry = MemoryPublisher(), MemoryRegistry()
        encoders = Encoders(self.registry)  # type: ignore[arg-type]  # the part of a Registry that is used
        outputs = Outputs(self.publisher, encoders, topic=TOPIC, partition=0)  # type: ignore[arg-type]  # likewise
        self.worker = PartitionWorker(
            Pipeline("BINANCE", TOPIC, 0),
            outputs,
            StateStore(outputs, encoders, topic=TOPIC, partition=0),
            decoder=self.registry.decoder(RawFrames),
            venue="BINANCE",
            topic=TOPIC,
            partition=0,
            dead_letter_limit=LIMIT,
            now_us=lambda: 0,
        )
        self.worker.resume(loaded or Loaded())

    def step(self, offset: int, value: bytes) -> None:
        self.worker.step(offset, value, 7_000_000)

    def of(self, shape: Any, topic: Topic) -> list[Any]:
        decoder = self.registry.decoder(shape)
        return [decoder.decode(value) for name, _, _, value, *_ in self.publisher.sent if name == topic.name]

    def saved(self) -> Loaded:
        """Write the state, and choose what a next owner would load."""
        captured = self.worker.capture()
        while self.worker.write_pieces(captured, 0.0):
            pass
        self.worker.write_head(captured)
        keys = [key for name, _, key, *_ in self.publisher.sent if name == STATE.name]
        return choose((int(key.split(b"|")[3]), state) for key, state in zip(keys, self.of(State, STATE), strict=True))


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def values(new_run: Any) -> list[bytes]:
    """Raw records: a list of instruments, then one trade each."""
    feed, encoder = new_run("spot").feed, Encoder(RawFrames, SCHEMA_ID)
    first = feed.record(feed.frame(LISTING, "INSTRUMENTS"))
    return [encoder.encode(each) for each in (first, *(feed.record(feed.message(TRADE, t=t)) for t in range(1, 7)))]


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_records_carry_key_and_source(owner: Owner, values: list[bytes]) -> None:
    for offset, value in enumerate(values[:2]):
        owner.step(offset, value)

    assert owner.publisher.sent[-1][0:3] == (TICK.name, 0, b"BINANCE|BTC/USDT")
    assert owner.publisher.sent[-1][4] == [("source", b"raw.binance:0:1:0")]


def test_a_record_seen_before_is_passed_over_and_a_hole_is_refused(owner: Owner, values: list[bytes]) -> None:
    for offset in (0, 1, 1, 0):
        owner.step(offset, values[offset])

    assert len(owner.of(Tick, TICK)) == 1
    with pytest.raises(OffsetError, match="jumps from 2 to 4"):
        owner.step(4, values[4])


@pytest.mark.parametrize("bad", [b"", b"garbage", b"\x00\x00\x00\x00\x01", UNKNOWN_ID.to_bytes(5, "big") + b"x"])
def test_what_cannot_be_decoded_is_a_dead_letter_with_its_place(owner: Owner, values: list[bytes], bad: bytes) -> None:
    for offset, value in enumerate([values[0], bad, values[1]]):
        owner.step(offset, value)
    (letter,) = owner.of(DeadLetter, DEAD_PROCESSOR)

    assert (letter.payload, letter.source_offset, letter.event_time_us) == (bad, 1, 7_000_000)
    assert len(owner.of(Tick, TICK)) == 1


def test_so_many_bad_records_in_a_row_end_the_process(owner: Owner, values: list[bytes]) -> None:
    for offset, value in enumerate([b"bad", b"bad", values[0], b"bad", b"bad"]):
        owner.step(offset, value)

    with pytest.raises(UserError, match=rf"{LIMIT} frames in a row could not be used, up to raw\.binance:5"):
        owner.step(5, b"bad")


def test_so_many_bad_frames_in_a_row_end_the_process(owner: Owner, new_run: Any) -> None:
    feed = new_run("spot").feed
    frames = [feed.frame(b"x"), feed.frame(b"", "CLOCK"), feed.frame(b"x"), feed.frame(b"x")]

    with pytest.raises(UserError, match=f"{LIMIT} frames in a row"):
        owner.step(0, Encoder(RawFrames, SCHEMA_ID).encode(feed.record(*frames)))


def test_metrics_have_the_names_that_dashboards_expect(owner: Owner, values: list[bytes]) -> None:
    labels = {"venue": "BINANCE", "symbol": "BTC/USDT", "asset_class": "CRYPTO"}
    latency = {"venue": "BINANCE", "asset_class": "CRYPTO"}
    ticks, observed = sample("ingestion_ticks_total", **labels), sample("ingestion_latency_seconds_count", **latency)
    for offset, value in enumerate(values):
        owner.step(offset, value)

    assert sample("ingestion_ticks_total", **labels) - ticks == 6
    assert sample("ingestion_latency_seconds_count", **latency) - observed == 6


def test_a_next_owner_goes_on_where_the_state_was_captured(values: list[bytes]) -> None:
    whole, first = Owner(), Owner()
    for offset, value in enumerate(values):
        whole.step(offset, value)
    for offset, value in enumerate(values[:4]):
        first.step(offset, value)
    second = Owner(first.saved())
    for offset, value in enumerate(values):
        second.step(offset, value)

    assert second.worker.captured_offset == 4
    assert whole.of(Tick, TICK) == first.of(Tick, TICK) + second.of(Tick, TICK)


def test_a_mark_is_reached_once_all_before_it_is_delivered(owner: Owner, values: list[bytes]) -> None:
    owner.step(0, values[0])
    mark = owner.worker.outputs.mark()
    before = owner.worker.outputs.is_delivered(mark)
    owner.publisher.deliver()

    assert not before
    assert owner.worker.outputs.is_delivered(mark)


def test_a_refused_record_is_raised(owner: Owner, values: list[bytes]) -> None:
    owner.step(0, values[0])

    with pytest.raises(DeliveryError, match="Kafka refused a record"):
        owner.publisher.deliver(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))


def test_what_another_connection_brought_is_counted(owner: Owner, values: list[bytes], new_run: Any) -> None:
    feed = type(new_run("spot").feed)("spot", "other")
    again = Encoder(RawFrames, SCHEMA_ID).encode(feed.record(feed.message(TRADE, t=1), feed.message(TRADE, t=2)))
    before = sample("stage_redundant_total", venue="BINANCE")
    for offset, value in enumerate([*values[:2], again]):
        owner.step(offset, value)

    assert [tick.trade_id for tick in owner.of(Tick, TICK)] == ["1", "2"]
    assert sample("stage_redundant_total", venue="BINANCE") == before + 1
