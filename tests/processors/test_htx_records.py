"""HTX: one documented message a channel, and the record it gives, computed by hand."""

import copy
import gzip
import json
from typing import Any

import pytest

from fuzz.seeds import whole_messages
from schemas.records import Candle, DeadLetter, Depth, Derivative, QualityEvent, Tick, Ticker
from schemas.venues import htx

NOW_US = 1_795_910_400_300_000  # as the messages have it
MESSAGES = {market: whole_messages("HTX", market) for market in htx.MARKETS}


@pytest.fixture
def say(new_run: Any) -> Any:
    """Say messages of a market, compressed as they come; returns the run."""

    def speak(market: str, *names: str) -> Any:
        run = new_run(market, "HTX")
        run.feed.recv_time_us = NOW_US
        run.say(*(gzip.compress(json.dumps(MESSAGES[market][name]).encode()) for name in names))
        assert not run.of(DeadLetter)
        assert not run.of(QualityEvent, kind="UNKNOWN_FIELD")
        return run

    return speak


def only(records: list[Any], *names: str) -> Any:
    (record,) = records
    return tuple(getattr(record, name) for name in names)


def test_a_spot_trade_has_the_takers_side_and_its_own_id(say: Any) -> None:
    names = ("symbol", "price", "quantity", "side", "trade_id", "exchange_time_us")

    assert only(say("spot", "trades").of(Tick), *names) == (
        "BTC/USDT", 60000.5, 0.025, "SELL", "102357140867", 1_795_910_400_144_000,
    )  # fmt: skip


def test_an_id_past_64_bits_stays_whole_and_a_direction_may_be_empty(say: Any) -> None:
    found = only(say("spot", "old trade").of(Tick), "trade_id", "side", "price")

    assert found == ("123140716701236887569077665", "UNKNOWN", 60000.0)


@pytest.mark.parametrize(
    ("market", "expected"),
    [("linear", ("BTC/USDT:PERP", 0.02, "BUY")), ("coin", ("BTC/USD:PERP", 0.025, "BUY"))],
)
def test_contracts_of_both_sides_are_halved_and_become_base_currency(say: Any, market: str, expected: Any) -> None:
    assert only(say(market, "trades").of(Tick), "symbol", "quantity", "side") == pytest.approx(expected)


def test_quotes(say: Any) -> None:
    names = ("bid", "bid_size", "ask", "ask_size", "venue_sequence")
    assert only(say("spot", "quote").of(Tick), *names) == (60000.1, 0.5, 60000.2, 0.75, 155441231856)
    assert only(say("linear", "quote").of(Tick), *names) == (60000.1, 0.5, None, None, 108746530167)


def test_a_spot_book_is_the_snapshot_asked_for_and_the_updates_around_it(say: Any) -> None:
    run = say("spot", "change", "snapshot")

    (book,) = run.of(Depth, is_snapshot=True)
    assert (book.bid_prices, book.ask_prices, book.sequence) == ([60000.1, 60000.0], [60000.2, 60000.4], 105)


def test_an_update_that_does_not_name_the_last_one_is_a_gap(say: Any) -> None:
    run = say("spot", "change", "snapshot")
    change = MESSAGES["spot"]["change"]
    run.say(change | {"tick": change["tick"] | {"prevSeqNum": 108, "seqNum": 109}})

    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (106, 108)
    assert [each.command for each in run.commands] == ["resnapshot"]


def test_a_book_of_contracts_has_its_snapshot_in_the_stream(say: Any) -> None:
    snapshot, change = say("linear", "book", "change").of(Depth)

    assert (snapshot.is_snapshot, snapshot.bid_prices, snapshot.ask_sizes) == (True, [], [0.75])
    assert (change.snapshot_id, change.sequence, change.bid_sizes) == (snapshot.snapshot_id, 11, [0.5])


def test_a_version_left_out_is_a_gap(say: Any) -> None:
    run = say("linear", "book")
    change = MESSAGES["linear"]["change"]
    run.say(change | {"tick": change["tick"] | {"version": 13}})

    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (11, 12)


def test_a_whole_book_each_time_replaces_the_one_before(say: Any) -> None:
    run = say("spot", "whole book", "whole book")

    assert [each.is_snapshot for each in run.of(Depth, symbol="ETH/USDT")] == [True, True]
    assert len(run.of(QualityEvent, kind="BOOK_READY")) == 1


