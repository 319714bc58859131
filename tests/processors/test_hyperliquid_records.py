"""Hyperliquid: one documented message a channel, and the record it gives, computed by hand."""

import copy
import json
from typing import Any

import pytest

from fuzz.seeds import whole_messages
from schemas.records import Candle, DeadLetter, Depth, Derivative, QualityEvent, Tick, Ticker
from schemas.venues import hyperliquid

MESSAGES = {market: whole_messages("HYPERLIQUID", market) for market in hyperliquid.MARKETS}
TIME_MS = 1_723_161_240_150
TIME_US = TIME_MS * 1000


@pytest.fixture
def say(new_run: Any) -> Any:
    """Say messages of a market; returns the run."""

    def speak(market: str, *names: str) -> Any:
        run = new_run(market, "HYPERLIQUID")
        run.say(*(MESSAGES[market][name] for name in names))
        assert not run.of(DeadLetter)
        return run

    return speak


def only(records: list[Any], *names: str) -> Any:
    (record,) = records
    return tuple(getattr(record, name) for name in names)


def changed(market: str, name: str, **changes: Any) -> Any:
    """A message with other data."""
    message = copy.deepcopy(MESSAGES[market][name])
    message["data"].update(changes)
    return message


def kinds(run: Any) -> list[str]:
    return [each.kind for each in run.of(QualityEvent) if each.kind != "ASSUMED_INSTRUMENT"]


def test_trades_have_the_takers_side(say: Any) -> None:
    first, second = say("perp", "trades").of(Tick)

    assert (first.symbol, first.price, first.quantity, first.side) == ("BTC/USDC:PERP", 60000.0, 0.025, "SELL")
    assert (first.trade_id, first.exchange_time_us) == ("118906512037719", TIME_US - 6_000)
    assert (second.side, second.trade_id) == ("BUY", "917211710228416")


def test_trades_that_the_first_message_of_a_connection_repeats_are_told_once(say: Any) -> None:
    run = say("perp", "trades", "trades")

    assert len(run.of(Tick)) == 2
    assert "GAP" not in kinds(run)


def test_spot_pairs_go_by_the_names_of_their_tokens(say: Any) -> None:
    assert only(say("spot", "trades").of(Tick), "symbol", "price", "quantity", "side") == (
        "HYPE/USDC", 25.5, 10.25, "BUY",
    )  # fmt: skip


