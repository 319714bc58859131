"""What a demo found adds up only where every frame is where it should be, once; what was not seen is not told."""

from collections import Counter
from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from schemas.records import Frame, RawFrames, Source
from tickerplant.demo.reconcile import CleanedCount, RawCount, TopicCounts
from tickerplant.demo.report import WARM_UP_S, Findings, latencies, show
from tickerplant.demo.stores import StoreCount
from tickerplant.top import StageRow, View


def raw(*payloads: bytes, market: str = "spot", kind: str = "MESSAGE") -> RawFrames:
    frames = [
        Frame(source=0, number=number, kind=kind, recv_time_us=1, payload=payload)  # type: ignore[arg-type]
        for number, payload in enumerate(payloads)
    ]
    return RawFrames(venue="BINANCE", event_time_us=1, sources=[Source(market=market, connection="c")], frames=frames)


def framed(channel: str, *, symbol: str = "BTCUSDT", **data: Any) -> bytes:
    return msgspec.json.encode({"stream": f"{symbol.lower()}@{channel}", "data": {"s": symbol, **data}})


def counted(*payloads: bytes, dead: frozenset[bytes] = frozenset()) -> RawCount:
    count = RawCount(dead)
    count.add(raw(*payloads))
    return count


def cleaned(kind: str, records: int, repeats: int = 0) -> CleanedCount:
    count = CleanedCount()
    for offset in [*range(records), *range(repeats)]:
        fields = {"source_partition": 0, "source_offset": offset, "source_index": 0, "recv_time_us": 0}
        count.add(fields, kind, written_time_ms=1)
    return count


def topics(**changes: Any) -> TopicCounts:
    trades = [framed("trade", t=number) for number in range(3)]
    deltas = [framed("depth@100ms", U=number, u=number, b=[], a=[]) for number in range(2)]
    values: dict[str, Any] = {
        "raw": counted(*trades, *deltas),
        "ticks": cleaned("TRADE", 3),
        "depth": cleaned("DELTA", 2),
        "quality": Counter(),
        "duplicates": Counter(),
        "dead_letters": 0,
    }
    return TopicCounts(**values | changes)


def findings(**changes: Any) -> Findings:
    stored = {"tick": StoreCount(3, 3), "depth": StoreCount(2, 2)}
    values: dict[str, Any] = {
        "frames_served": 5,
        "topics": topics(),
        "stored": {"clickhouse": stored, "parquet": dict(stored)},
        "latency_us": {"socket_to_cleaned": {"p50": 1500, "p99": None}},
        "memory_mb": {"process": 100},
        "seconds": 2.0,
    }
    return Findings(**values | changes)


def test_trades_and_updates_are_expected_once_however_often_they_came() -> None:
    once = framed("trade", t=7), framed("aggTrade", a=3), framed("depth@0ms", u=9, b=[], a=[])

    count = counted(*once, *once)

    assert count.frames == 6
    assert (len(count.trades), len(count.aggregates), len(count.deltas)) == (1, 1, 1)
    assert count.by_channel == {"trade": 2, "aggTrade": 2, "depth": 2}


def test_the_same_id_of_two_symbols_is_two_trades() -> None:
    assert len(counted(framed("trade", t=7), framed("trade", symbol="ETHUSDT", t=7)).trades) == 2


def test_a_quote_that_comes_again_at_once_is_not_expected() -> None:
    quote: dict[str, Any] = {"u": 5, "b": "1", "B": "2", "a": "3", "A": "4"}
    changed = quote | {"B": "9"}
    later = [quote, quote, changed, quote, quote | {"u": 6}]

    assert counted(*[framed("bookTicker", **each) for each in later]).quotes == 4


def test_answers_to_our_own_requests_are_no_market_data() -> None:
    assert counted(b'{"result":null,"id":1}').frames == 0


def test_only_messages_are_counted() -> None:
    count = RawCount()

    count.add(raw(framed("trade", t=1), kind="SENT"))

    assert count.frames == 0


def test_a_frame_in_the_dead_letters_is_a_frame_of_which_nothing_is_expected() -> None:
    torn = framed("trade", t=1)[:-5]

    count = counted(torn, framed("trade", t=2), dead=frozenset({torn}))

    assert (count.frames, len(count.trades)) == (2, 1)


