"""`tickerplant sinks`: what the sinks of this machine are, and what is wanted of them."""

from collections.abc import Iterable, Iterator

import msgspec

from tickerplant.connect.names import STORES, connector_of
from tickerplant.connect.serve import gather
from tickerplant.connect.steering import Steering, Target
from tickerplant.connect.views import TaskView
from tickerplant.errors import UserError
from tickerplant.settings import Settings


class Status(msgspec.Struct, frozen=True):
    """One sink.

    Args:
        target: what is wanted of it; it is that once all its tasks are.
        tasks: its processes; empty = none runs here.
        records: how many records it has committed, of all partitions that its processes have now.
    """

    name: str
    target: Target
    tasks: tuple[TaskView, ...]
    topics: int
    partitions: int
    records: int


def statuses(settings: Settings) -> list[Status]:
    """Ask all sinks of this machine; those that do not run are told too."""
    found = {view.name: view for view in gather(settings)}
    result = []
    for store in STORES:
        name = connector_of(settings, store).name
        view, target = found.get(name), Steering(settings, store).read().target
        places = [offset for each in view.offsets.values() for offset in each.values()] if view else []
        tasks, topics = (view.tasks, len(view.topics)) if view else ((), 0)
        result.append(Status(name, target, tasks, topics, len(places), sum(places)))
    return result


def lines(found: Iterable[Status]) -> Iterator[str]:
    """Write a line a sink, and one for each of its processes."""
    for each in found:
        runs = "" if each.tasks else "  no process runs here"
        yield f"{each.name:<16} {each.target:<10} {each.topics} topics, {each.partitions} partitions{runs}"
        for task in each.tasks:
            yield f"  task {task.id:<9} {task.state:<10} {task.worker}{task.trace and '  ' + task.trace}"


def is_running(found: Iterable[Status]) -> bool:
    """Tell whether all sinks run, with all their processes."""
    return all(
        each.target == "RUNNING" and each.tasks and all(task.state == "RUNNING" for task in each.tasks)
        for each in found
    )


def aim(settings: Settings, name: str, target: Target) -> dict[str, str]:
    """Want a state of a sink, by its name or that of its store.

    Raises:
        UserError: there is no such sink, or none of its processes answers here: nobody would notice.
    """
    _steering(settings, name, None).aim(target)
    return {"name": name, "target": target}


def restart(settings: Settings, name: str, task: int | None) -> dict[str, object]:
    """Want a sink, or one of its processes, to begin anew; raises as `aim`."""
    _steering(settings, name, task).restart(task)
    return {"name": name, "restart": "all tasks" if task is None else f"task {task}"}


def _steering(settings: Settings, name: str, task: int | None) -> Steering:
    names = {alias: store for store in STORES for alias in (store, connector_of(settings, store).name)}
    if name not in names:
        raise UserError(f"no sink is called {name}: there are {', '.join(sorted(names))}")
    runs = [each.id for view in gather(settings) if view.store == names[name] for each in view.tasks]
    if not runs:
        raise UserError(f"no process of {name} answers here: start it, or give its --config ({settings.local.home})")
    if task not in {None, *runs}:
        raise UserError(f"{name} has no task {task} here: choose of {', '.join(map(str, sorted(runs)))}")
    return Steering(settings, names[name])
