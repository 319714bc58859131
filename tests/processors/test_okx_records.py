"""OKX: one documented message a channel, and the record it gives, computed by hand."""

import copy
import json
from typing import Any

import pytest

from fuzz.seeds import whole_messages
from processors.pipeline import Pipeline
from processors.venues.okx import Crc32
from schemas.records import Bar, Candle, DeadLetter, Depth, Derivative, QualityEvent, Tick, Ticker
from schemas.venues import okx

NOW_US = 1_795_910_400_300_000  # as the messages have it
MESSAGES = {market: whole_messages("OKX", market) for market in okx.MARKETS}


@pytest.fixture
def say(new_run: Any) -> Any:
    """Say messages of a market; returns the run."""

    def speak(market: str, *names: str) -> Any:
        run = new_run(market, "OKX")
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

    assert trade == ("BTC/USDT", 60000.5, 0.00375, "BUY", "314161276", 1_795_910_400_144_000)


@pytest.mark.parametrize(
    ("market", "symbol", "quantity"),
    [
        ("swap", "BTC/USDT:PERP", 0.07),  # 7 contracts of 0.01 BTC
        ("futures", "BTC/USD:20261225", 0.005),  # 3 contracts of 100 USD at 60,000
        ("option", "BTC/USD:20261225:60000:C", 0.85),  # 85 contracts of 0.01 BTC
    ],
)
def test_contracts_become_base_currency(say: Any, market: str, symbol: str, quantity: float) -> None:
    trade = only(say(market, "trade").of(Tick), "symbol", "quantity")

    assert trade == (symbol, pytest.approx(quantity, rel=1e-12))


def test_a_change_that_comes_twice_changes_nothing_where_the_venue_counts_none(new_run: Any) -> None:
    run = new_run("spot", "OKX")
    row = {"asks": [], "bids": [["59000", "1", "0", "1"]], "ts": "1650000000100", "checksum": 0}
    arg = {"channel": "books", "instId": "BTC-USDT"}
    whole = row | {"asks": [["60000", "1", "0", "1"]], "ts": "1650000000000"}
    run.say({"arg": arg, "action": "snapshot", "data": [whole]}, *[{"arg": arg, "action": "update", "data": [row]}] * 2)

    assert len(run.of(Depth, is_snapshot=False)) == 1
    assert [each.kind for each in run.of(QualityEvent)] == ["ASSUMED_INSTRUMENT", "BOOK_READY", "DUPLICATE"]


def test_an_index_is_of_the_x_perps_of_its_name(new_run: Any) -> None:
    run = new_run("futures", "OKX")
    row = MESSAGES["swap"]["index"]["data"][0] | {"instId": "BTC-USD"}
    index = {"arg": {"channel": "index-tickers", "instId": "BTC-USD"}, "data": [row]}
    mark = {"arg": {"channel": "mark-price", "instId": "BTC-USD_UM_XPERP-310404"}, "data": [
        {"instId": "BTC-USD_UM_XPERP-310404", "markPx": "64280.5", "ts": "1785870839964", "instType": "FUTURES"},
    ]}  # fmt: skip
    run.say(index, mark, index)

    assert [(each.kind, each.symbol) for each in run.of(Derivative)] == [
        ("MARK_PRICE", "BTC/USD:20310404:UM_XPERP"), ("INDEX_PRICE", "BTC/USD:20310404:UM_XPERP"),
    ]  # fmt: skip


def test_liquidations_that_a_recorder_fetched_are_read(new_run: Any) -> None:
    run = new_run("swap", "OKX")
    row = {"bkLoss": "0", "bkPx": "49674.2", "ccy": "", "side": "buy", "sz": "40", "ts": "1640140211925"}
    run.say({"arg": {"channel": "liquidations", "instId": "BTC-USDT-SWAP", "generated": True}, "data": [row]})

    fact = only(run.of(Derivative), "kind", "symbol", "value", "quantity", "side", "exchange_time_us")
    assert fact == ("LIQUIDATION", "BTC/USDT:PERP", 49674.2, pytest.approx(0.4), "BUY", 1_640_140_211_925_000)


def fill(number: int, **more: Any) -> dict[str, Any]:
    row = MESSAGES["spot"]["trade"]["data"][0]
    return {name: row[name] for name in ("instId", "px", "sz", "side", "ts")} | {"tradeId": str(number), **more}


def one(number: int) -> dict[str, Any]:
    return {"arg": {"channel": "trades-all", "instId": "BTC-USDT"}, "data": [fill(number, source="0")]}


def summed(number: int) -> dict[str, Any]:
    return {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [fill(number, count="3", seqId=number)]}


