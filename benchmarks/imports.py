"""What it takes to import each of our processes: the least of several tries, from the start of Python on.

How long Python takes to forget it all at its end is left out. On a machine that does other work too, processor time
tells more than the clock. Bytecode is compiled before, as installers do.

Run: python -m benchmarks.imports
"""

import os
import sys
import time
from typing import Any

from tickerplant.lean import MODULES, import_program

TRIES = 10
END = "\nimport os\nos._exit(0)"  # at once, with nothing tidied up


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
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", program], environment)
    _, status, used = os.wait4(pid, 0)
    assert status == 0, program
    return time.perf_counter() - began_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    for name, figures in measure().items():
        print(f"{name:<16}", figures)
