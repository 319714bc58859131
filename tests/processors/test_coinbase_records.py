"""Coinbase: one documented message a channel of both feeds, and the record it gives, computed by hand."""

import copy
import json
from typing import Any

import pytest

from fuzz.seeds import whole_messages
from schemas.records import Candle, DeadLetter, Depth, QualityEvent, Tick, Ticker
from schemas.venues import coinbase

MESSAGES = {market: whole_messages("COINBASE", market) for market in coinbase.MARKETS}
START_US = 1_723_161_240_000_000  # 2024-08-08T23:54:00Z


@pytest.fixture
def say(new_run: Any) -> Any:
    """Say messages of a feed; returns the run."""

    def speak(market: str, *names: str) -> Any:
        run = new_run(market, "COINBASE")
        run.say(*(MESSAGES[market][name] for name in names))
        assert not run.of(DeadLetter)
        return run

    return speak


def only(records: list[Any], *names: str) -> Any:
    (record,) = records
    return tuple(getattr(record, name) for name in names)


def numbered(name: str, sequence: int) -> Any:
    """A message of Advanced Trade under another number."""
    return copy.deepcopy(MESSAGES["advanced"][name]) | {"sequence_num": sequence}


def kinds(run: Any) -> list[str]:
    return [each.kind for each in run.of(QualityEvent) if each.kind != "ASSUMED_INSTRUMENT"]


def test_the_side_of_a_match_is_turned_round_since_it_is_the_makers(say: Any) -> None:
    trade = only(
        say("exchange", "trade").of(Tick), "symbol", "price", "quantity", "side", "trade_id", "exchange_time_us"
    )

    assert trade == ("BTC/USD", 60000.5, 0.025, "BUY", "901", START_US + 144_123)


def test_the_match_before_the_subscription_is_a_trade_of_the_past_and_told_once(say: Any) -> None:
    assert [(each.trade_id, each.side, each.flags) for each in say("exchange", "trade", "last", "last").of(Tick)] == [
        ("901", "BUY", ""),
        ("902", "SELL", "PAST"),
    ]


def test_a_hole_in_the_ids_of_matches_is_a_gap(new_run: Any) -> None:
    run = new_run("exchange", "COINBASE")
    run.say(MESSAGES["exchange"]["trade"], MESSAGES["exchange"]["last"] | {"trade_id": 905})

    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence", "channel") == (902, 904, "trade")


def test_a_snapshot_and_its_change_are_a_book(say: Any) -> None:
    snapshot, change = say("exchange", "book", "change").of(Depth)

    assert (snapshot.bid_prices, snapshot.bid_sizes) == ([60000.1, 60000.0], [0.5, 2.0])
    assert (change.bid_prices, change.bid_sizes) == ([60000.0], [0.0])
    assert (change.ask_prices, change.ask_sizes) == ([60000.4], [1.5])
    assert (change.exchange_time_us, change.snapshot_id) == (START_US + 170_000, snapshot.snapshot_id)


def test_a_change_older_than_the_book_costs_the_book_and_asks_for_another(new_run: Any) -> None:
    run = new_run("exchange", "COINBASE")
    late = MESSAGES["exchange"]["change"] | {"time": "2024-08-08T23:54:00.160Z"}
    run.say(MESSAGES["exchange"]["book"], MESSAGES["exchange"]["change"], late)

    assert kinds(run) == ["BOOK_READY", "OUT_OF_ORDER", "BOOK_RESET"]
    assert [each.reason for each in run.commands] == ["an update came after newer ones"]


def test_a_removal_that_was_lost_shows_by_a_crossed_book(new_run: Any) -> None:
    """The feed numbers no updates: there is nothing else to notice it by."""
    run = new_run("exchange", "COINBASE", keyframe_us=1_000)
    above = MESSAGES["exchange"]["change"] | {"changes": [["buy", "60000.3", "1"]]}
    run.say(MESSAGES["exchange"]["book"], above)

    assert kinds(run) == ["BOOK_READY", "CROSSED", "BOOK_RESET"]
    assert len(run.commands) == 1


def test_a_change_without_a_time_is_used(new_run: Any) -> None:
    """A few of 2020 say the year 1."""
    run = new_run("exchange", "COINBASE")
    run.say(MESSAGES["exchange"]["book"], MESSAGES["exchange"]["change"] | {"time": "0001-01-01T00:00:00.000000Z"})

    assert [each.exchange_time_us for each in run.of(Depth)] == [START_US + 150_000, 0]
    assert kinds(run) == ["BOOK_READY"]


UNREAD = {"type": "l2update", "product_id": "BTC-USD", "time": "2026-12-01T00:00:01Z", "changes": [["buy", "1", None]]}