def test_best_levels_replace_no_book_that_is_kept_by_its_updates(say: Any) -> None:
    run = say("linear", "book", "best levels", "change")

    assert [each.is_snapshot for each in run.of(Depth)] == [True, False]
    assert not run.of(QualityEvent, kind="BOOK_RESET")


def test_tickers(say: Any) -> None:
    names = ("last", "open", "volume", "quote_volume", "trade_count", "bid", "ask_size")
    assert only(say("spot", "ticker").of(Ticker), *names) == (
        60000.5, 59500.0, 1200.5, 72_000_000.0, 699452, None, None,
    )  # fmt: skip
    assert only(say("coin", "ticker").of(Ticker), *names) == (
        60000.0, 59500.0, 6719.99375, 403_200_000.0, 39735, 60000.0, pytest.approx(60_000 / 60_000.1),
    )  # fmt: skip


def test_candles(say: Any) -> None:
    names = ("interval", "open_time_us", "close", "volume", "quote_volume", "trade_count")
    opened_us, close = 1_795_910_400_000_000, 60000.5

    assert only(say("spot", "candle").of(Candle), *names) == ("1m", opened_us, close, 3.5, 210_000.0, 9)
    assert only(say("linear", "candle").of(Candle), *names) == ("1h", opened_us, close, 1.75, 105_000.0, 5)


def test_facts_about_contracts(say: Any) -> None:
    run = say("linear", "funding", "mark", "index", "liquidation")

    assert [(each.kind, each.value, each.side) for each in run.of(Derivative)] == [
        ("FUNDING_RATE", -0.0001, "UNKNOWN"),
        ("MARK_PRICE", 60000.3, "UNKNOWN"),
        ("INDEX_PRICE", 60001.2, "UNKNOWN"),
        ("LIQUIDATION", 59990.5, "SELL"),
    ]
    assert only(run.of(Derivative, kind="FUNDING_RATE"), "next_time_us") == (1_795_939_200_000_000,)
    assert only(run.of(Derivative, kind="LIQUIDATION"), "quantity") == (pytest.approx(0.227),)


@pytest.mark.parametrize(
    "payload",
    [
        {"ping": 1795910400144},
        {"op": "ping", "ts": "1795910400144"},
        {"id": "1", "status": "ok", "subbed": "market.btcusdt.bbo", "ts": 1795910400144},
        {"op": "sub", "cid": "1", "topic": "public.BTC-USDT.funding_rate", "ts": 1, "err-code": 0},
    ],
)
def test_pings_and_answers_give_nothing(new_run: Any, payload: Any) -> None:
    assert not new_run("spot", "HTX").say(payload)


@pytest.mark.parametrize(
    "payload",
    [
        {"id": "1", "status": "error", "err-code": "bad-request", "err-msg": "invalid topic", "ts": 1},
        {"op": "close", "ts": 1795910400144},
    ],
)
def test_a_refused_request_and_the_end_of_a_connection_are_told(new_run: Any, payload: Any) -> None:
    run = new_run("spot", "HTX")
    run.say(payload)

    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1


@pytest.mark.parametrize(
    "payload",
    [b"\x1f\x8bx", gzip.compress(b'{"ping":1}')[:-9], gzip.compress(bytes(65 * 1024 * 1024))],
    ids=["no gzip", "cut", "a bomb"],
)
def test_what_cannot_be_unpacked_is_a_dead_letter(new_run: Any, payload: bytes) -> None:
    run = new_run("spot", "HTX")
    run.say(payload)

    assert only(run.of(DeadLetter), "payload") == (payload,)


def test_a_ticker_of_spot_has_best_quotes(say: Any) -> None:
    names = ("symbol", "last", "volume", "quote_volume", "bid", "ask_size")

    assert only(say("spot", "whole ticker").of(Ticker), *names) == (
        "BTC/USDT", 60000.5, 1200.5, 72_000_000.0, 60000.1, 0.75,
    )  # fmt: skip


def test_best_levels_that_are_told_each_time_are_a_book(say: Any) -> None:
    assert only(say("spot", "best levels").of(Depth), "is_snapshot", "sequence", "bid_prices") == (True, 105, [100.1])


@pytest.mark.parametrize(
    ("market", "name", "field"), [("spot", "change", "prevSeqNum"), ("linear", "change", "version")]
)
def test_an_update_that_does_not_say_what_it_follows_is_a_dead_letter(
    new_run: Any, market: str, name: str, field: str
) -> None:
    run, message = new_run(market, "HTX"), copy.deepcopy(MESSAGES[market][name])
    del message["tick"][field]
    run.say(message)

    assert only(run.of(DeadLetter), "reason")
    assert not run.of(Depth)


