"""`tickerplant.subscribe` on real Kafka: typed, filtered, from anywhere, each record once, sync and async."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

import tickerplant
from schemas.records import Instrument, RawFrames, Tick
from schemas.topics import INSTRUMENT, TICK, catalogue, raw_topic
from tickerplant import subscription
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import Publisher, TopicPartition, consumer, create_topics, delete_topics
from tickerplant.registry import Registry
from tickerplant.settings import Kafka, Settings
from tickerplant.subscription import find_topic, start_of, subscribe

MIDNIGHT_US = 1_795_219_200_000_000  # 2026-11-21; like all that is taken in, before it is written
Write = Callable[..., None]


def test_the_package_offers_it() -> None:
    assert tickerplant.subscribe is subscribe
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        tickerplant.absent  # type: ignore[attr-defined]  # noqa: B018


def test_starts_are_ends_or_times() -> None:
    assert start_of("latest") == "latest"
    assert start_of("earliest") == "earliest"
    assert start_of(MIDNIGHT_US) == MIDNIGHT_US
    assert start_of("2026-11-21T00:00:00Z") == MIDNIGHT_US
    assert start_of(datetime(2026, 11, 21, tzinfo=UTC)) == MIDNIGHT_US


@pytest.mark.parametrize(
    ("start", "why"),
    [
        ("noon", "is no time"),
        ("2026-11-21T00:00:00", "names no time zone"),
        (MIDNIGHT_US // 1_000_000, "is it in s or ms"),
        (MIDNIGHT_US // 1000, "is it in s or ms"),
        (-1, "is it in s or ms"),
        (1.5, "is no time"),
    ],
)
def test_a_start_that_is_no_time_is_one_line(start: Any, why: str) -> None:
    with pytest.raises(UserError, match=why):
        start_of(start)


@pytest.mark.parametrize(
    ("topic", "options", "why"),
    [
        ("raw.binance", {"symbols": ["BTC/USDT"]}, "records of raw.binance have no symbol"),
        ("dlq.sink", {"symbols": ["BTC/USDT"]}, "records of dlq.sink have no symbol"),
        ("state.processor", {"venue": "binance"}, "records of state.processor have no venue"),
        ("cleaned.tick", {"group": " "}, "group ' ' cannot be yours"),
        ("cleaned.tick", {"group": "tickerplant.sink.parquet"}, "cannot be yours: .* begin with tickerplant"),
    ],
)
def test_what_could_never_come_or_be_kept_is_one_line(topic: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        subscribe(topic, settings=Settings(), **options)


def test_an_unknown_topic_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"topic cleaned\.tik is not known; known: .*cleaned\.tick"):
        find_topic("cleaned.tik")


def test_nobody_there_is_one_line() -> None:
    with pytest.raises(DependencyError, match="kafka"):
        subscribe("cleaned.tick", settings=Settings(kafka=Kafka(bootstrap_servers="127.0.0.1:1")))


def test_settings_are_read_from_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no settings file at"):
        subscribe("cleaned.tick", settings=tmp_path / "absent.toml")


@pytest.fixture
def own(stack: Settings) -> Settings:
    """Settings of topics that this test alone has, with two partitions."""
    kafka = stack.kafka.model_copy(update={"topic_suffix": f".sub-{uuid4().hex[:8]}", "partitions": 2})
    settings = stack.model_copy(update={"kafka": kafka})
    create_topics(settings, catalogue(["BINANCE"]))
    return settings


@pytest.fixture
def write(own: Settings) -> Write:
    """Writes ticks (symbol, offset of their source) to a partition of cleaned.tick, as a processor does."""
    registry, publisher = Registry(own), Publisher(own)
    encoder = registry.encoder(TICK, Tick)

    def publish(ticks: Iterable[tuple[str, int]], *, partition: int = 0, venue: str = "BINANCE") -> None:
        for symbol, offset in ticks:
            record = make_tick(venue, symbol, offset)
            headers = [("source", f"raw.{venue.lower()}:{partition}:{offset}:0".encode())]
            publisher.send(TICK.name, partition, f"{venue}|{symbol}".encode(), encoder.encode(record), headers)  # type: ignore[arg-type]
        assert publisher.flush() == 0

    return publish


def make_tick(venue: str, symbol: str, offset: int) -> Tick:
    return Tick(
        event_time_us=MIDNIGHT_US + offset,
        venue=venue,
        symbol=symbol,
        asset_class="CRYPTO",
        kind="TRADE",
        price=1.0,
        quantity=1.0,
        sequence_id=offset,
        source_topic=f"raw.{venue.lower()}",
        source_offset=offset,
    )


def ids(records: Iterable[Tick]) -> list[int]:
    return [each.sequence_id for each in records]


def ended(own: Settings, **options: Any) -> list[int]:
    """Ids of what a subscription to ticks gives up to the end there is now."""
    with subscribe("cleaned.tick", settings=own, follow=False, **options) as ticks:
        return ids(ticks)


def expire(own: Settings, offset: int) -> None:
    """Delete the ticks of partition 0 below an offset."""
    gone = TopicPartition(TICK.name + own.kafka.topic_suffix, 0, offset)
    admin = AdminClient({"bootstrap.servers": own.kafka.bootstrap_servers})  # held: its end would cancel the request
    admin.delete_records([gone])[gone].result(30)


@pytest.mark.stack
def test_records_come_typed_and_in_order(own: Settings, write: Write) -> None:
    write(("BTC/USDT", offset) for offset in range(500))

    with subscribe("cleaned.tick", settings=own, from_="earliest", follow=False) as ticks:
        found = list(ticks)

    assert found == [make_tick("BINANCE", "BTC/USDT", offset) for offset in range(500)]


@pytest.mark.stack
def test_only_wanted_venues_and_symbols_come(own: Settings, write: Write) -> None:
    write([("BTC/USDT", 1), ("ETH/USDT", 2), ("SOL/USDT", 3)])
    write([("BTC/USDT", 4)], partition=1, venue="OKX")

    assert ended(own, from_="earliest", symbols=["BTC/USDT", "SOL/USDT"], venue="binance") == [1, 3]
    assert ended(own, from_="earliest", symbols="BTC/USDT", venue="OKX") == [4]


@pytest.mark.stack
def test_latest_is_all_that_is_written_after_subscribing(own: Settings, write: Write) -> None:
    write([("BTC/USDT", 1)])
    with subscribe("cleaned.tick", settings=own) as ticks:
        write([("BTC/USDT", 2), ("BTC/USDT", 3)])

        assert [next(ticks).sequence_id, next(ticks).sequence_id] == [2, 3]


@pytest.mark.stack
def test_an_iteration_ends_when_nothing_comes(own: Settings, write: Write) -> None:
    with subscribe("cleaned.tick", settings=own, idle_s=0.2) as ticks:
        assert list(ticks) == []


@pytest.mark.stack
def test_the_end_is_what_was_there_when_subscribing(own: Settings, write: Write) -> None:
    write([("BTC/USDT", 1)])
    with subscribe("cleaned.tick", settings=own, from_="earliest", follow=False) as ticks:
        write([("BTC/USDT", 2)])

        assert ids(ticks) == [1]


@pytest.mark.stack
def test_a_time_is_where_the_data_was_taken_in(own: Settings, write: Write) -> None:
    write(("BTC/USDT", offset) for offset in range(10))

    assert ended(own, from_=MIDNIGHT_US + 7) == [7, 8, 9]
    assert ended(own, from_=datetime(2100, 1, 1, tzinfo=UTC)) == []


@pytest.mark.stack
def test_repeats_of_a_woken_processor_are_dropped(own: Settings, write: Write) -> None:
    write(("BTC/USDT", offset) for offset in (1, 2, 3, 4, 5, 3, 4, 5, 6))
    write([("BTC/USDT", 2)], partition=1)

    with subscribe("cleaned.tick", settings=own, from_="earliest", follow=False) as ticks:
        assert sorted(ids(ticks)) == [1, 2, 2, 3, 4, 5, 6]
        assert ticks.repeats == 3


@pytest.mark.stack
def test_a_group_goes_on_where_it_stopped_even_among_repeats(own: Settings, write: Write) -> None:
    write(("BTC/USDT", offset) for offset in (1, 2, 3))
    assert ended(own, from_="earliest", group="mine") == [1, 2, 3]
    write(("BTC/USDT", offset) for offset in (2, 3, 4))

    assert ended(own, from_="earliest", group="mine") == [4]
    assert ended(own, from_="earliest", group="other") == [1, 2, 3, 4]


@pytest.mark.stack
def test_an_end_is_reached_where_all_that_was_left_to_read_has_expired(own: Settings, write: Write) -> None:
    write(("BTC/USDT", offset) for offset in (1, 2, 3))
    assert ended(own, from_="earliest", group="mine") == [1, 2, 3]
    write(("BTC/USDT", offset) for offset in (4, 5))
    expire(own, 5)

    with subscribe("cleaned.tick", settings=own, follow=False, group="theirs", from_="earliest") as ticks:
        assert (ids(ticks), ticks.lost) == ([], 0)  # it never was to read them
    with subscribe("cleaned.tick", settings=own, follow=False, group="mine") as ticks:
        assert (ids(ticks), ticks.lost) == ([], 2)
    write([("BTC/USDT", 6)])
    assert ended(own, group="mine") == [6]


@pytest.mark.stack
def test_what_expired_before_it_was_read_is_told_with_the_next_record(own: Settings, write: Write) -> None:
    write(("BTC/USDT", offset) for offset in range(3))
    with subscribe("cleaned.tick", settings=own, from_="earliest", group="mine") as ticks:
        assert next(ticks).sequence_id == 0
    write(("BTC/USDT", offset) for offset in range(3, 9))
    expire(own, 7)

    with subscribe("cleaned.tick", settings=own, group="mine") as ticks:
        assert (next(ticks).sequence_id, ticks.lost) == (7, 6)


@pytest.mark.stack
def test_a_position_in_a_topic_that_was_made_anew_since_is_passed_over(own: Settings, write: Write) -> None:
    """As one that is kept at the end of a loop under which the topic was deleted."""
    name = TICK.name + own.kafka.topic_suffix
    write(("BTC/USDT", offset) for offset in range(3))
    with subscribe("cleaned.tick", settings=own, from_="earliest", group="mine") as ticks:
        assert next(ticks).sequence_id == 0
        delete_topics(own, [name])
        create_topics(own, [TICK])
    write(("BTC/USDT", offset) for offset in range(10, 15))

    assert ended(own, from_="earliest", group="mine") == [10, 11, 12, 13, 14]


@pytest.mark.stack
def test_a_topic_that_is_made_anew_while_it_is_read_ends_the_loop_and_is_read_from_its_start_then(
    own: Settings, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new one is longer, its records would come from the middle on."""
    monkeypatch.setattr(subscription, "LIFE_S", 0.0)
    write(("BTC/USDT", offset) for offset in range(3))

    def read_on() -> None:
        with subscribe("cleaned.tick", settings=own, from_="earliest", group="mine", idle_s=60) as ticks:
            assert [next(ticks).sequence_id for _ in range(3)] == [0, 1, 2]
            delete_topics(own, [TICK.name + own.kafka.topic_suffix])
            create_topics(own, [TICK])
            write(("BTC/USDT", offset) for offset in range(10, 20))
            assert next(ticks) is None

    with pytest.raises(UserError, match=r"was deleted and made anew while it was read|Kafka refuses"):
        read_on()

    assert ended(own, group="mine") == list(range(10, 20))


