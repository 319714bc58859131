"""How a role is, and what it lacks: kept while it works, served beside `/metrics`, told once in the log each way.

`GET /live`   200 as long as the main loop turns; a missing dependency never fails it
`GET /ready`  200 when every dependency answers, else 503; JSON of the same shape both times

A dependency may have several witnesses: a probe that asks it every other second, and the work itself (a store that
does not take a write). It is up when none of them complains.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable
from wsgiref.types import WSGIApplication

import msgspec

from tickerplant.errors import DependencyError, UserError
from tickerplant.logs import logger
from tickerplant.masking import mask
from tickerplant.metrics import DEPENDENCY_UP, Answer, serve_metrics
from tickerplant.processes import remove_note
from tickerplant.settings import Settings
from tickerplant.watchdog import Work, guarded

KAFKA: Final = "kafka"
REGISTRY: Final = "registry"
OBJECT_STORE: Final = "object_store"
CLICKHOUSE: Final = "clickhouse"
DISK: Final = "disk"

PROBE_EVERY_S: Final = 2.0
PROBE_TIMEOUT_S: Final = 4.0
LIVE_S: Final = 150.0
"""So long a turn of a main loop may take: the longest calls into stores and brokers end before (60 s)."""
JOIN_S: Final = 1.0
START_POLL_S: Final = 0.05
START: Final = "start"
WORK: Final = "work"
PROBE: Final = "probe"

Probe = Callable[[], None]
"""Asks a dependency; returns within a few seconds, raises DependencyError where it does not answer."""


@runtime_checkable
class Closing(Protocol):
    """A probe that holds a connection."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True)
class Missing:
    """A dependency that is away, why, and for how long."""

    dependency: str
    reason: str
    since_s: float


@dataclass
class _Dependency:
    since_s: float
    complaints: dict[str, str] = field(default_factory=dict)  # witness → reason; empty = it is up
    was_up: bool = False
    is_told: bool = False  # its loss stands in the log

    def reason(self) -> str:
        """Give the first complaint; that work has not begun counts last: what others complain of may be the cause."""
        return min(self.complaints.items(), key=lambda complaint: complaint[0] == WORK)[1]


class Health:
    """What one role knows of itself; thread-safe.

    Args:
        role: as in logs and metrics.
        is_patient: log also the absence of what was never seen; else the role is about to end with that very reason.
        now_s: a clock that never goes back, seconds.
    """

    def __init__(self, role: str, *, is_patient: bool = False, now_s: Callable[[], float] = time.monotonic) -> None:
        self.role = role
        self.is_patient = is_patient
        self.mistake: UserError | None = None  # what a probe was told that waiting cannot mend
        self._now_s = now_s
        self._lock = threading.Lock()
        self._known: dict[str, _Dependency] = {}
        self._beaten_s = now_s()
        self._log = logger().bind(role=role)  # threads of probes have no role of their own

    def expect(self, *dependencies: str) -> None:
        """Count dependencies as missing until somebody has seen them; nothing is logged."""
        for name in dependencies:
            self._note(name, START, "not reached yet")

    def starts(self) -> None:
        """Count Kafka as missing until `works`: a role that answers probes and reads nothing yet is not ready."""
        self._note(KAFKA, WORK, "the role is starting")

    def works(self) -> None:
        """Tell that the role does its work."""
        self.up(KAFKA, WORK)

    def up(self, dependency: str, witness: str = PROBE) -> None:
        """Note that a witness has nothing to complain of."""
        with self._lock:
            found = self._known.setdefault(dependency, _Dependency(self._now_s()))
            was_up = not found.complaints
            found.was_up = True
            found.complaints.pop(START, None)
            found.complaints.pop(witness, None)
            is_back = not was_up and not found.complaints
            is_told, found.is_told = found.is_told, found.is_told and not is_back
            away_s = self._now_s() - found.since_s
        if not found.complaints:
            DEPENDENCY_UP.labels(self.role, dependency).set(1)
        if is_back and is_told:
            self._log.info("dependency is back", dependency=dependency, away_s=round(away_s, 1))

    def down(self, dependency: str, reason: str, witness: str = PROBE) -> None:
        """Note a complaint; the first one since the dependency was up is logged."""
        self._note(dependency, witness, reason)

    def beat(self) -> None:
        """Tell that the main loop turns; cheap enough for each turn."""
        self._beaten_s = self._now_s()

    def missing(self) -> list[Missing]:
        """List what is away, by name; empty = ready."""
        with self._lock:
            now_s = self._now_s()
            return [
                Missing(name, found.reason(), round(now_s - found.since_s, 1))
                for name, found in sorted(self._known.items())
                if found.complaints
            ]

    def is_answered(self, dependencies: Iterable[str]) -> bool:
        """Tell whether the probes of these have all been answered, whatever other witnesses say."""
        with self._lock:
            return not any({START, PROBE} & self._known[name].complaints.keys() for name in dependencies)

    def is_live(self) -> bool:
        """Tell whether the main loop turned lately."""
        return self._now_s() - self._beaten_s < LIVE_S

    def work(self) -> Work:
        """Tell the watchdog how far the main loop is."""
        return Work(self._beaten_s)

    def answer_live(self) -> Answer:
        """Make the answer to `GET /live`."""
        is_live = self.is_live()
        return _answer(is_good=is_live, body={"role": self.role, "live": is_live})

    def answer_ready(self) -> Answer:
        """Make the answer to `GET /ready`."""
        missing = self.missing()
        return _answer(is_good=not missing, body={"role": self.role, "ready": not missing, "missing": missing})

    def _note(self, dependency: str, witness: str, reason: str) -> None:
        with self._lock:
            found = self._known.setdefault(dependency, _Dependency(self._now_s()))
            if not found.complaints:
                found.since_s = self._now_s()
            if witness != START:
                found.complaints.pop(START, None)
            found.complaints[witness] = mask(reason)  # `/ready` tells it
            is_news = witness not in {START, WORK} and not found.is_told and (found.was_up or self.is_patient)
            found.is_told = found.is_told or is_news
        DEPENDENCY_UP.labels(self.role, dependency).set(0)
        if is_news:
            self._log.warning("dependency is away, waiting", dependency=dependency, reason=reason)


