"""Config files, command lines and folders of the servers follow the settings."""

import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from tickerplant.errors import UserError
from tickerplant.local.broker import Broker, cluster_id, server_properties
from tickerplant.local.clickhouse import ClickHouse
from tickerplant.local.java import java_command
from tickerplant.local.registry import java_properties
from tickerplant.local.s3 import bucket_of, s3proxy_properties, sweep
from tickerplant.local.server import Listener, check_ports, claim_data
from tickerplant.local.stack import SERVERS
from tickerplant.settings import ClickHouse as ClickHouseSettings
from tickerplant.settings import Local, ObjectStore, Settings

LOCAL = Local(kafka_port=1111, kafka_controller_port=2222)


def read_properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_every_server_has_a_name_of_its_own() -> None:
    assert [server.name for server in SERVERS] == ["broker", "registry", "s3", "clickhouse"]


def test_every_default_port_is_used_once(tmp_path: Path) -> None:
    settings = Settings(local=Local(home=tmp_path))
    listeners = [each for server in SERVERS for each in server(settings).listeners]

    assert len(listeners) == len({each.port for each in listeners})


def test_every_listener_names_settings_that_exist() -> None:
    settings = Settings()
    names = [
        name for server in SERVERS for each in server(settings).listeners for name in (each.setting, each.follower)
    ]

    for section, _, key in (name.partition(".") for name in names if name):
        assert hasattr(getattr(settings, section), key)


def test_the_broker_listens_on_loopback_only() -> None:
    properties = read_properties(server_properties(LOCAL, Path("/data")))

    assert properties["listeners"] == "CLIENT://127.0.0.1:1111,CONTROLLER://127.0.0.1:2222"
    assert properties["advertised.listeners"] == "CLIENT://127.0.0.1:1111"


def test_the_broker_never_creates_topics_by_itself() -> None:
    assert read_properties(server_properties(LOCAL, Path("/data")))["auto.create.topics.enable"] == "false"


def test_internal_topics_fit_one_node() -> None:
    properties = read_properties(server_properties(LOCAL, Path("/data")))
    factors = {value for name, value in properties.items() if name.endswith((".replication.factor", ".min.isr"))}

    assert {"1"} == factors


def test_a_cluster_id_is_stable_and_differs_by_folder() -> None:
    assert cluster_id(Path("/a")) == cluster_id(Path("/a")) != cluster_id(Path("/b"))
    assert len(cluster_id(Path("/a"))) == 22


def test_a_broker_without_its_stamp_but_with_topics_is_damaged(tmp_path: Path) -> None:
    settings = Settings(local=Local(home=tmp_path))
    (tmp_path / "broker" / "data" / "raw.binance-0").mkdir(parents=True)

    with pytest.raises(UserError, match=r"meta\.properties.*damaged"):
        Broker(settings)._format_once(("-cp", ""), tmp_path / "server.properties")


def test_the_registry_listens_on_loopback_only() -> None:
    hosts = {value for name, value in java_properties(1, Path("/home")).items() if name.endswith(".host")}

    assert {"127.0.0.1"} == hosts


def test_the_object_store_asks_for_the_keys_of_the_settings(tmp_path: Path) -> None:
    credentials = ObjectStore(access_key=SecretStr("me"), secret_key=SecretStr("hush"))
    properties = read_properties(s3proxy_properties(1, tmp_path, credentials=credentials))

    assert (properties["s3proxy.identity"], properties["s3proxy.credential"]) == ("me", "hush")
    assert properties["s3proxy.authorization"] == "aws-v2-or-v4"


def test_what_a_killed_object_store_had_not_written_to_its_end_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "bucket" / "lake"
    folder.mkdir(parents=True)
    kept = {folder / "tick-0.parquet", folder / "run-9e2a40b1-e925-44c6-a8c7-a00d9fa67ffe", folder / "a.parquet-1"}
    for path in (*kept, folder / "tick-1.parquet-9e2a40b1-e925-44c6-a8c7-a00d9fa67ffe"):
        path.touch()

    sweep(tmp_path)

    assert set(folder.iterdir()) == kept


def test_an_object_store_without_keys_asks_for_none(tmp_path: Path) -> None:
    text = s3proxy_properties(1, tmp_path, credentials=ObjectStore(access_key=None, secret_key=None))

    assert read_properties(text)["s3proxy.authorization"] == "none"


@pytest.mark.parametrize(("root", "bucket"), [("s3://lake/raw/x", "lake"), ("s3://lake", "lake"), ("/data/lake", None)])
def test_the_bucket_is_the_first_part_of_the_root(root: str, bucket: str | None) -> None:
    assert bucket == bucket_of(root)


def test_a_password_is_not_on_the_command_line(tmp_path: Path) -> None:
    secret = ClickHouseSettings(password=SecretStr("hush"))
    launch = ClickHouse(Settings(local=Local(home=tmp_path), clickhouse=secret)).prepare()

    assert "hush" in launch.environment.values()
    assert not any("hush" in part for part in launch.command)


def test_java_writes_into_the_folder_it_was_given(tmp_path: Path) -> None:
    command = java_command(("Main",), tmp_path, heap_mb=64, properties={"a": "b"})

    assert f"-Djava.io.tmpdir={tmp_path / 'tmp'}" in command
    assert {"-Xmx64m", "-XX:-UsePerfData", "-Da=b"} < set(command)
    assert command[-1] == "Main"


def test_a_new_data_folder_is_claimed_and_found_again(tmp_path: Path) -> None:
    claim_data(tmp_path / "s3", version="4.1.0")
    claim_data(tmp_path / "s3", version="4.1.7")


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    claim_data(tmp_path / "s3", version="4.1.0")

    with pytest.raises(UserError, match=r"version 4\.1\.0, this is 4\.2\.0"):
        claim_data(tmp_path / "s3", version="4.2.0")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": 4}', "\x00"])
def test_a_damaged_stamp_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "version.json").write_text(content)

    with pytest.raises(UserError, match="damaged"):
        claim_data(tmp_path, version="4.1.0")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")

    with pytest.raises(UserError, match="not ours"):
        claim_data(tmp_path, version="4.1.0")


def test_a_home_that_cannot_be_made_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UserError, match=r"local\.home"):
        claim_data(tmp_path / "file" / "s3", version="4.1.0")


def test_a_port_in_use_names_the_server_and_the_settings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        listener = Listener(port=port, setting="local.s3_port", follower="object_store.endpoint_url")

        with pytest.raises(UserError, match=rf"port {port} of s3 .*local\.s3_port.*object_store\.endpoint_url"):
            check_ports({"s3": (listener,)})


def test_one_port_for_two_servers_is_refused(free_port: int) -> None:
    with pytest.raises(UserError, match=r"is set for s3 and broker.*local\.kafka_port"):
        check_ports(
            {
                "s3": (Listener(port=free_port, setting="local.s3_port"),),
                "broker": (Listener(port=free_port, setting="local.kafka_port"),),
            }
        )


def test_port_0_is_refused() -> None:
    with pytest.raises(UserError, match=r"local\.s3_port is 0"):
        check_ports({"s3": (Listener(port=0, setting="local.s3_port"),)})


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
