"""The machine: disk, memory, open files, processors, clock."""

import os
import resource
import shutil
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import httpx
import psutil

from tickerplant.doctor.finding import Finding
from tickerplant.doctor.kernel_clock import kernel_clock
from tickerplant.doctor.servers import ANSWER_S, ask_endpoint
from tickerplant.errors import UserError
from tickerplant.local.server import Home, cache_folder
from tickerplant.room import Reserve
from tickerplant.security import is_loopback
from tickerplant.settings import ObjectStore, Settings

MEGABYTE: Final = 1024 * 1024
GIGABYTE: Final = 1024 * MEGABYTE
LEAST_MEMORY_MB: Final = 512
LEAST_FILES: Final = 1024
OFFSET_MOST_S: Final = 2.0  # a `Date` header tells whole seconds
CGROUP: Final = Path("/sys/fs/cgroup/memory.max")


def disks(settings: Settings) -> list[Finding]:
    """Tell the room for data and for downloads."""
    return [
        _disk("disk of data", Home.of(settings).path, settings.local.disk_reserve_mb, "local.home"),
        _disk("disk of downloads", cache_folder(settings), 0, "local.cache"),
    ]


def memory() -> list[Finding]:
    """Tell the memory of the machine, and what a container may have of it."""
    found = psutil.virtual_memory()
    limit = _cgroup_limit_bytes()
    total_mb, free_mb = found.total // MEGABYTE, found.available // MEGABYTE
    within = f", {limit // MEGABYTE} MB for this container" if limit is not None else ""
    facts = {"total_mb": total_mb, "available_mb": free_mb, "limit_mb": limit and limit // MEGABYTE}
    is_short = free_mb < LEAST_MEMORY_MB
    return [
        Finding(
            name="memory",
            what=f"{free_mb} of {total_mb} MB available{within}",
            state="wrong" if is_short else "fine",
            todo="end other programs: roles take up to 300 MB each, the local stack 1 GB" if is_short else "",
            facts=facts,
        )
    ]


def open_files() -> list[Finding]:
    """Tell how many files and sockets a process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_short = soft != resource.RLIM_INFINITY and soft < LEAST_FILES
    return [
        Finding(
            name="open files",
            what=f"{_limit(soft)}, at most {_limit(hard)}",
            state="wrong" if is_short else "fine",
            todo=f"ulimit -n {LEAST_FILES * 4}, for the shell or unit that starts us" if is_short else "",
            facts={"soft": soft, "hard": hard},
        )
    ]


def processors() -> list[Finding]:
    """Tell the processors and how busy they are."""
    cores, load = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(), os.getloadavg()
    return [
        Finding(
            name="processors",
            what=f"{cores}, load {load[0]:.1f} {load[1]:.1f} {load[2]:.1f}",
            facts={"cores": cores, "load": [round(each, 2) for each in load]},
        )
    ]


def clocks(settings: Settings) -> list[Finding]:
    """Tell whether the clock is kept, and how far it is from the object store's."""
    return [_kernel_clock(), _store_clock(settings.object_store)]


def _disk(name: str, folder: Path, reserve_mb: int, setting: str) -> Finding:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        usage = shutil.disk_usage(there)
    except OSError as error:
        return Finding(name=name, what=f"{there}: {error.strerror}", state="wrong", todo=f"set {setting} elsewhere")
    reserve = Reserve(there, reserve_mb * MEGABYTE)
    facts = {"folder": str(folder), "free_mb": usage.free // MEGABYTE, "total_mb": usage.total // MEGABYTE}
    what = f"{folder}: {usage.free / GIGABYTE:.1f} of {usage.total / GIGABYTE:.1f} GB free"
    if not os.access(there, os.W_OK):
        todo = f"let this user write there, or set {setting}"
        return Finding(name=name, what=f"{folder} cannot be written", state="wrong", todo=todo, facts=facts)
    if not reserve.look():
        return Finding(name=name, what=what, state="wrong", todo=reserve.lack(), facts=facts)
    return Finding(name=name, what=what, facts=facts)


def _kernel_clock() -> Finding:
    state = kernel_clock()
    if state is None:
        return Finding(name="clock", what="this system does not tell whether it is kept", state="unknown")
    facts = {"is_synchronized": state.is_synchronized, "most_error_us": state.most_error_us}
    if state.is_synchronized:
        what = f"synchronized, wrong by {state.most_error_us / 1000:.1f} ms at most"
        return Finding(name="clock", what=what, facts=facts)
    todo = "run chrony or systemd-timesyncd: receive times are those of this clock"
    what = "nobody tells the kernel that it is synchronized"
    return Finding(name="clock", what=what, state="note", todo=todo, facts=facts)


def _store_clock(store: ObjectStore) -> Finding:
    name = "clock and store"
    url = httpx.URL(store.endpoint_url or "")
    if not url.host or is_loopback(url.host):
        return Finding(name=name, what="the object store has this machine's clock, or none", state="unknown")
    try:
        began_s = time.time()
        told = ask_endpoint(store, ANSWER_S).headers["date"]
        offset_s = parsedate_to_datetime(told).timestamp() + 0.5 - (began_s + time.time()) / 2
    except (httpx.HTTPError, UserError, KeyError, ValueError) as error:
        return Finding(name=name, what=f"the object store tells no time: {type(error).__name__}", state="unknown")
    what = f"the object store is {abs(offset_s):.1f} s {'ahead' if offset_s > 0 else 'behind'}, to half a second"
    is_off = abs(offset_s) > OFFSET_MOST_S
    todo = "one of both clocks is wrong: run chrony or systemd-timesyncd" if is_off else ""
    return Finding(
        name=name, what=what, state="wrong" if is_off else "fine", todo=todo, facts={"offset_s": round(offset_s, 1)}
    )


def _cgroup_limit_bytes() -> int | None:
    try:
        return int(CGROUP.read_text(encoding="ascii"))
    except (OSError, ValueError):  # none, or `max`
        return None


def _limit(number: int) -> str:
    return "no limit" if number == resource.RLIM_INFINITY else str(number)
