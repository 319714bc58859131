"""A secret setting may name where the secret is; whatever is wrong is one line that never shows it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from moto.server import ThreadedMotoServer

from tickerplant.configuration import read_settings
from tickerplant.errors import UserError
from tickerplant.secrets import as_literal, resolve

CANARY = "canary-4711-secret"
PASSWORD = "TICKERPLANT_CLICKHOUSE__PASSWORD"


def password(environment: dict[str, str]) -> str:
    return read_settings(None, environment).settings.clickhouse.password.get_secret_value()


def file_of(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "secret"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_file_gives_its_text_without_line_ends(tmp_path: Path, end: str) -> None:
    assert password({PASSWORD: f"file:{file_of(tmp_path, CANARY + end)}"}) == CANARY


def test_a_name_that_ends_with_file_names_a_file(tmp_path: Path) -> None:
    assert password({f"{PASSWORD}_FILE": str(file_of(tmp_path, CANARY))}) == CANARY


def test_a_secret_and_its_file_are_not_both_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="both set"):
        password({f"{PASSWORD}_FILE": str(file_of(tmp_path, CANARY)), PASSWORD: "x"})


def test_only_secrets_may_be_named_by_file() -> None:
    with pytest.raises(UserError, match=r"kafka\.topic_suffix_file.*unknown setting"):
        read_settings(None, {"TICKERPLANT_KAFKA__TOPIC_SUFFIX_FILE": "/x"})


def test_another_variable_gives_its_value() -> None:
    assert password({PASSWORD: "env:CLICKHOUSE_PASSWORD", "CLICKHOUSE_PASSWORD": CANARY}) == CANARY


@pytest.mark.parametrize("secret", ["file:x", "env:y", "literal:z", "aws-secretsmanager:n", "plain", "a:b"])
def test_a_secret_that_looks_like_a_reference_can_be_written(secret: str) -> None:
    assert password({PASSWORD: as_literal(secret)}) == secret


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("file:/absent/secret", "/absent/secret cannot be read: No such file"),
        ("file:/", "cannot be read: Is a directory"),
        ("env:NOT_THERE", "the environment has no NOT_THERE"),
        ("env:EMPTY", "env:EMPTY is empty"),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line_with_its_setting(reference: str, told: str) -> None:
    with pytest.raises(UserError, match=rf"^setting clickhouse\.password: .*{told}[^\n]*$"):
        password({PASSWORD: reference, "EMPTY": ""})


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_that_is_no_secret_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)

    with pytest.raises(UserError, match=r"^setting clickhouse\.password: [^\n]*$"):
        password({PASSWORD: f"file:{tmp_path / 'secret'}"})


def test_a_file_that_all_may_read_is_warned_of(tmp_path: Path) -> None:
    private = read_settings(None, {PASSWORD: f"file:{file_of(tmp_path, CANARY)}"})
    public = read_settings(None, {PASSWORD: f"file:{file_of(tmp_path, CANARY, 0o644)}"})

    assert private.warnings == ()
    assert [CANARY not in line and "chmod" in line for line in public.warnings] == [True]


def test_a_settings_file_with_secrets_that_all_may_read_is_warned_of(tmp_path: Path) -> None:
    file = file_of(tmp_path, f'[clickhouse]\npassword = "{CANARY}"\n', 0o644)

    assert ["clickhouse.password" in line for line in read_settings(file, {}).warnings] == [True]
    file.chmod(0o600)
    assert read_settings(file, {}).warnings == ()


@pytest.fixture(scope="module")
def aws() -> Iterator[Any]:
    """Make a client of a Secrets Manager on loopback, which references ask from now on."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        client = Session().create_client("secretsmanager")
        client.create_secret(Name="plain", SecretString=CANARY)
        client.create_secret(Name="team/kafka", SecretString=json.dumps({"password": CANARY, "port": 9092}))
        client.create_secret(Name="binary", SecretBinary=CANARY.encode())
        yield client
        client.close()
    server.stop()


@pytest.mark.parametrize(
    ("name", "secret"),
    [("plain", CANARY), ("team/kafka#password", CANARY), ("team/kafka#port", "9092"), ("binary", CANARY)],
)
def test_secrets_manager_gives_a_secret_or_a_key_of_it(aws: Any, name: str, secret: str) -> None:
    assert password({PASSWORD: f"aws-secretsmanager:{name}"}) == secret


def test_an_arn_names_a_secret(aws: Any) -> None:
    arn = aws.describe_secret(SecretId="team/kafka")["ARN"]

    assert password({PASSWORD: f"aws-secretsmanager:{arn}#password"}) == CANARY


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("absent", "ResourceNotFoundException"),
        ("team/kafka#user", "has no key user"),
        ("plain#password", "not a JSON object"),
        ("", "does not give"),
    ],
)
def test_what_secrets_manager_has_not_is_told_in_one_line(aws: Any, name: str, told: str) -> None:
    with pytest.raises(UserError, match=rf"^setting clickhouse\.password: [^\n]*{told}[^\n]*$") as caught:
        password({PASSWORD: f"aws-secretsmanager:{name}"})

    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}, "Could not connect"),
        ({"AWS_DEFAULT_REGION": ""}, "region"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "credentials"),
    ],
)
def test_without_aws_it_is_told_in_one_line(
    aws: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], told: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)

    with pytest.raises(UserError, match=rf"^AWS Secrets Manager does not give plain: [^\n]*{told}[^\n]*$"):
        resolve("aws-secretsmanager:plain", {}, lambda _: None)
