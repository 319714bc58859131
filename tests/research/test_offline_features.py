"""Offline equals online: the same random streams through the stream's code and through arrays."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.features.stream import Features, FeatureStream
from schemas.arrow import arrow_schema
from schemas.records import Depth, Tick
from tickerplant.research.features import BookItem, feature_columns, features_of, table_of
from tickerplant.research.streams import Ticks, ticks_of

WINDOWS_S = (1, 3, 10)
START_US = 1_800_000_000_000_000

Item = Tick | Depth | int
Make = Callable[[int, int, int], Item]
"""Exchange time, time of reading, offset → a record, or (an int) when the book was given up."""

sizes = st.sampled_from([0.0, 0.25, 1.0, 3.0, 1e9])
prices = st.sampled_from([1.0, 9.5, 10.0, 10.5, 11.0, 12.0])
bad_prices = st.sampled_from([None, math.nan, 0.0, -1.0])
flags = st.sampled_from(["", "", "", "LATE", "OFF_BOOK", "BACKFILL,LATE", "PAST"])
levels = st.dictionaries(prices, sizes, max_size=4)


def tick(exchange_us: int, recv_us: int, offset: int, **fields: Any) -> Tick:
    every = {"event_time_us": recv_us, "venue": "V", "symbol": "S", "asset_class": "CRYPTO", "sequence_id": 1}
    return Tick(**(every | fields), exchange_time_us=exchange_us, recv_time_us=recv_us, source_offset=offset)


def depth(recv_us: int, offset: int, bids: dict[float, float], asks: dict[float, float], **fields: Any) -> Depth:
    sides = {"bid_prices": list(bids), "bid_sizes": list(bids.values())}
    sides |= {"ask_prices": list(asks), "ask_sizes": list(asks.values())}
    every = {"event_time_us": recv_us, "recv_time_us": recv_us, "venue": "V", "symbol": "S", "source_offset": offset}
    return Depth(**every, **sides, **fields)


trades: st.SearchStrategy[Make] = st.builds(
    lambda price, size, side, flag: (
        lambda exchange_us, recv_us, offset: tick(
            exchange_us, recv_us, offset, kind="TRADE", price=price, quantity=size, side=side, flags=flag
        )
    ),
    prices | st.sampled_from([math.nan, 0.0]),
    sizes,
    st.sampled_from(["BUY", "SELL", "UNKNOWN"]),
    flags,
)
quotes: st.SearchStrategy[Make] = st.builds(
    lambda bid, ask, bid_size, ask_size: (
        lambda exchange_us, recv_us, offset: tick(
            *(exchange_us, recv_us, offset),
            kind="QUOTE",
            price=1.0,
            quantity=0.0,
            bid=bid,
            ask=ask,
            bid_size=bid_size,
            ask_size=ask_size,
        )
    ),
    prices | prices | bad_prices,
    prices | prices | bad_prices,
    sizes | st.none(),
    sizes | st.none(),
)
aggregates: st.SearchStrategy[Make] = st.just(
    lambda exchange_us, recv_us, offset: tick(exchange_us, recv_us, offset, kind="AGG_TRADE", price=1.0, quantity=1.0)
)
depths: st.SearchStrategy[Make] = st.builds(
    lambda bids, asks, is_snapshot, is_keyframe, number: (
        lambda exchange_us, recv_us, offset: depth(
            *(recv_us, offset, bids, {price + 1.5: size for price, size in asks.items()}),
            exchange_time_us=exchange_us,
            is_snapshot=is_snapshot,
            snapshot_id=number or int(is_snapshot),  # a book that stands has an id
            is_keyframe=is_keyframe and is_snapshot,
        )
    ),
    levels,
    levels,
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 1, 1, 1, 2]),
)
resets: st.SearchStrategy[Make] = st.just(lambda _exchange_us, recv_us, _offset: recv_us)

forward = st.sampled_from([0, 0, 10_000, 300_000, 999_999, 1_000_000, 2_500_000, 59_000_000, 61_000_000, 400_000_000])
lags = st.sampled_from([0, 0, 0, 200_000, 900_000, 3_000_000, -500_000, -5_000_000])
jitters = st.sampled_from([0, 0, 1_000, 499_999])
steps = st.tuples(
    forward, lags, jitters, st.booleans(), trades | quotes | quotes | depths | depths | aggregates | resets
)
Drawn = list[tuple[int, int, int, bool, Make]]


def made(drawn: Drawn) -> list[tuple[int, Item]]:
    """Make items in their order, each with the time of the raw log's clock."""
    now_us, items = START_US, []
    for offset, (step_us, lag_us, jitter_us, has_time, make) in enumerate(drawn):
        now_us += step_us
        recv_us = now_us - jitter_us
        items.append((now_us, make(recv_us - lag_us if has_time else 0, recv_us, offset)))
    return items


