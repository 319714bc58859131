"""KuCoin: one documented message a channel, and the record it gives, computed by hand."""

import copy
import json
from typing import Any

import pytest

from fuzz.seeds import whole_messages
from schemas.records import Candle, DeadLetter, Depth, Derivative, QualityEvent, Tick, Ticker
from schemas.venues import kucoin

NOW_US = 1_795_910_400_300_000  # as the messages have it
MESSAGES = {market: whole_messages("KUCOIN", market) for market in kucoin.MARKETS}
SPOT_BOOK = "https://api.example/api/v1/market/orderbook/level2_100?symbol=BTC-USDT"
FUTURES_BOOK = "https://api.example/api/v1/level2/snapshot?symbol=XBTUSDTM"


@pytest.fixture
def say(new_run: Any) -> Any:
    """Say messages of a market; returns the run."""

    def speak(market: str, *names: str) -> Any:
        run = new_run(market, "KUCOIN")
        run.feed.recv_time_us = NOW_US
        run.say(*(MESSAGES[market][name] for name in names))
        assert not run.of(DeadLetter)
        assert not run.of(QualityEvent, kind="UNKNOWN_FIELD")
        return run

    return speak


def only(records: list[Any], *names: str) -> Any:
    (record,) = records
    return tuple(getattr(record, name) for name in names)


def snapshot(run: Any, request: str, sequence: Any, bids: Any = (), asks: Any = ()) -> None:
    body = {"code": "200000", "data": {"sequence": sequence, "bids": bids, "asks": asks}}
    run.take(run.feed.frame(json.dumps(body).encode(), "HTTP", request=request))


def test_a_spot_trade_is_of_the_takers_side_and_its_time_in_ns(say: Any) -> None:
    names = ("symbol", "price", "quantity", "side", "trade_id", "exchange_time_us")

    assert only(say("spot", "trade").of(Tick), *names) == (
        "BTC/USDT", 60000.5, 0.025, "SELL", "62faddff2e113d292396c272", 1_795_910_400_144_264,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trade", ("BTC/USDT:PERP", 0.016, "BUY")),  # 16 contracts of 0.001 BTC
        ("inverse trade", ("BTC/USD:PERP", 0.05, "SELL")),  # 3,000 USD at 60,000
    ],
)
def test_contracts_become_base_currency(say: Any, name: str, expected: Any) -> None:
    assert only(say("futures", name).of(Tick), "symbol", "quantity", "side") == pytest.approx(expected)


def test_quotes(say: Any) -> None:
    names = ("bid", "bid_size", "ask", "ask_size", "venue_sequence")
    assert only(say("spot", "quote").of(Tick), *names) == (60000.1, 0.5, 60000.2, 0.75, 1630218274617)
    assert only(say("futures", "quote").of(Tick), *names) == pytest.approx((60000.1, 0.5, 60000.2, 0.75, 5))
    assert only(say("futures", "old quote").of(Tick), *names) == pytest.approx((60000.1, 0.5, 60000.2, 0.75, 6))


def test_a_message_is_split_by_the_sequences_of_its_changes(say: Any) -> None:
    """101 removes a bid, 102 only moves on, 103 sets an ask: what a snapshot at 101 holds is not applied again."""
    first, second = say("spot", "change").of(Depth)

    assert (first.first_sequence, first.sequence, first.bid_sizes, first.ask_prices) == (100, 101, [0.0], [])
    assert (second.first_sequence, second.sequence, second.bid_prices, second.ask_sizes) == (102, 103, [], [1.5])


def test_a_snapshot_amid_a_message_leaves_out_what_it_holds(say: Any) -> None:
    run = say("spot", "change")
    snapshot(run, SPOT_BOOK, "102", bids=[["60000", "5"]], asks=[["60000.3", "1"]])

    (book,) = run.of(Depth, is_snapshot=True)
    assert (book.bid_prices, book.ask_prices, book.sequence) == ([60000.0], [60000.3, 60000.4], 103)


def test_a_book_of_contracts_counts_base_currency_and_may_be_empty(say: Any) -> None:
    run = say("futures", "change")
    snapshot(run, FUTURES_BOOK, 8, bids=None, asks=[[60001, 5000]])

    (book,) = run.of(Depth, is_snapshot=True)
    assert (book.bid_sizes, book.ask_sizes) == ([pytest.approx(4.374)], [5.0])


def test_a_hole_in_sequences_is_a_gap(say: Any) -> None:
    run = say("futures", "change")
    change = MESSAGES["futures"]["change"]
    run.say(change | {"data": change["data"] | {"sequence": 12}})

    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (10, 11)


def test_tickers(say: Any) -> None:
    names = ("symbol", "last", "high", "volume", "quote_volume", "bid", "ask")
    assert only(say("spot", "ticker").of(Ticker), *names) == (
        "BTC/USDT", 60000.5, 61000.0, 1200.5, 72_000_000.0, 60000.1, None,
    )  # fmt: skip
    assert only(say("futures", "ticker").of(Ticker), *names[:5]) == (
        "BTC/USD:PERP", 60000.0, 61000.0, 1439.5, 43_626_228.0,
    )  # fmt: skip


