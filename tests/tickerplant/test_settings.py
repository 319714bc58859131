"""Settings come from file and environment, refuse what they do not know, and never show a secret."""

import json
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tickerplant.configuration import lines, read_settings, shown
from tickerplant.errors import UserError
from tickerplant.settings import Settings, Venue, load_settings


def written(path: Path, text: str) -> Path:
    file = path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_file_and_environment_the_defaults_hold() -> None:
    assert load_settings(environment={}) == Settings()


def test_a_file_overrides_defaults_and_the_environment_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "[kafka]\npartitions = 8\n[sink]\nflush_ms = 100\n")

    settings = load_settings(file, {"TICKERPLANT_KAFKA__PARTITIONS": "16"})

    assert (settings.kafka.partitions, settings.sink.flush_ms) == (16, 100)


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "log_level = 'debug'\n")

    assert load_settings(environment={"TICKERPLANT_CONFIG": str(file)}).log_level == "debug"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[kafka]\npartitons = 8\n", r"kafka\.partitons.*unknown setting"),
        ("[kafka]\npartitions = 0\n", r"kafka\.partitions.*greater than or equal to 1"),
        ("[sink]\nflush_ms = 'soon'\n", r"sink\.flush_ms.*number"),
        ("[kafka\n", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        load_settings(written(tmp_path, text), {})

    assert "\n" not in str(caught.value)


def test_an_unknown_environment_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"kafka\.bootstrap.*unknown setting"):
        load_settings(environment={"TICKERPLANT_KAFKA__BOOTSTRAP": "x"})


def test_a_section_named_as_a_value_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "kafka = 3\n")

    with pytest.raises(UserError, match="kafka"):
        load_settings(file, {"TICKERPLANT_KAFKA__PARTITIONS": "16"})


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no settings file"):
        load_settings(tmp_path / "absent.toml", {})


def test_venues_of_the_environment_are_json_and_replace_those_of_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "[[venues]]\nvenue = 'BINANCE'\nmarket = 'spot'\nsymbols = ['BTCUSDT']\n")
    wanted = '[{"venue": "BINANCE", "market": "usdm", "symbols": ["ETHUSDT"], "channels": ["trade"]}]'

    settings = load_settings(file, {"TICKERPLANT_VENUES": wanted})

    assert settings.venues == (Venue(venue="BINANCE", market="usdm", symbols=("ETHUSDT",), channels=("trade",)),)


def test_an_empty_list_of_venues_is_none() -> None:
    assert load_settings(environment={"TICKERPLANT_VENUES": "[]"}).venues == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("BTCUSDT", "TICKERPLANT_VENUES is not JSON"),
        ("", "TICKERPLANT_VENUES is not JSON"),
        ('{"venue": "BINANCE"}', "TICKERPLANT_VENUES is not a list"),
        ('[{"venue": "BINANCE"}]', r"venues\.0\.market"),
        ('[{"venue": "BINANCE", "market": "spot", "symbols": [], "channel": []}]', r"venues\.0\.channel:? .*unknown"),
        ('["BINANCE"]', r"venues\.0"),
    ],
)
def test_wrong_venues_of_the_environment_are_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        load_settings(environment={"TICKERPLANT_VENUES": text})

    assert "\n" not in str(caught.value)


def test_a_part_of_the_venues_cannot_be_set_by_the_environment() -> None:
    wanted = '[{"venue": "BINANCE", "market": "spot", "symbols": ["BTCUSDT"]}]'

    with pytest.raises(UserError, match="setting venues is"):
        load_settings(environment={"TICKERPLANT_VENUES": wanted, "TICKERPLANT_VENUES__0": "x"})


