"""Bitfinex: documented messages of each channel, and the records they give, computed by hand."""

import json
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.seeds import messages
from processors.errors import FrameError
from processors.memory import Memory
from processors.venues import bitfinex as bitfinex_processor
from processors.venues import bitfinex_wire as wire
from processors.venues.bitfinex_wire import BitfinexChecksum
from schemas.records import Candle, DeadLetter, Depth, Derivative, Frame, QualityEvent, Tick, Ticker
from schemas.venues import bitfinex


def fields(record: Any, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in names)


def only(records: list[Any]) -> Any:
    (record,) = records
    return record


def began(run: Any, market: str) -> Any:
    run.say(*(each for name, each in messages("BITFINEX")[market].items() if name.startswith("before")))
    return run


def said(run: Any, *names: str, market: str = "spot") -> list[Any]:
    return list(run.say(*(messages("BITFINEX")[market][name] for name in names)))


@pytest.fixture
def spot(new_run: Any) -> Any:
    return began(new_run("spot", "BITFINEX"), "spot")


@pytest.fixture
def derivatives(new_run: Any) -> Any:
    return began(new_run("derivatives", "BITFINEX"), "derivatives")


def test_a_trade_is_told_when_it_is_executed_and_not_again(spot: Any) -> None:
    said(spot, "trade", "trade again")

    names = ("symbol", "exchange_time_us", "price", "quantity", "side", "trade_id")
    assert fields(only(spot.of(Tick)), *names) == (
        "BTC/USD", 1_795_168_800_123_000, 45001.0, 0.005, "SELL", "1571",
    )  # fmt: skip
    assert not spot.of(QualityEvent, kind="DUPLICATE")


def test_the_trades_a_channel_begins_with_come_oldest_first_and_are_of_the_past(spot: Any) -> None:
    said(spot, "trades", "trade")

    assert [fields(tick, "trade_id", "side", "quantity") for tick in spot.of(Tick)] == [
        ("1569", "SELL", 0.25), ("1570", "BUY", 0.5), ("1571", "SELL", 0.005),
    ]  # fmt: skip
    assert ["PAST" in tick.flags for tick in spot.of(Tick)] == [True, True, False]


def test_a_book_gives_the_book_then_what_changed_and_stands_by_its_checksum(spot: Any) -> None:
    said(spot, "book", "book update", "checksum")

    first, second = spot.of(Depth)
    assert fields(first, "is_snapshot", "exchange_time_us", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes") == (
        True, 1_795_168_800_200_000, [45000.0, 44999.0], [1.5, 0.25], [45001.0, 45002.5], [2.0, 0.125],
    )  # fmt: skip
    assert fields(second, "is_snapshot", "bid_prices", "bid_sizes", "snapshot_id") == (
        False, [45000.0], [0.0], first.snapshot_id,
    )  # fmt: skip
    assert not spot.of(QualityEvent, kind="CHECKSUM")


def test_a_checksum_that_does_not_fit_costs_the_book_and_asks_for_another(spot: Any) -> None:
    said(spot, "book")
    spot.say([90, "cs", 5, 8, 1795168800220])

    assert only(spot.of(QualityEvent, kind="CHECKSUM"))
    assert [(each.command, each.venue_symbol) for each in spot.commands] == [("resnapshot", "tBTCUSD")]


@pytest.mark.parametrize(("number", "is_right"), [(1756193398, True), (-2538773898 + 1, False)])
def test_the_string_of_the_venues_own_library_is_made(number: int, is_right: bool) -> None:
    """It is 6000:1:6100:-3:5900:2:6200:-4; the number is that of the string."""
    levels = [("6000", "1"), ("5900", "2")], [("6100", "-3"), ("6200", "-4")]
    made = BitfinexChecksum().of(*levels, bitfinex.assumed_instrument("spot", "tBTCUSD", 0))

    assert (made == number % 2**32) is is_right


def test_a_signed_checksum_is_the_unsigned_one(spot: Any) -> None:
    book = messages("BITFINEX")["spot"]["book"]
    made = BitfinexChecksum().of([("1", "1")], [("3", "-5")], bitfinex.assumed_instrument("spot", "tBTCUSD", 0))
    assert made >= 2**31
    spot.say([book[0], [[1, 1, 1], [3, 1, -5]], 1, 1795168800200], [book[0], "cs", made - 2**32, 2, 1795168800201])

    assert not spot.of(QualityEvent, kind="CHECKSUM")


