"""Venues that number updates by connection, or not at all: a book for each, one of them published; and their state."""

from typing import Any, Final
from zlib import crc32

import pytest
from msgspec import structs

from fuzz.seeds import whole_messages
from processors.batch import Batch
from processors.book_rules import BookRule, Checksum, CountedRule, FirstIdRule
from processors.items import BookChecksum, BookDelta, BookSnapshot, Texts, Trade
from processors.pieces import SymbolPiece, capture_symbol, decode_piece, restore_symbol
from processors.symbol_state import SymbolState
from schemas.records import Depth, Instrument, QualityEvent
from schemas.venues import binance

SECOND_US: Final = 1_000_000
KEYFRAME_US: Final = 3600 * SECOND_US
INSTRUMENT: Final = binance.assumed_instrument("spot", "BTCUSDT", 0)


class PriceSum(Checksum):
    """CRC32 of the prices of the best level of each side."""

    levels = 1

    def of(self, bids: Any, asks: Any, instrument: Instrument) -> int:
        del instrument
        return crc32(":".join(price for price, _ in (*bids, *asks)).encode())


OWN_IDS: Final = FirstIdRule(ids_are_shared=False)
SUMMED: Final = CountedRule(checksum=PriceSum())
WATCHED: Final = CountedRule(stale_after_us=10 * SECOND_US)


class Book:
    """A symbol as several connections bring it; snapshots in the stream."""

    def __init__(self, rule: BookRule) -> None:
        self.rule = rule
        self.state = SymbolState(INSTRUMENT, rule, KEYFRAME_US, trades_are_counted=False)
        self.pieces: list[SymbolPiece] = []
        self.offset = 0
        self.now_us = 1_700_000_000 * SECOND_US
        self.records: list[Any] = []
        self.commands: list[str] = []
        self.asked: list[str] = []  # connections that are to resync

    def batch(self, connection: str) -> Batch:
        self.offset += 1
        return Batch("BINANCE", "raw.binance", 0, self.offset, self.now_us, 0, self.now_us, "spot", connection)

    def take(self, batch: Batch) -> list[Any]:
        self.records += batch.records
        self.commands += [each.command for each in batch.commands]
        self.asked += [each.connection for each in batch.commands]
        return batch.records

    def snapshot(self, connection: str, sequence: int, bid: float, ask: float = 100.0, **more: Any) -> list[Any]:
        batch = self.batch(connection)
        item = BookSnapshot("BTCUSDT", self.now_us, sequence, [bid], [1.0], [ask], [1.0], is_in_stream=True, **more)
        self.state.on_snapshot(batch, item)
        return self.take(batch)

    def delta(self, connection: str, sequence: int, bid: float, size: float = 1.0, **more: Any) -> list[Any]:
        batch = self.batch(connection)
        item = BookDelta("BTCUSDT", self.now_us, sequence, sequence, 0, [bid], [size], [], [], **more)
        self.state.on_delta(batch, item)
        return self.take(batch)

    def leave(self, connection: str) -> list[Any]:
        batch = self.batch(connection)
        self.state.on_disconnect(batch, "disconnect")
        return self.take(batch)

    def clock(self) -> list[Any]:
        batch = self.batch("clock")
        if self.state.is_due(self.now_us):
            self.state.on_clock(batch)
        return self.take(batch)

    def keep(self) -> None:
        """Write what changed, and go on from what was written."""
        piece = capture_symbol("BTC/USDT", self.state)
        if piece.is_whole:
            self.pieces.clear()
        self.pieces.append(decode_piece(SymbolPiece, piece.name, piece.payload))

    def restart(self) -> None:
        self.state = restore_symbol(self.pieces, self.rule, KEYFRAME_US, trades_are_counted=False)


def brief(records: list[Any]) -> list[Any]:
    return [
        ("SNAPSHOT" if each.is_snapshot else "DELTA", each.bid_prices) if isinstance(each, Depth) else each.kind
        for each in records
        if isinstance(each, Depth | QualityEvent)
    ]


def rebuilt(records: list[Any]) -> dict[float, float]:
    """The bids that a reader of the records has."""
    bids: dict[float, float] = {}
    snapshot_id = -1
    for each in records:
        if not isinstance(each, Depth):
            continue
        if each.is_snapshot:
            bids, snapshot_id = {}, each.snapshot_id
        elif each.snapshot_id != snapshot_id:
            continue
        for price, size in zip(each.bid_prices, each.bid_sizes, strict=True):
            bids[price] = size
    return {price: size for price, size in bids.items() if size}


@pytest.fixture
def own() -> Book:
    return Book(OWN_IDS)