def test_secrets_do_not_show() -> None:
    settings = load_settings(environment={"TICKERPLANT_CLICKHOUSE__PASSWORD": "hunter2"})

    assert settings.clickhouse.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[kafka]\nsecurity_protocol = 'SASL_SSL'", r"SASL_SSL but kafka\.sasl_mechanism is not set"),
        ("[kafka]\nsecurity_protocol = 'SASL_SSL'\nsasl_mechanism = 'PLAIN'", r"kafka\.sasl_username is not set"),
        (
            "[kafka]\nsecurity_protocol = 'SASL_PLAINTEXT'\nsasl_mechanism = 'PLAIN'\nsasl_username = 'me'",
            r"kafka\.sasl_password is not set",
        ),
        ("[kafka]\nsasl_mechanism = 'SCRAM-SHA-512'", "security_protocol is PLAINTEXT: set it to SASL_SSL"),
        ("[kafka]\nsecurity_protocol = 'SSL'\nsasl_username = 'me'", "security_protocol is SSL: set it to SASL_SSL"),
        ("[kafka]\nssl_ca_location = '/etc/hostname'", "security_protocol is PLAINTEXT: set it to SSL or SASL_SSL"),
        ("[kafka]\nsasl_mechanism = 'MD5'", r"kafka\.sasl_mechanism.*SCRAM-SHA-512"),
        ("[kafka]\nsecurity_protocol = 'SSL'\nssl_key_location = 'x'", "set both or none"),
        (
            "[kafka]\nsecurity_protocol = 'SSL'\nssl_ca_location = '/absent.pem'",
            r"/absent\.pem cannot be read: No such",
        ),
        ("[registry]\nusername = 'me'", r"registry\.password is not: set both or none"),
        ("[registry]\nca_location = '/absent.pem'", r"registry\.url is not https://"),
        ("[registry]\nurl = 'https://me:hunter2@host'", r"registry\.url holds credentials"),
        ("[registry]\nurl = 'me:hunter2@host:8081'", r"registry\.url holds credentials"),
        ("[kafka]\nbootstrap_servers = 'me:hunter2@host:9092'", r"kafka\.bootstrap_servers holds credentials"),
        ("[clickhouse]\nhost = 'me:hunter2@host'", r"clickhouse\.host holds credentials"),
        ("[object_store]\nroot = 's3://me:hunter2@bucket/lake'", r"object_store\.root holds credentials"),
        ("[registry]\nurl = 'http://me:hunter2@ho\u2100st/'", r"registry\.url is no URL"),
        ("[object_store]\naccess_key = ''", r"object_store\.access_key is not"),
        ("[object_store]\naccess_key = ''\nsecret_key = ''\nsession_token = 'x'", "session_token is set but"),
        ("[object_store]\nca_location = 'x'", r"object_store\.endpoint_url is not https://"),
        ("[object_store]\nendpoint_url = ''\nca_location = '/absent.pem'", r"/absent\.pem cannot be read"),
        ("[clickhouse]\nsecure = true", "the local stack's port, which has no TLS"),
        ("[clickhouse]\nhost = 'db'\nport = 9000\nsecure = true", "its TLS port is 9440"),
        ("[clickhouse]\nhost = 'db'\nport = 9440", r"set clickhouse\.secure = true"),
        ("[clickhouse]\nca_location = 'x'", r"clickhouse\.secure is not"),
        ("[clickhouse]\nhost = 'db'\nsecure = true\nverify = false\nca_location = 'x'", r"clickhouse\.verify is false"),
        ("[[venues]]\nvenue = 'X'\nmarket = 'x'\nsymbols = []\nrest_url = 'http://u:hunter2@h'", "holds credentials"),
    ],
)
def test_what_contradicts_itself_is_told_in_one_line_before_any_connection(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(UserError, match=told) as caught:
        load_settings(written(tmp_path, text + "\n"), {})

    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_holds_no_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate\n")
    file = written(tmp_path, f"[kafka]\nsecurity_protocol = 'SSL'\nssl_ca_location = '{tmp_path / 'ca.pem'}'\n")

    with pytest.raises(UserError, match=r"kafka\.ssl_ca_location: [^\n]* holds no certificate in PEM$"):
        load_settings(file, {})


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_key_that_its_password_does_not_open_is_told_and_nobody_is_asked(tmp_path: Path, password: str) -> None:
    files = {name: tmp_path / f"{name}.pem" for name in ("cert", "key")}
    leaf = trustme.CA().issue_cert("client")
    leaf.cert_chain_pems[0].write_to_path(files["cert"])
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    files["key"].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"right")))
    kafka = {
        "SECURITY_PROTOCOL": "SSL",
        "SSL_CERTIFICATE_LOCATION": str(files["cert"]),
        "SSL_KEY_LOCATION": str(files["key"]),
        "SSL_KEY_PASSWORD": password,
    }
    environment = {f"TICKERPLANT_KAFKA__{name}": value for name, value in kafka.items()}

    with pytest.raises(UserError, match=r"ssl_key_password do not fit together: [^\n]*$"):
        load_settings(environment=environment)
    right = environment | {"TICKERPLANT_KAFKA__SSL_KEY_PASSWORD": "right"}
    assert load_settings(environment=right).kafka.ssl_key_location == files["key"]


