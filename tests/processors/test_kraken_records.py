"""Kraken: documented messages of each channel, and the records they give, computed by hand."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fuzz.seeds import messages
from processors.memory import Memory
from processors.venues import kraken_spot
from schemas.records import Candle, DeadLetter, Depth, Derivative, QualityEvent, Tick, Ticker

EXAMPLE = b"""{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":45283.5,
"qty":0.10000000},{"price":45283.4,"qty":1.54582015},{"price":45282.1,"qty":0.10000000},{"price":45281.0,"qty":0.10000000},
{"price":45280.3,"qty":1.54592586},{"price":45279.0,"qty":0.07990000},{"price":45277.6,"qty":0.03310103},
{"price":45277.5,"qty":0.30000000},{"price":45277.3,"qty":1.54602737},{"price":45276.6,"qty":0.15445238}],"asks":[
{"price":45285.2,"qty":0.00100000},{"price":45286.4,"qty":1.54571953},{"price":45286.6,"qty":1.54571109},
{"price":45289.6,"qty":1.54560911},{"price":45290.2,"qty":0.15890660},{"price":45291.8,"qty":1.54553491},
{"price":45294.7,"qty":0.04454749},{"price":45296.1,"qty":0.35380000},{"price":45297.5,"qty":0.09945542},
{"price":45299.5,"qty":0.18772827}],"checksum":3310070434,"timestamp":"2023-10-06T17:35:55.440295Z"}]}"""
"""The venue's own example of a checksum: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2."""
LIST = b"""{"error":[],"result":{"XXBTZUSD":{"wsname":"XBT/USD","aclass_base":"currency","pair_decimals":1,
"lot_decimals":8,"tick_size":"0.1","status":"online"}}}"""


def fields(record: Any, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in names)


def only(records: list[Any]) -> Any:
    (record,) = records
    return record


def said(market: str, *names: str) -> list[Any]:
    return [messages("KRAKEN")[market][name] for name in names]


def now_of(run: Any) -> str:
    """Write the time of the feed as the venue does."""
    return datetime.fromtimestamp(run.feed.recv_time_us / 1e6, UTC).isoformat()


@pytest.fixture
def spot(new_run: Any) -> Any:
    return new_run("spot", "KRAKEN")


@pytest.fixture
def v1(new_run: Any) -> Any:
    return new_run("spot_v1", "KRAKEN")


@pytest.fixture
def futures(new_run: Any) -> Any:
    return new_run("futures", "KRAKEN")


def test_spot_trades_have_the_takers_side_and_ids_that_count(spot: Any) -> None:
    spot.say(*said("spot", "trade"))

    names = ("symbol", "exchange_time_us", "price", "quantity", "side", "trade_id")
    assert [fields(tick, *names) for tick in spot.of(Tick)] == [
        ("BTC/USD", 1_795_168_800_123_456, 45000.5, 0.25, "SELL", "71001"),
        ("BTC/USD", 1_795_168_800_123_456, 45000.6, 1e-8, "BUY", "71002"),
    ]


def test_the_trades_that_a_stream_begins_with_are_of_the_past_and_mark_no_other(spot: Any) -> None:
    (first,) = said("spot", "trade")
    row = first["data"][0] | {"timestamp": now_of(spot)}
    past = [row | {"trade_id": number} for number in (71001, 71002)]
    spot.say(first | {"type": "snapshot", "data": past}, first | {"data": [row | {"trade_id": 71003}]})

    assert [fields(tick, "trade_id", "flags") for tick in spot.of(Tick)] == [
        ("71001", "PAST"), ("71002", "PAST"), ("71003", ""),
    ]  # fmt: skip


def test_the_first_trade_is_judged_by_those_that_the_stream_began_with(spot: Any) -> None:
    (first,) = said("spot", "trade")
    row = first["data"][0] | {"timestamp": now_of(spot)}
    rows = [row | {"trade_id": number, "price": 45000 + number % 2 / 10} for number in range(1, 52)]
    spot.say(first | {"type": "snapshot", "data": rows[:-1]}, first | {"data": [rows[-1] | {"price": 46000}]})

    assert [tick.flags for tick in spot.of(Tick)] == ["PAST"] * 50 + ["OUTLIER"]


