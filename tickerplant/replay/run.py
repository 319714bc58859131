"""`tickerplant replay`: partitions in parallel processes, a sink beside them, until all is stored."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tickerplant.connect.names import chosen_topics, connector_of
from tickerplant.errors import UserError
from tickerplant.kafka import OffsetReader
from tickerplant.lag import SINKS, group_name
from tickerplant.logs import configure_logs
from tickerplant.replay import stores
from tickerplant.replay.partition import Done, Task, replay_partition
from tickerplant.replay.plan import Plan, make_plan
from tickerplant.replay.sink import GROUP
from tickerplant.replay.span import Range
from tickerplant.replay.swap import swap, undo_killed
from tickerplant.replay.verify import verify
from tickerplant.replay.wish import Wish, checked_suffix, replay_settings
from tickerplant.settings import Settings

SPAWN: Final = multiprocessing.get_context("spawn")
POLL_S: Final = 0.2
STOP_S: Final = 20.0
STILL_S: Final = 120.0
LIVE_WAIT_S: Final = 30.0
NICENESS: Final = 5

Board = Any
"""Shared integers: offsets done of each task, then frames of each task."""


@dataclass(frozen=True, kw_only=True)
class How:
    """How to replay.

    Args:
        again: drop an earlier replay of this name first.
        resume: go on with an earlier replay of this name, which was interrupted, or check or swap it.
        check: compare with the live rows.
        swap: compare, then put rebuilt rows in the place of live ones.
        dry_run: with `swap`: compare, and leave all as it is.
        force: swap in spite of warnings.
        quiet: no progress bar.
        on_step: told after each step of a swap.
    """

    again: bool = False
    resume: bool = False
    check: bool = False
    swap: bool = False
    dry_run: bool = False
    force: bool = False
    quiet: bool = False
    on_step: Callable[[str], None] = lambda _step: None


def run_replay(live: Settings, wish: Wish, how: How) -> dict[str, Any]:
    """Replay, compare with the live rows and put them in place if asked; blocks.

    Returns:
        What was done: frames, rows of each table, seconds, and, if checked, the differences.

    Raises:
        UserError: it cannot be done, and why; what was written so far stays, for `resume`.
        DependencyError: a server does not answer.
    """
    console = Console(stderr=True, quiet=how.quiet)
    plan = make_plan(live, wish, is_resumed=how.resume)
    _make_room(live, plan.replay, wish, how)
    for warning in plan.warnings:
        Console(stderr=True).print(f"tickerplant: {warning}", highlight=False, soft_wrap=True)
    began_s = time.monotonic()
    stores.make(live, plan.replay, wish.manifest())
    with _sink(plan.replay) as sink:
        done = _run_tasks(plan, sink, console)
        if not sum(each.covered for each in done):
            _stop(sink)
            if not how.resume:
                stores.drop(plan.replay)
            raise UserError(f"there is nothing in this range of {wish.topic}")
        replayed_s = time.monotonic() - began_s
        _drain(plan.replay, sink)
    summary = _summary(plan, done, replayed_s=replayed_s, seconds=time.monotonic() - began_s)
    unseen = sorted(wish.symbols - set().union(*(each.symbols for each in done)))
    if unseen and not how.resume:
        Console(stderr=True).print(f"tickerplant: nothing in this range is of {', '.join(unseen)}", highlight=False)
    if how.check or how.swap:
        console.print("comparing with the live rows ...", highlight=False)
        missing = _await_live(live, plan)
        summary |= verify(live, plan.replay, _span(plan, done)).summary()
        if how.swap:
            summary |= _swapped(live, plan, _span(plan, done), how, missing)
    return summary


def _span(plan: Plan, done: Sequence[Done]) -> Range:
    wish = plan.tasks[0].wish
    return Range(
        wish=wish,
        source=plan.tasks[0].source,
        offsets={task.partition: (task.start, task.end) for task in plan.tasks},
        gaps={each.partition: each.gaps for each in done},
        has_unread=wish.archive is None,
    )


def _swapped(live: Settings, plan: Plan, span: Range, how: How, missing: str) -> dict[str, Any]:
    """Put rebuilt rows in place, unless something speaks against it."""
    if how.dry_run:
        return {"swapped": False}
    if missing:
        raise UserError(
            f"{missing}: what comes later would come beside the rebuilt rows; wait, or give an earlier --to"
        )
    if plan.doubts and not how.force:
        raise UserError(f"not swapped, for rows may be worse than the live ones: {plan.doubts[0]}; --force does")
    with closing(swap(live, plan.replay, span)) as steps:  # whatever ends it here: live tables are opened
        for step in steps:
            how.on_step(step)
    return {"swapped": True}


def drop_replay(live: Settings, into: str) -> dict[str, Any]:
    """Remove topics, tables and lake of a replay.

    Raises:
        UserError: there is none of this name.
    """
    replay = replay_settings(live, checked_suffix(into))
    if not stores.existing(replay):
        raise UserError(f"there is no replay {into}")
    undo_killed(live, replay)
    return {"dropped": into, **stores.drop(replay)}


def _make_room(live: Settings, replay: Settings, wish: Wish, how: How) -> None:
    """Make sure that nothing is in the way, or that what is there is of the same replay."""
    found = stores.existing(replay)
    if found and not how.resume and not how.again:
        raise UserError(f"replay {wish.into} exists ({found[0]}): --again drops it first, --resume goes on with it")
    if how.resume:
        manifest = stores.read_manifest(replay)
        if manifest is None:
            raise UserError(f"there is no replay {wish.into} to resume")
        different = [name for name, value in wish.manifest().items() if manifest.get(name) != value]
        if different:
            raise UserError(f"replay {wish.into} was begun with another {different[0]}: {manifest.get(different[0])}")
    if found:
        undo_killed(live, replay)  # sinks, which a swap waits for, wait for this
    if found and how.again:
        stores.drop(replay)


def _run_tasks(plan: Plan, sink: BaseProcess, console: Console) -> list[Done]:
    tasks = plan.tasks
    board = SPAWN.Array("q", 2 * len(tasks), lock=False)
    workers = min(len(tasks), os.cpu_count() or 1)
    pool = ProcessPoolExecutor(workers, mp_context=SPAWN, initializer=_enter, initargs=(board,))
    with ending(pool):
        futures = [pool.submit(_run_task, task, number) for number, task in enumerate(tasks)]
        try:
            _watch(plan, futures, sink, board, console)
            done = [future.result() for future in futures]
        except BrokenProcessPool:
            raise UserError("a process of the replay was killed; --resume goes on where it was") from None
    failed = [each.error for each in done if each.error]
    if failed:
        raise UserError(failed[0])
    return done


@contextmanager
def ending(pool: ProcessPoolExecutor) -> Iterator[None]:
    """End a fresh pool with the block; where that fails or is told to stop, at once: a task may last for hours."""
    others = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_board: list[Board] = []  # of this process, set once by the pool


def _enter(board: Board) -> None:
    """Prepare a process of the pool."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    configure_logs("replay", "warning")
    _board.append(board)