@pytest.mark.parametrize(
    ("environment", "risky"),
    [
        ({}, ()),
        ({"METRICS__HOST": "0.0.0.0"}, ("metrics.host",)),
        ({"CLICKHOUSE__HOST": "db", "CLICKHOUSE__PASSWORD": "hunter2"}, ("clickhouse.password",)),
        ({"CLICKHOUSE__HOST": "db", "CLICKHOUSE__SECURE": "1", "CLICKHOUSE__VERIFY": "0"}, ("clickhouse.verify",)),
        ({"OBJECT_STORE__ENDPOINT_URL": "http://s3.example"}, ("object_store.endpoint_url",)),
        (
            {"REGISTRY__URL": "http://r.example", "REGISTRY__USERNAME": "me", "REGISTRY__PASSWORD": "hunter2"},
            ("registry.password",),
        ),
    ],
)
def test_what_is_risky_is_warned_of(environment: dict[str, str], risky: tuple[str, ...]) -> None:
    warnings = read_settings(None, {f"TICKERPLANT_{name}": value for name, value in environment.items()}).warnings

    assert tuple(line.split()[0] for line in warnings) == risky
    assert "hunter2" not in str(warnings)


def test_an_empty_variable_stands_for_none() -> None:
    environment = {"TICKERPLANT_OBJECT_STORE__ENDPOINT_URL": "", "TICKERPLANT_KAFKA__SASL_PASSWORD": ""}

    settings = load_settings(environment=environment)

    assert (settings.object_store.endpoint_url, settings.kafka.sasl_password) == (None, None)


def test_settings_are_shown_with_their_sources_and_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary-1\n")
    file = written(tmp_path, f"[kafka]\npartitions = 8\n[clickhouse]\npassword = 'file:{tmp_path / 'secret'}'\n")
    file.chmod(0o600)
    environment = {"TICKERPLANT_OBJECT_STORE__SECRET_KEY": "canary-2", "TICKERPLANT_LOG_LEVEL": "debug"}

    loaded = read_settings(file, environment)
    tree, text = shown(loaded), list(lines(loaded))

    assert tree["kafka"]["partitions"] == 8
    assert tree["clickhouse"]["password"] == tree["object_store"]["secret_key"] == "**********"
    assert tree["sources"]["log_level"] == "TICKERPLANT_LOG_LEVEL"
    assert tree["sources"]["clickhouse.password"] == f"{file}, file:{tmp_path / 'secret'}"
    assert "canary" not in json.dumps(tree) + "".join(text)
    assert {line.split()[0] for line in text} >= {"kafka.partitions", "clickhouse.password", "venues"}


def test_a_wrong_value_of_a_secret_is_not_repeated(tmp_path: Path) -> None:
    for text in ("[clickhouse]\npassword = [4711]\n", "[clickhouse]\npassword = 4711\n"):
        with pytest.raises(UserError, match=r"clickhouse\.password") as caught:
            load_settings(written(tmp_path, text), {})
        assert "4711" not in str(caught.value)


def test_the_documented_example_is_valid_and_names_every_section() -> None:
    example = Path(__file__).parents[2] / "tickerplant" / "example.toml"

    settings = load_settings(example, {})

    assert set(Settings.model_fields) - settings.model_fields_set == set()