@pytest.mark.stack
def test_what_a_loop_failed_on_comes_again(own: Settings, write: Write) -> None:
    write(("BTC/USDT", offset) for offset in (1, 2, 3))

    def fail_at_two() -> None:
        with subscribe("cleaned.tick", settings=own, from_="earliest", group="mine", follow=False) as ticks:
            for tick in ticks:
                if tick.sequence_id == 2:
                    raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail_at_two()

    assert ended(own, from_="earliest", group="mine") == [2, 3]


@pytest.mark.stack
def test_a_loop_that_is_left_has_finished_with_its_last_record(own: Settings, write: Write) -> None:
    write(("BTC/USDT", offset) for offset in (1, 2, 3))
    with subscribe("cleaned.tick", settings=own, from_="earliest", group="mine") as ticks:
        assert next(ticks).sequence_id == 1

    assert ended(own, group="mine") == [2, 3]


@pytest.mark.stack
async def test_it_serves_asyncio_without_blocking_the_loop(own: Settings, write: Write) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    async with subscribe("cleaned.tick", settings=own, idle_s=2.0) as ticks:
        write([("BTC/USDT", 1), ("BTC/USDT", 2)])
        found = [tick.sequence_id async for tick in ticks]
    turning.cancel()

    assert found == [1, 2]
    assert turns > 100