def _end_with_parent() -> None:
    """End this process with the one that began it: one that was killed tells nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_task(task: Task, number: int) -> Done:
    board = _board[0]
    frames_at = len(board) // 2 + number

    def tell(offsets: int, frames: int) -> None:
        board[number], board[frames_at] = offsets, frames

    return replay_partition(task, tell)


def _watch(plan: Plan, futures: Sequence[Future[Done]], sink: BaseProcess, board: Board, console: Console) -> None:
    """Show progress until all partitions are done."""
    tasks = plan.tasks
    total = sum(task.end - task.start for task in tasks)
    columns = (
        TextColumn("replay"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]} frames/s"),
        TimeRemainingColumn(),
    )
    began_s = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("replay", total=total, rate="-")
        while not all(future.done() for future in futures):
            _check(plan.replay, sink)
            frames = sum(board[len(tasks) :])
            rate = f"{frames / max(0.001, time.monotonic() - began_s):,.0f}"
            progress.update(bar, completed=sum(board[: len(tasks)]), rate=rate)
            time.sleep(POLL_S)


@contextmanager
def _sink(replay: Settings) -> Iterator[BaseProcess]:
    """Run the sink beside the replay; what it says goes into a file."""
    folder = replay.local.home
    folder.mkdir(parents=True, exist_ok=True)
    process = SPAWN.Process(target=_run_sink, args=(replay, folder / "sink.log"), daemon=True)
    process.start()
    try:
        yield process
    finally:
        _stop(process)


def _run_sink(replay: Settings, log: Path) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.nice(NICENESS)
    configure_logs("sink-replay", replay.log_level)
    from tickerplant.replay import sink  # noqa: PLC0415  # in this process alone

    sink.run(replay)


def _stop(process: BaseProcess) -> None:
    if process.is_alive():
        process.terminate()
    process.join(STOP_S)
    if process.is_alive():
        process.kill()
        process.join()


def _check(replay: Settings, sink: BaseProcess) -> None:
    if not sink.is_alive():
        raise UserError(f"the sink of the replay ended, see {replay.local.home}/sink.log; --resume goes on")


def _drain(replay: Settings, sink: BaseProcess) -> None:
    """Wait until the sink has committed all that the replay wrote."""
    moved_s, before = time.monotonic(), -1
    with closing(OffsetReader(replay)) as reader:
        written = dict.fromkeys(stores.topics(replay)[:-1], replay.kafka.partitions)
        ends = {place: end for place, (first, end) in reader.watermarks(written).items() if end > first}
        while waiting := _waiting(reader.committed(group_name(GROUP, replay), written), ends):
            _check(replay, sink)
            if waiting != before:
                moved_s, before = time.monotonic(), waiting
            if time.monotonic() - moved_s > STILL_S:
                raise UserError(f"the sink of the replay stores nothing more; see {replay.local.home}, --resume")
            time.sleep(POLL_S)


def _waiting(committed: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> int:
    return sum(max(0, end - committed.get(place, 0)) for place, end in ends.items())


def _summary(plan: Plan, done: Sequence[Done], *, replayed_s: float, seconds: float) -> dict[str, Any]:
    frames = sum(each.frames for each in done)
    return {
        "into": plan.tasks[0].wish.into,
        "frames": frames,
        "rows": stores.count_rows(plan.replay),
        "seconds": round(seconds, 3),
        "frames_per_s": round(frames / replayed_s),
        "missing_offsets": sum(each.missing for each in done),
        "warnings": plan.warnings,
    }


def _await_live(live: Settings, plan: Plan) -> str:
    """Wait, half a minute at most, until what the live processor made of the range is stored; it may not run.

    Returns:
        What is not; empty = all is.
    """
    deadline_s = time.monotonic() + LIVE_WAIT_S
    with closing(OffsetReader(live)) as reader:
        partitions = reader.partitions()
        missing = _wait(lambda: unprocessed(live, plan, reader, partitions), deadline_s)
        if missing:
            return missing
        # only now: all that the processor made of the range lies before these ends
        made = {each: partitions[each] for each in stores.topics(live)[:-1] if each in partitions}
        ends = {place: end for place, (first, end) in reader.watermarks(made).items() if end > first}
        return _wait(lambda: unstored(live, reader, made, ends), deadline_s)


def _wait(missing: Callable[[], str], deadline_s: float) -> str:
    while (found := missing()) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    return found


def unprocessed(live: Settings, plan: Plan, reader: OffsetReader, partitions: Mapping[str, int]) -> str:
    """Tell what of the range the live processor has not processed; empty = nothing, or it never will."""
    name = plan.tasks[0].wish.topic + live.kafka.topic_suffix
    if not plan.is_current:
        return ""
    committed = reader.committed(group_name("tickerplant.processor", live), {name: partitions[name]})
    for task in plan.tasks:
        if committed.get((name, task.partition), 0) < task.end:
            return f"the live processor has not come to offset {task.end} of {name} partition {task.partition}"
    return ""


def unstored(
    live: Settings, reader: OffsetReader, topics: Mapping[str, int], ends: Mapping[tuple[str, int], int]
) -> str:
    """Tell up to where a live sink has not stored; empty = all is stored."""
    for sink in SINKS:
        chosen = chosen_topics(connector_of(live, sink.rpartition(".")[2]))
        committed = reader.committed(group_name(sink, live), topics)
        for (topic, number), end in ends.items():
            is_read = not chosen or topic.removesuffix(live.kafka.topic_suffix) in chosen
            if is_read and committed.get((topic, number), 0) < end:
                return f"{sink.removeprefix('tickerplant.')} has not come to offset {end} of {topic} partition {number}"
    return ""
