"""Start-up and memory by process: importing, from its start to ready, memory at rest and under 2,000 frames/s.

The stack is started empty, then again; then each role alone, one after the other, with nothing to do, and its seconds
run from its start until `/ready` says so. Memory at rest is told once all are up; then a simulated market of 20 symbols
trades. Importing is the least of several tries in a fresh interpreter: on a machine that does other work too, processor
time tells more than the clock. Bytecode is compiled before, as installers do; downloads are cached.

Run: python -m benchmarks.startup [imports]
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.load import are_ready, resident_mb, servers, used_s
from benchmarks.recovery import Load, settings_in
from tickerplant.demo.options import write_settings
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.deploy import deploy
from tickerplant.lean import MODULES, import_program
from tickerplant.local import background, stack
from tickerplant.settings import Settings
from tickerplant.supervise import Role, Supervisor, roles_of

TRIES: Final = 5
LOAD: Final = Load("binance", "spot", ("trade", "quote", "depth"), symbols=20, rate=2000)
LOAD_S: Final = 45.0
REST_S: Final = 5.0
SAMPLE_S: Final = 0.5
POLL_S: Final = 0.01
PATIENCE_S: Final = 60.0
OF_ROLES: Final = {"sink-clickhouse": "sink clickhouse", "sink-parquet": "sink parquet"}
"""What a role is called among the programs that are imported, where that differs."""
END: Final = """
import os, time
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
os.write(1, f"{time.process_time()} {status['VmHWM'].split()[0]}".encode())
os._exit(0)  # at once, with nothing tidied up
"""


def measure() -> dict[str, Any]:
    """Measure the stack and each process."""
    found: dict[str, dict[str, float]] = {process: best(import_program(process) + END) for process in MODULES}
    with tempfile.TemporaryDirectory(prefix="bench") as folder, ExitStack() as ending:
        settings = settings_in(Path(folder), LOAD)
        ending.callback(stack.down, settings, silent)
        empty_s = seconds_of(lambda: stack.up(settings, silent))
        stack.down(settings, silent)
        again_s = seconds_of(lambda: stack.up(settings, silent))
        for name, figures in by_process(settings, ending).items():
            found[name] = found.get(name, {}) | figures
    return {"stack_empty_s": empty_s, "stack_again_s": again_s} | found


def by_process(settings: Settings, ending: ExitStack) -> dict[str, dict[str, float]]:
    """Start each role and tell its seconds, then memory of all, at rest and under load, and cores used meanwhile."""
    deploy(settings)
    config = settings.local.home / "bench.toml"
    write_settings(settings, config)
    venue = open_venue(settings, ending)
    roles = {OF_ROLES.get(role.name, role.name): role for role in roles_of(settings)}
    started: dict[str, tuple[int, float]] = {}
    for name, role in roles.items():
        started[name] = start(settings, config, role, ending)
    pids = {name: pid for name, (pid, _) in started.items()} | servers(settings)
    time.sleep(REST_S)
    rest = {name: resident_mb(pid) for name, pid in pids.items()}
    venue.start()
    most, cores = under_load(pids)
    return {
        name: ({"ready_s": started[name][1]} if name in started else {})
        | {"rest_mb": rest[name], "load_mb": most[name], "cores": cores[name]}
        for name in pids
    }


def open_venue(settings: Settings, ending: ExitStack) -> SimulatedVenue:
    """Start a simulated venue whose market does not trade yet."""
    named = {"--market": LOAD.market, "--port": settings.local.simulator_port} | {
        "--venue": LOAD.venue,
        "--symbols": LOAD.symbols,
        "--rate": LOAD.rate,
    }
    arguments = [str(part) for pair in named.items() for part in pair]
    ending.callback(background.stop, settings, silent)
    background.start(settings, background.VENUE, ["tickerplant.local.venue", *arguments])
    venue = SimulatedVenue(settings, LOAD.venue.upper())
    wait_for(venue.is_up, "the simulated venue")
    return venue


def start(settings: Settings, config: Path, role: Role, ending: ExitStack) -> tuple[int, float]:
    """Start a role; returns its process id, and the seconds until it was ready."""
    supervisor = Supervisor(config, [role], settings.local.home / "logs")
    ending.callback(supervisor.stop)
    supervisor.start()
    (child,) = supervisor.children
    wait_for(lambda: are_ready(settings, [child.process.pid]), role.name)
    return child.process.pid, round(time.monotonic() - child.started_s, 2)


def under_load(pids: dict[str, int]) -> tuple[dict[str, int], dict[str, float]]:
    """Look on for a while: the most resident memory of each, and the cores used."""
    most = dict.fromkeys(pids, 0)
    before, began_s = {name: used_s(pid) for name, pid in pids.items()}, time.monotonic()
    while time.monotonic() - began_s < LOAD_S:
        most = {name: max(most[name], resident_mb(pid)) for name, pid in pids.items()}
        time.sleep(SAMPLE_S)
    seconds = time.monotonic() - began_s
    return most, {name: round((used_s(pid) - before[name]) / seconds, 2) for name, pid in pids.items()}


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > until_s:
            sys.exit(f"{what} does not get ready")
        time.sleep(POLL_S)


def seconds_of(work: Callable[[], object]) -> float:
    """Time something by the clock."""
    began_s = time.monotonic()
    work()
    return round(time.monotonic() - began_s, 1)


def best(program: str) -> dict[str, float]:
    """Run a program some times: its least seconds by the clock and of the processor, and its memory at the end."""
    found = [once(program) for _ in range(TRIES)]
    wall_s, cpu_s, memory_mb = (min(each) for each in zip(*found, strict=True))
    return {"import_s": round(wall_s, 2), "import_processor_s": round(cpu_s, 2), "import_mb": round(memory_mb)}


def once(program: str) -> tuple[float, float, float]:
    """Run a program in a fresh interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began_s = time.perf_counter()
    shown = subprocess.run([sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE).stdout
    wall_s = time.perf_counter() - began_s
    processor_s, kilobytes = shown.split()[-2:]
    return wall_s, float(processor_s), int(kilobytes) / 1024


def silent(_line: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    if sys.argv[1:] == ["imports"]:
        for name in MODULES:
            print(f"{name:<16}", best(import_program(name) + END))
    else:
        for name, figures in measure().items():
            print(f"{name:<16}", figures)
