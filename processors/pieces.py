"""State ↔ bytes, a piece at a time: one for each symbol, some for each market's instruments, one head.

A symbol's piece holds all of it, or what changed since the piece before: of its book the levels that were set, of the
deltas that wait those that came since, of all else the whole. A piece is msgpack of a struct; books go as packed
doubles. Pieces of versions that are not known are refused.
"""

import sys
from array import array
from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Final, Generic, NamedTuple, TypeVar

import msgspec

from processors.absences import AbsencesPiece
from processors.bars import BarsPiece
from processors.book import Levels, TextBook
from processors.book_keeper import BookKeeper, level_count
from processors.book_rules import BookRule
from processors.candle_check import VenueCandle
from processors.dedupe import Hole
from processors.errors import StateError, StateVersionError
from processors.features.stream import StreamState
from processors.flags import LateRun
from processors.healing import Wound
from processors.items import AggTrade, BookDelta, CandleItem, Quote, Texts, TickerItem, Trade
from processors.line import NOTHING, Carrier, Held, Line
from processors.listings import Reading
from processors.memory import Memory
from processors.outliers import OutliersPiece
from processors.pulse import Pulse
from processors.symbol_state import SymbolState
from processors.throttle import What
from processors.timed import Timed, TimedLine
from processors.watermark import Watermark, WatermarkPiece
from schemas.records import Instrument
from tickerplant.tally import Tally

STATE_VERSION: Final = 5
READABLE_VERSIONS: Final = (1, 2, 3, 4, 5)
"""1 = all are whole, instruments of a market in one; 2 = owners without an epoch; 3 = no bars, outliers, features;
4 = bars and features are numbered among the ticks."""
SHARED_RANGE_VERSION: Final = 4
HEAD: Final = ""
MARKET_PREFIX: Final = "@"

Counts = list[tuple[What, int, int]]
Intervals = list[tuple[int, int]]
Sides = tuple[Levels, Levels]
P = TypeVar("P", bound=msgspec.Struct)
T = TypeVar("T")


class Piece(NamedTuple):
    """What is to be written under a name; whole, or a change of the piece of that name written before."""

    name: str
    payload: bytes
    is_whole: bool = True


class KeeperPiece(msgspec.Struct, array_like=True):
    """A BookKeeper.

    In a change, `bids` and `asks` are the levels set since (size 0 = removed), and `buffer` follows the last
    `kept_deltas` of the deltas that waited before.
    """

    is_valid: bool
    snapshot_id: int
    sequence: int
    exchange_time_us: int
    connection: str
    last_seen: int
    is_joined: bool
    is_chained: bool
    buffer: list[BookDelta]
    next_keyframe_us: int
    request_at_us: int
    request_wait_us: int
    last_request_us: int
    reason: str
    bids: tuple[bytes, bytes]
    asks: tuple[bytes, bytes]
    holes: list[Hole] = []
    stood_time_us: int = 0
    empty_snapshots: int = 0
    kept_deltas: Annotated[int, msgspec.Meta(ge=0)] = 0
    most_levels: int = 0
    moved_time_us: int = 0
    is_denied: bool = False
    texts: Texts | None = None  # of the levels of `bids` and `asks`
    is_whole: bool = True  # of a follower, where the lead's stands in a change
    last_mark: int = 0


class LinePiece(msgspec.Struct, Generic[T], array_like=True):
    """A Line."""

    sole: str = ""
    carriers: dict[str, Carrier] = {}
    lead: str = ""
    held: list[Held[T]] = []
    waits_since_us: int = 0
    lost_since_us: int = 0
    newest_us: int = NOTHING  # where keys are times: of the item let through last