def gaps(run: Any) -> list[tuple[int, int]]:
    return [(each.from_sequence, each.to_sequence) for each in run.of(QualityEvent, kind="GAP")]


def test_fills_are_counted_and_missing_ones_come_by_rest_newest_first(new_run: Any) -> None:
    run = new_run("spot", "OKX")
    run.say(one(7), one(10))
    body = {"code": "0", "msg": "", "data": [fill(9, side="sell", px="60001.5", source="0"), fill(8), fill(7)]}
    request = "https://www.okx.com/api/v5/market/history-trades?instId=BTC-USDT&type=1&limit=100&after=10"
    run.take(run.feed.frame(json.dumps(body).encode(), "HTTP", request=request))

    assert gaps(run) == [(8, 9)]
    assert [(each.trade_id, each.venue_sequence, each.side, each.price) for each in run.of(Tick)[2:]] == [
        ("8", 8, "BUY", 60000.5),
        ("9", 9, "SELL", 60001.5),
    ]
    assert [each.count for each in run.of(QualityEvent, kind="HEALED")] == [2]
    assert not run.of(DeadLetter)


def test_an_answer_with_trades_of_another_instrument_restores_nothing(new_run: Any) -> None:
    run = new_run("spot", "OKX")
    run.say(one(7), one(10))
    request = "https://www.okx.com/api/v5/market/history-trades?instId=ETH-USDT"
    run.take(run.feed.frame(json.dumps({"code": "0", "data": [fill(9)]}).encode(), "HTTP", request=request))

    assert len(run.of(Tick)) == 2
    assert ["another instrument" in each.reason for each in run.of(DeadLetter)] == [True]


def test_trades_that_sum_up_fills_are_not_counted_even_after_a_restart(new_run: Any) -> None:
    run, kept = new_run("spot", "OKX"), dict[str, list[bytes]]()
    run.say(summed(10), summed(15))
    run.capture(kept)
    run.resume(kept, Pipeline("OKX", "raw.okx", 0, assume_instruments=True))
    run.take(run.feed.frame(b"", "DISCONNECT"))
    run.say(summed(15), summed(21))
    run.records += run.pipeline.finish()

    assert gaps(run) == []
    assert [(each.trade_id, each.venue_sequence) for each in run.of(Tick)] == [("10", 0), ("15", 0), ("21", 0)]
    assert "GAP" in run.of(Bar)[0].flags, "nothing tells whether some were lost with the connection"


def test_fills_are_counted_from_where_they_are_no_longer_summed_up(new_run: Any) -> None:
    run = new_run("spot", "OKX")
    run.say(one(5), summed(10), summed(15), one(20), one(22))

    assert gaps(run) == [(21, 21)]


def test_counting_goes_on_from_the_state_of_a_program_that_did_not_count(new_run: Any) -> None:
    run = new_run("spot", "OKX")
    run.say(one(7), one(8))
    (state,) = run.pipeline.states()
    for number in (7, 8):
        state.recent_trades.add(number)
    state.trades.restore([])
    kept = dict[str, list[bytes]]()
    run.capture(kept)
    run.resume(kept, Pipeline("OKX", "raw.okx", 0, assume_instruments=True))
    run.say(one(8), one(10))

    assert [each.trade_id for each in run.of(Tick)] == ["7", "8", "10"]
    assert gaps(run) == [(9, 9)]


def test_a_quote_may_lack_a_side(say: Any) -> None:
    assert only(say("option", "quote").of(Tick), "bid", "bid_size", "ask", "ask_size", "price") == (
        None, None, 0.0015, 0.08, 0.0015,
    )  # fmt: skip
    assert only(say("spot", "quote").of(Tick), "bid", "bid_size", "ask", "ask_size") == (60000.1, 0.5, 60000.2, 0.75)


def test_a_book_stands_with_the_snapshot_of_the_stream_and_changes(say: Any) -> None:
    run = say("spot", "book", "change")

    snapshot, change = run.of(Depth)
    assert (snapshot.is_snapshot, snapshot.bid_prices, snapshot.sequence) == (True, [60000.1, 60000.0], 100)
    assert (change.snapshot_id, change.bid_sizes, change.ask_prices, change.previous_sequence) == (
        snapshot.snapshot_id, [0.0], [60000.4], 100,
    )  # fmt: skip


def test_a_change_that_does_not_follow_is_a_gap_and_asks_for_a_new_subscription(say: Any) -> None:
    run = say("spot", "book")
    change = MESSAGES["spot"]["change"]
    run.say(change | {"data": [change["data"][0] | {"prevSeqId": 103}]})

    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (101, 103)
    assert [each.command for each in run.commands] == ["resnapshot"]