def test_a_change_that_cannot_be_read_costs_the_books_of_its_connection(say: Any) -> None:
    run = say("exchange", "book")
    run.say(UNREAD)

    assert len(run.of(DeadLetter)) == 1
    assert kinds(run) == ["BOOK_READY", "BOOK_RESET", "DEAD_LETTER"]
    assert [each.command for each in run.commands] == ["resnapshot"]

    run.say(MESSAGES["exchange"]["book"])
    assert kinds(run)[3:] == ["BOOK_READY"]


def test_messages_that_are_seen_to_be_of_no_book_cost_none(say: Any) -> None:
    run = say("exchange", "book")
    run.say({"type": "profile"}, {"type": "match", "price": None})

    assert kinds(run) == ["BOOK_READY", "DEAD_LETTER"]
    assert not run.commands


def test_a_connection_that_sends_garbage_is_resynced_ever_more_rarely(say: Any) -> None:
    run = say("exchange", "book")
    for _ in range(300):  # a second each; a snapshot comes as soon as it is asked for
        asked = len(run.commands)
        run.take(run.feed.frame(b"{", after_us=1_000_000))
        run.take(run.feed.frame(b"", "CLOCK"))
        if len(run.commands) > asked:
            run.say(MESSAGES["exchange"]["book"])

    assert 5 < len(run.commands) < 12


def test_a_ticker_is_a_quote_and_the_statistics_of_a_day(say: Any) -> None:
    run = say("exchange", "ticker")

    quote = only(run.of(Tick), "kind", "bid", "bid_size", "ask", "ask_size", "venue_sequence")
    ticker = only(run.of(Ticker), "last", "last_size", "open", "high", "low", "volume", "bid", "ask_size")
    assert quote == ("QUOTE", 60000.1, 0.5, 60000.2, 0.75, 5003)
    assert ticker == (60000.1, 1.5, 59500.0, 61000.0, 59000.0, 1200.5, 60000.1, 0.75)


def test_a_ticker_without_sizes_as_until_2022_is_a_quote_whose_sizes_nobody_knows(new_run: Any) -> None:
    old = {name: value for name, value in MESSAGES["exchange"]["ticker"].items() if not name.endswith("_size")}
    run = new_run("exchange", "COINBASE")
    run.say(old | {"last_size": "1.5"})

    assert only(run.of(Tick), "bid", "bid_size", "ask", "ask_size") == (60000.1, None, 60000.2, None)
    assert only(run.of(Ticker), "bid", "bid_size") == (60000.1, None)


@pytest.mark.parametrize(
    "message",
    [{"type": "subscriptions", "channels": []}, {"type": "heartbeat", "sequence": 90, "last_trade_id": 20},
     {"type": "status", "products": [], "currencies": []}],
)  # fmt: skip
def test_answers_heartbeats_and_lists_of_the_exchange_feed_give_nothing(new_run: Any, message: Any) -> None:
    assert new_run("exchange", "COINBASE").say(message) == []


def test_a_level_that_is_no_number_costs_itself_alone(new_run: Any) -> None:
    """Such snapshots were sent, and each that is asked for tells the same."""
    run = new_run("exchange", "COINBASE")
    book = {"type": "snapshot", "product_id": "YFI-USD", "asks": [["40584.89", "0.039985"]]}
    run.say(book | {"bids": [["40533.24", "0.020416"], ["40531.19", "0.-10000"]]})

    assert only(run.of(Depth, is_snapshot=True), "bid_prices", "ask_prices") == ([40533.24], [40584.89])
    assert "0.-10000" in only(run.of(DeadLetter), "reason")[0]
    assert not run.commands


@pytest.mark.parametrize(("message", "reason"), [({"type": "profile"}, "not known"), ({}, "type")])
def test_messages_of_channels_that_are_not_known_are_dead_letters(new_run: Any, message: Any, reason: str) -> None:
    run = new_run("exchange", "COINBASE")
    run.say(message)

    assert reason in only(run.of(DeadLetter), "reason")[0]


def test_an_error_is_a_notice_on_both_feeds(new_run: Any) -> None:
    exchange, advanced = new_run("exchange", "COINBASE"), new_run("advanced", "COINBASE")
    exchange.say({"type": "error", "message": "Failed to subscribe", "reason": "level2 requires authentication"})
    advanced.say({"type": "error", "message": "rate limit exceeded"})

    assert only(exchange.of(QualityEvent), "detail") == ("Failed to subscribe: level2 requires authentication",)
    assert only(advanced.of(QualityEvent), "detail") == ("rate limit exceeded",)


def test_trades_of_one_message_come_the_oldest_first_with_the_aggressors_side(say: Any) -> None:
    ticks = say("advanced", "trades").of(Tick)

    assert [(each.trade_id, each.side, each.price) for each in ticks] == [
        ("901", "BUY", 60000.5),
        ("902", "SELL", 60000.1),
    ]


