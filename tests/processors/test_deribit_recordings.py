"""A recorded session of options: counts, books, and what damage does; single messages of all kinds."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from schemas.records import DeadLetter, Depth, Derivative, QualityEvent, Tick, Ticker

pytestmark = pytest.mark.recordings

SESSION = "DERIBIT.ws.1.0"
Book = dict[str, dict[float, float]]


def notifications(path: Path) -> list[Any]:
    """What a session received, read by other means than the product's."""
    found = [json.loads(line.partition(": ")[2]) for line in path.read_text().splitlines() if line[:1].isdigit()]
    return [each for each in found if each.get("method") == "subscription"]


def of(found: list[Any], channel: str) -> list[Any]:
    return [each["params"]["data"] for each in found if each["params"]["channel"].startswith(channel)]


def rebuild(books: dict[str, Book], data: Any) -> None:
    """Apply a message to books in plain dictionaries."""
    if data["type"] == "snapshot":
        books[data["instrument_name"]] = {"bids": {}, "asks": {}}
    for side in ("bids", "asks"):
        levels = books[data["instrument_name"]][side]
        for what, price, size in data[side]:
            levels.pop(price, None)
            if what != "delete":
                levels[price] = size


def kept(run: Any) -> dict[str, Book]:
    """Books that stand, as the pipeline keeps them."""
    return {
        state.instrument.venue_symbol: {"bids": state.keeper.book.bids, "asks": state.keeper.book.asks}
        for state in run.pipeline.states()
        if state.keeper.is_valid
    }


def kinds(run: Any) -> Counter[str]:
    return Counter(each.kind for each in run.of(QualityEvent) if each.kind != "ASSUMED_INSTRUMENT")


def test_a_session_gives_what_the_file_holds(new_run: Any, recordings: Path) -> None:
    path = recordings / "cryptofeed" / SESSION
    found = notifications(path)
    run = new_run("options", "DERIBIT", assume_instruments=False)
    run.play(path)
    books: dict[str, Book] = {}
    for data in of(found, "book"):
        rebuild(books, data)

    snapshots = [data for data in of(found, "book") if data["type"] == "snapshot"]
    assert not run.of(DeadLetter)
    assert kinds(run) == {"BOOK_READY": len(snapshots), "CONNECT": 1}
    assert len(run.of(Depth, is_snapshot=False)) == len(of(found, "book")) - len(snapshots)
    assert len(run.of(Ticker)) == len(of(found, "ticker")) == 89
    assert [each.value for each in run.of(Derivative, kind="OPEN_INTEREST")] == [
        data["open_interest"] for data in of(found, "ticker")
    ]
    assert kept(run) == books


@pytest.mark.parametrize(
    ("name", "trades", "letters"), [("tardis-node/deribit.jsonl", 4, 0), ("crypto-msg-parser/deribit.jsonl", 4, 7)]
)
def test_single_messages_are_read_but_for_combos_and_answers_to_requests(
    new_run: Any, recordings: Path, name: str, trades: int, letters: int
) -> None:
    run = new_run("futures", "DERIBIT")
    run.play(recordings / name)

    assert len(run.of(Tick, kind="TRADE")) == trades
    assert len(run.of(DeadLetter)) == letters
    told = {"BOOK_READY", "BOOK_RESET", "GAP", "DEAD_LETTER", "UNKNOWN_SYMBOL", "VENUE_NOTICE"}
    assert set(kinds(run)) <= told


@pytest.mark.parametrize("what", ["lost", "doubled", "swapped"])
@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_change_is_noticed_and_the_book_healed_by_a_snapshot(
    new_run: Any, recordings: Path, what: str, seed: int
) -> None:
    found = of(notifications(recordings / "cryptofeed" / SESSION), "book")
    names = Counter(data["instrument_name"] for data in found)
    name = names.most_common(1)[0][0]
    mine = [data for data in found if data["instrument_name"] == name]
    at = random.Random(seed).randrange(1, len(mine) - 3)
    sent = {
        "lost": [*mine[:at], *mine[at + 1 :]],
        "doubled": [*mine[: at + 1], *mine[at:]],
        "swapped": [*mine[:at], mine[at + 1], mine[at], *mine[at + 2 :]],
    }[what]
    run = new_run("options", "DERIBIT")
    books: dict[str, Book] = {}
    for number, data in enumerate(sent):
        run.say(as_notification(data))
        if run.commands and not kept(run):
            for each in mine[: max(number, at + 1) + 1]:
                rebuild(books, each)
            run.say(as_notification(as_snapshot(books[name], mine[max(number, at + 1)])))
    for each in mine:
        rebuild(books, each)

    expected = {"lost": {"GAP", "BOOK_RESET"}, "doubled": {"DUPLICATE"}, "swapped": {"GAP", "BOOK_RESET"}}
    assert set(kinds(run)) - {"BOOK_READY", "OUT_OF_ORDER"} == expected[what]
    assert kept(run) == books


def as_notification(data: Any) -> Any:
    params = {"channel": f"book.{data['instrument_name']}.raw", "data": data}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


def as_snapshot(book: Book, data: Any) -> Any:
    """What the venue would send to whoever subscribes again after a change."""
    sides = {side: [["new", price, size] for price, size in levels.items()] for side, levels in book.items()}
    kept_fields = {name: data[name] for name in ("timestamp", "instrument_name", "change_id")}
    return {"type": "snapshot", **kept_fields, **sides}
