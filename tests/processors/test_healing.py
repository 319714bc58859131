"""Holes in trade ids: when they are asked for, what comes by REST, and that each id is there once in any order."""

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.healing import AGAIN_US, ASK_AFTER_US, MOST_HOLES, Ask, Closed, Healing, Span
from processors.pipeline import Pipeline
from schemas.records import Bar, DeadLetter, QualityEvent, Tick

SECOND_US = 1_000_000
HOST = "https://api.example/api/v3"


def trade(run: Any, number: int, **changes: Any) -> Any:
    time_ms = run.feed.recv_time_us // 1000
    values = {"t": number, "T": time_ms, "p": str(100 + number % 7), "q": "0.5", "m": number % 2 == 0, "after_us": 1000}
    return run.feed.message("btcusdt@trade", **(values | changes))


def clock(run: Any, after_us: int = SECOND_US) -> Any:
    return run.feed.frame(b"", "CLOCK", after_us=after_us)


def row(run: Any, number: int, *, before_ms: int = 2000) -> dict[str, Any]:
    time_ms = run.feed.recv_time_us // 1000 - before_ms
    price = str(100 + number % 7)
    return {"id": number, "price": price, "qty": "0.5", "quoteQty": "50", "time": time_ms,
            "isBuyerMaker": number % 2 == 0, "isBestMatch": True}  # fmt: skip


def answer(run: Any, rows: list[dict[str, Any]], query: str = "symbol=BTCUSDT&fromId=1&limit=1000") -> Any:
    path = "historicalTrades" if "fromId" in query else "trades"
    return run.feed.frame(json.dumps(rows).encode(), "HTTP", request=f"{HOST}/{path}?{query}")


def told(run: Any, kind: str) -> list[tuple[int, int, int]]:
    return [(each.from_sequence, each.to_sequence, each.count) for each in run.of(QualityEvent, kind=kind)]


def ids(run: Any) -> Counter[str]:
    return Counter(each.trade_id for each in run.of(Tick, kind="TRADE"))


def test_missing_trades_are_asked_for_once_the_hole_has_stood_for_a_while(spot: Any) -> None:
    spot.take(trade(spot, 1), trade(spot, 5))
    spot.take(clock(spot))
    assert not spot.commands

    spot.take(clock(spot), clock(spot))

    [command] = spot.commands
    found = (command.command, command.venue_symbol, command.from_sequence, command.to_sequence)
    assert found == ("backfill", "BTCUSDT", 2, 4)
    assert command.from_time_us == spot.of(Tick)[0].exchange_time_us


def test_what_comes_by_rest_is_flagged_stored_once_and_tells_that_the_gap_is_healed(spot: Any) -> None:
    spot.take(clock(spot), trade(spot, 1), trade(spot, 5), clock(spot), clock(spot))
    page = [row(spot, number, before_ms=5000) for number in range(1, 6)]

    spot.take(answer(spot, page), answer(spot, page))

    assert ids(spot) == Counter("12345")
    assert told(spot, "GAP") == told(spot, "HEALED") == [(2, 4, 3)]
    restored = [each for each in spot.of(Tick) if each.flags]
    assert [each.flags for each in restored] == ["BACKFILL,LATE"] * 3
    [first, *_] = restored
    assert (first.trade_id, first.price, first.quantity, first.side) == ("2", 102.0, 0.5, "SELL")
    assert first.event_time_us == first.exchange_time_us == page[1]["time"] * 1000
    assert first.recv_time_us > first.event_time_us
    assert [each.sequence_id for each in spot.of(Tick)] == [1, 2, 3, 4, 5]


def test_bars_are_told_again_with_the_trades_that_were_restored(spot: Any) -> None:
    spot.take(clock(spot), trade(spot, 1))
    for _ in range(60):
        spot.take(clock(spot))
    spot.take(trade(spot, 2), trade(spot, 5))
    time_ms = spot.feed.recv_time_us // 1000
    for _ in range(70):
        spot.take(clock(spot))
    bars = [each for each in spot.of(Bar) if each.interval == "1m" and each.trade_count == 2]
    assert [each.flags for each in bars] == ["GAP"]

    before_ms = spot.feed.recv_time_us // 1000 - time_ms
    spot.take(answer(spot, [row(spot, number, before_ms=before_ms) for number in (3, 4)]), clock(spot))

    again = [each for each in spot.of(Bar) if each.interval == "1m" and each.open_time_us == bars[0].open_time_us]
    assert [(each.revision, each.trade_count, each.flags) for each in again] == [(0, 2, "GAP"), (1, 4, "")]


