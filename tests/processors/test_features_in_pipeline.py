"""Features as the pipeline publishes them: of frames, with CLOCK frames between, across crashes, against offline."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.arrow import arrow_schema
from schemas.records import Depth, Frame, QualityEvent, Signal, Tick
from tickerplant.research.features import OF_BOOK, OVER_WINDOWS, BookItem, features_of, table_of
from tickerplant.research.streams import ticks_of

SECOND_US = 1_000_000
QUOTE = "btcusdt@bookTicker"
WINDOWS_S = (1, 3)
OPTIONS: dict[str, Any] = {"keyframe_us": 5 * SECOND_US, "windows_s": WINDOWS_S}

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["trade", "trade", "quote", "quote", "delta", "delta", "snapshot", "clock", "clock", "disconnect"]
        ),
        st.sampled_from([1_000, 90_000, 400_000, SECOND_US, SECOND_US, 3 * SECOND_US, 70 * SECOND_US]),
        st.integers(0, 9),
    ),
    min_size=5,
    max_size=40,
)


def frames_of(feed: Any, drawn: list[tuple[str, int, int]]) -> list[Frame]:
    frames, last = [feed.snapshot(100, [["90.0", "1"]], [["110.0", "2"]])], 100
    for number, (what, after_us, figure) in enumerate(drawn):
        time_ms = (feed.recv_time_us + after_us) // 1000 - 300 * (figure % 5)
        if what == "trade":
            price, is_sold = str(100 + figure), bool(figure % 2)
            fields = {"t": number, "T": time_ms, "p": price, "q": f"0.{figure}1", "m": is_sold}
            frames.append(feed.message("btcusdt@trade", **fields, after_us=after_us))
        elif what == "quote":
            bid, ask, sizes = str(99 - figure), str(98 + figure), {"B": f"{figure}", "A": "2"}
            frames.append(feed.message("btcusdt@bookTicker", u=number, b=bid, a=ask, **sizes, after_us=after_us))
        elif what == "delta":
            first, last = last + 1 + figure // 9, last + 2 + figure // 9
            bids, asks = [[str(90 + figure % 7), str(figure % 4)]], [[str(110 - figure % 5), str(figure % 3)]]
            fields = {"U": first, "u": last, "E": time_ms, "b": bids, "a": asks}
            frames.append(feed.message("btcusdt@depth@100ms", **fields, after_us=after_us))
        elif what == "snapshot":
            frames.append(feed.snapshot(last, [["90.0", "1"]], [["110.0", "2"]], after_us=after_us))
        else:
            kind = "CLOCK" if what == "clock" else "DISCONNECT"
            frames.append(feed.frame(b"", kind, after_us=after_us))
    return [*frames, *clocks(feed, 100 * SECOND_US)]


def clocks(feed: Any, after_us: int) -> list[Frame]:
    """Make as many CLOCK frames as it takes to believe a step."""
    return [feed.frame(b"", "CLOCK", after_us=each) for each in (after_us, 1000, 1000)]


@settings(max_examples=60)
@given(drawn=steps)
def test_signals_are_what_offline_makes_of_the_records_beside_them(
    new_run: Callable[..., Any], drawn: list[tuple[str, int, int]]
) -> None:
    run = new_run("spot", **OPTIONS)
    for frame in frames_of(run.feed, drawn):
        run.take(frame)

    assert_same(run.of(Signal), offline(run.records))


def offline(records: list[Any]) -> list[dict[str, Any]]:
    ticks = [msgspec.structs.asdict(each) for each in records if isinstance(each, Tick)]
    book = [
        BookItem((each.source_offset, each.source_index), each.recv_time_us, each if isinstance(each, Depth) else None)
        for each in records
        if isinstance(each, Depth) or (isinstance(each, QualityEvent) and each.kind == "BOOK_RESET")
    ]
    arrays = ticks_of(pa.Table.from_pylist(ticks, arrow_schema(Tick)))
    rows: list[dict[str, Any]] = table_of(features_of(arrays, book, WINDOWS_S), WINDOWS_S).to_pylist()
    return rows


def assert_same(signals: list[Signal], rows: list[dict[str, Any]]) -> None:
    assert [each.exchange_time_us for each in signals] == [row["time_us"] for row in rows]
    for signal, row in zip(signals, rows, strict=True):
        for name in ("spread", "relative_spread", "mid", "microprice", "quote_imbalance", *OF_BOOK):
            assert is_same(getattr(signal, name), row[name]), name
        for name in OVER_WINDOWS:
            for length_s, value in zip(WINDOWS_S, getattr(signal, plural(name)), strict=True):
                assert is_same(value, row[f"{name}_{length_s}s"]), name


def plural(name: str) -> str:
    return name.removesuffix("y") + "ies" if name.endswith("y") else f"{name}s"


def is_same(actual: float | None, expected: float | None) -> bool:
    if actual is None or expected is None:
        return actual is expected
    return math.isclose(actual, expected, rel_tol=1e-9, abs_tol=1e-15)


@settings(max_examples=60)
@given(drawn=steps, cuts=st.sets(st.integers(0, 40)))
def test_signals_go_on_after_a_crash_as_if_nothing_had_happened(
    new_run: Callable[..., Any], drawn: list[tuple[str, int, int]], cuts: set[int]
) -> None:
    whole, resumed = (new_run("spot", **OPTIONS) for _ in range(2))
    kept: dict[str, list[bytes]] = {}
    for number, frame in enumerate(frames_of(whole.feed, drawn)):
        whole.take(frame)
        if number in cuts:
            resumed.capture(kept)
            resumed.resume(kept, new_run("spot", **OPTIONS).pipeline)
        resumed.take_record(whole.feed.record(frame))

    assert resumed.records == whole.records


def test_a_clock_that_is_set_back_between_two_captures_loses_nothing(new_run: Callable[..., Any]) -> None:
    whole, resumed = (new_run("spot", **OPTIONS) for _ in range(2))
    kept: dict[str, list[bytes]] = {}
    steps_us = [SECOND_US, SECOND_US, SECOND_US, -200 * SECOND_US, SECOND_US, SECOND_US, 90 * SECOND_US]
    for number, after_us in enumerate(steps_us):
        frame = whole.feed.message("btcusdt@bookTicker", u=number, b="9", a=str(10 + number), after_us=after_us)
        whole.take(frame)
        resumed.capture(kept)
        resumed.resume(kept, new_run("spot", **OPTIONS).pipeline)
        resumed.take_record(whole.feed.record(frame))

    assert resumed.records == whole.records
    assert len(whole.of(Signal)) > 5


def test_a_clock_that_is_wrong_once_spoils_no_second(new_run: Callable[..., Any]) -> None:
    right, wrong = (new_run("spot", **OPTIONS) for _ in range(2))
    for number in range(90):
        clock, quote = right.feed.frame(b"", "CLOCK", after_us=SECOND_US), right.feed.message(QUOTE, u=number)
        for run in (right, wrong):
            run.take(clock, quote)
        if number == 30:
            wrong.take(msgspec.structs.replace(clock, recv_time_us=clock.recv_time_us + 3600 * SECOND_US))
            right.take(clock)

    assert wrong.of(Signal) == right.of(Signal)
    assert [each.flags for each in wrong.of(Signal)] == [""] * len(right.of(Signal))
    assert len(wrong.of(Signal)) > 80


def test_other_windows_begin_anew_with_the_book_as_it_is(new_run: Callable[..., Any]) -> None:
    run, kept = new_run("spot", **OPTIONS), {}
    run.take(run.feed.message("btcusdt@depth@100ms", U=99, u=100, b=[], a=[]))
    run.take(run.feed.snapshot(100, [["90.0", "1"]], [["110.0", "2"]]))
    run.take(run.feed.frame(b"", "CLOCK", after_us=9 * SECOND_US))
    run.capture(kept)
    run.resume(kept, new_run("spot", **OPTIONS | {"windows_s": (2, 7)}).pipeline)
    before = len(run.of(Signal))
    run.take(run.feed.message("btcusdt@depth@100ms", U=101, u=101, b=[["91.0", "3"]], a=[]))
    run.take(run.feed.frame(b"", "CLOCK", after_us=5 * SECOND_US))

    first = run.of(Signal)[before]
    assert (first.windows_s, first.mid, first.book_imbalance_1) == ([2, 7], 100.5, 0.2)


def test_there_are_no_signals_where_features_are_switched_off(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@trade"), spot.feed.frame(b"", "CLOCK", after_us=60 * SECOND_US))

    assert spot.of(Signal) == []