def test_candles_have_their_close_before_high_and_low(say: Any) -> None:
    names = ("interval", "open_time_us", "close", "high", "low", "volume", "quote_volume")
    assert only(say("spot", "candle").of(Candle), *names) == (
        "1m", 1_795_910_400_000_000, 60000.5, 60001.0, 59999.0, 3.5, 210_000.0,
    )  # fmt: skip
    assert only(say("futures", "candle").of(Candle), *names) == (
        "1h", 1_795_910_400_000_000, 60000.5, 60001.0, 59999.0, 3.5, None,
    )  # fmt: skip


def test_facts_about_contracts(say: Any) -> None:
    run = say("futures", "mark", "funding")

    assert [(each.kind, each.value) for each in run.of(Derivative)] == [
        ("MARK_PRICE", 60000.3), ("INDEX_PRICE", 60001.2), ("FUNDING_RATE", -3.8e-05),
    ]  # fmt: skip


def test_a_settlement_tells_the_rate_that_is_due(say: Any) -> None:
    (rate,) = say("futures", "settlement").of(Derivative)

    assert (rate.kind, rate.value, rate.next_time_us) == ("FUNDING_RATE", -3.8e-05, 1_795_910_400_000_000)


def test_books_by_order_are_told_of_and_left_out(new_run: Any) -> None:
    run = new_run("spot", "KUCOIN")
    run.say({"type": "message", "topic": "/spotMarket/level3:BTC-USDT", "subject": "received", "data": {}})

    assert not run.of(DeadLetter)
    assert "by order" in run.of(QualityEvent, kind="VENUE_NOTICE")[0].detail


@pytest.mark.parametrize("kind", ["welcome", "ack", "pong"])
def test_answers_give_nothing(new_run: Any, kind: str) -> None:
    assert not new_run("spot", "KUCOIN").say({"id": "1", "type": kind})


def test_errors_are_told(new_run: Any) -> None:
    run = new_run("spot", "KUCOIN")
    run.say({"id": "1", "type": "error", "code": 404, "data": "topic /market/x is not found"})

    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1


def test_a_book_of_another_symbol_than_was_asked_for_is_a_dead_letter(new_run: Any) -> None:
    run = new_run("futures", "KUCOIN")
    body = {"code": "200000", "data": {"symbol": "ETHUSDTM", "sequence": 5, "bids": [[1, 1]], "asks": [[2, 1]]}}
    run.take(run.feed.frame(json.dumps(body).encode(), "HTTP", request=FUTURES_BOOK))

    assert "'ETHUSDTM' answers a request for 'XBTUSDTM'" in only(run.of(DeadLetter), "reason")[0]
    assert not run.of(Depth)


def test_trades_and_quotes_of_the_unified_feed(say: Any) -> None:
    names = ("symbol", "price", "quantity", "side", "trade_id", "exchange_time_us")
    assert only(say("spot", "unified trade").of(Tick), *names) == (
        "BTC/USDT", 60000.5, 0.025, "SELL", "24021490985222144", 1_795_910_400_144_264,
    )  # fmt: skip
    assert only(say("futures", "unified trade").of(Tick), *names[:5]) == (
        "BTC/USDT:PERP", 60000.0, 0.016, "BUY", "1905973690439",
    )  # fmt: skip
    run = say("spot", "unified best", "unified quote")
    assert [(each.bid, each.ask, each.ask_size, each.venue_sequence) for each in run.of(Tick)] == [
        (60000.1, None, None, 99), (60000.1, 60000.2, 0.75, 1630218274617),
    ]  # fmt: skip


def test_a_unified_book_begins_in_band_and_goes_on_by_its_sequences(say: Any) -> None:
    """The best levels, which are a channel of their own, change nothing in a book that is kept whole."""
    run = say("spot", "unified book", "unified change", "unified top")
    whole, change = run.of(Depth)

    assert (whole.is_snapshot, whole.sequence, whole.bid_prices) == (True, 100, [60000.1, 60000.0])
    assert (change.first_sequence, change.sequence, change.bid_sizes, change.flags) == (101, 103, [0.0, 3.0], "")
    later = copy.deepcopy(MESSAGES["spot"]["unified change"])
    later["d"] |= {"O": 106, "C": 107}
    run.say(later)
    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (104, 105)
    run.say(MESSAGES["spot"]["unified book"])
    assert len(run.of(QualityEvent, kind="BOOK_READY")) == 2


def test_an_older_book_of_the_stream_replaces_no_newer_one(say: Any) -> None:
    run = say("spot", "unified book", "unified change")
    older = copy.deepcopy(MESSAGES["spot"]["unified book"])
    older["d"] |= {"O": 90, "C": 90, "M": 1_795_910_400_100_000_000}
    run.say(older)

    assert len(run.of(Depth)) == 2
    assert len(run.of(QualityEvent, kind="OUT_OF_ORDER")) == 1


