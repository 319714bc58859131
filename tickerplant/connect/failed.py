"""Sinks that ended because somebody must act: what each last said, until it is started again; kept in files.

`<local.home>/run/failed-<store>-<task>.json`; whoever answers for the sinks of a home tells of them as failed tasks.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from tickerplant.connect.steering import Steering
from tickerplant.connect.views import ConnectorView
from tickerplant.masking import mask
from tickerplant.settings import Settings


def note_failure(settings: Settings, view: ConnectorView, reason: str) -> None:
    """Note why a task (the one of a view) has failed; where no file can be written, the log alone tells."""
    (task,) = view.tasks
    failed = msgspec.structs.replace(task, state="FAILED", trace=mask(reason))
    path = _path(settings, view.store, task.id)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(view, tasks=(failed,))))


def forget_failure(settings: Settings, store: str, task: int) -> None:
    """Forget it: the task runs again."""
    with suppress(OSError):
        _path(settings, store, task).unlink(missing_ok=True)


def forget_all_failures(settings: Settings) -> None:
    """Forget all of them: those that are started now will say so again, others are not wanted any more."""
    with suppress(OSError):
        for path in _noted(settings):
            path.unlink(missing_ok=True)


def failures(settings: Settings) -> Iterator[ConnectorView]:
    """Tell of the tasks that have failed and were not started since; what is none of our notes is passed over."""
    for path in _noted(settings):
        with suppress(OSError, msgspec.MsgspecError):
            view = msgspec.json.decode(path.read_bytes(), type=ConnectorView)
            yield msgspec.structs.replace(view, target=Steering(settings, view.store).read().target)


def _noted(settings: Settings) -> list[Path]:
    return sorted((settings.local.home / "run").glob("failed-*-*.json"))


def _path(settings: Settings, store: str, task: int) -> Path:
    return settings.local.home / "run" / f"failed-{store}-{task}.json"
