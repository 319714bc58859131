"""Gate: one documented message a channel, and the record it gives, computed by hand."""

import json
from typing import Any

import pytest

from fuzz.seeds import whole_messages
from schemas.records import Candle, DeadLetter, Depth, Derivative, QualityEvent, Tick, Ticker
from schemas.venues import gate

NOW_US = 1_795_910_400_300_000  # as the messages have it
MESSAGES = {market: whole_messages("GATE", market) for market in gate.MARKETS}
SPOT_BOOK = "https://api.example/api/v4/spot/order_book?currency_pair=BTC_USDT&limit=1000&with_id=true"
FUTURES_BOOK = "https://api.example/api/v4/futures/usdt/order_book?contract=BTC_USDT&limit=100&with_id=true"


@pytest.fixture
def say(new_run: Any) -> Any:
    """Say messages of a market; returns the run."""

    def speak(market: str, *names: str) -> Any:
        run = new_run(market, "GATE")
        run.feed.recv_time_us = NOW_US
        run.say(*(MESSAGES[market][name] for name in names))
        assert not run.of(DeadLetter)
        assert not run.of(QualityEvent, kind="UNKNOWN_FIELD")
        return run

    return speak


def only(records: list[Any], *names: str) -> Any:
    (record,) = records
    return tuple(getattr(record, name) for name in names)


def test_a_spot_trade_is_of_the_takers_side_and_its_ms_have_a_fraction(say: Any) -> None:
    names = ("symbol", "price", "quantity", "side", "trade_id", "exchange_time_us")

    assert only(say("spot", "trade").of(Tick), *names) == (
        "BTC/USDT", 60000.5, 0.025, "SELL", "5541729598", 1_795_910_400_144_264,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("market", "name", "expected"),
    [
        ("futures", "trades", ("BTC/USDT:PERP", 0.009, "SELL")),  # 90 contracts of 0.0001 BTC
        ("futures", "trades with decimals", ("ETH/USDT:PERP", 0.005, "BUY")),  # half a contract of 0.01 ETH
        ("inverse", "trades", ("BTC/USD:PERP", 0.05, "BUY")),  # 3,000 USD at 60,000
    ],
)
def test_the_sign_of_a_size_is_the_takers_side(
    say: Any, market: str, name: str, expected: tuple[str, float, str]
) -> None:
    symbol, quantity, side = only(say(market, name).of(Tick), "symbol", "quantity", "side")

    assert (symbol, pytest.approx(quantity, rel=1e-12), side) == expected


def test_a_quote_may_lack_a_side(say: Any) -> None:
    names = ("bid", "bid_size", "ask", "ask_size", "venue_sequence")
    assert only(say("spot", "quote").of(Tick), *names) == (60000.1, 0.5, 60000.2, 0.75, 517377894)
    assert only(say("futures", "quote").of(Tick), *names) == (
        60000.1, pytest.approx(0.814), None, None, 6159967,
    )  # fmt: skip


def test_a_spot_book_is_a_rest_snapshot_and_the_changes_that_reach_over_it(say: Any) -> None:
    run = say("spot", "change")
    body = {"id": 101, "current": 1795910400300, "update": 1795910400150, "bids": [["60000", "2"], ["59999", "1"]],
            "asks": [["60000.2", "0.75"]]}  # fmt: skip
    run.take(run.feed.frame(json.dumps(body).encode(), "HTTP", request=SPOT_BOOK))

    snapshot = run.of(Depth, is_snapshot=True)[0]
    assert (snapshot.bid_prices, snapshot.ask_prices, snapshot.sequence) == ([59999.0], [60000.2, 60000.4], 103)
    assert len(run.of(QualityEvent, kind="BOOK_READY")) == 1


def test_a_book_of_contracts_counts_base_currency(say: Any) -> None:
    run = say("futures", "change")
    body = {"id": 99, "current": 1795910400.3, "update": 1795910400.15, "bids": [], "asks": [{"s": 5000, "p": "60002"}]}
    run.take(run.feed.frame(json.dumps(body).encode(), "HTTP", request=FUTURES_BOOK))

    snapshot = run.of(Depth, is_snapshot=True)[0]
    assert snapshot.bid_sizes == [pytest.approx(7.3982)]
    assert snapshot.ask_sizes == [0.5]


def test_a_hole_in_update_ids_is_a_gap(say: Any) -> None:
    run = say("spot", "change")
    change = MESSAGES["spot"]["change"]
    run.say(change | {"result": change["result"] | {"U": 106, "u": 106}})

    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (104, 105)


def test_a_whole_book_of_the_stream_stands_by_itself(say: Any) -> None:
    assert only(say("spot", "whole book").of(Depth), "symbol", "is_snapshot", "sequence") == ("ETH/USDT", True, 900)


def test_tickers(say: Any) -> None:
    names = ("symbol", "last", "high", "volume", "quote_volume", "bid")
    assert only(say("spot", "ticker").of(Ticker), *names) == (
        "BTC/USDT", 60000.5, 61000.0, 1200.5, 72_000_000.0, 60000.1,
    )  # fmt: skip
    assert only(say("futures", "ticker").of(Ticker), *names) == (
        "BTC/USDT:PERP", 60000.0, 61000.0, pytest.approx(15549.6714), 933_000_000.0, None,
    )  # fmt: skip
    assert only(say("inverse", "ticker").of(Ticker), "volume", "quote_volume") == (259.0, 15_542_254.0)


