"""Servers that ended on a full disk are started again when there is room, others are left alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from tickerplant.errors import UserError
from tickerplant.local.revive import AGAIN_S, LOOK_EVERY_S, Reviver
from tickerplant.room import Reserve


@dataclass
class World:
    """A disk, servers and a clock."""

    free: int = 1000
    died: list[str] = field(default_factory=list)
    started: list[list[str]] = field(default_factory=list)
    refuses: bool = False
    now_s: float = 0.0

    def start(self, names: list[str]) -> None:
        if self.refuses:
            raise UserError("no")
        self.started.append(names)
        self.died = [each for each in self.died if each not in names]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(total=1000, free=world.free))
    return world


@pytest.fixture
def look(world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    reserve = Reserve(tmp_path_factory.mktemp("disk"), 100)
    reviver = Reviver(reserve, died=lambda: list(world.died), start=world.start, now_s=lambda: world.now_s)

    def look(after_s: float = LOOK_EVERY_S) -> None:
        world.now_s += after_s
        reviver.look()

    return look


def test_a_server_that_ended_on_a_full_disk_is_started_when_there_is_room(
    world: World, look: Callable[..., None]
) -> None:
    look()
    world.free, world.died = 0, ["broker"]
    look()
    assert world.started == []
    world.free = 500
    look()
    look()

    assert world.started == [["broker"]]


def test_a_server_that_ended_while_there_was_room_is_left_alone(world: World, look: Callable[..., None]) -> None:
    world.died = ["broker"]
    look()
    world.free = 0
    look()
    world.free = 1000
    look()

    assert world.started == []


def test_a_disk_that_was_full_for_a_moment_only_is_noticed_by_the_next_look(
    world: World, look: Callable[..., None]
) -> None:
    world.free = 0
    look()
    world.free, world.died = 1000, ["broker", "clickhouse"]
    look()

    assert world.started == [["broker", "clickhouse"]]


def test_a_server_that_was_taken_down_meanwhile_stays_down(world: World, look: Callable[..., None]) -> None:
    world.free, world.died = 0, ["broker"]
    look()
    world.free, world.died = 1000, []
    look()

    assert world.started == []


def test_a_start_that_fails_is_tried_again_later(world: World, look: Callable[..., None]) -> None:
    world.free, world.died = 0, ["broker"]
    look()
    world.free, world.refuses = 1000, True
    look()
    world.refuses = False
    look()
    assert world.started == []
    look(AGAIN_S)

    assert world.started == [["broker"]]
