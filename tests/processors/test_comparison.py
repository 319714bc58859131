"""The second stage: ticks of several venues in, DIVERGENCE of each minute out, the same wherever it goes on."""

import time
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

import tickerplant
from processors.compare import GROUP, Stage, metadata_of
from processors.comparison import Comparison
from processors.divergence import Band
from schemas.records import QualityEvent, Tick
from schemas.topics import QUALITY, TICK
from tickerplant.errors import UserError
from tickerplant.kafka import Publisher, TopicPartition, consumer, create_topics, source_name
from tickerplant.registry import Registry
from tickerplant.settings import Settings

START_S = 1_795_910_400  # 2026-11-29T00:00 UTC
US = 1_000_000
VENUES = ("BINANCE", "BYBIT", "KRAKEN", "OKX")
TOPIC = "cleaned.tick@life"


def quote(at_s: float, venue: str, mid: float, symbol: str = "BTC/USDT") -> Tick:
    time_us = round((START_S + at_s) * US)
    return Tick(
        event_time_us=time_us,
        exchange_time_us=time_us,
        recv_time_us=time_us,
        venue=venue,
        symbol=symbol,
        asset_class="CRYPTO",
        kind="QUOTE",
        price=mid,
        quantity=0.0,
        bid=mid - 0.01,
        ask=mid + 0.01,
        sequence_id=1,
    )


def play(ticks: Iterable[Tick], first: int = 0, told: int = -1) -> tuple[list[QualityEvent], Comparison]:
    comparison, events = Comparison(TOPIC, 2, Band(), told), []
    for offset, tick in enumerate(ticks):
        if offset >= first:
            events += comparison.take(offset, tick)
    return events, comparison


def minutes(seconds: int, **apart: Any) -> list[Tick]:
    """Quote at all venues each second; `apart`: venue → (from, to, mid)."""
    found = []
    for at_s in range(seconds):
        for place, venue in enumerate(VENUES):
            first, end, mid = apart.get(venue, (0, 0, 0.0))
            found.append(quote(at_s + place / 10, venue, mid if first <= at_s < end else 100.0))
    return found


def told(events: list[QualityEvent]) -> list[tuple[str, int]]:
    return [(each.venue, each.count) for each in events]


def test_a_venue_that_leaves_the_others_is_told_once_a_minute_with_how_long_and_how_far() -> None:
    events, _ = play(minutes(200, OKX=(70, 130, 101.0)))

    assert told(events) == [("OKX", 50), ("OKX", 10)]
    assert (events[0].symbol, events[0].kind, events[0].channel) == ("BTC/USDT", "DIVERGENCE", "quote")
    assert events[0].detail == "+99.5 bps from the median of 4 venues, band 10.0 bps"
    assert (events[0].source_topic, events[0].source_partition, events[0].source_index) == (TOPIC, 2, 0)
    assert events[0].source_offset == 120 * len(VENUES)


def test_what_is_shorter_than_the_patience_is_told_by_nobody_also_across_a_minute() -> None:
    short, _ = play(minutes(200, OKX=(119, 121, 101.0)))
    across, _ = play(minutes(200, OKX=(118, 121, 101.0)))

    assert told(short) == []
    assert told(across) == [("OKX", 1)]


def test_of_two_venues_both_are_told() -> None:
    ticks = [quote(at_s, venue, 100.0 + place) for at_s in range(150) for place, venue in enumerate(VENUES[:2])]

    assert told(play(ticks)[0]) == [("BINANCE", 60), ("BYBIT", 60)]


def test_a_venue_that_fell_silent_is_left_out() -> None:
    ticks = minutes(200, OKX=(70, 71, 101.0))

    assert told(play([each for each in ticks if each.venue != "OKX" or each.price == 101.0])[0]) == [("OKX", 11)]


def test_one_tick_of_a_wrong_time_moves_nothing() -> None:
    ticks = minutes(200, OKX=(70, 130, 101.0))
    wrong = [*ticks[:400], quote(7200, "KRAKEN", 100.0), *ticks[400:]]

    assert told(play(wrong)[0]) == [("OKX", 50), ("OKX", 10)]


def test_trades_that_were_restored_move_no_time() -> None:
    ticks = minutes(200, OKX=(70, 130, 101.0))
    page = [
        msgspec.structs.replace(quote(30 + number / 100, "KRAKEN", 100.0), kind="TRADE", flags="BACKFILL")
        for number in range(50)
    ]

    assert told(play([*ticks[:400], *page, *ticks[400:]])[0]) == [("OKX", 50), ("OKX", 10)]


