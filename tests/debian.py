"""Debian's packages, unpacked into the cache, without root: programs that tests need where they are not installed."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tickerplant.local.archives import exclusive
from tickerplant.local.server import cache_folder
from tickerplant.settings import Settings

TIMEOUT_S = 240


class NotToBeHadError(Exception):
    """Why a package is not to be had on this machine."""


def unpacked(name: str, *, with_needed: bool = False) -> Path:
    """Fetch and unpack a package, once; apt checks what it fetches by its signed lists.

    Args:
        with_needed: with those that it needs and that are not installed.

    Raises:
        NotToBeHadError: as it says.
    """
    folder = cache_folder(Settings()) / name
    with exclusive(folder.with_suffix(".lock")):
        if not folder.is_dir():
            _fetch(folder, name, with_needed=with_needed)
    return folder


def _fetch(folder: Path, name: str, *, with_needed: bool) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise NotToBeHadError("no apt-get and dpkg-deb on this machine")
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _download(part, name, [], with_needed=with_needed)
    except NotToBeHadError:  # a new machine has no lists, or old ones
        options = _with_own_lists(folder.with_name("apt"))
        _apt(part, [*options, "update"])
        _download(part, name, options, with_needed=with_needed)
    for package in part.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, part / "all"], check=True, capture_output=True)
    (part / "all").rename(folder)
    shutil.rmtree(part)


def _download(part: Path, name: str, options: Sequence[str], *, with_needed: bool) -> None:
    names = {name}
    if with_needed:
        wanted = ["install", "--print-uris", "-qq", "--no-install-recommends", name]
        lines = _apt(part, [*options, *wanted]).splitlines()
        names |= {line.split()[1].partition("_")[0] for line in lines if line.startswith("'")}
    _apt(part, [*options, "download", *sorted(names)])


def _with_own_lists(state: Path) -> list[str]:
    """Let apt keep lists in a folder of ours."""
    for each in ("lists/partial", "archives/partial"):
        (state / each).mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={state / 'lists'}", "-o", f"Dir::Cache={state}"]


def _apt(folder: Path, words: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            ["apt-get", *words], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotToBeHadError(f"apt-get {words[-1]} took over {TIMEOUT_S} s") from None
    if done.returncode:
        raise NotToBeHadError((done.stderr.strip().splitlines() or ["apt-get says nothing"])[-1])
    return done.stdout
