"""What a producer tells of its health: venues, Kafka, the disk; a full disk closes the gates."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from producers.intake import Gate
from producers.watch import CONNECT_WITHIN_S, STUCK_S, Watch
from tickerplant.health import Health
from tickerplant.room import Reserve


@dataclass
class Scene:
    """One venue with its gate, connections, disk and health."""

    free: int = 1000
    states: Counter[str] = field(default_factory=lambda: Counter({"connecting": 2}))
    gate: Gate = field(default_factory=lambda: Gate(10))
    health: Health = field(default_factory=lambda: Health("produce"))
    watch: Any = None

    def missing(self, now_s: float) -> list[str]:
        self.watch.look(now_s)
        return [each.dependency for each in self.health.missing()]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene()
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(total=10_000, free=scene.free))
    capture: Any = SimpleNamespace(wire=SimpleNamespace(NAME="BINANCE"), states=lambda: scene.states)
    intake: Any = SimpleNamespace(gate=scene.gate)
    scene.watch = Watch(scene.health, [capture], {"BINANCE": intake}, Reserve(tmp_path, 100), begun_s=0.0)
    return scene


def test_a_venue_is_missing_until_one_of_its_connections_is_open(scene: Scene) -> None:
    assert scene.missing(0) == ["venue:BINANCE"]
    scene.states = Counter({"connecting": 1, "connected": 1})

    assert scene.missing(1) == []


def test_a_venue_none_of_whose_connections_is_open_is_missing(scene: Scene) -> None:
    scene.states = Counter({"connected": 2})
    scene.missing(0)
    scene.states = Counter({"reconnecting": 2})

    assert scene.missing(CONNECT_WITHIN_S + 1) == ["venue:BINANCE"]


def test_kafka_that_answers_and_takes_no_records_is_missing(scene: Scene) -> None:
    scene.states = Counter({"connected": 1})
    scene.gate.queued(1, 100)
    assert scene.missing(1) == []
    assert scene.missing(1 + STUCK_S + 1) == ["kafka"]
    scene.gate.delivered(1, 100)

    assert scene.missing(1 + STUCK_S + 2) == []


def test_kafka_that_takes_records_slowly_is_there(scene: Scene) -> None:
    scene.states = Counter({"connected": 1})
    for second in range(100):
        scene.gate.queued(2, 100)
        scene.gate.delivered(1, 50)
        assert scene.missing(second) == []


def test_a_disk_without_room_closes_the_gate_and_is_told(scene: Scene) -> None:
    scene.states = Counter({"connected": 1})
    scene.free = 99
    assert scene.missing(1) == ["disk"]
    assert not scene.gate.is_open
    scene.free = 200

    assert scene.missing(2) == []
    assert scene.gate.is_open


def test_a_gate_that_is_held_stays_closed_whatever_is_delivered() -> None:
    gate = Gate(10)
    gate.queued(11, 0)
    gate.hold()
    gate.delivered(11, 0)
    assert not gate.is_open
    gate.release()

    assert gate.is_open


def test_a_gate_that_is_released_stays_closed_while_too_much_waits() -> None:
    gate = Gate(10)
    gate.hold()
    gate.queued(11, 0)
    gate.release()
    assert not gate.is_open
    gate.delivered(11, 0)

    assert gate.is_open


def test_looking_beats(scene: Scene) -> None:
    clock = [0.0]
    scene.health = scene.watch._health = Health("produce", now_s=lambda: clock[0])  # another clock
    clock[0] = 10_000.0
    assert not scene.health.is_live()
    scene.watch.look(1.0)

    assert scene.health.is_live()
