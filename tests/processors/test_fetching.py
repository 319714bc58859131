"""What shortens Faust's fetching: quiet partitions are asked for seldom, messages are handed on without tasks."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from processors.fetching import GLANCE_S, QUIET_S, Glances, Handing

BUSY, QUIET = ("raw.binance", 0), ("raw.okx", 0)
PATIENCE_S = 0.2


class Assignment:
    """As aiokafka's: partitions with positions, None = not known yet."""

    def __init__(self, *tps: tuple[str, int]) -> None:
        self.tps = frozenset(tps)
        self.positions: dict[tuple[str, int], int | None] = dict.fromkeys(tps, 0)

    def state_value(self, tp: tuple[str, int]) -> Any:
        position = self.positions[tp]
        return SimpleNamespace(has_valid_position=position is not None, position=position)


class Fetches:
    """Plans by aiokafka's interface, at a time that is set: each partition that it is told of, while none is asked."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.is_in_flight = False
        self.glances = Glances(self.plan, lambda: self.now_s)

    def plan(self, assignment: Any) -> tuple[Any, ...]:
        request = SimpleNamespace(topics=[(topic, [(number, 0, 1)]) for topic, number in assignment.tps])
        return [] if self.is_in_flight else [(1, request)], {}, PATIENCE_S, False, []

    def asked(self, assignment: Assignment) -> set[str]:
        return {topic for _, request in self.glances(assignment)[0] for topic, _ in request.topics}


def test_a_partition_is_quiet_once_nothing_has_come_for_longer_than_clocks_take() -> None:
    fetches, assignment = Fetches(), Assignment(BUSY, QUIET)
    found = []
    for step in range(4):
        assignment.positions[BUSY] = step
        found.append(fetches.asked(assignment))
        fetches.now_s += QUIET_S / 2
    fetches.now_s -= QUIET_S / 2 - GLANCE_S / 2

    assert [{"raw.binance", "raw.okx"}] * 4 == found
    assert {"raw.binance"} == fetches.asked(assignment)


def quiet() -> tuple[Fetches, Assignment]:
    """Fetches of which one partition is quiet, and was asked for just now."""
    fetches, assignment = Fetches(), Assignment(BUSY, QUIET)
    fetches.asked(assignment)
    fetches.now_s += QUIET_S
    assignment.positions[BUSY] = 1
    fetches.asked(assignment)
    return fetches, assignment


def test_a_quiet_partition_is_asked_for_now_and_then_and_each_time_once_something_came() -> None:
    fetches, assignment = quiet()
    before = fetches.asked(assignment)
    fetches.now_s += 1.5 * GLANCE_S
    glance, after = fetches.asked(assignment), fetches.asked(assignment)
    assignment.positions[QUIET] = 7

    assert ({"raw.binance"}, {"raw.binance", "raw.okx"}, {"raw.binance"}) == (before, glance, after)
    assert {"raw.binance", "raw.okx"} == fetches.asked(assignment)


def test_a_glance_that_was_not_sent_is_made_up_for() -> None:
    fetches, assignment = quiet()
    fetches.now_s += 1.5 * GLANCE_S
    fetches.is_in_flight = True
    fetches.asked(assignment)
    fetches.is_in_flight = False

    assert {"raw.binance", "raw.okx"} == fetches.asked(assignment)


@pytest.mark.parametrize("change", ["assigned anew", "no position"])
def test_what_is_assigned_anew_or_has_no_position_is_asked_for_at_once(change: str) -> None:
    fetches, assignment = quiet()
    if change == "assigned anew":
        assignment = Assignment(BUSY, QUIET)
    else:
        assignment.positions[QUIET] = None

    assert {"raw.binance", "raw.okx"} == fetches.asked(assignment)


def test_nothing_is_waited_for_longer_than_until_the_next_glance() -> None:
    assert Fetches().glances(Assignment(QUIET))[2] == GLANCE_S


async def handed(taking: Any) -> tuple[Any, list[str]]:
    """Hand something on; returns what came of it, and what happened in order."""
    events: list[str] = []

    async def others(*waited: Any, **options: Any) -> Any:
        events.append(f"waits for {len(waited)}" + "".join(options))
        done, pending = await asyncio.wait(list(map(asyncio.ensure_future, waited)), return_when="FIRST_COMPLETED")
        for each in pending:
            each.cancel()
        return done.pop().result()

    found = await Handing(others)(taking(events), asyncio.Event().wait())
    return found, events


async def test_what_is_taken_at_once_makes_no_task() -> None:
    async def takes(events: list[str]) -> None:
        events.append("taken")

    assert await handed(takes) == (None, ["taken"])


async def test_what_has_to_wait_is_waited_for_as_before() -> None:
    async def takes(events: list[str]) -> str:
        events.append("begins")
        await asyncio.sleep(0)
        woken = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(woken.set_result, "woken")
        events.append(await woken)
        return "taken"

    assert await handed(takes) == ("taken", ["begins", "waits for 2", "woken"])


async def test_what_is_stopped_while_it_waits_is_told_so() -> None:
    seen: list[str] = []

    async def full() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    async def stopped(*waited: Any) -> None:
        task = asyncio.ensure_future(waited[0])
        await asyncio.sleep(0)
        task.cancel()
        waited[1].close()
        await asyncio.wait([task])

    await Handing(stopped)(full(), asyncio.Event().wait())

    assert seen == ["ended"]


async def test_errors_of_what_is_taken_are_raised() -> None:
    async def fails(_: list[str]) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await handed(fails)


async def test_other_waits_are_left_as_they_are() -> None:
    async def others(*waited: Any, **options: Any) -> Any:
        return len(waited), options

    assert await Handing(others)(asyncio.Event(), timeout=2) == (1, {"timeout": 2})
