"""Our processes on this machine, by their notes: each names its role, pid and metrics port while it lives.

`<local.home>/run/metrics-<role>-<pid>.json`. One that crashed leaves its note, by which others know that it is missing.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tickerplant.settings import Settings


@dataclass(frozen=True, order=True)
class Process:
    """A process of ours that serves `/metrics`."""

    role: str
    pid: int
    port: int

    @property
    def is_alive(self) -> bool:
        """Tell whether there is a process of this number."""
        return psutil.pid_exists(self.pid)

    @property
    def memory_bytes(self) -> int:
        """Tell the resident memory; 0 = the process is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            return 0


def notes_folder(settings: Settings) -> Path:
    """Where processes leave their notes."""
    return settings.local.home / "run"


def leave_note(settings: Settings, role: str, port: int) -> None:
    """Note this process, in the place of those of its role that died; whole for whoever looks just now.

    Raises:
        OSError: it cannot be written.
    """
    forget_dead(settings, role)
    note = _note(settings, role)
    draft = note.with_name(f".{note.name}.tmp")
    note.parent.mkdir(parents=True, exist_ok=True)
    draft.write_text(json.dumps({"role": role, "pid": os.getpid(), "port": port}), encoding="utf-8")
    draft.replace(note)


def remove_note(settings: Settings, role: str) -> None:
    """Remove the note of this process, since it ends as it should."""
    _note(settings, role).unlink(missing_ok=True)


def forget_dead(settings: Settings, role: str = "*") -> None:
    """Remove the notes of processes of a role (`*` = any) that died."""
    for note in notes_folder(settings).glob(f"metrics-{role}-*.json"):
        pid = note.stem.rpartition("-")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            note.unlink(missing_ok=True)


def noted_processes(settings: Settings) -> list[Process]:
    """List those that left a note, the dead ones among them, in the order of role and pid."""
    return sorted(_read(notes_folder(settings)))


def find_processes(settings: Settings) -> list[Process]:
    """List those that live, in the order of role and pid."""
    return [each for each in noted_processes(settings) if each.is_alive]


def address(settings: Settings, port: int) -> str:
    """Tell where a process of this machine answers at its metrics port, as URLs have it."""
    host = settings.metrics.host
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104  # that is asked for, not opened
        host = "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _note(settings: Settings, role: str) -> Path:
    return notes_folder(settings) / f"metrics-{role}-{os.getpid()}.json"


def _read(folder: Path) -> Iterator[Process]:
    for path in folder.glob("metrics-*.json"):
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
            yield Process(str(note["role"]), int(note["pid"]), int(note["port"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # removed just now, or none of ours