class SymbolPiece(msgspec.Struct, array_like=True):
    """A SymbolState; fields with a default were added since, and are absent in state of before."""

    version: int
    instrument: Instrument
    sequence_id: int
    trades: Intervals
    agg_trades: Intervals
    last_quote: Quote | None
    newest_us: dict[str, int]
    throttle: Counts
    keeper: KeeperPiece
    trade_line: LinePiece[Trade] = msgspec.field(default_factory=LinePiece)
    agg_trade_line: LinePiece[AggTrade] = msgspec.field(default_factory=LinePiece)
    depth_line: LinePiece[BookDelta] = msgspec.field(default_factory=LinePiece)
    quote_line: LinePiece[Quote] = msgspec.field(default_factory=LinePiece)
    timed_lines: dict[str, LinePiece[Timed]] = {}
    horizon_us: int = 0
    copies: dict[bytes, dict[str, int]] = {}
    is_whole: bool = True
    recent_trades: list[int | str] = []  # in a change, those seen since
    last_ticker: TickerItem | None = None
    followers: dict[str, KeeperPiece] = {}
    lead_heard_us: int = 0
    bars: BarsPiece = msgspec.field(default_factory=BarsPiece)
    outliers: dict[str, OutliersPiece] = {}  # by kind of tick
    candles: list[VenueCandle] = []  # that wait for our bars
    features: StreamState | None = None  # in a change, a change too; None = there are none
    wounds: list[Wound] = []  # holes in the ids of trades that may still be filled
    absences: AbsencesPiece = msgspec.field(default_factory=AbsencesPiece)  # the same where ids show no holes
    forming: dict[str, dict[str, CandleItem]] = {}  # of venues that tell no candle final
    ended_us: dict[str, int] = {}
    are_summed: bool = False  # trades, where they are counted otherwise
    trade_feeds: dict[str, int] = {}  # connections that bring trades, where they are not counted
    tickers: dict[str, TickerItem] = {}  # by connection, of venues that send only what changed
    late_runs: dict[str, LateRun] = {}
    pulses: tuple[Pulse, Pulse] = msgspec.field(default_factory=lambda: (Pulse(), Pulse()))  # of ticks, of depth
    is_released: bool = False  # it expired, and nothing of it is kept
    restored_trades: list[int | str] = []  # as recent_trades
    trade_name: str = ""


class MarketPiece(msgspec.Struct, array_like=True):
    """Instruments of a market, or of a share of it."""

    version: int
    instruments: list[Instrument]


class OutputsPiece(msgspec.Struct, array_like=True):
    """Where the records after a snapshot stand in the outputs, for an owner to come: see `processors/written.py`."""

    since_us: int  # by the owner's clock: what it writes after the snapshot is stamped from here on
    until_us: int  # up to here: it waits for its next snapshot then
    ends: dict[str, int]  # topic → an offset that none of them is below
    written: dict[str, tuple[int, int]]  # topic → highest (offset, index) of owners before, where that is above


class LossPiece(msgspec.Struct, array_like=True, frozen=True):
    """Raw records that were gone before they were processed: offsets, both included; none where last is below first."""

    first: int
    last: int
    why: str


class HeadPiece(msgspec.Struct, array_like=True):
    """What belongs to the partition as a whole; fields with a default were added since."""

    version: int
    next_offset: int
    first_offset: int
    frames: dict[str, int]  # connection → number of its next frame
    throttle: Counts
    event_time_us: int = 0  # of the last raw record that could be read; 0 = there was none, or an older program wrote
    outputs: OutputsPiece | None = None
    tally: Tally = msgspec.field(default_factory=Tally)
    memories: dict[str, Memory] = {}  # by connection
    clocks: dict[str, int] = {}  # connection → receive time of its last CLOCK
    watermark: WatermarkPiece = msgspec.field(default_factory=WatermarkPiece)
    loss: LossPiece | None = None  # to be told with the next raw record
    readings: dict[str, Reading] = {}  # of instrument lists whose last page has not come, by connection


_ENCODER = msgspec.msgpack.Encoder()


def encode_piece(piece: msgspec.Struct) -> bytes:
    """Encode a piece."""
    return _ENCODER.encode(piece)


def decode_piece(shape: type[P], name: str, payload: bytes) -> P:
    """Decode a piece.

    Raises:
        StateError: it is damaged, or of another version.
    """
    try:
        version = msgspec.msgpack.decode(payload)[0]
        if version not in READABLE_VERSIONS:
            raise StateVersionError(
                f"state of {name!r} has version {version}, this program reads up to {STATE_VERSION}: run a newer one"
            )
        return msgspec.msgpack.decode(payload, type=shape)
    except (ValueError, RecursionError, IndexError, TypeError, KeyError) as error:
        raise StateError(f"state of {name!r} cannot be read: {error}") from error


