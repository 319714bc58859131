"""The whole flow on this machine, as `tickerplant demo` runs it: throughput of a recording, latency of a steady market.

Run: python -m benchmarks.demo [throughput|latency]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ending import in_a_line
from benchmarks.inputs import names_of, session
from tickerplant.recordings import read_recording

MARKET = "spot"


def throughput() -> dict[str, Any]:
    """Play a session of several symbols as fast as it is read; the end is when all is in both stores."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        recording = Path(folder) / "symbols.txt"
        write_symbols(recording)
        found = demo("--recording", str(recording))
    return chosen(found, "frames_served", "ticks", "seconds", "ticks_per_s", "memory_mb", "lost", "doubled")


def latency() -> dict[str, Any]:
    """Run 2,000 frames a second of 20 symbols for a minute."""
    found = demo("--seconds", "60", "--rate", "2000", "--symbols", "20")
    return chosen(found, "frames_served", "latency_us", "memory_mb", "lost", "doubled")


def write_symbols(path: Path) -> None:
    """Write a session once for each of its names, interleaved, in hftbacktest's format without its snapshot."""
    names = [name.encode() for name in names_of(MARKET)]
    with path.open("wb") as file:
        for frame in read_recording(session(MARKET), MARKET):
            if frame.kind == "MESSAGE":
                for name in names:
                    body = frame.payload.replace(names[0], name).replace(names[0].lower(), name.lower())
                    file.write(b"%d %b\n" % (frame.recv_time_us * 1000, body))


def demo(*arguments: str) -> dict[str, Any]:
    """Run a demo; its end with anything lost or doubled ends the benchmark."""
    command = [sys.executable, "-m", "tickerplant", "demo", "--json", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


def chosen(found: dict[str, Any], *names: str) -> dict[str, Any]:
    """Keep the figures of interest."""
    return {name: found[name] for name in names}


if __name__ == "__main__":
    with in_a_line():
        for name in sys.argv[1:] or ["throughput", "latency"]:
            print(name, {"throughput": throughput, "latency": latency}[name]())
