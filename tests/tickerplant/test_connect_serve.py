"""The REST API over sockets: who may steer, what several processes tell, and the port of all of them."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import make_wsgi_app

from tickerplant.connect import console, serve
from tickerplant.connect.api import Api
from tickerplant.connect.failed import forget_all_failures, forget_failure, note_failure
from tickerplant.connect.steering import NOTHING, Steering
from tickerplant.connect.views import ConnectorView, TaskView
from tickerplant.errors import UserError
from tickerplant.metrics import serve_metrics
from tickerplant.settings import Settings

PATIENCE_S = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {"local": {"home": str(tmp_path)}, "connectors": {"rest_port": free_port(), "clickhouse": {"name": "ticks"}}}
    )


def app_of(settings: Settings) -> serve.Put:
    view = ConnectorView(
        name="ticks",
        store="clickhouse",
        connector_class="x.Y",
        target=Steering(settings, "clickhouse").read().target,
        tasks=(TaskView(0, "RUNNING", "here"),),
        topics=("t",),
        offsets={"t": {0: 5}},
    )
    api = Api(look=lambda: [view], steer=serve.FileSteer(settings), plugins=(), version="1")
    return serve.beside(api, lambda: view, settings)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """Where a sink of this process answers, beside its metrics."""
    port = serve_metrics(settings, "sink-clickhouse", {}, app_of(settings))
    yield f"http://127.0.0.1:{port}"
    (settings.local.home / "run" / f"metrics-sink-clickhouse-{os.getpid()}.json").unlink(missing_ok=True)


def eventually(holds: Callable[[], Any]) -> Any:
    until_s = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    return found


def test_the_api_stands_beside_the_metrics(url: str) -> None:
    assert httpx.get(f"{url}/connectors").json() == ["ticks"]
    assert httpx.get(f"{url}/").json()["version"] == "1"
    asked = httpx.get(f"{url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert "stage_received" in asked.text
    assert asked.headers["Content-Type"].startswith("text/plain")  # OpenMetrics lets no sum be negative


@pytest.mark.parametrize(("path", "code"), [("/connectors", 200), ("/connectors/none", 404), ("/admin/loggers", 404)])
def test_a_head_is_answered_as_a_get_without_its_body(url: str, path: str, code: int) -> None:
    head, got = httpx.head(f"{url}{path}"), httpx.get(f"{url}{path}")

    assert (head.status_code, got.status_code) == (code, code)
    assert (head.content, head.headers["Content-Length"]) == (b"", str(len(got.content)))


def test_a_pause_is_kept_in_the_home_and_outlives_who_took_it(url: str, settings: Settings) -> None:
    answer = httpx.put(f"{url}/connectors/ticks/pause")

    assert (answer.status_code, answer.content) == (202, b"")
    assert Steering(settings, "clickhouse").read().target == "PAUSED"


def test_a_wish_that_cannot_be_kept_is_answered_as_connect_answers(url: str, settings: Settings) -> None:
    steering = Steering(settings, "clickhouse")
    steering.path.mkdir(parents=True)
    answer = httpx.put(f"{url}/connectors/ticks/pause")

    assert (answer.status_code, answer.json()["error_code"]) == (500, 500)
    assert "cannot be written" in answer.json()["message"]


def test_wishes_at_the_same_time_undo_none(url: str, settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: httpx.post(f"{url}/connectors/ticks/restart").status_code, range(40)))

    assert codes == [204] * 40
    assert Steering(settings, "clickhouse").read().restarts == 40


def test_a_page_of_another_site_steers_nothing(url: str, settings: Settings) -> None:
    answer = httpx.post(f"{url}/connectors/ticks/restart", headers={"Origin": "http://example.com"})

    assert (answer.status_code, answer.json()["error_code"]) == (403, 403)
    assert Steering(settings, "clickhouse").read() == NOTHING


@pytest.mark.parametrize(
    ("environ", "is_open", "expected"),
    [
        ({"REMOTE_ADDR": "127.0.0.1"}, False, True),
        ({"REMOTE_ADDR": "::1"}, False, True),
        ({"REMOTE_ADDR": "10.0.0.7"}, False, False),
        ({"REMOTE_ADDR": "10.0.0.7"}, True, True),
        ({"REMOTE_ADDR": "10.0.0.7", "HTTP_ORIGIN": "http://x"}, True, False),
        ({"REMOTE_ADDR": ""}, False, False),
        ({}, False, False),
    ],
    ids=str,
)
def test_only_this_machine_steers_unless_all_may(environ: dict[str, str], is_open: bool, expected: bool) -> None:
    assert serve.may_steer(environ, is_open=is_open) is expected


def test_the_sinks_of_a_machine_are_asked_for_all_of_them(url: str, settings: Settings) -> None:
    found = serve.gather(settings)

    assert [(each.name, each.offsets) for each in found] == [("ticks", {"t": {0: 5}})]
    assert serve.gather(settings, leave_out=os.getpid()) == []
    assert httpx.get(f"{url}/worker").json()["name"] == "ticks"


def test_a_sink_that_does_not_answer_is_left_out(settings: Settings) -> None:
    run = settings.local.home / "run"
    run.mkdir()
    note = {"role": "sink-clickhouse", "pid": os.getpid(), "port": free_port()}
    (run / f"metrics-sink-clickhouse-{os.getpid()}.json").write_text(json.dumps(note))

    assert serve.gather(settings) == []


@pytest.mark.usefixtures("url")
def test_a_sink_that_failed_is_told_with_its_reason_until_it_runs_again(settings: Settings) -> None:
    view = ConnectorView("parquet", "parquet", "x.Z", tasks=(TaskView(1, "RUNNING", "there"),), topics=("t",))
    note_failure(settings, view, "the store refuses us")
    (settings.local.home / "run" / "failed-parquet-9.json").write_text("{")
    found = {each.name: each.tasks for each in serve.gather(settings)}

    assert found["parquet"] == (TaskView(1, "FAILED", "there", trace="the store refuses us"),)
    assert "FAILED     there  the store refuses us" in "\n".join(console.lines(console.statuses(settings)))
    assert not console.is_running(console.statuses(settings))
    forget_failure(settings, "parquet", 1)
    assert [each.name for each in serve.gather(settings)] == ["ticks"]


def test_what_failed_before_all_began_anew_is_forgotten(settings: Settings) -> None:
    for task in (0, 3):  # of which the second is not started again, with tasks.max set lower
        note_failure(settings, ConnectorView("parquet", "parquet", "x.Z", tasks=(TaskView(task, "RUNNING", ""),)), "no")
    forget_all_failures(settings)

    assert serve.gather(settings) == []


@pytest.mark.usefixtures("url")
def test_a_note_of_a_task_that_runs_again_is_passed_over(settings: Settings) -> None:
    (view,) = serve.gather(settings)
    note_failure(settings, view, "it did not")

    assert [task.state for task in serve.gather(settings)[0].tasks] == ["RUNNING"]


def test_the_port_of_all_sinks_goes_from_one_to_the_next(settings: Settings) -> None:
    url = f"http://127.0.0.1:{settings.connectors.rest_port}/connectors"

    def serves() -> bool:
        try:
            return bool(httpx.get(url).json() == ["ticks"])
        except httpx.TransportError:
            return False

    with ExitStack() as second:
        with serve.common_port(settings, app_of(settings)(make_wsgi_app())):
            eventually(serves)
            second.enter_context(serve.common_port(settings, app_of(settings)(make_wsgi_app())))
            assert len([each for each in threading.enumerate() if each.name == "rest"]) == 2
        eventually(lambda: len([each for each in threading.enumerate() if each.name == "rest"]) == 1)
        eventually(serves)


@pytest.mark.usefixtures("url")
def test_the_console_tells_of_sinks_that_run_and_of_those_that_do_not(settings: Settings) -> None:
    found = console.statuses(settings)

    assert [(each.name, len(each.tasks), each.records) for each in found] == [("ticks", 1, 5), ("parquet", 0, 0)]
    assert not console.is_running(found)
    assert "no process runs here" in "\n".join(console.lines(found))


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("name", ["ticks", "clickhouse"])
def test_a_sink_is_steered_by_its_name_or_that_of_its_store(settings: Settings, name: str) -> None:
    console.aim(settings, name, "STOPPED")
    console.restart(settings, name, None)
    console.restart(settings, name, 0)
    console.restart(settings, name, 0)
    with pytest.raises(UserError, match=f"{name} has no task 1 here: choose of 0"):
        console.restart(settings, name, 1)
    wish = Steering(settings, "clickhouse").read()

    assert (wish.target, wish.restarts_of(0), wish.restarts_of(1)) == ("STOPPED", 3, 1)
    assert Steering(settings, "parquet").read() == NOTHING


def test_a_sink_of_which_nothing_runs_here_cannot_be_steered(settings: Settings) -> None:
    with pytest.raises(UserError, match="no process of ticks answers here: start it"):
        console.restart(settings, "ticks", None)

    assert Steering(settings, "clickhouse").read() == NOTHING


def test_a_name_that_is_no_sink_is_told_with_those_there_are(settings: Settings) -> None:
    with pytest.raises(UserError, match="no sink is called oracle: there are clickhouse, parquet, ticks"):
        console.aim(settings, "oracle", "PAUSED")


def test_a_file_that_is_none_of_ours_means_that_the_sink_is_to_run(settings: Settings) -> None:
    steering = Steering(settings, "clickhouse")
    steering.path.parent.mkdir(parents=True)
    steering.path.write_text('{"target": "NOWHERE"}')

    assert steering.read() == NOTHING
