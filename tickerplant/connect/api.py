"""Kafka Connect's REST API over what sinks tell of themselves: a request → status and JSON; no I/O of its own.

Source: https://kafka.apache.org/documentation/#connect_rest
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import unquote

import msgspec

from tickerplant.connect.names import MEANINGS
from tickerplant.connect.shapes import definition_of, info_of, offsets_of, status_of, task_of, validated
from tickerplant.connect.steering import Target
from tickerplant.connect.views import ConnectorView, Plugin, TaskView
from tickerplant.errors import UserError
from tickerplant.masking import mask

COMMIT: Final = "tickerplant"
SETTINGS_HINT: Final = "connectors are set in the settings file: change it there, and restart the sinks"
OFFSETS_HINT: Final = "stop the sink and use Kafka's own tools on its consumer group"
ONE: Final = "/connectors/{name}"
READS: Final = frozenset({"GET", "HEAD"})


class Steer(Protocol):
    """What changes sinks; by the name of the store.

    Raises:
        UserError: from each method, where it cannot be.
    """

    def aim(self, store: str, target: Target) -> None:
        """Let a sink run, pause or stop."""

    def restart(self, store: str, task: int | None) -> None:
        """Restart a task, or all (None)."""


def _config(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, str | int | float | bool])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"Cannot deserialize the config: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, its query's last values by name."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: bytes = b""

    def is_true(self, name: str) -> bool:
        """Tell whether a parameter is `true`."""
        return (self.query.get(name) or ["false"])[-1].lower() == "true"


Reply = tuple[int, Any]
"""HTTP status, and what is sent as JSON; None = no body."""


class ApiError(Exception):
    """A request that is answered with Connect's error body."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def _on(method: str, path: str, handler: Callable[..., Reply]) -> tuple[str, re.Pattern[str], Callable[..., Reply]]:
    """Make a route; a name in braces is a part of a path."""
    return method, re.compile(re.sub(r"\{[a-z]+\}", "([^/]+)", path)), handler


