"""How much functions of ours do, counted and never timed: instructions of the interpreter, and calls out of our code.

Counts follow from the code, its input and the minor version of Python alone. What happens inside of a call to C is not
seen, so calls to what walks over all it is given (a JSON decoder, `sorted`) are counted apart, and by who calls them.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
OURS: Final = tuple(f"{ROOT / name}/" for name in ("schemas", "producers", "processors", "sinks", "tickerplant"))
GENERATED: Final = "<string>"  # where code that we made of schemas says it stands
ENCODERS: Final = "schemas.encoding.encoder_of"  # whose functions are called by whoever asked for them
HEAVY: Final = frozenset(
    {"crc32", "decode", "decompress", "deepcopy", "dumps", "encode", "extend", "join", "loads"}
    | {"max", "min", "remove", "replace", "sort", "sorted", "split", "sum", "update"}
)
WORSE: Final = 1.15
SLIGHTLY: Final = 1.03
LEAST: Final = 10  # instructions more, before anybody is told
WORDS: Final = {
    "own": "instructions of its own",
    "instructions": "instructions",
    "calls": "calls",
    "heavy": "heavy calls",
}


class Work(NamedTuple):
    """What a function did, with all that it called.

    Attributes:
        called: how often it was; 0 where that is no function.
        own: instructions of its own.
        instructions: of the interpreter.
        calls: of functions that are not ours.
        heavy: those of them that take long, by name.
    """

    called: int = 0
    own: int = 0
    instructions: int = 0
    calls: int = 0
    heavy: int = 0


def count(run: Callable[[], object]) -> dict[str, Work]:
    """Run something, and tell what each function of ours did in it, by module and name, in alphabetical order.

    Between them stand the heavy ones that each calls itself, as `caller > callee`.
    """
    counter = _Counter()
    before = sys.gettrace(), sys.getprofile()
    gc.collect()
    gc.disable()  # what it ends, and whoever listens to it, would be counted at any place
    sys.setprofile(counter.on_profile)
    sys.settrace(counter.on_call)
    try:
        run()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
        gc.enable()
    return {name: Work(*counter.found[name]) for name in sorted(counter.found)}


def worse(now: Mapping[str, Work], baseline: Mapping[str, Work]) -> list[str]:
    """Tell which functions do over 15 % more than in a baseline, the worst first; new ones show in their callers.

    More instructions of its own, and more calls, count where they make the whole dearer, too: what was moved into a
    function from those it called is no more than before.
    """
    found: list[tuple[float, str]] = []
    for name in now.keys() & baseline.keys():
        found += _grown(name, now[name], baseline[name])
    for name in now.keys() - baseline.keys():
        caller, _, callee = name.partition(" > ")
        if callee and caller in baseline and now[caller].heavy > baseline[caller].heavy:
            found.append((WORSE, f"{caller}: it calls {callee}, which it did not"))
    return [text for _, text in sorted(found, reverse=True)]


def _grown(name: str, now: Work, before: Work) -> Iterator[tuple[float, str]]:
    """Tell what of a function's work grew too much, and how many times."""
    for what, words in WORDS.items():
        new, old = getattr(now, what), getattr(before, what)
        least = LEAST if "instructions" in words else 1
        is_moved = what in {"own", "calls"} and now.instructions <= SLIGHTLY * before.instructions
        if old and new > WORSE * old and new - old >= least and not is_moved:
            yield new / old, f"{name}: {new:,} {words}, {old:,} in the baseline (+{new / old - 1:.0%})"


class _Counter:
    """Hears of each instruction and call."""

    def __init__(self) -> None:
        self.found: dict[str, list[int]] = {}
        self._stack: list[tuple[str, list[int]]] = []
        self._names: dict[CodeType, str] = {}

    def on_call(self, frame: FrameType, _event: str, _arg: Any) -> Callable[..., Any] | None:
        """Follow functions of ours; others were called out of ours."""
        name = self._name(frame)
        if not name:
            if frame.f_back is not None and self._name(frame.f_back):
                self._note_call(frame.f_code.co_name)
            return None
        if frame.f_code.co_name in HEAVY:
            self._note_heavy(name)
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self._stack.append((name, [1, 0, 0, 0, 0]))
        return self._on_event

    def on_profile(self, frame: FrameType, event: str, function: Any) -> None:
        """Note calls into C."""
        if event == "c_call" and self._stack and self._name(frame):
            self._note_call(function.__name__)

    def _on_event(self, _frame: FrameType, event: str, _arg: Any) -> Callable[..., Any]:
        if event == "opcode":
            work = self._stack[-1][1]
            work[1] += 1
            work[2] += 1
        elif event == "return":
            self._leave()
        return self._on_event

    def _leave(self) -> None:
        """Add up what a function did, unless it stands further up as well; its caller did that, too."""
        name, work = self._stack.pop()
        if self._stack:
            above = self._stack[-1][1]
            above[2:] = [one + other for one, other in zip(above[2:], work[2:], strict=True)]
        if all(name != other for other, _ in self._stack):
            known = self.found.setdefault(name, [0, 0, 0, 0, 0])
            known[:] = [one + other for one, other in zip(known, work, strict=True)]

    def _note_call(self, name: str) -> None:
        work = self._stack[-1][1]
        work[3] += 1
        if name in HEAVY:
            work[4] += 1
            self._note_heavy(name)

    def _note_heavy(self, name: str) -> None:
        """Count a heavy call by who makes it."""
        if self._stack:
            self.found.setdefault(f"{self._stack[-1][0]} > {name}", [0, 0, 0, 0, 0])[4] += 1

    def _name(self, frame: FrameType) -> str:
        """Name a function of ours, what stands within its lines as it; empty = not ours."""
        code = frame.f_code
        name = self._names.get(code)
        if name is None:
            name = self._names[code] = self._named(frame)
        return name

    def _named(self, frame: FrameType) -> str:
        code, caller = frame.f_code, frame.f_back
        if code.co_filename == GENERATED and caller is not None:
            by = self._name(caller) or (ENCODERS if code.co_name == "encode" else "")
            return by and f"{by} (generated)"
        if not code.co_filename.startswith(OURS):
            return ""
        path = code.co_filename.removeprefix(f"{ROOT}/").removesuffix(".py").removesuffix("/__init__")
        return f"{path.replace('/', '.')}.{code.co_qualname.partition('.<locals>.<')[0]}"