def test_tickers_of_contracts_tell_mark_index_open_interest_and_funding(say: Any) -> None:
    run = say("futures", "ticker")

    assert [(each.kind, each.value) for each in run.of(Derivative)] == [
        ("MARK_PRICE", 60000.3),
        ("INDEX_PRICE", 60001.2),
        ("OPEN_INTEREST", pytest.approx(15348.278)),
        ("FUNDING_RATE", -0.0001),
    ]
    assert [each.next_time_us for each in run.of(Derivative, kind="FUNDING_RATE")] == [1_795_939_200_000_000]


def test_candles(say: Any) -> None:
    names = ("symbol", "interval", "open_time_us", "close", "volume", "quote_volume")
    assert only(say("spot", "candle").of(Candle), *names) == (
        "BTC/USDT", "1m", 1_795_910_400_000_000, 60000.5, 3.5, 210_000.0,
    )  # fmt: skip
    assert only(say("futures", "candle").of(Candle), *names) == (
        "BTC/USDT:PERP", "5m", 1_795_910_400_000_000, 60000.0, pytest.approx(0.007), None,
    )  # fmt: skip
    assert only(say("spot", "candle at one price until 2022").of(Candle), "volume", "quote_volume") == (2.0, 20.0)
    assert only(say("inverse", "candle").of(Candle), *names) == (
        "BTC/USD:PERP", "1m", 1_795_910_400_000_000, 60000.0, 0.5, 30_000.0,
    )  # fmt: skip


def test_an_old_candle_of_several_prices_is_a_dead_letter(new_run: Any) -> None:
    run = new_run("spot", "GATE")
    candle = MESSAGES["spot"]["candle at one price until 2022"]
    run.say(candle | {"result": candle["result"] | {"h": "11"}})

    assert "until 2022" in only(run.of(DeadLetter), "reason")[0]


def test_a_protocol_that_was_retired_is_named_in_the_dead_letter(new_run: Any) -> None:
    run = new_run("spot", "GATE")
    run.say({"method": "trades.update", "params": ["BTC_USDT", []], "id": None})

    assert "before v4" in only(run.of(DeadLetter), "reason")[0]


def test_a_liquidation(say: Any) -> None:
    assert only(say("futures", "liquidation").of(Derivative), "kind", "side", "value", "quantity") == (
        "LIQUIDATION", "SELL", 59990.5, pytest.approx(0.03),
    )  # fmt: skip


def test_liquidations_of_one_message_have_times_of_their_own(new_run: Any) -> None:
    """Since 2026-08 `time` is in ms, and several come at once."""
    run, message = new_run("futures", "GATE"), MESSAGES["futures"]["liquidation"]
    rows = [{"price": "59990.5", "size": "-1.5", "time": time, "contract": "BTC_USDT"}
            for time in (1_795_910_400_123, 1_795_910_400_456, 1_795_910_400)]  # fmt: skip
    run.say(message | {"result": rows})

    assert [each.exchange_time_us for each in run.of(Derivative)] == [
        1_795_910_400_123_000, 1_795_910_400_456_000, 1_795_910_400_000_000,
    ]  # fmt: skip


def test_an_internal_trade_is_off_the_book(new_run: Any) -> None:
    run, message = new_run("futures", "GATE"), MESSAGES["futures"]["trades"]
    run.feed.recv_time_us = NOW_US
    run.say(message | {"result": [message["result"][0] | {"is_internal": True}]})

    assert only(run.of(Tick), "flags") == ("OFF_BOOK",)


@pytest.mark.parametrize("name", ["trades", "liquidation"])
def test_a_size_of_0_tells_no_side_and_is_refused(new_run: Any, name: str) -> None:
    run, message = new_run("futures", "GATE"), MESSAGES["futures"][name]
    row = message["result"][0]
    run.say(message | {"result": [row | {"size": 0}, row]})

    assert "no side" in only(run.of(DeadLetter), "reason")[0]
    assert len(run.of(Tick) + run.of(Derivative)) == 1  # what else was told is used


@pytest.mark.parametrize(
    "payload",
    [
        {"time": 1, "channel": "spot.trades", "event": "subscribe", "error": None, "result": {"status": "success"}},
        {"time": 1, "channel": "spot.pong", "event": "", "result": None},
    ],
)
def test_answers_give_nothing(new_run: Any, payload: Any) -> None:
    assert not new_run("spot", "GATE").say(payload)


def test_a_refused_request_is_told(new_run: Any) -> None:
    run = new_run("spot", "GATE")
    run.say({"time": 1, "channel": "spot.trades", "event": "subscribe", "error": {"code": 2, "message": "unknown"}})

    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1


