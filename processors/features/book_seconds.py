"""Records of one symbol's book → its shape at the end of each second in which it changed."""

from typing import NamedTuple

import msgspec

from processors.book import Book
from processors.features.placing import Placer
from processors.features.shape import Shape, shape_of
from schemas.records import Depth


class Shaped(NamedTuple):
    """The shape of the book at the end of a second in which it changed; None = there was no book with two sides."""

    second: int
    shape: Shape | None


class BookState(msgspec.Struct, array_like=True):
    """What is remembered besides the book.

    Args:
        newest_us: of the placer.
        second: in which the book changed last.
        is_told: the shape it has had since is known outside.
        snapshot_id: of the book; 0 = there is none.
    """

    newest_us: int = 0
    second: int = 0
    is_told: bool = True
    snapshot_id: int = 0


class BookSeconds:
    """Keeps a book as its records tell it."""

    def __init__(self) -> None:
        self.book = Book()
        self.placer = Placer()
        self.second = 0  # in which the book changed last
        self.snapshot_id = 0  # of the book; 0 = there is none
        self._is_told = True

    def is_change(self, depth: Depth) -> bool:
        """Tell whether a record changes the book, or says it anew; what is applied to no book does not."""
        return depth.is_snapshot or bool(depth.snapshot_id and depth.snapshot_id == self.snapshot_id)

    def is_repeat(self, depth: Depth) -> bool:
        """Tell whether a record repeats a book that stands, and take note of the id by which it does: a keyframe."""
        is_repeat = depth.is_keyframe and self.snapshot_id != 0
        if is_repeat:
            self.snapshot_id = depth.snapshot_id
        return is_repeat

    def place(self, exchange_time_us: int, recv_time_us: int, first_open: int) -> tuple[int, Shaped | None]:
        """Tell in which second a change of the book falls, and what shape it had before if that was not told yet.

        Changes follow one another as they came, whatever their times. To be called before the change is applied.

        Args:
            first_open: no change falls in a second before.
        """
        second = max(self.placer.second(exchange_time_us, recv_time_us), self.second, first_open)
        before = self.told() if second > self.second else None
        self.second, self._is_told = second, False
        return second, before

    def apply(self, depth: Depth) -> None:
        """Apply a record to the book."""
        bids, asks = (depth.bid_prices, depth.bid_sizes), (depth.ask_prices, depth.ask_sizes)
        if depth.is_snapshot:
            self.book.replace(bids, asks)
            self.snapshot_id = depth.snapshot_id
        else:
            self.book.apply(bids, asks)

    def reset(self) -> None:
        """Forget the book: it was given up."""
        self.book.clear()
        self.snapshot_id = 0

    def told(self) -> Shaped | None:
        """Tell the shape the book has had since its second, once; None = it was told."""
        if self._is_told:
            return None
        self._is_told = True
        return Shaped(self.second, shape_of(self.book) if self.snapshot_id else None)

    def begin_anew(self) -> None:
        """Forget all times: the clock was set back."""
        self.placer, self.second, self._is_told = Placer(), 0, True

    def capture(self) -> BookState:
        """Tell what is remembered besides the book."""
        return BookState(self.placer.newest_us, self.second, self._is_told, self.snapshot_id)

    def restore(self, state: BookState, book: Book) -> None:
        """Put back what was captured, with the book of that time."""
        self.placer.newest_us, self.second = state.newest_us, state.second
        self._is_told, self.snapshot_id = state.is_told, state.snapshot_id
        self.book.clear()
        if self.snapshot_id:
            self.book.replace(*book.sides())
