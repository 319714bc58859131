"""Features of one symbol: values computed by hand, what is null, bad input, and state put back at any point."""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.book import Book
from processors.features.stream import Features, FeatureStream, StreamState
from processors.features.windows import Windowed
from schemas.records import Depth, Side, Tick

START_S = 1_800_000_000
START_US = START_S * 1_000_000
LATE_S = 100  # by the clock, after which all is closed

Item = Tick | Depth | int
"""A tick, a change of the book, or (an int) the time at which the book is given up."""


def at(seconds: float) -> int:
    return START_US + round(seconds * 1_000_000)


def trade(
    seconds: float, price: float, size: float = 1.0, side: Side = "BUY", *, recv: float = -1.0, flags: str = ""
) -> Tick:
    return Tick(
        event_time_us=at(seconds),
        exchange_time_us=at(seconds),
        recv_time_us=at(seconds if recv < 0 else recv),
        venue="V",
        symbol="S",
        asset_class="CRYPTO",
        kind="TRADE",
        price=price,
        quantity=size,
        side=side,
        sequence_id=1,
        flags=flags,
    )


def quote(
    seconds: float,
    bid: float | None,
    ask: float | None,
    sizes: tuple[float | None, float | None] = (1.0, 1.0),
    *,
    recv: float = -1.0,
    has_time: bool = True,
) -> Tick:
    return Tick(
        event_time_us=at(seconds),
        exchange_time_us=at(seconds) if has_time else 0,
        recv_time_us=at(seconds if recv < 0 else recv),
        venue="V",
        symbol="S",
        asset_class="CRYPTO",
        kind="QUOTE",
        price=1.0,
        quantity=0.0,
        bid=bid,
        ask=ask,
        bid_size=sizes[0],
        ask_size=sizes[1],
        sequence_id=1,
    )


def depth(
    seconds: float,
    bids: dict[float, float],
    asks: dict[float, float],
    *,
    snapshot: bool = True,
    snapshot_id: int = 1,
    keyframe: bool = False,
) -> Depth:
    return Depth(
        event_time_us=at(seconds),
        exchange_time_us=at(seconds),
        recv_time_us=at(seconds),
        venue="V",
        symbol="S",
        is_snapshot=snapshot,
        is_keyframe=keyframe,
        snapshot_id=snapshot_id,
        bid_prices=list(bids),
        bid_sizes=list(bids.values()),
        ask_prices=list(asks),
        ask_sizes=list(asks.values()),
    )


def feed(stream: FeatureStream, items: Iterable[Item]) -> list[Features]:
    rows: list[Features] = []
    for item in items:
        if isinstance(item, int):
            rows += stream.on_reset(item)
        elif isinstance(item, Depth):
            rows += stream.on_depth(item)
        elif item.kind == "QUOTE":
            rows += stream.on_quote(item)
        else:
            rows += stream.on_trade(item)
    return rows


def run(*items: Item, windows: tuple[int, ...] = (1, 2)) -> dict[int, Features]:
    """Feed items, then let the clock run on; returns rows by second since the start."""
    stream = FeatureStream(windows)
    rows = feed(stream, items) + stream.on_clock(at(LATE_S))
    return {row.second - START_S: row for row in rows}


def test_a_quote_gives_spread_mid_microprice_and_imbalance_at_the_end_of_its_second() -> None:
    row = run(quote(0.1, 90, 91), quote(0.9, 99.0, 101.0, (3.0, 1.0)))[0]

    assert (row.spread, row.relative_spread, row.mid) == (2.0, 0.02, 100.0)
    assert (row.microprice, row.quote_imbalance) == (100.5, 0.5)