def test_the_second_book_of_contracts_has_pairs_as_spot_has(say: Any) -> None:
    whole, change = say("futures", "second book", "second book's change").of(Depth)

    assert (whole.is_snapshot, whole.bid_prices, whole.sequence) == (True, [100.0, 99.0], 70)
    assert (change.bid_sizes, change.ask_prices, change.sequence, change.flags) == ([0.0], [101.0], 73, "")


def test_levels_beyond_those_that_were_asked_for_are_no_part_of_the_book(new_run: Any) -> None:
    """Nothing is told of them any more: one that is pushed out goes."""
    run, message = new_run("futures", "GATE"), MESSAGES["futures"]["change"]
    sides = {"asks": [{"p": "60001", "s": 1}], "bids": [{"p": "60000", "s": 1}, {"p": "59999", "s": 1}]}
    run.take(run.feed.frame(json.dumps({"id": 99, **sides}).encode(), "HTTP", request=FUTURES_BOOK))
    result = {"t": 1_795_910_400_160, "s": "BTC_USDT", "U": 100, "u": 100, "a": [], "l": "2"}
    run.say(message | {"result": result | {"b": [{"p": "60000.5", "s": 2}]}})

    change = run.of(Depth)[-1]
    assert (change.bid_prices, change.bid_sizes) == ([60000.5, 59999.0], pytest.approx([0.0002, 0.0]))
    (state,) = run.pipeline.states()
    assert sorted(state.keeper.book.bids) == [60000.0, 60000.5]


@pytest.mark.parametrize(
    ("market", "expected"), [("spot", ("LTC/USDT", [100.0])), ("futures", ("XRP/USDT:PERP", [0.5]))]
)
def test_best_levels_alone_are_a_book(say: Any, market: str, expected: Any) -> None:
    assert only(say(market, "best levels").of(Depth), "symbol", "bid_prices") == expected


def test_an_upgrade_is_told(say: Any) -> None:
    assert "upgrade" in only(say("spot", "upgrade").of(QualityEvent, kind="VENUE_NOTICE"), "detail")[0]


def test_a_book_that_a_recorder_asked_for_is_joined_to_the_changes(new_run: Any) -> None:
    run = new_run("spot", "GATE")
    run.feed.recv_time_us = NOW_US
    change = {"t": 1795910400160, "s": "XRP_USDT", "U": 69, "u": 72, "b": [["0.5", "6"]], "a": []}
    run.say({"channel": "spot.order_book_update", "event": "update", "time": 1795910400, "result": change})
    run.say(MESSAGES["spot"]["recorder's book"])

    (book,) = run.of(Depth, is_snapshot=True)
    assert (book.sequence, book.bid_sizes, book.ask_prices) == (72, [6.0], [0.51])


def obu(depth: int, sequence: int, bids: Any, first: int = 0) -> Any:
    numbers = {"U": first, "u": sequence} if first else {"full": True, "u": sequence}
    result = {"t": 1795910400000 + sequence, "s": f"ob.BTC_USDT.{depth}", "b": bids, "a": [["60002", "1"]], **numbers}
    return {"channel": "futures.obu", "event": "update", "time": 1795910400, "result": result}


def test_of_books_of_two_depths_the_deeper_one_is_kept(new_run: Any) -> None:
    run = new_run("futures", "GATE")
    run.feed.recv_time_us = NOW_US
    run.say(obu(400, 10, [["60000", "1"], ["59990", "5"]]), obu(50, 10, [["60000", "1"]]), obu(50, 12, [], 11))
    run.say(obu(400, 15, [["59990", "6"]], 11))

    assert [(each.sequence, len(each.bid_prices)) for each in run.of(Depth)] == [(10, 2), (15, 1)]
    assert not run.of(QualityEvent, kind="GAP")


@pytest.mark.parametrize("channel", ["futures.contract_stats", "futures.contract_info", "spot.trades_v2"])
def test_what_is_not_read_is_told_of(new_run: Any, channel: str) -> None:
    run = new_run("futures", "GATE")
    run.say({"time": 1795910400, "channel": channel, "event": "update", "result": {"contract": "BTC_USDT"}})

    assert [each.kind for each in run.of(QualityEvent)] == ["VENUE_NOTICE"]
    assert not run.of(DeadLetter)


def test_a_dated_contract_has_no_funding(say: Any) -> None:
    run = say("delivery", "ticker", "trades", "candle")

    assert only(run.of(Tick), "symbol", "quantity", "side") == ("BTC/USDT:20261225", pytest.approx(0.009), "SELL")
    assert sorted(each.kind for each in run.of(Derivative)) == ["INDEX_PRICE", "MARK_PRICE", "OPEN_INTEREST"]
    assert only(run.of(Candle), "symbol", "interval") == ("BTC/USDT:20261225", "1m")


def test_the_volume_of_an_inverse_contract_follows_from_its_price_where_it_is_not_told(new_run: Any) -> None:
    run = new_run("inverse", "GATE")
    row = {"contract": "BTC_USD", "last": "10000", "volume_24h": "50000", "volume_24h_usd": "50000"}
    run.say({"time": 1565775111, "channel": "futures.tickers", "event": "update", "error": None, "result": [row]})

    assert only(run.of(Ticker), "volume") == (pytest.approx(5.0),)