def test_a_snapshot_of_the_stream_makes_the_book_and_deltas_follow_it(own: Book) -> None:
    own.snapshot("a", 10, 50.0)
    own.delta("a", 11, 51.0)

    assert brief(own.records) == [("SNAPSHOT", [50.0]), "BOOK_READY", ("DELTA", [51.0])]
    assert rebuilt(own.records) == {50.0: 1.0, 51.0: 1.0}


def test_a_snapshot_that_comes_again_replaces_the_book_even_with_a_lower_id(own: Book) -> None:
    own.snapshot("a", 10, 50.0)
    own.snapshot("a", 1, 40.0)
    own.delta("a", 2, 41.0)

    assert brief(own.records[2:]) == [("SNAPSHOT", [40.0]), ("DELTA", [41.0])]
    assert rebuilt(own.records) == {40.0: 1.0, 41.0: 1.0}


def test_a_gap_gives_up_the_book_until_a_snapshot_that_is_asked_for_once(own: Book) -> None:
    own.snapshot("a", 10, 50.0)
    own.delta("a", 12, 51.0)
    own.delta("a", 13, 52.0)
    own.snapshot("a", 20, 60.0)

    assert brief(own.records[2:]) == [
        "GAP", "BOOK_RESET", ("DELTA", [51.0]), ("DELTA", [52.0]), ("SNAPSHOT", [60.0]), "BOOK_READY",
    ]  # fmt: skip
    assert own.commands == ["resnapshot"]


def test_a_second_connection_is_kept_silently_and_takes_over_when_the_first_one_leaves(own: Book) -> None:
    own.snapshot("a", 10, 50.0)
    own.snapshot("b", 700, 50.0)
    own.delta("a", 11, 51.0)
    own.delta("b", 701, 51.0)
    own.leave("a")
    own.delta("b", 702, 52.0)

    assert brief(own.records) == [
        ("SNAPSHOT", [50.0]), "BOOK_READY", ("DELTA", [51.0]),
        "BOOK_LEAD", ("SNAPSHOT", [51.0, 50.0]), "BOOK_READY", ("DELTA", [52.0]),
    ]  # fmt: skip
    assert rebuilt(own.records) == {50.0: 1.0, 51.0: 1.0, 52.0: 1.0}


def test_only_the_connection_whose_book_is_lost_is_asked_to_resync(own: Book) -> None:
    own.snapshot("a", 10, 50.0)
    own.snapshot("b", 700, 50.0)
    own.delta("b", 702, 51.0)
    own.delta("a", 12, 51.0)

    assert own.asked == ["b", "a"]


def test_a_follower_takes_over_where_the_lead_has_a_gap(own: Book) -> None:
    own.snapshot("a", 10, 50.0)
    own.snapshot("b", 700, 50.0)
    own.delta("a", 12, 51.0)
    own.delta("b", 701, 51.5)

    assert brief(own.records)[-3:] == ["BOOK_LEAD", ("SNAPSHOT", [51.5, 50.0]), "BOOK_READY"]
    assert rebuilt(own.records) == {50.0: 1.0, 51.5: 1.0}


def test_a_follower_takes_over_where_the_lead_died_without_a_word(own: Book) -> None:
    own.snapshot("a", 10, 50.0)
    own.snapshot("b", 700, 50.0)
    own.now_us += 6 * SECOND_US
    own.delta("b", 701, 51.0)

    assert "BOOK_LEAD" in brief(own.records)
    assert rebuilt(own.records) == {50.0: 1.0, 51.0: 1.0}


def test_when_all_connections_are_gone_the_book_is_reset_and_the_next_one_leads(own: Book) -> None:
    own.snapshot("a", 10, 50.0)
    own.leave("a")
    own.snapshot("b", 3, 60.0)

    assert brief(own.records[2:]) == ["BOOK_RESET", ("SNAPSHOT", [60.0]), "BOOK_READY"]


def test_a_checksum_that_does_not_fit_gives_up_the_book_and_asks_anew() -> None:
    book = Book(SUMMED)
    texts = Texts(["50.0"], ["1"], ["100.0"], ["1"])
    good = crc32(b"50.0:100.0")
    book.snapshot("a", 0, 50.0, texts=texts, checksum=good)
    book.delta("a", 0, 51.0, texts=Texts(["51.0"], ["1"], [], []), checksum=crc32(b"51.0:100.0"))
    book.delta("a", 0, 52.0, texts=Texts(["52.0"], ["1"], [], []), checksum=good)
    batch = book.batch("a")
    book.state.on_checksum(batch, BookChecksum("BTCUSDT", 0, 1))

    assert brief(book.records) == [
        ("SNAPSHOT", [50.0]), "BOOK_READY", ("DELTA", [51.0]), ("DELTA", [52.0]), "CHECKSUM", "BOOK_RESET",
    ]  # fmt: skip
    assert book.commands == ["resnapshot"]
    assert not batch.records


