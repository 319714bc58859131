"""How a process of a benchmark is ended: asked first, killed where it does not hear; itself by a line."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tickerplant.errors import UserError


def end(process: subprocess.Popen[bytes], patience_s: float, by: signal.Signals = signal.SIGTERM) -> None:
    """Ask a process by a signal to end, and kill it after a while."""
    process.send_signal(by)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def in_a_line() -> Iterator[None]:
    """End by one line, with code 2, where something is absent, or a recording cannot be read."""
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
