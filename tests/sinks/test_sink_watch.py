"""A sink that polls and is given nothing is seen; one that is up to date, without servers or told to rest is not."""

from typing import Any

import pytest

from sinks.watch import ASK_S, Seen, SinkWatch, works
from tickerplant.errors import DependencyError
from tickerplant.watchdog import Patience, Work

PLACE = ("cleaned.tick", 1)
NAME = "cleaned.tick:1"


class Broker:
    """Tells where one partition begins and ends; None = it does not answer."""

    def __init__(self) -> None:
        self.bounds_told: tuple[int, int] | None = (0, 10)
        self.asked: list[Any] = []

    def bounds(self, group: str, partitions: Any) -> dict[tuple[str, int], tuple[int, int]]:
        self.asked.append((group, dict(partitions)))
        if self.bounds_told is None:
            raise DependencyError("kafka", "nowhere")
        return {PLACE: self.bounds_told}


class Sink:
    """A sink that is looked at every 5 s."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.committed: int | None = 4
        self.now_s = 0.0
        self.late = 0
        self._watch = SinkWatch("g", self._see, self.broker, now_s=lambda: self.now_s)
        self._patience = Patience(150.0)

    def _see(self) -> Seen | None:
        return None if self.committed is None else Seen({PLACE[0]: {PLACE[1]: self.committed}}, self.late)

    def stuck_within(self, seconds: float, moves: int = 0) -> str | None:
        """Look until so much time is over, or it is stuck; it commits so many records before each look."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += self._patience.look_every_s
            if self.committed is not None:
                self.committed += moves
            found = self._patience.look(self.now_s, self._watch.look())
            if found:
                return found
        return None


@pytest.fixture
def sink() -> Sink:
    return Sink()


def test_one_that_commits_nothing_though_there_is_more_is_stuck(sink: Sink) -> None:
    assert sink.stuck_within(140) is None
    assert sink.stuck_within(60) == NAME


def test_one_that_goes_on_however_slowly_is_not(sink: Sink) -> None:
    sink.broker.bounds_told = (0, 10**9)

    assert sink.stuck_within(1000, moves=1) is None


def test_one_that_waits_for_its_turn_with_a_slow_store_is_not(sink: Sink) -> None:
    for _ in range(10):
        sink.late += 1
        assert sink.stuck_within(100) is None


@pytest.mark.parametrize("bounds", [(0, 4), (4, 4), (10, 10)])
def test_one_that_has_all_there_is_to_be_had_is_not(sink: Sink, bounds: tuple[int, int]) -> None:
    """What has expired is not waited for."""
    sink.broker.bounds_told = bounds

    assert sink.stuck_within(1000) is None


def test_time_without_a_broker_or_at_rest_does_not_count(sink: Sink) -> None:
    for _ in range(3):
        assert sink.stuck_within(100) is None
        sink.broker.bounds_told = None
        assert sink.stuck_within(ASK_S + 10) is None
        sink.broker.bounds_told = (0, 10)
        committed, sink.committed = sink.committed, None
        assert sink.stuck_within(ASK_S + 10) is None
        sink.committed = committed


def test_the_broker_is_asked_each_half_minute(sink: Sink) -> None:
    sink.stuck_within(10 * ASK_S, moves=1)

    assert len(sink.broker.asked) == 10
    assert sink.broker.asked[0] == ("g", {"cleaned.tick": 2})


def test_partitions_that_nobody_has_are_not_looked_at() -> None:
    assert works(Seen({}), {PLACE: (0, 10)}) == {}
    assert works(Seen({"a": {0: 1}}), {("a", 0): (0, 1), ("a", 1): (0, 9)}) == {"a:0": Work((1, 0), is_waiting=False)}
