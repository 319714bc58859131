"""The REST API answers with the shapes of Kafka Connect, and steers by the store's name."""

import json
from http import HTTPStatus
from typing import Any

import msgspec
import pytest

from tickerplant.connect.api import Api, Request
from tickerplant.connect.views import ConnectorView, Plugin, TaskView, merged

CLASS = "sinks.clickhouse.ClickHouseStore"
VIEW = ConnectorView(
    name="ticks",
    store="clickhouse",
    connector_class=CLASS,
    config={"name": "ticks", "tasks.max": "2"},
    tasks=(TaskView(0, "RUNNING", "127.0.0.1:9001"), TaskView(1, "FAILED", "127.0.0.1:9002", trace="it broke")),
    topics=("cleaned.depth", "cleaned.tick"),
    offsets={"cleaned.tick": {1: 7, 0: 5}, "cleaned.depth": {0: 9}},
)
OTHER = ConnectorView(name="lake", store="parquet", connector_class="sinks.parquet.ParquetStore", target="PAUSED")


class Notes:
    """Takes note of what is wanted of which store."""

    def __init__(self) -> None:
        self.wanted: list[tuple[Any, ...]] = []

    def aim(self, store: str, target: str) -> None:
        self.wanted.append((store, target))

    def restart(self, store: str, task: int | None) -> None:
        self.wanted.append((store, "restart", task))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def ask(notes: Notes) -> Any:
    """Asks: method, path, query, body → status and what the JSON holds."""
    plugins = [Plugin(CLASS, "clickhouse"), Plugin("sinks.parquet.ParquetStore", "parquet")]
    api = Api(look=lambda: [OTHER, VIEW], steer=notes, plugins=plugins, version="1.2.3", cluster_id=lambda: "abc")

    def asked(method: str, path: str, body: Any = None, **query: list[str]) -> tuple[int, Any]:
        content = b"" if body is None else msgspec.json.encode(body)
        status, found = api.answer(Request(method=method, path=path, query=query, body=content))
        return status, json.loads(msgspec.json.encode(found))

    return asked


STATUS = {
    "name": "ticks",
    "connector": {"state": "RUNNING", "worker_id": "127.0.0.1:9001"},
    "tasks": [
        {"id": 0, "state": "RUNNING", "worker_id": "127.0.0.1:9001"},
        {"id": 1, "state": "FAILED", "worker_id": "127.0.0.1:9002", "trace": "it broke"},
    ],
    "type": "sink",
}
INFO = {
    "name": "ticks",
    "config": {"name": "ticks", "tasks.max": "2"},
    "tasks": [{"connector": "ticks", "task": 0}, {"connector": "ticks", "task": 1}],
    "type": "sink",
}
OFFSETS = [
    {"partition": {"kafka_topic": "cleaned.depth", "kafka_partition": 0}, "offset": {"kafka_offset": 9}},
    {"partition": {"kafka_topic": "cleaned.tick", "kafka_partition": 0}, "offset": {"kafka_offset": 5}},
    {"partition": {"kafka_topic": "cleaned.tick", "kafka_partition": 1}, "offset": {"kafka_offset": 7}},
]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", {"version": "1.2.3", "commit": "tickerplant", "kafka_cluster_id": "abc"}),
        ("/health", {"status": "healthy", "message": "Worker has completed startup and is ready to handle requests."}),
        ("/connectors", ["lake", "ticks"]),
        ("/connectors/", ["lake", "ticks"]),
        ("/connectors/ticks", INFO),
        ("/connectors/ticks/config", INFO["config"]),
        ("/connectors/ticks/status", STATUS),
        ("/connectors/ticks/topics", {"ticks": {"topics": ["cleaned.depth", "cleaned.tick"]}}),
        ("/connectors/ticks/offsets", {"offsets": OFFSETS}),
        ("/connectors/ticks/tasks/1/status", STATUS["tasks"][1]),  # type: ignore[index]  # a list
        (
            "/connector-plugins",
            [
                {"class": CLASS, "type": "sink", "version": "1.2.3"},
                {"class": "sinks.parquet.ParquetStore", "type": "sink", "version": "1.2.3"},
            ],
        ),
    ],
)
def test_what_is_asked_for_has_the_shape_of_connect(ask: Any, path: str, expected: Any) -> None:
    assert ask("GET", path) == (200, expected)


def test_tasks_carry_their_config_and_class(ask: Any) -> None:
    _, found = ask("GET", "/connectors/ticks/tasks")

    assert [each["id"] for each in found] == INFO["tasks"]
    assert found[0]["config"] == {"name": "ticks", "tasks.max": "2", "task.class": CLASS}


def test_all_connectors_can_be_asked_for_at_once(ask: Any) -> None:
    _, found = ask("GET", "/connectors", expand=["status", "info"])

    assert found["ticks"] == {"status": STATUS, "info": INFO}
    assert found["lake"]["status"]["connector"] == {"state": "PAUSED", "worker_id": ""}


@pytest.mark.parametrize(
    ("method", "path", "status", "wanted"),
    [
        ("PUT", "/connectors/ticks/pause", 202, ("clickhouse", "PAUSED")),
        ("PUT", "/connectors/ticks/resume", 202, ("clickhouse", "RUNNING")),
        ("PUT", "/connectors/lake/stop", 204, ("parquet", "STOPPED")),
        ("POST", "/connectors/ticks/restart", 204, ("clickhouse", "restart", None)),
        ("POST", "/connectors/ticks/tasks/1/restart", 204, ("clickhouse", "restart", 1)),
    ],
)
def test_what_changes_a_sink_is_passed_on_and_answered_without_a_body(
    ask: Any, notes: Notes, *, method: str, path: str, status: int, wanted: tuple[Any, ...]
) -> None:
    assert ask(method, path) == (status, None)
    assert notes.wanted == [wanted]


