"""A recorded session of a perpetual, and single messages: counts, books, sides, and what damage does."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from schemas.records import DeadLetter, Depth, QualityEvent, Tick

pytestmark = pytest.mark.recordings

SESSION = "hftbacktest/hyperliquid/btcusd_20250126.gz"


def messages(path: Path) -> list[Any]:
    """What a session received, read by other means than the product's."""
    return [json.loads(line.partition(b" ")[2]) for line in gzip.decompress(path.read_bytes()).splitlines()]


def of(found: list[Any], channel: str) -> list[Any]:
    return [each["data"] for each in found if each["channel"] == channel]


def as_book(data: Any) -> dict[str, dict[float, float]]:
    bids, asks = ({float(level["px"]): float(level["sz"]) for level in side} for side in data["levels"])
    return {"bids": bids, "asks": asks}


def kept(run: Any) -> Any:
    (state,) = run.pipeline.states()
    return {"bids": state.keeper.book.bids, "asks": state.keeper.book.asks} if state.keeper.is_valid else None


def kinds(run: Any) -> Counter[str]:
    return Counter(each.kind for each in run.of(QualityEvent) if each.kind != "ASSUMED_INSTRUMENT")


def test_a_session_gives_what_the_file_holds(new_run: Any, recordings: Path) -> None:
    found = messages(recordings / SESSION)
    run = new_run("perp", "HYPERLIQUID")
    run.play(recordings / SESSION)

    trades = [trade for data in of(found, "trades") for trade in data]
    assert not run.of(DeadLetter)
    assert kinds(run) == {"BOOK_READY": 1}
    assert len(run.of(Tick)) == len({(trade["coin"], trade["tid"]) for trade in trades}) == 64
    assert Counter(each.side for each in run.of(Tick)) == Counter(
        {"B": "BUY", "A": "SELL"}[trade["side"]] for trade in trades
    )
    assert [(each.bid_prices[0], each.ask_sizes[0]) for each in run.of(Depth)] == [
        (float(data["levels"][0][0]["px"]), float(data["levels"][1][0]["sz"])) for data in of(found, "l2Book")
    ]
    assert kept(run) == as_book(of(found, "l2Book")[-1])


def test_sides_agree_with_the_book_before_each_trade(new_run: Any, recordings: Path) -> None:
    """Books are half a second apart: a trade at one of their best prices is rarely on the other side."""
    run = new_run("perp", "HYPERLIQUID")
    run.play(recordings / SESSION)
    verdicts = []
    for trade in run.of(Tick):
        before = [each for each in run.of(Depth) if each.exchange_time_us < trade.exchange_time_us]
        if before and trade.price in {before[-1].bid_prices[0], before[-1].ask_prices[0]}:
            verdicts.append(trade.side == ("SELL" if trade.price == before[-1].bid_prices[0] else "BUY"))

    assert sum(verdicts) == len(verdicts) > 5


def test_single_messages_are_read(new_run: Any, recordings: Path) -> None:
    run = new_run("perp", "HYPERLIQUID")
    run.play(recordings / "tardis-node" / "hyperliquid.jsonl")

    assert not run.of(DeadLetter)
    assert Counter(each.kind for each in run.of(Tick)) == {"TRADE": 6, "QUOTE": 2}
    assert len(run.of(Depth)) == 2


@pytest.mark.parametrize("what", ["lost", "doubled", "swapped"])
@pytest.mark.parametrize("seed", range(3))
def test_damaged_books_leave_the_newest_one_right(new_run: Any, recordings: Path, what: str, seed: int) -> None:
    found = [each for each in messages(recordings / SESSION) if each["channel"] == "l2Book"]
    at = random.Random(seed).randrange(2, len(found) - 2)
    sent = {
        "lost": [*found[:at], *found[at + 1 :]],
        "doubled": [*found[: at + 1], *found[at:]],
        "swapped": [*found[:at], found[at + 1], found[at], *found[at + 2 :]],
    }[what]
    run, newest = new_run("perp", "HYPERLIQUID"), found[0]
    for message in sent:
        newest = max(newest, message, key=lambda each: each["data"]["time"])
        run.say(message)

        assert kept(run) == as_book(newest["data"])
    assert kinds(run)["OUT_OF_ORDER"] == (what == "swapped")