def test_checksums_that_never_fit_are_asked_for_ever_less_often() -> None:
    book = Book(SUMMED)
    texts = Texts(["50.0"], ["1"], ["100.0"], ["1"])
    for _ in range(600):
        book.snapshot("a", 0, 50.0, texts=texts, checksum=1)
        book.now_us += SECOND_US

    assert len(book.commands) < 20


def test_a_book_whose_time_stands_still_is_not_believed() -> None:
    book = Book(WATCHED)
    item = BookSnapshot("BTCUSDT", 5, 0, [50.0], [1.0], [51.0], [1.0], is_in_stream=True)
    for _ in range(14):
        batch = book.batch("a")
        book.state.on_snapshot(batch, item)
        book.take(batch)
        book.clock()
        book.now_us += SECOND_US

    assert "STALE" in brief(book.records)
    assert book.commands[:1] == ["resnapshot"]


def test_a_book_whose_time_stands_still_is_believed_from_no_other_connection() -> None:
    book = Book(WATCHED)
    item = BookSnapshot("BTCUSDT", 5, 0, [50.0], [1.0], [51.0], [1.0], is_in_stream=True)
    for _ in range(60):
        for connection in ("a", "b"):
            batch = book.batch(connection)
            book.state.on_snapshot(batch, item)
            book.take(batch)
        book.clock()
        book.now_us += SECOND_US

    told = [each.kind for each in book.records if isinstance(each, QualityEvent)]
    assert told == ["BOOK_READY", "STALE", "BOOK_RESET"]
    batch = book.batch("b")
    book.state.on_snapshot(batch, structs.replace(item, exchange_time_us=6))
    assert [each.kind for each in book.take(batch) if isinstance(each, QualityEvent)] == ["BOOK_LEAD", "BOOK_READY"]


def test_levels_that_fall_out_of_a_book_of_so_many_are_published_as_removed() -> None:
    book = Book(SUMMED)
    texts = Texts(["50.0"], ["1"], ["100.0"], ["1"])
    book.snapshot("a", 0, 50.0, texts=texts, most_levels=1)
    (record,) = book.delta("a", 0, 51.0, texts=Texts(["51.0"], ["1"], [], []))

    assert (record.bid_prices, record.bid_sizes) == ([51.0, 50.0], [1.0, 0.0])
    assert rebuilt(book.records) == {51.0: 1.0}


def test_trades_without_a_count_are_taken_once_whatever_their_order() -> None:
    book = Book(OWN_IDS)
    for connection, name in [("a", "x"), ("b", "x"), ("a", "z"), ("a", "y"), ("a", "y"), ("b", "z")]:
        batch = book.batch(connection)
        book.state.on_trade(batch, Trade("BTCUSDT", 0, 0, 1.0, 1.0, "BUY", name=name))
        book.take(batch)

    assert [each.trade_id for each in book.records if not isinstance(each, QualityEvent)] == ["x", "z", "y"]
    assert brief(book.records) == ["DUPLICATE"]


@pytest.mark.parametrize("often", [1, 3])
def test_a_restart_from_pieces_goes_on_as_if_there_was_none(often: int) -> None:
    straight, restarted = Book(SUMMED), Book(SUMMED)
    for book in (straight, restarted):
        texts = Texts(["50.0"], ["1"], ["100.0"], ["1"])
        for connection in "ab":
            book.snapshot(connection, 0, 50.0, texts=texts, most_levels=3)
        for number in range(30):
            for connection in "ab":
                bid = 50.0 + (number * 7) % 5
                book.delta(connection, 0, bid, float(number % 3), texts=Texts([f"{bid}"], ["1"], [], []))
                batch = book.batch(connection)
                book.state.on_trade(batch, Trade("BTCUSDT", 0, number, 1.0, 1.0, "BUY"))
                book.take(batch)
            if book is restarted and number % often == 0:
                book.keep()
                book.restart()
            if number == 20:
                book.leave("a")
            book.now_us += SECOND_US

    assert restarted.records == straight.records
    assert any(isinstance(each, QualityEvent) and each.kind == "BOOK_LEAD" for each in straight.records)


def test_the_producer_that_leads_is_counted_by_stream(new_run: Any) -> None:
    run = new_run("spot", "BYBIT")
    snapshot = whole_messages("BYBIT", "spot")["book"]
    for connection in ("spot-p0-1-aaa-1", "spot-p0-1-bbb-1"):
        run.feed.connection, run.feed.number = connection, -1
        run.say(snapshot)
    before = run.pipeline.leads()
    run.feed.connection = "spot-p0-1-aaa-1"
    run.take(run.feed.frame(b"lost", "DISCONNECT"))

    assert (before, run.pipeline.leads()) == ({"aaa": 1}, {"bbb": 1})