def test_funding_rates_that_a_recorder_asked_for(new_run: Any) -> None:
    run = new_run("coin", "HTX")
    row = {"estimated_rate": None, "funding_rate": "0.0001", "contract_code": "BTC-USD", "symbol": "BTC",
           "fee_asset": "BTC", "funding_time": "1795910400000", "next_funding_time": None}  # fmt: skip
    for body in ({"status": "ok", "data": [row], "ts": 1_795_910_399_000}, {"status": "error", "err-msg": "busy"}):
        request = "https://api.example/swap-api/v1/swap_batch_funding_rate"
        run.take(run.feed.frame(json.dumps(body).encode(), "HTTP", request=request))

    assert only(run.of(Derivative), "value", "next_time_us") == (0.0001, 1_795_910_400_000_000)
    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1
    assert not run.of(DeadLetter)


def depth(size: int, version: int, event: str, bids: Any) -> Any:
    name, time_ms = f"market.BTC-USDT.depth.size_{size}.high_freq", 1_795_910_400_000 + version
    asks = [[60001, size]] if event == "snapshot" else []
    tick = {"asks": asks, "bids": bids, "ch": name, "event": event, "id": 1, "mrid": 1, "ts": time_ms}
    return {"ch": name, "tick": {**tick, "version": version}, "ts": time_ms}


def test_of_books_of_two_sizes_the_deeper_one_is_kept(new_run: Any) -> None:
    run = new_run("linear", "HTX")
    run.feed.recv_time_us = 1_795_910_400_300_000
    run.say(depth(20, 100, "snapshot", [[60000, 1]]), depth(150, 300, "snapshot", [[60000, 1], [59999, 2]]))
    run.say(depth(20, 101, "update", [[60000, 9]]), depth(150, 301, "update", [[59999, 3]]))
    run.say(depth(20, 102, "snapshot", [[60000, 9]]))

    assert [len(each.bid_prices) for each in run.of(Depth)] == [1, 2, 1]
    assert run.of(Depth)[-1].sequence == 301
    assert {each.kind for each in run.of(QualityEvent)} == {"ASSUMED_INSTRUMENT", "BOOK_READY", "VENUE_NOTICE"}


def test_of_updates_of_two_sizes_those_of_the_snapshot_are_kept(new_run: Any) -> None:
    run = new_run("spot", "HTX")
    book = {"seqNum": 100, "bids": [[60000, 1]], "asks": [[60001, 1]]}
    run.say({"id": "1", "rep": "market.btcusdt.mbp.400", "status": "ok", "ts": 1_795_910_400_000, "data": book})
    for size, number, previous in ((400, 105, 100), (20, 106, 90), (400, 110, 105)):
        tick = {"seqNum": number, "prevSeqNum": previous, "bids": [[60000, size]]}
        run.say({"ch": f"market.btcusdt.mbp.{size}", "ts": 1_795_910_400_000 + number, "tick": tick})

    assert [each.sequence for each in run.of(Depth)] == [100, 105, 110]
    assert not run.of(QualityEvent, kind="GAP")


HEARTBEAT = {
    "op": "notify",
    "topic": "public.linear-swap.heartbeat",
    "event": "init",
    "ts": 1,
    "data": {"heartbeat": 0},
}


@pytest.mark.parametrize(
    "message",
    [
        HEARTBEAT,
        {"ch": "market.tickers", "status": "ok", "ts": 1, "data": []},
        {"ch": "market.ETH-USDT.basis.1min.open", "ts": 1, "tick": {"id": 1, "basis": "78.2"}},
        {"op": "notify", "topic": "public.*.contract_info", "event": "init", "ts": 1, "data": [{"symbol": "BTC"}]},
        {"rep": "market.BTC-USDT.kline.1min", "status": "ok", "id": "1", "ts": 1, "data": []},
    ],
)
def test_the_state_of_the_venue_and_what_is_not_read_are_told_of(new_run: Any, message: Any) -> None:
    run = new_run("linear", "HTX")
    run.say(message)

    assert [each.kind for each in run.of(QualityEvent)] == ["VENUE_NOTICE"]
    assert not run.of(DeadLetter)


def test_open_interest_that_a_recorder_asked_for_is_in_contracts(new_run: Any) -> None:
    run = new_run("linear", "HTX")
    run.say(whole_messages("HTX", "linear")["recorder's open interest"])

    (fact,) = run.of(Derivative)
    assert (fact.kind, fact.value) == ("OPEN_INTEREST", pytest.approx(30.631))
