"""Prometheus: the one that is installed, else Debian's package, fetched once into the cache; and all dashboards."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tickerplant.local.archives import exclusive
from tickerplant.local.server import cache_folder
from tickerplant.settings import Settings

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
PACKAGE = "prometheus"


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
    folder = cache_folder(Settings()) / PACKAGE
    found = Tools(folder / "usr/bin/prometheus", folder / "usr/bin/promtool")
    if not all(each.exists() for each in found):
        reason = fetch(folder)
        if reason:
            pytest.skip(f"no prometheus: not installed, and Debian's package cannot be fetched: {reason}")
    return found


def fetch(folder: Path) -> str:
    """Fetch and unpack Debian's package, which apt checks by its signed lists; returns why not (empty = done)."""
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if not (apt and dpkg):
        return "no apt-get and dpkg-deb on this machine"
    with exclusive(folder.with_suffix(".lock")):
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        got = subprocess.run(
            [apt, "download", PACKAGE], cwd=part, capture_output=True, text=True, timeout=50, check=False
        )
        if got.returncode:
            return (got.stderr.strip().splitlines() or ["apt-get says nothing"])[-1]
        [package] = part.glob("*.deb")
        subprocess.run([dpkg, "-x", package, part / "all"], check=True, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
        (part / "all").rename(folder)
        shutil.rmtree(part)
    return ""


@pytest.fixture(scope="session")
def dashboards() -> dict[str, dict[str, Any]]:
    """All dashboards of the repository, by uid."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((GRAFANA / "dashboards").glob("*.json"))]
    return {each["uid"]: each for each in found}


@pytest.fixture(scope="session")
def grafana() -> Path:
    """The folder of what Grafana and Prometheus are given."""
    return GRAFANA
