"""How a process of a benchmark is ended: asked first, killed where it does not hear."""

import signal
import subprocess


def end(process: subprocess.Popen[bytes], patience_s: float, by: signal.Signals = signal.SIGTERM) -> None:
    """Ask a process by a signal to end, and kill it after a while."""
    process.send_signal(by)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
