"""Views of sinks → Kafka Connect's JSON; pure.

Source: https://kafka.apache.org/documentation/connect_rest.yaml
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import ValidationError

from tickerplant.connect.names import MEANINGS, dotted, kind_of, undotted
from tickerplant.connect.views import ConnectorView, Plugin, State, TaskView
from tickerplant.settings import Connector


def info_of(view: ConnectorView) -> dict[str, Any]:
    """Make Connect's description of a connector."""
    tasks = [{"connector": view.name, "task": task.id} for task in view.tasks]
    return {"name": view.name, "config": view.config, "tasks": tasks, "type": "sink"}


def status_of(view: ConnectorView, state: State | None = None) -> dict[str, Any]:
    """Make Connect's status of a connector, or what it is when it is asked for a state."""
    worker = view.tasks[0].worker if view.tasks else ""
    tasks = view.tasks if state is None else [msgspec.structs.replace(task, state=state) for task in view.tasks]
    shown = [] if view.target == "STOPPED" else [task_of(task) for task in tasks]  # a stopped one has no tasks there
    connector = {"state": state or view.target, "worker_id": worker}
    return {"name": view.name, "connector": connector, "tasks": shown, "type": "sink"}


def task_of(task: TaskView) -> dict[str, Any]:
    """Make Connect's status of a task."""
    trace = {"trace": task.trace} if task.trace else {}
    return {"id": task.id, "state": task.state, "worker_id": task.worker, **trace}


def offsets_of(view: ConnectorView) -> dict[str, Any]:
    """Make Connect's list of a sink's offsets."""
    return {
        "offsets": [
            {"partition": {"kafka_topic": topic, "kafka_partition": partition}, "offset": {"kafka_offset": offset}}
            for topic, places in sorted(view.offsets.items())
            for partition, offset in sorted(places.items())
        ]
    }


def definition_of(plugin: Plugin, name: str) -> dict[str, Any]:
    """Make Connect's definition of a setting, by our name of it."""
    default = Connector.model_fields[name].default
    values = {"name": plugin.store, "connector_class": plugin.connector_class}
    return {
        "name": dotted(name),
        "type": kind_of(name),
        "required": False,
        "default_value": values.get(name, _text(default)),
        "importance": "HIGH" if name in {"name", "connector_class", "tasks_max", "topics"} else "MEDIUM",
        "documentation": MEANINGS[name],
        "group": "Errors" if name.startswith("errors") else "Common",
        "width": "MEDIUM",
        "display_name": dotted(name),
        "dependents": [],
        "order": list(MEANINGS).index(name) + 1,
    }


def validated(plugin: Plugin, config: Mapping[str, Any]) -> dict[str, Any]:
    """Make Connect's answer to what is wrong with a config: a value a setting, unknown ones last."""
    flat: Mapping[str, Any] = undotted({"connectors": {plugin.store: dict(config)}})["connectors"][plugin.store]
    wrong = _wrong(flat)
    given = {name: _text(value) for name, value in flat.items()}
    values = [_value(name, given.get(name), wrong.get(name, ())) for name in MEANINGS]
    configs: list[dict[str, Any]] = [
        {"definition": definition_of(plugin, name), "value": value}
        for name, value in zip(MEANINGS, values, strict=True)
    ]
    unknown = [_value(name, given[name], wrong[name]) for name in sorted(set(flat) - set(MEANINGS)) if name in wrong]
    configs += [{"definition": None, "value": value} for value in unknown]
    count = sum(bool(each["value"]["errors"]) for each in configs)
    return {
        "name": plugin.connector_class,
        "error_count": count,
        "groups": ["Common", "Errors"],
        "configs": configs,
    }


def _value(name: str, value: str | None, errors: Sequence[str]) -> dict[str, Any]:
    return {
        "name": dotted(name),
        "value": value if value is not None or name not in MEANINGS else _text(Connector.model_fields[name].default),
        "recommended_values": [],
        "errors": list(errors),
        "visible": True,
    }


def _wrong(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Tell what our settings say of a config: name → why."""
    found: dict[str, list[str]] = {}
    try:
        Connector.model_validate(config)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            text = "unknown setting" if each["type"] == "extra_forbidden" else each["msg"]
            found.setdefault(str(each["loc"][0]), []).append(text)
    return found


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