def test_an_amount_sent_with_an_exponent_stands_so_in_the_checksum(spot: Any) -> None:
    levels = [("1", "2e-7")], [("3", "-5")]
    made = BitfinexChecksum().of(*levels, bitfinex.assumed_instrument("spot", "tBTCUSD", 0))
    spot.say(b"[90,[[1,1,2e-7],[3,1,-5]],1]", [90, "cs", made, 2])

    assert not spot.of(QualityEvent, kind="CHECKSUM")


def test_a_book_with_a_price_sent_with_an_exponent_is_not_held_against_its_checksum(spot: Any) -> None:
    book = messages("BITFINEX")["spot"]["book"]
    spot.say([book[0], [[2e-8, 1, 2], [3e-8, 1, -5]], 1], [book[0], "cs", 5, 2], [book[0], [2e-8, 0, 1], 3])

    assert not spot.of(QualityEvent, kind="CHECKSUM")
    assert only(spot.of(Depth, is_snapshot=False)).bid_prices == [2e-8]


def test_a_number_that_is_left_out_costs_the_books_of_the_connection(spot: Any) -> None:
    said(spot, "book")  # number 7
    said(spot, "ticker")  # number 12

    gap = only(spot.of(QualityEvent, kind="GAP"))
    assert fields(gap, "from_sequence", "to_sequence", "count", "symbol") == (8, 11, 4, "")
    assert only(spot.of(QualityEvent, kind="BOOK_RESET"))
    assert [each.venue_symbol for each in spot.commands] == ["tBTCUSD"]
    assert spot.of(Ticker)


def test_a_heartbeat_counts(spot: Any) -> None:
    said(spot, "candle", "heartbeat")
    spot.say([92, "hb", 16, 1795168860200])

    assert not spot.of(QualityEvent, kind="GAP")


def test_a_gap_before_a_message_that_cannot_be_read_is_told_with_the_next(spot: Any) -> None:
    spot.say([92, "hb", 1], [92, "nonsense", 5, 4], [92, "hb", 6])

    assert only(spot.of(DeadLetter))
    assert fields(only(spot.of(QualityEvent, kind="GAP")), "from_sequence", "to_sequence") == (2, 5)


def test_a_change_that_cannot_be_read_is_missed_by_the_next_message(spot: Any) -> None:
    said(spot, "book")  # number 7
    spot.say([90, [45000, "x", 1], 8, 1795168800150], [92, "hb", 9, 1795168800160])

    assert only(spot.of(DeadLetter))
    gap = only(spot.of(QualityEvent, kind="GAP"))
    assert fields(gap, "from_sequence", "to_sequence") == (8, 8)
    assert only(spot.of(QualityEvent, kind="BOOK_RESET"))
    assert [each.venue_symbol for each in spot.commands] == ["tBTCUSD"]


def test_a_message_beside_the_books_that_cannot_be_read_costs_no_book(spot: Any) -> None:
    said(spot, "book")  # number 7
    spot.say([92, "nonsense", 1, 8], [92, "hb", 9])

    assert only(spot.of(DeadLetter))
    assert not spot.of(QualityEvent, kind="BOOK_RESET")


def test_a_book_of_one_level_is_the_best_quote(spot: Any) -> None:
    said(spot, "quote", "quote update")

    assert [fields(tick, "kind", "bid", "bid_size", "ask", "ask_size", "venue_sequence") for tick in spot.of(Tick)] == [
        ("QUOTE", 45000.0, 1.5, 45001.0, 2.0, 1_795_168_800_200_000),
        ("QUOTE", 45000.5, 0.75, 45001.0, 2.0, 1_795_168_800_230_000),
    ]


def test_the_best_level_that_goes_is_told_with_what_takes_its_place(spot: Any) -> None:
    said(spot, "quote")
    spot.say([91, [45000, 0, 1], 11, 1795168800240], [91, [44990, 1, 3], 12, 1795168800241])

    assert [tick.bid for tick in spot.of(Tick)] == [45000.0, 44990.0]


def test_a_side_that_stays_empty_is_told_with_the_other_side(spot: Any) -> None:
    said(spot, "quote")
    spot.say([91, [45000, 0, 1], 11, 1795168800240], [91, [45001, 2, -1.5], 12, 1795168800241])

    assert fields(spot.of(Tick)[1], "bid", "ask", "ask_size") == (None, 45001.0, 1.5)


