"""Snapshots: written in slices while records are processed, cut off anywhere, read by an heir, of whatever size."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import processors.pipeline
from processors import book_keeper, increments, state_store
from processors.errors import StateError
from processors.healing import Healing
from processors.pieces import HEAD, HeadPiece, Piece, SymbolPiece, decode_piece
from processors.pipeline import Pipeline
from processors.state_store import Loaded, StateStore, choose
from schemas.records import Derived, Frame, State

SECOND_US = 1_000_000
KEYFRAME_US = 3 * SECOND_US
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")

CHOICES = [
    *[("trade", 1, 12)] * 3,
    ("page", 1, 9),
    *[("delta", 0, 2)] * 8,
    *[("snapshot", -2, 2)] * 4,
    ("disconnect", 0, 0),
    ("clock", 0, 3),
    ("list", 1, 3),
    ("bad", 0, 0),
]


class Market:
    """Makes frames of three symbols."""

    def __init__(self, feed: Any) -> None:
        self.feed = feed
        self.last = dict.fromkeys(SYMBOLS, 100)

    def frame(self, what: str, which: int, number: int) -> Frame:
        name = SYMBOLS[which]
        return getattr(self, what)(name, number)  # type: ignore[no-any-return]

    def trade(self, name: str, number: int) -> Frame:
        time_ms = self.feed.recv_time_us // 1000  # late trades make bars: state of before there were any knows of none
        return self.feed.message("btcusdt@trade", s=name, t=number, T=time_ms, after_us=200_000)  # type: ignore[no-any-return]

    def page(self, name: str, number: int) -> Frame:
        """Trades over REST, four from an id on."""
        time_ms = self.feed.recv_time_us // 1000
        rows = [{"id": each, "price": "100.5", "qty": "0.25", "time": time_ms, "isBuyerMaker": True}
                for each in range(number, number + 4)]  # fmt: skip
        request = f"https://api.example/api/v3/historicalTrades?symbol={name}&fromId={number}"
        return self.feed.frame(json.dumps(rows).encode(), "HTTP", request=request)  # type: ignore[no-any-return]

    def delta(self, name: str, number: int, bids: Any = None) -> Frame:
        """A delta of n leaves n - 1 ids out, 0 repeats the last."""
        first = self.last[name] + number
        self.last[name] = max(self.last[name], first)
        bids = bids or [[str(first % 7 + 1), str(first % 3)], [str(first % 5 + 1), "2"]]
        return self.feed.message("btcusdt@depth@100ms", s=name, U=first, u=first, b=bids, a=[])  # type: ignore[no-any-return]

    def snapshot(self, name: str, number: int, bids: Any = (("3.0", "4"), ("6.0", "5"))) -> Frame:
        body = {"lastUpdateId": self.last[name] + number, "bids": [list(each) for each in bids], "asks": []}
        request = f"https://api.example/api/v3/depth?symbol={name}&limit=1000"
        return self.feed.frame(json.dumps(body).encode(), "HTTP", request=request)  # type: ignore[no-any-return]

    def disconnect(self, _name: str, _number: int) -> Frame:
        return self.feed.frame(b"gone", "DISCONNECT")  # type: ignore[no-any-return]

    def clock(self, _name: str, number: int) -> Frame:
        return self.feed.frame(b"", "CLOCK", after_us=number * SECOND_US)  # type: ignore[no-any-return]

    def list(self, name: str, number: int) -> Frame:
        return self.feed.frame(listing([name], f"0.{number}"), "INSTRUMENTS")  # type: ignore[no-any-return]

    def bad(self, _name: str, _number: int) -> Frame:
        return self.feed.frame(b"{")  # type: ignore[no-any-return]


def listing(names: list[str], tick: str = "0.1", note: str = "") -> bytes:
    filters = [{"filterType": "PRICE_FILTER", "tickSize": tick}]
    terms = {"status": "TRADING", "quoteAsset": "USDT", "filters": filters, "note": note}
    return json.dumps({"symbols": [{"symbol": name, "baseAsset": name[:-4]} | terms for name in names]}).encode()


class Journal:
    """A state topic in memory: encodes to the records themselves."""

    def __init__(self, written: list[tuple[bytes, State]] | None = None) -> None:
        self.written = list(written or [])

    def of(self, _record: type) -> tuple[str, "Journal"]:
        return "state.processor", self

    def encode(self, state: State) -> State:
        return state

    def write(self, _topic: str, key: bytes, state: Any) -> None:
        self.written.append((key, state))

    def loaded(self, *, is_compacted: bool = False) -> Loaded:
        written = list(dict(self.written).items()) if is_compacted else self.written
        return choose((int(key.split(b"|")[3]), state) for key, state in written)


class Owner:
    """A pipeline whose snapshots go to a journal, a few pieces after each record."""

    def __init__(self, journal: Journal, new_pipeline: Callable[[], Pipeline], *, is_compacted: bool = False) -> None:
        self.journal, self.pipeline = journal, new_pipeline()
        loaded = journal.loaded(is_compacted=is_compacted)
        for name, payloads in loaded.pieces.items():
            self.pipeline.restore(name, *payloads)
        self.store = StateStore(journal, journal, topic="raw.binance", partition=0)  # type: ignore[arg-type]
        self.store.resume(loaded)
        self.next_offset = loaded.next_offset
        self.records: list[Derived] = []
        self._as_of: tuple[int, bytes] | None = None

    def take(self, raws: list[Any], piece_counts: list[int]) -> None:
        """Process from where the state is."""
        for offset in range(self.next_offset, len(raws)):
            self.records += self.pipeline.process(offset, raws[offset]).records
            self.write(piece_counts[offset % len(piece_counts)])

    def write(self, most: int = 2**31) -> None:
        """Go on with the snapshot under way, or begin one; 0 = do nothing."""
        for _ in range(most):
            if self._as_of is None:
                self.pipeline.freeze()
                self._as_of = self.pipeline.next_offset, self.pipeline.head()
            piece = self.pipeline.next_piece()
            if piece is None:
                self.store.write_head(self._as_of[1], self._as_of[0])
                self._as_of = None
                return
            self.store.write(piece, self._as_of[0])


@contextmanager
def small() -> Iterator[None]:
    """Make all limits small, so that short streams reach them."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(increments, "FEWEST_CHANGES", 2))
        patches.enter_context(patch.object(increments, "MORE_CHANGES", 3))
        patches.enter_context(patch.object(increments, "FEW_LEVELS", 6))
        patches.enter_context(patch.object(state_store, "PART_BYTES", 300))
        patches.enter_context(patch.object(book_keeper, "MOST_BUFFERED_LEVELS", 9))
        patches.enter_context(patch.object(book_keeper, "MOST_BUFFERED_DELTAS", 5))
        yield


