"""What `pip install tickerplant` brings, without and with each extra: megabytes and packages in an empty environment.

Run: python -m benchmarks.install
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ending import in_a_line
from benchmarks.inputs import AbsentError
from benchmarks.peers import REASON
from tickerplant.extras import EXTRAS

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")


def measure() -> dict[str, Any]:
    """Build the wheel and install it in each way, with the locked versions.

    Raises:
        AbsentError: no package index answers.
    """
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = Path(folder).glob("*.whl")
        found = {"wheel_kb": wheel.stat().st_size // 1024, "core": installed(wheel, "", Path(folder))}
        return found | {extra: installed(wheel, f"[{extra}]", Path(folder)) for extra in EXTRAS}


def installed(wheel: Path, extra: str, folder: Path) -> dict[str, int]:
    """Install it and add up its files."""
    environment = folder / f"environment{extra}"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", environment / "bin" / "python"]
    wanted = ["--constraint", ROOT / "requirements.lock", f"tickerplant{extra} @ {wheel.as_uri()}"]
    done = subprocess.run([*install, *wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AbsentError(f"tickerplant{extra} cannot be installed: {' '.join(done.stderr.split())[:REASON]}")
    (packages,) = environment.glob("lib/python*/site-packages")
    size_bytes = sum(each.stat().st_size for each in packages.rglob("*") if each.is_file())
    return {"megabytes": size_bytes // 10**6, "packages": len(list(packages.glob("*.dist-info")))}


if __name__ == "__main__":
    with in_a_line():
        print("install", measure())