def test_ticker(spot: Any) -> None:
    said(spot, "ticker")

    names = ("last", "bid", "bid_size", "ask", "ask_size", "high", "low", "volume", "open", "exchange_time_us")
    assert fields(only(spot.of(Ticker)), *names) == (
        45000.5, 45000.0, 81.5, 45001.0, 83.25, 46000.0, 44000.0, 1200.5, None, 1_795_168_800_240_000,
    )  # fmt: skip


def test_candles_have_the_close_before_high_and_low_and_the_last_is_open(spot: Any) -> None:
    said(spot, "candles")

    names = ("symbol", "interval", "open_time_us", "open", "high", "low", "close", "volume", "is_closed")
    assert [fields(each, *names) for each in spot.of(Candle)] == [
        ("AVAX/USDT", "1m", 1_795_168_740_000_000, 19.0, 20.25, 18.75, 20.0, 12.0, True),
        ("AVAX/USDT", "1m", 1_795_168_800_000_000, 20.0, 21.0, 19.5, 20.5, 330.5, False),
    ]


def test_a_candle_whose_interval_is_over_is_closed(spot: Any) -> None:
    said(spot, "candle")

    assert only(spot.of(Candle)).is_closed


def test_status_gives_mark_index_open_interest_and_funding(derivatives: Any) -> None:
    said(derivatives, "status", market="derivatives")

    assert [fields(each, "symbol", "kind", "value", "next_time_us") for each in derivatives.of(Derivative)] == [
        ("BTC/USDT:PERP", "MARK_PRICE", 45000.75, 0),
        ("BTC/USDT:PERP", "INDEX_PRICE", 45000.25, 0),
        ("BTC/USDT:PERP", "OPEN_INTEREST", 2048.5, 0),
        ("BTC/USDT:PERP", "FUNDING_RATE", -0.00013814, 1_795_190_400_000_000),
    ]


def test_status_of_2019_tells_less(derivatives: Any) -> None:
    derivatives.say(
        [335856, [1569715201000, None, 173.5, 173.57, None, 101052.0, None, 1569744000000, 0, 0, None, None]]
    )

    assert [each.kind for each in derivatives.of(Derivative)] == ["INDEX_PRICE"]


def test_liquidations_are_those_of_the_market_that_tell_a_price(derivatives: Any, spot: Any) -> None:
    """The channel is of all symbols: a short of 4.5 was bought back; what has no price is announced only."""
    said(derivatives, "liquidations", market="derivatives")
    said(spot, "trade")
    spot.say(
        messages("BITFINEX")["derivatives"]["before liquidations"], messages("BITFINEX")["derivatives"]["liquidations"]
    )

    assert fields(only(derivatives.of(Derivative)), "symbol", "kind", "value", "quantity", "side") == (
        "BTC/USDT:PERP", "LIQUIDATION", 45100.5, 4.5, "BUY",
    )  # fmt: skip
    assert fields(only(spot.of(Derivative)), "symbol", "value", "side") == ("BTC/USD", 44900.0, "SELL")


@pytest.mark.parametrize(
    "message",
    [
        {"event": "info", "version": 2, "serverId": "083bd8d4", "platform": {"status": 1}},
        {"event": "conf", "status": "OK", "flags": 229376},
        {"event": "pong", "ts": 1511545528111, "cid": 1234},
        {"event": "unsubscribed", "status": "OK", "chanId": 89},
    ],
)
def test_answers_give_nothing(spot: Any, message: Any) -> None:
    assert spot.say(message) == []


@pytest.mark.parametrize(
    "message",
    [
        {"event": "info", "version": 2, "platform": {"status": 0}},
        {"event": "info", "code": 20051, "msg": "Stop/Restart Websocket Server (please reconnect)"},
        {"event": "error", "msg": "symbol: invalid", "code": 10300, "symbol": "tZZZ"},
        {"event": "conf", "status": "FAILED", "code": 10001},
    ],
)
def test_what_the_venue_says_about_itself_is_a_notice(spot: Any, message: Any) -> None:
    assert [each.kind for each in spot.say(message)] == ["VENUE_NOTICE"]