def test_trades_give_sums_over_each_window_that_ends_with_the_second() -> None:
    rows = run(
        trade(0.1, 10.0, 2.0), trade(0.2, 20.0, 1.0, "SELL"), trade(1.5, 30.0, 1.0), trade(3.0, 1.0, 1.0, "UNKNOWN")
    )

    assert rows[0].windows.volume == [3.0, 3.0]
    assert rows[0].windows.vwap == [40.0 / 3.0, 40.0 / 3.0]
    assert rows[0].windows.signed_volume == [1.0, 1.0]
    assert rows[1].windows.trade_imbalance == [1.0, (3.0 - 1.0) / 4.0]
    assert rows[1].windows.trade_rate == [1.0, 3 / 2]
    assert rows[2].windows.volume == [None, 1.0]
    assert rows[3].windows.volume == [1.0, 1.0]
    assert rows[3].windows.signed_volume == [None, None]  # nobody knows who was the aggressor


def test_returns_and_volatility_are_of_the_mids_at_the_ends_of_seconds() -> None:
    rows = run(quote(0.5, 99, 101), quote(1.5, 101, 103), quote(2.5, 99, 101), quote(2.9, 98, 100))
    up, down = math.log(102 / 100), math.log(99 / 102)

    assert rows[0].windows.mid_return == [None, None]
    assert rows[1].windows.mid_return == [up, None]
    assert rows[2].windows.mid_return == [down, math.log(99 / 100)]
    assert rows[1].windows.mid_volatility == [abs(up), None]
    assert rows[2].windows.mid_volatility == [abs(down), math.sqrt(down * down + up * up)]


def test_order_flow_is_that_of_cont_kukanov_and_stoikov() -> None:
    rows = run(
        quote(0.1, 10, 12, (5, 5)),
        quote(0.2, 10, 12, (7, 4)),  # +2 at the bid, 1 less at the ask: 3
        quote(0.3, 11, 12, (2, 4)),  # a higher bid: +2
        quote(0.4, 11, 11.5, (2, 9)),  # a lower ask: -9
        quote(1.1, 9, 11.5, (3, 9)),  # the bid fell: -2
    )

    assert rows[0].windows.order_flow_imbalance == [3.0 + 2.0 - 9.0] * 2
    assert rows[1].windows.order_flow_imbalance == [-2.0, -6.0]
    assert rows[2].windows.order_flow_imbalance == [None, -2.0]
    assert rows[3].windows.order_flow_imbalance == [None, None]


def test_illiquidity_is_the_mean_of_absolute_return_over_notional_of_seconds_with_both() -> None:
    rows = run(quote(0.5, 99, 101), trade(0.6, 100, 5), quote(1.5, 101, 103), trade(1.6, 100, 2), quote(2.5, 99, 101))

    assert rows[0].windows.illiquidity == [None, None]
    assert rows[1].windows.illiquidity == [math.log(1.02) / 200] * 2
    assert rows[2].windows.illiquidity == [None, math.log(1.02) / 200]


def test_the_shape_of_a_book_counts_levels_from_the_best_outwards() -> None:
    bids = {100.0 - each: 1.0 + each for each in range(30)}
    asks = {102.0 + each: 1.0 for each in range(30)}
    shape = run(depth(0.5, bids, asks))[0].shape

    assert shape is not None
    expected = [sum(range(1, count + 1)) for count in (1, 5, 10, 20)]
    assert shape.imbalances == tuple(
        (bid - ask) / (bid + ask) for bid, ask in zip(expected, (1, 5, 10, 20), strict=True)
    )
    notional = sum(price * size for price, size in list(bids.items())[:10]) + sum(list(asks)[:10])
    assert shape.weighted_price == pytest.approx(notional / (55 + 10), rel=1e-12)


def test_liquidity_is_what_lies_within_basis_points_of_the_mid() -> None:
    bids = {9_999.0: 1.0, 9_995.0: 2.0, 9_990.0: 4.0, 9_900.0: 8.0}
    asks = {10_001.0: 1.0, 10_004.0: 2.0, 10_011.0: 4.0}
    shape = run(depth(0.5, bids, asks))[0].shape

    assert shape is not None
    assert (shape.bid_liquidity, shape.ask_liquidity) == ((3.0, 7.0, 7.0), (3.0, 3.0, 7.0))