def test_a_quote_that_is_told_long_after_its_time_is_compared_with_nothing() -> None:
    ticks = minutes(200)
    late = [quote(at_s - 40, "OKX", 150.0) for at_s in range(70, 130)]
    mixed = [*ticks[: 70 * len(VENUES)]]
    for each, at_s in zip(late, range(70, 130), strict=True):
        mixed += [*ticks[at_s * len(VENUES) : (at_s + 1) * len(VENUES)], each]
    mixed += ticks[130 * len(VENUES) :]

    assert told(play(mixed)[0]) == []


def test_a_minute_that_was_not_seen_whole_is_not_told() -> None:
    ticks = minutes(200, OKX=(0, 200, 101.0))

    assert told(play(ticks)[0]) == [("OKX", 60), ("OKX", 60)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0.3, 1, 1, 2, 5, 15, 40]),
        st.sampled_from(VENUES),
        st.sampled_from([100.0, 100.0, 100.02, 101.0]),
        st.sampled_from(["BTC/USDT", "ETH/USDT"]),
    ),
    min_size=20,
    max_size=120,
)


@settings(max_examples=50)
@given(steps=STEPS)
def test_who_goes_on_from_where_it_may_tells_what_follows_and_no_other(
    steps: list[tuple[float, str, float, str]],
) -> None:
    now_s, ticks = 0.0, []
    for after_s, venue, mid, symbol in steps:
        now_s += after_s
        ticks.append(quote(now_s, venue, mid, symbol))
    whole, _ = play(ticks)
    comparison, before = Comparison(TOPIC, 2, Band()), 0
    for offset, tick in enumerate(ticks):
        before += len(comparison.take(offset, tick))
        if comparison.resume is not None:
            assert play(ticks, *comparison.resume)[0] == whole[before:]


# On Kafka


@pytest.fixture
def alone(stack: Settings) -> Settings:
    """Settings with topics of our own."""
    own = stack.kafka.model_copy(update={"topic_suffix": ".compare", "partitions": 1})
    found = stack.model_copy(update={"kafka": own})
    create_topics(found, [TICK, QUALITY])
    return found


def reach(stage: Stage, *, minute: int) -> None:
    """Let a stage take in ticks until it has seen a minute of the start end."""
    deadline_s = time.monotonic() + 60
    while not (stage.comparisons[0].resume and stage.comparisons[0].resume.told_offset >= minute * 60 * len(VENUES)):
        assert time.monotonic() < deadline_s
        stage.turn()


def lag_records() -> float | None:
    labels = {"stage": "compare", "topic": "cleaned.tick.compare", "partition": "0"}
    return REGISTRY.get_sample_value("stage_lag_records", labels)


@pytest.mark.stack
def test_owners_that_end_anyhow_tell_each_minute_once(alone: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = minutes(310, OKX=(70, 250, 101.0), KRAKEN=(130, 290, 99.0))
    publisher, encoder = Publisher(alone), Registry(alone).encoder(TICK, Tick)

    def write(first_s: int, end_s: int) -> None:
        for tick in ticks[first_s * len(VENUES) : end_s * len(VENUES)]:
            publisher.send(TICK.name, 0, b"", encoder.encode(tick))
        publisher.flush()

    with closing(Stage(alone)) as first:  # begins at the end of what is there: nothing
        write(0, 190)
        reach(first, minute=2)
        assert lag_records() == 0
    with closing(Stage(alone)) as second, monkeypatch.context() as patched:
        patched.setattr(Stage, "_keep", lambda *_: None)  # it ends before it keeps where it is
        write(190, 250)
        reach(second, minute=4)
    with closing(Stage(alone)) as third:
        write(250, 310)
        reach(third, minute=5)
    with tickerplant.subscribe("quality.event", settings=alone, from_="earliest", follow=False) as told:
        events = list(told)
    assert lag_records() is None

    source = source_name(alone, TICK.name)
    whole, _ = play(ticks)
    assert [(each.source_offset, each.source_index, each.venue, each.count) for each in events] == [
        (each.source_offset, each.source_index, each.venue, each.count) for each in whole
    ]
    assert {each.source_topic for each in events} == {source}
    assert told.repeats == 0
    assert len(events) == len(whole) > 2
    with closing(consumer(alone, GROUP + ".compare")) as client:
        place = TopicPartition(TICK.name + ".compare", 0, 5, metadata_of(0, 0).replace(":", "?"))
        client.commit(offsets=[place], asynchronous=False)
    with pytest.raises(UserError, match="somebody else's"):
        Stage(alone)