class Session:
    """A stream of events, each a raw record, and what one pipeline that never stops makes of it."""

    def __init__(self, new_run: Callable[..., Any], random: Random, count: int = 80) -> None:
        self.new_pipeline = lambda: new_run("spot", keyframe_us=KEYFRAME_US).pipeline
        run = new_run("spot", keyframe_us=KEYFRAME_US)
        market = Market(run.feed)
        self.raws, self.ends, self.version_1 = [], [0], Journal()
        for number in range(count):
            what, least, most = random.choice(CHOICES)
            raw = run.feed.record(market.frame(what, random.randrange(3), random.randint(least, most)))
            self.raws.append(raw)
            run.take_record(raw)
            self.ends.append(len(run.records))
            if number == count // 2:
                self.version_1 = Journal(as_of_version_1(run.pipeline.changed_states(), run.pipeline.head()))
        self.records = run.records

    def check(self, journal: Journal, random: Random) -> Journal:
        """Let an owner go on to the end from what is in a journal; returns all that it has written then."""
        is_compacted = random.random() < 0.5
        owner = Owner(journal, self.new_pipeline, is_compacted=is_compacted)
        start = self.ends[owner.next_offset]
        owner.take(self.raws, random.choices((0, 1, 2, 6), k=20))

        assert owner.records == self.records[start:]
        return owner.journal


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_an_heir_of_a_crash_at_any_write_goes_on_the_same(new_run: Callable[..., Any], seed: int) -> None:
    random = Random(seed)
    with small():
        session = Session(new_run, random)
        journal = Journal()
        for _ in range(4):
            whole = session.check(journal, random)
            for cut in random.sample(range(len(whole.written)), min(6, len(whole.written))):
                session.check(Journal(whole.written[:cut]), random)
            kept = random.randint(len(journal.written), len(whole.written))
            journal = Journal(whole.written[:kept])


@pytest.fixture
def market(spot: Any) -> Market:
    return Market(spot.feed)


def touched(spot: Any, names: list[str], number: int) -> None:
    spot.take(*(spot.feed.message("btcusdt@trade", s=name, t=number) for name in names))


