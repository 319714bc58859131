"""Bybit: one documented message a channel, and the record it gives, computed by hand."""

from typing import Any

import pytest

from fuzz.seeds import whole_messages
from schemas.records import Candle, DeadLetter, Depth, Derivative, QualityEvent, Tick, Ticker
from schemas.venues import bybit

NOW_US = 1_795_910_400_300_000  # as the messages have it
MESSAGES = {market: whole_messages("BYBIT", market) for market in bybit.MARKETS}


@pytest.fixture
def say(new_run: Any) -> Any:
    """Say messages of a market; returns the run."""

    def speak(market: str, *names: str) -> Any:
        run = new_run(market, "BYBIT")
        run.feed.recv_time_us = NOW_US
        run.say(*(MESSAGES[market][name] for name in names))
        assert not run.of(DeadLetter)
        assert not run.of(QualityEvent, kind="UNKNOWN_FIELD")
        return run

    return speak


def only(records: list[Any], *names: str) -> Any:
    (record,) = records
    return tuple(getattr(record, name) for name in names)


def test_a_spot_trade_is_of_the_takers_side(say: Any) -> None:
    trade = only(say("spot", "trade").of(Tick), "symbol", "price", "quantity", "side", "trade_id", "exchange_time_us")

    assert trade == ("BTC/USDT", 60000.5, 0.025, "SELL", "2290000000061666327", 1_795_910_400_144_000)


def test_a_block_trade_is_off_the_book_and_its_id_a_uuid(say: Any) -> None:
    trade = only(say("linear", "trade").of(Tick), "symbol", "side", "trade_id", "flags")

    assert trade == ("BTC/USDT:PERP", "BUY", "0cbf2330-952d-5d03-a462-4bf826c867af", "OFF_BOOK")


def test_inverse_contracts_are_usd(say: Any) -> None:
    trade = only(say("inverse", "trade").of(Tick), "symbol", "quantity")

    assert trade == ("BTC/USD:PERP", 0.05)  # 3,000 USD at 60,000


def test_the_same_trade_twice_is_taken_once(say: Any) -> None:
    run = say("linear", "trade", "trade")

    assert len(run.of(Tick)) == 1
    assert len(run.of(QualityEvent, kind="DUPLICATE")) == 1


def test_a_quote_that_is_sent_again_for_it_has_not_changed_is_none(say: Any) -> None:
    run, quote = say("spot", "quote"), MESSAGES["spot"]["quote"]
    run.say(quote | {"ts": quote["ts"] + 3000})
    run.say(quote | {"data": quote["data"] | {"u": 6, "seq": 79}})

    assert [each.venue_sequence for each in run.of(Tick)] == [78, 79]
    assert not run.of(QualityEvent, kind="DUPLICATE")


def test_a_change_of_a_quote_that_is_not_known_is_none(new_run: Any) -> None:
    run, quote = new_run("spot", "BYBIT"), MESSAGES["spot"]["quote"]
    run.say(quote | {"type": "delta", "data": quote["data"] | {"a": []}})

    assert not run.of(Tick)
    assert not run.of(DeadLetter)


def test_a_book_of_one_level_is_a_quote(say: Any) -> None:
    quote = only(say("spot", "quote").of(Tick), "bid", "bid_size", "ask", "ask_size", "venue_sequence")

    assert quote == (60000.1, 0.5, 60000.2, 0.75, 78)


def test_changes_of_a_book_of_one_level_as_they_were_sent_until_2024_are_completed(say: Any) -> None:
    run = say("spot", "quote")
    quote = MESSAGES["spot"]["quote"]
    change = {"b": [["60000.1", "0"], ["59999.9", "2"]], "a": [], "u": 6, "seq": 80}
    run.say(quote | {"type": "delta", "data": quote["data"] | change})

    last = run.of(Tick)[-1]
    assert (last.bid, last.bid_size, last.ask, last.ask_size) == (59999.9, 2.0, 60000.2, 0.75)


def test_a_book_stands_with_the_snapshot_of_the_stream_and_changes(say: Any) -> None:
    snapshot, change = say("spot", "book", "change").of(Depth)

    assert (snapshot.is_snapshot, snapshot.ask_prices, snapshot.sequence) == (True, [60000.2], 10)
    assert (change.snapshot_id, change.sequence, change.bid_sizes) == (snapshot.snapshot_id, 11, [0.0])


def test_sizes_of_inverse_books_are_base_currency(say: Any) -> None:
    (snapshot,) = say("inverse", "book").of(Depth)

    assert (snapshot.bid_sizes, snapshot.ask_sizes) == ([0.1], [pytest.approx(1200 / 60000.5)])


def test_a_change_with_update_id_1_is_a_snapshot(say: Any) -> None:
    run = say("spot", "book")
    change = MESSAGES["spot"]["change"]
    run.say(change | {"data": change["data"] | {"u": 1, "b": [["50000", "1"]]}})

    assert [each.is_snapshot for each in run.of(Depth)] == [True, True]
    assert not run.of(QualityEvent, kind="GAP")