def test_a_restart_with_its_tasks_tells_the_plan(ask: Any, notes: Notes) -> None:
    status, found = ask("POST", "/connectors/ticks/restart", includeTasks=["true"])

    assert status == HTTPStatus.ACCEPTED
    assert {each["state"] for each in found["tasks"]} == {"RESTARTING"}
    assert notes.wanted == [("clickhouse", "restart", None)]


def test_a_restart_of_what_failed_alone_touches_nothing_that_runs(ask: Any, notes: Notes) -> None:
    assert ask("POST", "/connectors/ticks/restart", onlyFailed=["true"]) == (202, STATUS)
    assert notes.wanted == []


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/connectors/none", 404, "Connector none not found"),
        ("PUT", "/connectors/none/pause", 404, "Connector none not found"),
        ("GET", "/connectors/a%2Fb/status", 404, "Connector a/b not found"),
        ("GET", "/connectors/ticks/tasks/7/status", 404, "No status found for task ticks-7"),
        ("GET", "/connectors/ticks/nothing", 404, "HTTP 404 Not Found"),
        ("GET", "/connector-plugins/none/config", 404, "which name matches none"),
        ("PUT", "/connectors/ticks/config", 405, "connectors are set in the settings file"),
        ("POST", "/connectors", 405, "connectors are set in the settings file"),
        ("DELETE", "/connectors/ticks", 405, "connectors are set in the settings file"),
        ("PUT", "/connectors/ticks/topics/reset", 403, "Topic tracking reset is disabled."),
        ("PUT", "/connectors/none/topics/reset", 404, "Connector none not found"),
        ("GET", "/admin/loggers", 404, "HTTP 404 Not Found"),
        ("PATCH", "/connectors/ticks/offsets", 405, "use Kafka's own tools on its consumer group"),
    ],
)
def test_what_cannot_be_is_answered_with_the_error_body_of_connect(
    ask: Any, notes: Notes, *, method: str, path: str, status: int, message: str
) -> None:
    found_status, found = ask(method, path)

    assert (found_status, found["error_code"]) == (status, status)
    assert message in found["message"]
    assert notes.wanted == []


def test_a_stopped_connector_has_no_tasks() -> None:
    api = Api(look=lambda: [msgspec.structs.replace(VIEW, target="STOPPED")], steer=Notes(), plugins=(), version="1")
    _, found = api.answer(Request(method="GET", path="/connectors/ticks/status"))

    assert (found["connector"]["state"], found["tasks"]) == ("STOPPED", [])


def values(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["value"]["name"]: each["value"] for each in found["configs"]}


@pytest.mark.parametrize("path", ["/connector-plugins/ClickHouseStore", "/connectors/ticks"])
def test_a_config_is_held_against_our_settings(ask: Any, path: str) -> None:
    config = {"tasks.max": "0", "errors.tolerance": "all", "flush.size": "1000", "key.converter": "x"}
    status, found = ask("PUT", f"{path}/config/validate", config)
    wrong = {name: each["errors"] for name, each in values(found).items() if each["errors"]}

    assert (status, found["name"], found["error_count"]) == (200, CLASS, 2)
    assert wrong == {"tasks.max": ["Input should be greater than or equal to 1"], "key.converter": ["unknown setting"]}
    assert values(found)["flush.size"]["value"] == "1000"
    assert values(found)["errors.deadletterqueue.topic.name"]["value"] == "dlq.sink"


def test_a_config_that_fits_has_no_errors(ask: Any) -> None:
    _, found = ask("PUT", "/connector-plugins/ParquetStore/config/validate", {"tasks.max": 3, "topics": "cleaned.tick"})

    assert found["error_count"] == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": {}}', b"[" * 10_000])
def test_a_body_that_is_no_config_is_a_bad_request(body: bytes) -> None:
    api = Api(look=lambda: [VIEW], steer=Notes(), plugins=[Plugin(CLASS, "clickhouse")], version="1")
    request = Request(method="PUT", path="/connectors/ticks/config/validate", body=body)
    status, found = api.answer(request)

    assert (status, found["error_code"]) == (400, 400)


def test_definitions_name_every_setting_with_type_and_default(ask: Any) -> None:
    _, found = ask("GET", f"/connector-plugins/{CLASS}/config")
    kinds = {each["name"]: (each["type"], each["default_value"]) for each in found}

    assert kinds["tasks.max"] == ("LONG", "1")
    assert kinds["flush.size"] == ("LONG", None)
    assert kinds["errors.deadletterqueue.context.headers.enable"] == ("BOOLEAN", "true")
    assert kinds["connector.class"] == ("STRING", CLASS)


def test_what_processes_tell_of_one_sink_is_put_together() -> None:
    one = msgspec.structs.replace(VIEW, tasks=(TaskView(0, "RUNNING", "a:1"),), offsets={"t": {0: 5, 1: 2}})
    two = msgspec.structs.replace(VIEW, tasks=(TaskView(0, "PAUSED", "b:2"),), offsets={"t": {1: 3}}, topics=("raw.x",))
    ticks = next(each for each in merged([two, OTHER, one]) if each.name == "ticks")

    assert ticks.tasks == (TaskView(0, "RUNNING", "a:1"), TaskView(1, "PAUSED", "b:2"))
    assert ticks.offsets == {"t": {0: 5, 1: 3}}
    assert ticks.topics == ("cleaned.depth", "cleaned.tick", "raw.x")
