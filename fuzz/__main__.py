"""`python -m fuzz [TARGET ...] --seconds N`: coverage-guided fuzzing of one target after the other, by atheris.

What is found stands in a file under the folder, and is run again by `python -m fuzz TARGET --replay FILE`. The corpus
grows from run to run.
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(".tickerplant/fuzz")


def main() -> int:
    """Run the command line; returns the exit code: 1 = something was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="none = all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--runs", type=int, default=-1, help="at most, for each target")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="corpus and findings")
    parser.add_argument("--replay", type=Path, help="run a target on this file, and nothing else")
    options = parser.parse_args()
    if options.replay:
        return _replay(options.targets, options.replay.read_bytes())
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: it is there on Linux, by `make install`; `make test` needs none")
    from fuzz import guided  # noqa: PLC0415  # before any target: it watches what is imported from here on

    names = options.targets or list(guided.TARGETS)
    unknown = set(names) - set(guided.TARGETS)
    if unknown:
        parser.error(f"no target is called {', '.join(sorted(unknown))}; there are {', '.join(guided.TARGETS)}")
    limits = guided.Limits(seconds=options.seconds, runs=options.runs)
    found = [name for name in names if not guided.fuzz(name, limits, options.folder)]
    print(f"{len(found)} of {len(names)} targets have findings: {', '.join(found) or 'none'}")
    return 1 if found else 0


def _replay(names: list[str], data: bytes) -> int:
    from fuzz.target import run_bounded  # noqa: PLC0415  # see above
    from fuzz.targets import TARGETS  # noqa: PLC0415  # see above

    for name in names:
        run_bounded(TARGETS[name], data)
        print(f"{name}: nothing is found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