def test_a_book_is_told_as_it_was_at_the_end_of_the_second() -> None:
    rows = run(
        depth(0.5, {9.0: 1.0}, {11.0: 1.0}),
        depth(1.2, {9.0: 3.0}, {}, snapshot=False),
        depth(1.4, {9.0: 0.0, 8.0: 1.0}, {}, snapshot=False),
        depth(3.1, {}, {11.0: 2.0}, snapshot=False),
    )
    shapes = [rows[second].shape for second in range(4)]

    assert [(shape.bid, shape.ask_size) for shape in shapes if shape] == [
        (9.0, 1.0),
        (8.0, 1.0),
        (8.0, 1.0),
        (8.0, 2.0),
    ]


def test_the_best_levels_of_the_book_stand_in_where_the_venue_tells_no_quotes() -> None:
    row = run(depth(0.5, {9.0: 1.0}, {11.0: 3.0}))[0]

    assert (row.mid, row.quote_imbalance) == (10.0, -0.5)


@pytest.mark.parametrize(
    ("bids", "asks"),
    [({}, {}), ({9.0: 1.0}, {}), ({}, {11.0: 1.0}), ({11.0: 1.0}, {9.0: 1.0}), ({10.0: 1.0}, {10.0: 1.0})],
    ids=["empty", "only bids", "only asks", "crossed", "locked"],
)
def test_books_without_two_sides_that_stand_apart_have_no_features(
    bids: dict[float, float], asks: dict[float, float]
) -> None:
    row = run(depth(0.5, bids, asks))[0]

    assert (row.shape, row.mid, row.spread) == (None, None, None)


@pytest.mark.parametrize(
    ("bid", "ask"), [(None, 11.0), (9.0, None), (11.0, 9.0), (10.0, 10.0), (math.nan, 9.0), (0.0, 9.0)]
)
def test_quotes_that_are_one_sided_or_crossed_leave_null_and_break_the_order_flow(
    bid: float | None, ask: float | None
) -> None:
    rows = run(quote(0.1, 9.0, 11.0), quote(0.5, bid, ask), quote(1.5, 9.0, 11.0, (5.0, 5.0)))

    assert (rows[0].mid, rows[0].spread, rows[0].microprice) == (None, None, None)
    assert rows[1].mid == 10.0
    assert rows[1].windows.order_flow_imbalance == [None, None]
    assert rows[1].windows.mid_return == [None, None]


def test_a_quote_without_sizes_has_a_mid_and_no_microprice() -> None:
    rows = run(quote(0.1, 9.0, 11.0, (None, 1.0)), quote(1.1, 9.0, 11.0, (0.0, 0.0)))

    assert [(row.mid, row.microprice, row.quote_imbalance) for row in (rows[0], rows[1])] == [(10.0, None, None)] * 2


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_trades_without_a_price_are_passed_over(price: float) -> None:
    assert run(trade(0.1, price)) == {}


@pytest.mark.parametrize("flags", ["OFF_BOOK", "BACKFILL,LATE", "PAST"])
def test_trades_that_did_not_happen_on_the_book_at_that_time_are_passed_over(flags: str) -> None:
    assert run(trade(0.1, 10.0, flags=flags)) == {}


def test_items_without_exchange_time_are_placed_by_when_they_were_read() -> None:
    assert run(quote(0.5, 9.0, 11.0, recv=3.5, has_time=False))[3].mid == 10.0


def test_a_trade_that_is_late_counts_in_the_oldest_second_that_is_open() -> None:
    rows = run(trade(10.0, 10.0), trade(2.0, 20.0, recv=10.5))

    assert [second for second, row in rows.items() if row.windows.volume[0]] == [9, 10]
    assert rows[9].windows.vwap[0] == 20.0


