"""Settings come from file and environment, refuse what they do not know, and never show a secret."""

from pathlib import Path

import pytest

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


def test_the_documented_example_is_valid_and_names_every_section() -> None:
    example = Path(__file__).parents[2] / "tickerplant.example.toml"

    settings = load_settings(example, {})

    assert set(Settings.model_fields) - settings.model_fields_set == set()
