"""Trades that were lost where ids tell no hole: which of the newest trades are taken, and when nothing is awaited."""

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.absences import MOST_ABSENCES, Absences
from processors.healing import AGAIN_US, ASK_AFTER_US, Ask, Closed
from processors.pipeline import Pipeline
from schemas.records import DeadLetter, QualityEvent, Tick

SECOND_US = 1_000_000
URL = "https://api.bybit.com/v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000"


@pytest.fixture
def linear(new_run: Callable[..., Any]) -> Any:
    return new_run("linear", "BYBIT")


def trade(run: Any, number: int, time_ms: int) -> Any:
    row = {"T": time_ms, "s": "BTCUSDT", "S": "Buy" if number % 2 else "Sell", "v": "0.5", "p": str(100 + number % 7),
           "L": "PlusTick", "i": f"id-{number}", "BT": False, "RPI": False, "seq": number}  # fmt: skip
    message = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": time_ms, "data": [row]}
    return run.feed.frame(json.dumps(message).encode())


def answer(run: Any, made: dict[int, int], *, code: int = 0) -> Any:
    """The newest trades, newest first; made: number → time in ms."""
    rows = [{"execId": f"id-{number}", "symbol": "BTCUSDT", "price": str(100 + number % 7), "size": "0.5",
             "side": "Buy" if number % 2 else "Sell", "time": str(time_ms), "isBlockTrade": False, "isRPITrade": False,
             "seq": str(number)} for number, time_ms in sorted(made.items(), reverse=True)]  # fmt: skip
    body = {
        "retCode": code,
        "retMsg": "OK",
        "result": {"category": "linear", "list": rows},
        "retExtInfo": {},
        "time": 1,
    }
    return run.feed.frame(json.dumps(body).encode(), "HTTP", request=URL)


def lost(run: Any) -> Any:
    return run.feed.frame(b"gone", "DISCONNECT")


def clocks(run: Any, count: int) -> list[Any]:
    return [run.feed.frame(b"", "CLOCK", after_us=SECOND_US) for _ in range(count)]


def ids(run: Any) -> list[int]:
    return [int(each.trade_id.removeprefix("id-")) for each in run.of(Tick)]


