"""Prometheus: the one that is installed, else Debian's package, fetched once into the cache; and all dashboards."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.debian import NotToBeHadError, unpacked

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"


class Tools(NamedTuple):
    """Programs of Prometheus."""

    prometheus: Path
    promtool: Path


@pytest.fixture(scope="session")
def prometheus_tools() -> Tools:
    """Programs of Prometheus; tests that need them are skipped, with the reason, where there are none."""
    installed = shutil.which("prometheus"), shutil.which("promtool")
    if all(installed):
        return Tools(*(Path(each) for each in installed if each))
    try:
        folder = unpacked("prometheus") / "usr" / "bin"
    except NotToBeHadError as error:
        pytest.skip(f"no prometheus: not installed, and Debian's package cannot be fetched: {error}")
    return Tools(folder / "prometheus", folder / "promtool")


@pytest.fixture(scope="session")
def dashboards() -> dict[str, dict[str, Any]]:
    """All dashboards of the repository, by uid."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((GRAFANA / "dashboards").glob("*.json"))]
    return {each["uid"]: each for each in found}


@pytest.fixture(scope="session")
def grafana() -> Path:
    """The folder of what Grafana and Prometheus are given."""
    return GRAFANA