def test_sequence_ids_that_fall_back_are_followed(say: Any) -> None:
    run = say("spot", "book")
    change = MESSAGES["spot"]["change"]
    run.say(change | {"data": [change["data"][0] | {"prevSeqId": 100, "seqId": 3}]})
    run.say(change | {"data": [change["data"][0] | {"prevSeqId": 3, "seqId": 7, "bids": [["59999", "1", "0", "1"]]}]})

    assert not run.of(QualityEvent, kind="GAP")
    assert [each.sequence for each in run.of(Depth)] == [100, 3, 7]


def test_a_message_that_nothing_changed_gives_nothing(say: Any) -> None:
    run = say("spot", "book")
    same = {"asks": [], "bids": [], "seqId": 100, "prevSeqId": 100}
    change = MESSAGES["spot"]["change"]

    assert not run.say(change | {"data": [change["data"][0] | same]})


def test_tickers_count_volume_in_base_and_quote(say: Any) -> None:
    assert only(say("spot", "ticker").of(Ticker), "last", "open", "volume", "quote_volume", "bid") == (
        60000.5, 59500.0, 1200.5, 72_000_000.0, 60000.1,
    )  # fmt: skip
    assert only(say("swap", "ticker").of(Ticker), "volume", "quote_volume") == (9000.0, 540_000_000.0)


def test_candles_of_both_lengths_are_read(say: Any) -> None:
    names = ("interval", "open_time_us", "close", "volume", "quote_volume", "is_closed")
    assert only(say("spot", "candle").of(Candle), *names) == (
        "1m", 1_795_910_400_000_000, 60000.5, 3.5, 210_000.0, False,
    )  # fmt: skip
    assert only(say("futures", "candle until 2022").of(Candle), *names) == (
        "1h", 1_795_910_400_000_000, 60000.5, 0.2766, 16_600.0, False,
    )  # fmt: skip


def test_facts_about_contracts_are_derivatives(say: Any) -> None:
    run = say("swap", "funding", "open interest", "mark", "index", "liquidation")

    assert [(each.kind, each.symbol, each.value, each.side) for each in run.of(Derivative)] == [
        ("FUNDING_RATE", "BTC/USD:PERP", -0.0000734, "UNKNOWN"),
        ("OPEN_INTEREST", "BTC/USDT:PERP", 22161.13, "UNKNOWN"),
        ("MARK_PRICE", "BTC/USDT:PERP", 60000.3, "UNKNOWN"),
        ("INDEX_PRICE", "BTC/USDT:PERP", 60002.0, "UNKNOWN"),
        ("LIQUIDATION", "BTC/USDT:PERP", 59990.5, "SELL"),
    ]
    assert only(run.of(Derivative, kind="LIQUIDATION"), "quantity") == (0.3,)
    assert only(run.of(Derivative, kind="FUNDING_RATE"), "next_time_us") == (1_795_939_200_000_000,)


@pytest.mark.parametrize(
    "payload",
    [
        b"pong",
        {"event": "subscribe", "arg": {"channel": "trades", "instId": "BTC-USDT"}, "connId": "a4d3ae55"},
    ],
)
def test_answers_give_nothing(new_run: Any, payload: Any) -> None:
    assert not new_run("spot", "OKX").say(payload)


@pytest.mark.parametrize(
    "payload",
    [
        {"event": "error", "code": "60012", "msg": "Invalid request", "connId": "a4d3ae55"},
        {"event": "notice", "code": "64008", "msg": "The connection will soon be closed for a service upgrade."},
        {"event": "channel-conn-count-error", "channel": "orders", "connCount": "30", "connId": "a4d3ae55"},
    ],
)
def test_errors_and_notices_are_told(new_run: Any, payload: Any) -> None:
    run = new_run("spot", "OKX")
    run.say(payload)

    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1


def test_the_checksum_is_that_of_the_documents_example() -> None:
    """CRC32 of 3366.1:7:3366.8:9:3366:6:3368:8, as two bids and two asks give it."""
    bids, asks = [("3366.1", "7"), ("3366", "6")], [("3366.8", "9"), ("3368", "8")]
    instrument = okx.assumed_instrument("spot", "BTC-USDT", 0)

    assert Crc32().of(bids, asks, instrument) == -1881014294


def test_a_protocol_that_was_retired_is_named_in_the_dead_letter(new_run: Any) -> None:
    run = new_run("spot", "OKX")
    run.say({"table": "spot/trade", "data": []})

    assert ["before v5" in each.reason for each in run.of(DeadLetter)] == [True]


