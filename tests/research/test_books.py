"""From when on a stored change of a book counts: by which clock, and what a whole book that repeats it changes."""

from typing import Any

from schemas.records import Depth
from tickerplant.research.books import Replay
from tickerplant.research.features import BookItem

NOW_US = 1_795_219_200_000_000  # 2026-11-21
SECOND_US = 1_000_000
YEAR_US = 365 * 86_400 * SECOND_US


def item(recv_s: float, exchange_us: int, price: float, **fields: Any) -> BookItem:
    recv_us = NOW_US + round(recv_s * SECOND_US)
    kinds = {"is_snapshot": False, "snapshot_id": 1} | fields
    depth = Depth(
        event_time_us=recv_us, exchange_time_us=exchange_us, recv_time_us=recv_us, venue="V", symbol="A/B",
        bid_prices=[price], bid_sizes=[1.0], ask_prices=[price + 1], ask_sizes=[1.0], **kinds,
    )  # fmt: skip
    return BookItem((round(recv_s * 10), 0), recv_us, depth)


def best_bid(replay: Replay) -> float:
    assert replay.book is not None
    return max(replay.book.bids)


def test_a_recording_that_is_played_back_tells_nothing_of_what_was_read_later() -> None:
    replay = Replay()
    items = [item(second, NOW_US - YEAR_US + second, 100.0 + second) for second in range(20)]
    items[0] = item(0, NOW_US - YEAR_US, 100.0, is_snapshot=True)
    replay.apply_until(NOW_US + 5 * SECOND_US, items)

    assert best_bid(replay) == 105.0
    assert replay.changed_us == NOW_US + 5 * SECOND_US


def test_a_whole_book_that_repeats_what_stands_is_no_change_of_it() -> None:
    replay = Replay()
    whole = {"is_snapshot": True, "is_keyframe": True, "snapshot_id": 2}
    items = [item(0, 0, 100.0, is_snapshot=True), item(10, 0, 100.0, **whole), item(12, 0, 101.0, snapshot_id=2)]
    replay.apply_until(NOW_US + 11 * SECOND_US, items)

    assert (replay.changed_us, best_bid(replay), len(replay.waiting)) == (NOW_US, 100.0, 1)


def test_a_whole_book_that_comes_first_tells_when_it_changed_last() -> None:
    replay = Replay()
    replay.apply_until(NOW_US, [item(-1, NOW_US - 3600 * SECOND_US, 100.0, is_snapshot=True, is_keyframe=True)])

    assert replay.changed_us == NOW_US - 3600 * SECOND_US
