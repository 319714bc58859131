"""A recorded session in the raw topic → cleaned topics, through one processor process, the broker on the same cores.

Run: python -m benchmarks.processor [spot|usdm|coinm]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.ending import in_a_line
from benchmarks.inputs import SESSIONS, packed, session
from schemas.records import RawFrames
from schemas.topics import raw_topic
from tickerplant.demo.options import write_settings
from tickerplant.deploy import deploy
from tickerplant.kafka import Publisher
from tickerplant.local import stack
from tickerplant.local.ports import with_local
from tickerplant.registry import Registry
from tickerplant.scrape import scrape
from tickerplant.settings import Settings

SAMPLE_S = 1.0
PATIENCE_S = 900.0


def measure(market: str, *, snapshot_s: float = 1.0) -> dict[str, float]:
    """Measure frames per second of one processor over a session, and its memory.

    Args:
        snapshot_s: how often its state is written.
    """
    session(market)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = with_local(Settings(), Path(folder), keep_free_ports=False)
        settings = settings.model_copy(
            update={"processor": settings.processor.model_copy(update={"snapshot_s": snapshot_s})}
        )
        stack.up(settings, lambda line: print(line, file=sys.stderr))
        try:
            deploy(settings)
            frames = fill(settings, market)
            config = Path(folder) / "bench.toml"
            write_settings(settings, config)
            return run_processor(settings, config, frames) | {"frames": frames}
        finally:
            stack.down(settings, lambda _line: None)


def fill(settings: Settings, market: str) -> int:
    """Write the session into one partition of the raw topic; returns the number of frames."""
    topic = raw_topic("binance")
    encoder = Registry(settings).encoder(topic, RawFrames)
    publisher = Publisher(settings)
    frames = 0
    for record in packed(market):
        frames += len(record.frames)
        publisher.send(topic.name, 0, b"0", encoder.encode(record))
    publisher.flush()
    return frames


def run_processor(settings: Settings, config: Path, frames: int) -> dict[str, float]:
    """Start a processor and watch it until it has seen all frames."""
    command = [sys.executable, "-m", "tickerplant", "process", "--config", str(config)]
    with (config.parent / "process.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        return watch(settings, process, frames)
    finally:
        process.terminate()
        process.wait(30)


def watch(settings: Settings, process: subprocess.Popen[bytes], frames: int) -> dict[str, float]:
    """Sample the processor's counter; rates are those between the first sample with progress and the last."""
    first: tuple[float, float, float] | None = None
    seen, until_s = 0.0, time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        found = scrape(settings)
        seen, now_s = found.total("stage_received_total", stage="process"), time.monotonic()
        if seen and first is None:
            first = now_s, spent_s(process.pid), seen
        if seen >= frames and first is not None:
            memory = max((each.memory_bytes for each in found.processes), default=0)
            # all before the first sample is left out of each
            past_s, used_s = now_s - first[0], spent_s(process.pid) - first[1]
            rates = (round((seen - first[2]) / each) if each else 0 for each in (past_s, used_s))
            names = ("frames_per_s", "frames_per_processor_s")
            return {**dict(zip(names, rates, strict=True)), "memory_mb": memory // 2**20}
        if process.poll() is not None:
            log = (settings.local.home / "process.log").read_text(errors="replace")
            sys.exit(f"the processor ended with code {process.returncode}: {log[-2000:]}")
        time.sleep(SAMPLE_S)
    sys.exit(f"the processor has seen {seen:,.0f} of {frames:,} frames in {PATIENCE_S:g} s")


def spent_s(pid: int) -> float:
    """Ask for the processor time of a process, seconds: where other work is done, too, it tells more than a clock."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    with in_a_line():
        for name in sys.argv[1:] or list(SESSIONS):
            print(name, measure(name))