def capture_symbol(name: str, state: SymbolState) -> Piece:
    """Encode what changed of a symbol since the last call, or all that is remembered of it where that is better."""
    keeper = state.keeper
    changes = keeper.book.changes()
    count = 0 if changes is None else _count(changes, _fresh(keeper))
    is_whole = changes is None or not state.increments.accept(count, keeper.level_count())
    if is_whole:
        state.increments.restart()
    piece = _capture(state, is_whole=is_whole)
    for each in (keeper, *state.books.keepers.values()):
        each.follow()
    state.recent_trades.follow()
    state.restored_trades.follow()
    state.bars.follow()
    for outliers in state.outliers.values():
        outliers.follow()
    if state.features is not None:
        state.features.follow()
    return Piece(name, encode_piece(piece), is_whole)


def _fresh(keeper: BookKeeper) -> list[BookDelta]:
    return list(islice(keeper.buffer, keeper.kept_deltas(), None))


def _count(changes: Sides, buffer: Sequence[BookDelta]) -> int:
    (bid_prices, _), (ask_prices, _) = changes
    return len(bid_prices) + len(ask_prices) + sum(map(level_count, buffer))


def _capture(state: SymbolState, *, is_whole: bool) -> SymbolPiece:
    recent, restored = state.recent_trades, state.restored_trades
    return SymbolPiece(
        version=STATE_VERSION,
        instrument=state.instrument,
        sequence_id=state.sequence_id,
        trades=state.trades.intervals(),
        agg_trades=state.agg_trades.intervals(),
        last_quote=state.last_quote,
        newest_us=state.lateness.newest_us,
        throttle=state.throttle.capture(),
        keeper=_capture_keeper(state.keeper, state.depth_line.sole or state.depth_line.lead, is_whole=is_whole),
        trade_line=_capture_line(state.trade_line),
        agg_trade_line=_capture_line(state.agg_trade_line),
        depth_line=_capture_line(state.depth_line),
        quote_line=_capture_line(state.quote_line),
        timed_lines={name: _capture_timed(line) for name, line in state.timed.lines.items()},
        horizon_us=state.lateness.horizon_us,
        copies=state.timed.copies.counts,
        is_whole=is_whole,
        recent_trades=list(recent.ids) if is_whole else recent.fresh(),
        last_ticker=state.timed.last_ticker,
        followers={name: _capture_keeper(each, name, is_whole=is_whole) for name, each in state.books.keepers.items()},
        lead_heard_us=state.books.lead_heard_us,
        bars=state.bars.capture(is_whole=is_whole),
        candles=state.bars.check.waiting,
        outliers={name: each.capture(is_whole=is_whole) for name, each in state.outliers.items()},
        features=state.features.capture(is_whole=is_whole) if state.features is not None else None,
        wounds=state.healing.wounds,
        absences=AbsencesPiece() if state.absences is None else state.absences.capture(),
        forming=state.timed.forming,
        ended_us=state.timed.ended_us,
        are_summed=state.are_summed,
        trade_feeds=state.trade_feeds.behind_since_us,
        tickers=state.timed.tickers,
        late_runs=state.lateness.runs,
        pulses=(state.ticks_pulse, state.depth_pulse),
        is_released=state.is_released,
        restored_trades=list(restored.ids) if is_whole else restored.fresh(),
        trade_name=state.trade_name,
    )


