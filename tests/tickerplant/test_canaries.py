"""Every secret is a canary: whatever a command does, and however it fails, none is seen."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tickerplant.configuration import secret_places
from tickerplant.local import stack as local_stack
from tickerplant.local.clickhouse import ClickHouse
from tickerplant.local.ports import with_local
from tickerplant.local.process import find, read_pid_file
from tickerplant.local.s3 import ObjectStore
from tickerplant.settings import Settings, load_settings

PREFIX = "TICKERPLANT_"
CANARY = "canary"
CANARIES = {
    f"{PREFIX}{section.upper()}__{name.upper()}": f"{CANARY}-{section}-{name}" + ("" if "access" in name else "/+'x")
    for section, name in (place for place in secret_places() if len(place) == 2)
}
COMMANDS = [
    ("config",),
    ("config", "--json"),
    ("status", "--json"),
    ("deploy",),
    ("deploy", "--json"),
    ("produce",),
    ("process",),
    ("sink", "clickhouse"),
    ("sink", "parquet"),
    ("top", "--once", "--json"),
    ("lag", "--json"),
    ("acls", "--apply"),
    ("logs", "nobody"),
    ("sink", "nobody"),
    ("doctor",),
    ("doctor", "--json"),
]
FOUND_WRONG = 1
"""Exit code of the doctor where nobody answers."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All secrets set, nobody listening anywhere."""
    folder = tmp_path_factory.mktemp("canaries")
    authority = trustme.CA()
    leaf = authority.issue_cert("client")
    password = CANARIES[f"{PREFIX}KAFKA__SSL_KEY_PASSWORD"].encode()
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    leaf.cert_chain_pems[0].write_to_path(folder / "client.pem")
    (folder / "client.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    )
    plain = {
        "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA__SASL_USERNAME": "me",
        "KAFKA__SSL_CA_LOCATION": str(folder / "ca.pem"),
        "KAFKA__SSL_CERTIFICATE_LOCATION": str(folder / "client.pem"),
        "KAFKA__SSL_KEY_LOCATION": str(folder / "client.key"),
        "REGISTRY__URL": "http://127.0.0.1:1",
        "REGISTRY__USERNAME": "me",
        "OBJECT_STORE__ENDPOINT_URL": "http://127.0.0.1:1",
        "CLICKHOUSE__PORT": "1",
        "LOCAL__HOME": str(folder / "home"),
        "LOG_LEVEL": "debug",
        "VENUES": '[{"venue": "BINANCE", "market": "spot", "symbols": ["BTCUSDT"]}]',
    }
    return {f"{PREFIX}{name}": value for name, value in plain.items()} | CANARIES


def test_every_secret_setting_has_a_canary(environment: dict[str, str]) -> None:
    settings = load_settings(environment=environment)

    values = [getattr(getattr(settings, section), name) for section, name in secret_places()]
    assert all(CANARY in value.get_secret_value() for value in values)
    assert len(values) >= 7


@pytest.mark.timeout(240)
def test_no_command_shows_a_secret(environment: dict[str, str]) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tickerplant", *words],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for words in COMMANDS
    ]
    said = {words: process.communicate(timeout=200)[0] for words, process in zip(COMMANDS, started, strict=True)}

    assert {words for words, text in said.items() if CANARY in text} == set()
    codes = {words: process.returncode for words, process in zip(COMMANDS, started, strict=True)}
    assert {codes.pop(words) for words in COMMANDS if words[0] == "doctor"} == {FOUND_WRONG}, said
    assert set(codes.values()) <= {0, 2}, said
    assert all("Traceback" not in text for text in said.values())
    home = Path(environment[f"{PREFIX}LOCAL__HOME"])
    assert [file for file in home.rglob("*") if file.is_file() and CANARY in file.read_text(errors="replace")] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA__SASL_MECHANISM", ""),
        ("REGISTRY__URL", "https://me:canary-in-url@127.0.0.1"),
        ("KAFKA__SSL_KEY_PASSWORD", "canary-wrong"),
        ("CLICKHOUSE__PASSWORD", "file:/canary-is-a-path-here/../absent"),
        ("KAFKA__PARTITIONS", "canary-kafka-sasl_password/+'x"),
        ("OBJECT_STORE__SECRET_KEY", ""),
    ],
)
def test_no_mistake_in_settings_shows_a_secret(environment: dict[str, str], name: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tickerplant", "config"],
        env=os.environ | environment | {f"{PREFIX}{name}": value},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert CANARY not in done.stderr.replace("canary-is-a-path-here", "")


def test_a_traceback_shows_no_secret(environment: dict[str, str]) -> None:
    program = """
import sys, threading
from tickerplant import cli
from tickerplant.settings import load_settings

@cli.cli.command()
def boom():
    secret = load_settings().kafka.sasl_password.get_secret_value()
    def fail():
        raise ValueError(secret)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    raise RuntimeError(f"connect to https://me:canary-url@host with {secret!r}, password=canary-other")

sys.argv = ["tickerplant", "boom"]
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "RuntimeError: connect to https://me:**********@host" in done.stderr
    assert "ValueError: **********" in done.stderr
    assert "me:canary" not in done.stderr.replace('f"connect to https://me:canary-url@host', "")


@pytest.fixture
def servers(environment: dict[str, str], tmp_path: Path) -> Iterator[Settings]:
    own = with_local(load_settings(environment=environment), tmp_path, keep_free_ports=False)
    local_stack.up(own, print, servers=(ObjectStore, ClickHouse))
    yield own
    local_stack.down(own, print, servers=(ObjectStore, ClickHouse))


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_servers_keep_their_secrets_out_of_command_lines_logs_and_notes(servers: Settings) -> None:
    home = servers.local.home
    files = [file for folder in ("logs", "run") for file in (home / folder).iterdir()]
    running = [find(read_pid_file(home / "run" / f"{name}.json")) for name in ("s3", "clickhouse")]

    text = "".join(file.read_text(errors="replace") for file in files)
    words = [word for each in running if isinstance(each, psutil.Process) for word in each.cmdline()]
    assert len(words) > 10
    assert CANARY not in text + " ".join(words)
