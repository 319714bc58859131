"""Which part of the outputs is read for what an owner wrote after its last snapshot, whatever its clock did."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import written
from processors.pieces import OutputsPiece
from processors.written import plan
from schemas.topics import TICK

US = 1_000_000
BEGIN_US = 10 * 86_400 * US
LEASE_US = 8 * US
PLACE = ("raw.binance", 0)


class MemoryOffsets:
    """One output of records written at these times; the others are empty."""

    def __init__(self, times_us: list[int]) -> None:
        self.times_us = times_us

    def watermarks(self, partitions: dict[str, int]) -> dict[tuple[str, int], tuple[int, int]]:
        return {(name, 0): (0, len(self.times_us) if name == TICK.name else 0) for name in partitions}

    def offsets_at(self, times_ms: dict[tuple[str, int], int]) -> dict[tuple[str, int], int | None]:
        def first(time_ms: int) -> int | None:
            return next((at for at, time_us in enumerate(self.times_us) if time_us // 1000 >= time_ms), None)

        return {place: first(time_ms) for place, time_ms in times_ms.items()}


@given(
    before_s=st.integers(0, 7200),
    step_s=st.integers(-7200, 7200),
    is_stepped_before=st.booleans(),
    ours=st.integers(1, 20),
    others_s=st.lists(st.integers(0, 7200), max_size=20),
)
def test_what_was_written_after_a_snapshot_is_read_whenever_the_clock_was_set(
    before_s: int, step_s: int, is_stepped_before: bool, ours: int, others_s: list[int]
) -> None:
    """A second a record until the snapshot, some of ours after it, then those of others; it is asked at their end.

    The clock is set once: some time before the snapshot, or right after it and then it is asked at once.
    """
    head_us = BEGIN_US + 3600 * US
    seconds = range(0, 3600, 60)
    if is_stepped_before:
        at = max(0, 3600 - before_s)
        early = [BEGIN_US + second * US - (step_s * US if second < at else 0) for second in seconds]
        since_us, shift_us = head_us, 0
    else:
        early = [BEGIN_US + second * US for second in seconds]
        since_us, shift_us, others_s = head_us, min(0, step_s) * US, []
    mine = [head_us + shift_us + number * LEASE_US // 20 for number in range(ours)]
    others = sorted(head_us + LEASE_US + second * US for second in others_s)
    times_us = [*early, *mine, *others]
    head = OutputsPiece(since_us, since_us + LEASE_US, {TICK.name: len(early)}, {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(written, "SHORT_RECORDS", 0)
        offsets: Any = MemoryOffsets(times_us)
        spans, _ = plan(offsets, "", {PLACE: head}, now_us=times_us[-1] + US)

    read = {at for start, end in spans.get((TICK.name, 0), []) for at in range(start, end)}
    assert read >= set(range(len(early), len(early) + ours))
