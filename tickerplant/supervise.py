"""All roles of one settings file as child processes: started, restarted when they die, drained in order.

They are ended by nobody else: signals of a terminal reach the supervisor alone, and where it is killed they end by
themselves (`supervised.py`).
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from producers.plan import find_wire
from tickerplant.connect.failed import forget_all_failures
from tickerplant.connect.names import connector_of
from tickerplant.errors import UserError
from tickerplant.local.revive import local_reviver
from tickerplant.logs import logger
from tickerplant.processes import forget_dead
from tickerplant.room import local_reserve
from tickerplant.settings import Settings, load_settings
from tickerplant.supervised import STOP_WAIT_S

RESTART_FIRST_S = 0.5
RESTART_MOST_S = 30.0
STABLE_AFTER_S = 60.0
LEAST_WAIT_S = 0.5
USER_ERROR_CODE = 2
TAIL_BYTES = 16 * 1024
SINK_NICENESS = 10
"""Sinks work in chunks of a second: on a full machine they wait, not the way to the cleaned topics."""


@dataclass(frozen=True)
class Role:
    """One kind of process.

    Args:
        arguments: what follows `tickerplant` on its command line.
        stage: roles drain by stage, those of one stage together.
        processes: how many run.
        niceness: added to ours: higher = it yields the processor to others of this machine.
        number_option: by which a process is told its number among those of the role; empty = it is not.
    """

    name: str
    arguments: tuple[str, ...]
    stage: int = 0
    processes: int = 1
    niceness: int = 0
    number_option: str = ""


def roles_of(settings: Settings) -> tuple[Role, ...]:
    """List the roles in the order in which they drain: each only after those that feed it."""
    produce = (Role("produce", ("produce", "--wait")),) if settings.venues else ()
    compare = (
        (Role("compare", ("compare", "--wait"), 2, niceness=SINK_NICENESS),) if settings.divergence.enabled else ()
    )
    return (
        *produce,
        Role("process", ("process", "--wait"), 1, settings.processor.workers),
        _sink_role(settings, "clickhouse"),
        _sink_role(settings, "parquet"),
        Role("checkpoint", ("checkpoint",), 2, niceness=SINK_NICENESS),
        *compare,
        Role("lag-exporter", ("lag-exporter",), 2, niceness=SINK_NICENESS),
    )


def _sink_role(settings: Settings, store: str) -> Role:
    tasks = connector_of(settings, store).tasks_max
    return Role(f"sink-{store}", ("sink", store, "--wait"), 2, tasks, SINK_NICENESS, number_option="--task")


@dataclass
class Child:
    """A process slot of a role, whoever fills it now; `is_proven` = one of them has run for a while."""

    role: Role
    number: int
    process: subprocess.Popen[bytes]
    started_s: float
    restarts: int = 0
    wait_s: float = RESTART_FIRST_S
    due_s: float = 0.0
    is_proven: bool = False
    kills: int = 0  # by SIGKILL, which is nobody's own end


@dataclass
class Supervisor:
    """Starts roles and keeps them alive.

    Args:
        config: settings file that the children read.
        roles: in the order in which they drain.
        log_folder: one log file a process, appended.
        command: what runs a role; its arguments and `--config` follow.
        spares_others: where one that has run for a while cannot go on, the others do, and it is tried again.
    """

    config: Path
    roles: Sequence[Role]
    log_folder: Path
    command: tuple[str, ...] = (sys.executable, "-m", "tickerplant.supervised")
    spares_others: bool = False
    children: list[Child] = field(default_factory=list)
    _pipe: tuple[int, int] | None = field(default=None, init=False)  # whose first end they read, and the other is ours

    def start(self) -> None:
        """Start all processes, those that read first."""
        self.log_folder.mkdir(parents=True, exist_ok=True)
        for role in reversed(self.roles):
            for number in range(role.processes):
                self.children.append(Child(role, number, self._spawn(role, number), time.monotonic()))

    def restart_dead(self) -> None:
        """Start again what died, after a wait that doubles up to 30 s; call it often.

        Raises:
            UserError: a process ended with exit code 2, so starting it again cannot help; with its last line. Not,
                where others are spared, of one that had run for a while before: its settings were right.
        """
        now_s = time.monotonic()
        for child in self.children:
            code = child.process.poll()
            if code is None:
                if now_s - child.started_s > STABLE_AFTER_S:
                    child.wait_s, child.is_proven = RESTART_FIRST_S, True
                continue
            if child.due_s == 0.0:
                self._note_death(child, code, now_s)
            elif now_s >= child.due_s:
                self._restart(child, now_s)

    def stop(self, names: Sequence[str] = ()) -> None:
        """Stop processes by SIGTERM, stage after stage in draining order (names empty = all); waits for each stage.

        What has not ended when `STOP_WAIT_S` are over is killed.
        """
        until_s = time.monotonic() + STOP_WAIT_S
        chosen = [child for child in self.children if not names or child.role.name in names]
        for stage in sorted({child.role.stage for child in chosen}):
            mine = [child for child in chosen if child.role.stage == stage]
            for child in mine:
                child.process.terminate()
            until_s = max(until_s, time.monotonic() + LEAST_WAIT_S)
            for child in mine:
                _wait(child, max(0.0, until_s - time.monotonic()))
                self.children.remove(child)
        if self._pipe is not None and not self.children:
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def pids(self) -> dict[str, int]:
        """Tell the process id of each slot, by `role` or `role-number`."""
        return {_slot(child.role, child.number): child.process.pid for child in self.children}

    def restarts(self) -> dict[str, int]:
        """Tell how often each slot was started again."""
        return {_slot(child.role, child.number): child.restarts for child in self.children}

    def kills(self, name: str) -> int:
        """Tell how often processes of a role were ended by SIGKILL, and started again."""
        return sum(child.kills for child in self.children if child.role.name == name)

    def log_path(self, role: Role, number: int) -> Path:
        """Tell where the output of a process goes."""
        return self.log_folder / f"{_slot(role, number)}.log"

    def _spawn(self, role: Role, number: int) -> subprocess.Popen[bytes]:
        nice = ["nice", "-n", str(role.niceness)] if role.niceness else []
        numbered = [role.number_option, str(number)] if role.number_option else []
        command = [*nice, *self.command, *role.arguments, *numbered, "--config", str(self.config)]
        self._pipe = self._pipe or os.pipe()
        with self.log_path(role, number).open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=self._pipe[0], process_group=0)  # noqa: S603  # our own command

    def _restart(self, child: Child, now_s: float) -> None:
        try:
            child.process = self._spawn(child.role, child.number)
        except OSError as error:  # no room for its log, no memory for its process
            child.due_s = now_s + RESTART_MOST_S
            slot = _slot(child.role, child.number)
            logger().error("process not started", slot=slot, reason=error.strerror, again_in_s=RESTART_MOST_S)
            return
        child.started_s, child.due_s = now_s, 0.0
        child.restarts += 1

    def _note_death(self, child: Child, code: int, now_s: float) -> None:
        slot = _slot(child.role, child.number)
        reason = ""
        child.kills += code == -signal.SIGKILL
        if code == USER_ERROR_CODE:
            reason = _last_line(self.log_path(child.role, child.number))
            if not (self.spares_others and child.is_proven):
                raise UserError(f"{slot} cannot run: {reason}")
            child.wait_s = RESTART_MOST_S  # somebody must act
        logger().error("process died", slot=slot, code=code, again_in_s=child.wait_s, reason=reason)
        child.due_s = now_s + child.wait_s
        child.wait_s = min(child.wait_s * 2, RESTART_MOST_S)


def run_all(config: Path) -> dict[str, int]:
    """Run all roles of a settings file until SIGTERM or Ctrl-C, then drain them.

    Returns:
        How often each process was started again, by its slot.

    Raises:
        UserError: a venue of the settings cannot be captured, before anything is started; or a role cannot run with
            these settings, and never did: the others are drained first.
    """
    settings = load_settings(config)
    for venue in settings.venues:
        find_wire(venue)
    supervisor = Supervisor(config, roles_of(settings), settings.local.home / "logs", spares_others=True)
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    forget_dead(settings)  # what an earlier run left: roles of other settings may be missing now on purpose
    forget_all_failures(settings)
    supervisor.start()
    logger().info("roles started", pids=supervisor.pids())
    reserve = local_reserve(settings)
    reviver = local_reviver(settings, reserve) if reserve is not None else None
    try:
        while not stopping.wait(0.2):
            supervisor.restart_dead()
            if reviver is not None:
                reviver.look()
    finally:
        restarts = supervisor.restarts()
        supervisor.stop()
        logger().info("roles drained")
    return restarts


def _slot(role: Role, number: int) -> str:
    return role.name if role.processes == 1 else f"{role.name}-{number}"


def _wait(child: Child, seconds: float) -> None:
    try:
        child.process.wait(seconds)
    except subprocess.TimeoutExpired:
        logger().warning("not drained in time, killed", slot=_slot(child.role, child.number))
        child.process.kill()
        child.process.wait()


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return lines[-1].removeprefix("tickerplant: ") if lines else "it says nothing"