def test_a_hole_in_the_ids_of_trades_is_a_gap(spot: Any) -> None:
    (first,) = said("spot", "trade")
    later = first | {"data": [first["data"][0] | {"trade_id": 71005}]}
    spot.say(first, later)

    gap = only(spot.of(QualityEvent, kind="GAP"))
    assert fields(gap, "from_sequence", "to_sequence", "count") == (71003, 71004, 2)


def test_the_venues_example_has_its_checksum(spot: Any) -> None:
    spot.say(EXAMPLE)

    assert only(spot.of(QualityEvent, kind="BOOK_READY"))
    assert not spot.of(QualityEvent, kind="CHECKSUM")
    assert len(only(spot.of(Depth)).bid_prices) == 10


def test_one_digit_changed_is_noticed_and_asks_for_a_snapshot_once(spot: Any) -> None:
    spot.say(EXAMPLE.replace(b"45285.2", b"45285.1"))

    assert only(spot.of(QualityEvent, kind="CHECKSUM"))
    assert [(each.command, each.venue_symbol) for each in spot.commands] == [("resnapshot", "BTC/USD")]


def test_zeros_that_were_not_sent_are_put_back_where_a_list_tells_the_precision(spot: Any) -> None:
    stripped = EXAMPLE.replace(b"0000}", b"}").replace(b"45281.0", b"45281").replace(b"45279.0", b"45279")
    spot.take(spot.feed.frame(LIST, "INSTRUMENTS"))
    spot.say(stripped)

    assert not spot.of(QualityEvent, kind="CHECKSUM")
    assert only(spot.of(QualityEvent, kind="BOOK_READY"))


def test_digits_as_they_were_sent_count_whatever_precision_a_list_tells(spot: Any) -> None:
    finer = LIST.replace(b'"pair_decimals":1', b'"pair_decimals":2').replace(b'"0.1"', b'"0.01"')
    spot.take(spot.feed.frame(finer, "INSTRUMENTS"))
    spot.say(EXAMPLE)

    assert not spot.of(QualityEvent, kind="CHECKSUM")
    assert only(spot.of(QualityEvent, kind="BOOK_READY"))


def test_a_message_that_cannot_be_read_costs_the_book_that_it_names_alone(spot: Any) -> None:
    other = EXAMPLE.replace(b"BTC/USD", b"ETH/USD")
    spot.say(EXAMPLE, other, other.replace(b"45285.2", b"null"))

    assert only(spot.of(QualityEvent, kind="BOOK_RESET")).symbol == "ETH/USD"
    assert [(each.command, each.venue_symbol) for each in spot.commands] == [("resnapshot", "ETH/USD")]


def test_a_level_that_falls_out_of_the_depth_is_published_as_removed(spot: Any) -> None:
    """Eleven bids in a depth of ten: the venue says nothing of the last one."""
    update = EXAMPLE.split(b'"bids":[')[0].replace(b"snapshot", b"update")
    spot.say(EXAMPLE, update + b'"bids":[{"price":45284.0,"qty":1.00000000}],"asks":[]}]}')

    delta = only(spot.of(Depth, is_snapshot=False))
    assert (delta.bid_prices, delta.bid_sizes) == ([45284.0, 45276.6], [1.0, 0.0])


@pytest.mark.parametrize(("granted", "depth"), [(["granted"], 25), ([], 10)])
def test_the_depth_is_the_one_granted_or_the_least_that_holds_the_snapshot(granted: list[str], depth: int) -> None:
    memory = Memory()
    for answer in said("spot", *granted):
        kraken_spot.parse(json.dumps(answer).encode(), memory)

    assert kraken_spot.parse(EXAMPLE, memory)[0].most_levels == depth  # type: ignore[union-attr]


