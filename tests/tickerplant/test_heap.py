"""What was freed goes back to the system, where its libc can do that."""

import psutil
import pytest

from tickerplant import heap

BLOCK_BYTES = 100_000
"""Below the size from which malloc maps each block alone, and gives it back by itself."""


@pytest.mark.skipif(heap._malloc_trim() is None, reason="this libc has no malloc_trim")
def test_freed_blocks_below_one_that_lives_are_given_back() -> None:
    blocks = [bytes(BLOCK_BYTES) for _ in range(600)]
    last = bytes(BLOCK_BYTES)  # the top of the heap: what lies below it does not shrink by itself
    full_bytes = psutil.Process().memory_info().rss
    del blocks

    assert heap.give_back()
    assert full_bytes - psutil.Process().memory_info().rss > 300 * BLOCK_BYTES
    assert len(last) == BLOCK_BYTES


def test_a_libc_without_it_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_malloc_trim", lambda: None)

    assert not heap.give_back()
