"""No way of writing a secret shows it, and what is no secret stays readable."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from tickerplant import masking
from tickerplant.configuration import Loaded, lines, read_settings, remember_secrets, secret_places, shown
from tickerplant.masking import MASK, SHORTEST, mask, masked_output, remember
from tickerplant.settings import Secret, Section, Settings

SECRET = "s3cret/käse'\"\\+ %&"


@pytest.fixture(autouse=True)
def no_secrets() -> Iterator[None]:
    masking.forget()
    yield
    masking.forget()


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        quote,
        lambda text: quote(text, safe=""),
        lambda text: f"<{text}>" * 3,
    ],
)
def test_a_known_secret_is_masked_however_it_is_written(write: object) -> None:
    remember(SECRET)
    assert callable(write)

    shown = mask(f"at the end {write(SECRET)} of it")

    assert MASK in shown
    assert all(part not in shown for part in ("s3cret", "käse"))


class Gate(Section):
    token: Secret = None


class House(Section):
    gate: Gate = Gate()
    back_gate: Gate | None = None
    gates: tuple[Gate, ...] = ()
    doors: Mapping[str, SecretStr] = Field(default_factory=dict)


class Deep(Settings):
    """Settings whose secrets stand deeper than in a section."""

    house: House = House()


def test_a_secret_is_masked_however_deep_it_stands() -> None:
    canaries = [f"canary-{number}" for number in range(4)]
    gates = [Gate(token=SecretStr(each)) for each in canaries]
    house = House(gate=gates[0], back_gate=gates[1], gates=(gates[2],), doors={"front": SecretStr(canaries[3])})
    settings = Deep(house=house)
    loaded = Loaded(settings=settings, sources={}, warnings=())
    remember_secrets(settings)

    assert {place for place in secret_places(Deep) if place[0] == "house"} == {
        ("house", "gate", "token"),
        ("house", "back_gate", "token"),
    }
    assert "canary" not in json.dumps(shown(loaded)) + "".join(lines(loaded)) + repr(settings)
    assert mask(" ".join(canaries)) == " ".join([MASK] * 4)


@given(st.text(min_size=SHORTEST), st.text(max_size=20), st.text(max_size=20))
def test_a_known_secret_never_shows(secret: str, before: str, after: str) -> None:
    masking.forget()
    remember(secret)

    shown = mask(before + secret + after)

    assert secret not in shown.replace(MASK, "") or secret in (before + after)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:hunter2@host/x", f"https://me:{MASK}@host/x"),
        ("http://ghp_token@host/x", f"http://:{MASK}@host/x"),
        ("password=hunter2 next", f"password={MASK} next"),
        ("sasl.password = 'hunter 2', a", f"sasl.password = '{MASK}', a"),
        ('{"secret_key": "hunter2", "b": 1}', f'{{"secret_key": "{MASK}", "b": 1}}'),
        ("{'api_key': 'hunter2'}", f"{{'api_key': '{MASK}'}}"),
        ("GET /?user=me&password=hunter2&a=1", f"GET /?user=me&password={MASK}&a=1"),
        ("Authorization: Basic bWU6aHVudGVyMg==", f"Authorization: {MASK}"),
        ("{'authorization': 'Bearer hunter2'}", f"{{'authorization': '{MASK}'}}"),
        ("X-ClickHouse-Key=hunter2", f"X-ClickHouse-Key={MASK}"),
        ("key AKIAIOSFODNN7EXAMPLE is", f"key {MASK} is"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", MASK),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "setting kafka.sasl_password: the environment has no NAME",
        "clickhouse.password is sent without TLS: set clickhouse.secure",
        "see kafka.sasl_username, sasl_password and sasl_mechanism",
        "ws://127.0.0.1:18765/binance/spot/ws/btcusdt@depth",
        "wss://stream.binance.com:9443/stream?streams=btcusdt@trade/ethusdt@depth@100ms",
        "run `tickerplant deploy`",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    read_settings(None, {})  # whose defaults are no secrets

    assert mask(text) == text


def test_lines_stay_json() -> None:
    remember('a"b\\c')

    line = mask(json.dumps({"event": 'password="x y" a"b\\c', "password": 'q"r', "n": 1, "url": "http://u:p@h"}))

    assert json.loads(line) == {
        "event": f'password="{MASK}" {MASK}',
        "password": MASK,
        "n": 1,
        "url": f"http://u:{MASK}@h",
    }


def test_all_that_a_process_prints_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    remember(SECRET)

    with masked_output():
        sys.stdout.write(f"out {SECRET}\n")
        sys.stderr.write(f"err {SECRET}\n")
        sys.stdout.buffer.write(f"bytes {SECRET}\n".encode())
        logging.getLogger("test").warning("log %s", SECRET)
    shown = capsys.readouterr()

    assert "s3cret" not in shown.out + shown.err
    assert shown.out == f"out {MASK}\nbytes {MASK}\n"


def test_logs_and_tracebacks_are_masked_in_a_process_of_ours(tmp_path: Path) -> None:
    program = """
import logging
from tickerplant.configuration import read_settings
from tickerplant.logs import configure_logs, logger
settings = read_settings().settings
configure_logs("test")
secret = settings.clickhouse.password.get_secret_value()
logger().warning("event", value=secret, nested={"a": [secret]})
try:
    raise ValueError(secret)
except ValueError:
    logger().exception("failed")
    logging.getLogger("library").exception("failed %s", secret)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "TICKERPLANT_CLICKHOUSE__PASSWORD": "canary-value"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr.count(MASK) == 5
    assert "canary" not in done.stdout + done.stderr