def test_each_book_is_whole(say: Any) -> None:
    depth = only(say("perp", "book").of(Depth), "is_snapshot", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes")

    assert depth == (True, [60000.0, 59999.0], [0.5, 2.25], [60001.0], [0.75])


def test_a_book_that_is_older_than_the_one_before_is_left_out(new_run: Any) -> None:
    run = new_run("perp", "HYPERLIQUID")
    run.say(MESSAGES["perp"]["book"], changed("perp", "book", time=TIME_MS - 500))

    assert [each.exchange_time_us for each in run.of(Depth)] == [TIME_US]
    assert kinds(run) == ["BOOK_READY", "OUT_OF_ORDER"]


def test_a_book_whose_time_stands_still_is_no_longer_believed_and_asked_for(new_run: Any) -> None:
    run = new_run("perp", "HYPERLIQUID")
    book = MESSAGES["perp"]["book"]
    run.say(book)
    for _ in range(4):
        run.take(run.feed.frame(str(book).replace("'", '"').encode(), after_us=8_000_000))
        run.take(run.feed.frame(b"", "CLOCK"))

    assert kinds(run) == ["BOOK_READY", "STALE", "BOOK_RESET"]
    assert [each.command for each in run.commands] == ["resnapshot"]


def test_a_book_whose_time_stands_still_stays_away_until_its_time_moves(new_run: Any) -> None:
    run = new_run("perp", "HYPERLIQUID")
    book, moved = (json.dumps(changed("perp", "book", time=TIME_MS + later)).encode() for later in (0, 1))
    for _ in range(60):
        run.take(run.feed.frame(book, after_us=5_000_000))
        run.take(run.feed.frame(b"", "CLOCK"))

    assert kinds(run) == ["BOOK_READY", "STALE", "BOOK_RESET"]
    assert len([each for each in run.of(Depth) if not each.is_keyframe]) == 7
    assert len(run.commands) > 1  # a snapshot is asked for again and again, ever more rarely

    run.take(run.feed.frame(moved, after_us=5_000_000))
    assert kinds(run) == ["BOOK_READY", "STALE", "BOOK_RESET", "BOOK_READY"]


def test_an_empty_book_stays_empty_without_a_word(new_run: Any) -> None:
    run = new_run("perp", "HYPERLIQUID")
    for number in range(4):
        run.say(changed("perp", "book", levels=[[], []], time=TIME_MS + number))

    assert kinds(run) == ["BOOK_READY"]


def test_quote(say: Any) -> None:
    quote = only(say("perp", "quote").of(Tick), "bid", "bid_size", "ask", "ask_size", "venue_sequence")

    assert quote == (60000.0, 0.5, 60001.0, 0.75, TIME_US + 10_000)


@pytest.mark.parametrize("best", [[{"px": "25.5", "sz": "10", "n": 1}, None], [{"px": "25.5", "sz": "10", "n": 1}]])
def test_a_quote_without_a_side_has_none(new_run: Any, best: Any) -> None:
    run = new_run("spot", "HYPERLIQUID")
    run.say(changed("spot", "quote", bbo=best))

    assert only(run.of(Tick), "bid", "bid_size", "ask", "ask_size") == (25.5, 10.0, None, None)


def test_candle(say: Any) -> None:
    candle = only(say("perp", "candle").of(Candle), "interval", "open_time_us", "close_time_us", "trade_count")
    prices = only(say("perp", "candle").of(Candle), "open", "high", "low", "close", "volume", "is_closed")

    assert candle == ("1m", 1_723_161_240_000_000, 1_723_161_299_999_000, 12)
    assert prices == (60000.0, 60001.0, 59999.0, 60000.5, 3.5, False)


def test_candles_may_come_in_a_list_and_with_bare_numbers(new_run: Any) -> None:
    bare = MESSAGES["perp"]["candle"]["data"] | {"o": 60000.0, "v": 35e-1}
    run = new_run("perp", "HYPERLIQUID")
    run.say({"channel": "candle", "data": [bare, bare | {"i": "5m"}]})

    assert [(each.interval, each.open, each.volume) for each in run.of(Candle)] == [
        ("1m", 60000.0, 3.5),
        ("5m", 60000.0, 3.5),
    ]


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ([], []),
        ([{"t": 60_000}], ["high 101 venue 103"]),
        ([{"h": "101"}, {"t": 60_000}], []),
        ([{"t": 60_000}, {"h": "101"}, {"t": 60_000}], []),  # the venue mends it after its end
        ([{"t": 60_000}, {"t": 120_000}, {"t": 180_000}], ["high 101 venue 103"]),
    ],
)
def test_a_candle_that_nobody_calls_final_is_once_a_later_one_comes(
    new_run: Any, later: Any, expected: list[str]
) -> None:
    run = new_run("perp", "HYPERLIQUID")
    opened_ms = TIME_MS // 60_000 * 60_000 + 60_000
    run.feed.recv_time_us = (opened_ms - 30_000) * 1000
    run.take(run.feed.frame(b"", "CLOCK"), traded(run, 100.0, "1"))
    run.take(*(run.feed.frame(b"", "CLOCK", after_us=1_000_000) for _ in range(31)))
    run.take(traded(run, 100.0, "2"), traded(run, 101.0, "3"))
    run.take(*(run.feed.frame(b"", "CLOCK", after_us=1_000_000) for _ in range(58)))
    figures = {"t": opened_ms, "o": "100", "h": "103", "l": "100", "c": "101", "v": "2", "n": 2, "i": "1m"}
    kept: dict[str, list[bytes]] = {}
    for changes in [{}, *later]:
        while run.feed.recv_time_us < (opened_ms + changes.get("t", 0)) * 1000:
            run.take(run.feed.frame(b"", "CLOCK", after_us=1_000_000))
        later_ms = changes.get("t", 0)
        told = figures | changes | {"t": opened_ms + later_ms} | ({"v": "0", "n": 0} if later_ms else {})
        run.say({"channel": "candle", "data": MESSAGES["perp"]["candle"]["data"] | told})
        run.capture(kept)
        run.resume(kept, type(run)("perp", "HYPERLIQUID").pipeline)
    run.take(*(run.feed.frame(b"", "CLOCK", after_us=1_000_000) for _ in range(12)))

    found = [each.detail.partition(": ") for each in run.of(QualityEvent, kind="BAR_DIFFERS")]
    assert [(place, differences) for place, _, differences in found] == [
        (str(opened_ms * 1000), each) for each in expected
    ]
    assert [each.is_closed for each in run.of(Candle)] == [False] * (len(later) + 1)


def traded(run: Any, price: float, name: str) -> Any:
    """Make a frame of a trade of one coin, told as it is made."""
    trade = MESSAGES["perp"]["trades"]["data"][0]
    made = {"px": str(price), "sz": "1", "time": run.feed.recv_time_us // 1000 + 1, "tid": int(name)}
    message = {"channel": "trades", "data": [trade | made]}
    return run.feed.frame(json.dumps(message).encode())


def test_the_context_of_a_perpetual_gives_its_facts_and_statistics(say: Any) -> None:
    run = say("perp", "context")

    assert {each.kind: each.value for each in run.of(Derivative)} == {
        "MARK_PRICE": 60000.1, "INDEX_PRICE": 60001.25, "OPEN_INTEREST": 36295.5, "FUNDING_RATE": -0.0000125,
    }  # fmt: skip
    assert only(run.of(Ticker), "last", "open", "volume", "quote_volume") == (60000.5, 59500.0, 1200.5, 72000000.5)


def test_the_context_of_a_spot_pair_gives_statistics_alone(say: Any) -> None:
    run = say("spot", "context")

    assert run.of(Derivative) == []
    assert only(run.of(Ticker), "symbol", "last", "volume") == ("HYPE/USDC", 25.55, 100000.25)


def test_where_nobody_quotes_the_mark_price_stands_for_the_last(new_run: Any) -> None:
    message = copy.deepcopy(MESSAGES["perp"]["context"])
    message["data"]["ctx"] |= {"premium": None, "midPx": None, "impactPxs": None}
    run = new_run("perp", "HYPERLIQUID")
    run.say(message)

    assert only(run.of(Ticker), "last") == (60000.1,)


@pytest.mark.parametrize(
    "message",
    [{"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": {"type": "bbo"}}},
     {"channel": "pong"}, b"Websocket connection established."],
)  # fmt: skip
def test_answers_give_nothing(new_run: Any, message: Any) -> None:
    assert new_run("perp", "HYPERLIQUID").say(message) == []


