"""Frames of all kinds through the pipeline: dedupe, gaps, instruments, connections, dead letters, the clock."""

import json
from typing import Any

import msgspec
import pytest

from processors.venues import VENUES
from schemas.quality import stale_reason
from schemas.records import DeadLetter, Depth, Instrument, QualityEvent, Tick
from schemas.symbology import partition_of

SECOND_US = 1_000_000
TRADE = "btcusdt@trade"
QUOTE = "btcusdt@bookTicker"
DEPTH = "btcusdt@depth@100ms"


def kinds(records: list[Any]) -> list[str]:
    return [each.kind for each in records]


def deltas(run: Any, *ids: tuple[int, int], **options: Any) -> list[Any]:
    return list(run.take(*(run.feed.message(DEPTH, U=first, u=last, **options) for first, last in ids)))


def listed(*symbols: str, status: str = "TRADING") -> bytes:
    entries = [
        {
            "symbol": f"{base}USDT", "status": status, "baseAsset": base, "quoteAsset": "USDT",
            "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}],
        }
        for base in symbols
    ]  # fmt: skip
    return json.dumps({"symbols": entries}).encode()


def test_the_registry_knows_binance() -> None:
    assert VENUES["BINANCE"].MARKETS == ("spot", "usdm", "coinm")


def test_repeated_trades_are_dropped_and_counted(spot: Any) -> None:
    for number in (1, 2, 1, 2, 2, 3):
        spot.take(spot.feed.message(TRADE, t=number))
    spot.pipeline.finish()

    assert [each.trade_id for each in spot.of(Tick)] == ["1", "2", "3"]
    assert [each.sequence_id for each in spot.of(Tick)] == [1, 2, 3]
    assert kinds(spot.of(QualityEvent)) == ["ASSUMED_INSTRUMENT", "DUPLICATE"]


def test_counts_of_duplicates_add_up_over_time(spot: Any) -> None:
    for _ in range(25):
        spot.take(spot.feed.message(TRADE, after_us=100_000))
    rest = [each for each in spot.pipeline.finish() if isinstance(each, QualityEvent)]
    told = spot.of(QualityEvent, kind="DUPLICATE")

    assert sum(each.count for each in (*told, *rest)) == 24
    assert len(told) == 3


def test_trade_and_aggregated_trade_ids_are_apart(spot: Any) -> None:
    spot.take(spot.feed.message(TRADE, t=5), spot.feed.message("btcusdt@aggTrade", a=5))

    assert kinds(spot.of(Tick)) == ["TRADE", "AGG_TRADE"]


def test_missing_trade_ids_are_a_gap(spot: Any) -> None:
    spot.take(spot.feed.message(TRADE, t=10), spot.feed.message(TRADE, t=14))

    (gap,) = spot.of(QualityEvent, kind="GAP")
    assert (gap.channel, gap.from_sequence, gap.to_sequence, gap.count) == ("trade", 11, 13, 3)
    assert len(spot.of(Tick)) == 2


def test_trades_that_fill_a_gap_are_taken_once(spot: Any) -> None:
    for number in (10, 14, 12, 12, 3):
        spot.take(spot.feed.message(TRADE, t=number))

    assert [each.trade_id for each in spot.of(Tick)] == ["10", "14", "12", "3"]
    assert len(spot.of(QualityEvent, kind="OUT_OF_ORDER")) == 1


def test_a_quote_repeated_exactly_is_dropped_and_any_other_is_kept(spot: Any) -> None:
    for changes in ({}, {}, {"B": "31.22"}, {"u": 400900218, "B": "31.22"}, {"u": 400900218, "B": "31.22"}):
        spot.take(spot.feed.message(QUOTE, **changes))

    assert len(spot.of(Tick)) == 3
    assert len(spot.of(QualityEvent, kind="DUPLICATE")) == 1


def test_a_quote_behind_the_last_is_kept_and_told(spot: Any) -> None:
    spot.take(spot.feed.message(QUOTE), spot.feed.message(QUOTE, u=400900216))

    assert len(spot.of(Tick)) == 2
    assert len(spot.of(QualityEvent, kind="OUT_OF_ORDER")) == 1


@pytest.mark.parametrize(("ask", "flag"), [("100.0", "LOCKED"), ("99.0", "CROSSED")])
def test_locked_and_crossed_quotes_are_flagged_apart(spot: Any, ask: str, flag: str) -> None:
    spot.take(spot.feed.message(QUOTE, a=ask))

    assert [each.flags for each in spot.of(Tick)] == [flag]
    assert [each.kind for each in spot.of(QualityEvent) if each.channel] == [flag]


