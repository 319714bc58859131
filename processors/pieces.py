"""State ↔ bytes, a piece at a time: one for each symbol, some for each market's instruments, one head.

A symbol's piece holds all of it, or what changed since the piece before: of its book the levels that were set, of the
deltas that wait those that came since, of all else the whole. A piece is msgpack of a struct; books go as packed
doubles. Pieces of versions that are not known are refused.
"""

import sys
from array import array
from collections.abc import Sequence
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from processors.book import Levels
from processors.book_keeper import BookKeeper, level_count
from processors.book_rules import BookRule
from processors.dedupe import Hole
from processors.errors import StateError
from processors.items import AggTrade, BookDelta, Quote, Trade
from processors.line import NOTHING, Carrier, Held, Line
from processors.symbol_state import SymbolState
from processors.throttle import What
from processors.timed import Timed, TimedLine
from schemas.records import Instrument
from tickerplant.tally import Tally

STATE_VERSION: Final = 2
READABLE_VERSIONS: Final = (1, 2)  # 1 = all pieces are whole, instruments of a market in one
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
    kept_deltas: int = 0


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
            raise StateError(
                f"state of {name!r} has version {version}, this program reads up to {STATE_VERSION}: run a newer one"
            )
        return msgspec.msgpack.decode(payload, type=shape)
    except (ValueError, RecursionError, IndexError, TypeError, KeyError) as error:
        raise StateError(f"state of {name!r} cannot be read: {error}") from error


def capture_symbol(name: str, state: SymbolState) -> Piece:
    """Encode what changed of a symbol since the last call, or all that is remembered of it where that is better."""
    keeper = state.keeper
    changes, kept = keeper.book.changes(), keeper.kept_deltas()
    fresh = list(islice(keeper.buffer, kept, None))
    is_whole = changes is None or not state.increments.accept(_count(changes, fresh), keeper.level_count())
    if is_whole:
        state.increments.restart()
        changes, kept, fresh = keeper.book.sides(), 0, list(keeper.buffer)
    assert changes is not None
    keeper_piece = _capture_keeper(state, changes, kept, fresh)
    keeper.follow()
    return Piece(name, encode_piece(_capture(state, keeper_piece, is_whole=is_whole)), is_whole)


def _count(changes: Sides, buffer: Sequence[BookDelta]) -> int:
    (bid_prices, _), (ask_prices, _) = changes
    return len(bid_prices) + len(ask_prices) + sum(map(level_count, buffer))


def _capture(state: SymbolState, keeper: KeeperPiece, *, is_whole: bool) -> SymbolPiece:
    return SymbolPiece(
        version=STATE_VERSION,
        instrument=state.instrument,
        sequence_id=state.sequence_id,
        trades=state.trades.intervals(),
        agg_trades=state.agg_trades.intervals(),
        last_quote=state.last_quote,
        newest_us=state.lateness.newest_us,
        throttle=state.throttle.capture(),
        keeper=keeper,
        trade_line=_capture_line(state.trade_line),
        agg_trade_line=_capture_line(state.agg_trade_line),
        depth_line=_capture_line(state.depth_line),
        quote_line=_capture_line(state.quote_line),
        timed_lines={name: _capture_timed(line) for name, line in state.timed.lines.items()},
        horizon_us=state.lateness.horizon_us,
        copies=state.timed.copies.counts,
        is_whole=is_whole,
    )


def restore_symbol(pieces: Sequence[SymbolPiece], rule: BookRule, keyframe_us: int) -> SymbolState:
    """Make the state that pieces were captured from: a whole one and its changes, in order.

    Raises:
        StateError: its book is damaged, or there is a change of nothing.
    """
    piece = pieces[-1]
    if [each.is_whole for each in pieces] != [True] + [False] * (len(pieces) - 1):
        raise StateError(f"state of {piece.instrument.symbol!r} is not one whole and its changes")
    state = SymbolState(piece.instrument, rule, keyframe_us)
    state.sequence_id = piece.sequence_id
    state.trades.restore(piece.trades)
    state.agg_trades.restore(piece.agg_trades)
    state.last_quote = piece.last_quote
    state.lateness.newest_us = piece.newest_us
    state.lateness.horizon_us = piece.horizon_us
    state.throttle.restore(piece.throttle)
    try:
        _restore_keeper(state, piece.keeper)
        _restore_levels(state, [each.keeper for each in pieces])
    except ValueError as error:
        raise StateError(f"book of {piece.instrument.symbol!r} cannot be read: {error}") from error
    _restore_line(state.trade_line, piece.trade_line)
    _restore_line(state.agg_trade_line, piece.agg_trade_line)
    _restore_line(state.depth_line, piece.depth_line)
    _restore_line(state.quote_line, piece.quote_line)
    for name, each in piece.timed_lines.items():
        _restore_timed(state.timed.line(name), each)
    state.timed.copies.counts = piece.copies
    if piece.keeper.is_chained and not state.depth_line.is_carried:  # state of a program that knew one connection
        state.depth_line.sole = piece.keeper.connection
    return state


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


def _capture_keeper(state: SymbolState, sides: Sides, kept: int, buffer: list[BookDelta]) -> KeeperPiece:
    keeper = state.keeper
    return KeeperPiece(
        is_valid=keeper.is_valid,
        snapshot_id=keeper.snapshot_id,
        sequence=keeper.sequence,
        exchange_time_us=keeper.exchange_time_us,
        connection=state.depth_line.sole or state.depth_line.lead,
        last_seen=keeper.last_seen,
        is_joined=keeper.is_joined,
        is_chained=keeper.is_chained,
        buffer=buffer,
        next_keyframe_us=keeper.next_keyframe_us,
        request_at_us=keeper.request_at_us,
        request_wait_us=keeper.request_wait_us,
        last_request_us=keeper.last_request_us,
        reason=keeper.reason,
        bids=_pack(sides[0]),
        asks=_pack(sides[1]),
        holes=keeper.holes.holes,
        stood_time_us=keeper.stood_time_us,
        empty_snapshots=keeper.empty_snapshots,
        kept_deltas=kept,
    )


def _restore_keeper(state: SymbolState, piece: KeeperPiece) -> None:
    keeper = state.keeper
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


def _restore_levels(state: SymbolState, pieces: Sequence[KeeperPiece]) -> None:
    """Put back book and buffer: those of the first piece, then what each other one changed."""
    keeper: BookKeeper = state.keeper
    for number, piece in enumerate(pieces):
        bids, asks = _unpack(piece.bids), _unpack(piece.asks)
        if number == 0:
            keeper.book.replace(bids, asks)
        else:
            keeper.book.apply(bids, asks)
            state.increments.add(_count((bids, asks), piece.buffer))
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