def test_what_a_channel_carries_is_forgotten_when_it_ends(spot: Any) -> None:
    spot.say({"event": "unsubscribed", "status": "OK", "chanId": 89})
    said(spot, "trade")

    assert "channel 89" in only(spot.of(DeadLetter)).reason


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[]", b"5", b"[89]", b"\xff\xfe", b"{}", b"[" * 100_000, b"[4,[[1,2,3]],1]", b'[89,"oc",[]]',
        b"[89,5,1]", b'[89,"te"]', b"[90,[[1,1,1]],-1]", b"[90,[[1,1]]]", b"[90,[0,1,1]]", b"[90,[1,1,0]]",
        b"[90,[1,-1,1]]", b'[92,"hb",99999999999999]',
        b'{"event":"subscribed","channel":"book","chanId":5,"symbol":"fUSD","prec":"P0","len":"25"}',
        b'{"event":"subscribed","channel":"ticker","symbol":"tBTCUSD"}',
    ],
)  # fmt: skip
def test_what_is_no_message_is_a_dead_letter_or_a_notice(spot: Any, payload: bytes) -> None:
    spot.say(payload)

    assert [each.payload for each in spot.of(DeadLetter)] == [payload] or spot.of(QualityEvent, kind="VENUE_NOTICE")
    assert not spot.of(Depth)


SCALARS = ["0", "1", "-1", "12.50", "-0.00391", "1e-8", "-1E+3", "null", '"1"', '"-2.5"', "[1,2,3]", "true", "{}"]
TAILS = ["", ",5", ",5,1795168800400", ",1795168800400", ",-1", ",2.5", ",5,0", ",5,-1", ",5,1795168800400,7", ',"5"']


@given(
    channel=st.sampled_from(["90", "90", "90", "89", "91", "92", "93", "-1", "null"]),
    row=st.tuples(*[st.sampled_from(SCALARS)] * 3) | st.lists(st.sampled_from(SCALARS), min_size=1, max_size=5),
    tail=st.sampled_from(TAILS),
    last=st.sampled_from([-1, 3, 4, 5, 9]),
)
def test_a_message_of_one_level_is_read_at_once_as_it_would_be_part_by_part(
    channel: str, row: list[str], tail: str, last: int
) -> None:
    payload = f"[{channel},[{','.join(row)}]{tail}]".encode()

    at_once = outcome(bitfinex_processor.parse, payload, last)
    with mock.patch.object(wire, "level", return_value=None):
        assert outcome(bitfinex_processor.parse, payload, last) == at_once


def outcome(parse: Any, payload: bytes, last: int) -> tuple[Any, int]:
    """Tell what comes of a message, or that it cannot be used, and up to where the connection has counted."""
    memory = Memory({}, last)
    for name, each in messages("BITFINEX")["spot"].items():
        if name.startswith("before"):
            parse("spot", frame(json.dumps(each).encode()), memory)
    memory.sequence = last
    try:
        found = parse("spot", frame(payload), memory)
    except FrameError:
        found = None
    return found, memory.sequence


def frame(payload: bytes) -> Frame:
    return Frame(source=0, number=0, kind="MESSAGE", request="", recv_time_us=1, payload=payload)


def test_other_lists_of_a_recorder_give_nothing_and_other_answers_are_dead_letters(spot: Any) -> None:
    spot.take(spot.feed.frame(b'[["AAA"]]', "HTTP", request="https://api-pub.bitfinex.com/v2/conf/pub:list:currency"))
    assert not spot.of(DeadLetter)

    spot.take(
        spot.feed.frame(json.dumps([]).encode(), "HTTP", request="https://api-pub.bitfinex.com/v2/book/tBTCUSD/P0")
    )
    assert "a request we do not know" in only(spot.of(DeadLetter)).reason


def test_books_of_single_orders_are_told_of_and_counted_in_the_connections_numbers(spot: Any) -> None:
    spot.say({"event": "subscribed", "channel": "book", "chanId": 94, "symbol": "tBTCUSD", "prec": "R0", "len": "100"})
    spot.say([90, [[45000, 2, 1.5], [45001, 3, -2]], 7, 1], [94, [[35, 45000, 1.5]], 8, 1], [90, [45000, 1, 2], 9, 1])

    assert not spot.of(DeadLetter) + spot.of(QualityEvent, kind="GAP")
    assert "are not read" in only(spot.of(QualityEvent, kind="VENUE_NOTICE")).detail
    assert len(spot.of(Depth)) == 2