def test_an_exchange_clock_that_steps_back_or_ahead_stays_near_the_time_of_reading() -> None:
    rows = run(trade(10.0, 10.0), trade(500.0, 20.0, recv=10.5), trade(-9000.0, 30.0, recv=10.6))

    assert [second for second, row in rows.items() if row.windows.volume[0]] == [9, 10, 11]


def test_a_clock_of_ours_that_is_set_back_begins_anew() -> None:
    stream = FeatureStream((1, 2))
    rows = feed(stream, [trade(100.0, 10.0), trade(100.5, 10.0), trade(20.0, 30.0)])

    assert [(row.second - START_S, row.windows.volume[0]) for row in rows] == [(100, 2.0)]
    assert [row.windows.volume for row in stream.finish()] == [[1.0, 1.0]]


def test_a_row_that_takes_in_what_came_after_its_second_was_over_says_so() -> None:
    stream = FeatureStream((1,))
    rows = feed(stream, [trade(0.5, 10.0)]) + stream.on_clock(at(9.9))
    rows += feed(stream, [trade(1.0, 20.0)]) + stream.on_clock(at(99))

    assert [(row.second - START_S, row.flags) for row in rows if row.windows.volume[0]] == [(0, ""), (8, "SHIFTED")]


def test_a_second_is_open_until_the_clock_of_the_raw_log_is_past_it_and_lateness() -> None:
    stream = FeatureStream((1,))
    feed(stream, [trade(0.5, 10.0)])

    assert not stream.is_due(at(2.499_999))
    assert stream.on_clock(at(2.499_999)) == []
    assert [row.second for row in stream.on_clock(at(2.5))] == [START_S]


def test_a_symbol_that_is_silent_for_a_day_has_no_rows_and_begins_with_null_windows() -> None:
    day = 86_400
    stream = FeatureStream((1, 300))
    rows = feed(stream, [quote(0.5, 9, 11), trade(0.6, 10.0)])
    for second in range(0, day, 600):
        rows += stream.on_clock(at(second))
    rows += feed(stream, [quote(day, 19, 21), quote(day + 1, 19, 23)]) + stream.on_clock(at(day + 4))

    assert [row.second - START_S for row in rows] == [*range(60), day, day + 1]
    assert [row.mid for row in rows[:60]] == [10.0] * 60
    assert rows[60].windows.mid_return == [None, None]
    assert rows[61].windows.order_flow_imbalance == [1.0, 1.0]  # since the day before there is no quote to compare with
    assert rows[61].windows.vwap == [None, None]


def test_the_first_print_of_a_listing_has_what_one_trade_tells_and_nothing_else() -> None:
    row = run(trade(0.5, 10.0, 2.0))[0]

    assert row.windows == Windowed(
        mid_return=[None, None],
        mid_volatility=[None, None],
        trade_rate=[1.0, 0.5],
        volume=[2.0, 2.0],
        vwap=[10.0, 10.0],
        signed_volume=[2.0, 2.0],
        trade_imbalance=[1.0, 1.0],
        order_flow_imbalance=[None, None],
        illiquidity=[None, None],
    )
    assert (row.mid, row.shape) == (None, None)


def test_a_book_that_was_given_up_is_known_no_more_until_the_next_snapshot() -> None:
    book = depth(0.5, {9.0: 1.0}, {11.0: 1.0})
    rows = run(
        book, at(1.5), depth(2.5, {8.0: 1.0}, {}, snapshot=False), depth(3.5, {7.0: 1.0}, {9.0: 1.0}, snapshot_id=2)
    )

    assert [rows[second].shape is None for second in range(4)] == [False, True, True, False]


def test_a_keyframe_repeats_the_book_and_names_the_id_of_what_follows() -> None:
    rows = run(
        depth(0.5, {9.0: 1.0}, {11.0: 1.0}),
        depth(1.5, {9.0: 1.0}, {11.0: 1.0}, keyframe=True, snapshot_id=2),
        depth(1.6, {9.5: 1.0}, {}, snapshot=False, snapshot_id=2),
        depth(1.7, {9.9: 1.0}, {}, snapshot=False, snapshot_id=1),
    )

    assert [shape.bid for shape in (rows[0].shape, rows[1].shape) if shape] == [9.0, 9.5]


