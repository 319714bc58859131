"""Probes tell truly who answers: broker, registry, stores; and they tell in time."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from sinks.stores import STORES, make_store
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import BrokerProbe
from tickerplant.probes import common_probes
from tickerplant.registry import RegistryProbe
from tickerplant.settings import ClickHouse, Kafka, ObjectStore, Settings
from tickerplant.settings import Registry as RegistrySettings

TIMEOUT_S = 1.0
SLACK_S = 15.0
"""Of a busy machine; patience of the clients' own (10 to 60 s) would be longer together."""


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def at(port: int) -> Settings:
    url = f"http://127.0.0.1:{port}"
    return Settings(
        kafka=Kafka(bootstrap_servers=f"127.0.0.1:{port}"),
        registry=RegistrySettings(url=url),
        object_store=ObjectStore(endpoint_url=url),
        clickhouse=ClickHouse(port=port),
    )


def probe(settings: Settings, name: str) -> None:
    if name == "kafka":
        with closing(BrokerProbe(settings, TIMEOUT_S)) as ask_broker:
            ask_broker()
    elif name == "registry":
        with closing(RegistryProbe(settings, TIMEOUT_S)) as ask_registry:
            ask_registry()
    else:
        with closing(make_store(settings, name)) as store:
            store.check(TIMEOUT_S)


@pytest.mark.stack
@pytest.mark.parametrize("name", ["kafka", "registry", *STORES])
def test_what_runs_answers(stack: Settings, name: str) -> None:
    deadline_s = time.monotonic() + 40
    while True:
        try:
            probe(stack, name)
        except DependencyError:
            assert time.monotonic() < deadline_s
        else:
            return


@pytest.mark.parametrize("name", ["kafka", "registry", *STORES])
def test_nobody_there_is_told_with_a_reason(name: str) -> None:
    with pytest.raises(DependencyError) as raised:
        probe(at(1), name)

    assert raised.value.hint


@pytest.mark.parametrize("name", ["kafka", "registry", *STORES])
def test_a_server_that_hangs_is_given_up_in_time(silent: int, name: str) -> None:
    began_s = time.monotonic()

    with pytest.raises(DependencyError):
        probe(at(silent), name)

    assert time.monotonic() - began_s < TIMEOUT_S + SLACK_S


@pytest.mark.stack
def test_a_bucket_that_is_not_there_yet_answers_nothing_less(stack: Settings) -> None:
    store = stack.object_store.model_copy(update={"root": "s3://not-made-yet/lake"})

    make_store(stack.model_copy(update={"object_store": store}), "parquet").check(10.0)


def test_a_folder_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    store = ObjectStore(root=str(tmp_path / "a" / "b"))

    make_store(Settings(object_store=store), "parquet").check(TIMEOUT_S)


def test_a_folder_on_a_full_disk_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 0}))

    with pytest.raises(DependencyError, match="make room"):
        make_store(Settings(object_store=ObjectStore(root=str(tmp_path))), "parquet").check(TIMEOUT_S)


@pytest.mark.stack
def test_wrong_credentials_are_a_mistake_that_no_waiting_mends(stack: Settings) -> None:
    store = stack.object_store.model_copy(update={"access_key": SecretStr("nobody")})

    with pytest.raises(UserError, match="object_store"):
        make_store(stack.model_copy(update={"object_store": store}), "parquet").check(10.0)


def test_every_role_probes_broker_and_registry() -> None:
    assert set(common_probes(Settings())) == {"kafka", "registry"}
