"""Mistakes end every command with exit code 2 and one line that says what to do; never with a traceback."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tickerplant import cli, kafka
from tickerplant.cli import demo, replay, roles, venues
from tickerplant.demo.options import write_settings
from tickerplant.settings import Settings, Venue

ROLES = (["produce"], ["process"], ["sink", "clickhouse"], ["sink", "parquet"])
SERVED = (
    ["lag"],
    ["lag-exporter"],
    ["up"],
    ["down"],
    ["status"],
    ["logs", "broker"],
    ["deploy"],
    *ROLES,
    ["top"],
    ["demo"],
)
NOWHERE = """
[kafka]
bootstrap_servers = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[clickhouse]
port = 1
[[venues]]
venue = "BINANCE"
market = "spot"
symbols = ["BTCUSDT"]
"""


class Done(NamedTuple):
    code: int
    out: str
    error: str


Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run a command in this process; logs stay as they are."""
    for module in (demo, replay, roles, venues):
        monkeypatch.setattr(module, "configure_logs", lambda *_: None)
    monkeypatch.setenv("TICKERPLANT_LOCAL__HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["tickerplant", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        printed = capsys.readouterr()
        return Done(code if isinstance(code, int) else -1, printed.out, printed.err)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write_one(text: str) -> str:
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return str(path)

    return write_one


def assert_told(done: Done, *words: str) -> None:
    """One line, and exit code 2."""
    assert done.code == 2
    assert done.error.startswith("tickerplant: ")
    assert done.error.count("\n") == 1
    assert all(word in done.error for word in words), done.error


@pytest.mark.parametrize("command", SERVED, ids=" ".join)
def test_an_unknown_setting_is_told_by_every_command(
    call: Call, write: Callable[[str], str], command: list[str]
) -> None:
    assert_told(call(*command, "--config", write("[kafka]\nsevers = 1\n")), "kafka.severs", "unknown setting")


@pytest.mark.parametrize("command", SERVED, ids=" ".join)
def test_a_missing_settings_file_is_told_by_every_command(call: Call, command: list[str]) -> None:
    assert_told(call(*command, "--config", "absent.toml"), "no settings file at absent.toml", "config --example")


def test_run_tells_them_too(call: Call, write: Callable[[str], str]) -> None:
    assert_told(call("run", "absent.toml"), "no settings file")
    assert_told(call("run", write("colour = 'red'\n")), "colour", "unknown setting")


def test_run_starts_nothing_where_a_venue_cannot_be_captured(
    call: Call, write: Callable[[str], str], tmp_path: Path
) -> None:
    assert_told(call("run", write(NOWHERE.replace("BINANCE", "BINANZE"))), "venue BINANZE is not known: choose of ")
    assert_told(call("run", write(NOWHERE.replace("spot", "margin"))), "BINANCE has no market margin")
    assert not (tmp_path / "home" / "logs").exists()


def test_an_unknown_environment_name_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERPLANT_KAFKA__SERVERS", "x")

    assert_told(call("status"), "kafka.servers", "unknown setting")


def test_a_folder_named_as_settings_is_told(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TICKERPLANT_CONFIG", str(tmp_path))

    assert_told(call("status"), str(tmp_path), "cannot be read")


@pytest.mark.parametrize(
    ("venue", "told"),
    [
        ({"venue": "BINANZE"}, ["venue BINANZE is not known", "BINANCE"]),
        ({"market": "margin"}, ["no market margin", "spot, usdm, coinm"]),
        ({"channels": '["trades"]'}, ["no channel trades", "agg_trade"]),
        ({"symbols": "[]"}, ["at least one symbol"]),
    ],
)
def test_what_cannot_be_captured_is_told_before_any_connection(
    call: Call, write: Callable[[str], str], venue: dict[str, str], told: list[str]
) -> None:
    values = {"venue": "BINANCE", "market": "spot", "symbols": '["BTCUSDT"]'} | venue
    lines = [f"{name} = {value if value.startswith('[') else repr(value)}" for name, value in values.items()]

    assert_told(call("produce", "--config", write("\n".join(["[[venues]]", *lines]))), *told)


def test_nothing_to_capture_is_told(call: Call) -> None:
    assert_told(call("produce"), "nothing to capture", "[[venues]]")


def test_an_unknown_store_is_told(call: Call) -> None:
    assert_told(call("sink", "postgres"), "no store is called postgres", "clickhouse, parquet")


@pytest.mark.parametrize("command", [*ROLES, ["deploy"]], ids=" ".join)
def test_a_broker_that_is_down_is_told(
    call: Call, write: Callable[[str], str], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "CONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(kafka.check_broker, "__defaults__", (0.3,))
    monkeypatch.setattr(kafka.partition_count, "__defaults__", (0.3,))

    done = call(*command, "--config", write(NOWHERE))

    assert_told(done, "does not answer at", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--recording", "absent.gz"], "cannot read the recording absent.gz"),
        (["--recording", "absent.gz", "--market", "margin"], "market margin is none of"),
        (["--pace", "quick"], "pace quick is neither"),
    ],
)
def test_a_demo_that_cannot_be_is_told_before_anything_starts(call: Call, arguments: list[str], told: str) -> None:
    assert_told(call("demo", *arguments), told)


@pytest.mark.parametrize("option", [["--symbols", "0"], ["--rate", "0"], ["--seconds", "0"], ["--rate", "many"]])
def test_numbers_that_make_no_market_are_refused(call: Call, option: list[str]) -> None:
    done = call("demo", *option)

    assert done.code == 2
    assert option[0] in done.error


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("features --venue nope --symbol BTC/USDT --from 2h --to 1h", "venue nope is not known: choose of BINANCE"),
        ("features --venue binance --symbol X --from 1960-01-01 --to 1h", "'1960-01-01' is before 1970"),
        ("features --venue binance --symbol X --from 2h --to 1h --lake a --database b", "give one of them"),
        ("features --venue binance --symbol X --from 2h --to 1h --lake a --store duckdb", "--lake is read as Parquet"),
        ("quality --since 99999d", "'99999d' is before 1970"),
        (f"quality --since {'9' * 400}d", "is before 1970"),
        ("quality --since 2999-01-01", "'2999-01-01' is still to come"),
        ("quality --since=", "'' is no time"),
        ("quality --venue nope", "venue nope is not known"),
        ("quality --coverage --divergence", "give one of them"),
        ("quality --symbol=", "it is empty"),
        ("dead-letters --since=", "'' is no time"),
        ("report --out x.html --since=", "'' is no time"),
        ("replay --topic raw.binance --into again --symbols ,", "--symbols names none"),
        ("checkpoint --once --restore raw.binance:1", "give one of them"),
        ("top --once", "kafka does not answer"),
        ("sinks restart clickhouse", "no process of clickhouse answers here"),
        ("sinks pause parquet", "no process of parquet answers here"),
        ("sinks resume oracle", "no sink is called oracle"),
        ("sink ''", "it is empty"),
        ("logs ../settings", "no log of ../settings"),
        ("logs ''", "it is empty"),
        ("health --role nobody", "no role is called nobody"),
        ("acls --principal=", "it is empty"),
        ("smoke --venue binance --market spot --rest-url nowhere", "nowhere is no URL"),
        ("smoke --venue binance --market margin", "BINANCE has no market margin: choose of spot, usdm, coinm"),
        ("demo --venue nyse", "venue nyse is not known"),
        ("demo --symbols 100000", "1<=x<=2000"),
    ],
)
def test_what_makes_no_sense_is_told_before_any_server_is_asked(
    call: Call, write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    monkeypatch.setenv("TICKERPLANT_CONFIG", write(NOWHERE))

    assert_told(call(*shlex.split(command)), told)


@pytest.mark.parametrize("command", ["venues", "config --example", "completion bash", "status --json", "--help"])
def test_output_that_nobody_takes_ends_a_command_without_a_traceback(command: str) -> None:
    program = [sys.executable, "-m", "tickerplant", *command.split()]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert done.stderr == "tickerplant: output cannot be written: No space left on device\n"


def test_a_pipe_that_was_closed_ends_a_command_in_silence() -> None:
    taken, given = os.pipe()
    os.close(taken)
    program = [sys.executable, "-m", "tickerplant", "config", "--example"]
    done = subprocess.run(program, stdout=given, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    os.close(given)

    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--venue", "mtgox", "--market", "spot"], "mtgox"),
        (["--venue", "binance", "--market", "margin"], "margin"),
        (["--venue", "binance", "--market", "spot"], "absent.gz"),
    ],
)
def test_what_cannot_be_converted_is_told(call: Call, tmp_path: Path, arguments: list[str], told: str) -> None:
    assert_told(call("convert", *arguments, "--out", str(tmp_path / "out"), "absent.gz"), told)
    assert not (tmp_path / "out" / "tick.parquet").exists()


