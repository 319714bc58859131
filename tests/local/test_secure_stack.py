"""A broker with TLS, SCRAM and ACLs: every role runs with its least rights, and each refusal is one line."""

import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import trustme
from pydantic import SecretStr

from processors.app import Processor
from tickerplant.acls import ALL, ROLES, rights
from tickerplant.demo.options import write_settings
from tickerplant.demo.stores import clickhouse, count_parquet
from tickerplant.deploy import deploy
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import Publisher, check_broker, topic_partitions
from tickerplant.lag import read_lag
from tickerplant.local import stack as local_stack
from tickerplant.local.broker import Broker
from tickerplant.local.identities import USERS, Identities, client_of
from tickerplant.local.ports import with_local
from tickerplant.local.process import find, read_pid_file
from tickerplant.rights import apply, check_rights
from tickerplant.settings import Kafka, Local, Settings, Sink, Venue, load_settings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

LINE_S = 60.0
ARGUMENTS = {"sink-clickhouse": ("sink", "clickhouse"), "sink-parquet": ("sink", "parquet")}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a deployed secure stack, as its administrator; each role's user has the role's rights."""
    base = Settings(local=Local(secure=True), sink=Sink(parquet_roll_s=0.5, flush_ms=200))
    settings = with_local(base, tmp_path_factory.mktemp("secure"), keep_free_ports=False)
    address = f"127.0.0.1:{settings.local.simulator_port}/binance/spot"
    venue = Venue(
        venue="BINANCE", market="spot", symbols=("*",), websocket_url=f"ws://{address}", rest_url=f"http://{address}"
    )
    settings = settings.model_copy(update={"venues": (venue,)})
    local_stack.up(settings, print)
    try:
        apply(settings, rights(), "User:{role}")
        deploy(as_user(settings, "deploy"))
        yield settings
    finally:
        local_stack.down(settings, print)


def as_user(settings: Settings, user: str) -> Settings:
    return settings.model_copy(update={"kafka": client_of(settings.kafka, settings.local.home, user)})


@contextmanager
def running(*arguments: str, log: Path, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of our programs, and end it as an operator would; it must end well."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=out, stderr=out, env=os.environ | (environment or {})
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    assert code == 0, log.read_text()


def eventually(condition: Callable[[], object], what: str, within_s: float = 90.0) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.2)


def run(settings: Settings, *arguments: str, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is to be refused."""
    write_settings(settings, folder / "settings.toml")
    return subprocess.run(
        [sys.executable, "-m", "tickerplant", *arguments, "--config", str(folder / "settings.toml")],
        env=os.environ | {f"TICKERPLANT_KAFKA__{name.upper()}": value for name, value in changes.items()},
        capture_output=True,
        text=True,
        timeout=LINE_S,
        check=False,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line by which a command was refused."""
    assert (done.returncode, done.stdout) == (2, "")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_every_role_does_its_work_with_its_least_rights(secure: Settings, tmp_path: Path) -> None:
    with ExitStack() as roles:
        venue = ("--port", str(secure.local.simulator_port), "--symbols", "2", "--seed", "1", "--rate", "200")
        roles.enter_context(running("tickerplant.local.venue", *venue, log=tmp_path / "venue.log"))
        processes = {}
        for role in ("sink-clickhouse", "sink-parquet", "process", "produce"):
            config = tmp_path / f"{role}.toml"
            write_settings(as_user(secure, role), config)
            arguments = ("tickerplant", *ARGUMENTS.get(role, (role,)), "--config", str(config))
            processes[role] = roles.enter_context(running(*arguments, log=tmp_path / f"{role}.log"))
        control = f"http://127.0.0.1:{secure.local.simulator_port}/control"
        eventually(lambda: subscribed(control), "nobody subscribes")
        httpx.post(f"{control}/start").raise_for_status()

        eventually(lambda: stored(secure), f"nothing is stored; logs in {tmp_path}")
        assert [name for name, each in processes.items() if each.poll() is not None] == []
        assert_loopback_alone([*(each.pid for each in processes.values()), *pids(secure)])
        assert_no_password_is_seen(secure, [*(each.pid for each in processes.values()), *pids(secure)])

    text = "".join(file.read_text() for file in tmp_path.glob("*.log"))
    assert "refuse" not in text
    assert all(Identities.of(secure.local.home).password(user) not in text for user in USERS)


def subscribed(control: str) -> bool:
    try:
        return bool(httpx.get(f"{control}/status").json()["subscribed"])
    except httpx.HTTPError:
        return False


def stored(settings: Settings) -> bool:
    with clickhouse(settings) as client:
        [(rows,)] = client.execute("SELECT count() FROM market_data.tick")
    return bool(rows) and count_parquet(settings)["tick"].rows > 0


def pids(settings: Settings) -> list[int]:
    files = (settings.local.home / "run").glob("*.json")
    found = [find(read_pid_file(file)) for file in files if not file.name.startswith("metrics-")]
    return [each.pid for each in found if each is not None]


def assert_loopback_alone(processes: list[int]) -> None:
    listening = [
        each.laddr
        for pid in processes
        for each in psutil.Process(pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 10
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def assert_no_password_is_seen(settings: Settings, processes: list[int]) -> None:
    words = " ".join(word for pid in processes for word in psutil.Process(pid).cmdline())
    notes = [json.loads(file.read_text()) for file in (settings.local.home / "run").glob("metrics-*.json")]
    assert len(notes) >= 4
    words += "".join(httpx.get(f"http://127.0.0.1:{note['port']}/metrics").text for note in notes)
    home = settings.local.home
    folders = ("logs", "run", "broker", "registry", "s3", "clickhouse", ".")  # what lies deeper is the servers' data
    files = [each for folder in folders for each in (home / folder).iterdir() if each.is_file()]
    kept = {home / "broker" / "server.properties", *(home / "tls").iterdir()}
    words += "".join(each.read_bytes().decode("latin-1") for each in files if each not in kept)
    identities = Identities.of(home)
    assert [user for user in USERS if identities.password(user) in words] == []


def changed(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update=changes)})


def test_a_wrong_password_is_one_line(secure: Settings, tmp_path: Path) -> None:
    line = last_line(run(secure, "process", folder=tmp_path, sasl_password="canary-wrong"))

    assert "refuses tickerplant: SASL authentication error" in line
    assert "see kafka.sasl_username, sasl_password" in line
    assert "canary" not in line


@pytest.mark.parametrize(
    "ask", [check_broker, deploy, Processor, read_lag, lambda settings: apply(settings, rights(), "User:{role}")]
)
def test_whoever_asks_with_a_wrong_password_is_told_at_once(
    secure: Settings, ask: Callable[[Settings], object]
) -> None:
    began_s = time.monotonic()

    with pytest.raises(UserError, match=r"^Kafka at [^\n]* refuses tickerplant: SASL authentication error[^\n]*$"):
        ask(changed(secure, sasl_password=SecretStr("wrong")))
    assert time.monotonic() - began_s < 10


def test_a_running_publisher_that_is_refused_ends_after_its_patience(
    secure: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickerplant.refusals.PATIENCE_S", 0.5)
    publisher = Publisher(changed(secure, sasl_password=SecretStr("wrong")))

    with pytest.raises(UserError, match="SASL authentication error"):
        eventually(lambda: publisher.poll(0.1), "it tries for ever")


def test_a_running_publisher_without_the_right_ends(secure: Settings) -> None:
    publisher = Publisher(as_user(secure, "lag-exporter"))
    publisher.send("cleaned.tick", 0, None, b"x")

    with pytest.raises(UserError, match=r"refuses lag-exporter: [A-Z][a-z ]*uthoriz[^\n]*; `tickerplant acls` tells"):
        publisher.flush()


def test_an_authority_we_do_not_know_is_one_line(secure: Settings, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")

    line = last_line(run(secure, "deploy", folder=tmp_path, ssl_ca_location=str(tmp_path / "other.pem")))

    assert "certificate verify failed" in line
    assert "ssl_ca_location" in line


@pytest.mark.parametrize("role", ["produce", "process", "sink-clickhouse", "sink-parquet"])
def test_a_role_that_has_not_its_rights_is_one_line(secure: Settings, role: str) -> None:
    with pytest.raises(UserError, match=r"^Kafka does not allow deploy to [^\n]*`tickerplant acls` tells[^\n]*$"):
        check_rights(as_user(secure, "deploy"), role)


def test_a_missing_right_on_a_group_is_one_line(secure: Settings, tmp_path: Path) -> None:
    line = last_line(run(as_user(secure, "sink-clickhouse"), "sink", "parquet", folder=tmp_path))

    assert "refuses sink-clickhouse: Group authorization failed; `tickerplant acls` tells" in line


def test_who_may_not_deploy_is_told(secure: Settings) -> None:
    with pytest.raises(UserError, match=r"topic [a-z_.]* cannot be created: Kafka at [^\n]* refuses produce"):
        deploy(as_user(secure, "produce"))
    with pytest.raises(UserError, match="refuses deploy: Cluster authorization failed"):
        apply(as_user(secure, "deploy"), rights(), "User:{role}")


def test_a_client_without_tls_is_told_what_to_look_at(secure: Settings) -> None:
    plain = secure.model_copy(update={"kafka": Kafka(bootstrap_servers=secure.kafka.bootstrap_servers)})

    with pytest.raises(DependencyError, match=r"see kafka\.security_protocol"):
        check_broker(plain, 2.0)


def test_rights_are_enough_and_each_is_needed(secure: Settings) -> None:
    for role in ROLES:
        check_rights(as_user(secure, role), role)
    with pytest.raises(UserError, match="does not allow subscribe to"):
        check_rights(as_user(secure, "subscribe"), "produce")


def test_a_user_sees_only_topics_that_it_has_rights_on(secure: Settings) -> None:
    of_producers = {each.name for each in rights(["produce"]) if each.resource == "topic"}
    assert set(topic_partitions(as_user(secure, "produce"))) == of_producers
    assert set(topic_partitions(secure)) >= set(ALL)


def test_the_controllers_port_wants_the_brokers_certificate(secure: Settings) -> None:
    context = ssl.create_default_context(cafile=Identities.of(secure.local.home).authority)
    address = ("127.0.0.1", secure.local.kafka_controller_port)

    with socket.create_connection(address, 5) as plain:
        try:  # TLS 1.3 tells with the first answer
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
                tls.sendall(b"\0\0\0\0")
                answer = tls.recv(1)
        except (ssl.SSLError, ConnectionError):
            answer = b""
    assert answer == b""


def test_what_holds_keys_is_its_owners_alone(secure: Settings) -> None:
    home = secure.local.home
    files = [*(home / "tls").iterdir(), home / "broker" / "server.properties", home / "s3" / "s3proxy.properties"]

    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((home / "tls").stat().st_mode) == 0o700
    assert not any("AUTHORITY KEY" in file.read_text() for file in files)


def test_settings_follow_a_secure_stack(secure: Settings, tmp_path: Path) -> None:
    environment = {"TICKERPLANT_LOCAL__SECURE": "true", "TICKERPLANT_LOCAL__HOME": str(secure.local.home)}
    identities = Identities.of(secure.local.home)

    administrator = load_settings(environment=environment).kafka
    role = load_settings(environment=environment | {"TICKERPLANT_KAFKA__SASL_USERNAME": "process"}).kafka
    own = load_settings(environment=environment | {"TICKERPLANT_KAFKA__SECURITY_PROTOCOL": "PLAINTEXT"}).kafka

    assert administrator.sasl_password is not None
    assert administrator.sasl_password.get_secret_value() == identities.password("tickerplant")
    assert role.sasl_password is not None
    assert role.sasl_password.get_secret_value() == identities.password("process")
    assert own.sasl_password is None
    assert json.loads(json.dumps(administrator.model_dump(mode="json")))["sasl_password"] == "**********"


def test_data_of_a_broker_without_users_is_not_taken_over(tmp_path: Path) -> None:
    settings = with_local(Settings(local=Local(secure=True)), tmp_path)
    data = tmp_path / "broker" / "data"
    (tmp_path / "broker").mkdir()
    data.mkdir()
    (data / "meta.properties").touch()

    with pytest.raises(UserError, match=r"made without local\.secure"):
        Broker(settings)._format_once(("-cp", ""), tmp_path / "server.properties")
