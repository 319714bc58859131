"""Counts of what each hot function does over a small sample, written by hand: held against a baseline in CI.

Run: python -m benchmarks.hot      (writes tests/performance/baseline-<Python's minor version>.json anew)

The sample: each message of tests/messages through its venue's pipeline, a frame a raw record; a record of each kind
that came of them encoded and decoded; deltas of a book; frames into a packer.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from benchmarks.counts import ROOT, Work, count
from fuzz.seeds import lists, whole_messages
from processors.book import Book, Levels, TextBook
from processors.items import Texts
from processors.pipeline import Pipeline
from processors.venues import VENUES
from producers.packer import Lane, Packer
from schemas.codec import Decoder, Encoder, schema_text
from schemas.records import Derived, Frame, FrameKind, RawFrames, Source

BASELINE: Final = ROOT / "tests" / "performance" / f"baseline-{sys.version_info.major}.{sys.version_info.minor}.json"
BEGAN_US: Final = 1_723_161_260_000_000
Run = Callable[[], object]


def measure(names: Iterable[str] | None = None) -> dict[str, Work]:
    """Count over the sample, all warm.

    Args:
        names: of the messages that are in it; None = all there are.
    """
    chosen = sample() if names is None else list(names)
    records = [record for run in playing(chosen) for record in run()]
    for run in runs(chosen, records):
        run()
    fresh = runs(chosen, records)
    return count(lambda: [run() for run in fresh]) | comparisons()


def runs(names: Iterable[str], records: Iterable[Derived]) -> list[Run]:
    """Prepare all that is counted: what happens once in a process is not."""
    return [*playing(names), *encoding(records), apply_deltas, pack]


def sample() -> list[str]:
    """Name all messages there are."""
    return [
        f"{venue} {market} {name}"
        for venue, module in VENUES.items()
        for market in module.MARKETS
        for name in whole_messages(venue, market)
    ]


def playing(names: Iterable[str]) -> list[Callable[[], list[Derived]]]:
    """Prepare to send messages through pipelines, one a venue's market, which know its instrument list."""
    chosen = set(names)
    return [
        _play(venue, market, [each for name, each in whole_messages(venue, market).items() if name in of_market])
        for venue, module in VENUES.items()
        for market in module.MARKETS
        for of_market in [{name for name in whole_messages(venue, market) if f"{venue} {market} {name}" in chosen}]
    ]


def _play(venue: str, market: str, messages: Iterable[Any]) -> Callable[[], list[Derived]]:
    pipeline = Pipeline(venue, f"raw.{venue.lower()}", 0, assume_instruments=True)
    bodies = lists(venue, market)
    for number, body in enumerate(bodies):
        pipeline.process(number, _raw(venue, market, number, "INSTRUMENTS", body))
    payloads = [json.dumps(each, separators=(",", ":")).encode() for each in messages]
    raw = [_raw(venue, market, number, "MESSAGE", each) for number, each in enumerate(payloads, start=len(bodies))]
    return lambda: [
        record
        for offset, each in enumerate(raw, start=len(bodies))
        for record in pipeline.process(offset, each).records
    ]


def encoding(records: Iterable[Derived]) -> list[Run]:
    """Prepare to encode and decode the first record of each kind, and a raw record."""
    kinds: dict[Any, Any] = {(type(each), getattr(each, "kind", "")): each for each in reversed(list(records))}
    return [run for each in [*kinds.values(), _raw("BINANCE", "spot", 0, "MESSAGE", b"{}" * 20)] for run in _code(each)]


def _code(record: Any) -> tuple[Run, Run, Run]:
    shape = type(record)
    encoder, decoder = Encoder(shape, 1), Decoder(shape, lambda _id: schema_text(shape))
    value = encoder.encode(record)
    decoder.decode(value)  # which asks for the schema
    return lambda: encoder.encode(record), lambda: decoder.decode(value), lambda: decoder.decode_fields(value)


