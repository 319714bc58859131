"""What a person wants of a sink: runs, paused or stopped, and how often it was told to restart; kept in a file.

`<local.home>/run/steer-<store>.json` is written by commands and the REST API, and looked at by every process of that
sink that has the same home. It outlives processes, as Kafka Connect's target states do.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from tickerplant.errors import UserError
from tickerplant.settings import Settings

Target = Literal["RUNNING", "PAUSED", "STOPPED"]


class Wish(msgspec.Struct, frozen=True):
    """What is wanted of one sink.

    Args:
        restarts: how often all tasks were told to restart.
        task_restarts: how often one task was, by its number.
    """

    target: Target = "RUNNING"
    restarts: int = 0
    task_restarts: dict[int, int] = {}

    def restarts_of(self, task: int) -> int:
        """Tell how often a task was told to restart, in all."""
        return self.restarts + self.task_restarts.get(task, 0)


NOTHING: Final = Wish()


class Steering:
    """The wish for one sink, as it stands in its file."""

    def __init__(self, settings: Settings, store: str) -> None:
        self.path: Final[Path] = settings.local.home / "run" / f"steer-{store}.json"

    def read(self) -> Wish:
        """Read it; where there is no file, or none that can be read, the sink is to run."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Wish)
        except (OSError, msgspec.MsgspecError):
            return NOTHING

    def aim(self, target: Target) -> None:
        """Want a state; raises as `restart`."""
        self._change(lambda wish: msgspec.structs.replace(wish, target=target))

    def restart(self, task: int | None = None) -> None:
        """Want a task to restart, or all of them (None).

        Raises:
            UserError: the file cannot be written.
        """
        if task is None:
            self._change(lambda wish: msgspec.structs.replace(wish, restarts=wish.restarts + 1))
            return
        self._change(
            lambda wish: msgspec.structs.replace(
                wish, task_restarts=wish.task_restarts | {task: wish.task_restarts.get(task, 0) + 1}
            )
        )

    def _change(self, change: Callable[[Wish], Wish]) -> None:
        """Read, change, write; one at a time of all threads and processes, or one would undo another's."""
        draft = self.path.with_name(f".{self.path.name}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(f".{self.path.name}.lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                draft.write_bytes(msgspec.json.encode(change(self.read())))
                draft.replace(self.path)
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}; see local.home") from None
