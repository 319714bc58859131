"""The services of Compose, run here by their own words: same commands, same environment, other addresses.

Broker and registry run from their own distributions with the environment of their images (Kafka's by the program that
its image sets itself up with). S3Proxy and the ClickHouse gateway stand for MinIO and ClickHouse. What the images of
others contain is not run here.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from clickhouse_driver import Client
from confluent_kafka.admin import AdminClient, ConfigResource
from pyarrow.fs import S3FileSystem

from tickerplant.local import stack as local_stack
from tickerplant.local.archives import fetch, read_lock
from tickerplant.local.broker import Broker
from tickerplant.local.clickhouse import ClickHouse
from tickerplant.local.java import java_command
from tickerplant.local.ports import with_local
from tickerplant.local.registry import SchemaRegistry
from tickerplant.local.s3 import ObjectStore
from tickerplant.local.server import cache_folder
from tickerplant.local.unpack import unpack
from tickerplant.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
ROLES = ("producer", "processor", "sink-clickhouse", "sink-parquet", "checkpoint", "compare", "lag-exporter")
HOST = "127.0.0.1"

pytestmark = [pytest.mark.stack, pytest.mark.timeout(480)]


def until(condition: Callable[[], object], told: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


@dataclass
class Machine:
    """Stands for Docker: runs services of the Compose files as processes of this machine.

    Args:
        settings: of the local stack, whose ports take the place of the services' names.
        secrets: folder of the secret files.
    """

    services: dict[str, dict[str, Any]]
    image: Any
    settings: Settings
    secrets: Path
    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def moved(self, text: str, name: str) -> str:
        """Put addresses and folders of this machine in the place of those of the containers."""
        local = self.settings.local
        places = {
            "CLIENT://:9092": f"CLIENT://{HOST}:{local.kafka_port}",
            "CONTROLLER://:9093": f"CONTROLLER://{HOST}:{local.kafka_controller_port}",
            "HOST://:19092": f"HOST://{HOST}:{local.s3_port + 1}",
            "HOST://127.0.0.1:19092": f"HOST://{HOST}:{local.s3_port + 1}",
            "broker:9092": f"{HOST}:{local.kafka_port}",
            "broker:9093": f"{HOST}:{local.kafka_controller_port}",
            "registry:8080": f"{HOST}:{local.registry_port}",
            "object-store:9000": f"{HOST}:{local.s3_port}",
            "venue:18765": f"{HOST}:{local.simulator_port}",
            "/var/lib/kafka/data": str(self.folder / "broker" / "data"),
            "/var/lib/tickerplant": str(self.folder / name),
            "/etc/tickerplant/tickerplant.toml": str(ROOT / "docker" / "tickerplant.toml"),
            "/run/secrets": str(self.secrets),
            "0.0.0.0": HOST,
            "18765": str(local.simulator_port),
        }
        for place, ours in places.items():
            text = text.replace(place, ours)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """Environment of a service, moved."""
        local = self.settings.local
        wanted = {key: str(value) for key, value in self.services[name].get("environment", {}).items()}
        moved = {key: self.moved(value, name) for key, value in wanted.items()}
        ports = {
            "TICKERPLANT_METRICS__PORT": "0",
            "TICKERPLANT_CLICKHOUSE__HOST": HOST,
            "TICKERPLANT_CLICKHOUSE__PORT": str(local.clickhouse_port),
            "TICKERPLANT_CLICKHOUSE__HTTP_PORT": str(local.clickhouse_http_port),
            "QUARKUS_HTTP_PORT": str(local.registry_port),
        }
        return moved | {key: value for key, value in ports.items() if key in moved}

    def start(self, name: str) -> None:
        """Start a service by its entrypoint and command, in a folder of its own."""
        service = self.services[name]
        words = [*service.get("entrypoint", ["tickerplant"]), *service["command"]]
        self.spawn(name, self.image.command(*(self.moved(word, name) for word in words)), self.environment(name))

    def spawn(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Start a program with nothing else in its environment; its home and its temporary files are told apart."""
        for each in (name, f"{name}.home", f"{name}.tmp"):
            (self.folder / each).mkdir(exist_ok=True)
        elsewhere = {"HOME": str(self.folder / f"{name}.home"), "TMPDIR": str(self.folder / f"{name}.tmp")}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                env=self.image.environment(**elsewhere, **environment),
                cwd=self.folder / name,
                stdout=log,
                stderr=log,
            )

    def run(self, name: str) -> int:
        """Run a service that ends by itself; returns its exit code."""
        self.start(name)
        return self.running.pop(name).wait(120)

    def is_healthy(self, name: str) -> bool:
        """Run a service's healthcheck."""
        assert self.running[name].poll() is None, f"{name} ended:\n{self.log(name)}"
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        command = self.image.command(*(self.moved(word, name) for word in words))
        environment = self.image.environment(**self.environment(name))
        done = subprocess.run(command, env=environment, cwd=self.folder / name, capture_output=True, check=False)
        return done.returncode == 0

    def log(self, name: str) -> str:
        """What a service said last."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-2000:]

    def stop(self, name: str) -> None:
        """End what still runs, however."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def machine(image: Any, services: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """All servers that the roles need, the deployment done."""
    folder = tmp_path_factory.mktemp("compose")
    subprocess.run([ROOT / "docker" / "make-secrets.sh", folder / "secrets"], check=True)
    settings = stand_ins(folder)
    machine = Machine(services, image, settings, folder / "secrets", folder)
    with ExitStack() as ends:
        local_stack.up(settings, print, servers=(ObjectStore, ClickHouse))
        ends.callback(local_stack.down, settings, print, servers=(ObjectStore, ClickHouse))
        start_broker(machine)
        ends.callback(machine.stop, "broker")
        until(Broker(settings).is_ready, "the broker does not start")
        start_registry(machine)
        ends.callback(machine.stop, "registry")
        until(SchemaRegistry(settings).is_ready, "the registry does not start")
        assert machine.run("deploy") == 0, machine.log("deploy")
        yield machine


def stand_ins(folder: Path) -> Settings:
    """Settings of the local servers that stand for MinIO and ClickHouse; the bucket is one that nobody has made."""
    secrets = {each.name: each.read_text(encoding="utf-8") for each in (folder / "secrets").iterdir()}
    settings = load_settings(
        environment={
            "TICKERPLANT_CLICKHOUSE__USER": "tickerplant",
            "TICKERPLANT_CLICKHOUSE__PASSWORD": secrets["clickhouse_password"],
            "TICKERPLANT_OBJECT_STORE__ROOT": "s3://another/lake",
            "TICKERPLANT_OBJECT_STORE__ACCESS_KEY": secrets["object_store_access_key"],
            "TICKERPLANT_OBJECT_STORE__SECRET_KEY": secrets["object_store_secret_key"],
        }
    )
    return with_local(settings, folder / "stack", keep_free_ports=False)


def start_broker(machine: Machine) -> None:
    """Set Kafka up as its image does, from the environment alone, and start it.

    Source: https://github.com/apache/kafka/blob/4.3/docker/resources/common-scripts (configure, then `launch`)
    """
    folder = machine.folder / "broker"
    for each in ("default", "mounted", "final", "data"):
        (folder / each).mkdir(parents=True)
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (folder / "default" / name).write_text("\n", encoding="utf-8")
    environment = machine.environment("broker")
    jars = fetch("broker", read_lock()["broker"], cache_folder(machine.settings))
    classpath = ("-cp", os.pathsep.join(map(str, jars)))
    folders = [word for each in ("default", "mounted", "final") for word in (f"--{each}-configs-dir", each)]
    setup = java_command((*classpath, "kafka.docker.KafkaDockerWrapper", "setup", *folders), folder, heap_mb=128)
    subprocess.run(setup, env=machine.image.environment(**environment), cwd=folder, capture_output=True, check=True)
    server = java_command((*classpath, "kafka.Kafka", "final/server.properties"), folder, heap_mb=512)
    machine.spawn("broker", list(server), {})


def start_registry(machine: Machine) -> None:
    """Start the application of the registry's image with the image's environment."""
    locked = read_lock()["registry"]
    cache = cache_folder(machine.settings)
    (archive,) = fetch("registry", locked, cache)
    application = unpack(archive, cache / f"registry-{locked.version}-{locked.archives[0].sha256[:12]}")
    program = ("-jar", str(application / "quarkus-run.jar"))
    command = java_command(program, machine.folder / "registry", heap_mb=256, flags=("-XX:TieredStopAtLevel=1",))
    # Its management port is fixed in the image; here any free one.
    management = {"QUARKUS_MANAGEMENT_HOST": HOST, "QUARKUS_MANAGEMENT_PORT": "0"}
    machine.spawn("registry", list(command), machine.environment("registry") | management)


def test_what_the_image_of_kafka_is_told_reaches_the_broker(machine: Machine) -> None:
    """Every KAFKA_* of Compose is a property, and a property that the local broker has too has its value."""
    lines = (machine.folder / "broker" / "final" / "server.properties").read_text(encoding="utf-8").splitlines()
    properties = dict(line.split("=", 1) for line in lines if "=" in line)
    told = [name for name in machine.services["broker"]["environment"] if name.startswith("KAFKA_")]

    names = {name.removeprefix("KAFKA_").lower().replace("_", ".") for name in told if name != "KAFKA_HEAP_OPTS"}
    assert set(properties) == names
    for name in ("message.max.bytes", "replica.fetch.max.bytes", "auto.create.topics.enable"):
        assert f"{name}={properties[name]}\n" in local_properties(machine.settings)


def local_properties(settings: Settings) -> str:
    from tickerplant.local.broker import server_properties  # noqa: PLC0415  # beside its only use

    return server_properties(settings.local, Path("data"))


@pytest.mark.parametrize("topic", ["kafkasql-journal", "kafkasql-snapshots"])
def test_schemas_do_not_expire_in_kafka(machine: Machine, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": machine.settings.kafka.bootstrap_servers})
    (asked,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    found = {name: entry.value for name, entry in asked.result(30).items()}

    assert (found["cleanup.policy"], found["retention.ms"], found["retention.bytes"]) == ("delete", "-1", "-1")


def test_a_second_deployment_changes_nothing(machine: Machine) -> None:
    assert machine.run("deploy") == 0, machine.log("deploy")
    assert '"topics_created":[]' in machine.log("deploy") or "topics_created           []" in machine.log("deploy")


def test_the_services_carry_data_are_healthy_and_end_in_time(machine: Machine) -> None:
    try:
        for name in ("venue", *ROLES):
            machine.start(name)
        until(lambda: rows_in_clickhouse(machine) > 0 and rows_in_parquet(machine) > 0, "no rows", 180)
        for name in ("venue", *ROLES):
            until(lambda name=name: machine.is_healthy(name), f"{name} is not healthy:\n{machine.log(name)}")

        began = time.monotonic()
        for name in ("venue", *ROLES):
            machine.running[name].send_signal(signal.SIGTERM)
        for name in ROLES:
            grace_s = int(machine.services[name]["stop_grace_period"].rstrip("s"))
            code = machine.running[name].wait(grace_s - (time.monotonic() - began))
            assert code == 0, f"{name} ended with {code}:\n{machine.log(name)}"

        assert written(machine) == []
    finally:
        for name in {"venue", *ROLES} & set(machine.running):
            machine.stop(name)


def written(machine: Machine) -> list[str]:
    """Files that the services left anywhere but in the notes of their ports: their file system is read-only there."""
    found = [
        each
        for name in ROLES
        for part in (name, f"{name}.home", f"{name}.tmp")
        for each in machine.folder.glob(f"{part}/**/*")
    ]
    return [str(each) for each in found if each.is_file() and each.parent.name != "run"]


def rows_in_clickhouse(machine: Machine) -> int:
    clickhouse = machine.settings.clickhouse
    with Client(
        clickhouse.host,
        port=clickhouse.port,
        user=clickhouse.user,
        password=clickhouse.password.get_secret_value(),
    ) as client:
        return int(client.execute("SELECT count() FROM market_data.tick")[0][0])


def rows_in_parquet(machine: Machine) -> int:
    store = machine.settings.object_store
    assert store.access_key
    assert store.secret_key
    lake = S3FileSystem(
        access_key=store.access_key.get_secret_value(),
        secret_key=store.secret_key.get_secret_value(),
        endpoint_override=store.endpoint_url,
    )
    try:
        return int(ds.dataset("tickerplant/lake/cleaned/tick", filesystem=lake, partitioning="hive").count_rows())
    except (FileNotFoundError, OSError):
        return 0
