"""The distributions, built as they are released, and environments with nothing else in them."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
OURS = ("TICKERPLANT", "PYTHON", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Distributions:
    """What is released."""

    wheel: Path
    sdist: Path


@dataclass(frozen=True)
class Installed:
    """A virtual environment with a wheel of ours, and a folder away from any checkout to run it in."""

    environment: Path
    folder: Path

    def run(self, *command: str, timeout_s: float = 60.0, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment; settings are `TICKERPLANT_*` without that."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        ours = {"LOCAL__HOME": str(self.folder / "home"), **settings}
        return subprocess.run(
            [self.environment / "bin" / command[0], *command[1:]],
            cwd=self.folder,
            env=inherited | {f"TICKERPLANT_{name}": value for name, value in ours.items()},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Builds distributions of a source tree, with the tools of our environment: nothing is fetched."""

    def built(tree: Path, *targets: str) -> Path:
        folder = tmp_path_factory.mktemp("dist")
        options = [option for target in targets for option in ("-t", target)]
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder, *options], cwd=tree, check=True)
        return folder

    return built


@pytest.fixture(scope="session")
def distributions(build: Callable[..., Path]) -> Distributions:
    """Wheel and source distribution of this tree."""
    folder = build(ROOT, "sdist", "wheel")
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Distributions(wheel, sdist)


def installed(wheel: Path, extra: str, folder: Path) -> Installed:
    """Install a wheel, with the versions that were tested; packages come out of uv's cache where they are in it."""
    environment, elsewhere = folder / "environment", folder / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", environment / "bin" / "python"]
    wanted = ["--constraint", ROOT / "requirements.lock", f"tickerplant{extra} @ {wheel.as_uri()}"]
    if subprocess.run([*install, "--offline", *wanted], check=False, capture_output=True).returncode:
        subprocess.run([*install, *wanted], check=True)
    return Installed(environment, elsewhere)


@pytest.fixture(scope="session")
def core(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel without extras."""
    return installed(distributions.wheel, "", tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="session")
def whole(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with the local stack."""
    return installed(distributions.wheel, "[local]", tmp_path_factory.mktemp("whole"))
