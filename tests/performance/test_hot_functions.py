"""No hot function does more than 15 % more than the baseline says: counted, so that no busy machine fails it.

Meant? Then `python -m benchmarks.hot` writes the baseline anew; say in the commit why it is worth it.
"""

from pathlib import Path

import pytest

from benchmarks import counts, hot
from benchmarks.counts import Work, count, worse
from processors.book import Book

RENEW = "if that is meant: python -m benchmarks.hot"


@pytest.fixture(scope="module")
def baseline() -> tuple[list[str], dict[str, Work]]:
    if not hot.BASELINE.exists():
        pytest.skip(f"no {hot.BASELINE.name}: other versions of Python have other instructions")
    return hot.read()


def test_no_hot_function_does_more_than_before(baseline: tuple[list[str], dict[str, Work]]) -> None:
    names, before = baseline
    found = "\n".join(worse(hot.measure(names), before))

    assert not found, f"\n{found}\n{RENEW}"


def test_counts_are_the_same_each_time() -> None:
    names = hot.sample()[::9]

    assert hot.measure(names) == hot.measure(names)


def test_a_function_that_comes_to_do_more_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(self: Book) -> tuple[float, float] | None:
        sorted(self.bids)
        return whole(self)

    monkeypatch.setattr(counts, "OURS", (*counts.OURS, f"{Path(__file__).parent}/"))
    before, whole = count(hot.apply_deltas), Book.best
    monkeypatch.setattr(Book, "best", slow)

    assert not worse(before, before)
    assert "processors.book.Book.is_crossed" in "\n".join(worse(count(hot.apply_deltas), before))


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot, "BASELINE", tmp_path / "baseline.json")
    found = {"a.b": Work(1, 20, 30, 3, 0), "c": Work(2, 40)}
    hot.write(found, ["KRAKEN spot ticker"])

    assert hot.read(hot.BASELINE) == (["KRAKEN spot ticker"], found)


BEFORE = {"f": Work(10, 100, 1_000, 20, 10), "f > decode": Work(heavy=10)}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"f": Work(10, 100, 1_150, 23, 10)}, ""),
        ({"f": Work(10, 100, 1_151, 20, 10)}, "f: 1,151 instructions, 1,000 in the baseline (+15%)"),
        ({"f": Work(10, 100, 1_040, 24, 10)}, "f: 24 calls, 20 in the baseline (+20%)"),
        ({"f": Work(10, 170, 1_070, 20, 10)}, "f: 170 instructions of its own, 100 in the baseline (+70%)"),
        ({"f": Work(10, 300, 1_000, 20, 10)}, ""),  # moved into it
        ({"f > decode": Work(heavy=20)}, "f > decode: 20 heavy calls, 10 in the baseline (+100%)"),  # a JSON read twice
        (
            {"f": Work(10, 100, 1_000, 20, 11), "f > sorted": Work(heavy=1)},
            "f: it calls sorted, which it did not",
        ),
        ({"f": Work(10, 100, 1_000, 20, 10), "f > sorted": Work(heavy=1)}, ""),  # moved into it
        ({"f": Work(20, 50, 500, 10, 5)}, ""),
        ({"g": Work(10, 9_000, 9_000, 90, 90)}, ""),  # its callers tell
    ],
)
def test_over_fifteen_per_cent_more_is_worse(now: dict[str, Work], words: str) -> None:
    assert "\n".join(worse(now, BEFORE)) == words
