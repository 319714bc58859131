"""The plan for a rate: arithmetic over figures, written between the marks of its page."""

import pytest

from benchmarks.plan import BEGIN, BUDGET, END, FEED, PAGE, Figures, page, plan
from benchmarks.results import Result

KNOWN = Figures(
    cost_us={
        "produce": 10.0,
        "process": 30.0,
        "sink-clickhouse": 12.0,
        "sink-parquet": 6.0,
        "broker": 4.0,
        "clickhouse": 9.0,
        "s3": 1.0,
    },
    size_bytes={
        "kafka_raw": 60.0,
        "kafka_cleaned": 40.0,
        "clickhouse_raw": 30.0,
        "clickhouse_cleaned": 20.0,
        "parquet_raw": 25.0,
        "parquet_cleaned": 15.0,
    },
    memory_mb={"process": 150.0},
)
FOUND = {
    BUDGET: Result(
        "python -m benchmarks.budget",
        "a machine",
        {"us_per_tick": KNOWN.cost_us, "bytes_per_tick": KNOWN.size_bytes, "memory_mb": KNOWN.memory_mb},
    ),
    FEED: Result("python -m benchmarks.feed", "a machine", {"frame_to_kafka_us": 10.0}),
}


def test_a_plan_by_hand() -> None:
    made = plan(1_000_000, KNOWN)

    assert made.cores["process"] == pytest.approx(30.0)
    assert made.processes["process"] == 50  # at 60 % of a core
    assert made.partitions == 64
    assert made.traffic.written == pytest.approx(100e6)
    assert made.disk_gb["topics"] == pytest.approx(100 * 86_400 * 3 / 1000)
    assert made.price_month == pytest.approx(sum(made.price.values()))


def test_what_is_stored_grows_with_the_rate() -> None:
    once, ten_times = plan(100_000, KNOWN), plan(1_000_000, KNOWN)

    assert ten_times.lake_gb == pytest.approx(10 * once.lake_gb)
    assert ten_times.cores["clickhouse"] == pytest.approx(10 * once.cores["clickhouse"])


def test_a_plan_has_a_machine_for_each_replica() -> None:
    assert plan(1, KNOWN).machines == 3


def test_a_page_changes_between_its_marks_alone() -> None:
    text = f"# Title\n{BEGIN}\nold\n{END}\nthe rest\n"

    made = page(text, FOUND)

    assert made.startswith(f"# Title\n{BEGIN}\n")
    assert made.endswith(f"{END}\nthe rest\n")
    assert "old" not in made
    assert "| processors: processes (cores used) | 1 (0.3) | 5 (3.0) | 50 (30.0) |" in made
    assert page(made, FOUND) == made


def test_a_page_stays_while_nothing_is_measured() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert page(text, {}) == text
    assert text.index(BEGIN) < text.index(END)
