"""A partition's worker without Kafka: offsets, dead letters, metrics, state from one owner to the next."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import msgpack
from prometheus_client import REGISTRY

from processors.batch import BARS_FROM, Batch
from processors.outputs import Encoders, Outputs
from processors.pieces import HEAD
from processors.pipeline import Pipeline
from processors.silence import Marks, Silence, highest
from processors.start import Log, find_start
from processors.state_store import Loaded, StateStore, choose
from processors.worker import LEASE_US, OffsetError, PartitionWorker, outputs_of
from processors.written import Written
from schemas.codec import Decoder, Encoder, UnknownSchemaError, schema_text
from schemas.records import Bar, ControlCommand, DeadLetter, QualityEvent, RawFrames, State, Tick
from schemas.topics import BAR, CLEANED, DEAD_PROCESSOR, QUALITY, SIGNAL, STATE, TICK, Topic
from tickerplant.errors import UserError
from tickerplant.kafka import DeliveryError, KafkaError
from tickerplant.once import with_life
from tickerplant.tally import DeadLetterLimit

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
        self.delivered, self.is_repeating = 1000, False
        self.sent: list[tuple[str, int, bytes, bytes, Any]] = []
        self._waiting: list[Callable[..., None]] = []

    def send(self, *record: Any) -> None:
        *kept, on_delivered = record
        self.sent.append(tuple(kept))
        self._waiting.append(on_delivered)

    def deliver(self, error: Any = None) -> None:
        """Deliver all that waits, at offsets from 1000 on; in a repeat the broker names none."""
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            offset, self.delivered = self.delivered, self.delivered + 1
            callback(error, SimpleNamespace(offset=lambda offset=offset: None if self.is_repeating else offset))


class Owner:
    """A worker and all it works with."""

    now_us = 0
    set_back_us = 0  # by which the clock of the machine was set back

    def __init__(
        self,
        loaded: Loaded | None = None,
        written: Marks | None = None,
        *,
        limit: DeadLetterLimit | None = None,
        takes_unknown_ids: bool = False,
        life: str = "",
        epoch: int = 0,
        windows_s: tuple[int, ...] = (),
    ) -> None:
        self.publisher, self.registry = MemoryPublisher(), MemoryRegistry()
        encoders = Encoders(self.registry)  # type: ignore[arg-type]  # the part of a Registry that is used
        ends = {topic.name: 100 for topic in CLEANED}
        source = with_life(TOPIC, life)
        outputs = Outputs(self.publisher, encoders, topic=source, partition=0, ends=ends)  # type: ignore[arg-type]  # likewise
        self.worker = PartitionWorker(
            Pipeline("BINANCE", source, 0, limit=limit or DeadLetterLimit(LIMIT), windows_s=windows_s),
            outputs,
            StateStore(outputs, encoders, topic=TOPIC, partition=0, epoch=epoch, life=life),
            decoder=self.registry.decoder(RawFrames),
            venue="BINANCE",
            topic=TOPIC,
            partition=0,
            limit=limit or DeadLetterLimit(LIMIT),
            takes_unknown_ids=takes_unknown_ids,
            now_us=lambda: self.now_us - self.set_back_us,
            steady_us=lambda: self.now_us,
        )
        self.worker.resume(loaded or Loaded(), written)

    def step(self, offset: int, value: bytes) -> None:
        self.worker.step(offset, value, 7_000_000)

    def run(self, log: list[bytes]) -> None:
        """Process a log from its start."""
        for offset, value in enumerate(log):
            self.step(offset, value)

    def of(self, shape: Any, topic: Topic) -> list[Any]:
        decoder = self.registry.decoder(shape)
        return [decoder.decode(value) for name, _, _, value, *_ in self.publisher.sent if name == topic.name]

    def written(self, cut: float = 1.0) -> list[tuple[str, bytes]]:
        """List the (topic, source) of what was sent, of each output only this share."""
        sent = [(name, headers[0][1]) for name, _, _, _, headers, *_ in self.publisher.sent if headers]
        topics = {name: [each for each in sent if each[0] == name] for name, _ in sent}
        return [each for mine in topics.values() for each in mine[: round(len(mine) * cut)]]

    def saved(self, *before: "Owner") -> Loaded:
        """Write the state, and choose what a next owner would load after these."""
        captured = self.worker.capture()
        while self.worker.write_pieces(captured, 0.0):
            pass
        self.worker.write_head(captured)
        return choose(state for owner in (*before, self) for state in owner.states())

    def states(self) -> list[tuple[int, State]]:
        keys = [key for name, _, key, *_ in self.publisher.sent if name == STATE.name]
        return [(int(key.split(b"|")[3]), state) for key, state in zip(keys, self.of(State, STATE), strict=True)]


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


@pytest.mark.parametrize("bad", [b"", b"garbage", b"\x00\x00\x00\x00\x01", b"\x01\x00\x00\x00\x01"])
def test_what_cannot_be_decoded_is_a_dead_letter_with_its_place(owner: Owner, values: list[bytes], bad: bytes) -> None:
    for offset, value in enumerate([values[0], bad, values[1]]):
        owner.step(offset, value)
    (letter,) = owner.of(DeadLetter, DEAD_PROCESSOR)

    assert (letter.payload, letter.source_offset, letter.event_time_us) == (bad, 1, 7_000_000)
    assert len(owner.of(Tick, TICK)) == 1


def test_so_many_bad_records_in_a_row_end_the_process(owner: Owner, values: list[bytes]) -> None:
    for offset, value in enumerate([values[0], b"bad", b"bad", values[1], b"bad", b"bad"]):
        owner.step(offset, value)

    with pytest.raises(
        UserError, match=rf"{LIMIT} frames in a row .*processor.dead_letter_limit.* raw\.binance:0 offset 6"
    ):
        owner.step(6, b"bad")


def test_so_many_bad_frames_in_a_row_end_the_process(owner: Owner, new_run: Any) -> None:
    feed = new_run("spot").feed
    frames = [feed.frame(b"x"), feed.frame(b"", "CLOCK"), feed.frame(b"x"), feed.frame(b"x")]

    with pytest.raises(UserError, match=f"{LIMIT} frames in a row"):
        owner.step(0, Encoder(RawFrames, SCHEMA_ID).encode(feed.record(*frames)))


def poisoned(values: list[bytes]) -> list[bytes]:
    """A list, then good and bad in turn."""
    return [values[0], *(each for value in values[1:] for each in (value, b"bad"))]


def test_good_frames_between_do_not_let_a_topic_be_emptied(values: list[bytes]) -> None:
    owner = Owner(limit=DeadLetterLimit(100, 0.5, 8))
    log = poisoned(values)
    with pytest.raises(UserError, match=r"4 of 7 frames .*processor.dead_letter_share"):
        owner.run(log)

    assert len(owner.of(DeadLetter, DEAD_PROCESSOR)) == 4


def test_started_again_it_stops_at_the_next_bad_frame_and_makes_no_more_dead_letters(values: list[bytes]) -> None:
    limit = DeadLetterLimit(100, 0.5, 8)
    log = [*poisoned(values), *[b"bad"] * 9]
    owner = Owner(limit=limit)
    with pytest.raises(UserError):
        owner.run(log)
    saved, first = owner.saved(), owner.worker.next_offset
    for _ in range(3):
        again = Owner(saved, limit=limit)
        with pytest.raises(UserError, match=" of "):
            again.run(log)

        assert again.of(DeadLetter, DEAD_PROCESSOR) == []
        assert first <= again.worker.next_offset  # the record that it stopped at is still to come
        assert log[again.worker._expected_offset or 0] == b"bad"


def test_a_raised_limit_lets_it_go_on(values: list[bytes]) -> None:
    owner = Owner(limit=DeadLetterLimit(2))
    log = [b"bad", b"bad", b"bad", values[0], values[1]]
    with pytest.raises(UserError):
        owner.run(log)
    again = Owner(owner.saved(), limit=DeadLetterLimit(10))
    for offset, value in enumerate(log):
        again.step(offset, value)

    assert len(again.of(DeadLetter, DEAD_PROCESSOR)) == 1
    assert len(again.of(Tick, TICK)) == 1


def test_a_version_that_can_use_what_came_goes_on_by_itself(values: list[bytes]) -> None:
    owner = Owner(limit=DeadLetterLimit(2))
    with pytest.raises(UserError):
        owner.run([values[0], b"bad", b"bad"])
    again = Owner(owner.saved(), limit=DeadLetterLimit(2))
    again.step(3, values[1])
    again.step(4, b"bad")

    assert len(again.of(Tick, TICK)) == 1


def test_an_unknown_schema_id_ends_the_process_and_is_not_passed_over(owner: Owner, values: list[bytes]) -> None:
    owner.step(0, values[0])
    with pytest.raises(
        UserError, match=r"raw\.binance:0 offset 1: schema id 9 .*deploy.*raw\.binance-value.*unknown_id"
    ):
        owner.step(1, UNKNOWN_ID.to_bytes(5, "big") + b"x")

    assert owner.of(DeadLetter, DEAD_PROCESSOR) == []
    assert owner.worker.capture().next_offset == 1


def test_an_unknown_schema_id_is_a_dead_letter_where_that_is_set(values: list[bytes]) -> None:
    owner = Owner(takes_unknown_ids=True)
    for offset, value in enumerate([values[0], UNKNOWN_ID.to_bytes(5, "big") + b"x", values[1]]):
        owner.step(offset, value)

    assert len(owner.of(DeadLetter, DEAD_PROCESSOR)) == len(owner.of(Tick, TICK)) == 1


def test_a_record_that_raises_is_still_to_come_for_the_next_owner(
    owner: Owner, values: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.step(0, values[0])
    owner.saved()
    owner.step(1, values[1])
    monkeypatch.setattr(owner.worker.outputs, "send", lambda _batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        owner.step(2, values[2])

    assert owner.worker.next_offset == 1  # what the pipeline knows of the record must not be kept


def test_metrics_have_the_names_that_dashboards_expect(owner: Owner, values: list[bytes]) -> None:
    labels = {"venue": "BINANCE", "symbol": "BTC/USDT", "asset_class": "CRYPTO"}
    latency = {"venue": "BINANCE", "asset_class": "CRYPTO"}
    ticks, observed = sample("ingestion_ticks_total", **labels), sample("ingestion_latency_seconds_count", **latency)
    for offset, value in enumerate(values):
        owner.step(offset, value)

    assert sample("ingestion_ticks_total", **labels) - ticks == 6
    assert sample("ingestion_latency_seconds_count", **latency) - observed == 6


def test_the_offset_of_clocks_is_kept_apart_from_jitter(owner: Owner, values: list[bytes], new_run: Any) -> None:
    feed, encoder = new_run("spot").feed, Encoder(RawFrames, SCHEMA_ID)
    jitter_s = sample("network_jitter_seconds_sum", venue="BINANCE")
    owner.step(0, values[0])
    for number, ahead_ms in enumerate((1500, 1450), 1):
        time_ms = feed.recv_time_us // 1000 + 1 + ahead_ms
        owner.step(number, encoder.encode(feed.record(feed.message(TRADE, t=number, T=time_ms))))

    assert owner.worker.clock_offset.offset_us == -1_500_000
    assert sample("network_jitter_seconds_sum", venue="BINANCE") - jitter_s == pytest.approx(0.05, abs=1e-4)


def test_each_tick_of_a_record_is_observed(owner: Owner, values: list[bytes], new_run: Any) -> None:
    feed, encoder = new_run("spot").feed, Encoder(RawFrames, SCHEMA_ID)
    owner.step(0, values[0])
    names = [f"{each}_latency_seconds_count" for each in ("ingestion", "network")]
    before = [sample(each, venue="BINANCE", asset_class="CRYPTO") for each in names]
    jitters, jitter_s = (sample(f"network_jitter_seconds_{each}", venue="BINANCE") for each in ("count", "sum"))
    ways_ms, first_ms = [-1470, -1480, -1475, -1460, -1480, -1430], feed.recv_time_us // 1000
    frames = [
        feed.message(TRADE, t=1 + number, T=first_ms + 1 + number - way_ms) for number, way_ms in enumerate(ways_ms)
    ]
    owner.step(1, encoder.encode(feed.record(*frames)))

    assert [sample(each, venue="BINANCE", asset_class="CRYPTO") for each in names] == [each + 6 for each in before]
    assert owner.worker.clock_offset.offset_us == -1_480_000
    assert sample("network_jitter_seconds_count", venue="BINANCE") - jitters == 6
    told_s = sample("network_jitter_seconds_sum", venue="BINANCE") - jitter_s
    assert told_s == pytest.approx(sum(each + 1480 for each in ways_ms) / 1000, abs=1e-4)


def test_each_flag_of_a_tick_is_counted(owner: Owner, values: list[bytes], new_run: Any) -> None:
    feed, encoder = new_run("spot").feed, Encoder(RawFrames, SCHEMA_ID)
    ahead_us = (feed.recv_time_us + 3_600_000_000) // 1000
    wrong = [feed.message("btcusdt@bookTicker", b="100.0", a="99.0"), feed.message(TRADE, t=1, T=ahead_us)]
    before = [sample("ticks_flagged_total", venue="BINANCE", flag=flag) for flag in ("CROSSED", "CLOCK_STEP")]

    owner.run([values[0], encoder.encode(feed.record(*wrong))])

    after = [sample("ticks_flagged_total", venue="BINANCE", flag=flag) for flag in ("CROSSED", "CLOCK_STEP")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1.0, 1.0]


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


def found(sent: list[tuple[str, bytes]]) -> Marks:
    """What a search of the outputs finds of this partition."""
    written = Written(marks={(TOPIC, 0): {}})
    for name, source in sent:
        written.note(name, source)
    return written.marks[TOPIC, 0]


@pytest.fixture(scope="module")
def mixed(new_run: Any) -> list[bytes]:
    """Raw records that give bars, features, ticks, depth, quality events, dead letters and commands."""
    feed, encoder = new_run("spot").feed, Encoder(RawFrames, SCHEMA_ID)
    frames = [[feed.frame(LISTING, "INSTRUMENTS")]]
    for number in range(1, 20):
        frames.append([feed.frame(b"", "CLOCK", after_us=9_000_000)])
        trade = feed.message(TRADE, t=number, T=feed.recv_time_us // 1000)
        frames[-1] += [trade, feed.message("btcusdt@depth@100ms", U=number, u=number)]
        if number % 7 == 3:
            frames[-1] += [feed.snapshot(number, [["1.0", "1"]]), feed.frame(b"", "DISCONNECT")]
        if number % 5 == 1:
            frames[-1] += [feed.frame(b"?"), feed.message(TRADE, t=number + 30), feed.message(TRADE, t=number + 31)]
    return [encoder.encode(feed.record(*each)) for each in frames]


@hypothesis_settings(max_examples=40)
@given(st.integers(0, 18), st.integers(0, 19), st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_wherever_owners_end_topics_hold_each_record_once(
    mixed: list[bytes], snapshot: int, crash: int, cuts: list[float]
) -> None:
    """Each output is cut at another id, twice in a row; the second owner ends after its first snapshot."""
    whole, first = Owner(), Owner()
    for offset, value in enumerate(mixed):
        whole.step(offset, value)
    for offset, value in enumerate(mixed[:snapshot]):
        first.step(offset, value)
    loaded, counted = first.saved(), first.written()
    for offset, value in enumerate(mixed[:crash]):
        first.step(offset, value)
    held = counted + [each for each in first.written(cuts[0]) if each not in counted]
    second = Owner(loaded, found(held))
    reloaded = second.saved(first)
    for offset, value in enumerate(mixed[:crash]):
        second.step(offset, value)
    after = second.written(cuts[1])
    third = Owner(reloaded, found(after))
    for offset, value in enumerate(mixed):
        third.step(offset, value)
    topics = held + after + third.written()

    assert len(topics) == len(set(topics))
    assert set(topics) == set(whole.written())
    assert not third.worker.written


@hypothesis_settings(max_examples=20)
@given(crash=st.integers(0, 19), cut=st.floats(0, 1), has_features=st.booleans())
def test_an_owner_with_other_stages_goes_on_where_the_one_before_had_come(
    mixed: list[bytes], crash: int, cut: float, *, has_features: bool
) -> None:
    """Features are switched on, or off, after a crash in the middle of a raw record's output."""
    before, after = ((), (1, 60)) if has_features else ((1, 60), ())
    whole, first = Owner(), Owner(windows_s=before)
    whole.run(mixed)
    first.run(mixed[:crash])
    held = first.written(cut)
    second = Owner(None, found(held), windows_s=after)
    second.run(mixed)
    topics = [each for each in held + second.written() if each[0] != SIGNAL.name]

    assert len(whole.of(Bar, BAR)) > 5
    assert len(topics) == len(set(topics))
    assert set(topics) == set(whole.written())