def test_a_file_of_no_known_format_is_told(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")

    done = call("convert", "--venue", "binance", "--market", "spot", "--out", str(tmp_path / "out"), str(path))

    assert_told(done, "no recording of a known format", "hftbacktest, cryptofeed")


def test_a_log_that_is_not_there_is_told_with_those_that_are(call: Call, tmp_path: Path) -> None:
    logs = tmp_path / "home" / "logs"
    logs.mkdir(parents=True)
    (logs / "broker.log").write_text("one\ntwo\n")

    assert_told(call("logs", "brokr"), "no log of brokr", "there are: broker")
    assert call("logs", "broker", "--lines", "1") == Done(0, "two\n", "")


def test_a_missing_argument_is_told_with_the_usage(call: Call) -> None:
    done = call("sink")

    assert done.code == 2
    assert "Missing argument 'STORE'" in done.error


def test_status_prints_one_json_list(call: Call) -> None:
    done = call("status", "--json")

    assert done.code == 0
    assert {row["state"] for row in json.loads(done.out)} == {"stopped"}


def test_the_program_itself_ends_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tickerplant", "sink", "postgres"]

    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False)

    assert_told(Done(done.returncode, done.stdout, done.stderr), "no store is called postgres")
    assert done.stdout == ""


@pytest.mark.stack
def test_a_symbol_that_the_venue_does_not_list_is_told_with_its_neighbours(
    stack: Settings, call: Call, tmp_path: Path, exchange_info: str
) -> None:
    venue = Venue(venue="BINANCE", market="spot", symbols=("BTCUSDX",), rest_url=exchange_info)
    local = stack.local.model_copy(update={"home": tmp_path / "home"})
    write_settings(stack.model_copy(update={"venues": (venue,), "local": local}), tmp_path / "x.toml")

    assert_told(call("produce", "--config", str(tmp_path / "x.toml")), "does not list BTCUSDX", "BTCUSDT")