def test_trades_that_the_first_message_of_a_channel_repeats_are_told_once(new_run: Any) -> None:
    run = new_run("advanced", "COINBASE")
    run.say(numbered("trades", 4), numbered("trades", 5))

    assert len(run.of(Tick)) == 2


def test_ids_that_are_no_numbers_are_kept(new_run: Any) -> None:
    message = numbered("trades", 0)
    message["events"][0]["trades"][0]["trade_id"] = "ab-1"
    message["events"][0]["type"] = "snapshot"
    run = new_run("advanced", "COINBASE")
    run.say(message)

    assert [(each.trade_id, each.flags) for each in run.of(Tick)] == [("901", "PAST"), ("ab-1", "PAST")]


def test_a_book_of_advanced_trade_has_the_newest_time_of_its_levels(say: Any) -> None:
    snapshot, change = say("advanced", "book", "change").of(Depth)

    assert (snapshot.bid_prices, snapshot.ask_prices) == ([60000.1, 60000.0], [60000.2])
    assert (change.bid_sizes, change.ask_prices, change.ask_sizes) == ([0.0], [60000.4], [1.5])
    assert (snapshot.exchange_time_us, change.exchange_time_us) == (START_US + 150_123, START_US + 170_000)


def test_ticker_and_quote_of_advanced_trade(say: Any) -> None:
    run = say("advanced", "ticker")

    quote = only(run.of(Tick), "kind", "bid", "bid_size", "ask", "ask_size", "venue_sequence")
    assert quote == ("QUOTE", 60000.1, 0.5, 60000.2, 0.75, START_US + 150_123)
    assert only(run.of(Ticker), "last", "high", "low", "volume") == (60000.1, 61000.0, 59000.0, 1200.5)


@pytest.mark.parametrize("is_newer_first", [False, True])
def test_what_two_connections_stamp_differently_is_told_once(new_run: Any, *, is_newer_first: bool) -> None:
    """As while a renewed connection and the old one overlap, until the old one is closed."""
    run = new_run("advanced", "COINBASE")
    old, new = run.feed, type(run.feed)("advanced", "new", venue="COINBASE")

    def told(feed: Any, sequence: int, microsecond: int, bid: str) -> None:
        message = numbered("ticker", sequence) | {"timestamp": f"2024-08-08T23:54:01.{microsecond:06}Z"}
        message["events"][0]["tickers"][0]["best_bid"] = bid
        run.take_record(feed.record(feed.frame(json.dumps(message).encode())))

    told(old, 0, 100, "59999.1")
    for number, bid in enumerate(("59999.2", "59999.3", "59999.2"), start=1):
        copies = [(old, number, 1000 * number, bid), (new, number - 1, 1000 * number + 7, bid)]
        for copy_ in reversed(copies) if is_newer_first else copies:
            told(*copy_)
    run.take_record(old.record(old.frame(b"renewed", "DISCONNECT")))
    told(new, 3, 5000, "59999.4")

    bids = [59999.1, 59999.2, 59999.3, 59999.2, 59999.4]
    assert [each.bid for each in run.of(Ticker)] == bids
    assert all(each.exchange_time_us for each in run.of(Ticker))
    assert [each.bid for each in run.of(Tick)] == bids
    assert set(kinds(run)) == {"DISCONNECT"}


def test_a_candle_of_five_minutes_is_open_until_they_are_over(new_run: Any) -> None:
    run = new_run("advanced", "COINBASE")
    run.say(numbered("candle", 0), numbered("candle", 1) | {"timestamp": "2024-08-08T23:59:00Z"})

    first, second = run.of(Candle)
    assert (first.interval, first.open_time_us, first.close_time_us) == ("5m", START_US, START_US + 300_000_000)
    assert (first.open, first.high, first.low, first.close, first.volume) == (60000.0, 60001.0, 59999.0, 60000.5, 3.5)
    assert (first.is_closed, second.is_closed) == (False, True)


def test_a_missing_number_costs_the_books_of_the_connection(new_run: Any) -> None:
    run = new_run("advanced", "COINBASE")
    run.say(numbered("book", 1), numbered("change", 2), numbered("ticker", 4))

    assert kinds(run) == ["BOOK_READY", "GAP", "BOOK_RESET"]
    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (3, 3)
    assert len(run.commands) == 1


def test_what_came_again_or_late_changes_no_book(new_run: Any) -> None:
    run = new_run("advanced", "COINBASE")
    run.say(numbered("book", 1), numbered("change", 2), numbered("book", 1), numbered("trades", 2))

    assert kinds(run) == ["BOOK_READY", "VENUE_NOTICE", "VENUE_NOTICE"]
    assert len(run.of(Depth)) == 2
    assert len(run.of(Tick)) == 2