def test_a_missing_update_is_a_gap_of_that_book(say: Any) -> None:
    run = say("spot", "book")
    change = MESSAGES["spot"]["change"]
    run.say(change | {"data": change["data"] | {"u": 13}})

    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (11, 12)
    assert [each.command for each in run.commands] == ["resnapshot"]


def test_a_partial_ticker_is_completed(say: Any) -> None:
    first, second = say("linear", "ticker", "ticker change").of(Ticker)

    assert (first.last, first.open, first.volume, first.ask) == (60000.5, 59500.0, 70000.0, 60000.5)
    assert (second.last, second.open, second.volume, second.ask) == (60000.4, 59500.0, 70000.0, 60000.6)
    assert second.exchange_time_us == 1_795_910_400_300_000


def test_what_a_change_tells_is_gone_is_gone(say: Any) -> None:
    run = say("linear", "ticker")
    gone = {"bid1Price": "", "bid1Size": "0", "volume24h": "0", "turnover24h": "0"}
    change = MESSAGES["linear"]["ticker change"]
    run.say(change | {"data": {"symbol": "BTCUSDT"} | gone})

    last = run.of(Ticker)[-1]
    assert (last.bid, last.bid_size, last.volume, last.quote_volume) == (None, None, 0.0, 0.0)
    assert (last.last, last.ask, last.ask_size) == (60000.5, 60000.5, 15.0)


def test_a_snapshot_takes_nothing_from_the_ticker_before(say: Any) -> None:
    run = say("linear", "ticker")
    whole = MESSAGES["linear"]["ticker"]
    data = {"symbol": "BTCUSDT", "lastPrice": "60001", "volume24h": "0"}
    run.say(whole | {"ts": whole["ts"] + 1, "data": data})

    last = run.of(Ticker)[-1]
    assert (last.last, last.volume, last.open, last.bid) == (60001.0, 0.0, None, None)


def test_changes_are_of_what_their_own_connection_told_before(say: Any) -> None:
    """A copy that comes late is no part of what the other one goes on with."""
    run = say("linear", "ticker")
    one, change = run.feed, MESSAGES["linear"]["ticker change"]
    other = type(one)("linear", "d", "BYBIT")

    def say_of(feed: Any, message: Any) -> None:
        run.feed, feed.recv_time_us = feed, one.recv_time_us
        run.say(message)

    def changed(after_ms: int, **data: str) -> Any:
        return change | {"ts": change["ts"] + after_ms, "data": {"symbol": "BTCUSDT"} | data}

    say_of(other, MESSAGES["linear"]["ticker"])
    say_of(one, changed(100, lastPrice="60001"))
    say_of(one, changed(200, lastPrice="60002"))
    say_of(other, changed(100, lastPrice="60001"))
    say_of(one, changed(300, volume24h="70001"))

    assert [(each.last, each.volume) for each in run.of(Ticker)] == [
        (60000.5, 70000.0), (60001.0, 70000.0), (60002.0, 70000.0), (60002.0, 70001.0),
    ]  # fmt: skip


def test_a_change_before_any_ticker_gives_no_ticker(say: Any) -> None:
    run = say("linear", "ticker change")

    assert not run.of(Ticker)
    assert only(run.of(Derivative), "kind", "value") == ("OPEN_INTEREST", 52774.4)


def test_turnover_of_inverse_contracts_is_base_volume(say: Any) -> None:
    assert only(say("inverse", "ticker").of(Ticker), "volume", "quote_volume") == (23389.5, 1_403_370_000.0)


def test_tickers_tell_mark_index_open_interest_and_funding(say: Any) -> None:
    run = say("linear", "ticker")

    assert [(each.kind, each.value, each.next_time_us) for each in run.of(Derivative)] == [
        ("MARK_PRICE", 60000.2, 0),
        ("INDEX_PRICE", 60001.1, 0),
        ("OPEN_INTEREST", 52774.5, 0),
        ("FUNDING_RATE", -0.0001, 1_795_939_200_000_000),
    ]


def test_a_candle(say: Any) -> None:
    names = ("symbol", "interval", "open_time_us", "close_time_us", "high", "volume", "quote_volume", "is_closed")

    assert only(say("spot", "candle").of(Candle), *names) == (
        "BTC/USDT", "1m", 1_795_910_400_000_000, 1_795_910_459_999_000, 60001.0, 3.5, 210_000.0, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("market", "name", "side"), [("linear", "liquidation", "SELL"), ("inverse", "liquidation until 2025", "BUY")]
)
def test_a_liquidation_is_an_order_against_the_position(say: Any, market: str, name: str, side: str) -> None:
    assert only(say(market, name).of(Derivative), "kind", "side") == ("LIQUIDATION", side)


@pytest.mark.parametrize(
    "payload",
    [
        {"success": True, "ret_msg": "subscribe", "conn_id": "x", "req_id": "1", "op": "subscribe"},
        {"success": True, "ret_msg": "pong", "conn_id": "x", "op": "ping"},
        {"req_id": "1", "op": "pong", "args": ["1795910400144"], "conn_id": "x"},
    ],
)
def test_answers_give_nothing(new_run: Any, payload: Any) -> None:
    assert not new_run("spot", "BYBIT").say(payload)


