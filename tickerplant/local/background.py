"""Processes of ours that outlive the command that started them: the simulated venue, and `tickerplant run`."""

import os
import sys
from collections.abc import Callable

from tickerplant.errors import UserError
from tickerplant.local import process
from tickerplant.local.server import Home
from tickerplant.settings import ENV_PREFIX, Settings

VENUE = "venue"
ROLES = "run"
DRAIN_WAIT_S = 60.0


def start(settings: Settings, name: str, arguments: list[str]) -> None:
    """Start `python -m ARGUMENTS` detached, with a log and a pid file like a server's.

    Its settings come from its arguments alone: `TICKERPLANT_*` names of our own environment do not reach it.
    """
    home = Home.of(settings)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ENV_PREFIX)}
    process.start((sys.executable, "-m", *arguments), home.pid_file(name), log=home.log(name), environment=environment)


def serves(settings: Settings, name: str, port: int) -> bool:
    """Tell whether it is this process that listens on a port; False = not yet.

    Raises:
        UserError: it has ended, as where another process took the port meanwhile.
    """
    home = Home.of(settings)
    running = process.read_pid_file(home.pid_file(name))
    if running is None or process.find(running) is None:
        said = "".join(process.last_lines(home.log(name), 1)).removeprefix("tickerplant: ")
        raise UserError(f"{name} has ended: {said or 'it said nothing'}")
    return process.listens(running, port)


def stop(settings: Settings, say: Callable[[str], None]) -> None:
    """Stop those that run, the roles first, which drain."""
    home = Home.of(settings)
    for name in (ROLES, VENUE):
        if process.stop(home.pid_file(name), wait_s=DRAIN_WAIT_S):
            say(f"{name}: stopped")