def test_a_message_of_a_book_that_cannot_be_used_is_missed_by_the_next_one(new_run: Any) -> None:
    run = new_run("advanced", "COINBASE")
    broken = numbered("change", 2)
    broken["events"][0]["updates"][0]["new_quantity"] = "-1"
    run.say(numbered("book", 1), broken, {"channel": "new", "sequence_num": 3}, numbered("ticker", 4))

    assert len(run.of(DeadLetter)) == 2
    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (2, 3)


@pytest.mark.parametrize("channel", ["heartbeats", "subscriptions", "status"])
def test_silent_channels_count_as_well(new_run: Any, channel: str) -> None:
    run = new_run("advanced", "COINBASE")
    run.say(numbered("book", 1), {"channel": channel, "sequence_num": 2, "events": [{}]}, numbered("change", 3))

    assert kinds(run) == ["BOOK_READY"]


def test_unknown_fields_are_told_at_each_depth(new_run: Any) -> None:
    message = numbered("book", 1) | {"new": 1}
    message["events"][0]["newer"] = 2
    for level in message["events"][0]["updates"]:
        level["newest"] = 3
    run = new_run("advanced", "COINBASE")
    run.say(message)

    assert [each.detail for each in run.of(QualityEvent, kind="UNKNOWN_FIELD")] == ["new", "newer", "newest"]
    assert len(run.of(Depth)) == 1


def test_answers_to_requests_and_other_markets_are_refused(new_run: Any) -> None:
    run = new_run("exchange", "COINBASE")
    run.take(run.feed.frame(b"{}", "HTTP", request="https://api.example/products"))
    run.feed.market = "futures"
    run.say(MESSAGES["exchange"]["trade"])

    assert ["request" in run.of(DeadLetter)[0].reason, "futures" in run.of(DeadLetter)[1].reason] == [True, True]


def test_missing_matches_come_by_rest_newest_first_with_the_makers_side(new_run: Any) -> None:
    run = new_run("exchange", "COINBASE")
    run.say(MESSAGES["exchange"]["trade"], MESSAGES["exchange"]["trade"] | {"trade_id": 904})
    rows = [
        {"trade_id": 903, "side": "sell", "size": "0.5", "price": "60000.7", "time": "2024-08-08T23:54:00.2Z"},
        {"trade_id": 902, "side": "buy", "size": "1.25", "price": "60000.1", "time": "2024-08-08T23:54:00.144999Z"},
    ]
    request = "https://api.exchange.coinbase.com/products/BTC-USD/trades?limit=1000&after=904"
    run.take(run.feed.frame(json.dumps(rows).encode(), "HTTP", request=request))

    found = [(each.trade_id, each.price, each.quantity, each.side, each.exchange_time_us) for each in run.of(Tick)[2:]]
    assert found == [
        ("902", 60000.1, 1.25, "SELL", START_US + 144_999),
        ("903", 60000.7, 0.5, "BUY", START_US + 200_000),
    ]
    assert kinds(run) == ["GAP", "HEALED"]


def test_answers_to_other_requests_are_dead_letters(new_run: Any) -> None:
    for market, path in (("exchange", "/products/BTC-USD/book"), ("advanced", "/products/BTC-USD/trades")):
        run = new_run(market, "COINBASE")
        run.take(run.feed.frame(b"[]", "HTTP", request=f"https://host{path}"))
        assert len(run.of(DeadLetter)) == 1


def test_a_trade_whose_side_the_venue_does_not_know_is_a_trade(new_run: Any) -> None:
    run = new_run("advanced", "COINBASE")
    message = numbered("trades", 0)
    message["events"][0]["trades"][0]["side"] = "UNKNOWN_ORDER_SIDE"
    run.say(message)

    assert "UNKNOWN" in [each.side for each in run.of(Tick)]
    assert not run.of(DeadLetter)


@pytest.mark.parametrize("missing", ["best_bid", "best_ask"])
@pytest.mark.parametrize("market", ["exchange", "advanced"])
def test_a_price_that_is_not_told_empties_no_side(new_run: Any, market: str, missing: str) -> None:
    run = new_run(market, "COINBASE")
    message = copy.deepcopy(MESSAGES[market]["ticker"])
    del (message if market == "exchange" else message["events"][0]["tickers"][0])[missing]
    run.say(message)

    assert not run.of(Tick)
    assert len(run.of(Ticker)) == 1


def test_a_message_of_a_channel_without_events_is_refused_and_missed(new_run: Any) -> None:
    run = new_run("advanced", "COINBASE")
    message = numbered("change", 1)
    del message["events"]
    run.say(numbered("book", 0), message, numbered("change", 2))

    assert len(run.of(DeadLetter)) == 1
    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (1, 1)