def test_what_a_program_with_one_range_wrote_a_part_of_is_numbered_as_it_did(new_run: Any) -> None:
    run, kept = new_run("spot"), {}
    run.take(run.feed.message(TRADE, t=1, T=run.feed.recv_time_us // 1000))
    run.capture(kept)
    head = msgpack.decode(kept[HEAD][0])
    resumed = new_run("spot").pipeline
    run.resume(kept | {HEAD: [msgpack.encode([4, *head[1:]])]}, resumed)
    resumed.follow_written(run.offset)
    for number in (2, 3):
        clocks = [run.feed.frame(b"", "CLOCK", after_us=9_000_000) for _ in range(8)]
        trade = run.feed.message(TRADE, t=number, T=run.feed.recv_time_us // 1000)
        run.take(*clocks, trade, run.feed.frame(b"", "CLOCK"))

    first, second = ([each for each in run.records if each.source_offset == offset] for offset in (1, 2))
    assert [each.source_index for each in first] == list(range(len(first)))
    assert [type(each) for each in first].index(Bar) < [type(each) for each in first].index(Tick)
    assert [each.source_index for each in second if isinstance(each, Tick)] == [0]
    assert next(each.source_index for each in second if isinstance(each, Bar)) == BARS_FROM


def test_commands_of_records_that_were_written_are_not_sent_again() -> None:
    """Those of the last one may not have been sent: they are, again."""
    silence, kept = Silence({TICK.name: (4, 0), DEAD_PROCESSOR.name: (5, 3)}), []
    command = ControlCommand(
        event_time_us=0, venue="BINANCE", market="spot", venue_symbol="BTCUSDT", command="SNAPSHOT", reason=""
    )
    for offset in (3, 4, 5, 6):
        batch = Batch("BINANCE", TOPIC, 0, offset, 0, commands=[command])
        kept += [offset] * len(silence.rest(batch).commands)

    assert kept == [5, 6]


def test_what_is_left_out_is_counted_and_not_as_ticks(values: list[bytes]) -> None:
    labels = {"venue": "BINANCE", "symbol": "BTC/USDT", "asset_class": "CRYPTO"}
    ticks, left_out = sample("ingestion_ticks_total", **labels), sample("stage_left_out_total", stage="process")
    owner = Owner(None, {TICK.name: (4, 0)})
    for offset, value in enumerate(values):
        owner.step(offset, value)

    assert sample("ingestion_ticks_total", **labels) - ticks == 2
    assert sample("stage_left_out_total", stage="process") - left_out == 4


def test_a_head_tells_ends_that_no_later_record_is_below(owner: Owner, values: list[bytes]) -> None:
    for offset in (0, 1):
        owner.step(offset, values[offset])
    undelivered = outputs_of(owner.saved())
    owner.publisher.deliver()
    owner.step(2, values[2])
    delivered = outputs_of(owner.saved())
    owner.publisher.is_repeating = True
    owner.publisher.deliver()
    unknown = outputs_of(owner.saved())

    assert undelivered is not None
    assert delivered is not None
    assert unknown is not None
    assert undelivered.ends == {topic.name: 100 for topic in CLEANED}
    assert delivered.ends[TICK.name] == 1002  # the instrument, the tick, then pieces and head
    assert delivered.ends["cleaned.depth"] == 100
    assert unknown.ends[TICK.name] == 100


def test_a_worker_waits_for_its_snapshot_when_its_time_is_over(owner: Owner) -> None:
    owner.worker.stands(owner.worker.capture())
    owner.saved()
    owner.now_us = LEASE_US
    in_time = owner.worker.is_over
    owner.now_us += 1
    too_late = owner.worker.is_over
    owner.worker.stands(owner.worker.capture())

    assert (in_time, too_late, owner.worker.is_over) == (False, True, False)


def test_a_clock_that_is_set_back_does_not_lengthen_the_time_an_owner_has(owner: Owner) -> None:
    owner.worker.stands(owner.worker.capture())
    owner.saved()
    owner.set_back_us = 3_600_000_000
    owner.now_us = LEASE_US + 1

    assert (owner.worker.is_due, owner.worker.is_over) == (True, True)


def test_a_quiet_partition_renews_its_time_well_before_it_is_over(owner: Owner) -> None:
    owner.worker.stands(owner.worker.capture())
    at_once = owner.worker.is_due
    owner.now_us = LEASE_US // 2

    assert (at_once, owner.worker.is_due) == (False, True)


def test_an_owner_that_ended_before_it_processed_anything_left_where_to_look(values: list[bytes]) -> None:
    opened = Owner().saved()
    heir = Owner(opened, {TICK.name: (2, 0)})
    for offset, value in enumerate(values, 7):  # what retention has left
        heir.step(offset, value)

    assert opened.next_offset == 0
    assert outputs_of(opened) is not None
    assert len(heir.of(Tick, TICK)) == 6


def test_state_of_a_program_that_kept_no_ends_is_gone_on_from(values: list[bytes]) -> None:
    first = Owner()
    for offset, value in enumerate(values[:3]):
        first.step(offset, value)
    saved = first.saved()
    old = Loaded(saved.next_offset, saved.pieces | {"": (first.worker.pipeline.head(),)}, saved.places)
    heir = Owner(old)
    heir.step(3, values[3])

    assert outputs_of(old) is None
    assert [each.sequence_id for each in heir.of(Tick, TICK)] == [3]


def test_silence_ends_once_all_is_passed() -> None:
    silence = Silence(highest({TICK.name: (5, 1)}, {TICK.name: (4, 9)}))
    before = bool(silence)
    for offset in (4, 5):
        silence.rest(Batch("BINANCE", TOPIC, 0, offset, 0))

    assert before
    assert not silence


def test_sources_of_other_partitions_are_not_taken_for_ours() -> None:
    written = Written(marks={(TOPIC, 0): {}})
    for source in (b"raw.binance:0:7:2", b"raw.binance:0:7:10", b"raw.binance:1:9:0", b"raw.okx:0:9:0"):
        written.note(TICK.name, source)

    assert written.marks == {(TOPIC, 0): {TICK.name: (7, 10)}}
    assert written.read_records == 4


def heir_of(owner: Owner, *, life: str, first: int = 0, end: int = 1000) -> Owner:
    """Start a next owner as the application does, of a raw topic of a life that is kept from an offset on."""
    loaded = owner.saved()
    heir = Owner(loaded, life=life, epoch=loaded.newest_epoch + 1)
    heir.worker.start(find_start(loaded, Log(name=TOPIC, life=life, first=first, end=end)), {})
    return heir


def test_a_topic_made_anew_is_processed_from_its_start_and_its_records_are_no_repeats(values: list[bytes]) -> None:
    before = Owner(life="first")
    before.run(values[:4])
    after = heir_of(before, life="second")
    state = after.saved(before)
    after.run(values[4:])

    ticks = before.of(Tick, TICK) + after.of(Tick, TICK)
    assert [each.sequence_id for each in ticks] == list(range(1, len(values)))
    assert [each.source_topic for each in ticks] == [f"{TOPIC}@first"] * 3 + [f"{TOPIC}@second"] * (len(values) - 4)
    assert after.written()[-1][1] == f"{TOPIC}@second:0:{len(values) - 5}:0".encode()
    assert [(each.kind, each.from_sequence) for each in after.of(QualityEvent, QUALITY)] == [("RAW_LOSS", 0)]
    assert (state.life, state.next_offset) == ("second", 0)


def test_before_the_first_snapshot_of_the_new_life_the_state_is_that_of_the_old(values: list[bytes]) -> None:
    before = Owner(life="first")
    before.run(values[:4])
    after = heir_of(before, life="second")
    captured = after.worker.capture()
    while after.worker.write_pieces(captured, 0.0):
        pass

    found, wanted = choose(state for owner in (before, after) for state in owner.states()), before.saved()
    assert (found.next_offset, found.pieces, found.life) == (wanted.next_offset, wanted.pieces, "first")


def test_state_that_names_no_life_is_gone_on_from_and_written_whole_once(values: list[bytes]) -> None:
    before = Owner()
    before.run(values[:4])
    after = heir_of(before, life="first")
    state = after.saved(before)

    assert (state.life, state.next_offset, set(state.pieces)) == ("first", 4, set(before.saved().pieces))


def test_what_was_not_kept_is_told_once_whoever_processes_the_next_record(values: list[bytes]) -> None:
    before = Owner(life="first")
    before.run(values[:4])
    between = heir_of(before, life="first", first=6)
    after = Owner(between.saved(before), life="first")
    for offset in (6, 7):
        after.step(offset, values[offset - 1])

    (loss,) = [each for each in after.of(QualityEvent, QUALITY) if each.kind == "RAW_LOSS"]
    assert (loss.from_sequence, loss.to_sequence, loss.count) == (4, 5, 2)
    assert (loss.source_offset, loss.source_index) == (6, 0)
    assert len({(each.source_offset, each.source_index) for each in after.of(Tick, TICK)}) == 2


def test_offsets_that_go_back_are_noticed(values: list[bytes]) -> None:
    owner = Owner()
    owner.run(values[:3])
    assert not owner.worker.went_back

    owner.step(0, values[0])

    assert owner.worker.went_back
