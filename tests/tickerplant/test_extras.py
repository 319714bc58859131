"""A part of the installation that is missing is named in one line, wherever it is found out."""

import sys

import pytest

from tickerplant import cli, extras
from tickerplant.extras import EXTRAS, MissingExtraError, lacking, need


def test_an_import_that_fails_for_want_of_a_part_names_it() -> None:
    lack = lacking(ModuleNotFoundError("no", name="pyarrow.parquet"))

    assert str(lack) == "pyarrow is not installed: pip install 'tickerplant[sinks]'"
    assert lacking(ModuleNotFoundError("no", name="sinks.nothing")) is None


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_is_installed_is_not_lacking(extra: extras.Extra) -> None:
    need(extra)


def test_the_local_part_needs_that_of_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda name: name != "pyarrow")

    with pytest.raises(MissingExtraError) as raised:
        need("local")

    assert (raised.value.library, raised.value.extra) == ("pyarrow", "local")


def test_a_command_that_stumbles_over_a_missing_part_ends_as_a_mistake_of_the_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stumble(_config: object) -> None:
        raise ModuleNotFoundError("No module named 'chdb'", name="chdb")

    monkeypatch.setattr(cli.setup, "read_settings", stumble)
    monkeypatch.setattr(sys, "argv", ["tickerplant", "config"])
    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert (ended.value.code, capsys.readouterr().err) == (
        2,
        "tickerplant: chdb is not installed: pip install 'tickerplant[local]'\n",
    )
