"""What it takes to import each of our processes: the least of several tries, from the start of Python on.

How long Python takes to forget it all at its end is left out. On a machine that does other work too, processor time
tells more than the clock. Bytecode is compiled before, as installers do.

Run: python -m benchmarks.imports
"""

import os
import subprocess
import sys
import time
from typing import Any

from tickerplant.lean import MODULES, import_program

TRIES = 10
END = """
import os, time
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
os.write(1, f"{time.process_time()} {status['VmHWM'].split()[0]}".encode())
os._exit(0)  # at once, with nothing tidied up
"""


def measure() -> dict[str, Any]:
    """Measure each process."""
    return {process: best(import_program(process) + END) for process in MODULES}


def best(program: str) -> dict[str, float]:
    """Run a program some times: its least seconds by the clock and of the processor, and its memory at the end."""
    found = [once(program) for _ in range(TRIES)]
    wall_s, cpu_s, memory_mb = (min(each) for each in zip(*found, strict=True))
    return {"wall_s": round(wall_s, 2), "processor_s": round(cpu_s, 2), "memory_mb": round(memory_mb)}


def once(program: str) -> tuple[float, float, float]:
    """Run a program in a fresh interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began_s = time.perf_counter()
    shown = subprocess.run([sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE).stdout
    wall_s = time.perf_counter() - began_s
    processor_s, kilobytes = shown.split()[-2:]
    return wall_s, float(processor_s), int(kilobytes) / 1024


if __name__ == "__main__":
    for name, figures in measure().items():
        print(f"{name:<16}", figures)
