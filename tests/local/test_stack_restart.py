"""The real stack: what was stored before `down` is there after the next `up`, on moved ports too."""

from collections.abc import Iterator
from pathlib import Path

import clickhouse_driver
import httpx
import psutil
import pytest
import s3fs
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tickerplant.local import stack
from tickerplant.local.ports import with_local
from tickerplant.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

SUBJECT = {"schema": '"string"'}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("restart")


@pytest.fixture(scope="module")
def restarted(home: Path) -> Iterator[Settings]:
    """Settings of a stack that was filled, stopped and started again on other ports."""
    before = with_local(Settings(), home, keep_free_ports=False)
    after = with_local(Settings(), home, keep_free_ports=False)
    try:
        stack.up(before, print)
        fill(before)
        stack.down(before, print)
        stack.up(after, print)
        yield after
    finally:
        stack.down(before, print)


def fill(settings: Settings) -> None:
    address: dict[str, str | int | float | bool] = {"bootstrap.servers": settings.kafka.bootstrap_servers}
    admin = AdminClient(address)
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(10)
    producer = Producer(address | {"acks": "all", "enable.idempotence": True})
    producer.produce("kept", b"message")
    assert producer.flush(10) == 0
    httpx.post(f"{settings.registry.url}/subjects/kept-value/versions", json=SUBJECT).raise_for_status()
    object_store(settings).pipe_file("tickerplant/kept", b"object")
    with clickhouse(settings) as client:
        client.execute("CREATE DATABASE kept")
        client.execute("CREATE TABLE kept.t (x Int64) ENGINE = MergeTree ORDER BY x")
        client.execute("INSERT INTO kept.t VALUES", [(42,)])


def object_store(settings: Settings) -> s3fs.S3FileSystem:
    store = settings.object_store
    assert store.access_key is not None
    assert store.secret_key is not None
    return s3fs.S3FileSystem(
        key=store.access_key.get_secret_value(),
        secret=store.secret_key.get_secret_value(),
        endpoint_url=store.endpoint_url,
    )


def clickhouse(settings: Settings) -> clickhouse_driver.Client:
    return clickhouse_driver.Client("127.0.0.1", settings.clickhouse.port)


def test_all_servers_run(restarted: Settings) -> None:
    assert {"running"} == {row.state for row in stack.status(restarted)}


def test_a_second_up_starts_nothing(restarted: Settings) -> None:
    before = [row.pid for row in stack.status(restarted)]

    stack.up(restarted, print)

    assert before == [row.pid for row in stack.status(restarted)]


def test_messages_are_kept(restarted: Settings) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": restarted.kafka.bootstrap_servers,
            "group.id": "restart",
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 1000,
            "heartbeat.interval.ms": 300,
        }
    )
    consumer.subscribe(["kept"])
    message = consumer.poll(20)
    consumer.close()

    assert message is not None
    assert message.value() == b"message"


def test_schemas_are_kept(restarted: Settings) -> None:
    answer = httpx.get(f"{restarted.registry.url}/subjects/kept-value/versions/latest").raise_for_status()

    assert SUBJECT["schema"] == answer.json()["schema"]


def test_objects_are_kept(restarted: Settings) -> None:
    assert object_store(restarted).cat_file("tickerplant/kept") == b"object"


def test_an_object_is_created_only_once(restarted: Settings) -> None:
    with pytest.raises(OSError, match="preconditions"):
        object_store(restarted).pipe_file("tickerplant/kept", b"another", mode="create")


def test_an_object_store_client_without_keys_is_refused(restarted: Settings) -> None:
    assert httpx.get(f"{restarted.object_store.endpoint_url}/tickerplant/kept").status_code == 403


def test_rows_are_kept(restarted: Settings) -> None:
    with clickhouse(restarted) as client:
        assert client.execute("SELECT x FROM kept.t") == [(42,)]


def test_topics_are_never_created_by_use(restarted: Settings) -> None:
    producer = Producer({"bootstrap.servers": restarted.kafka.bootstrap_servers, "message.timeout.ms": 1000})
    errors = list[object]()
    producer.produce("misspelt", b"", on_delivery=lambda error, _: errors.append(error))
    producer.flush(5)

    assert "misspelt" not in producer.list_topics(timeout=5).topics
    assert errors[0] is not None


def test_only_loopback_is_listened_on(restarted: Settings) -> None:
    pids = {row.pid for row in stack.status(restarted)}
    addresses = {
        each.laddr.ip.removeprefix("::ffff:")
        for pid in pids
        for each in psutil.Process(pid).net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }

    assert {"127.0.0.1"} == addresses


def test_the_secret_of_the_object_store_is_for_its_owner_alone(restarted: Settings, home: Path) -> None:
    assert (home / "s3" / "s3proxy.properties").stat().st_mode & 0o777 == 0o600