def start(run: Any) -> int:
    return int(run.feed.recv_time_us // 1000)


def test_after_a_lost_connection_the_newest_trades_are_asked_for_and_what_lies_within_is_taken(linear: Any) -> None:
    now_ms = start(linear)
    linear.take(trade(linear, 1, now_ms), trade(linear, 2, now_ms + 5), lost(linear))
    linear.take(*clocks(linear, 5))
    assert not linear.commands

    linear.take(trade(linear, 6, now_ms + 50), *clocks(linear, 3))
    after_ms = {1: 0, 2: 5, 3: 5, 4: 20, 5: 50, 6: 50}
    linear.take(answer(linear, {number: now_ms + each for number, each in after_ms.items()}))

    [command] = linear.commands
    assert (command.command, command.from_sequence) == ("backfill", 0)
    assert (command.from_time_us, command.to_time_us) == ((now_ms + 5) * 1000, (now_ms + 50) * 1000)
    assert ids(linear) == [1, 2, 6, 3, 4, 5]
    restored = [each for each in linear.of(Tick) if "BACKFILL" in each.flags]
    assert [(each.side, each.event_time_us - each.exchange_time_us) for each in restored] == [
        ("BUY", 0), ("SELL", 0), ("BUY", 0),
    ]  # fmt: skip
    [healed] = linear.of(QualityEvent, kind="HEALED")
    assert (healed.count, healed.from_sequence, healed.to_sequence) == (3, 0, 0)


def test_a_time_far_ahead_is_no_time_that_was_seen(linear: Any) -> None:
    now_ms = start(linear)
    linear.take(trade(linear, 1, now_ms), trade(linear, 2, now_ms + 3_600_000), lost(linear))
    linear.take(trade(linear, 6, now_ms + 50), *clocks(linear, 3))
    linear.take(answer(linear, {1: now_ms, 3: now_ms + 5, 6: now_ms + 50}))

    assert ids(linear) == [1, 2, 6, 3]
    assert [each.count for each in linear.of(QualityEvent, kind="HEALED")] == [1]


def test_a_whole_page_leaves_what_another_connection_repeats_known(linear: Any) -> None:
    now_ms = start(linear)
    last, of_page = 1300, 1210
    linear.take(*(trade(linear, number, now_ms + number) for number in range(200)), lost(linear))
    linear.take(*(trade(linear, number, now_ms + number) for number in range(1200, last)), *clocks(linear, 3))
    linear.take(answer(linear, {number: now_ms + number for number in range(of_page - 1000, of_page)}))
    before = len(ids(linear))
    linear.take(*(trade(linear, number, now_ms + number) for number in range(1200, last)))

    assert len(ids(linear)) == before


def test_without_a_loss_no_trade_of_an_answer_is_taken(linear: Any) -> None:
    now_ms = start(linear)
    linear.take(trade(linear, 1, now_ms), trade(linear, 4, now_ms + 9), *clocks(linear, 5))
    linear.take(answer(linear, {2: now_ms + 1, 3: now_ms + 2}))

    assert ids(linear) == [1, 4]
    assert not linear.commands


def test_what_the_newest_trades_do_not_reach_is_given_up(linear: Any) -> None:
    now_ms = start(linear)
    linear.take(trade(linear, 1, now_ms), lost(linear), trade(linear, 9, now_ms + 90), *clocks(linear, 3))
    linear.take(answer(linear, {7: now_ms + 70, 8: now_ms + 80, 9: now_ms + 90}))
    assert linear.of(QualityEvent, kind="HEALED") == []

    linear.take(*clocks(linear, 1000))

    assert ids(linear) == [1, 9, 7, 8]
    assert [each.command for each in linear.commands] == ["backfill"] * len(AGAIN_US)
    [given_up] = linear.of(QualityEvent, kind="NOT_HEALED")
    assert "asked 3 times" in given_up.detail


@pytest.mark.parametrize("body", [b"{", b'{"retCode":0,"result":{"list":[{"execId":"1"}]}}', b'{"retCode":0}'])
def test_an_answer_that_cannot_be_read_is_a_dead_letter(linear: Any, body: bytes) -> None:
    linear.take(linear.feed.frame(body, "HTTP", request=URL))

    assert len(linear.of(DeadLetter)) == 1


def test_a_refusal_is_a_notice_and_other_answers_are_dead_letters(linear: Any) -> None:
    linear.take(answer(linear, {}, code=10001))
    linear.take(linear.feed.frame(b"{}", "HTTP", request=URL.replace("recent-trade", "orderbook")))

    assert len(linear.of(QualityEvent, kind="VENUE_NOTICE")) == len(linear.of(DeadLetter)) == 1


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.tuples(st.integers(3, 70), st.integers(0, 12)), max_size=4))
def test_each_trade_is_there_once_whatever_is_cut(
    new_run: Callable[..., Any], seed: int, cuts: list[tuple[int, int]]
) -> None:
    """Several trades have one time; answers come twice; state is captured and restored in between."""
    run, random, last = new_run("linear", "BYBIT"), Random(seed), 90
    begin_ms = start(run)
    made = {number: begin_ms + number // 3 for number in range(1, last + 1)}
    lost_ids = {number for first, count in cuts for number in range(first, first + count)}
    ends = {first for first, count in cuts if count}
    kept: dict[str, list[bytes]] = {}
    for number, time_ms in made.items():
        if number in ends or (number in lost_ids and number - 1 not in lost_ids):
            run.take(lost(run))
        if number not in lost_ids:
            run.take(trade(run, number, time_ms))
        if random.random() < 0.2:
            run.take(*clocks(run, 3))
        if random.random() < 0.2:
            run.take(answer(run, {each: made[each] for each in range(1, number + 1)}))
        if random.random() < 0.2:
            run.capture(kept)
            run.resume(kept, Pipeline("BYBIT", "raw.bybit", 0, assume_instruments=True))
    run.take(answer(run, made), answer(run, made))

    assert Counter(ids(run)) == Counter(list(made))


def test_a_second_loss_before_a_trade_is_the_same_one() -> None:
    absences = Absences()
    absences.begin()
    absences.note("a", 10, 0)
    absences.begin()
    absences.begin()
    absences.note("d", 40, 1000)

    assert absences.next_us == 1000 + ASK_AFTER_US
    assert list(absences.due(absences.next_us)) == [Ask(0, 0, 10, 40)]
    assert absences.take([("d", 40), ("c", 20), ("b", 10), ("a", 10), ("0", 5)]) == (
        {"b", "c"},
        [Closed(0, 0, 2, 0, "trades of 10 to 40")],
    )
    assert absences.next_us == 0


def lost_between(first_us: int, last_us: int) -> Absences:
    """Lose trades between one that is known at the first time, and one at the last."""
    absences = Absences()
    absences.note("first", first_us, 0)
    absences.begin()
    absences.note("last", last_us, 0)
    return absences


def test_pages_by_time_close_a_loss_once_they_have_told_all_of_it() -> None:
    absences = lost_between(10, 40)

    assert absences.take([("b", 30), ("last", 40)], 26, 50) == ({"b"}, [])
    assert absences.take([("a", 20), ("b", 30)], 21, 30) == ({"a"}, [])
    assert list(absences.due(ASK_AFTER_US)) == [Ask(0, 0, 10, 20)]
    assert absences.take([("a2", 20), ("a", 20), ("first", 10)], 0, 20) == (
        {"a2"},
        [Closed(0, 0, 3, 0, "trades of 10 to 40")],
    )


def test_a_page_that_lacks_the_trade_which_is_known_at_an_end_is_of_no_use() -> None:
    """The venue has not written all of it yet, or REST calls trades otherwise than the stream."""
    absences = lost_between(10, 40)

    assert absences.take([("first", 10), ("a", 20)], 10, 50) == (set(), [])
    assert absences.take([("other", 10), ("a", 20), ("another", 40)], 10, 50) == (set(), [])
    assert absences.take([("other", 10), ("a", 20), ("another", 40)]) == (set(), [])
    assert absences.take([("first", 10), ("a", 20), ("last", 40)], 10, 50)[0] == {"a"}


def test_a_time_of_which_the_venue_has_no_trades_is_told_as_well() -> None:
    absences = lost_between(10, 40)

    assert absences.take([], 15, 35) == (set(), [])
    assert list(absences.due(ASK_AFTER_US)) == [Ask(0, 0, 10, 40)]
    assert absences.take([("first", 10)], 0, 14) == (set(), [])
    assert absences.take([("last", 40)], 36, 45) == (set(), [Closed(0, 0, 0, 0, "trades of 10 to 40")])


def test_a_first_trade_that_is_older_than_the_loss_need_not_be_on_a_page() -> None:
    absences = lost_between(10, 5)

    assert absences.take([("first", 10)], 10, 20) == (set(), [Closed(0, 0, 0, 0, "trades of 10 to 10")])


def test_many_restored_trades_push_out_none_that_another_connection_repeats_and_come_no_second_time(
    new_run: Callable[..., Any],
) -> None:
    """Pages by time hold more than is remembered of the stream; state is captured and restored in between."""
    run, kept = new_run("spot", "BITFINEX"), dict[str, list[bytes]]()
    run.say({"event": "subscribed", "channel": "trades", "chanId": 7, "symbol": "tBTCUSD", "pair": "BTCUSD"})
    now_ms, last = start(run), 4000

    def row(number: int) -> list[Any]:
        return [number, now_ms + number, 0.5, 100 + number % 7]

    def told(number: int) -> Any:
        return run.feed.frame(json.dumps([7, "te", row(number)]).encode())

    def page() -> Any:
        query = f"limit=5000&sort=1&end={now_ms + last + 1}&start={now_ms + 100}"
        body = json.dumps([row(number) for number in range(100, last + 1)]).encode()
        return run.feed.frame(body, "HTTP", request=f"https://host/v2/trades/tBTCUSD/hist?{query}")

    run.take(*(told(number) for number in range(101)), lost(run))
    run.say({"event": "subscribed", "channel": "trades", "chanId": 7, "symbol": "tBTCUSD", "pair": "BTCUSD"})
    run.take(told(last), *clocks(run, 3))
    run.take(page(), page())
    run.capture(kept)
    run.resume(kept, Pipeline("BITFINEX", "raw.bitfinex", 0, assume_instruments=True))
    run.say({"event": "subscribed", "channel": "trades", "chanId": 7, "symbol": "tBTCUSD", "pair": "BTCUSD"})
    run.take(*(told(number) for number in (*range(50, 60), *range(200, 300), last)))

    stored = [int(each.trade_id) for each in run.of(Tick)]
    assert sorted(stored) == list(range(last + 1))
    assert [each.count for each in run.of(QualityEvent, kind="HEALED")] == [last - 101]


def test_times_that_stand_still_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.absences.MOST_KNOWN", 5)
    absences = Absences()
    for number in range(20):
        absences.note(number, 0, 0)
        absences.note(number, 7, 0)

    assert absences.capture().newest == [15, 16, 17, 18, 19]


def test_so_many_are_remembered_and_a_clock_that_is_set_back_makes_none_wait_longer() -> None:
    absences = Absences()
    for number in range(2 * MOST_ABSENCES):
        absences.note(number, 10 * number + 1, 10**9)
        absences.begin()
    absences.note("last", 1000, 10**9)
    absences.set_back(0)

    assert len(absences.capture().absences) == MOST_ABSENCES
    assert absences.next_us == ASK_AFTER_US
