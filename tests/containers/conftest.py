"""The Compose files as Docker reads them, and the image's virtual environment, built by the Dockerfile's own lines."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\})")

Services = dict[str, dict[str, Any]]
ReadCompose = Callable[..., dict[str, Any]]


def interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """Replace ${NAME} and ${NAME:-default} in all texts; the default holds for an empty value too.

    Source: https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
    """

    def replaced(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["default"] is None:
            return variables[match["name"]]
        return variables.get(match["name"]) or match["default"]

    if isinstance(value, dict):
        return {key: interpolated(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolated(each, variables) for each in value]
    return VARIABLE.sub(replaced, value) if isinstance(value, str) else value


def merged(base: Any, other: Any) -> Any:
    """Lay one file over another: maps by key, all else is replaced, which is enough for our files."""
    if isinstance(base, dict) and isinstance(other, dict):
        return base | {key: merged(base.get(key), each) for key, each in other.items()}
    return other


@pytest.fixture(scope="session")
def read_compose() -> ReadCompose:
    """Read Compose files of the repository, each laid over those before it, with variables put in."""

    def read(*names: str, **variables: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in names or ("docker-compose.yml",):
            text = (ROOT / name).read_text(encoding="utf-8")
            found = merged(found, interpolated(yaml.safe_load(text), variables))
        return found

    return read


@pytest.fixture(scope="session")
def services(read_compose: ReadCompose) -> Services:
    """All services, those of the demo too."""
    found: Services = read_compose("docker-compose.yml", "docker-compose.demo.yml")["services"]
    return found


@dataclass
class Stage:
    """A stage of a Dockerfile: its name, base image and instructions, continued lines joined."""

    name: str
    image: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """Arguments of each such instruction, in their order."""
        return [arguments for each, arguments in self.steps if each == instruction]


@pytest.fixture(scope="session")
def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile by name, in their order."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    found: dict[str, Stage] = {}
    stage = Stage("", "")
    for line in text.replace("\\\n", " ").splitlines():
        instruction, _, arguments = line.strip().partition(" ")
        if instruction == "FROM":
            image, _, name = arguments.partition(" AS ")
            stage = found[name] = Stage(name, image)
        elif instruction:
            stage.steps.append((instruction, " ".join(arguments.split())))
    return found


@pytest.fixture(scope="session")
def context_files() -> list[Path]:
    """Files of the build context: what .dockerignore lets through, relative to the root.

    Source: https://docs.docker.com/build/concepts/context/#dockerignore-files (the last pattern that fits decides)
    """
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    def fits(path: Path, pattern: str) -> bool:
        parts = [path, *path.parents]
        plain = pattern.removeprefix("**/")
        if plain != pattern:
            return any(fnmatch(part.name, plain) for part in parts)
        return any(fnmatch(str(part), plain) for part in parts if part.parts)

    def is_in(path: Path) -> bool:
        is_ignored = False
        for pattern in patterns:
            if fits(path, pattern.removeprefix("!")):
                is_ignored = not pattern.startswith("!")
        return not is_ignored

    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in map(Path, tracked.stdout.splitlines()) if is_in(path) and (ROOT / path).is_file()]


@dataclass(frozen=True)
class Image:
    """What the Dockerfile's build stage leaves, installed for this machine."""

    venv: Path

    def command(self, *arguments: str) -> list[str]:
        """Command line of a program of the image: its name is looked up where the image's PATH begins."""
        return [str(self.venv / "bin" / arguments[0]), *arguments[1:]]

    def environment(self, **extra: str) -> dict[str, str]:
        """Environment of a container: nothing of our own but what programs need to start at all."""
        path = os.pathsep.join([str(self.venv / "bin"), os.defpath])
        return {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **extra}

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the image to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="session")
def image(stages: dict[str, Stage], context_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Run the Dockerfile's build stage: its COPYs out of the build context, its RUNs with `/` moved to a folder."""
    root = tmp_path_factory.mktemp("image")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("uv is not installed")
    workdir = root
    environment = {**os.environ, "UV_PYTHON": _python(uv, stages["build"].image)}
    environment["PATH"] = f"{Path(uv).parent}{os.pathsep}{environment['PATH']}"
    environment.pop("PYTHONPATH", None)
    environment.pop("VIRTUAL_ENV", None)
    for instruction, arguments in stages["build"].steps:
        if instruction == "ENV":
            environment |= dict(each.split("=", 1) for each in shlex.split(arguments))
        elif instruction == "WORKDIR":
            workdir = root / arguments.lstrip("/")
            workdir.mkdir(parents=True)
        elif instruction == "COPY" and "--from" not in arguments:
            *sources, _here = arguments.split()
            _copy([path for path in context_files if "." in sources or str(path) in sources], workdir)
        elif instruction == "RUN":
            command = re.sub(r"--mount=\S+ ", "", arguments)
            command = re.sub(r"(?<=\s)/(opt|dist)\b", rf"{root}/\1", command)
            done = subprocess.run(
                ["sh", "-c", command], cwd=workdir, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return Image(root / "opt" / "tickerplant")


def _copy(files: list[Path], target: Path) -> None:
    for path in files:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target / path)


def _python(uv: str, base: str) -> str:
    """Take the Python that IMAGE_PYTHON names, else find one of the base image's series, else our own."""
    if "IMAGE_PYTHON" in os.environ:
        return os.environ["IMAGE_PYTHON"]
    series = re.search(r":(\d+\.\d+)", base)
    assert series is not None
    found = subprocess.run(
        [uv, "python", "find", "--no-python-downloads", "--no-project", "--system", series[1]],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() if found.returncode == 0 else sys.executable
