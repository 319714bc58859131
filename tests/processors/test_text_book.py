"""Books that keep digits: the same levels as a plain book, prices in order, checksums of what was sent, cuts."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.book import Book, TextBook
from processors.items import Texts

PRICES = st.integers(1, 12).map(float)
SIZES = st.sampled_from([0.0, 1.0, 2.5])
SIDE = st.lists(st.tuples(PRICES, SIZES), max_size=16)


def levels(side: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [price for price, _ in side], [size for _, size in side]


def texts(bids: Any, asks: Any) -> Texts:
    return Texts(*([f"{each:.1f}" for each in row] for row in (*bids, *asks)))


@given(st.lists(st.tuples(SIDE, SIDE), max_size=8))
def test_levels_are_those_of_a_plain_book_and_digits_go_with_them(updates: list[Any]) -> None:
    plain, kept = Book(), TextBook()
    for bid_side, ask_side in updates:
        bids, asks = levels(bid_side), levels(ask_side)
        plain.apply(bids, asks)
        kept.apply(bids, asks, texts(bids, asks))

    (bid_prices, bid_sizes), (ask_prices, ask_sizes) = plain.levels()
    assert kept.levels() == plain.levels()
    assert kept.is_crossed() == plain.is_crossed()
    assert kept.best_texts(5) == (
        [(f"{price:.1f}", f"{size:.1f}") for price, size in zip(bid_prices[:5], bid_sizes[:5], strict=True)],
        [(f"{price:.1f}", f"{size:.1f}") for price, size in zip(ask_prices[:5], ask_sizes[:5], strict=True)],
    )


@given(SIDE, SIDE, st.integers(1, 6))
def test_a_cut_leaves_the_best_levels_and_names_the_others(bid_side: Any, ask_side: Any, most: int) -> None:
    bids, asks = levels(bid_side), levels(ask_side)
    whole, cut = Book(), TextBook()
    whole.apply(bids, asks)
    cut.apply(bids, asks, texts(bids, asks))
    gone_bids, gone_asks = cut.cut(most)

    (bid_prices, _), (ask_prices, _) = whole.levels()
    assert (cut.levels()[0][0], cut.levels()[1][0]) == (bid_prices[:most], ask_prices[:most])
    assert (sorted(gone_bids, reverse=True), gone_asks) == (bid_prices[most:], ask_prices[most:])


def test_where_digits_are_missing_among_the_best_there_is_nothing_to_sum() -> None:
    book = TextBook()
    book.apply(([1.0], [1.0]), ([2.0], [1.0]), Texts(["1.0"], ["1"], ["2.0"], ["1"]))
    book.apply(([1.5], [1.0]), ([], []))

    assert book.best_texts(1) is None


def test_digits_are_told_by_price_with_blanks_for_levels_that_are_gone() -> None:
    book = TextBook()
    book.apply(([1.0], [1.0]), ([2.0], [1.0]), Texts(["1.0"], ["1"], ["2.00"], ["1e0"]))

    assert book.texts_of([1.0, 9.0], [2.0]) == Texts(["1.0", ""], ["1", ""], ["2.00"], ["1e0"])