def test_flags_add_up(usdm: Any) -> None:
    time_ms = 1_723_161_257_679
    usdm.take(usdm.feed.message(TRADE, t=1, T=time_ms + 2000), usdm.feed.message(TRADE, t=2, T=time_ms, X="ADL"))

    assert [each.flags for each in usdm.of(Tick)] == ["", "LATE,OFF_BOOK"]


def test_a_snapshot_is_published_after_the_deltas_it_joins(spot: Any) -> None:
    deltas(spot, (95, 100), (101, 105))
    spot.take(spot.feed.snapshot(100, [["100.0", "1"], ["98.0", "2"]], [["105.0", "3"]]))
    deltas(spot, (106, 107))

    unjoined, also_unjoined, snapshot, delta = spot.of(Depth)
    assert [unjoined.flags, also_unjoined.flags, delta.flags] == ["UNJOINED", "UNJOINED", ""]
    assert (snapshot.is_snapshot, snapshot.is_keyframe, snapshot.snapshot_id, snapshot.sequence) == (
        True,
        False,
        1,
        105,
    )
    assert (snapshot.bid_prices, snapshot.bid_sizes) == ([100.0, 98.0], [10.0, 2.0])
    assert (snapshot.ask_prices, snapshot.ask_sizes) == ([101.0, 105.0], [1.5, 3.0])
    assert delta.snapshot_id == 1
    assert [each.count for each in spot.of(QualityEvent, kind="BOOK_READY")] == [1]


def test_every_depth_frame_gives_a_record_but_exact_repeats(spot: Any) -> None:
    deltas(spot, (1, 2), (3, 4), (3, 4), (9, 10), (11, 12))
    spot.take(spot.feed.snapshot(8))

    assert [each.sequence for each in spot.of(Depth, is_snapshot=False)] == [2, 4, 10, 12]
    assert len(spot.of(QualityEvent, kind="DUPLICATE", channel="depth")) == 1


def test_a_gap_in_a_book_asks_for_a_snapshot_of_that_symbol(spot: Any) -> None:
    spot.take(spot.feed.snapshot(100))
    deltas(spot, (101, 105), (108, 109))

    (command,) = spot.commands
    assert (command.command, command.market, command.venue_symbol) == ("resnapshot", "spot", "BTCUSDT")
    assert kinds(spot.of(QualityEvent, channel="depth")) == ["BOOK_READY", "GAP", "BOOK_RESET"]


def test_a_disconnect_resets_the_books_of_its_connection_alone(spot: Any) -> None:
    spot.take(spot.feed.snapshot(100))
    deltas(spot, (101, 105))
    spot.feed.connection = "other"
    spot.take(spot.feed.frame(b"1006", "DISCONNECT"))
    assert not spot.of(QualityEvent, kind="BOOK_RESET")

    spot.feed.connection = "c"
    spot.take(spot.feed.frame(b"1006", "DISCONNECT"))
    assert len(spot.of(QualityEvent, kind="BOOK_RESET")) == 1
    assert [each.detail for each in spot.of(QualityEvent, kind="DISCONNECT")] == ["other 1006", "c 1006"]


def test_a_connection_closed_for_silence_is_stale(spot: Any) -> None:
    spot.take(spot.feed.frame(stale_reason("trade").encode(), "DISCONNECT"))
    spot.take(spot.feed.frame(b"ConnectionClosedError: reset", "DISCONNECT"))

    assert [each.channel for each in spot.of(QualityEvent, kind="STALE")] == ["trade"]
    assert len(spot.of(QualityEvent, kind="DISCONNECT")) == 2


def test_the_clock_publishes_keyframes_of_quiet_symbols(new_run: Any) -> None:
    run = new_run("spot", keyframe_us=10 * SECOND_US)
    run.take(run.feed.snapshot(100, [["1.0", "1"]]))
    run.feed.market, run.feed.connection = "", "clock"
    for _ in range(20):
        run.take(run.feed.frame(b"", "CLOCK", after_us=SECOND_US))

    assert [(each.is_keyframe, each.snapshot_id) for each in run.of(Depth)] == [(False, 1), (True, 2), (True, 3)]