def cut(run: Any, minutes: int) -> list[int]:
    """Lose the connection for so long, between trades 1 and 2 + minutes; returns the times of those between, ms."""
    run.take(clock(run), trade(run, 1))
    run.take(run.feed.frame(b"gone", "DISCONNECT"))
    times_ms = []
    for _ in range(minutes):
        run.take(*(clock(run, after_us=5 * SECOND_US) for _ in range(12)))
        times_ms.append(run.feed.recv_time_us // 1000)
    run.feed.number = -1
    run.take(trade(run, minutes + 2), *(clock(run) for _ in range(3)))
    return times_ms


def restore(run: Any, times_ms: list[int]) -> None:
    """Answer with the trades of these times, ids from 2 on, and wait for a minute."""
    now_ms = run.feed.recv_time_us // 1000
    page = [row(run, number, before_ms=now_ms - time_ms) for number, time_ms in enumerate(times_ms, 2)]
    run.take(answer(run, page), *(clock(run) for _ in range(70)))


@pytest.mark.parametrize("is_restarted", [False, True])
def test_bars_of_hours_without_a_connection_are_told_again_once_their_trades_are_fetched(
    spot: Any, new_run: Callable[..., Any], *, is_restarted: bool
) -> None:
    times_ms = cut(spot, 180)
    if is_restarted:
        kept: dict[str, list[bytes]] = {}
        spot.capture(kept)
        spot.resume(kept, new_run("spot").pipeline)
    restore(spot, times_ms)

    assert told(spot, "HEALED") == [(2, 181, 180)]
    assert not told(spot, "LATE_FOR_BAR")
    newest = {(each.interval, each.open_time_us): each for each in spot.of(Bar)}
    minutes = [each for (interval, _), each in newest.items() if interval == "1m"]
    assert sum(each.trade_count for each in minutes) == 182
    assert not any("GAP" in each.flags for each in newest.values())


def test_minutes_are_kept_no_longer_than_six_hours_and_no_longer_than_trades_are_awaited(spot: Any) -> None:
    def kept_minutes() -> int:
        [state] = spot.pipeline.states()
        return len(state.bars.capture(is_whole=True).spans["1m"])

    times_ms = cut(spot, 480)
    assert 300 < kept_minutes() < 450
    restore(spot, times_ms)

    assert kept_minutes() < 70
    assert 0 < sum(each[2] for each in told(spot, "LATE_FOR_BAR")) < 150


def test_a_page_gives_nothing_but_what_is_missing(spot: Any) -> None:
    """Ids before the first one and above the highest are no holes: the stream brings what is to come."""
    spot.take(trade(spot, 10), trade(spot, 13))

    spot.take(answer(spot, [row(spot, number) for number in (8, 9, 10, 11, 13, 14, 15)]))
    spot.take(trade(spot, 14), trade(spot, 15))

    assert ids(spot) == Counter(["10", "11", "13", "14", "15"])
    assert told(spot, "NOT_HEALED") == [(11, 12, 1)]


def test_what_only_came_late_heals_as_well_and_nothing_is_asked_for(spot: Any) -> None:
    spot.take(trade(spot, 1), trade(spot, 3), trade(spot, 2), clock(spot, 10 * SECOND_US))

    assert told(spot, "HEALED") == [(2, 2, 0)]
    assert not spot.commands


def test_a_hole_that_nothing_fills_is_asked_for_again_and_then_given_up(spot: Any) -> None:
    spot.take(trade(spot, 1), trade(spot, 4))

    for _ in range(1000):
        spot.take(clock(spot))

    assert [each.command for each in spot.commands] == ["backfill"] * len(AGAIN_US)
    assert told(spot, "NOT_HEALED") == [(2, 3, 2)]
    spot.take(answer(spot, [row(spot, 2), row(spot, 3)]))
    assert ids(spot) == Counter("1234")


def test_the_newest_trades_say_nothing_of_those_before_them(usdm: Any) -> None:
    usdm.take(trade(usdm, 1), trade(usdm, 6))

    usdm.take(answer(usdm, [row(usdm, number) for number in (4, 6)], "symbol=BTCUSDT&limit=1000"))
    assert told(usdm, "NOT_HEALED") == []
    usdm.take(answer(usdm, [row(usdm, number) for number in (2, 3)], "symbol=BTCUSDT&limit=1000"))

    assert ids(usdm) == Counter("12346")
    assert told(usdm, "NOT_HEALED") == [(2, 5, 1)]


@pytest.mark.parametrize(
    "body", [b"{", b'[{"id": 1}]', b'[{"id":2,"price":"0","qty":"1","time":1,"isBuyerMaker":true}]']
)
def test_a_page_that_cannot_be_read_is_a_dead_letter(spot: Any, body: bytes) -> None:
    spot.take(trade(spot, 1), trade(spot, 3))
    spot.take(spot.feed.frame(body, "HTTP", request=f"{HOST}/historicalTrades?symbol=BTCUSDT&fromId=2"))

    [letter] = spot.of(DeadLetter)
    assert letter.payload == body


def test_a_replay_gives_the_same_records(spot: Any, new_run: Callable[..., Any]) -> None:
    frames = [trade(spot, 1), trade(spot, 5), clock(spot), clock(spot), answer(spot, [row(spot, 3)]), clock(spot)]
    spot.take(*frames)
    again = new_run("spot")
    again.take(*frames)

    assert again.records == spot.records
    assert again.commands == spot.commands


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.tuples(st.integers(2, 60), st.integers(1, 25)), max_size=4))
def test_each_id_is_there_once_whatever_is_cut_and_in_whatever_order_it_comes_back(
    new_run: Callable[..., Any], seed: int, cuts: list[tuple[int, int]]
) -> None:
    """Also where state is captured and restored in between."""
    run, random, last = new_run("spot"), Random(seed), 90
    lost = {number for first, count in cuts for number in range(first, first + count)}
    live = [number for number in range(1, last + 1) if number not in lost]
    pages = [list(range(at, min(at + 10, last + 1))) for at in range(1, last + 1, 10)]
    random.shuffle(pages)
    kept: dict[str, list[bytes]] = {}
    for number in live:
        run.take(trade(run, number))
        if random.random() < 0.1:
            page = random.choice(pages)
            run.take(answer(run, [row(run, each) for each in page], f"symbol=BTCUSDT&fromId={page[0]}"), clock(run))
        if random.random() < 0.1:
            run.capture(kept)
            run.resume(kept, Pipeline("BINANCE", "raw.binance", 0, assume_instruments=True))
    late = [number for number in lost if random.random() < 0.2]
    for number in late:
        run.take(trade(run, number))
    for page in pages * 2:
        run.take(answer(run, [row(run, each) for each in page], f"symbol=BTCUSDT&fromId={page[0]}"))

    assert ids(run) == Counter(map(str, range(1, last + 1)))
    gaps = Counter((first, end) for first, end, _ in told(run, "GAP"))
    assert Counter((first, end) for first, end, _ in told(run, "HEALED")) == gaps
    assert told(run, "NOT_HEALED") == []