def restore_symbol(
    pieces: Sequence[SymbolPiece],
    rule: BookRule,
    keyframe_us: int,
    *,
    trades_are_counted: bool = True,
    is_healed: bool = False,
    watermark: Watermark | None = None,
    windows_s: Sequence[int] = (),
) -> SymbolState:
    """Make the state that pieces were captured from: a whole one and its changes, in order.

    Args:
        windows_s: of features; those of other windows begin anew.

    Raises:
        StateError: its book is damaged, or there is a change of nothing.
    """
    piece = pieces[-1]
    if [each.is_whole for each in pieces] != [True] + [False] * (len(pieces) - 1):
        raise StateError(f"state of {piece.instrument.symbol!r} is not one whole and its changes")
    state = SymbolState(
        piece.instrument,
        rule,
        keyframe_us,
        trades_are_counted=trades_are_counted,
        is_healed=is_healed,
        watermark=watermark,
        windows_s=windows_s,
    )
    state.sequence_id = piece.sequence_id
    _restore_trades(state, pieces, are_counted=trades_are_counted)
    state.agg_trades.restore(piece.agg_trades)
    state.healing.restore(piece.wounds)
    if state.absences is not None:
        state.absences.restore(piece.absences)
    state.last_quote = piece.last_quote
    state.lateness.newest_us = piece.newest_us
    state.lateness.horizon_us = piece.horizon_us
    state.lateness.runs = piece.late_runs
    state.ticks_pulse, state.depth_pulse = piece.pulses
    state.throttle.restore(piece.throttle)
    try:
        _restore_books(state, pieces)
    except ValueError as error:
        raise StateError(f"book of {piece.instrument.symbol!r} cannot be read: {error}") from error
    if state.features is not None:
        book, snapshot_id = state.keeper.book, state.keeper.snapshot_id if state.keeper.is_valid else 0
        state.features.restore([each.features for each in pieces], book, snapshot_id)
    _restore_line(state.trade_line, piece.trade_line)
    state.trade_feeds.behind_since_us = piece.trade_feeds
    _restore_line(state.agg_trade_line, piece.agg_trade_line)
    _restore_line(state.depth_line, piece.depth_line)
    _restore_line(state.quote_line, piece.quote_line)
    for name, each in piece.timed_lines.items():
        _restore_timed(state.timed.line(name), each)
    state.timed.copies.counts = piece.copies
    state.timed.last_ticker, state.timed.tickers = piece.last_ticker, piece.tickers
    state.timed.forming, state.timed.ended_us = piece.forming, piece.ended_us
    state.bars.restore([each.bars for each in pieces])
    state.bars.check.waiting = piece.candles
    for kind, outliers in state.outliers.items():
        outliers.restore([each.outliers[kind] for each in pieces if kind in each.outliers])
    if piece.keeper.is_chained and not state.depth_line.is_carried:  # state of a program that knew one connection
        state.depth_line.sole = piece.keeper.connection
    return state


def _restore_trades(state: SymbolState, pieces: Sequence[SymbolPiece], *, are_counted: bool) -> None:
    last = pieces[-1]
    if are_counted and last.are_summed:
        state.sum_trades(are_summed=True)
    state.trades.restore(last.trades)
    state.trade_name = last.trade_name
    for piece in pieces:
        for number in piece.recent_trades:
            state.recent_trades.add(number)
        for number in piece.restored_trades:
            state.restored_trades.add(number)
    state.recent_trades.follow()
    state.restored_trades.follow()
    if are_counted and not last.trades and not last.are_summed:  # of a program that did not count this venue's
        for number in state.recent_trades.ids:
            if isinstance(number, int):
                state.trades.add(number)


def _capture_line(line: Line[T]) -> LinePiece[T]:
    return LinePiece(line.sole, line.carriers, line.lead, line.held, line.waits_since_us, line.lost_since_us)


def _capture_timed(line: TimedLine) -> LinePiece[Timed]:
    piece = _capture_line(line)
    piece.newest_us = line.newest_us
    return piece


def _restore_timed(line: TimedLine, piece: LinePiece[Timed]) -> None:
    _restore_line(line, piece)
    line.newest_us = piece.newest_us


def _restore_line(line: Line[T], piece: LinePiece[T]) -> None:
    line.sole, line.carriers, line.lead, line.held = piece.sole, piece.carriers, piece.lead, piece.held
    line.waits_since_us, line.lost_since_us = piece.waits_since_us, piece.lost_since_us


