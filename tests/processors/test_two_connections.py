"""Rules by which two connections give one stream, each by an example."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from processors import symbol_state
from processors.batch import BARS_FROM
from processors.pieces import SymbolPiece
from schemas.records import Candle, Depth, Derivative, QualityEvent, Tick, Ticker

MS = 1000
T_MS = 1_723_161_000_000
SECOND_MS = 1000
TRADE, QUOTE, DEPTH = "btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"
TICKER, CANDLE, FORCED = "btcusdt@ticker", "btcusdt@kline_1m", "btcusdt@forceOrder"


class Pair:
    """A run that several connections feed, one frame a raw record, by one clock."""

    def __init__(self, new_run: Callable[..., Any], market: str = "spot") -> None:
        self.run = new_run(market, keyframe_us=10**15)
        self._feeds: dict[str, Any] = {}
        self.now_us = self.run.feed.recv_time_us
        self.redundant: Counter[str] = Counter()

    def take(self, connection: str, make: Callable[[Any], Any], after_ms: int = 1) -> list[Any]:
        feed = self._feeds.setdefault(connection, type(self.run.feed)(self.run.feed.market, connection))
        self.now_us += after_ms * MS
        feed.recv_time_us = self.now_us - MS
        records = list(self.run.take_record(feed.record(make(feed))))
        self.redundant.update(self.run.pipeline._last.redundant)
        return records

    def message(self, connection: str, stream: str, after_ms: int = 1, **changes: Any) -> list[Any]:
        return self.take(connection, lambda feed: feed.message(stream, **changes), after_ms)

    def deltas(self, connection: str, *numbers: int, after_ms: int = 1) -> None:
        """Bring updates of one id each."""
        for number in numbers:
            self.message(connection, DEPTH, after_ms, U=number, u=number)

    def trades(self, connection: str, *numbers: int) -> None:
        for number in numbers:
            self.message(connection, TRADE, t=number)

    def snapshot(self, sequence: int) -> None:
        self.take("http", lambda feed: feed.snapshot(sequence, [["1.0", "1"]]))

    def disconnect(self, connection: str) -> None:
        self.take(connection, lambda feed: feed.frame(b"gone", "DISCONNECT"))

    def clock(self, after_ms: int = SECOND_MS) -> None:
        self.take("clock", lambda feed: feed.frame(b"", "CLOCK"), after_ms)

    def kinds(self) -> list[str]:
        """List the quality events that tell something about the data."""
        plain = {"ASSUMED_INSTRUMENT", "CONNECT", "DISCONNECT", "BOOK_READY"}
        return [each.kind for each in self.run.of(QualityEvent) if each.kind not in plain]

    def sequences(self, **fields: Any) -> list[int]:
        return [each.sequence for each in self.run.of(Depth, is_snapshot=False, **fields)]

    def trade_ids(self) -> list[int]:
        return [int(each.trade_id) for each in self.run.of(Tick)]


@pytest.fixture
def pair(new_run: Callable[..., Any]) -> Pair:
    return Pair(new_run)


@pytest.fixture
def book(pair: Pair) -> Pair:
    """Two connections with a book that stands at 102, both in step."""
    pair.snapshot(100)
    pair.deltas("a", 101)
    pair.deltas("b", 101)
    pair.deltas("a", 102)
    pair.deltas("b", 102)
    return pair


def test_what_another_connection_brought_is_dropped_and_counted_in_silence(book: Pair) -> None:
    assert book.sequences() == [101, 102]
    assert book.kinds() == []
    assert book.redundant == {"b": 2}


def test_either_connection_may_bring_the_next_update(book: Pair) -> None:
    for first, second in (("b", "a"), ("a", "b"), ("b", "a")):
        number = book.sequences()[-1] + 1
        book.deltas(first, number)
        book.deltas(second, number)

    assert book.sequences(flags="") == [101, 102, 103, 104, 105]
    assert book.redundant == {"a": 2, "b": 3}


def test_what_one_connection_repeats_is_a_duplicate(book: Pair) -> None:
    book.deltas("b", 102)

    assert book.kinds() == ["DUPLICATE"]


def test_an_update_waits_for_what_another_connection_still_brings(book: Pair) -> None:
    book.deltas("a", 105, 106)
    assert book.sequences() == [101, 102]

    offset = book.run.offset
    book.deltas("b", 103, 104, 105)

    assert book.sequences(flags="") == [101, 102, 103, 104, 105, 106]
    assert book.kinds() == []
    held = book.run.of(Depth, sequence=105)[0]
    assert (held.source_offset, held.source_index) == (offset + 1, 1)
    assert held.recv_time_us == book.run.of(Depth, sequence=103)[0].recv_time_us - 2 * MS
    assert book.redundant == {"b": 3}


def test_a_hole_that_nobody_fills_is_a_gap_when_patience_ends(book: Pair) -> None:
    book.deltas("a", 105)
    book.clock(after_ms=999)
    assert book.kinds() == []

    book.clock(after_ms=1)
    (gap,) = book.run.of(QualityEvent, kind="GAP")
    assert (gap.market, gap.channel, gap.from_sequence, gap.to_sequence) == ("spot", "depth", 103, 104)
    assert book.kinds() == ["GAP", "BOOK_RESET"]
    assert [each.reason for each in book.run.commands] == ["gap"]


def test_what_comes_after_its_gap_was_told_is_published_as_history(book: Pair) -> None:
    book.deltas("a", 105)
    book.clock()
    book.deltas("b", 103, 104, 105)

    assert book.sequences(flags="UNJOINED") == [105, 103, 104]
    assert book.kinds() == ["GAP", "BOOK_RESET", "OUT_OF_ORDER"]


def test_a_hole_that_both_have_passed_is_a_gap_at_once(book: Pair) -> None:
    book.deltas("a", 105)
    book.deltas("b", 105)

    assert book.kinds() == ["GAP", "BOOK_RESET"]
    assert book.sequences() == [101, 102, 105]


def test_a_hole_is_a_gap_when_the_other_connection_disconnects(book: Pair) -> None:
    book.deltas("a", 105)
    book.disconnect("b")

    assert book.kinds() == ["GAP", "BOOK_RESET"]


def test_no_more_updates_wait_than_there_is_room_for(
    new_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symbol_state, "MOST_HELD_DELTAS", 3)
    pair = Pair(new_run)
    pair.deltas("a", 100)
    pair.deltas("b", 110, 111, 112)
    assert pair.kinds() == []

    pair.deltas("b", 113)
    assert pair.kinds() == ["GAP"]
    assert pair.sequences() == [100, 110, 111, 112, 113]


def test_a_book_survives_the_disconnect_of_one_of_two(book: Pair) -> None:
    book.disconnect("a")
    book.deltas("b", 103)
    assert book.kinds() == []

    book.disconnect("b")
    assert book.kinds() == ["BOOK_RESET"]
    assert book.sequences(flags="") == [101, 102, 103]


def test_a_new_connection_far_behind_takes_over_without_a_seam(book: Pair) -> None:
    book.deltas("a", *range(103, 150))
    book.disconnect("a")
    book.deltas("b", *range(103, 160))

    assert book.sequences(flags="") == list(range(101, 160))
    assert book.kinds() == []


def test_a_new_connection_far_ahead_waits_for_the_old_one(pair: Pair) -> None:
    pair.snapshot(100)
    pair.deltas("old", 101, 102)
    for number in range(103, 150):
        pair.deltas("new", number + 50, after_ms=50)
        pair.deltas("old", number, after_ms=50)
    pair.deltas("old", *range(150, 153))
    pair.disconnect("old")
    pair.deltas("new", 200)

    assert pair.sequences(flags="") == list(range(101, 201))
    assert pair.kinds() == []


def test_an_overlap_may_begin_before_the_book_is_valid(pair: Pair) -> None:
    pair.deltas("old", 101, 102)
    pair.deltas("new", 104)
    pair.snapshot(101)
    pair.deltas("old", 103)
    pair.disconnect("old")
    pair.deltas("new", 105)

    assert pair.sequences(flags="UNJOINED") == [101, 102]
    assert pair.sequences(flags="") == [103, 104, 105]
    assert pair.kinds() == []


def test_a_connection_that_died_without_a_word_is_not_waited_for(book: Pair) -> None:
    for number in range(103, 110):
        book.deltas("a", number, after_ms=SECOND_MS)
    book.deltas("a", 112)
    assert book.kinds() == ["GAP", "BOOK_RESET"]

    book.disconnect("a")
    assert book.run.pipeline.states()[0].depth_line.is_carried is False


def test_a_quiet_symbol_does_not_count_as_silence(book: Pair) -> None:
    book.clock(after_ms=60 * SECOND_MS)
    book.deltas("a", 104)
    book.deltas("b", 103)

    assert book.sequences() == [101, 102, 103, 104]
    assert book.kinds() == []


def test_time_may_step_back_between_connections(book: Pair) -> None:
    book.deltas("a", 104)
    book.deltas("b", 103, after_ms=-300)
    book.deltas("a", 106, after_ms=500)
    book.clock(after_ms=-400)
    book.deltas("b", 104, 105)

    assert book.sequences(flags="") == [101, 102, 103, 104, 105, 106]
    assert book.kinds() == []


def test_ids_that_start_again_are_followed_after_a_while(book: Pair) -> None:
    book.disconnect("a")
    book.disconnect("b")
    for number in range(1, 41):
        book.deltas("c", number, after_ms=SECOND_MS)
    book.snapshot(38)
    book.deltas("c", 41)

    assert book.sequences()[-4:] == [38, 39, 40, 41]
    assert book.sequences(flags="")[-1] == 41
    assert [each.is_snapshot for each in book.run.of(Depth, sequence=40)] == [False, True]
    assert Counter(book.kinds())["BOOK_RESET"] == 1
    assert set(book.kinds()) == {"BOOK_RESET", "OUT_OF_ORDER"}


def test_trades_of_two_connections_come_once_and_in_order(pair: Pair) -> None:
    pair.trades("a", 10)
    pair.trades("b", 10)
    pair.trades("a", 11, 14)
    pair.trades("b", 11, 12, 13, 14, 15)
    pair.trades("a", 15)

    assert pair.trade_ids() == [10, 11, 12, 13, 14, 15]
    assert pair.kinds() == []
    assert pair.redundant == {"a": 1, "b": 3}


def test_a_repeated_trade_is_a_duplicate_of_its_own_connection_alone(pair: Pair) -> None:
    pair.trades("a", 10)
    pair.trades("b", 10)
    assert pair.kinds() == []

    pair.trades("b", 10)
    assert pair.kinds() == ["DUPLICATE"]


def test_trades_out_of_order_that_wait_are_put_in_order(pair: Pair) -> None:
    pair.trades("a", 10)
    pair.trades("b", 13, 12)
    pair.trades("a", 11)

    assert pair.trade_ids() == [10, 11, 12, 13]
    assert pair.kinds() == []


def test_a_hole_in_trades_is_told_when_patience_ends(pair: Pair) -> None:
    pair.trades("a", 10)
    pair.trades("b", 10)
    pair.trades("a", 14)
    pair.clock()

    (gap,) = pair.run.of(QualityEvent, kind="GAP")
    assert (gap.market, gap.channel, gap.from_sequence, gap.to_sequence, gap.count) == ("spot", "trade", 11, 13, 3)
    assert pair.trade_ids() == [10, 14]


def test_trades_of_a_reconnect_go_on_at_once(pair: Pair) -> None:
    pair.trades("a", 10, 11)
    pair.disconnect("a")
    pair.trades("b", 11, 12, 15)

    assert pair.trade_ids() == [10, 11, 12, 15]
    assert pair.kinds() == ["GAP"]
    assert pair.redundant == {"b": 1}


def test_quotes_come_from_whichever_is_first(pair: Pair) -> None:
    for connection, number in (("a", 5), ("b", 5), ("b", 8), ("a", 8), ("a", 9), ("b", 9)):
        pair.message(connection, QUOTE, u=number)

    assert [each.venue_sequence for each in pair.run.of(Tick)] == [5, 8, 9]
    assert pair.kinds() == []
    assert pair.redundant == {"a": 1, "b": 2}


def test_a_new_connection_ahead_loses_no_quote_of_the_old_one(pair: Pair) -> None:
    for connection, number in (("old", 5), ("new", 9), ("old", 7), ("old", 9), ("new", 12), ("old", 12)):
        pair.message(connection, QUOTE, u=number)

    assert [each.venue_sequence for each in pair.run.of(Tick)] == [5, 7, 9, 12]


def test_quotes_of_one_connection_are_taken_as_ever(pair: Pair) -> None:
    pair.message("a", QUOTE, u=5)
    pair.message("b", QUOTE, u=5)
    pair.message("a", QUOTE, u=5)
    pair.message("a", QUOTE, u=5, B="31.22")
    pair.message("a", QUOTE, u=4)

    assert [each.venue_sequence for each in pair.run.of(Tick)] == [5, 5, 4]
    assert pair.kinds() == ["DUPLICATE", "OUT_OF_ORDER"]


def test_tickers_and_candles_go_by_time_each_for_itself(pair: Pair, messages: Any) -> None:
    minute = messages["spot", CANDLE]["k"]
    for time_ms in (T_MS, T_MS + 2000):
        for connection in ("a", "b"):
            pair.message(connection, TICKER, E=time_ms)
            pair.message(connection, CANDLE, E=time_ms)
            pair.message(connection, CANDLE, E=time_ms, k=minute | {"i": "1h"})

    assert [each.exchange_time_us for each in pair.run.of(Ticker)] == [T_MS * MS, (T_MS + 2000) * MS]
    assert [(each.interval, each.exchange_time_us) for each in pair.run.of(Candle)] == [
        ("1m", T_MS * MS), ("1h", T_MS * MS), ("1m", (T_MS + 2000) * MS), ("1h", (T_MS + 2000) * MS),
    ]  # fmt: skip
    assert pair.redundant == {"b": 6}


def test_tickers_of_one_connection_are_taken_as_ever(pair: Pair) -> None:
    times_ms = [T_MS + 2000, T_MS + 2000, T_MS, T_MS + 3000]
    for time_ms in times_ms:
        pair.message("a", TICKER, E=time_ms)

    assert [each.exchange_time_us // MS for each in pair.run.of(Ticker)] == times_ms


def test_mark_prices_of_two_connections_come_once(new_run: Callable[..., Any]) -> None:
    pair = Pair(new_run, "usdm")
    for connection in ("a", "b"):
        pair.message(connection, "btcusdt@markPrice@1s")

    assert [each.kind for each in pair.run.of(Derivative)] == ["MARK_PRICE", "INDEX_PRICE", "FUNDING_RATE"]


def test_equal_liquidations_are_counted_by_connection(new_run: Callable[..., Any]) -> None:
    pair = Pair(new_run, "usdm")
    for connection in ("a", "b", "a", "b", "b", "a"):
        pair.message(connection, FORCED)

    assert len(pair.run.of(Derivative, kind="LIQUIDATION")) == 3
    assert sum(pair.redundant.values()) == 3


def test_a_wrong_time_is_flagged_and_makes_nothing_else_late(pair: Pair) -> None:
    now_ms = pair.now_us // MS
    for number, time_ms in enumerate((now_ms, now_ms + 601_000, now_ms + 10, now_ms - 1500, now_ms + 599_000), 1):
        pair.message("a", TRADE, t=number, T=time_ms)

    assert [each.flags for each in pair.run.of(Tick)] == ["", "CLOCK_STEP", "", "LATE", ""]
    (event,) = pair.run.of(QualityEvent, kind="CLOCK_STEP")
    assert (event.channel, event.symbol, event.count) == ("trade", "BTC/USDT", 1)


def test_a_ticker_whose_time_is_wrong_comes_once_and_stops_no_other(pair: Pair) -> None:
    times_ms = [T_MS, 4 * 10**12, T_MS + 2000]
    for time_ms in times_ms:
        pair.message("a", TICKER, E=time_ms)
    for time_ms in [*times_ms, T_MS + 3000]:
        pair.message("b", TICKER, E=time_ms)

    assert [each.exchange_time_us // MS for each in pair.run.of(Ticker)] == [*times_ms, T_MS + 3000]


def test_state_of_before_there_were_several_connections_is_read(new_run: Callable[..., Any]) -> None:
    pair = Pair(new_run)
    pair.snapshot(100)
    pair.deltas("a", 101)
    pair.trades("a", 10)
    symbol = "BTC/USDT"
    piece = msgspec.msgpack.decode(pair.run.pipeline.changed_states()[symbol].payload)
    old = piece[:9]
    old[8] = old[8][:16]
    pair.run.pipeline = new_run("spot").pipeline
    pair.run.pipeline.restore(symbol, msgspec.msgpack.encode(old))
    pair.deltas("a", 102)
    pair.trades("a", 11)
    pair.disconnect("a")

    assert len(piece) == len(SymbolPiece.__struct_fields__) > 9
    assert pair.sequences(flags="") == [101, 102]
    assert pair.trade_ids() == [10, 11]
    assert pair.kinds() == ["BOOK_RESET"]


def test_what_waits_at_the_end_of_a_file_is_not_lost(book: Pair) -> None:
    book.deltas("a", 105)
    book.trades("a", 10)
    book.trades("b", 10)
    book.trades("a", 12)
    rest = book.run.pipeline.finish()

    names = [type(each).__name__ for each in rest]
    assert names == ["QualityEvent", "Tick", "QualityEvent", "QualityEvent", "Depth", *["Bar"] * 6]
    assert [each.source_index for each in rest] == [*range(5), *range(BARS_FROM, BARS_FROM + 6)]


def test_what_waits_for_another_connection_waits_no_longer_where_the_clock_is_set_back(new_run: Any) -> None:
    pair = Pair(new_run)
    pair.clock()
    pair.trades("a", 1)
    pair.trades("b", 1)
    pair.trades("a", 3)
    assert pair.trade_ids() == [1]
    pair.now_us -= 3600 * SECOND_MS * MS
    for _ in range(3):
        pair.clock()

    assert pair.trade_ids() == [1, 3]


def test_connections_of_futures_that_cut_the_updates_differently_give_one_book(new_run: Callable[..., Any]) -> None:
    """One tells 101 to 110 at once, the other in two, at another place each time: nothing is missing on either."""
    pair = Pair(new_run, "usdm")
    stream = "btcusdt@depth@0ms"
    pair.snapshot(100)
    for start in (100, 110, 120):
        cuts = {"a": (start, start + 10), "b": (start, start + 4, start + 10)}
        for connection, at in (("b", 1), ("a", 1), ("b", 2)):
            previous, last = cuts[connection][at - 1], cuts[connection][at]
            pair.message(connection, stream, U=previous + 1, u=last, pu=previous, b=[["1.0", str(last)]], a=[])

    assert pair.sequences() == [104, 110, 114, 120, 124, 130]
    assert pair.kinds() == []
    assert pair.redundant["b"] == 3


def test_an_update_of_futures_that_leaves_some_out_is_a_gap(new_run: Callable[..., Any]) -> None:
    pair = Pair(new_run, "usdm")
    pair.snapshot(100)
    pair.message("a", "btcusdt@depth@0ms", U=101, u=110, pu=100)
    pair.message("a", "btcusdt@depth@0ms", U=115, u=120, pu=112)

    (gap,) = pair.run.of(QualityEvent, kind="GAP")
    assert (gap.from_sequence, gap.to_sequence) == (111, 112)
