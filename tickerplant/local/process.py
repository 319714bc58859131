"""A command line → a detached process with a log and a pid file that tells a stale pid from ours."""

import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tickerplant.errors import UserError

CREATE_TIME_TOLERANCE_S = 0.02  # the kernel counts in ticks of 10 ms
STOP_WAIT_S = 10.0
LOG_POLL_S = 0.2
# Others (JAVA_TOOL_OPTIONS, QUARKUS_*, KAFKA_*) would change how a server behaves.
INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A process we started, as its pid file keeps it."""

    pid: int
    created_s: float  # Unix time as psutil tells it: with the pid it names one process for ever


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child: a few inherited names, and `extra`."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(extra)


def start(command: tuple[str, ...], pid_file: Path, *, log: Path, environment: Mapping[str, str]) -> Running:
    """Start a process in a session of its own, so that it outlives us and our terminal.

    Args:
        command: program (a path) and arguments.
        pid_file: written at once; its folder is made.
        log: takes stdout and stderr; the log of the run before is kept as `<log>.1`.
        environment: all of the child's environment.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    # Not subprocess.Popen: its object warns when it is dropped while the child runs, which is our purpose.
    pid = os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ],
    )
    running = Running(pid=pid, created_s=psutil.Process(pid).create_time())
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    temporary = pid_file.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(running)), encoding="utf-8")
    temporary.replace(pid_file)
    return running


def read_pid_file(pid_file: Path) -> Running | None:
    """Return what the pid file says; None = there is none, or it is damaged."""
    try:
        content = json.loads(pid_file.read_text(encoding="utf-8"))
        return Running(pid=int(content["pid"]), created_s=float(content["created_s"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find(running: Running | None) -> psutil.Process | None:
    """Return the live process; None = it has ended, or its pid now belongs to another."""
    if running is None:
        return None
    try:
        process = psutil.Process(running.pid)
        same = abs(process.create_time() - running.created_s) <= CREATE_TIME_TOLERANCE_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def listens(running: Running, port: int) -> bool:
    """Tell whether it is this process that listens on a port, and not another one that answers in its stead."""
    found = find(running)
    try:
        return found is not None and any(
            each.status == psutil.CONN_LISTEN and each.laddr[1:] == (port,) for each in found.net_connections("tcp")
        )
    except psutil.AccessDenied:  # the system does not let us look: it is believed
        return True
    except psutil.Error:  # it has just ended
        return False


def stop(pid_file: Path, *, wait_s: float = STOP_WAIT_S) -> bool:
    """End the process of a pid file and remove the file; return whether one was running.

    SIGTERM first; after `wait_s` SIGKILL to it and all of its session's process group.
    """
    running = read_pid_file(pid_file)
    process = find(running)
    if process is not None:
        _end(process, wait_s)
    if running is not None:
        with suppress(ChildProcessError):  # reap it where it is our own child
            os.waitpid(running.pid, os.WNOHANG)
    with suppress(FileNotFoundError, NotADirectoryError):
        pid_file.unlink()
    return process is not None


def last_lines(log: Path, lines: int) -> list[str]:
    """Return the last lines of a log; a missing log has none."""
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, lines)]
    except FileNotFoundError:
        return []


def follow_lines(log: Path, lines: int, *, poll: Callable[[], bool] | None = None) -> Iterator[str]:
    """Yield the last lines of a log, then each new one as it is completed; begins anew when the server restarts.

    Args:
        log: an existing file.
        lines: how many to begin with.
        poll: waits for more; returns False to end (None = wait for ever).
    """
    poll = poll or _wait_for_more
    known = log.stat().st_ino
    file = log.open(encoding="utf-8", errors="replace")
    try:
        yield from (line.rstrip("\n") for line in deque(file, lines))
        part = ""
        while poll():
            if log.exists() and log.stat().st_ino != known:
                file.close()
                known, file = log.stat().st_ino, log.open(encoding="utf-8", errors="replace")
            *whole, part = (part + file.read()).split("\n")
            yield from whole
    finally:
        file.close()


def _wait_for_more() -> bool:
    time.sleep(LOG_POLL_S)
    return True


def _end(process: psutil.Process, wait_s: float) -> None:
    try:
        process.terminate()
        process.wait(wait_s)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(wait_s)
    except psutil.AccessDenied:
        raise UserError(f"process {process.pid} belongs to another user: end it as that user") from None
