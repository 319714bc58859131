"""Frames lost, doubled, out of order, cut, corrupted: what is seen of each, and that the data is right afterwards."""

from collections.abc import Callable
from typing import Any

import pytest

from schemas.records import Depth, Tick
from tickerplant.local.venue.faults import Corrupt, Double, Lose, Reorder, Truncate

Capturing = Callable[..., Any]
MARKETS = pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])


async def test_lost_trades_are_gaps_with_exactly_their_ids(capturing: Capturing) -> None:
    async with capturing() as it:
        lost = it.start(Lose(match="*@trade", probability=0.1, count=12))
        await it.until(lambda: lost.is_over)
        await it.finish()

    assert it.gaps("trade") == it.struck(lost)
    assert not it.struck(lost) & set(it.trades())
    it.assert_all_is_right()


@MARKETS
async def test_lost_depth_update_is_a_gap_and_a_new_snapshot_brings_the_book_back(
    capturing: Capturing, market: str
) -> None:
    async with capturing(markets=(market,)) as it:
        before, asked = len(it.events("BOOK_READY")), len(it.flow.commands)
        lost = it.start(Lose(match="*@depth*", count=1))
        await it.until(lambda: it.events("BOOK_RESET"))
        await it.until(lambda: len(it.events("BOOK_READY")) > before)
        await it.finish()
    [strike] = lost.strikes
    [gap] = it.events("GAP", "depth")

    assert gap.from_sequence <= strike.first_id <= strike.last_id <= gap.to_sequence
    assert [each.symbol for each in it.events("BOOK_RESET")] == [gap.symbol]
    assert [each.command for each in it.flow.commands[asked:]] == ["resnapshot"]
    assert it.of(Depth, flags="UNJOINED", symbol=gap.symbol)
    it.assert_all_is_right()


async def test_doubled_frames_are_duplicates_and_no_record_is_doubled(capturing: Capturing) -> None:
    async with capturing(channels=("trade", "aggTrade", "bookTicker", "depth")) as it:
        patterns = {channel: f"*@{channel}*" for channel in ("trade", "aggTrade", "bookTicker", "depth")}
        doubled = {channel: it.start(Double(match=each, count=4)) for channel, each in patterns.items()}
        await it.until(lambda: all(each.is_over for each in doubled.values()))
        await it.finish()
    it.flow.records += it.flow.pipeline.finish()  # counts that wait for their second

    assert {channel: it.noted("DUPLICATE", channel) for channel in patterns} == dict.fromkeys(patterns, 4)
    quotes = [(each.symbol, each.venue_sequence, each.price) for each in it.of(Tick, kind="QUOTE")]
    assert len(quotes) == len(set(quotes))
    assert not it.events("GAP")
    it.assert_all_is_right()


async def test_reordered_trades_are_out_of_order_and_each_is_stored_once(capturing: Capturing) -> None:
    async with capturing() as it:
        late = it.start(Reorder(match="*@trade", probability=0.2, count=10))
        await it.until(lambda: late.is_over)
        await it.finish()
    it.flow.records += it.flow.pipeline.finish()

    assert it.noted("OUT_OF_ORDER", "trade") > 0
    assert it.struck(late) <= set(it.trades())
    assert it.gaps("trade") <= it.struck(late)  # each of them came after all
    it.assert_all_is_right()


@MARKETS
async def test_reordered_depth_update_is_a_hole_that_a_new_snapshot_closes(capturing: Capturing, market: str) -> None:
    async with capturing(markets=(market,)) as it:
        it.start(Reorder(match="*@depth*", within=1, count=1))
        await it.until(lambda: it.events("BOOK_RESET"))
        await it.finish()

    assert it.events("GAP", "depth")
    it.assert_all_is_right()


@pytest.mark.parametrize(
    "fault",
    [
        Truncate(probability=0.1, count=15),
        Corrupt(kind="json", probability=0.1, count=15),
        Corrupt(kind="utf8", probability=0.1, count=15),
        Corrupt(kind="type", probability=0.1, count=15),
    ],
    ids=lambda fault: getattr(fault, "kind", "truncated"),
)
async def test_damaged_frames_are_dead_letters_and_holes(capturing: Capturing, fault: Any) -> None:
    async with capturing(channels=("trade", "depth", "bookTicker", "kline_1m", "ticker")) as it:
        damaged = it.start(fault)
        await it.until(lambda: damaged.is_over)
        await it.finish()
    letters, raw = it.letters(), [frame.payload for frame in it.flow.frames("MESSAGE")]

    assert len(letters) == damaged.hits == it.venue.hub.counts.damaged
    assert all(letter.reason and letter.payload in raw for letter in letters)
    assert it.events("DEAD_LETTER")
    assert it.gaps("trade") == it.struck(damaged)
    updates = {(each.symbol, each.from_sequence): each.to_sequence for each in it.events("GAP", "depth")}
    for symbol, first_id in it.struck(damaged, "@depth@100ms"):
        assert any(name == symbol and first <= first_id <= last for (name, first), last in updates.items())
    it.assert_all_is_right()


async def test_another_value_that_parses_is_stored_as_it_was_sent(capturing: Capturing) -> None:
    async with capturing() as it:
        changed = it.start(Corrupt(kind="value", match="*@trade", count=5))
        await it.until(lambda: changed.is_over)
        await it.finish()
    ticks = {(each.symbol, int(each.trade_id)): each for each in it.of(Tick, kind="TRADE")}

    assert it.struck(changed) <= set(ticks)
    assert set(it.trades().values()) == {1}
    assert (it.letters(), it.events("GAP")) == ([], [])
    it.assert_books_are_right()
