"""A local stack moves to ports nobody listens on, and every setting follows."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickerplant.local.ports import is_free, with_local
from tickerplant.settings import Local, Settings

PORTS = tuple(name for name in Local.model_fields if name.endswith("_port"))


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def ports_of(settings: Settings) -> list[int]:
    return [getattr(settings.local, name) for name in PORTS]


def test_a_port_somebody_listens_on_is_not_free(taken: int) -> None:
    assert not is_free(taken)


def test_all_ports_can_be_new(tmp_path: Path) -> None:
    ports = ports_of(with_local(Settings(), tmp_path, keep_free_ports=False))

    assert len(set(ports)) == len(PORTS)
    assert not set(ports) & set(ports_of(Settings()))


def test_a_taken_port_is_replaced_and_the_free_ones_stay(taken: int, tmp_path: Path) -> None:
    free = with_local(Settings(), tmp_path, keep_free_ports=False)
    mine = free.model_copy(update={"local": free.local.model_copy(update={"registry_port": taken})})

    moved = with_local(mine, tmp_path).local

    assert moved.registry_port != taken
    assert moved.model_copy(update={"registry_port": taken}) == mine.local


def test_every_client_setting_points_at_the_stack(tmp_path: Path) -> None:
    settings = with_local(Settings(), tmp_path, keep_free_ports=False)
    local = settings.local

    assert settings.kafka.bootstrap_servers == f"127.0.0.1:{local.kafka_port}"
    assert settings.registry.url == f"http://127.0.0.1:{local.registry_port}/apis/ccompat/v7"
    assert settings.object_store.endpoint_url == f"http://127.0.0.1:{local.s3_port}"
    assert (settings.clickhouse.port, settings.clickhouse.http_port) == (
        local.clickhouse_port,
        local.clickhouse_http_port,
    )


def test_the_home_is_absolute_whatever_the_folder_we_are_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    assert with_local(Settings(), Path("here")).local.home == tmp_path / "here"