def test_spot_book_gives_the_book_then_what_changed(spot: Any) -> None:
    spot.say(*said("spot", "book", "book update"))

    first, second = spot.of(Depth)
    assert fields(first, "is_snapshot", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes") == (
        True, [45000.5, 45000.1], [2.5, 1.0], [45000.6], [0.125],
    )  # fmt: skip
    assert fields(second, "is_snapshot", "bid_prices", "bid_sizes", "exchange_time_us", "snapshot_id") == (
        False, [45000.5], [0.0], 1_795_168_800_300_001, first.snapshot_id,
    )  # fmt: skip


def test_spot_ticker_is_a_quote_as_well(spot: Any) -> None:
    spot.say(*said("spot", "ticker"))

    quote, ticker = only(spot.of(Tick)), only(spot.of(Ticker))
    assert fields(quote, "kind", "bid", "bid_size", "ask", "ask_size", "venue_sequence") == (
        "QUOTE", 45000.5, 2.5, 45000.6, 0.125, 1_795_168_801_000_001,
    )  # fmt: skip
    assert fields(ticker, "last", "volume", "low", "high", "open", "bid", "trade_count") == (
        45000.6, 1200.5, 44000.0, 46000.0, None, 45000.5, 9800,
    )  # fmt: skip


def test_a_pair_that_was_never_traded_has_no_time_and_no_quote(spot: Any) -> None:
    (message,) = said("spot", "ticker")
    nothing = dict.fromkeys(("bid", "bid_qty", "ask", "ask_qty"), 0) | {"timestamp": "1970-01-01T00:00:00.000000Z"}
    spot.say(message | {"data": [message["data"][0] | nothing]})

    assert not spot.of(Tick)
    assert not spot.of(DeadLetter)


def test_spot_candle(spot: Any) -> None:
    spot.say(*said("spot", "ohlc"))

    candle = only(spot.of(Candle))
    assert fields(candle, "interval", "open_time_us", "close_time_us", "is_closed", "trade_count") == (
        "1m", 1_795_168_800_000_000, 1_795_168_859_999_999, False, 12,
    )  # fmt: skip
    assert fields(candle, "open", "high", "low", "close", "volume", "quote_volume") == (
        45000.0, 45010.5, 44990.0, 45001.0, 3.5, None,
    )  # fmt: skip


def test_a_candle_whose_interval_is_over_is_closed(spot: Any) -> None:
    (candle,) = said("spot", "ohlc")
    spot.say(candle | {"timestamp": "2026-11-20T10:01:00.000000001Z"})

    assert only(spot.of(Candle)).is_closed


@pytest.mark.parametrize("market", ["spot", "spot_v1"])
def test_a_candle_that_a_later_one_follows_is_compared_with_our_bar(new_run: Any, market: str) -> None:
    """Trades alone make Kraken tell of a candle, so that none is told once it has ended."""
    run = new_run(market, "KRAKEN")
    handed_on: list[Any] = []
    run.feed.recv_time_us = 1_795_168_860_000_000
    (first,) = said(market, "ohlc")
    run.say(first)
    (state,) = run.pipeline.states()
    state.timed.on_added_candle = handed_on.append
    if market == "spot":
        run.say(first | {"data": [first["data"][0] | {"interval_begin": "2026-11-20T10:01:00.000000000Z"}]})
    else:
        row = [str(float(each) + 60) for each in first[1][:2]]
        run.say([first[0], [*row, *first[1][2:]], *first[2:]])

    assert [each.is_closed for each in run.of(Candle)] == [False, False]
    assert [each.open_time_us for each in handed_on if each.is_closed] == [run.of(Candle)[0].open_time_us]


@pytest.mark.parametrize("name", ["status", "refused"])
def test_what_spot_says_about_itself_is_a_notice(spot: Any, name: str) -> None:
    spot.say(*said("spot", name))

    assert [each.kind for each in spot.records] == ["VENUE_NOTICE"]


@pytest.mark.parametrize("name", ["upcoming_maintenance", "emergency"])
def test_what_is_announced_is_a_notice(spot: Any, name: str) -> None:
    spot.say({"channel": "status", "type": "update", "data": [{"system": "online", name: [{"title": "Engine"}]}]})

    assert [(each.kind, each.detail) for each in spot.records] == [
        ("VENUE_NOTICE", 'announced: [{"title":"Engine"}]'),
    ]  # fmt: skip