def test_best_levels_alone_are_books_of_that_depth(say: Any) -> None:
    assert only(say("spot", "top").of(Depth), "symbol", "bid_prices") == ("ETH/USDT", [3000.1, 3000.0])
    assert only(say("futures", "top").of(Depth), "sequence", "bid_sizes") == (7, [2.0])
    assert only(say("spot", "best").of(Tick), "bid", "ask_size") == (60000.1, 0.75)


def test_candles_and_facts_of_the_unified_feed(say: Any) -> None:
    names = ("interval", "close", "high", "low", "volume", "quote_volume", "is_closed")
    expected = ("1m", 60000.5, 60001.0, 59999.0)
    assert only(say("spot", "unified candle").of(Candle), *names) == (*expected, 3.5, 210_000.0, True)
    assert only(say("futures", "unified candle").of(Candle), *names) == (
        *expected, pytest.approx(0.7), 42_000.0, False,
    )  # fmt: skip
    run = say("futures", "unified mark", "unified funding", "all unified funding")
    assert [(each.kind, pytest.approx(each.value), each.next_time_us) for each in run.of(Derivative)] == [
        ("MARK_PRICE", 60000.3, 0),
        ("INDEX_PRICE", 60001.2, 0),
        ("OPEN_INTEREST", 23.445, 0),
        ("FUNDING_RATE", -0.000072, 1_795_910_400_000_000),
        ("FUNDING_RATE", 0.000072, 1_795_910_400_000_000),
        ("FUNDING_RATE", 0.000041, 1_795_910_400_000_000),
    ]


def test_a_side_of_contracts_that_is_empty_is_null(new_run: Any) -> None:
    run, message = new_run("futures", "KUCOIN"), copy.deepcopy(MESSAGES["futures"]["quote"])
    message["data"] |= {"bestAskPrice": None, "bestAskSize": None}
    run.say(message)

    assert only(run.of(Tick), "bid", "ask") == (60000.1, None)


@pytest.mark.parametrize("answer", [{"id": "1", "result": True}, {"message": "welcome"}])
def test_answers_of_the_unified_feed_give_nothing(new_run: Any, answer: Any) -> None:
    assert not new_run("spot", "KUCOIN").say(answer)


def test_refusals_of_the_unified_feed_are_told(new_run: Any) -> None:
    run = new_run("spot", "KUCOIN")
    run.say({"id": "1", "result": False, "message": "symbol"})

    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1


@pytest.mark.parametrize(
    ("market", "name", "changes"),
    [
        ("futures", "unified trade", {"T": "trade.SPOT"}),
        ("spot", "unified change", {"dp": "5"}),
        ("spot", "unified book", {"dp": "20"}),
        ("spot", "unified book", {"t": "whole"}),
        ("spot", "unified trade", {"T": "order.SPOT"}),
    ],
)
def test_what_the_unified_feed_is_not_known_to_send_is_a_dead_letter(
    new_run: Any, market: str, name: str, changes: Any
) -> None:
    run = new_run(market, "KUCOIN")
    run.say(MESSAGES[market][name] | changes)

    assert "not known" in only(run.of(DeadLetter), "reason")[0]


@pytest.mark.parametrize(("market", "expected"), [("spot", (70, [1.5])), ("futures", (70, [30 * 1.0]))])
def test_a_book_that_a_recorder_asked_for_is_a_snapshot(
    say: Any, market: str, expected: tuple[int, list[float]]
) -> None:
    (book,) = say(market, "recorder's book").of(Depth, is_snapshot=True)

    assert (book.sequence, book.bid_sizes) == expected


def test_a_candle_of_a_contract_of_2022(say: Any) -> None:
    names = ("symbol", "interval", "open", "high", "low", "close", "volume")

    assert only(say("futures", "candle of 2022").of(Candle), *names) == (
        "BTC/USDT:PERP", "1w", 59500.0, 61000.0, 59000.0, 60000.5, pytest.approx(7.0),
    )  # fmt: skip


def test_of_the_unified_feeds_books_of_two_depths_one_is_kept(say: Any) -> None:
    run = say("spot", "unified book")
    change = {"C": 101, "M": 1795910400210000000, "O": 101, "a": [], "b": [["60000.1", "9"]], "s": "BTC-USDT"}
    run.say({"T": "obu.SPOT", "dp": "increment", "t": "delta", "P": 1795910400200000000, "d": change})

    assert len(run.of(Depth)) == 1


@pytest.mark.parametrize(
    "topic", ["/indicator/index:USDT-BTC", "/margin/fundingBook:BTC", "/contract/details:XBTUSDTM"]
)
def test_what_is_not_read_is_told_of(new_run: Any, topic: str) -> None:
    run = new_run("spot", "KUCOIN")
    run.say({"topic": topic, "type": "message", "subject": "tick", "data": {"symbol": "USDT-BTC"}})

    assert [each.kind for each in run.of(QualityEvent)] == ["VENUE_NOTICE"]
    assert not run.of(DeadLetter)