def test_holes_that_lie_near_each_other_are_asked_for_at_once() -> None:
    healing = Healing()
    for first, last in ((100, 110), (150, 150), (5000, 5001)):
        healing.open(Span(first, last), first, 0)

    assert list(healing.due(ASK_AFTER_US)) == [Ask(100, 150, 100), Ask(5000, 5001, 5000)]
    assert healing.next_us == ASK_AFTER_US + AGAIN_US[0]


def futures_trade(run: Any, number: int) -> Any:
    message = {"feed": "trade", "product_id": "PF_XBTUSD", "uid": f"id-{number}", "side": "buy", "type": "fill",
               "seq": number, "time": run.feed.recv_time_us // 1000, "qty": 1, "price": 100 + number % 7}  # fmt: skip
    return run.feed.frame(json.dumps(message).encode())


def history(run: Any, numbers: list[int]) -> Any:
    """The newest trades of Kraken futures: their names, and no numbers."""
    rows = [{"time": "2024-08-08T23:54:00.000Z", "trade_id": place, "price": 100 + number % 7, "size": 1, "side": "buy",
             "type": "fill", "uid": f"id-{number}"} for place, number in enumerate(reversed(numbers))]  # fmt: skip
    body = json.dumps({"result": "success", "history": rows, "serverTime": "2024-08-08T23:54:20.000Z"}).encode()
    return run.feed.frame(body, "HTTP", request="https://host/derivatives/api/v3/history?symbol=PF_XBTUSD")


def test_trades_without_numbers_get_those_that_lie_between_their_neighbours(new_run: Callable[..., Any]) -> None:
    run = new_run("futures", "KRAKEN")
    run.take(*(futures_trade(run, number) for number in (1, 2, 5, 6, 8)), clock(run), clock(run), clock(run))
    kept: dict[str, list[bytes]] = {}
    run.capture(kept)
    run.resume(kept, Pipeline("KRAKEN", "raw.kraken", 0, assume_instruments=True))

    run.take(history(run, [2, 3, 4, 5]), history(run, [5, 6, 7, 8, 9]), history(run, [2, 3, 4, 5, 6, 7, 8, 9]))

    assert [command.command for command in run.commands] == ["backfill"]
    assert ids(run) == Counter(f"id-{number}" for number in range(1, 9))
    assert {each.trade_id: each.venue_sequence for each in run.of(Tick) if each.flags} == {
        "id-3": 3, "id-4": 4, "id-7": 7
    }  # fmt: skip
    assert told(run, "HEALED") == [(3, 4, 2), (7, 7, 1)]


@pytest.mark.parametrize("numbers", [[2, 3, 5], [3, 4, 5], [2, 3, 4], [2, 33, 3, 4, 5]])
def test_trades_without_numbers_are_left_out_where_an_end_is_missing_or_others_are_between(
    new_run: Callable[..., Any], numbers: list[int]
) -> None:
    run = new_run("futures", "KRAKEN")
    run.take(*(futures_trade(run, number) for number in (1, 2, 5)), history(run, numbers))

    assert ids(run) == Counter(["id-1", "id-2", "id-5"])


def test_the_oldest_of_too_many_holes_is_given_up() -> None:
    healing = Healing()
    given_up = [healing.open(Span(first, first), 0, 0) for first in range(MOST_HOLES + 1)]

    assert given_up[:-1] == [None] * MOST_HOLES
    assert given_up[-1] == Closed(0, 0, 0, 1, "there are too many holes")


def test_a_clock_that_is_set_back_makes_no_hole_wait_longer() -> None:
    healing = Healing()
    healing.open(Span(1, 1), 0, 10**9)

    healing.set_back(0)

    assert list(healing.due(ASK_AFTER_US)) == [Ask(1, 1, 0)]