def counted(calls: list[str]) -> Any:
    """Note which symbols are captured."""
    capture = processors.pipeline.capture_symbol

    def note(name: str, state: Any) -> Piece:
        calls.append(name)
        return capture(name, state)

    return patch.object(processors.pipeline, "capture_symbol", note)


def test_a_record_captures_no_other_symbol_than_that_it_changes(spot: Any) -> None:
    touched(spot, [f"S{number}USDT" for number in range(50)], 1)
    spot.pipeline.freeze()
    calls: list[str] = []
    with counted(calls):
        touched(spot, ["S7USDT"], 2)
        touched(spot, ["S7USDT"], 3)

    assert calls == ["S7/USDT"]


def test_a_clock_with_nothing_due_captures_nothing(spot: Any) -> None:
    touched(spot, [f"S{number}USDT" for number in range(50)], 1)
    spot.pipeline.freeze()
    calls: list[str] = []
    with counted(calls):
        spot.take(spot.feed.frame(b"", "CLOCK"))

    assert calls == []


def test_a_snapshot_is_as_of_its_beginning(spot: Any) -> None:
    touched(spot, ["BTCUSDT", "ETHUSDT"], 1)
    spot.pipeline.freeze()
    touched(spot, ["ETHUSDT", "SOLUSDT"], 2)
    pieces = {piece.name: piece.payload for piece in iter(spot.pipeline.next_piece, None)}

    assert {name for name in pieces if not name.startswith("@")} == {"BTC/USDT", "ETH/USDT"}
    assert decode_piece(SymbolPiece, "ETH/USDT", pieces["ETH/USDT"]).trades == [(1, 1)]
    assert {name for name in spot.pipeline.changed_states() if name[0] != "@"} == {"ETH/USDT", "SOL/USDT"}


def deep(price: int, size: int) -> list[list[str]]:
    return [[str(price), str(size)]]


def big_book(spot: Any, market: Market, levels: int = 2000) -> None:
    spot.take(market.delta("BTCUSDT", 1, deep(1, 1)))
    spot.take(market.snapshot("BTCUSDT", 0, [(str(price), "1") for price in range(1, levels + 1)]))


def test_a_large_book_is_written_as_its_changes(spot: Any, market: Market) -> None:
    big_book(spot, market)
    whole = spot.pipeline.changed_states()["BTC/USDT"]
    spot.take(market.delta("BTCUSDT", 1, deep(7, 0)), market.delta("BTCUSDT", 1, deep(8, 3)))
    change = spot.pipeline.changed_states()["BTC/USDT"]

    assert (whole.is_whole, change.is_whole) == (True, False)
    assert len(whole.payload) > 32_000
    assert len(change.payload) < 800


def test_what_is_written_of_a_book_is_in_proportion_to_its_changes(spot: Any, market: Market) -> None:
    big_book(spot, market)
    spot.pipeline.changed_states()
    pieces = []
    numbers = count(1)
    for _ in range(200):
        deltas = [market.delta("BTCUSDT", 1, deep(next(numbers) * 37 % 2000 + 1, 2)) for _ in range(40)]
        spot.take(*deltas)
        pieces.append(spot.pipeline.changed_states()["BTC/USDT"])

    wholes = [number for number, piece in enumerate(pieces) if piece.is_whole]
    assert 200 / 41 - 1 <= len(wholes) <= 200 / 24 + 1
    assert sum(len(piece.payload) for piece in pieces) < 200 * 2.5 * 40 * 16 + 200 * 800


def test_symbols_are_not_written_whole_again_at_the_same_time(spot: Any) -> None:
    names = [f"S{number}USDT" for number in range(200)]
    turns = []
    for number in range(1, 45):
        touched(spot, names, number)
        turns.append(sum(piece.is_whole for piece in spot.pipeline.changed_states().values() if piece.name[0] != "@"))

    assert turns[0] == 200
    assert max(turns[1:]) < 30
    assert sum(turns[1:]) >= 200


def test_no_record_is_larger_than_brokers_take(spot: Any, market: Market) -> None:
    for number in range(1, 101):
        bids = [[str(price), "1.5"] for price in range(number * 400, number * 400 + 400)]
        spot.take(market.delta("BTCUSDT", 1, bids))
    owner = Owner(Journal(), lambda: spot.pipeline)
    owner.write()
    sizes = [len(state.payload) for _, state in owner.journal.written]
    heir = Owner(owner.journal, lambda: type(spot)("spot").pipeline)

    assert sum(sizes) > 600 * 1024
    assert max(sizes) <= 512 * 1024
    assert heir.pipeline.changed_states() == {}
    assert [len(state.keeper.buffer) for state in heir.pipeline.states()] == [100]


