"""Binance: one documented message a channel, and the record it gives, computed by hand."""

import json
from typing import Any

import pytest

from processors.errors import FrameError
from processors.memory import Memory
from processors.venues import binance
from schemas.records import Candle, DeadLetter, Depth, Derivative, Frame, QualityEvent, Tick, Ticker

AGGRESSOR = {True: "SELL", False: "BUY"}


def fields(record: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def only(records: list[Any]) -> Any:
    (record,) = records
    return record


def test_spot_trade(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@trade"))

    assert only(spot.of(Tick)) == Tick(
        event_time_us=1_723_161_260_000_000,
        exchange_time_us=1_672_515_782_134_000,
        recv_time_us=1_723_161_260_001_000,
        venue="BINANCE",
        symbol="BTC/USDT",
        asset_class="CRYPTO",
        kind="TRADE",
        price=100.5,
        quantity=0.25,
        side="SELL",
        sequence_id=1,
        trade_id="12345",
        venue_sequence=12345,
        source_topic="raw.binance",
        source_index=2,  # after the assumed instrument and its event
    )


@pytest.mark.parametrize("is_buyer_maker", [True, False])
def test_the_side_is_the_aggressors(spot: Any, is_buyer_maker: bool) -> None:
    spot.take(spot.feed.message("btcusdt@trade", m=is_buyer_maker))

    assert only(spot.of(Tick)).side == AGGRESSOR[is_buyer_maker]


def test_old_spot_trades_with_order_ids_are_read(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@trade", b=88, a=50))

    assert only(spot.of(Tick)).trade_id == "12345"
    assert not spot.of(QualityEvent, kind="UNKNOWN_FIELD")


def test_times_in_microseconds_are_told_by_their_size(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@trade", T=1_672_515_782_134_567, E=1_672_515_782_136_001))

    assert only(spot.of(Tick)).exchange_time_us == 1_672_515_782_134_567


def test_agg_trade_is_a_kind_of_its_own(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@aggTrade"))

    tick = only(spot.of(Tick))
    assert fields(tick, "kind", "price", "quantity", "side", "trade_id") == {
        "kind": "AGG_TRADE", "price": 100.5, "quantity": 0.75, "side": "BUY", "trade_id": "77",
    }  # fmt: skip


def test_spot_quote_has_mid_and_no_exchange_time(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@bookTicker"))

    tick = only(spot.of(Tick))
    names = ("kind", "price", "quantity", "side", "bid", "ask", "bid_size", "ask_size", "venue_sequence")
    assert fields(tick, *names, "exchange_time_us") == {
        "kind": "QUOTE", "price": 100.5, "quantity": 0.0, "side": "UNKNOWN", "bid": 100.0, "ask": 101.0,
        "bid_size": 31.21, "ask_size": 40.66, "venue_sequence": 400900217, "exchange_time_us": 0,
    }  # fmt: skip


def test_a_quote_with_an_empty_side_has_none_there(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@bookTicker", b="0.00000000", B="0.00000000"))

    assert fields(only(spot.of(Tick)), "price", "bid", "bid_size", "ask", "flags") == {
        "price": 101.0, "bid": None, "bid_size": None, "ask": 101.0, "flags": "",
    }  # fmt: skip


def test_a_quote_without_any_side_is_flagged_since_its_price_is_none(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@bookTicker", b="0.0", B="0.0", a="0.0", A="0.0"))

    names = ("price", "bid", "ask", "flags")
    assert fields(only(spot.of(Tick)), *names) == {"price": 0.0, "bid": None, "ask": None, "flags": "EMPTY"}


def test_futures_quote_has_the_transaction_time(usdm: Any) -> None:
    usdm.take(usdm.feed.message("btcusdt@bookTicker"))

    assert fields(only(usdm.of(Tick)), "symbol", "exchange_time_us", "price") == {
        "symbol": "BTC/USDT:PERP", "exchange_time_us": 1_680_652_700_430_000, "price": (28145.10 + 28145.20) / 2,
    }  # fmt: skip


def test_off_book_futures_trades_are_flagged(usdm: Any) -> None:
    usdm.take(usdm.feed.message("btcusdt@trade", X="INSURANCE_FUND"))

    assert only(usdm.of(Tick)).flags == "OFF_BOOK"


def test_an_off_book_trade_may_have_no_price(coinm: Any) -> None:
    coinm.take(coinm.feed.message("btcusd_perp@trade", X="NA", p="0"))

    assert fields(only(coinm.of(Tick)), "price", "quantity", "flags") == {
        "price": 0.0, "quantity": 0.0, "flags": "OFF_BOOK",
    }  # fmt: skip


def test_coinm_contracts_become_base_currency(coinm: Any) -> None:
    """5 contracts of 100 USD at 50,000 are 0.01 BTC."""
    coinm.take(coinm.feed.message("btcusd_perp@trade"), coinm.feed.message("btcusd_perp@bookTicker"))

    trade, quote = coinm.of(Tick)
    assert (trade.symbol, trade.quantity) == ("BTC/USD:PERP", 0.01)
    assert (quote.bid_size, quote.ask_size) == (4 * 100 / 40000, 10 * 100 / 50000)


def test_coinm_depth_sizes_are_base_currency(coinm: Any) -> None:
    coinm.take(coinm.feed.message("btcusd_perp@depth@0ms"))

    depth = only(coinm.of(Depth))
    assert (depth.bid_sizes, depth.ask_sizes, depth.previous_sequence) == ([0.01], [0.02], 9)


def test_spot_depth_before_any_snapshot_is_unjoined(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@depth@100ms"))

    names = ("first_sequence", "sequence", "previous_sequence", "is_snapshot", "snapshot_id", "flags")
    assert fields(only(spot.of(Depth)), *names, "bid_prices", "bid_sizes", "ask_prices", "ask_sizes") == {
        "first_sequence": 157, "sequence": 160, "previous_sequence": 0, "is_snapshot": False, "snapshot_id": 0,
        "flags": "UNJOINED", "bid_prices": [100.0, 99.5], "bid_sizes": [10.0, 0.0], "ask_prices": [101.0],
        "ask_sizes": [1.5],
    }  # fmt: skip
    assert only(spot.of(Depth)).exchange_time_us == 1_672_515_782_136_000


def test_candle(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@kline_1m"))

    candle = only(spot.of(Candle))
    assert fields(candle, "interval", "open_time_us", "close_time_us", "is_closed", "trade_count") == {
        "interval": "1m", "open_time_us": 1_672_515_780_000_000, "close_time_us": 1_672_515_839_999_000,
        "is_closed": False, "trade_count": 101,
    }  # fmt: skip
    assert fields(candle, "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume") == {
        "open": 100.0, "high": 103.0, "low": 99.0, "close": 102.0, "volume": 10.0, "quote_volume": 1000.0,
        "taker_buy_volume": 5.0,
    }  # fmt: skip


def test_coinm_candle_counts_base_currency_where_binance_counts_contracts(coinm: Any) -> None:
    coinm.take(coinm.feed.message("btcusd_perp@kline_1m"))

    names = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "is_closed")
    assert fields(only(coinm.of(Candle)), *names) == {
        "volume": 6.5, "quote_volume": 700.0, "taker_buy_volume": 2.5, "taker_buy_quote_volume": 300.0,
        "is_closed": True,
    }  # fmt: skip


def test_ticker(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@ticker"))

    names = ("last", "last_size", "bid", "ask_size", "open", "volume", "quote_volume", "trade_count", "open_time_us")
    assert fields(only(spot.of(Ticker)), *names) == {
        "last": 101.0, "last_size": 10.0, "bid": 100.9, "ask_size": 12.0, "open": 102.5, "volume": 10000.0,
        "quote_volume": 1010000.0, "trade_count": 18151, "open_time_us": 1_672_429_382_136_000,
    }  # fmt: skip


def test_coinm_ticker_has_no_quote_and_base_volume(coinm: Any) -> None:
    coinm.take(coinm.feed.message("btcusd_perp@ticker"))

    names = ("bid", "bid_size", "last_size", "volume", "quote_volume")
    assert fields(only(coinm.of(Ticker)), *names) == {
        "bid": None, "bid_size": None, "last_size": 80 * 100 / 20000, "volume": 42.5, "quote_volume": 1_200_000.0,
    }  # fmt: skip


def test_mark_price_gives_mark_index_and_funding(usdm: Any) -> None:
    usdm.take(usdm.feed.message("btcusdt@markPrice@1s"))

    assert [(each.kind, each.value, each.next_time_us) for each in usdm.of(Derivative)] == [
        ("MARK_PRICE", 28147.5, 0),
        ("INDEX_PRICE", 28159.25, 0),
        ("FUNDING_RATE", -0.00002754, 1_680_652_800_000_000),
    ]


def test_dated_futures_have_a_mark_price_alone(coinm: Any) -> None:
    coinm.take(coinm.feed.message("btcusd_261225@markPrice"))

    assert [(each.symbol, each.kind) for each in coinm.of(Derivative)] == [("BTC/USD:20261225", "MARK_PRICE")]


def test_liquidation(usdm: Any) -> None:
    usdm.take(usdm.feed.message("btcusdt@forceOrder"))

    assert fields(only(usdm.of(Derivative)), "kind", "value", "quantity", "side", "exchange_time_us") == {
        "kind": "LIQUIDATION", "value": 9915.5, "quantity": 0.014, "side": "SELL",
        "exchange_time_us": 1_568_014_460_893_000,
    }  # fmt: skip


@pytest.mark.parametrize("answer", [{"result": None, "id": 1}, {"result": ["btcusdt@trade"], "id": "a"}])
def test_answers_to_our_requests_give_nothing(spot: Any, answer: Any) -> None:
    assert spot.take(spot.feed.frame(json.dumps(answer).encode())) == []


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 2, "msg": "Invalid request"}, "id": 1},
        {"code": 3, "msg": "Invalid JSON"},
        {"e": "serverShutdown", "E": 1770123456789},
        {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}},
    ],
)
def test_what_the_venue_says_about_itself_is_an_event(spot: Any, body: Any) -> None:
    spot.take(spot.feed.frame(json.dumps(body).encode()))

    assert [each.kind for each in spot.records] == ["VENUE_NOTICE"]


def test_an_error_instead_of_a_snapshot_is_a_notice(spot: Any) -> None:
    url = "https://api.example/api/v3/depth?symbol=BTCUSDT&limit=1000"
    spot.take(spot.feed.frame(b'{"code":-1003,"msg":"Too many requests"}', "HTTP", request=url))

    assert "Too many requests" in only(spot.of(QualityEvent, kind="VENUE_NOTICE")).detail


def test_unknown_fields_are_told_once_and_do_no_harm(spot: Any) -> None:
    for number in range(1, 4):
        spot.take(spot.feed.message("btcusdt@trade", t=number, zz=[1]))

    assert len(spot.of(Tick)) == 3
    assert fields(only(spot.of(QualityEvent, kind="UNKNOWN_FIELD")), "channel", "detail") == {
        "channel": "trade", "detail": "zz",
    }  # fmt: skip


def test_unknown_fields_inside_are_told_too(spot: Any, messages: Any) -> None:
    kline = messages["spot", "btcusdt@kline_1m"]["k"] | {"new": 1}
    spot.take(spot.feed.message("btcusdt@kline_1m", k=kline))

    assert only(spot.of(QualityEvent, kind="UNKNOWN_FIELD")).detail == "new"
    assert len(spot.of(Candle)) == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"stream":"btcusdt@nonsense","data":{}}',
        b'{"stream":"btcusdt@depth20","data":{}}',
        b'{"stream":5,"data":{}}',
        b'{"hello":1}',
        b"[" * 100_000,
        b'{"stream":"btcusdt@trade","data":' + b"[" * 100_000,
        b'{"stream":"\xff@trade","data":{}}',
        b'{"stream":"btcusdt@trade","data":{"e":"\xff"}}',
        b'{"stream":"btcusdt@trade","data":{"\xff":1}}',
    ],
)
def test_what_is_no_message_is_a_dead_letter_with_its_bytes(spot: Any, payload: bytes) -> None:
    spot.take(spot.feed.frame(payload))

    assert only(spot.of(DeadLetter)).payload == payload
    assert only(spot.of(QualityEvent)).kind == "DEAD_LETTER"


@pytest.mark.parametrize("stream", ["btcusdt@depth5", "btcusdt@depth10@100ms", "btcusdt@depth20"])
def test_the_best_levels_of_spot_are_a_book_of_the_symbol_in_their_streams_name(spot: Any, stream: str) -> None:
    for number in (160, 161):
        data = {"lastUpdateId": number, "bids": [["1", "2"]], "asks": [["3", "4"]]}
        spot.say({"stream": stream, "data": data})

    found = [(each.is_snapshot, each.sequence, each.bid_prices, each.ask_sizes) for each in spot.of(Depth)]
    assert found == [(True, number, [1.0], [4.0]) for number in (160, 161)]
    assert {each.symbol for each in spot.of(Depth)} == {"BTC/USDT"}
    assert not spot.of(DeadLetter)


def test_the_best_levels_of_futures_are_no_change_of_a_book(usdm: Any, messages: Any) -> None:
    data = messages["usdm", "btcusdt@depth@0ms"]
    usdm.say({"stream": "btcusdt@depth20@100ms", "data": data})

    assert only(usdm.of(Depth)).is_snapshot
    assert not usdm.of(DeadLetter)


def test_the_best_levels_replace_no_book_that_is_kept_whole(spot: Any) -> None:
    spot.take(spot.feed.message("btcusdt@depth@100ms", U=99, u=101), spot.feed.snapshot(100, [["1", "1"], ["2", "1"]]))
    before = len(spot.of(Depth))
    spot.say({"stream": "btcusdt@depth5@100ms", "data": {"lastUpdateId": 101, "bids": [["1", "2"]], "asks": []}})

    assert len(spot.of(Depth)) == before
    assert spot.pipeline.books() == (1, 0)


def test_an_unknown_market_is_refused() -> None:
    frame = Frame(source=0, number=0, kind="MESSAGE", recv_time_us=0, payload=b"{}")

    with pytest.raises(FrameError, match="no market 'options'"):
        binance.parse("options", frame, Memory())


@pytest.mark.parametrize("request_url", ["", "https://api.example/api/v3/klines?symbol=BTCUSDT", "http://[bad"])
def test_answers_to_other_requests_are_dead_letters(spot: Any, request_url: str) -> None:
    spot.take(spot.feed.frame(b"[]", "HTTP", request=request_url))

    assert len(spot.of(DeadLetter)) == 1


def test_a_snapshot_of_another_symbol_than_asked_for_is_refused(coinm: Any) -> None:
    body = {"lastUpdateId": 1, "symbol": "ETHUSD_PERP", "pair": "ETHUSD", "bids": [], "asks": []}
    url = "https://api.example/dapi/v1/depth?symbol=BTCUSD_PERP"
    coinm.take(coinm.feed.frame(json.dumps(body).encode(), "HTTP", request=url))

    assert "ETHUSD_PERP" in only(coinm.of(DeadLetter)).reason


@pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])
def test_messages_of_raw_streams_are_read_as_those_of_combined_ones(new_run: Any, messages: Any, market: str) -> None:
    combined, raw = new_run(market), new_run(market)
    for (of, stream), data in messages.items():
        if of == market and not (market == "spot" and "lastUpdateId" in data):
            combined.take(combined.feed.message(stream))
            raw.take(raw.feed.frame(json.dumps(data).encode()))

    assert raw.records == combined.records
    assert not raw.of(DeadLetter)