def online(items: Sequence[tuple[int, Item]], *, has_clock: bool) -> list[dict[str, float | None]]:
    stream, rows = FeatureStream(WINDOWS_S), []
    for now_us, item in items:
        rows += stream.on_clock(now_us) if has_clock else []
        if isinstance(item, int):
            rows += stream.on_reset(item)
        elif isinstance(item, Depth):
            rows += stream.on_depth(item)
        else:
            rows += stream.on_quote(item) if item.kind == "QUOTE" else stream.on_trade(item)
    rows += stream.on_clock(items[-1][0] + 100_000_000) if has_clock else stream.finish()
    return [flat(row) for row in rows]


def flat(row: Features) -> dict[str, float | None]:
    found: dict[str, float | None] = {"time_us": (row.second + 1) * 1_000_000}
    found |= {
        name: getattr(row, name) for name in ("spread", "relative_spread", "mid", "microprice", "quote_imbalance")
    }
    shape = row.shape
    if shape is not None:
        sides = (*shape.bid_liquidity, *shape.ask_liquidity)
        names = feature_columns(WINDOWS_S)[5:16]
        found |= dict(zip(names, (*shape.imbalances, shape.weighted_price, *sides), strict=True))
    for name in row.windows.__struct_fields__:
        for length_s, value in zip(WINDOWS_S, getattr(row.windows, name), strict=True):
            found[f"{name}_{length_s}s"] = value
    return found


def arrays(items: Iterable[Item]) -> Ticks:
    rows = [msgspec.structs.asdict(item) for item in items if isinstance(item, Tick)]
    return ticks_of(pa.Table.from_pylist(rows, arrow_schema(Tick)))


def book_items(items: Iterable[Item]) -> list[BookItem]:
    found = []
    for offset, item in enumerate(items):
        if not isinstance(item, Tick):
            is_depth = isinstance(item, Depth)
            recv_us = item.recv_time_us if isinstance(item, Depth) else item
            found.append(BookItem((offset, 0), recv_us, item if is_depth else None))  # type: ignore[arg-type]
    return found


def offline(items: Sequence[tuple[int, Item]]) -> list[dict[str, float | None]]:
    only = [item for _, item in items]
    found: list[dict[str, float | None]] = table_of(
        features_of(arrays(only), book_items(only), WINDOWS_S), WINDOWS_S
    ).to_pylist()
    return found


def assert_same(expected: list[dict[str, float | None]], actual: list[dict[str, float | None]]) -> None:
    assert [row["time_us"] for row in expected] == [row["time_us"] for row in actual]
    for left, right in zip(expected, actual, strict=True):
        for name, value in right.items():
            wanted = left.get(name)
            assert (wanted is None) == (value is None), (name, wanted, value)
            if wanted is not None and value is not None:
                assert value == pytest.approx(wanted, rel=1e-9, abs=1e-15), name


@settings(max_examples=100)
@given(st.lists(steps, min_size=1, max_size=40))
def test_offline_gives_the_values_of_the_stream(drawn: Drawn) -> None:
    items = made(drawn)

    assert_same(online(items, has_clock=True), offline(items))


@settings(max_examples=50)
@given(st.lists(steps, min_size=1, max_size=15), st.lists(steps, min_size=1, max_size=15))
def test_offline_begins_anew_where_the_stream_does_as_a_clock_is_set_back(before: Drawn, after: Drawn) -> None:
    first = made(before)
    first = [(now_us + 10**10, shifted(item, 10**10, 0)) for now_us, item in first]
    items = first + [(now_us, shifted(item, 0, len(first))) for now_us, item in made(after)]

    expected = online(items, has_clock=False)

    assert_same(expected, offline(items)[: len(expected)])


def shifted(item: Item, time_us: int, offset: int) -> Item:
    if isinstance(item, int):
        return item + time_us
    exchange_us = item.exchange_time_us + time_us if item.exchange_time_us else 0
    return msgspec.structs.replace(
        item,
        exchange_time_us=exchange_us,
        recv_time_us=item.recv_time_us + time_us,
        source_offset=item.source_offset + offset,
    )
