"""A target under atheris, each in a process of its own, since the library ends it."""

import hashlib
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import atheris

__all__ = ["TARGETS", "Limits", "fuzz"]

with atheris.instrument_imports(include=["schemas", "producers", "processors", "sinks", "tickerplant", "fuzz"]):
    from fuzz.mutations import mutate
    from fuzz.target import Target, run_bounded
    from fuzz.targets import TARGETS

MOST_MEMORY_BYTES: Final = 4 * 1024**3
MOST_INPUT_BYTES: Final = 16 * 1024
MEASURED_EVERY: Final = 64
"""Measuring memory slows a run down threefold: one in so many is."""
NOISE: Final = ("INFO", "#", "stat::", "WARNING")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a target is fuzzed: seconds, and runs (-1 = any number)."""

    seconds: int
    runs: int = -1


def fuzz(name: str, limits: Limits, folder: Path) -> bool:
    """Fuzz a target and print what came of it; tells whether there was no finding."""
    corpus, findings, log = folder / "corpus" / name, folder / "findings", folder / f"{name}.log"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.glob(f"{name}-*"))
    child = os.fork()
    if not child:
        _redirect(log)
        options = [f"-max_total_time={limits.seconds}", f"-runs={limits.runs}", f"-artifact_prefix={findings}/{name}-"]
        _fuzz(TARGETS[name], options, corpus)
    _, status = os.waitpid(child, 0)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    runs = next((line.split()[-1] for line in lines if line.startswith("stat::number_of_executed_units")), "?")
    print(f"{name:<22} {runs:>10} executions  {'ok' if status == 0 else 'FINDING'}", flush=True)
    if status:
        print("\n".join(line for line in lines if not line.startswith(NOISE))[-3000:])
        for path in sorted(set(findings.glob(f"{name}-*")) - before):
            print(f"again: python -m fuzz {name} --replay {path}")
    return status == 0


def _redirect(log: Path) -> None:
    """Send all that this process and the library print to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(file, number)


def _fuzz(target: Target, options: list[str], corpus: Path) -> None:
    """Fuzz until a limit is reached or something is found; ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    for seed in target.seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    common = [
        f"-max_len={MOST_INPUT_BYTES}",
        "-timeout=60",
        "-rss_limit_mb=3000",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, *common, str(corpus)], _measured(target), custom_mutator=_mutated)
    atheris.Fuzz()


def _measured(target: Target) -> Callable[[bytes], None]:
    count = 0

    def run(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % MEASURED_EVERY:
            target.run(data)
        else:
            run_bounded(target, data)

    return run


def _mutated(data: bytes, most_bytes: int, seed: int) -> bytes:
    """Damage by our own rules, or by the library's, in turn."""
    random = Random(seed)
    if random.random() < 0.5:
        return mutate(data, random)[:most_bytes]
    changed: bytes = atheris.Mutate(data, most_bytes)
    return changed