sizes = st.sampled_from([0.0, 0.25, 1.0, 3.0])
prices = st.integers(1, 12).map(float)
levels = st.dictionaries(prices, sizes, max_size=4)
steps = st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.0, 2.5, 70.0])
lags = st.sampled_from([0.0, 0.0, 0.2, 0.9, 3.0, -0.5, -5.0])
makers: st.SearchStrategy[Callable[[float, float], Item]] = st.one_of(
    st.builds(
        lambda p, q, side: lambda t, r: trade(t, p, q, side, recv=r), prices, sizes, st.sampled_from(["BUY", "SELL"])
    ),
    st.builds(lambda b, a, s: lambda t, r: quote(t, b, a, s, recv=r), prices, prices, st.tuples(sizes, sizes)),
    st.builds(lambda b, a: lambda _t, r: depth(r, b, {p + 6: q for p, q in a.items()}), levels, levels),
    st.builds(lambda b, a: lambda _t, r: depth(r, b, {p + 6: q for p, q in a.items()}, snapshot=False), levels, levels),
    st.just(lambda _t, r: at(r)),
)
streams = st.lists(st.tuples(steps, lags, makers), min_size=1, max_size=40)


def made(drawn: list[tuple[float, float, Callable[[float, float], Item]]]) -> list[tuple[int, Item]]:
    """Make items, each with the time at which it was read."""
    now, items = 10.0, []
    for step, lag, make in drawn:
        now += step
        items.append((at(now), make(now - lag, now)))
    return items


@settings(max_examples=60)
@given(streams, st.integers(0, 40), st.booleans())
def test_state_that_is_put_back_gives_the_same_rows(
    drawn: list[tuple[float, float, Callable[[float, float], Item]]], cut: int, is_whole: bool
) -> None:
    items = made(drawn)
    straight, stream = FeatureStream((1, 3)), FeatureStream((1, 3))
    expected: list[Features] = []
    rows: list[Features] = []
    states: list[StreamState] = [encoded(stream.capture(is_whole=True))]
    stream.follow()
    for number, (now_us, item) in enumerate(items):
        expected += straight.on_clock(now_us) + feed(straight, [item])
        rows += stream.on_clock(now_us) + feed(stream, [item])
        if number == cut // 2:
            states = [*states, encoded(stream.capture(is_whole=False))]
            stream.follow()
        if number == cut:
            whole = encoded(stream.capture(is_whole=is_whole))
            states = [whole] if is_whole else [*states, whole]
            book, stream = copied(stream._books.book), FeatureStream((1, 3))
            stream.restore(states, book)

    assert rows + stream.finish() == expected + straight.finish()


def encoded(state: StreamState) -> StreamState:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=StreamState)


def copied(book: Book) -> Book:
    copy = Book()
    copy.replace(*book.sides())
    return copy


@settings(max_examples=60)
@given(streams)
def test_rows_rise_by_second_hold_no_nan_and_count_each_trade_once(
    drawn: list[tuple[float, float, Callable[[float, float], Item]]],
) -> None:
    items = made(drawn)
    stream = FeatureStream((1, 3))
    rows = [
        row for now_us, item in items for row in (*stream.on_clock(now_us), *feed(stream, [item]))
    ] + stream.finish()
    trades = [item for _, item in items if isinstance(item, Tick) and item.kind == "TRADE"]

    assert all(before.second < after.second for before, after in pairwise(rows))
    assert sum(row.windows.trade_rate[0] or 0 for row in rows) == len(trades)
    assert sum(row.windows.volume[0] or 0 for row in rows) == pytest.approx(sum(each.quantity for each in trades))
    values = [value for row in rows for column in msgspec.structs.astuple(row.windows) for value in column]
    assert all(value is None or math.isfinite(value) for value in values)