def test_a_refusal_that_names_its_channel_is_a_notice(spot: Any) -> None:
    told = {"channel": "executions", "error": "ESession:Invalid session", "method": "subscribe", "status": "error"}
    spot.say(told | {"success": False, "time_in": "2026-11-20T10:00:00Z", "time_out": "2026-11-20T10:00:00Z"})

    assert [each.kind for each in spot.records] == ["VENUE_NOTICE"]


@pytest.mark.parametrize(
    ("market", "message"),
    [
        ("spot", {"channel": "heartbeat"}),
        ("spot", {"channel": "status", "data": [{"system": "online", "upcoming_maintenance": [], "emergency": []}]}),
        ("spot", {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": []}}),
        ("spot", {"method": "pong", "req_id": 5, "time_in": "2026-11-20T10:00:00Z"}),
        ("spot", {"channel": "status", "type": "update", "data": [{"system": "online", "version": "2.0.9"}]}),
        ("spot_v1", {"event": "heartbeat"}),
        ("spot_v1", {"event": "pong", "reqid": 5}),
        ("spot_v1", {"event": "systemStatus", "status": "online", "version": "1.9.2"}),
        ("spot_v1", {"event": "subscriptionStatus", "status": "subscribed", "pair": "XBT/USD", "channelName": "trade"}),
        ("futures", {"event": "info", "version": 1}),
        ("futures", {"event": "subscribed", "feed": "book", "product_ids": ["PI_XBTUSD"]}),
        ("futures", {"feed": "heartbeat", "time": 1534262350627}),
        ("futures", {"feed": "ticker_lite", "product_id": "PI_XBTUSD", "bid": 1.5, "ask": 2.5, "volume": 3, "dtm": 0}),
    ],
)  # fmt: skip
def test_answers_and_heartbeats_give_nothing(new_run: Any, market: str, message: Any) -> None:
    assert new_run(market, "KRAKEN").say(message) == []


def test_a_pair_goes_on_from_the_second_api_once_nobody_brings_the_first(new_run: Any) -> None:
    run = new_run("spot_v1", "KRAKEN")
    first, second = run.feed, type(run.feed)("spot", "d", "KRAKEN")
    kept: dict[str, list[bytes]] = {}
    run.say(*said("spot_v1", "trade"))
    run.capture(kept)
    run.feed = second
    run.say(*said("spot", "trade"))  # both are there: which of them?
    run.feed = first
    run.take(first.frame(b"stopped", "DISCONNECT"))
    run.feed = second
    run.say(*said("spot", "trade"))
    run.capture(kept)
    run.resume(kept, type(run.pipeline)("KRAKEN", "raw.kraken", 0))
    (again,) = said("spot", "trade")
    run.say(again | {"data": [again["data"][0] | {"trade_id": 71003}]})

    assert [each.reason for each in run.of(DeadLetter)] == ["'BTC/USD' and 'XBT/USD' are both BTC/USD"]
    assert [each.sequence_id for each in run.of(Tick)] == [1, 2, 3, 4, 5]
    assert only(run.of(QualityEvent, kind="VENUE_NOTICE")).detail == (
        "BTC/USD is BTC/USD of spot now, no more XBT/USD of spot_v1"
    )
    assert not run.of(QualityEvent, kind="GAP")


def test_v1_updates_that_come_twice_or_late_are_told(v1: Any) -> None:
    def change(side: str, price: str, instant: int) -> list[Any]:
        return [336, {side: [[price, "1.00000000", f"{instant}.000001"]]}, "book-10", "XBT/USD"]

    kept: dict[str, list[bytes]] = {}
    v1.say(*said("spot_v1", "book"), change("b", "44000.0", 1_618_678_150))
    v1.capture(kept)
    v1.resume(kept, type(v1.pipeline)("KRAKEN", "raw.kraken", 0))
    v1.say(change("b", "44000.0", 1_618_678_150), change("a", "46000.0", 1_618_678_149))
    v1.records += v1.pipeline.finish()

    assert [each.bid_prices + each.ask_prices for each in v1.of(Depth, is_snapshot=False)] == [[44000.0], [46000.0]]
    assert [each.kind for each in v1.of(QualityEvent) if each.symbol] == [
        "ASSUMED_INSTRUMENT", "BOOK_READY", "DUPLICATE", "OUT_OF_ORDER",
    ]  # fmt: skip
    assert not v1.commands


def test_v1_of_several_depths_of_a_pair_the_deepest_is_the_book(v1: Any) -> None:
    def level(price: str, instant: int) -> list[str]:
        return [price, "1.00000000", f"{instant}.000000"]

    def whole(depth: int, bid: str) -> list[Any]:
        return [depth, {"as": [level("102.0", 1)], "bs": [level(bid, 1)]}, f"book-{depth}", "XBT/USD"]

    v1.say(whole(10, "100.0"), whole(100, "99.0"), whole(10, "100.0"))
    for depth, bid in ((10, "98.0"), (100, "97.0")):
        v1.say([depth, {"b": [level(bid, 2)]}, f"book-{depth}", "XBT/USD"])

    assert [each.bid_prices for each in v1.of(Depth)] == [[100.0], [99.0], [97.0]]
    assert only(v1.of(QualityEvent, kind="VENUE_NOTICE")).detail.startswith("book-10 XBT/USD is left out")


def test_v1_trades_are_told_apart_by_what_they_say(v1: Any) -> None:
    (message,) = said("spot_v1", "trade")
    v1.say(message, message)

    assert [fields(tick, "symbol", "side", "price", "quantity", "trade_id") for tick in v1.of(Tick)] == [
        ("BTC/USD", "SELL", 45000.5, 0.25, "1618678142.557535:45000.50000:0.25000000:s"),
        ("BTC/USD", "BUY", 45000.6, 0.1, "1618678142.557535:45000.60000:0.10000000:b"),
    ]


def test_v1_trades_alike_in_one_message_are_two(v1: Any) -> None:
    (message,) = said("spot_v1", "trade")
    v1.say([message[0], [message[1][0], message[1][0]], *message[2:]])

    assert [tick.trade_id.count(":") for tick in v1.of(Tick)] == [3, 4]


def test_v1_book_in_two_parts_has_the_newest_time_of_its_levels(v1: Any) -> None:
    v1.say(*said("spot_v1", "book", "book update"))

    first, second = v1.of(Depth)
    assert fields(first, "is_snapshot", "exchange_time_us", "bid_prices", "ask_sizes") == (
        True, 1_618_678_142_200_001, [45000.5, 45000.1], [0.125],
    )  # fmt: skip
    assert fields(second, "exchange_time_us", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes") == (
        1_618_678_143_000_002, [45000.5], [0.0], [45000.7], [1.0],
    )  # fmt: skip
    assert not v1.of(QualityEvent, kind="CHECKSUM")


def test_v1_snapshot_with_a_null_before_the_channel_is_read(v1: Any) -> None:
    v1.say([923, {"as": [["0.102987", "3.0", "1561939199.992830"]], "bs": []}, None, "book-1000", "ADA/CAD"])

    assert only(v1.of(Depth)).ask_prices == [0.102987]


def test_v1_spread_is_a_quote_and_its_ticker_none(v1: Any) -> None:
    v1.say(*said("spot_v1", "spread", "ticker"))

    assert fields(only(v1.of(Tick)), "kind", "bid", "bid_size", "ask", "ask_size", "exchange_time_us") == (
        "QUOTE", 45000.5, 2.5, 45000.6, 0.125, 1_618_678_142_700_001,
    )  # fmt: skip
    names = ("exchange_time_us", "last", "open", "high", "low", "volume", "trade_count", "bid_size")
    assert fields(only(v1.of(Ticker)), *names) == (0, 45000.6, 44700.0, 46000.0, 44000.0, 1200.5, 9800, 2.5)


def test_v1_candle(v1: Any) -> None:
    v1.say(*said("spot_v1", "ohlc"))

    assert fields(only(v1.of(Candle)), "interval", "open_time_us", "exchange_time_us", "close", "is_closed") == (
        "1m", 1_618_678_140_000_000, 1_618_678_142_557_535, 45001.0, False,
    )  # fmt: skip


def test_futures_book_in_contracts_becomes_base_currency(futures: Any) -> None:
    """8,000 contracts of 1 USD at 40,000 are 0.2 BTC."""
    futures.say(*said("futures", "book_snapshot", "book"))

    first, second = futures.of(Depth)
    assert fields(first, "symbol", "is_snapshot", "sequence", "bid_sizes", "ask_sizes") == (
        "BTC/USD:PERP:BTC", True, 326072249, [0.2, 400 / 39999.5], [0.1],
    )  # fmt: skip
    assert fields(second, "sequence", "ask_prices", "ask_sizes", "bid_prices") == (326072250, [50000.0], [0.2], [])


def test_a_futures_update_that_skips_one_is_a_gap_and_resyncs_that_product(futures: Any) -> None:
    snapshot, update = said("futures", "book_snapshot", "book")
    futures.say(snapshot, update | {"seq": 326072251})

    gap = only(futures.of(QualityEvent, kind="GAP"))
    assert fields(gap, "from_sequence", "to_sequence", "symbol") == (326072250, 326072250, "BTC/USD:PERP:BTC")
    assert [(each.command, each.venue_symbol) for each in futures.commands] == [("resnapshot", "PI_XBTUSD")]


def test_futures_trade(futures: Any) -> None:
    futures.say(*said("futures", "trade"))

    assert fields(only(futures.of(Tick)), "side", "price", "quantity", "exchange_time_us", "trade_id", "flags") == (
        "SELL", 30000.0, 0.5, 1_612_266_317_519_000, "05af78ac-a774-478c-a50c-8b9c234e071e", "",
    )  # fmt: skip


@pytest.mark.parametrize("feed", ["candles_trade_1m_snapshot", "candles_trade_1m"])
def test_futures_candle(futures: Any, feed: str) -> None:
    prices = {"open": "83954", "high": "84007", "low": "83950", "close": "83999"}
    row = {"time": 1790359920000, **prices, "volume": "0.9783"}
    futures.say({"feed": feed, "candle": row, "product_id": "PF_XBTUSD"})

    candle = only(futures.of(Candle))
    assert fields(candle, "symbol", "interval", "open_time_us", "close", "volume", "is_closed") == (
        "BTC/USD:PERP", "1m", 1_790_359_920_000_000, 83999.0, 0.9783, False,
    )  # fmt: skip


def test_a_liquidation_is_a_trade_and_a_fact_of_its_own(futures: Any) -> None:
    futures.say(*said("futures", "trade liquidation"))

    assert fields(only(futures.of(Tick)), "symbol", "quantity", "flags") == ("BTC/USD:PERP", 0.5, "")
    assert fields(only(futures.of(Derivative)), "kind", "value", "quantity", "side") == (
        "LIQUIDATION", 30000.0, 0.5, "BUY",
    )  # fmt: skip


def test_a_snapshot_of_trades_comes_oldest_first_and_blocks_are_off_the_book(futures: Any) -> None:
    futures.say(*said("futures", "trade_snapshot"))

    assert [fields(tick, "price", "flags") for tick in futures.of(Tick)] == [
        (34891.0, "OFF_BOOK,PAST"), (34893.0, "PAST"),
    ]  # fmt: skip
    assert not futures.of(QualityEvent, kind="OUT_OF_ORDER")


def test_futures_ticker_gives_ticker_quote_mark_index_funding_and_open_interest(futures: Any) -> None:
    """40,000,000 contracts of 1 USD at the last price of 20,000 are 2,000 BTC."""
    futures.say(*said("futures", "ticker"))

    assert fields(only(futures.of(Ticker)), "last", "open", "volume", "quote_volume", "bid_size", "ask_size") == (
        20000.0, 21968.5, 2000.0, 40_000_000.0, 0.1, 0.2,
    )  # fmt: skip
    assert fields(only(futures.of(Tick)), "kind", "bid", "ask", "bid_size") == ("QUOTE", 20000.0, 25000.0, 0.1)
    assert [fields(each, "kind", "value", "next_time_us") for each in futures.of(Derivative)] == [
        ("MARK_PRICE", 21979.6, 0),
        ("INDEX_PRICE", 21984.5, 0),
        ("FUNDING_RATE", -0.00000138, 1_676_394_000_000_000),
        ("OPEN_INTEREST", 30072580.0, 0),
    ]


@pytest.mark.parametrize("name", ["relative_funding_rate", "next_funding_rate_time"])
def test_a_futures_ticker_without_its_funding_tells_the_rest(futures: Any, name: str) -> None:
    (ticker,) = said("futures", "ticker")
    futures.say(ticker | {name: None})

    assert not futures.of(DeadLetter)
    assert [each.kind for each in futures.of(Derivative)] == ["MARK_PRICE", "INDEX_PRICE", "OPEN_INTEREST"]
    assert futures.of(Ticker)


def test_small_letters_of_a_product_are_capitals(futures: Any) -> None:
    (trade,) = said("futures", "trade")
    futures.say(trade | {"product_id": "pi_xbtusd"})

    assert only(futures.of(Tick)).symbol == "BTC/USD:PERP:BTC"


@pytest.mark.parametrize("market", ["spot", "spot_v1", "futures"])
@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[]", b"5", b"[1,2]", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"channel":"level9"}',
        b'{"feed":"fills"}', b'[1,{"a":[]},"book-ten","XBT/USD"]', b'[1,{"c":"1"},"book-10","XBT/USD"]',
        b'[1,[],"own","XBT/USD"]',
    ],
)  # fmt: skip
def test_what_is_no_message_is_a_dead_letter(new_run: Any, market: str, payload: bytes) -> None:
    run = new_run(market, "KRAKEN")
    run.say(payload)

    assert only(run.of(DeadLetter)).payload == payload


