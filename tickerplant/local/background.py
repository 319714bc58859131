"""Processes of ours that outlive the command that started them: the simulated venue, and `tickerplant run`."""

import os
import sys
from collections.abc import Callable

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


def stop(settings: Settings, say: Callable[[str], None]) -> None:
    """Stop those that run, the roles first, which drain."""
    home = Home.of(settings)
    for name in (ROLES, VENUE):
        if process.stop(home.pid_file(name), wait_s=DRAIN_WAIT_S):
            say(f"{name}: stopped")