def test_an_update_that_holds_a_snapshots_id_joins_it_whichever_it_names_before(coinm: Any) -> None:
    """As recorded in 2020: U <= L <= u, and pu above L."""
    coinm.take(coinm.feed.message("btcusd_perp@depth@0ms", U=100, u=103, pu=101, b=[], a=[]))
    coinm.take(coinm.feed.snapshot(100, [["1.0", "1"]], [["9.0", "1"]]))

    assert only(coinm.of(QualityEvent, kind="BOOK_READY")).to_sequence == 103


def test_open_interest_that_a_recorder_asked_for(coinm: Any) -> None:
    body = b'{"symbol":"BTCUSD_PERP","pair":"BTCUSD","openInterest":"15004","time":1723161253937}'
    request = "https://dapi.binance.com/dapi/v1/openInterest?symbol=BTCUSD_PERP"
    coinm.take(coinm.feed.frame(body, "HTTP", request=request))

    fact = only(coinm.of(Derivative))
    assert (fact.kind, fact.value, fact.exchange_time_us) == ("OPEN_INTEREST", 1_500_400.0, 1_723_161_253_937_000)


def test_the_index_of_a_pair_is_that_of_its_perpetual(coinm: Any) -> None:
    data = {"e": "indexPriceUpdate", "E": 1_723_161_253_937, "i": "BTCUSD", "p": "60001.5"}
    coinm.say({"stream": "btcusd@indexPrice@1s", "data": data})

    fact = only(coinm.of(Derivative))
    assert (fact.kind, fact.symbol, fact.value) == ("INDEX_PRICE", "BTC/USD:PERP", 60001.5)