def apply_deltas(make: Callable[[float], float] = float) -> None:
    """Apply deltas to books of both sorts, read after each and unread."""
    for book in (Book(), TextBook()):
        for is_read in (False, True):
            apply_to(book, make, is_read=is_read)


def apply_to(book: Book, make: Callable[[float], float], *, is_read: bool) -> None:
    """Fill a book with 200 levels a side, and apply 40 deltas near its top."""
    bids, asks = _side(100.0, -0.1, make), _side(100.1, 0.1, make)
    book.replace(bids, asks, _texts(bids, asks))
    for number in range(40):
        bids = [make(round(100 - number / 10, 1)), make(99.95)], [2.0, number % 2 * 1.0]
        asks = [make(round(100.1 + number / 10, 1))], [number % 3 * 1.0]
        book.apply(bids, asks, _texts(bids, asks))
        if is_read:
            book.is_crossed()
            if isinstance(book, TextBook):
                book.best_texts(10)


def pack() -> None:
    """Put frames of two connections into a packer."""
    packer = Packer("BINANCE", record_bytes=4_000, linger_us=5_000, now_us=lambda: BEGAN_US, emit=lambda _record: None)
    lanes = [Lane(packer, Source(market="spot", connection=name)) for name in ("a", "b")]
    for number in range(100):
        lanes[number % 2].add("MESSAGE", BEGAN_US + number, b"{}" * 50)
    packer.close()


def comparisons() -> dict[str, Work]:
    """Count how often prices are compared or hashed, which is work within C."""
    found = {}
    for book, is_read in ((Book(), False), (Book(), True), (TextBook(), True)):
        told = [0]
        apply_to(book, _counted(told), is_read=is_read)
        name = f"{type(book).__name__}, {'read after each delta' if is_read else 'unread'}"
        found[f"prices compared and hashed by {name}"] = Work(calls=told[0])
    return found


def write(found: dict[str, Work], names: list[str]) -> None:
    """Keep counts as the baseline of this version of Python."""
    lines = [f"  {json.dumps(name)}: {json.dumps(work)}" for name, work in found.items()]
    functions = ",\n".join(lines)
    sampled = ",\n".join(f"  {json.dumps(name)}" for name in names)
    BASELINE.write_text(
        f'{{"fields": {json.dumps(Work._fields)},\n"sample": [\n{sampled}\n],\n"functions": {{\n{functions}\n}}}}\n'
    )


def read(path: Path = BASELINE) -> tuple[list[str], dict[str, Work]]:
    """Read a baseline: the names of its messages, and its counts."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    return kept["sample"], {name: Work(*work) for name, work in kept["functions"].items()}


def _counted(told: list[int]) -> Callable[[float], float]:
    """Make prices that count what is done with them."""

    class Price(float):
        __slots__ = ()

        def __lt__(self, other: float) -> bool:
            told[0] += 1
            return float.__lt__(self, other)

        def __gt__(self, other: float) -> bool:
            told[0] += 1
            return float.__gt__(self, other)

        def __eq__(self, other: object) -> bool:
            told[0] += 1
            return float.__eq__(self, other)

        def __hash__(self) -> int:
            told[0] += 1
            return float.__hash__(self)

    return Price


def _side(best: float, step: float, make: Callable[[float], float]) -> Levels:
    return [make(round(best + step * each, 1)) for each in range(200)], [1.0] * 200


def _texts(bids: Levels, asks: Levels) -> Texts:
    return Texts(*([str(each) for each in row] for row in (*bids, *asks)))


def _raw(venue: str, market: str, number: int, kind: FrameKind, payload: bytes) -> RawFrames:
    time_us = BEGAN_US + number * 1_000
    frame = Frame(source=0, number=number, kind=kind, request="", recv_time_us=time_us, payload=payload)
    source = Source(market=market, connection="c")
    return RawFrames(venue=venue, event_time_us=time_us, sources=[source], frames=[frame])


if __name__ == "__main__":
    names = sample()
    write(measure(names), names)
    print(BASELINE.relative_to(ROOT))
