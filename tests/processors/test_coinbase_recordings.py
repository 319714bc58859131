"""A recorded session of the Exchange feed, a made one of Advanced Trade: counts, books, sides, what damage does."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.records import DeadLetter, Depth, QualityEvent, Tick, Ticker

SESSION = "COINBASE.ws.28.0"
SYMBOL = "SKL-USD"
Book = dict[str, dict[float, float]]


def messages(path: Path) -> list[Any]:
    """What a session received, read by other means than the product's."""
    return [json.loads(line.partition(": ")[2]) for line in path.read_text().splitlines() if line[:1].isdigit()]


def rebuild(books: dict[str, Book], message: Any) -> None:
    """Apply a message of the Exchange feed to books in plain dictionaries."""
    if message["type"] == "snapshot":
        books[message["product_id"]] = {
            side: {float(price): float(size) for price, size in message[side]} for side in ("bids", "asks")
        }
    elif message["type"] == "l2update":
        for side, price, size in message["changes"]:
            change(books[message["product_id"]]["bids" if side == "buy" else "asks"], float(price), float(size))


def change(levels: dict[float, float], price: float, size: float) -> None:
    levels.pop(price, None)
    if size:
        levels[price] = size


def kept(run: Any) -> dict[str, Book]:
    """Books that stand, as the pipeline keeps them."""
    states = [state for state in run.pipeline.states() if state.keeper.is_valid]
    return {
        state.instrument.venue_symbol: {"bids": state.keeper.book.bids, "asks": state.keeper.book.asks}
        for state in states
    }


def kinds(run: Any) -> Counter[str]:
    return Counter(each.kind for each in run.of(QualityEvent) if each.kind != "ASSUMED_INSTRUMENT")


def agreement(found: list[Any]) -> float:
    """Share of matches at a best price of the book as it was before, whose turned side that price confirms."""
    books: dict[str, Book] = {}
    verdicts = []
    for message in found:
        rebuild(books, message)
        if message["type"] == "match":
            book, price = books[message["product_id"]], float(message["price"])
            bid, ask = max(book["bids"]), min(book["asks"])
            if price in {bid, ask}:
                verdicts.append({"sell": "BUY", "buy": "SELL"}[message["side"]] == ("SELL" if price == bid else "BUY"))
    return sum(verdicts) / len(verdicts)


@pytest.mark.recordings
def test_a_session_gives_what_the_file_holds(new_run: Any, recordings: Path) -> None:
    path = recordings / "cryptofeed" / SESSION
    found = messages(path)
    counts = Counter(each["type"] for each in found)
    run = new_run("exchange", "COINBASE", assume_instruments=False)
    run.play(path)
    books: dict[str, Book] = {}
    for message in found:
        rebuild(books, message)

    matches = [each for each in found if each["type"] in {"match", "last_match"}]
    turned = {"sell": "BUY", "buy": "SELL"}
    assert not run.of(DeadLetter)
    assert kinds(run) == {"BOOK_READY": counts["snapshot"], "CONNECT": 1}
    assert len(run.of(Tick, kind="TRADE")) == len({(each["product_id"], each["trade_id"]) for each in matches}) == 107
    assert Counter(each.side for each in run.of(Tick, kind="TRADE")) == Counter(
        turned[each["side"]] for each in matches
    )
    assert len(run.of(Tick, kind="QUOTE")) == len(run.of(Ticker)) == counts["ticker"]
    assert len(run.of(Depth, is_snapshot=False)) == counts["l2update"]
    assert kept(run) == books
    assert agreement(found) > 0.95


@pytest.mark.recordings
@pytest.mark.parametrize("name", ["tardis-node/coinbase.jsonl", "crypto-msg-parser/coinbase_pro.jsonl"])
def test_single_messages_are_read_but_for_a_broken_level_and_an_answer_by_rest(
    new_run: Any, recordings: Path, name: str
) -> None:
    run = new_run("exchange", "COINBASE")
    run.play(recordings / name)

    reasons = [each.reason for each in run.of(DeadLetter)]
    assert len(run.of(Tick, kind="TRADE")) == 1
    assert len(run.of(Ticker)) == (3 if "tardis" in name else 1)
    if "tardis" in name:
        assert ["0.-10000" in each for each in reasons] == [True]  # the rest of its snapshot is used
    else:
        assert ["type" in each for each in reasons] == [True]
        assert ["orders" in each.detail for each in run.of(QualityEvent, kind="VENUE_NOTICE")] == [True]