@pytest.mark.parametrize("precision", ["P1", "P4", "R0"])
def test_levels_that_are_put_together_are_no_book(spot: Any, precision: str) -> None:
    spot.say(
        {"event": "subscribed", "channel": "book", "chanId": 95, "symbol": "tBTCUSD", "prec": precision, "len": "25"}
    )
    spot.say([95, [[45000, 2, 1.5], [46000, 3, -2]], 7, 1])

    assert not spot.of(Depth)
    assert not spot.of(DeadLetter)


def test_changes_that_are_sent_together_are_no_new_book(new_run: Any) -> None:
    run = new_run("spot", "BITFINEX")
    book = {"event": "subscribed", "channel": "book", "chanId": 96, "symbol": "tBTCUSD", "prec": "P0", "len": "25"}
    run.say({"event": "conf", "status": "OK", "flags": 536870912}, book)
    run.say([96, [[45000, 1, 0.5], [44999, 1, 0.4], [45001, 1, -0.3]]], [96, [[44998, 2, 0.1], [45002, 1, -0.2]]])

    whole, change = run.of(Depth)
    assert (whole.is_snapshot, change.is_snapshot) == (True, False)
    assert (change.bid_prices, change.ask_prices) == ([44998.0], [45002.0])


def test_a_change_that_comes_again_later_changes_nothing(spot: Any) -> None:
    again = [90, [45000, 1, 2], 8, 1]
    spot.say([90, [[45000, 2, 1.5], [45001, 3, -2]], 7, 1], again, [90, [45000, 0, 1], 9, 1], again)

    assert [each.bid_sizes for each in spot.of(Depth)] == [[1.5], [2.0], [0.0]]
    assert fields(only(spot.of(QualityEvent, kind="DUPLICATE")), "channel", "count") == ("depth", 1)


def subscribed(channel: int, length: str) -> Any:
    place = {"chanId": channel, "symbol": "tLTCUSD", "pair": "LTCUSD"}
    return {"event": "subscribed", "channel": "book", "prec": "P0", "freq": "F0", "len": length, **place}


@pytest.mark.parametrize("lengths", [("25", "100"), ("100", "25")])
def test_of_two_books_of_a_symbol_the_longer_one_is_kept(new_run: Any, lengths: tuple[str, str]) -> None:
    run = new_run("spot", "BITFINEX")
    run.say(subscribed(1, lengths[0]), subscribed(2, lengths[1]))
    run.say(*([channel, [[100, 1, channel], [101, 1, -1]], channel, 1] for channel in (1, 2)))
    run.say([1, [99, 1, 1], 3, 1], [2, [99, 1, 2], 4, 1])

    longer = 1 + lengths.index("100")
    assert [each.bid_sizes for each in run.of(Depth)] == [[longer], [longer]]
    assert not run.of(QualityEvent, kind="GAP")


def test_a_trade_whose_first_word_was_lost_is_told_by_its_second(spot: Any) -> None:
    first = messages("BITFINEX")["spot"]["trade"]
    again = messages("BITFINEX")["spot"]["trade again"]
    lost = [*again[:2], [again[2][0] + 1, *again[2][1:]], *again[3:]]
    spot.say(first, again, lost, lost)

    assert [each.trade_id for each in spot.of(Tick)] == ["1571", "1572"]


def test_what_a_recorder_wrote_behind_a_message_tells_what_its_channel_carries(new_run: Any) -> None:
    run = new_run("derivatives", "BITFINEX")
    run.say(
        [7, [[9163.5, 1, 2], [9164, 1, -0.5]], 961870, 1590596820140, "book", "BTCF0:USTF0"],
        [7, [9163.5, 0, 1], 11125, 1590596820150, "book", "BTCF0:USTF0"],
        [8, "te", [452025730, 1590593199934, 0.005, 9135.5], 400, 1590593199956, "trades", "BTCF0:USTF0"],
        [9, [45761787004, 9170, -0.06], 3, 1590596820150, "raw_book", "BTCF0:USTF0"],
        [10, "hb", 2043, 1593566613422, "liquidations", "global"],
        [11, [0.00001, 0.000007, 90, 1, 4.5e-7, 2, 1, -0.1, -0.2, 9e-7, 6, 1, 1], 92, 1633910430074, "ticker", "BTC"],
    )

    assert [each.bid_sizes for each in run.of(Depth)] == [[2.0], [0.0]]
    assert fields(only(run.of(Tick)), "symbol", "price") == ("BTC/USDT:PERP", 9135.5)
    assert not run.of(DeadLetter) + run.of(QualityEvent, kind="GAP")
