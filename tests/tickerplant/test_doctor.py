"""The doctor tells what is installed, reachable, taken and short, in bounded time, and what to do about it."""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tickerplant import cli
from tickerplant.doctor import examine, installed, look_at_all, machine, servers
from tickerplant.doctor.finding import Finding
from tickerplant.doctor.kernel_clock import kernel_clock
from tickerplant.doctor.ports import ports
from tickerplant.local.archives import read_lock
from tickerplant.local.ports import with_local
from tickerplant.masking import forget
from tickerplant.settings import Local, ObjectStore, Settings

NOBODY = """
[local]
home = "{folder}/home"
cache = "~/.cache/tickerplant"
[kafka]
bootstrap_servers = "127.0.0.1:{port}"
[registry]
url = "http://127.0.0.1:{port}"
[object_store]
endpoint_url = "http://127.0.0.1:{port}"
[clickhouse]
port = {port}
password = "canary-secret"
"""
SERVERS = ("broker", "registry", "object store", "clickhouse")


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> None:
    forget()


@pytest.fixture
def config(tmp_path: Path) -> Callable[[int], Path]:
    """Writes a settings file whose servers are all at one port."""

    def write(port: int) -> Path:
        path = tmp_path / "my.toml"
        path.write_text(NOBODY.format(folder=tmp_path, port=port))
        return path

    return write


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def by_name(found: list[Finding]) -> dict[str, Finding]:
    return {each.name: each for each in found}


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["tickerplant", "doctor", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    output = capsys.readouterr()
    assert output.err == ""
    return int(ended.value.code or 0), output.out


def test_where_nobody_answers_each_server_is_wrong_and_says_what_to_do(
    config: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = run(monkeypatch, capsys, "--json", "--config", str(config(1)))

    found = json.loads(shown)
    assert (code, found["is_fine"]) == (1, False)
    told = {each["name"]: each for each in found["servers"]}
    assert set(told) == set(SERVERS)
    for each in told.values():
        assert (each["state"], each["facts"]["answers"]) == ("wrong", False)
        assert "tickerplant up" in each["todo"]
    assert found["settings"]["clickhouse"]["password"] == "**********"
    assert {each["name"] for each in found["installed"]} >= {"tickerplant", "python", "libraries", "java"}


def test_people_read_the_settings_that_are_no_defaults_and_what_to_do_at_the_end(
    config: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = run(monkeypatch, capsys, "--config", str(config(1)))

    assert code == 1
    assert "canary" not in shown
    assert "clickhouse.port" in shown
    assert "local.cache" not in shown
    end = shown[shown.index("\nwrong: ") :]
    assert [name for name in SERVERS if f"\n  {name}: " not in end] == []


def test_servers_that_hang_are_given_up(config: Callable[[int], Path], silent: int) -> None:
    report = examine(config(silent))

    assert {each.name for each in report.wrong} >= set(SERVERS)
    assert all(each.todo for each in report.wrong)


def test_settings_that_cannot_be_read_are_what_is_wrong_and_the_rest_is_told(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[kafka]\nsevers = 1\n")

    report = examine(path)

    assert "kafka.severs" in by_name(report.sections["settings_in_force"])["settings"].what
    assert by_name(report.wrong).keys() >= {"settings"}
    assert {"installed", "machine"} <= set(report.sections)


def test_a_look_that_hangs_or_raises_spoils_no_other() -> None:
    never = threading.Event()

    def hang() -> list[Finding]:
        never.wait()
        return []

    def fail() -> list[Finding]:
        raise ValueError("odd\nand more")

    fine = Finding(name="fine", what="well")
    found = look_at_all({"all": [("hangs", hang), ("raises", fail), ("fine", lambda: [fine])]}, 0.05)
    never.set()

    hanging, raising, other = found["all"]
    assert (hanging.name, hanging.state) == ("hangs", "wrong")
    assert (raising.state, raising.what) == ("unknown", "could not be looked at: ValueError odd")
    assert other == fine


def test_a_port_is_free_or_taken_by_somebody_who_is_named(tmp_path: Path) -> None:
    settings = with_local(Settings(), tmp_path, keep_free_ports=False)
    local = settings.local
    with ExitStack() as held:
        for port in (local.kafka_port, local.s3_port, local.simulator_port):
            held.enter_context(socket.create_server(("127.0.0.1", port)))

        found = by_name(ports(settings, answering={"s3"}))

    broker = found["kafka_port"]
    assert f"(pid {os.getpid()})" in broker.what
    assert (broker.state, broker.facts["is"]) == ("wrong", "taken")
    assert "local.kafka_port (and kafka.bootstrap_servers to match)" in broker.todo
    assert {name: found[name].state for name in ("s3_port", "simulator_port", "registry_port")} == {
        "s3_port": "note",  # who answers there is what the settings want
        "simulator_port": "note",
        "registry_port": "fine",
    }


def test_a_port_that_nobody_asks_for_may_be_taken(tmp_path: Path) -> None:
    base = with_local(Settings(), tmp_path, keep_free_ports=False)
    kafka = base.kafka.model_copy(update={"bootstrap_servers": "broker.example:9092"})
    with socket.create_server(("127.0.0.1", base.local.kafka_port)):
        found = by_name(ports(base.model_copy(update={"kafka": kafka}), answering=()))

    assert found["kafka_port"].state == "note"


def test_a_damaged_file_of_a_server_is_named_and_a_missing_one_is_none_of_our_business(tmp_path: Path) -> None:
    damaged = tmp_path / "maven" / read_lock()["s3"].archives[0].coordinate.path
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no jar")

    found = by_name(installed.archives(Settings(local=Local(cache=tmp_path))))

    assert (found["s3 files"].state, found["s3 files"].todo) == ("wrong", f"delete {damaged}")
    assert found["broker files"].state == "note"


def test_a_disk_without_room_and_a_limit_of_files_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1, "total": 10**12}))
    monkeypatch.setattr("resource.getrlimit", lambda _kind: (256, 4096))

    data, _ = machine.disks(Settings(local=Local(home=tmp_path)))
    (files,) = machine.open_files()

    assert (data.state, files.state) == ("wrong", "wrong")
    assert "ulimit -n" in files.todo


@pytest.mark.parametrize(("ahead_s", "state"), [(0, "fine"), (3600, "wrong"), (-60, "wrong")])
def test_a_store_elsewhere_tells_how_far_our_clock_is_off(
    monkeypatch: pytest.MonkeyPatch, ahead_s: int, state: str
) -> None:
    def answer(*_: Any) -> httpx.Response:
        return httpx.Response(403, headers={"date": formatdate(machine.time.time() + ahead_s, usegmt=True)})

    monkeypatch.setattr(machine, "ask_endpoint", answer)

    found = by_name(machine.clocks(Settings(object_store=ObjectStore(endpoint_url="http://store.example"))))

    assert found["clock and store"].state == state


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's clock is asked on Linux alone")
def test_the_kernel_tells_how_its_clock_is_kept() -> None:
    found = kernel_clock()

    assert found is None or found.most_error_us >= 0


@pytest.mark.stack
def test_on_a_running_stack_all_servers_answer_with_their_versions(stack: Settings) -> None:
    asked = (servers.broker, servers.registry, servers.object_store, servers.clickhouse)
    found = by_name([each for ask in asked for each in ask(stack)])

    assert {each.state for each in found.values()} == {"fine"}, found
    assert found["registry"].facts["version"] == read_lock()["registry"].version
    assert found["clickhouse"].facts["version"]
    assert found["broker"].facts["topics"] > 10
    assert {each.facts["is"] for each in ports(stack, answering=())} <= {"ours", "free"}


@pytest.mark.stack
def test_refused_keys_are_not_taken_for_a_server_that_is_away(stack: Settings) -> None:
    wrong = SecretStr("canary-nobody")
    sections = {
        "object_store": stack.object_store.model_copy(update={"access_key": wrong}),
        "clickhouse": stack.clickhouse.model_copy(update={"password": wrong}),
    }
    settings = stack.model_copy(update=sections)

    for finding in (*servers.object_store(settings), *servers.clickhouse(settings)):
        assert (finding.state, finding.facts["is_refused"]) == ("wrong", True)
        assert finding.name.replace(" ", "_") in finding.todo or "ClickHouse" in finding.todo
