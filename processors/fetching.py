"""Faust's way from the broker to an agent, made shorter where neither it nor aiokafka has a setting for it.

What is private here is pinned by `tests/processors/test_faust_privates.py`; `docs/decisions/0109` tells what it costs.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Final, NamedTuple

QUIET_S: Final = 5.0
"""A producer writes a CLOCK each second: a partition to which nothing came for longer has none."""
GLANCE_S: Final = 0.1
WAIT: Final = 2  # place of how long is waited for in what is planned

Place = tuple[str, int]
"""Topic and partition."""


class Asked(NamedTuple):
    """An assignment as `Fetcher._get_actions_per_node` reads it, of fewer partitions."""

    tps: list[Any]
    state_value: Callable[[Any], Any]


class Glances:
    """Plans a consumer's fetches: the partitions to which something comes each time, those that are quiet now and then.

    A request names each partition, and so does the answer: those of venues that nobody captures cost most of a fetch.

    Args:
        plan: makes the requests of an assignment, by node.
        now_s: a clock that never goes back.
    """

    def __init__(self, plan: Callable[[Any], Any], now_s: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._now_s = plan, now_s
        self._assignment: Any = None
        self._positions: dict[Place, int | None] = {}
        self._moved_s: dict[Place, float] = {}
        self._asked_s: dict[Place, float] = {}

    def __call__(self, assignment: Any) -> Any:
        """Plan what is to be asked for now; not longer than until the next glance is waited for other things."""
        now_s = self._now_s()
        if assignment is not self._assignment:
            self._assignment, self._positions, self._asked_s = assignment, {}, {}
            self._moved_s = dict.fromkeys(assignment.tps, now_s)
        asked = [tp for tp in assignment.tps if self._is_due(tp, assignment.state_value(tp), now_s)]
        plan = self._plan(Asked(asked, assignment.state_value))
        for _, request in plan[0]:
            for topic, partitions in request.topics:
                self._asked_s |= {(topic, partition): now_s for partition, *_ in partitions}
        return (*plan[:WAIT], min(plan[WAIT], GLANCE_S), *plan[WAIT + 1 :])

    def _is_due(self, tp: Place, state: Any, now_s: float) -> bool:
        position = state.position if state.has_valid_position else None
        if position is None or position != self._positions.get(tp):
            self._positions[tp], self._moved_s[tp] = position, now_s
        return now_s - self._moved_s[tp] < QUIET_S or now_s - self._asked_s.get(tp, 0.0) >= GLANCE_S


class Handing:
    """Stands for `Service.wait_first` of Faust's consumer, which hands each message to its stream by way of four tasks.

    The stream takes a message at once but where its buffer is full: only then are there tasks.

    Args:
        wait_first: of the consumer.
    """

    def __init__(self, wait_first: Callable[..., Awaitable[Any]]) -> None:
        self._wait_first = wait_first

    async def __call__(self, *waited: Any, **options: Any) -> Any:
        """Run what is waited for as far as it comes by itself; the rest as `wait_first` does."""
        first = waited[0]
        if options or not isinstance(first, Coroutine):
            return await self._wait_first(*waited, **options)
        try:
            waits_for = first.send(None)
        except BaseException as end:
            for other in waited[1:]:
                other.close()
            if isinstance(end, StopIteration):
                return None
            raise
        return await self._wait_first(_go_on(first, waits_for), *waited[1:])


async def _go_on(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Any:
    """Go on with a coroutine that waits for something."""
    return await _rest(begun, waits_for)


@coroutine
def _rest(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    try:
        while True:
            try:
                got = yield waits_for
            except BaseException as error:  # noqa: BLE001  # also that it is cancelled is its own affair
                waits_for = begun.throw(error)
            else:
                waits_for = begun.send(got)
    except StopIteration as end:
        return end.value