def test_an_error_is_a_notice(new_run: Any) -> None:
    run = new_run("perp", "HYPERLIQUID")
    run.say({"channel": "error", "data": "Invalid subscription"})

    assert only(run.of(QualityEvent), "kind", "detail") == ("VENUE_NOTICE", '"Invalid subscription"')


@pytest.mark.parametrize(
    "message",
    [{}, [], {"channel": "mids", "data": {"mids": {}}}, {"channel": "candle", "data": {"i": "7m"}},
     {"channel": "trades"}, {"channel": "l2Book", "data": {"coin": "BTC", "time": 0, "levels": [[], []]}}],
)  # fmt: skip
def test_what_is_no_message_that_we_know_is_a_dead_letter(new_run: Any, message: Any) -> None:
    run = new_run("perp", "HYPERLIQUID")
    run.say(message)

    assert len(run.of(DeadLetter)) == 1


def test_unknown_fields_are_told_at_each_depth(new_run: Any) -> None:
    message = changed("perp", "book", newer=1)
    message["newest"] = message["data"]["levels"][0][0]["new"] = 2
    run = new_run("perp", "HYPERLIQUID")
    run.say(message)

    assert {each.detail for each in run.of(QualityEvent, kind="UNKNOWN_FIELD")} == {"newer", "newest", "new"}
    assert len(run.of(Depth)) == 1


def answer(stream: str, method: str = "subscribe", **wish: Any) -> Any:
    subscription = {"type": stream, "coin": "BTC", **wish}
    return {"channel": "subscriptionResponse", "data": {"method": method, "subscription": subscription}}


@pytest.mark.parametrize("is_clock_known", [True, False])
def test_trades_of_before_the_answer_to_a_subscription_are_of_the_past(new_run: Any, is_clock_known: bool) -> None:
    first, message = changed("perp", "book", time=TIME_MS - 5), MESSAGES["perp"]["trades"]
    run = new_run("perp", "HYPERLIQUID")
    run.feed.recv_time_us = TIME_US - 6_500
    run.say(*([first] if is_clock_known else []), answer("trades"), message)
    later = copy.deepcopy(message)
    later["data"] = [dict(later["data"][0], tid=1)]
    run.say(later)

    assert [each.flags for each in run.of(Tick)] == ["PAST", "", ""]


def book(count: int, time_ms: int) -> Any:
    bids, asks = (
        [{"px": f"{at + sign * i}", "sz": "1", "n": 1} for i in range(count)] for at, sign in ((99, -1), (101, 1))
    )
    return changed("perp", "book", time=time_ms, levels=[bids, asks])


def test_of_a_slow_and_a_fast_book_the_one_of_more_levels_is_kept(new_run: Any) -> None:
    run = new_run("perp", "HYPERLIQUID")
    run.say(answer("l2Book", nSigFigs=None, fast=False), answer("l2Book", nSigFigs=None, fast=True))
    run.say(book(20, TIME_MS), book(5, TIME_MS + 500), book(20, TIME_MS + 5000))

    assert [len(each.bid_prices) for each in run.of(Depth)] == [20, 20]
    assert "VENUE_NOTICE" in kinds(run)


def test_a_fast_book_alone_is_the_book(new_run: Any) -> None:
    run = new_run("perp", "HYPERLIQUID")
    run.say(answer("l2Book", nSigFigs=None, fast=True), answer("l2Book", nSigFigs=None, fast=False))
    run.say(answer("l2Book", "unsubscribe", nSigFigs=None, fast=False), book(5, TIME_MS))

    assert len(run.of(Depth)) == 1


def test_a_book_whose_levels_are_put_together_is_none(new_run: Any) -> None:
    run = new_run("perp", "HYPERLIQUID")
    run.say(answer("l2Book", nSigFigs=4, fast=False), book(20, TIME_MS))

    assert not run.of(Depth)
    assert "VENUE_NOTICE" in kinds(run)


@pytest.mark.parametrize("channel", ["allMids", "fastAssetCtxs", "post", "userFills"])
def test_what_is_not_read_is_told_of(new_run: Any, channel: str) -> None:
    run = new_run("perp", "HYPERLIQUID")
    run.say({"channel": channel, "data": "q1Zy"})

    assert kinds(run) == ["VENUE_NOTICE"]
    assert not run.of(DeadLetter)
