"""Apache Kafka, one KRaft node on loopback. Source: https://kafka.apache.org/documentation/#brokerconfigs."""

import base64
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tickerplant.errors import UserError
from tickerplant.kafka import is_serving
from tickerplant.local.archives import fetch, read_lock
from tickerplant.local.identities import ADMIN, BROKER, USERS, Identities, client_of, make_identities
from tickerplant.local.java import QUICK_START, java_command
from tickerplant.local.ports import HOST, is_free
from tickerplant.local.process import child_environment
from tickerplant.local.server import Home, Launch, Listener, cache_folder, claim_data
from tickerplant.settings import Local, Settings

FORMAT_HEAP_MB = 128
FORMAT_TIMEOUT_S = 60
PROBE_TIMEOUT_S = 1.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
LOGGING = (
    "-Dorg.slf4j.simpleLogger.logFile=System.out",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    # Two thousand lines of settings at each start, ours stand in server.properties.
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.server.config=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.raft.QuorumConfig=warn",
)


class Broker:
    """The Kafka broker and its controller in one process."""

    name: ClassVar[str] = "broker"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = Home.of(settings).data(self.name)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Return the clients' and the controller's port."""
        local = self._settings.local
        return (
            Listener(port=local.kafka_port, setting="local.kafka_port", follower="kafka.bootstrap_servers"),
            Listener(port=local.kafka_controller_port, setting="local.kafka_controller_port"),
        )

    def prepare(self) -> Launch:
        """Fetch the jars, write `server.properties`, format the log folder the first time."""
        locked = read_lock()[self.name]
        jars = fetch(self.name, locked, cache_folder(self._settings))
        claim_data(self._folder, version=locked.version)
        properties = self._folder / "server.properties"
        properties.touch(mode=0o600)
        text = server_properties(self._settings.local, self._folder / "data", self._identities())
        properties.write_text(text, encoding="utf-8")
        classpath = ("-cp", os.pathsep.join(map(str, jars)))
        self._format_once(classpath, properties)
        return Launch(
            command=java_command(
                (*classpath, "kafka.Kafka", str(properties)),
                self._folder,
                heap_mb=self._settings.local.kafka_heap_mb,
                flags=LOGGING,
            )
        )

    def is_ready(self) -> bool:
        """Ask for the cluster's metadata; a broker that may be used names itself in the answer."""
        if self._settings.local.secure:
            return self._lets_us_in()
        try:
            return _known_brokers(self._settings.local.kafka_port) > 0
        except (OSError, struct.error):
            return False

    def finish(self) -> None:
        """Nothing: topics are made by `tickerplant deploy`."""

    def _identities(self) -> Identities | None:
        return make_identities(Home.of(self._settings).path) if self._settings.local.secure else None

    def _lets_us_in(self) -> bool:
        local = self._settings.local
        kafka = client_of(self._settings.kafka, Home.of(self._settings).path)
        ours = kafka.model_copy(update={"bootstrap_servers": f"{HOST}:{local.kafka_port}"})
        return not is_free(local.kafka_port) and is_serving(self._settings.model_copy(update={"kafka": ours}))

    def _format_once(self, classpath: tuple[str, str], properties: Path) -> None:
        data = self._folder / "data"
        secured = self._folder / "secured"
        if (data / "meta.properties").exists():
            if self._settings.local.secure and not secured.exists():
                raise UserError(f"{data} was made without local.secure and has no users: move {self._folder} away")
            return
        if data.exists() and any(data.glob("*-[0-9]*")):
            raise UserError(f"{data} has topics but no meta.properties: it is damaged; move {self._folder} away")
        shutil.rmtree(data, ignore_errors=True)  # a format that was cut short
        identities = self._identities()
        tool = ("kafka.tools.StorageTool", "format", "-t", cluster_id(self._folder), "-c", str(properties))
        users = scram_users(identities) if identities else ()
        command = java_command((*classpath, *tool, *users), self._folder, heap_mb=FORMAT_HEAP_MB, flags=QUICK_START)
        with _argument_file(command[1:], self._folder) as arguments:
            done = subprocess.run(  # noqa: S603  # our own command line
                (command[0], f"@{arguments}"),
                env=child_environment({}),
                capture_output=True,
                text=True,
                timeout=FORMAT_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise UserError(f"kafka cannot format {data}: {' '.join(reason)}")
        if identities is not None:
            secured.touch()


def server_properties(local: Local, data: Path, identities: Identities | None = None) -> str:
    """Return the text of `server.properties`; with identities it holds the password by which the broker lets itself in.

    Args:
        identities: None = anyone on this machine is let in.
    """
    values = {
        "process.roles": "broker,controller",
        "node.id": "1",
        # Static voters: the controller's address is not kept in the log, so its port can be moved.
        "controller.quorum.voters": f"1@{HOST}:{local.kafka_controller_port}",
        "listeners": f"CLIENT://{HOST}:{local.kafka_port},CONTROLLER://{HOST}:{local.kafka_controller_port}",
        "advertised.listeners": f"CLIENT://{HOST}:{local.kafka_port}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "8",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
        "log.retention.check.interval.ms": "60000",
        # After a crash the broker waits until its own former session has expired.
        "broker.session.timeout.ms": "5000",
        "broker.heartbeat.interval.ms": "1000",
        **(_security(identities) if identities else {}),
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def scram_users(identities: Identities) -> tuple[str, ...]:
    """Return the arguments of Kafka's format tool that make the users."""
    users = [f"SCRAM-SHA-512=[name={user},password={identities.password(user)}]" for user in USERS]
    return tuple(word for user in users for word in ("--add-scram", user))


def _security(identities: Identities) -> dict[str, str]:
    """TLS on both ports, SCRAM for clients, a certificate for the controller's; who has no right has none.

    Source: https://kafka.apache.org/documentation/#security
    """
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    jaas = f'{login} username="{ADMIN}" password="{identities.password(ADMIN)}";'
    return {
        "listener.security.protocol.map": "CLIENT:SASL_SSL,CONTROLLER:SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.client.scram-sha-512.sasl.jaas.config": jaas,
        "listener.name.controller.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(identities.broker),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(identities.authority),
        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{ADMIN};User:{BROKER}",
    }


@contextmanager
def _argument_file(arguments: Sequence[str], folder: Path) -> Iterator[Path]:
    """Hand arguments to Java in a file: command lines are seen by every user of the machine."""
    with tempfile.NamedTemporaryFile("w", dir=folder / "tmp", suffix=".args", encoding="utf-8") as file:
        file.writelines('"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"\n' for each in arguments)
        file.flush()
        yield Path(file.name)


def cluster_id(folder: Path) -> str:
    """Return the cluster id of a data folder: the same for the same path; Kafka keeps it in `meta.properties`."""
    digest = uuid.uuid5(uuid.NAMESPACE_URL, folder.as_uri())
    return base64.urlsafe_b64encode(digest.bytes).decode().rstrip("=").replace("-", "A")


def _known_brokers(port: int) -> int:
    """Return how many brokers the Metadata answer (version 1, no topics) counts.

    Source: https://kafka.apache.org/protocol#The_Messages_Metadata
    """
    body = struct.pack(">hhih", 3, 1, 1, -1) + struct.pack(">i", 0)
    with socket.create_connection((HOST, port), timeout=PROBE_TIMEOUT_S) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        (_length, _correlation, brokers) = struct.unpack(">iii", _receive(connection, 12))
    return int(brokers)


def _receive(connection: socket.socket, size_bytes: int) -> bytes:
    received = b""
    while len(received) < size_bytes and (piece := connection.recv(size_bytes - len(received))):
        received += piece
    return received