def test_answers_of_rest_are_dead_letters(spot: Any) -> None:
    spot.take(spot.feed.frame(b'{"error":[],"result":{}}', "HTTP", request="https://api.kraken.com/0/public/Depth"))

    assert "a request we do not know" in only(spot.of(DeadLetter)).reason


def test_missing_trades_of_spot_come_by_rest(new_run: Any) -> None:
    run = new_run("spot", "KRAKEN")
    row = {"symbol": "BTC/USD", "side": "buy", "price": 60000.1, "qty": 0.5, "ord_type": "limit", "trade_id": 11,
           "timestamp": "2024-08-08T23:54:00.100000Z"}  # fmt: skip
    run.say(*({"channel": "trade", "type": "update", "data": [row | {"trade_id": each}]} for each in (11, 14)))
    body = (
        b'{"error":[],"result":{"XXBTZUSD":[["60000.10000","0.50000000",1723161240.1,"b","l","",11],'
        b'["59999.90000","0.25000000",1723161240.1234567,"s","m","",12],'
        b'["60000.00000","1.50000000",1723161240.2,"b","m","",13]],"last":"1723161240200000000"}}'
    )
    url = "https://api.kraken.com/0/public/Trades?pair=XBTUSD&since=1723161240099999000"
    run.take(run.feed.frame(body, "HTTP", request=f"{url}#BTC/USD"))

    found = [(each.trade_id, each.price, each.quantity, each.side, each.exchange_time_us) for each in run.of(Tick)[2:]]
    assert found == [
        ("12", 59999.9, 0.25, "SELL", 1_723_161_240_123_456),
        ("13", 60000.0, 1.5, "BUY", 1_723_161_240_200_000),
    ]
    assert [each.kind for each in run.of(QualityEvent) if each.symbol and each.channel] == ["GAP", "HEALED"]
    refusal = b'{"error":["EQuery:Unknown asset pair"]}'
    run.take(run.feed.frame(body, "HTTP", request=url), run.feed.frame(refusal, "HTTP", request=f"{url}#BTC/USD"))
    assert len(run.of(DeadLetter)) == 1
    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1
