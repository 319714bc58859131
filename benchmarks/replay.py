"""A session of several symbols live through the whole flow at full speed, then replayed from the topic and the archive.

Each until all is in both stores. Run: python -m benchmarks.replay
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.demo import write_symbols
from benchmarks.ending import in_a_line
from tickerplant.demo.run import CONFIG_NAME
from tickerplant.local import background, stack
from tickerplant.settings import Settings, load_settings


def measure() -> dict[str, Any]:
    """Measure frames per second of the live flow, and of both replays; and how many times as fast they are."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        recording, home = Path(folder) / "symbols.txt", Path(folder) / "home"
        write_symbols(recording)
        config = home / "demo" / CONFIG_NAME
        try:
            live = tickerplant(home, "demo", "--json", "--keep", "--recording", str(recording))
            settings = load_settings(config, {})
            background.stop(settings, lambda _line: None)  # its roles and the venue have nothing to do any more
            topic, archive = replayed(home, config, "topic"), replayed(home, config, "archive", archived(settings))
        finally:
            settings = load_settings(config, {})
            background.stop(settings, lambda _line: None)
            stack.down(settings, lambda _line: None)
    rates = {
        "live": live["frames_served"] / live["seconds"],
        "topic": topic["frames"] / topic["seconds"],
        "archive": archive["frames"] / archive["seconds"],
    }
    return {
        "frames": topic["frames"],
        **{f"{name}_frames_per_s": round(rate) for name, rate in rates.items()},
        "topic_times_live": round(rates["topic"] / rates["live"], 2),
        "archive_times_live": round(rates["archive"] / rates["live"], 2),
        "processed_frames_per_s": {"topic": topic["frames_per_s"], "archive": archive["frames_per_s"]},
    }


def replayed(home: Path, config: Path, into: str, *arguments: str) -> dict[str, Any]:
    """Replay all there is, then remove what was rebuilt."""
    words = ("replay", "--json", "--config", str(config))
    found = tickerplant(home, *words, "--topic", "raw.binance", "--into", into, *arguments)
    tickerplant(home, *words, "--drop", into)
    return found


def archived(settings: Settings) -> str:
    """Name the archive of the live run."""
    return f"--from-archive={settings.object_store.root}"


def tickerplant(home: Path, *words: str) -> dict[str, Any]:
    """Run a command; a failure ends the benchmark."""
    command = [sys.executable, "-m", "tickerplant", *words]
    environment = os.environ | {"TICKERPLANT_LOCAL__HOME": str(home)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    with in_a_line():
        print(measure())
