"""Books of 1,000 levels a side: deltas applied, best quotes and the best 20 levels read after each, beside others.

Run: python -m benchmarks.books [ROUNDS]     (installs the peers into Pythons of their own, below .tickerplant/peers)

All apply the same seeded deltas: 90 % of their levels near the top, levels that come, change and go about alike. What
is read on the way and what is left is compared before the clock starts. Peers are written as their users write them, on
floats as ours: order_book (C, of cryptofeed's author; it sorts when it is read), a SortedDict a side, ccxt's own. Sides
take turns, each a warm process; figures are updates per second of CPU time, a mean of four levels each.

Ours does more: a book can note what changed since it was captured, and gives what is read as lists that stay as they
are; ccxt's best levels are its own, which change with the next delta. Ours takes the parallel lists of records, others
the pairs that venues send.
"""

import gc
import json
import random
import sys
import time
from bisect import bisect_left, insort
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks import peers
from benchmarks.page import rows
from benchmarks.turns import Turns, in_turns
from processors.book import Book, Levels

ROUNDS: Final = 5
LEVELS: Final = 1_000
UPDATES: Final = 4_000
SEED: Final = 8
TICK: Final = 0.1
MIDDLE: Final = 500_000  # ticks
COUNTS: Final = (1, 1, 2, 2, 3, 4, 7, 12)  # levels of an update
NEAR: Final = 0.9
MOST: Final = 20
SEEN_EACH: Final = 50
PLAYS_S: Final = 0.4
PLAYS_LEAST: Final = 3
WORKS: Final = {"apply": "apply", "best": "apply, best quotes each time", "top": "apply, best 20 levels each time"}
PEERS: Final = ("order_book", "sortedcontainers", "ccxt")
AIMS: Final = {"order_book": 0.5}
Update = tuple[list[list[float]], list[list[float]]]  # pairs of bids and asks


def measure(rounds: int = ROUNDS) -> dict[str, Turns]:
    """Compare updates per second; a peer whose book is not what ours is, or that cannot be had, is left out."""
    updates = deltas(SEED)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "deltas.json"
        path.write_text(json.dumps(updates), encoding="utf-8")
        expected, others = look(updates), dict[str, peers.Asked]()
        for name in PEERS:
            try:
                others[name] = alike(name, path, expected, stack)
            except peers.PeerError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
        mine = ours(path)
        stack.callback(mine.close)
        sides, nothing = {"tickerplant": mine} | others, {name: list[float]() for name in ("tickerplant", *PEERS)}
        return {
            title: Turns(
                unit="updates/s",
                sides=nothing | in_turns({name: _rate(each, work) for name, each in sides.items()}, rounds),
                aims=AIMS,
            )
            for work, title in WORKS.items()
        }


def alike(name: str, path: Path, expected: Any, stack: ExitStack) -> peers.Asked:
    """Start a peer, and hold its book against ours.

    Raises:
        peers.PeerError: it cannot be had, or has another book.
    """
    found = peers.asked(name, "play_books.py", name, str(path))
    stack.callback(found.close)
    if found.ask(["apply", 0]) != expected:
        raise peers.PeerError("it has another book")
    return found


def deltas(seed: int) -> list[Update]:
    """Make the deltas: first a whole book, then updates in which about as many levels come as go."""
    chance = random.Random(seed)
    sides = Side(chance, MIDDLE, -1), Side(chance, MIDDLE + 1, 1)
    made: list[Update] = [(sides[0].all(), sides[1].all())]
    for _ in range(UPDATES):
        pairs: Update = ([], [])
        for _ in range(chance.choice(COUNTS)):
            number = chance.randrange(2)
            pairs[number].append(sides[number].change(sides[1 - number].best))
        made.append(pairs)
    return made


class Side:
    """One side of a simulated book, in ticks; `away` = 1 for asks, -1 for bids."""

    def __init__(self, chance: random.Random, best: int, away: int) -> None:
        self._chance, self._away = chance, away
        self._ticks = sorted(away * (best + away * each) for each in range(LEVELS))  # from the best outwards

    @property
    def best(self) -> int:
        """Tell the best price."""
        return self._away * self._ticks[0]

    def all(self) -> list[list[float]]:
        """List all levels, each with a size."""
        return [self._pair(tick, removed=False) for tick in self._ticks]

    def change(self, other: int) -> list[float]:
        """Let a level change, go, or come where none is; never at or beyond the best of the other side."""
        chance = self._chance
        depth = int(chance.expovariate(0.2)) if chance.random() < NEAR else chance.randrange(LEVELS)
        tick = self._ticks[0] + depth - 1
        if -self._away * (self._away * tick - other) >= 0:
            tick = self._ticks[0]
        at = bisect_left(self._ticks, tick)
        is_there = at < len(self._ticks) and self._ticks[at] == tick
        removed = is_there and len(self._ticks) > LEVELS * 0.9 and chance.random() < 1 / 3
        if removed:
            del self._ticks[at]
        elif not is_there:
            insort(self._ticks, tick)
        return self._pair(tick, removed=removed)

    def _pair(self, tick: int, *, removed: bool) -> list[float]:
        size = 0.0 if removed else round(self._chance.uniform(0.001, 20), 3)
        return [round(self._away * tick * TICK, 1), size]


def look(updates: list[Update]) -> Any:
    """Tell what our book shows on the way and what is left, as pairs."""
    book, seen = Book(), []
    for number, update in enumerate(updates):
        book.apply(parallel(update[0]), parallel(update[1]))
        if number % SEEN_EACH == 0:
            seen.append([book.best(), [_pairs(each) for each in book.levels(MOST)]])
    return json.loads(json.dumps([seen, [_pairs(each) for each in book.levels()]]))


def parallel(pairs: list[list[float]]) -> Levels:
    """Turn pairs into the lists of a record."""
    return [price for price, _ in pairs], [size for _, size in pairs]


def seconds(updates: list[tuple[Levels, Levels]], work: str) -> float:
    """Tell the CPU seconds of one pass over the updates, from the whole book on."""
    book = Book()
    whole, *updates = updates
    book.apply(*whole)
    gc.collect()
    began_s = time.process_time()
    if work == "apply":
        for bids, asks in updates:
            book.apply(bids, asks)
    elif work == "best":
        for bids, asks in updates:
            book.apply(bids, asks)
            book.best()
    else:
        for bids, asks in updates:
            book.apply(bids, asks)
            book.levels(MOST)
    return time.process_time() - began_s


def ours(path: Path) -> peers.Asked:
    """Start ours in a process of its own."""
    return peers.Asked([sys.executable, "-m", "benchmarks.books", "--ours", str(path)])


def answer(path: Path) -> None:
    """Answer questions as play_books.py does, until there are no more."""
    updates = [(parallel(bids), parallel(asks)) for bids, asks in json.loads(path.read_text(encoding="utf-8"))]
    for line in sys.stdin:
        work, least_s = json.loads(line)
        found: list[float] = []
        while sum(found) < least_s or len(found) < PLAYS_LEAST:
            found.append(seconds(updates, work))
        print(json.dumps(median(found)), flush=True)


def _rate(side: peers.Asked, work: str) -> Any:
    return lambda: UPDATES / float(side.ask([work, PLAYS_S]))


def _pairs(levels: Levels) -> list[tuple[float, float]]:
    return list(zip(*levels, strict=True))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        answer(Path(sys.argv[2]))
    else:
        for name, turns in measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS).items():
            print(*rows(name, turns), sep="\n")
