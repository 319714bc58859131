"""What sinks tell of themselves, and what several processes tell put together; pure."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from tickerplant.connect.steering import Target

State = Literal["RUNNING", "PAUSED", "STOPPED", "RESTARTING", "FAILED"]


class TaskView(msgspec.Struct, frozen=True):
    """One sink process.

    Args:
        id: its number, from 0; of two processes of one number, the later one counts as the next free one.
        worker: host and port at which it answers.
        trace: why it failed; empty = it did not.
    """

    id: int
    state: State
    worker: str
    trace: str = ""


class ConnectorView(msgspec.Struct, frozen=True):
    """One sink.

    Args:
        store: its name in the settings.
        target: what is wanted of it.
        config: by Connect's names.
        topics: what it was given partitions of.
        offsets: topic → partition → next offset.
    """

    name: str
    store: str
    connector_class: str
    target: Target = "RUNNING"
    config: dict[str, str] = {}
    tasks: tuple[TaskView, ...] = ()
    topics: tuple[str, ...] = ()
    offsets: dict[str, dict[int, int]] = {}


class Plugin(msgspec.Struct, frozen=True):
    """A class of sinks, and its settings."""

    connector_class: str
    store: str


def merged(views: Iterable[ConnectorView]) -> list[ConnectorView]:
    """Put what several processes tell of the same sinks together, by name; a number that is taken becomes another."""
    found: dict[str, ConnectorView] = {}
    for view in sorted(views, key=lambda each: (each.name, [(task.id, task.worker) for task in each.tasks])):
        before = found.get(view.name)
        found[view.name] = view if before is None else _joined(before, view)
    return list(found.values())


def _joined(one: ConnectorView, other: ConnectorView) -> ConnectorView:
    tasks = list(one.tasks)
    for task in other.tasks:
        taken = {each.id for each in tasks}
        free = next(number for number in range(len(taken) + 1) if number not in taken)
        tasks.append(msgspec.structs.replace(task, id=free if task.id in taken else task.id))
    offsets = {topic: dict(places) for topic, places in one.offsets.items()}
    for topic, places in other.offsets.items():
        mine = offsets.setdefault(topic, {})
        for partition, offset in places.items():
            mine[partition] = max(offset, mine.get(partition, 0))
    topics = tuple(sorted({*one.topics, *other.topics}))
    return msgspec.structs.replace(one, tasks=tuple(tasks), topics=topics, offsets=offsets)