def test_records_with_the_same_source_are_doubled() -> None:
    assert cleaned("TRADE", records=5, repeats=2).doubled == 2


def test_what_is_everywhere_once_adds_up() -> None:
    found = findings()

    assert found.adds_up
    assert (found.lost, found.doubled) == (0, 0)


def test_a_demo_without_frames_does_not_add_up() -> None:
    nothing = TopicCounts(RawCount(), CleanedCount(), CleanedCount(), Counter(), Counter(), 0)

    assert not findings(frames_served=0, topics=nothing, stored={}).adds_up


@pytest.mark.parametrize(
    ("changes", "lost", "doubled"),
    [
        ({"frames_served": 6}, 1, 0),
        ({"frames_served": 4}, 0, 1),
        ({"topics": topics(ticks=cleaned("TRADE", 2))}, 1, 0),
        ({"topics": topics(ticks=cleaned("TRADE", 3, repeats=1))}, 0, 1),
        ({"topics": topics(depth=cleaned("DELTA", 1))}, 1, 0),
        ({"stored": {"parquet": {"tick": StoreCount(2, 2), "depth": StoreCount(2, 2)}}}, 1, 0),
        ({"stored": {"parquet": {"tick": StoreCount(4, 3), "depth": StoreCount(2, 2)}}}, 0, 1),
        ({"stored": {"parquet": {"tick": StoreCount(3, 2), "depth": StoreCount(2, 2)}}}, 1, 1),
    ],
)
def test_what_is_missing_or_surplus_anywhere_is_counted(changes: dict[str, Any], lost: int, doubled: int) -> None:
    found = findings(**changes)

    assert (found.lost, found.doubled) == (lost, doubled)
    assert not found.adds_up


def test_snapshots_and_keyframes_are_no_updates() -> None:
    depth = cleaned("DELTA", 2)
    place = {"source_partition": 0, "source_offset": 9, "source_index": 1, "recv_time_us": 0}
    depth.add(place, "KEYFRAME", written_time_ms=1)
    stored = {"clickhouse": {"tick": StoreCount(3, 3), "depth": StoreCount(3, 3)}}

    assert findings(topics=topics(depth=depth), stored=stored).adds_up


def test_the_summary_names_what_the_issue_asks_for() -> None:
    asked = (
        "frames_served, frames_raw, ticks, depth, clickhouse_rows, parquet_rows, lost, doubled, dead_letters, gaps, "
        "latency_us"
    )

    summary = findings().summary()

    assert set(asked.split(", ")) <= set(summary)
    assert msgspec.json.decode(msgspec.json.encode(summary))["ticks_per_s"] == 2


def test_latencies_are_told_in_us_and_unseen_ones_as_none() -> None:
    def row(stage: str, p50_ms: float | None) -> StageRow:
        return StageRow(stage, 1, 0, 0, 0.0, None, p50_ms, None, 0, 0, 0)

    view = View(0.0, [row("produce", 1.0), row("sink.clickhouse", 2.5), row("sink.parquet", None)], {})
    topics = findings().topics
    topics.depth.times_us.clear()
    topics.ticks.times_us[:] = [(0, 1000), (1, 2001), (2, 3002)]

    assert latencies(topics, view) == {
        "socket_to_cleaned": {"p50": 2000, "p99": 2980},
        "socket_to_clickhouse": {"p50": 2500, "p99": None},
        "socket_to_parquet": {"p50": None, "p99": None},
    }


def test_latencies_leave_out_the_first_seconds_where_there_are_later_ones() -> None:
    later_us = WARM_UP_S * 1_000_000
    topics = findings().topics
    topics.depth.times_us.clear()
    topics.ticks.times_us[:] = [(0, 900_000), (later_us, later_us + 7_000)]

    assert latencies(topics, View(0.0, [], {}))["socket_to_cleaned"] == {"p50": 7000, "p99": 7000}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({}, "every frame is where it should be, once: 0 lost"), ({"frames_served": 6}, "IT DOES NOT ADD UP: 1 lost")],
)
def test_the_report_ends_with_its_verdict(changes: dict[str, Any], verdict: str) -> None:
    page = StringIO()

    show(findings(**changes), "SELECT 1", {"data, logs": "/somewhere"}, Console(file=page, width=100))

    assert verdict in page.getvalue().splitlines()[-1]
    assert "SELECT 1" in page.getvalue()