def test_restored_deltas_that_wait_count_against_the_limit_of_levels(spot: Any, market: Market) -> None:
    for number in range(1, 4):
        spot.take(market.delta("BTCUSDT", number, deep(number, 1) + deep(7, 2)))
    kept: dict[str, list[bytes]] = {}
    spot.capture(kept)
    (before,) = spot.pipeline.states()
    spot.resume(kept, type(spot)("spot").pipeline)
    (after,) = spot.pipeline.states()

    assert after.keeper.level_count() == before.keeper.level_count() > 0


def test_deltas_that_wait_are_written_once(spot: Any, market: Market) -> None:
    sizes = []
    for number in range(1, 21):
        bids = [[str(price), "1.5"] for price in range(number * 400, number * 400 + 400)]
        spot.take(market.delta("BTCUSDT", 1, bids))
        sizes.append(len(spot.pipeline.changed_states()["BTC/USDT"].payload))

    assert sum(sizes) < 2.5 * 20 * 400 * 18


def test_a_list_of_many_instruments_is_written_in_small_pieces_and_again_where_it_changed(spot: Any) -> None:
    names = [f"S{number}USDT" for number in range(5000)]
    spot.take(spot.feed.frame(listing(names), "INSTRUMENTS"))
    pieces = spot.pipeline.changed_states()
    spot.take(spot.feed.frame(listing(["S77USDT"], "0.5"), "INSTRUMENTS"))

    assert sum(len(piece.payload) for piece in pieces.values()) > 512 * 1024
    assert max(len(piece.payload) for piece in pieces.values()) < 64 * 1024
    assert len(spot.pipeline.changed_states()) == 1


def test_the_head_tells_the_time_of_the_last_raw_record(spot: Any) -> None:
    before = decode_piece(HeadPiece, HEAD, spot.pipeline.head()).event_time_us
    raw = spot.feed.record(spot.feed.message("btcusdt@trade"))
    spot.take_record(raw)

    assert before == 0
    assert decode_piece(HeadPiece, HEAD, spot.pipeline.head()).event_time_us == raw.event_time_us


def as_of_version_1(pieces: dict[str, Piece], head: bytes) -> list[tuple[bytes, State]]:
    """Write state as programs did before there were changes: whole pieces, and one for all instruments of a market."""
    instruments, written = [], {}
    for name, piece in pieces.items():
        fields = msgspec.msgpack.decode(piece.payload)
        if name.startswith("@"):
            instruments += fields[1]
        else:
            fields[8] = fields[8][:19]
            written[name] = [1, *fields[1:16]]
    written |= {"@spot": [1, instruments], "": [1, *msgspec.msgpack.decode(head)[1:5]]}
    offset, states = written[""][1], {}
    for name, fields in written.items():
        states[name] = State(
            source_topic="raw.binance",
            source_partition=0,
            symbol=name,
            next_offset=offset,
            version=1,
            payload=msgspec.msgpack.encode(fields),
        )
    return [(f"raw.binance|0|{name}|0".encode(), state) for name, state in states.items()]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_state_of_before_there_were_changes_is_read_and_gone_on_with(new_run: Callable[..., Any], seed: int) -> None:
    random = Random(seed)
    with small(), patch.object(Healing, "open", return_value=None):  # it knows of no holes that are to be healed
        session = Session(new_run, random)
        journal = session.check(session.version_1, random)
        session.check(Journal(journal.written[: random.randint(1, len(journal.written))]), random)


def test_a_change_without_its_whole_piece_is_refused(spot: Any) -> None:
    touched(spot, ["BTCUSDT"], 1)
    spot.pipeline.changed_states()
    touched(spot, ["BTCUSDT"], 2)
    change = spot.pipeline.changed_states()["BTC/USDT"]
    with pytest.raises(StateError, match="not one whole and its changes"):
        type(spot)("spot").pipeline.restore("BTC/USDT", change.payload)


def test_state_of_a_newer_program_is_refused_in_a_line_that_says_what_to_do(spot: Any) -> None:
    with pytest.raises(StateError, match="version 6, this program reads up to 5: run a newer one"):
        spot.pipeline.restore(HEAD, msgspec.msgpack.encode([6]))