@pytest.mark.stack
async def test_waits_that_are_given_up_lose_no_record_and_keep_their_order(own: Settings, write: Write) -> None:
    """Each leaves a fetch in a thread; beside another one, it would bring records in another order."""
    write(("BTC/USDT", offset) for offset in range(3000))
    found: list[int] = []
    given_up = 0
    async with subscribe("cleaned.tick", settings=own, from_="earliest", follow=False) as ticks:
        while True:
            try:
                found.append((await asyncio.wait_for(anext(ticks), 0.001)).sequence_id)
            except TimeoutError:
                given_up += 1
            except StopAsyncIteration:
                break

    assert given_up > 0
    assert found == list(range(3000))


@pytest.mark.stack
def test_topics_without_sources_come_as_they_are(own: Settings) -> None:
    frames = RawFrames(venue="BINANCE", event_time_us=MIDNIGHT_US, sources=[], frames=[])
    instrument = Instrument(
        event_time_us=MIDNIGHT_US, venue="BINANCE", market="spot", venue_symbol="BTCUSDT", symbol="BTC/USDT",
        asset_class="CRYPTO", kind="SPOT", base="BTC", quote="USDT",
    )  # fmt: skip
    send(own, raw_topic("BINANCE").name, Registry(own).encoder(raw_topic("BINANCE"), RawFrames).encode(frames))
    send(own, INSTRUMENT.name, Registry(own).encoder(INSTRUMENT, Instrument).encode(instrument))

    with subscribe("raw.binance", settings=own, from_="earliest", follow=False) as raw:
        assert list(raw) == [frames]
    with subscribe("reference.instrument", settings=own, from_="earliest", symbols="BTC/USDT", follow=False) as found:
        assert list(found) == [instrument]


def send(settings: Settings, topic: str, value: bytes) -> None:
    publisher = Publisher(settings)
    publisher.send(topic, 0, b"key", value)
    assert publisher.flush() == 0


@pytest.mark.stack
def test_bytes_that_are_no_record_are_one_line(own: Settings) -> None:
    send(own, TICK.name, b"garbage")

    with (
        subscribe("cleaned.tick", settings=own, from_="earliest", idle_s=5.0) as ticks,
        pytest.raises(UserError, match=r"\[0\] offset 0 cannot be read: magic byte is 103"),
    ):
        next(ticks)


@pytest.mark.stack
def test_positions_of_others_are_not_overwritten(own: Settings, write: Write) -> None:
    write([("BTC/USDT", 1)])
    client = consumer(own, "theirs")  # somebody else's
    client.commit(offsets=[TopicPartition(TICK.name + own.kafka.topic_suffix, 0, 1, "not ours")], asynchronous=False)
    client.close()

    with pytest.raises(UserError, match="group theirs is somebody else's"):
        subscribe("cleaned.tick", settings=own, group="theirs")
