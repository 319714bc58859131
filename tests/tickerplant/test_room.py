"""The reserve of the data folder's disk: of a share of it at most, with distance between full and not."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tickerplant.local.ports import with_local
from tickerplant.room import MEGABYTE, Reserve, local_reserve
from tickerplant.settings import Settings


def disk(monkeypatch: pytest.MonkeyPatch, total: int, free: int) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(total=total, free=free))


@pytest.mark.parametrize(("free", "has_room"), [(99, False), (100, True), (10_000, True)])
def test_a_disk_has_room_while_the_reserve_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, *, has_room: bool
) -> None:
    disk(monkeypatch, 100_000, free)

    assert Reserve(tmp_path, 100).look() is has_room


def test_the_reserve_is_a_tenth_of_a_small_disk_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 500, 60)

    assert Reserve(tmp_path, 100).look()


def test_a_full_disk_has_room_again_only_with_some_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = Reserve(tmp_path, 100)
    seen = []
    for free in (99, 101, 124, 125, 100):
        disk(monkeypatch, 100_000, free)
        seen.append(reserve.look())

    assert seen == [False, False, False, True, True]


def test_a_folder_that_is_gone_has_room(tmp_path: Path) -> None:
    assert Reserve(tmp_path / "gone", 2**60).look()


def test_only_a_disk_with_a_local_broker_is_watched(tmp_path: Path) -> None:
    settings = with_local(Settings(), tmp_path)
    assert local_reserve(settings) is None
    (tmp_path / "broker").mkdir()
    assert local_reserve(settings) is not None

    elsewhere = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": "k:9092"})})
    off = settings.model_copy(update={"local": settings.local.model_copy(update={"disk_reserve_mb": 0})})

    assert local_reserve(elsewhere) is None
    assert local_reserve(off) is None


def test_what_is_lacking_names_the_setting(tmp_path: Path) -> None:
    assert "local.disk_reserve_mb" in Reserve(tmp_path, MEGABYTE).lack()