def test_a_clock_that_is_set_back_by_an_hour_keeps_nothing_waiting_for_an_hour(new_run: Any) -> None:
    """Keyframes, requests for snapshots and counts of what happens often go on as before; it is told once."""
    run = new_run("spot", keyframe_us=10 * SECOND_US)
    run.take(run.feed.snapshot(100, [["1.0", "1"]]), run.feed.message(TRADE, t=1), run.feed.message(TRADE, t=1))
    market = run.feed.market

    def tick() -> None:
        run.feed.market, run.feed.connection = "", "clock-1"
        run.take(run.feed.frame(b"", "CLOCK", after_us=SECOND_US))
        run.feed.market, run.feed.connection = market, "c"

    for _ in range(12):
        tick()
    run.feed.recv_time_us -= 3600 * SECOND_US
    before = len(run.of(Depth, is_keyframe=True))
    run.take(run.feed.message(TRADE, t=1))
    for _ in range(12):
        tick()
    run.take(run.feed.message(DEPTH, U=200, u=201))
    for _ in range(65):
        tick()

    assert (before, len(run.of(Depth, is_keyframe=True)) - before) == (1, 1)
    assert [command.command for command in run.commands] == ["resnapshot"] * len(run.commands) != []
    (step,) = run.of(QualityEvent, kind="CLOCK_STEP")
    assert step.detail == "receive times went back by 3599.0 s"
    assert sum(each.count for each in run.of(QualityEvent, kind="DUPLICATE")) == 2


def test_clocks_of_two_producers_that_differ_a_little_are_no_step(new_run: Any) -> None:
    run = new_run("spot")
    for number in range(10):
        for name, behind_s in (("clock-1", 0), ("clock-2", 30)):
            feed = type(run.feed)("spot", name)
            feed.number, feed.recv_time_us = number - 1, run.feed.recv_time_us + (number - behind_s) * SECOND_US
            run.take_record(feed.record(feed.frame(b"", "CLOCK")))

    assert run.of(QualityEvent) == []


def test_instruments_are_published_when_new_or_changed(new_run: Any) -> None:
    run = new_run("spot", assume_instruments=False)
    for body in (listed("BTC", "ETH"), listed("BTC", "ETH"), listed("ETH", status="BREAK")):
        run.take(run.feed.frame(body, "INSTRUMENTS", request="https://api.example/api/v3/exchangeInfo"))
    run.take(run.feed.message(TRADE))

    assert [(each.symbol, each.is_trading) for each in run.of(Instrument)] == [
        ("BTC/USDT", True), ("ETH/USDT", True), ("ETH/USDT", False),
    ]  # fmt: skip
    assert len(run.of(Tick)) == 1


def test_each_partition_publishes_its_own_instruments(new_run: Any) -> None:
    names = [f"COIN{number}" for number in range(20)]
    found = []
    for partition in range(4):
        run = new_run("spot", partition_count=4)
        run.pipeline._partition = partition
        run.take(run.feed.frame(listed(*names), "INSTRUMENTS"))
        assert all(partition_of(each.symbol, 4) == partition for each in run.of(Instrument))
        found += run.of(Instrument)

    assert sorted(each.base for each in found) == sorted(names)


def test_a_symbol_that_no_list_names_is_a_dead_letter(new_run: Any) -> None:
    run = new_run("spot", assume_instruments=False)
    run.take(run.feed.message(TRADE), run.feed.message(TRADE))

    assert len(run.of(DeadLetter)) == 2
    assert [each.detail for each in run.of(QualityEvent, kind="UNKNOWN_SYMBOL")] == ["BTCUSDT"]


def test_an_assumed_instrument_is_told_once(spot: Any) -> None:
    spot.take(spot.feed.message(TRADE, t=1), spot.feed.message(TRADE, t=2))

    assert [each.is_assumed for each in spot.of(Instrument)] == [True]
    assert len(spot.of(QualityEvent, kind="ASSUMED_INSTRUMENT")) == 1


