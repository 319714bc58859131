"""A sink that cannot start says why, before it joins a group."""

import socket
from functools import partial

import pytest

from sinks import app
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import partition_count
from tickerplant.settings import ClickHouse, Kafka, ObjectStore, Settings


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"127.0.0.1:{closed.getsockname()[1]}"


@pytest.mark.parametrize("store", ["clickhouse", "parquet"])
def test_without_a_broker_it_says_so(monkeypatch: pytest.MonkeyPatch, nobody: str, store: str) -> None:
    monkeypatch.setattr(app, "partition_count", partial(partition_count, timeout_s=0.3))

    with pytest.raises(DependencyError, match=f"kafka does not answer at {nobody}"):
        app.run(Settings(kafka=Kafka(bootstrap_servers=nobody)), store)


def test_without_its_store_it_says_so(monkeypatch: pytest.MonkeyPatch, nobody: str) -> None:
    monkeypatch.setattr(app, "partition_count", lambda *_: 1)
    clickhouse = ClickHouse(port=int(nobody.rpartition(":")[2]))
    lake = ObjectStore(root="s3://bucket/lake", endpoint_url=f"http://{nobody}")

    with pytest.raises(DependencyError, match=f"clickhouse does not answer at {nobody}"):
        app.run(Settings(clickhouse=clickhouse), "clickhouse")
    with pytest.raises(DependencyError, match="object store does not answer"):
        app.run(Settings(object_store=lake), "parquet")


@pytest.mark.parametrize(
    ("connector", "told"),
    [
        ({"connector_class": "io.S3"}, r"connector.class of ticks is sinks\..*, not io.S3: leave it out"),
        ({"topics": "cleaned.tik"}, "topics of ticks: cleaned.tik is not stored"),
        ({"topics": "cleaned.tick, raw.binanze"}, "topics of ticks: raw.binanze is not stored"),
        ({"topics": "control.command"}, "topics of ticks: control.command is not stored"),
    ],
)
def test_a_connector_that_cannot_be_is_one_line_before_any_connection(connector: dict[str, str], told: str) -> None:
    settings = Settings.model_validate({"connectors": {"clickhouse": {"name": "ticks"} | connector}})

    with pytest.raises(UserError, match=told):
        app.run(settings, "clickhouse")


def test_an_unknown_store_is_named_with_those_there_are() -> None:
    with pytest.raises(UserError, match="there are clickhouse, parquet"):
        app.run(Settings(), "oracle")