@pytest.mark.recordings
@pytest.mark.parametrize("seed", range(3))
def test_updates_that_are_swapped_are_noticed_and_the_book_healed_by_a_snapshot(
    new_run: Any, recordings: Path, seed: int
) -> None:
    found = [
        each for each in messages(recordings / "cryptofeed" / SESSION)
        if each["type"] in {"snapshot", "l2update"} and each["product_id"] == SYMBOL
    ]  # fmt: skip
    at = random.Random(seed).randrange(10, len(found) - 500)
    while found[at]["time"] == found[at + 1]["time"]:
        at += 1
    swapped = [*found[:at], found[at + 1], found[at], *found[at + 2 :]]
    run = new_run("exchange", "COINBASE")
    books: dict[str, Book] = {}
    for message in swapped:
        rebuild(books, message)
        commands = len(run.commands)
        run.say(message)
        if len(run.commands) > commands:
            run.say(as_snapshot(books[SYMBOL], message["time"]))

    assert kinds(run) == {"BOOK_READY": 2, "OUT_OF_ORDER": 1, "BOOK_RESET": 1}
    assert kept(run) == books


def as_snapshot(book: Book, time: str) -> Any:
    """What the venue would send to whoever subscribes again."""
    sides = {name: [[str(price), str(size)] for price, size in side.items()] for name, side in book.items()}
    return {"type": "snapshot", "product_id": SYMBOL, "time": time, **sides}


def made(seed: int) -> Iterator[Any]:
    """Make a session of Advanced Trade, numbers left out: a book, trades and heartbeats."""
    rng = random.Random(seed)
    for at in range(400):
        time = f"2024-08-08T23:54:{at // 10:02}.{at % 10}00Z"
        envelope = {"client_id": "", "timestamp": time}
        if at % 20 == 10:
            yield envelope | {"channel": "heartbeats", "events": [{"heartbeat_counter": at}]}
        elif at % 7 == 3:
            trade = {"trade_id": str(at), "product_id": "BTC-USD", "price": "60000", "size": "1", "side": "BUY"}
            events = [{"type": "update", "trades": [trade | {"time": time}]}]
            yield envelope | {"channel": "market_trades", "events": events}
        else:
            updates = [made_level(rng, time) for _ in range(3 if at else 40)]
            events = [{"type": "update" if at else "snapshot", "product_id": "BTC-USD", "updates": updates}]
            yield envelope | {"channel": "l2_data", "events": events}


def made_level(rng: random.Random, time: str) -> Any:
    is_bid, size = rng.random() < 0.5, rng.choice([0, 0, 1, 2, 3]) / 4
    price = 59_999 - rng.randrange(30) if is_bid else 60_000 + rng.randrange(30)
    side = "bid" if is_bid else "offer"
    return {"side": side, "event_time": time, "price_level": str(price), "new_quantity": str(size)}


def rebuild_advanced(book: Book, message: Any) -> None:
    for event in message["events"] if message["channel"] == "l2_data" else []:
        for each in event["updates"]:
            side = book["bids" if each["side"] == "bid" else "asks"]
            change(side, float(each["price_level"]), float(each["new_quantity"]))


def advanced_snapshot(book: Book, time: str) -> Any:
    """What the venue would send to whoever subscribes again."""
    updates = [
        {"side": side, "event_time": time, "price_level": str(price), "new_quantity": str(size)}
        for name, side in (("bids", "bid"), ("asks", "offer"))
        for price, size in book[name].items()
    ]
    event = {"type": "snapshot", "product_id": "BTC-USD", "updates": updates}
    return {"channel": "l2_data", "timestamp": time, "events": [event]}


DAMAGE = {
    "none": set(),
    "lost": {"GAP", "BOOK_RESET"},
    "doubled": {"VENUE_NOTICE"},
    "swapped": {"GAP", "BOOK_RESET", "VENUE_NOTICE"},
}


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("seed", range(3))
def test_synthetic_messages_that_are_lost_doubled_or_swapped_are_noticed_and_healed(
    new_run: Any, what: str, seed: int
) -> None:
    places = set(random.Random(seed).sample(range(20, 380, 5), 8))
    run, truth = new_run("advanced", "COINBASE"), {"bids": {}, "asks": {}}
    number, held = 0, []
    for at, message in enumerate(made(seed)):
        rebuild_advanced(truth, message)
        sent = [message | {"sequence_num": number}]
        number += 1
        if at in places and what == "doubled":
            sent *= 2
        elif at in places and what != "none":
            held, sent = sent, []
        elif held:
            sent, held = [*sent, *(held if what == "swapped" else [])], []
        commands = len(run.commands)
        run.say(*sent)
        run.take(run.feed.frame(b"", "CLOCK", after_us=120_000_000 if at == 399 else 1_000_000))
        if len(run.commands) > commands:
            run.say(advanced_snapshot(truth, message["timestamp"]) | {"sequence_num": number})
            number += 1

    assert set(kinds(run)) - {"BOOK_READY", "DUPLICATE"} == DAMAGE[what]
    assert kept(run) == {"BTC-USD": truth}
    assert len(run.of(Tick)) >= 57 - 8