def _capture_keeper(keeper: BookKeeper, connection: str, *, is_whole: bool) -> KeeperPiece:
    changes = None if is_whole else keeper.book.changes()
    bids, asks = changes or keeper.book.sides()
    return KeeperPiece(
        is_valid=keeper.is_valid,
        snapshot_id=keeper.snapshot_id,
        sequence=keeper.sequence,
        exchange_time_us=keeper.exchange_time_us,
        connection=connection,
        last_seen=keeper.last_seen,
        is_joined=keeper.is_joined,
        is_chained=keeper.is_chained,
        buffer=list(keeper.buffer) if changes is None else _fresh(keeper),
        next_keyframe_us=keeper.next_keyframe_us,
        request_at_us=keeper.request_at_us,
        request_wait_us=keeper.request_wait_us,
        last_request_us=keeper.last_request_us,
        reason=keeper.reason,
        bids=_pack(bids),
        asks=_pack(asks),
        holes=keeper.holes.holes,
        stood_time_us=keeper.stood_time_us,
        empty_snapshots=keeper.empty_snapshots,
        kept_deltas=0 if changes is None else keeper.kept_deltas(),
        most_levels=keeper.most_levels,
        moved_time_us=keeper.moved_time_us,
        is_denied=keeper.is_denied,
        last_mark=keeper.last_mark,
        texts=keeper.book.texts_of(bids[0], asks[0]),
        is_whole=changes is None,
    )


def _restore_books(state: SymbolState, pieces: Sequence[SymbolPiece]) -> None:
    """Put back the published book and those of other connections, each from its last whole piece on."""
    last = pieces[-1]
    _restore_keeper(state.keeper, last.keeper)
    _restore_levels(state.keeper, [each.keeper for each in pieces])
    for piece in pieces[1:]:
        levels = _unpack(piece.keeper.bids), _unpack(piece.keeper.asks)
        state.increments.add(_count(levels, piece.keeper.buffer))
    state.books.lead_heard_us = last.lead_heard_us
    for name, each in last.followers.items():
        keeper = state.books.keeper(name, last.instrument)
        _restore_keeper(keeper, each)
        _restore_levels(keeper, [before.followers[name] for before in pieces if name in before.followers])


def _restore_keeper(keeper: BookKeeper, piece: KeeperPiece) -> None:
    keeper.is_valid = piece.is_valid
    keeper.snapshot_id = piece.snapshot_id
    keeper.sequence = piece.sequence
    keeper.exchange_time_us = piece.exchange_time_us
    keeper.last_seen = piece.last_seen
    keeper.is_joined = piece.is_joined
    keeper.is_chained = piece.is_chained
    keeper.next_keyframe_us = piece.next_keyframe_us
    keeper.request_at_us = piece.request_at_us
    keeper.request_wait_us = piece.request_wait_us
    keeper.last_request_us = piece.last_request_us
    keeper.reason = piece.reason
    keeper.holes.holes = piece.holes
    keeper.stood_time_us = piece.stood_time_us
    keeper.empty_snapshots = piece.empty_snapshots
    keeper.most_levels = piece.most_levels
    keeper.moved_time_us = piece.moved_time_us
    keeper.last_mark = piece.last_mark
    keeper.is_denied = piece.is_denied


def _restore_levels(keeper: BookKeeper, pieces: Sequence[KeeperPiece]) -> None:
    """Put back book and buffer: those of the last whole piece, then what each one after it changed.

    Raises:
        StateError: none is whole.
    """
    at = max((number for number, piece in enumerate(pieces) if piece.is_whole), default=None)
    if at is None:
        raise StateError("a book is not one whole and its changes")
    if pieces[-1].texts is not None:
        keeper.book = TextBook()
    for number, piece in enumerate(pieces[at:]):
        bids, asks = _unpack(piece.bids), _unpack(piece.asks)
        if number == 0:
            keeper.book.replace(bids, asks, piece.texts)
        else:
            keeper.book.apply(bids, asks, piece.texts)
        keeper.restore_buffer(piece.kept_deltas, piece.buffer)
    keeper.follow()


def _pack(side: Levels) -> tuple[bytes, bytes]:
    """Pack prices and sizes as little-endian doubles."""
    prices, sizes = side
    return _doubles(array("d", prices)), _doubles(array("d", sizes))


def _doubles(values: "array[float]") -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _unpack(packed: tuple[bytes, bytes]) -> Levels:
    prices, sizes = (_read_doubles(each) for each in packed)
    return prices, sizes


def _read_doubles(packed: bytes) -> list[float]:
    values = array("d")
    values.frombytes(packed)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()
