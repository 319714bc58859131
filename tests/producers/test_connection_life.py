"""States of a connection and waits between tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.connection import STABLE_S, Backoff, Lifecycle


@given(failures=st.integers(0, 2000), chance=st.floats(0, 1, exclude_max=True))
def test_wait_stays_between_half_of_the_first_and_the_most(failures: int, chance: float) -> None:
    backoff = Backoff(1.0, 60.0, failures)

    assert 0.5 <= backoff.next_s(chance) <= 60.0


def test_waits_double_up_to_the_most() -> None:
    backoff = Backoff(1.0, 60.0)

    assert [backoff.next_s(0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_reset_starts_again_with_the_first_wait() -> None:
    backoff = Backoff(1.0, 60.0, failures=5)
    backoff.reset()

    assert backoff.next_s(0.0) == 1.0


def connected_for(seconds: float, failures: int) -> float:
    life = Lifecycle(Backoff(1.0, 60.0, failures))
    life.connecting()
    life.connected(1_000_000)
    return life.lost(1_000_000 + int(seconds * 1e6), 0.0)


def test_only_a_stable_connection_forgets_earlier_failures() -> None:
    assert connected_for(STABLE_S, failures=3) == 1.0
    assert connected_for(STABLE_S - 1, failures=3) == 8.0


def test_states_follow_one_another() -> None:
    life = Lifecycle(Backoff(1.0, 60.0))
    seen = [life.state]
    for step in (life.connecting, lambda: life.lost(0, 0.0), life.connecting, lambda: life.connected(1),
                 lambda: life.succeeded(2), lambda: life.lost(3, 0.0), life.connecting, life.closed):  # fmt: skip
        step()
        seen.append(life.state)

    assert seen == ["disconnected", "connecting", "reconnecting", "connecting", "connected", "connected",
                    "reconnecting", "connecting", "closed"]  # fmt: skip


def test_state_that_cannot_follow_is_a_mistake() -> None:
    life = Lifecycle(Backoff(1.0, 60.0))
    with pytest.raises(RuntimeError, match="disconnected cannot become connected"):
        life.connected(0)
