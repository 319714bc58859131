"""Wheel and source distribution hold what they should, and the wheel works where nothing else of ours is."""

import json
import os
import re
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tickerplant.extras import EXTRAS, libraries
from tickerplant.lean import import_program

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "producers", "processors", "sinks", "tickerplant")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOBODY = {
    "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "REGISTRY__URL": "http://127.0.0.1:1",
    "OBJECT_STORE__ENDPOINT_URL": "http://127.0.0.1:1",
    "CLICKHOUSE__PORT": "1",
}
LACKING = {
    ("up",): "local",
    ("demo",): "local",
    ("sink", "clickhouse"): "sinks",
    ("sink", "parquet"): "sinks",
    ("checkpoint",): "sinks",
    ("replay", "--topic", "raw.binance", "--into", "x"): "sinks",
    ("convert", "--venue", "binance", "--market", "spot", "--out", "out", "in"): "sinks",
}

pytestmark = pytest.mark.timeout(180)


def tracked(*folders: str) -> set[str]:
    found = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True)
    return {name for name in found.stdout.splitlines() if (ROOT / name).exists()}


def names_of(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=;\s]", each)[0]) for each in requirements}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def test_the_wheel_holds_all_files_of_our_packages_and_nothing_else(distributions: Any) -> None:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert tracked(*PACKAGES) - names == set()
    assert {name for name in names if not name.startswith(tuple(f"{each}/" for each in PACKAGES))} == set()
    kinds = {Path(name).suffix for name in names}
    assert {".avsc", ".sql", ".json", ".toml", ".typed"} <= kinds


def test_the_source_distribution_builds_the_same_wheel(
    distributions: Any, build: Callable[..., Path], tmp_path: Path
) -> None:
    with tarfile.open(distributions.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()

    (again,) = build(tree, "wheel").glob("*.whl")

    assert again.name == distributions.wheel.name
    assert again.read_bytes() == distributions.wheel.read_bytes()
    assert {"tests", "docs", "benchmarks", "grafana", "Makefile"} <= {each.name for each in tree.iterdir()}


def test_what_an_extra_brings_is_what_commands_look_for() -> None:
    known = packages_distributions()
    for extra, modules in EXTRAS.items():
        wanted = names_of(PROJECT["optional-dependencies"][extra]) - {"tickerplant"}

        assert [each for each in modules if not wanted & set(map(normal, known[each] + [each]))] == []
        assert len(wanted) == len(modules)


def test_the_installed_command_tells_its_version_and_help(core: Any) -> None:
    version, shown = core.run("tickerplant", "--version"), core.run("tickerplant", "--help")

    assert version.stdout == f"tickerplant, version {PROJECT['version']}\n"
    assert "\n  demo " in shown.stdout
    assert core.run("tickerplant", "config", "--example").stdout == (ROOT / "tickerplant/example.toml").read_text()


@pytest.mark.parametrize("command", LACKING, ids=" ".join)
def test_a_command_that_lacks_its_extra_says_which_in_one_line(core: Any, command: tuple[str, ...]) -> None:
    done = core.run("tickerplant", *command)

    assert (done.returncode, done.stdout) == (2, "")
    line = rf"tickerplant: \w+ is not installed: pip install 'tickerplant\[{LACKING[command]}\]'\n"
    assert re.fullmatch(line, done.stderr)


def test_the_core_alone_imports_producers_processors_and_subscribers(core: Any) -> None:
    programs = [import_program(each) for each in ("produce", "process", "lag-exporter", "run", "subscriber")]

    done = core.run("python", "-c", "\n".join(programs))

    assert (done.returncode, done.stderr) == (0, "")


def test_the_core_alone_deploys_up_to_its_first_server(core: Any) -> None:
    done = core.run("tickerplant", "deploy", **NOBODY)

    assert done.returncode == 2
    assert re.fullmatch(r"tickerplant: (kafka|schema registry) does not answer at [^\n]+\n", done.stderr)


def test_the_doctor_of_the_core_tells_what_is_not_installed(core: Any) -> None:
    done = core.run("tickerplant", "doctor", "--json", **NOBODY)

    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    states = {each["name"]: each["state"] for each in found["installed"]}
    assert {states[f"extra {each}"] for each in EXTRAS} | {states["java"]} == {"note"}
    assert [each["state"] for each in found["servers"]] == ["wrong"] * 4


def test_the_core_brings_no_library_of_an_extra(core: Any) -> None:
    wanted = {name for extra in EXTRAS for name in libraries(extra)} - {"aiohttp"}  # which comes with Faust
    script = f"import importlib.util as u; print(*[n for n in {sorted(wanted)} if u.find_spec(n)])"

    assert core.run("python", "-c", script).stdout.split() == []


def test_the_local_extra_brings_the_programs_of_the_stack(whole: Any) -> None:
    for module in ("tickerplant.local.gateway", "tickerplant.local.venue"):
        done = whole.run("python", "-m", module, "--help")

        assert (done.returncode, done.stderr) == (0, "")
    script = "from tickerplant.local.archives import read_lock; from tickerplant.local.java import java_path"
    assert whole.run("python", "-c", f"{script}; print(*read_lock()); java_path()").stdout.split() == [
        *("broker", "registry", "s3"),
    ]


@pytest.mark.stack
@pytest.mark.timeout(400)
@pytest.mark.skipif(not os.environ.get("WHEEL_DEMO"), reason="a demo of some minutes: WHEEL_DEMO=1")
def test_the_demo_runs_from_the_wheel(whole: Any) -> None:
    done = whole.run("tickerplant", "demo", "--json", "--seconds", "10", "--rate", "500", timeout_s=380)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["lost"], found["doubled"]) == (0, 0)
    assert found["frames_served"] > 1000