@pytest.mark.parametrize(
    ("market", "stream", "of_all"),
    [
        ("spot", "btcusdt@ticker", "!ticker@arr"),
        ("usdm", "btcusdt@markPrice@1s", "!markPrice@arr@1s"),
        ("usdm", "btcusdt@forceOrder", "!forceOrder@arr"),
        ("usdm", "btcusdt@bookTicker", "!bookTicker"),
    ],
)
def test_streams_of_all_symbols_are_read(new_run: Any, messages: Any, market: str, stream: str, of_all: str) -> None:
    data, run = json.dumps(messages[market, stream]), new_run(market)
    both = [json.loads(data), json.loads(data.replace("BTCUSDT", "ETHUSDT"))]
    is_list = of_all in {"!ticker@arr", "!markPrice@arr@1s"}
    run.say(*({"stream": of_all, "data": each} for each in ([both] if is_list else both)))

    told = [each for each in run.records if isinstance(each, Ticker | Derivative | Tick)]
    assert {each.symbol.removesuffix(":PERP") for each in told} == {"BTC/USDT", "ETH/USDT"}
    assert not run.of(DeadLetter)


@pytest.mark.parametrize("interval", ["", "5", "1H"])
def test_a_candle_of_an_interval_that_is_not_known_is_refused(spot: Any, messages: Any, interval: str) -> None:
    data = messages["spot", "btcusdt@kline_1m"]
    spot.say({"stream": "btcusdt@kline_1m", "data": data | {"k": data["k"] | {"i": interval}}})

    assert only(spot.of(DeadLetter)).reason == f"kline: interval {interval!r} is not known"
    assert not spot.of(Candle)
