"""Updates of recorded Kraken books dropped, doubled and swapped: each loss is noticed, and healed by a snapshot.

Spot tells a loss by the checksum of the ten best levels alone: what is changed here changed those.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from schemas.records import DeadLetter, QualityEvent

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(300)]

Sides = list[dict[str, str]]
DEPTH = 1000
MOST_MESSAGES = 100


def changes(message: Any) -> list[tuple[int, str, str]]:
    """List side, price and size of what a message changes, whichever of the two protocols it is of."""
    if isinstance(message, dict):
        rows = [(message["side"] == "sell", message)] if "side" in message else []
        rows += [(is_ask, each) for is_ask, name in enumerate(("bids", "asks")) for each in message.get(name, [])]
        return [(int(is_ask), repr(each["price"]), repr(each["qty"])) for is_ask, each in rows]
    found = []
    for part in message[1:-2]:
        for is_ask, names in enumerate((("bs", "b"), ("as", "a"))):
            found += [(is_ask, row[0], row[1]) for name in names for row in part.get(name, [])]
    return found


def applied(sides: Sides, message: Any) -> Sides:
    """Tell what a book is after a message."""
    after = [dict(side) for side in sides]
    for is_ask, price, size in changes(message):
        after[is_ask].pop(price, None)
        if float(size):
            after[is_ask][price] = size
    return [ranked(side, is_ask=bool(is_ask), most=DEPTH) for is_ask, side in enumerate(after)]


def ranked(side: dict[str, str], *, is_ask: bool, most: int) -> dict[str, str]:
    return dict(sorted(side.items(), key=lambda each: float(each[0]), reverse=not is_ask)[:most])


def checksum(sides: Sides) -> int:
    best = [each for side in reversed(sides) for each in list(side.items())[:10]]
    return zlib.crc32("".join(each.replace(".", "").lstrip("0") for level in best for each in level).encode())


def told(message: Any) -> int | None:
    return int(message[-3]["c"]) if isinstance(message, list) else None


def is_snapshot(message: Any) -> bool:
    return "as" in message[1] if isinstance(message, list) else message["feed"] == "book_snapshot"


def name_of(message: Any) -> str:
    return str(message[-1] if isinstance(message, list) else message["product_id"])


def whole(sides: Sides, message: Any) -> Any:
    """Write a book as the snapshot that the venue sends after `message`."""
    if isinstance(message, list):
        levels = [[[price, size, "1618678160.0"] for price, size in side.items()] for side in sides]
        return [0, {"bs": levels[0], "as": levels[1]}, *message[-2:]]
    rows = [[{"price": float(price), "qty": float(size)} for price, size in side.items()] for side in sides]
    return message | {"feed": "book_snapshot", "bids": rows[0], "asks": rows[1]}


class Story:
    """The messages of one book in a recording, and the book after each."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.books: list[Sides] = []

    def add(self, message: Any) -> None:
        before: Sides = [{}, {}] if is_snapshot(message) else self.books[-1]
        self.messages.append(message)
        self.books.append(applied(before, message))

    def choices(self) -> list[int]:
        """List the updates whose loss the next one tells."""
        found = []
        for at in range(1, len(self.messages) // 2):
            following = self.messages[at + 1]
            without = checksum(applied(self.books[at - 1], following))
            if told(following) is None or without != told(following):
                found.append(at)
        return found


@cache
def stories(folder: Path, name: str) -> list[Story]:
    """Read the first messages of each book of a recording."""
    found: dict[str, Story] = defaultdict(Story)
    for line in (folder / name).read_text().splitlines():
        body = line.partition(": ")[2]
        if '"book' in body and "event" not in body:
            message = json.loads(body)
            story = found[name_of(message)]
            if len(story.messages) < MOST_MESSAGES:
                story.add(message)
    return [each for each in found.values() if each.choices()]


def tell(run: Any, story: Story, place: int, order: list[int]) -> None:
    """Send the messages of a book, those at `place` in this order, and a snapshot once one was asked for."""
    at = 0
    while at < len(story.messages):
        steps = order if at == place else [at]
        for step in steps:
            run.say(story.messages[step])
        at = max(at, *steps) + 1 if steps else at + 1
        if run.commands:
            run.commands.clear()
            run.say(whole(story.books[at - 1], story.messages[at - 1]))


MUTATIONS: dict[str, Callable[[int], list[int]]] = {
    "dropped": lambda _at: [],
    "doubled": lambda at: [at, at],
    "swapped": lambda at: [at + 1, at],
}
FILES = {"spot_v1": "KRAKEN.ws.50.0", "futures": "KRAKEN_FUTURES.ws.1.0"}
NOTICED = {
    ("spot_v1", "dropped"): {"CHECKSUM"},
    ("spot_v1", "doubled"): set(),  # the same sizes twice are the same book, and its checksum fits
    ("spot_v1", "swapped"): {"CHECKSUM"},
    ("futures", "dropped"): {"GAP"},
    ("futures", "doubled"): {"DUPLICATE"},
    ("futures", "swapped"): {"GAP"},
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", MUTATIONS)
@pytest.mark.parametrize("market", FILES)
def test_what_happens_to_an_update_is_noticed_and_healed(
    new_run: Any, recordings: Path, market: str, kind: str, seed: int
) -> None:
    random = Random(seed)
    for story in stories(recordings / "cryptofeed", FILES[market]):
        place = random.choice(story.choices())
        run = new_run(market, "KRAKEN")
        tell(run, story, place, MUTATIONS[kind](place))

        events = [each.kind for each in run.of(QualityEvent)]
        assert not run.of(DeadLetter)
        assert NOTICED[market, kind] <= set(events)
        healed = "BOOK_RESET" in events
        assert healed is (kind != "doubled")
        assert events.count("BOOK_READY") == 1 + healed
        (state,) = run.pipeline.states()
        expected = [{float(p): float(s) for p, s in side.items()} for side in story.books[-1]]
        sizes = state.instrument.base_quantity
        assert [state.keeper.book.bids, state.keeper.book.asks] == [
            {price: sizes(size, price) for price, size in side.items()} for side in expected
        ]
