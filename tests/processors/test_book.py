from hypothesis import given
from hypothesis import strategies as st

from processors.book import Book

prices = st.integers(1, 12).map(float)
sizes = st.sampled_from([0.0, 0.0, 1.0, 2.5])
sides = st.lists(st.tuples(prices, sizes), max_size=8).map(lambda pairs: ([p for p, _ in pairs], [s for _, s in pairs]))
changes = st.lists(st.tuples(sides, sides), max_size=12)


@given(changes)
def test_a_book_is_what_its_deltas_add_up_to(deltas: list[tuple[tuple[list[float], list[float]], ...]]) -> None:
    book = Book()
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for bid_changes, ask_changes in deltas:
        book.apply(bid_changes, ask_changes)
        bids |= dict(zip(*bid_changes, strict=True))
        asks |= dict(zip(*ask_changes, strict=True))
    bids = {price: size for price, size in bids.items() if size}
    asks = {price: size for price, size in asks.items() if size}

    assert book.levels() == (
        (sorted(bids, reverse=True), [bids[price] for price in sorted(bids, reverse=True)]),
        (sorted(asks), [asks[price] for price in sorted(asks)]),
    )
    assert len(book) == len(bids) + len(asks)


@given(changes)
def test_a_snapshot_of_a_book_rebuilds_it(deltas: list[tuple[tuple[list[float], list[float]], ...]]) -> None:
    book, copy = Book(), Book()
    for bid_changes, ask_changes in deltas:
        book.apply(bid_changes, ask_changes)
    copy.apply(([1.0], [1.0]), ([2.0], [2.0]))
    copy.replace(*book.levels())

    assert copy.levels() == book.levels()


def test_a_removed_level_that_is_not_there_does_no_harm() -> None:
    book = Book()
    book.apply(([1.0], [0.0]), ([], []))

    assert book.levels() == (([], []), ([], []))