@dataclass(frozen=True, kw_only=True)
class Api:
    """Answers requests.

    Args:
        look: tells of all connectors.
        cluster_id: of the Kafka cluster; empty = not known.
    """

    look: Callable[[], Sequence[ConnectorView]]
    steer: Steer
    plugins: Sequence[Plugin]
    version: str
    cluster_id: Callable[[], str] = lambda: ""

    def answer(self, request: Request) -> Reply:
        """Answer; what is wrong with a request is answered as Connect does."""
        try:
            return self._route(request)
        except ApiError as error:
            return error.status, {"error_code": int(error.status), "message": error.message}
        except UserError as error:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            return status, {"error_code": int(status), "message": mask(str(error))}

    def _route(self, request: Request) -> Reply:
        path = request.path.rstrip("/") or "/"
        wanted = "GET" if request.method in READS else request.method
        methods: list[str] = []
        for method, pattern, handler in self.ROUTES:
            match = pattern.fullmatch(path)
            if match is not None and method == wanted:
                return handler(self, request, *map(unquote, match.groups()))
            if match is not None:
                methods.append(method)
        if methods:
            raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, f"HTTP 405 Method Not Allowed: {SETTINGS_HINT}")
        raise ApiError(HTTPStatus.NOT_FOUND, "HTTP 404 Not Found")

    def _root(self, _request: Request) -> Reply:
        return HTTPStatus.OK, {"version": self.version, "commit": COMMIT, "kafka_cluster_id": self.cluster_id()}

    def _health(self, _request: Request) -> Reply:
        message = "Worker has completed startup and is ready to handle requests."
        return HTTPStatus.OK, {"status": "healthy", "message": message}

    def _connectors(self, request: Request) -> Reply:
        found, wanted = self.look(), set(request.query.get("expand", ()))
        if not wanted:
            return HTTPStatus.OK, [each.name for each in found]
        shapes = {"status": status_of, "info": info_of}
        return HTTPStatus.OK, {
            each.name: {name: shape(each) for name, shape in shapes.items() if name in wanted} for each in found
        }

    def _found(self, name: str) -> ConnectorView:
        for each in self.look():
            if each.name == name:
                return each
        raise ApiError(HTTPStatus.NOT_FOUND, f"Connector {name} not found")

    def _task(self, name: str, number: str) -> tuple[ConnectorView, TaskView]:
        found = self._found(name)
        for each in found.tasks:
            if str(each.id) == number:
                return found, each
        raise ApiError(HTTPStatus.NOT_FOUND, f"No status found for task {name}-{number}")

    def _info(self, _request: Request, name: str) -> Reply:
        return HTTPStatus.OK, info_of(self._found(name))

    def _config(self, _request: Request, name: str) -> Reply:
        return HTTPStatus.OK, self._found(name).config

    def _status(self, _request: Request, name: str) -> Reply:
        return HTTPStatus.OK, status_of(self._found(name))

    def _topics(self, _request: Request, name: str) -> Reply:
        return HTTPStatus.OK, {name: {"topics": list(self._found(name).topics)}}

    def _reset_topics(self, _request: Request, name: str) -> Reply:
        self._found(name)
        raise ApiError(HTTPStatus.FORBIDDEN, "Topic tracking reset is disabled.")  # they are those it has partitions of

    def _offsets(self, _request: Request, name: str) -> Reply:
        return HTTPStatus.OK, offsets_of(self._found(name))

    def _tasks(self, _request: Request, name: str) -> Reply:
        found = self._found(name)
        return HTTPStatus.OK, [
            {
                "id": {"connector": name, "task": each.id},
                "config": {**found.config, "task.class": found.connector_class},
            }
            for each in found.tasks
        ]

    def _task_status(self, _request: Request, name: str, number: str) -> Reply:
        return HTTPStatus.OK, task_of(self._task(name, number)[1])

    def _aim(self, name: str, target: Target) -> None:
        self.steer.aim(self._found(name).store, target)

    def _pause(self, _request: Request, name: str) -> Reply:
        self._aim(name, "PAUSED")
        return HTTPStatus.ACCEPTED, None

    def _resume(self, _request: Request, name: str) -> Reply:
        self._aim(name, "RUNNING")
        return HTTPStatus.ACCEPTED, None

    def _stop(self, _request: Request, name: str) -> Reply:
        self._aim(name, "STOPPED")
        return HTTPStatus.NO_CONTENT, None

    def _restart(self, request: Request, name: str) -> Reply:
        found = self._found(name)
        is_plan = request.is_true("includeTasks") or request.is_true("onlyFailed")
        if request.is_true("onlyFailed"):  # a process that failed is started again by whoever started it
            return HTTPStatus.ACCEPTED, status_of(found)
        self.steer.restart(found.store, None)
        return (HTTPStatus.ACCEPTED, status_of(found, "RESTARTING")) if is_plan else (HTTPStatus.NO_CONTENT, None)

    def _restart_task(self, _request: Request, name: str, number: str) -> Reply:
        found, task = self._task(name, number)
        self.steer.restart(found.store, task.id)
        return HTTPStatus.NO_CONTENT, None

    def _alter_offsets(self, _request: Request, name: str) -> Reply:
        self._found(name)
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, f"Offsets are not changed here: {OFFSETS_HINT}")

    def _plugins(self, _request: Request) -> Reply:
        found = [{"class": each.connector_class, "type": "sink", "version": self.version} for each in self.plugins]
        return HTTPStatus.OK, found

    def _plugin(self, name: str) -> Plugin:
        for each in self.plugins:
            if name in {each.connector_class, each.connector_class.rpartition(".")[2]}:
                return each
        message = f"Failed to find any class that implements Connector and which name matches {name}"
        raise ApiError(HTTPStatus.NOT_FOUND, message)

    def _plugin_config(self, _request: Request, name: str) -> Reply:
        plugin = self._plugin(name)
        return HTTPStatus.OK, [definition_of(plugin, field) for field in MEANINGS]

    def _validate_plugin(self, request: Request, name: str) -> Reply:
        return HTTPStatus.OK, validated(self._plugin(name), _config(request.body))

    def _validate(self, request: Request, name: str) -> Reply:
        found = self._found(name)
        return HTTPStatus.OK, validated(self._plugin(found.connector_class), _config(request.body))

    ROUTES: ClassVar = (
        _on("GET", "/", _root),
        _on("GET", "/health", _health),
        _on("GET", "/connectors", _connectors),
        _on("GET", ONE, _info),
        _on("GET", f"{ONE}/config", _config),
        _on("GET", f"{ONE}/status", _status),
        _on("GET", f"{ONE}/topics", _topics),
        _on("PUT", f"{ONE}/topics/reset", _reset_topics),
        _on("GET", f"{ONE}/offsets", _offsets),
        _on("DELETE", f"{ONE}/offsets", _alter_offsets),
        _on("PATCH", f"{ONE}/offsets", _alter_offsets),
        _on("GET", f"{ONE}/tasks", _tasks),
        _on("GET", f"{ONE}/tasks/{{task}}/status", _task_status),
        _on("POST", f"{ONE}/tasks/{{task}}/restart", _restart_task),
        _on("PUT", f"{ONE}/pause", _pause),
        _on("PUT", f"{ONE}/resume", _resume),
        _on("PUT", f"{ONE}/stop", _stop),
        _on("POST", f"{ONE}/restart", _restart),
        _on("PUT", f"{ONE}/config/validate", _validate),
        _on("GET", "/connector-plugins", _plugins),
        _on("GET", "/connector-plugins/{name}/config", _plugin_config),
        _on("PUT", "/connector-plugins/{name}/config/validate", _validate_plugin),
    )


def is_ours(path: str) -> bool:
    """Tell whether a path belongs to the API; what Connect has and we have not (`/admin`) is not found then."""
    return path in {"/", "/health"} or path.startswith(("/connectors", "/connector-plugins", "/admin"))
