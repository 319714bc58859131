"""The order book of a recorded symbol at the position of the playback, for depth requests."""

import msgspec

from tickerplant.local.venue.dialect import Book

ALL = 1 << 30
Levels = list[tuple[str, str]]


class Delta(msgspec.Struct, gc=False):
    """What a depthUpdate changes; `pu` is 0 on spot, `T` where there is none."""

    U: int
    u: int
    b: Levels
    a: Levels
    pu: int = 0
    E: int = 0
    T: int = 0


class _Snapshot(msgspec.Struct, gc=False):
    """The body of a depth answer."""

    last_update_id: int = msgspec.field(name="lastUpdateId")
    bids: Levels = []
    asks: Levels = []


class KeptBook:
    """Levels by price as recorded; answers always join with the deltas that are still to come.

    Args:
        symbol: whose book it is.
        first: the first delta of the recording; None = it has none.
        snapshot: the first depth body of the recording, answered byte for byte until the deltas pass it; None = the
            book starts empty right before the first delta.
    """

    def __init__(self, symbol: str, *, first: Delta | None, snapshot: bytes | None) -> None:
        self._symbol = symbol
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._last_id = 0 if first is None else first.pu or first.U - 1
        self._time_ms = 0
        self._ahead: tuple[_Snapshot, bytes] | None = None
        if snapshot is not None:
            self.see_snapshot(snapshot)

    @property
    def has_begun(self) -> bool:
        """Whether any level came in the stream."""
        return bool(self._bids or self._asks)

    def see_snapshot(self, body: bytes) -> None:
        """Take in a depth body of the recording; one that lies behind the deltas is of no use."""
        snapshot = msgspec.json.decode(body, type=_Snapshot)
        if snapshot.last_update_id >= self._last_id:
            self._ahead = (snapshot, body)

    def see_book(self, book: Book, *, is_in_stream: bool) -> None:
        """Take in a whole book: one of the stream is the book from now on, any other lies ahead or is of no use."""
        if is_in_stream:
            self._bids, self._asks, self._ahead = dict(book.bids), dict(book.asks), None
            self._last_id, self._time_ms = book.last_id, book.time_ms
        elif book.last_id >= self._last_id:
            self._ahead = (_Snapshot(book.last_id, book.bids, book.asks), b"")

    def see_delta(self, delta: Delta) -> None:
        """Move on by a depthUpdate."""
        if self._ahead is not None and delta.u > self._ahead[0].last_update_id:
            self._bids, self._asks = dict(self._ahead[0].bids), dict(self._ahead[0].asks)
            self._ahead = None
        self._last_id = delta.u
        self._time_ms = delta.E
        if self._ahead is None:
            _apply(self._bids, delta.b)
            _apply(self._asks, delta.a)

    def book(self, most: int) -> Book:
        """Give up to so many levels a side; 0 = all."""
        most = most or ALL
        if self._ahead is None:
            bids = sorted(self._bids.items(), key=_price, reverse=True)
            asks = sorted(self._asks.items(), key=_price)
            return Book(self._symbol, self._last_id, self._last_id, bids[:most], asks[:most], self._time_ms)
        snapshot, body = self._ahead
        recorded = body if most >= max(len(snapshot.bids), len(snapshot.asks)) else b""
        return Book(
            self._symbol,
            snapshot.last_update_id,
            snapshot.last_update_id,
            snapshot.bids[:most],
            snapshot.asks[:most],
            self._time_ms,
            recorded,
        )


def _apply(side: dict[str, str], levels: Levels) -> None:
    for price, size in levels:
        if size.strip("0.") == "":
            side.pop(price, None)
        else:
            side[price] = size


def _price(level: tuple[str, str]) -> float:
    return float(level[0])