def test_answers_of_rest_that_are_none_are_told(new_run: Any) -> None:
    run = new_run("spot", "OKX")
    url = "https://www.okx.com/api/v5/market/history-trades?instId=BTC-USDT&type=1"
    for body, request in ((b'{"code":"51001","msg":"no","data":[]}', url), (b"{", url), (b"{}", "https://host/books")):
        run.take(run.feed.frame(body, "HTTP", request=request))

    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1
    assert len(run.of(DeadLetter)) == 2


def book(channel: str, action: str, sequence: int, previous: int) -> Any:
    level = [["60001", str(sequence), "0", "1"]]
    row = {"asks": level, "bids": [], "ts": "1795910400144", "seqId": sequence, "prevSeqId": previous}
    return {"arg": {"channel": channel, "instId": "BTC-USDT"}, "action": action, "data": [row]}


def test_of_several_depths_on_one_connection_the_deepest_is_the_book(new_run: Any) -> None:
    run = new_run("spot", "OKX")
    run.feed.recv_time_us = NOW_US
    run.say(book("books50-l2-tbt", "snapshot", 10, -1), book("books", "snapshot", 12, -1))
    run.say(book("books50-l2-tbt", "update", 14, 10), book("books", "update", 20, 12))
    run.say(book("books50-l2-tbt", "update", 16, 14), book("books", "update", 22, 20))

    assert [each.sequence for each in run.of(Depth)] == [10, 12, 20, 22]
    assert gaps(run) == []
    assert not run.commands


def test_an_index_is_that_of_a_swap_with_another_margin_where_there_is_one(new_run: Any) -> None:
    run = new_run("swap", "OKX")
    run.feed.recv_time_us = NOW_US
    row = {"instId": "BTC-USD", "idxPx": "60002", "ts": "1795910400144"}
    index = {"arg": {"channel": "index-tickers", "instId": "BTC-USD"}, "data": [row]}
    trade = MESSAGES["swap"]["trade"]["data"][0] | {"instId": "BTC-USD_UM-SWAP"}
    run.say(index, {"arg": {"channel": "trades-all", "instId": "BTC-USD_UM-SWAP"}, "data": [trade]})
    run.say({**index, "data": [row | {"ts": "1795910400145"}]})

    assert [each.symbol for each in run.of(Derivative)] == ["BTC/USD:PERP", "BTC/USD:PERP", "BTC/USD:PERP:UM"]
    assert not run.of(DeadLetter)


def test_a_symbol_that_no_list_names_costs_the_others_of_its_message_nothing(new_run: Any) -> None:
    run = new_run("swap", "OKX", assume_instruments=False)
    run.feed.recv_time_us = NOW_US
    listed = {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "uly": "BTC-USDT", "ctVal": "0.01", "ctType": "linear"}
    run.take(run.feed.frame(json.dumps({"code": "0", "data": [listed]}).encode(), "INSTRUMENTS"))
    message = MESSAGES["swap"]["liquidation"]
    other = message["data"][0] | {"instId": "NEW-USDT-SWAP"}
    run.say(message | {"data": [other, *message["data"]]})

    assert only(run.of(Derivative), "symbol") == ("BTC/USDT:PERP",)
    assert only(run.of(QualityEvent, kind="UNKNOWN_SYMBOL"), "detail") == ("NEW-USDT-SWAP",)
    assert len(run.of(DeadLetter)) == 1
    assert (run.pipeline.tally.in_a_row, run.pipeline.tally.bad) == (0, 0)

    run.say(message | {"data": [other]})
    assert (run.pipeline.tally.in_a_row, run.pipeline.tally.bad) == (1, 1)


@pytest.mark.parametrize("name", ["quote", "book", "change"])
@pytest.mark.parametrize("missing", range(4))
def test_a_level_that_lacks_an_element_is_refused_since_its_size_may_stand_for_its_price(
    new_run: Any, name: str, missing: int
) -> None:
    run = new_run("spot", "OKX")
    message = copy.deepcopy(MESSAGES["spot"][name])
    del message["data"][0]["bids"][0][missing]
    run.say(message)

    assert len(run.of(DeadLetter)) == 1
    assert not run.of(Depth)
    assert not run.of(Tick)


@pytest.mark.parametrize(("at", "value"), [(0, "0"), (8, "true")])
def test_a_candle_of_no_time_or_of_which_is_not_known_whether_it_is_over_is_refused(
    new_run: Any, at: int, value: str
) -> None:
    run = new_run("spot", "OKX")
    message = copy.deepcopy(MESSAGES["spot"]["candle"])
    message["data"][0][at] = value
    run.say(message)

    assert len(run.of(DeadLetter)) == 1
    assert not run.of(Candle)
