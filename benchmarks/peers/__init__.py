"""Other projects, each in a Python of its own below .tickerplant/peers, so that ours stays as it is installed.

Scripts of this folder, `play_NAME.py` and the like, run there: they import nothing of ours, take their inputs by path,
and print one line of JSON.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any, Final

from benchmarks.turns import SideError

ROOT: Final = Path(__file__).parents[2]
HOME: Final = ROOT / ".tickerplant" / "peers"
INSTALL_S: Final = 600.0
PATIENCE_S: Final = 600.0
REASON: Final = 400  # characters of why an installation failed
# What is installed for each: the newest release of the peer that its users get, pinned.
PACKAGES: Final = {
    "aiokafka": ("aiokafka==0.14.0", "cramjam==2.14.0", "fastavro==1.13.1", "orjson==3.13.0", "uvloop==0.23.0"),
    "cavro": ("cavro==1.0.0",),
    "ccxt": ("ccxt==4.5.90",),
    "clickhouse-connect": ("clickhouse-connect==1.12.0", "confluent-kafka[avro,schemaregistry]==2.16.0"),
    "cryptofeed": ("cryptofeed==2.4.1",),
    "faust": (
        "faust-streaming==0.15.3",
        "cramjam==2.14.0",
        "fastavro==1.13.1",
        "orjson==3.13.0",
        "uvloop==0.23.0",
    ),
    "hftbacktest": ("hftbacktest==2.4.4",),
    "loop": ("confluent-kafka==2.16.0", "fastavro==1.13.1", "orjson==3.13.0"),
    "order_book": ("order-book==1.1.0; python_version >= '3.13'", "order-book==0.6.1; python_version < '3.13'"),
    "pyarrow": ("pyarrow==26.0.1", "fastavro==1.13.1", "s3fs==2026.9.0", "confluent-kafka==2.16.0"),
    "quixstreams": ("quixstreams[avro]==3.28.1", "orjson==3.13.0"),
    "sortedcontainers": ("sortedcontainers==2.4.0",),
}


class PeerError(SideError):
    """A peer cannot be installed here, or does not answer."""


def python_of(peer: str) -> Path:
    """Install a peer, once; returns its Python.

    Raises:
        PeerError: it cannot be installed, in a line.
    """
    folder = HOME / peer
    python, ready = folder / "bin" / "python", folder / ".ready"
    wanted = "\n".join(PACKAGES[peer])
    if not ready.exists() or ready.read_text() != wanted:
        uv = str(Path(sys.executable).with_name("uv"))
        try:
            _do([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
            _do([uv, "pip", "install", "--quiet", "--python", str(python), *PACKAGES[peer]])
        except PeerError as error:
            raise PeerError(f"{', '.join(PACKAGES[peer])} cannot be installed: {error}") from error
        ready.write_text(wanted)
    return python


def _do(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=True)
    except subprocess.CalledProcessError as error:
        raise PeerError(" ".join(error.stderr.split())[:REASON] or str(error)) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(str(error)) from error


class Asked:
    """A process that answers a line of JSON with a line of JSON, for as long as it lives; to be closed.

    It pays once for its imports, and stays warm, however many rounds there are.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._name = " ".join(command[1:3])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def ask(self, question: Any) -> Any:
        """Wait for the answer to a question, ten minutes at most.

        Raises:
            PeerError: the process ended, or was ended for taking too long, or says what is no answer; its error was
                printed.
        """
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        timer = Timer(PATIENCE_S, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise PeerError(f"{self._name} gave no answer{f': {line[:80]!r}' if line else ''}") from None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def asked(peer: str, script: str, *arguments: str) -> Asked:
    """Start a script of this folder in a peer's Python; raises as `python_of`."""
    return Asked([str(python_of(peer)), str(Path(__file__).with_name(script)), *arguments])


def run(peer: str, script: str, *arguments: str) -> dict[str, Any] | None:
    """Run a script of this folder in a peer's Python; None = it failed, as is printed. Raises as `python_of`."""
    return answer([str(python_of(peer)), str(Path(__file__).with_name(script)), *arguments])


def answer(command: Sequence[str]) -> dict[str, Any] | None:
    """Run a command from the root; returns the JSON of its last line, None where it failed (its error is printed)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        print(f"{command[1:2]}: not done in {PATIENCE_S:g} s", file=sys.stderr)
        return None
    if done.returncode or not done.stdout:
        print(f"{command[1:2]}: {done.stderr.strip()[-500:]}", file=sys.stderr)
        return None
    return dict(json.loads(done.stdout.splitlines()[-1]))