@contextmanager
def watched(
    settings: Settings,
    health: Health,
    probes: Mapping[str, Probe],
    put: Callable[[WSGIApplication], WSGIApplication] = lambda app: app,
) -> Iterator[None]:
    """Serve `/metrics`, `/live` and `/ready`, and probe dependencies by threads of their own, within the block.

    A patient role enters the block only once all probes have succeeded, however long that takes. Within the block, a
    role whose main loop does not turn for too long is ended by the watchdog.

    Args:
        probes: by dependency.
        put: what is put before the answers of the metrics port.

    Raises:
        UserError: the metrics port is in use; a patient role was refused, which waiting cannot mend.
    """
    serve_metrics(settings, health.role, {"/live": health.answer_live, "/ready": health.answer_ready}, put)
    health.expect(*probes)
    stopping = threading.Event()
    threads = [
        threading.Thread(target=_probe_forever, args=(health, *each, stopping), name=f"probe-{each[0]}", daemon=True)
        for each in probes.items()
    ]
    for thread in threads:
        thread.start()
    try:
        with guarded(health.role, LIVE_S, lambda: {"main loop": health.work()}):
            _wait_for(health, probes)
            yield
    except (UserError, SystemExit):
        remove_note(settings, health.role)
        raise
    else:  # not where it crashed: then the note tells that a process is missing
        remove_note(settings, health.role)
    finally:
        stopping.set()
        for thread, probe in zip(threads, probes.values(), strict=True):
            thread.join(JOIN_S)
            if isinstance(probe, Closing) and not thread.is_alive():
                probe.close()


def _wait_for(health: Health, probes: Iterable[str]) -> None:
    """Wait until all probes of a patient role were answered."""
    while health.is_patient and not health.is_answered(probes):
        health.beat()
        time.sleep(START_POLL_S)
        if health.mistake is not None:
            raise health.mistake


def _probe_forever(health: Health, dependency: str, probe: Probe, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            probe()
        except DependencyError as error:
            health.down(dependency, error.hint)
        except UserError as error:
            health.mistake = error
            health.down(dependency, str(error))
        except Exception as error:  # noqa: BLE001  # a probe that ended would leave its last word standing for ever
            health.down(dependency, f"{type(error).__name__}: {error}")
        else:
            health.up(dependency)
        stopping.wait(PROBE_EVERY_S)


def _answer(*, is_good: bool, body: Mapping[str, Any]) -> Answer:
    return (200 if is_good else 503), msgspec.json.encode(body)