def test_a_refused_request_is_told(new_run: Any) -> None:
    run = new_run("spot", "BYBIT")
    run.say(
        {"success": False, "ret_msg": "error:topic trade.BTCUSDT", "conn_id": "x", "req_id": "1", "op": "subscribe"}
    )

    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1


@pytest.mark.parametrize(
    "message",
    [
        {"topic": "orderBookL2_25.BTCUSD", "type": "snapshot", "data": [], "cross_seq": 1, "timestamp_e6": 1},
        {"topic": "bookTicker.BTCUSDT", "data": {"s": "BTCUSDT"}},
        {"topic": "depth", "event": "cancel", "params": {}},
        {
            "topic": "liquidation.ETHUSD",
            "data": {"symbol": "ETHUSD", "side": "Sell", "price": "3384.15", "qty": "3655"},
        },
        {"topic": "liquidation.BTCUSD", "generated": True, "data": [{"id": 1, "qty": 836, "symbol": "BTCUSD"}]},
    ],
)
def test_a_protocol_that_was_retired_is_named_in_the_dead_letter(new_run: Any, message: Any) -> None:
    run = new_run("inverse", "BYBIT")
    run.say(message)

    assert "before v5" in only(run.of(DeadLetter), "reason")[0]


def book(depth: int, kind: str, update_id: int, ask: str, ms: int = 0) -> Any:
    """A message of a book of so many levels, each of which is numbered by itself."""
    data = {"s": "BTCUSDT", "b": [["60000", "1"]], "a": [[ask, "2"]], "u": update_id, "seq": update_id}
    times = {"ts": 1_795_910_400_200 + ms, "cts": 1_795_910_400_200 + ms}
    return {"topic": f"orderbook.{depth}.BTCUSDT", "type": kind, "data": data} | times


def test_of_several_depths_on_one_connection_the_deepest_is_the_book(new_run: Any) -> None:
    run = new_run("linear", "BYBIT")
    run.feed.recv_time_us = NOW_US
    run.say(book(50, "snapshot", 900, "60001"), book(500, "snapshot", 70, "60001"), book(50, "snapshot", 901, "60001"))
    for step in range(1, 4):
        run.say(book(50, "delta", 901 + step, "60002"), book(500, "delta", 70 + step, f"6000{step}"))

    assert [each.sequence for each in run.of(Depth, is_snapshot=False)] == [71, 72, 73]
    assert [each.sequence for each in run.of(Depth, is_snapshot=True)] == [900, 70]
    assert not run.of(QualityEvent, kind="GAP")
    assert only(run.of(QualityEvent, kind="VENUE_NOTICE"), "detail") == (
        "orderbook.50.BTCUSDT is left out: a deeper book of the same symbol is kept",
    )
    assert not run.commands


def test_a_shallower_book_takes_over_from_one_that_comes_no_more(new_run: Any) -> None:
    run = new_run("linear", "BYBIT")
    run.feed.recv_time_us = NOW_US
    run.say(book(500, "snapshot", 70, "60001"), book(50, "snapshot", 900, "60002", 9_999))
    run.say(book(50, "snapshot", 905, "60003", 10_000), book(50, "delta", 906, "60003", 10_100))

    assert [each.sequence for each in run.of(Depth)] == [70, 905, 906]


@pytest.mark.parametrize("topic", ["orderbook.BTCUSDT", "orderbook.1234567.BTCUSDT"])
def test_a_book_of_no_depth_is_a_dead_letter(new_run: Any, topic: str) -> None:
    run = new_run("linear", "BYBIT")
    run.say(book(50, "snapshot", 1, "60001") | {"topic": topic})

    assert only(run.of(DeadLetter), "reason") == (f"topic {topic!r} is not known",)


def test_a_change_of_funding_is_due_when_it_was_told_before(say: Any) -> None:
    run = say("linear", "ticker")
    change = MESSAGES["linear"]["ticker change"]
    run.say(change | {"data": {"symbol": "BTCUSDT", "fundingRate": "0.0002"}})

    assert [(each.value, each.next_time_us) for each in run.of(Derivative, kind="FUNDING_RATE")] == [
        (-0.0001, 1_795_939_200_000_000),
        (0.0002, 1_795_939_200_000_000),
    ]


@pytest.mark.parametrize(("name", "changes"), [("ticker", {"type": ""}), ("trade", {"data": [{"i": ""}]})])
def test_what_lacks_by_what_it_is_told_apart_is_refused(new_run: Any, name: str, changes: Any) -> None:
    run = new_run("linear", "BYBIT")
    message = MESSAGES["linear"][name] | changes
    if "data" in changes:
        message["data"] = [MESSAGES["linear"][name]["data"][0] | changes["data"][0]]
    run.say(message)

    assert [type(each) for each in run.records if not isinstance(each, QualityEvent)] == [DeadLetter]