def test_a_name_that_tells_nothing_cannot_be_assumed(spot: Any) -> None:
    spot.take(spot.feed.message(TRADE, s="???"))

    assert len(spot.of(QualityEvent, kind="UNKNOWN_SYMBOL")) == len(spot.of(DeadLetter)) == 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_item_of_an_unknown_symbol_holds_back_no_other_of_its_frame(new_run: Any, place: int) -> None:
    run = new_run("perp", "HYPERLIQUID")
    common = {
        "side": "A",
        "px": "60000.0",
        "sz": "0.5",
        "hash": "0x0",
        "time": run.feed.recv_time_us // 1000,
        "users": ["0x0", "0x1"],
    }
    trades = [{"coin": coin, "tid": number, **common} for number, coin in enumerate(["BTC", "ETH"], 1)]
    message = {"channel": "trades", "data": [*trades[:place], {"coin": "?!", "tid": 9, **common}, *trades[place:]]}
    run.say(message)

    assert [(each.symbol, each.trade_id) for each in run.of(Tick)] == [("BTC/USDC:PERP", "1"), ("ETH/USDC:PERP", "2")]
    (letter,) = run.of(DeadLetter)
    assert json.loads(letter.payload) == message
    assert "?!" in letter.reason
    assert [each.detail for each in run.of(QualityEvent, kind="UNKNOWN_SYMBOL")] == ["?!"]


def test_a_broken_instrument_list_is_a_dead_letter(spot: Any) -> None:
    spot.take(spot.feed.frame(b"<html>", "INSTRUMENTS"))

    assert len(spot.of(DeadLetter)) == 1


def test_holes_in_frame_numbers_are_frame_loss(spot: Any) -> None:
    spot.take(spot.feed.frame(b"", "CONNECT", request="wss://venue"))
    spot.feed.number += 3
    spot.take(spot.feed.frame(b'{"id":1}', "SENT"), spot.feed.frame(b"{}", "SENT"))

    (loss,) = spot.of(QualityEvent, kind="FRAME_LOSS")
    assert (loss.from_sequence, loss.to_sequence, loss.count, loss.detail) == (1, 3, 3, "c")


def test_a_book_without_ids_is_given_up_where_frames_are_missing(spot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost on the way, or with raw records that were not kept until they could be processed: numbers of frames tell."""
    monkeypatch.setattr("processors.book_rules.FirstIdRule.has_ids", False)
    spot.take(spot.feed.message(DEPTH, U=1, u=1), spot.feed.snapshot(1, [["1.0", "1"]]))
    assert spot.pipeline.books() == (1, 0)
    spot.feed.number += 3
    spot.take(spot.feed.message(TRADE, t=1))

    assert spot.pipeline.books()[0] == 0
    assert [each.kind for each in spot.of(QualityEvent)][-2:] == ["FRAME_LOSS", "BOOK_RESET"]
    assert [command.command for command in spot.commands] == ["resnapshot"]


def test_the_start_of_a_topic_cut_by_retention_is_no_frame_loss(spot: Any) -> None:
    spot.offset, spot.feed.number = 5000, 76
    spot.take(spot.feed.message(TRADE))

    assert not spot.of(QualityEvent, kind="FRAME_LOSS")


def test_bad_frames_are_counted_until_a_message_is_good_whatever_we_wrote_between(spot: Any) -> None:
    spot.take(spot.feed.frame(b"x"), spot.feed.frame(b"y"))
    assert spot.pipeline.tally.in_a_row == 2

    spot.take(spot.feed.frame(b"", "CLOCK"), spot.feed.frame(b"", "SENT"))
    assert spot.pipeline.tally.in_a_row == 2

    spot.take(spot.feed.message(TRADE))
    assert spot.pipeline.tally.in_a_row == 0


def test_a_frame_of_an_unknown_kind_or_source_is_a_dead_letter(spot: Any) -> None:
    lost = msgspec.structs.replace(spot.feed.frame(b""), source=7)
    spot.take(spot.feed.frame(b"", "OTHER"), lost)

    assert len(spot.of(DeadLetter)) == 2


def test_sources_identify_every_record(spot: Any) -> None:
    spot.take(spot.feed.message(TRADE), spot.feed.message(QUOTE), spot.feed.frame(b"bad"))
    spot.take(spot.feed.message(TRADE), spot.feed.message(TRADE, t=9))

    sources = [(each.source_offset, each.source_index) for each in spot.records]
    assert sources == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 0), (1, 1), (1, 2)][: len(sources)]
    assert len(set(sources)) == len(sources) == 9


def test_books_are_counted_by_state(spot: Any) -> None:
    deltas(spot, (1, 2))
    assert spot.pipeline.books() == (0, 1)

    spot.take(spot.feed.snapshot(5, [["99", "1"]]))
    assert spot.pipeline.books() == (1, 0)
