"""Every panel, variable and rule returns data from a real Prometheus that scrapes a running pipeline."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tickerplant.demo.options import write_settings
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.deploy import deploy
from tickerplant.local.ports import HOST
from tickerplant.processes import find_processes
from tickerplant.settings import LagExporter, Settings, Venue
from tickerplant.supervise import Supervisor, roles_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
WAIT_S = 90.0
CHANNELS = ("trade", "bookTicker", "depth")
NEEDS_AN_HOUR = {"venue:ingestion_ticks:usual", "venue:ingestion_ticks:of_usual"}
Dashboards = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        assert answer.status_code == 200, (parameters, answer.text)
        return answer.json()["data"]

    def has_data(self, expr: str) -> bool:
        """Tell whether a query gives at least one number."""
        result = self.get("query", query=expr)["result"]
        return any(sample["value"][1] != "NaN" for sample in result)


def eventually(check: Callable[[], Any], why: Callable[[], object] = str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline_s, why()
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ)
        try:
            yield
        finally:
            process.terminate()
            process.wait(15)


@pytest.fixture(scope="module")
def pipeline(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """All roles on topics of their own, fed by a simulated venue that loses connections and sends junk."""
    home = tmp_path_factory.mktemp("monitored")
    port = free_port()
    address = f"{HOST}:{port}/binance/spot"
    venue = Venue(
        venue="BINANCE",
        market="spot",
        symbols=("*",),
        channels=CHANNELS,
        websocket_url=f"ws://{address}",
        rest_url=f"http://{address}",
    )
    settings = stack.model_copy(
        update={
            "local": stack.local.model_copy(update={"home": home, "simulator_port": port}),
            "kafka": stack.kafka.model_copy(update={"topic_suffix": ".monitored", "partitions": 1}),
            "object_store": stack.object_store.model_copy(update={"root": f"{stack.object_store.root}/monitored"}),
            "producer": stack.producer.model_copy(update={"backoff_first_s": 0.1}),
            "sink": stack.sink.model_copy(update={"parquet_roll_s": 1.0}),
            "lag_exporter": LagExporter(poll_s=1.0),
            "venues": (venue,),
        }
    )
    deploy(settings)
    config = home / "tickerplant.toml"
    write_settings(settings, config)
    supervisor = Supervisor(config, roles_of(settings), home / "logs")
    simulator = [
        sys.executable,
        "-m",
        "tickerplant.local.venue",
        "--port",
        str(port),
        "--symbols",
        "2",
        "--rate",
        "200",
    ]
    with running([*simulator, "--autostart"], home / "venue.log"):
        eventually(SimulatedVenue(settings).is_up)
        supervisor.start()
        try:
            eventually(lambda: len(find_processes(settings)) == len(supervisor.pids()))
            yield settings
        finally:
            supervisor.stop()


@pytest.fixture(scope="module")
def prometheus(
    pipeline: Settings, prometheus_tools: Any, grafana: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes all roles, and one that is not there."""
    folder = tmp_path_factory.mktemp("prometheus")
    targets = [(each.role, f"{HOST}:{each.port}") for each in find_processes(pipeline)]
    jobs = [{"targets": [target], "labels": {"service": role}} for role, target in [*targets, ("gone", f"{HOST}:1")]]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(grafana / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": [{"job_name": "tickerplant", "static_configs": jobs}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"http://{HOST}:{free_port()}"
    command = [
        str(prometheus_tools.prometheus),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with running(command, folder / "log"):
        eventually(lambda: answers(f"{url}/-/ready"), (folder / "log").read_text)
        yield Prometheus(url)


@pytest.fixture(scope="module")
def troubled(pipeline: Settings, prometheus: Prometheus) -> Prometheus:
    """The same once something has gone wrong: frames came twice, one was junk, all connections were lost."""
    eventually(lambda: prometheus.has_data("ingestion_ticks_total > 0"))
    eventually(lambda: prometheus.has_data('sum (connector_connections{state="connected"}) > 0'))
    control = f"http://{HOST}:{pipeline.local.simulator_port}/control/faults"
    doubled = {"fault": "double", "count": 3, "match": "spot/*@trade"}
    corrupt = {"fault": "corrupt", "count": 1, "kind": "json"}
    for fault in (doubled, corrupt, {"fault": "disconnect", "how": "abort"}):
        httpx.post(control, json=fault).raise_for_status()
    return prometheus


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def chosen(expr: str) -> str:
    """Put in what Grafana does: all values of each variable, a range of some scrapes."""
    return re.sub(r"\$(venue|symbol|group|topic)\b", ".*", expr.replace("$__rate_interval", "20s"))


def queries(dashboards: Dashboards) -> dict[str, str]:
    """All queries by dashboard, panel and letter."""
    return {
        f"{dashboard['title']} / {panel['title']} / {target['refId']}": chosen(target["expr"])
        for dashboard in dashboards.values()
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        if "expr" in target  # what is asked of ClickHouse: test_on_clickhouse.py
    }


def await_data(prometheus: Prometheus, wanted: dict[str, str]) -> None:
    left = dict(wanted)

    def all_have_data() -> bool:
        for name, expr in list(left.items()):
            if prometheus.has_data(expr):
                del left[name]
        return not left

    eventually(all_have_data, lambda: left)


def test_every_panel_returns_data(troubled: Prometheus, dashboards: Dashboards) -> None:
    wanted = queries(dashboards)

    assert len(wanted) > 90
    await_data(troubled, wanted)


def test_what_went_wrong_is_seen_where_one_looks_for_it(troubled: Prometheus) -> None:
    await_data(
        troubled,
        {
            "a reconnect": 'websocket_reconnects_total{venue="BINANCE"} > 0',
            "an error": 'connector_errors_total{venue="BINANCE"} > 0',
            "a dead letter": 'stage_dead_letters_total{stage="process"} > 0',
            "a quality event": 'quality_events_total{kind="DISCONNECT"} > 0',
            "an alert that waits": 'ALERTS{alertname="ProcessDown",service="gone"}',
        },
    )


def test_every_variable_has_values(troubled: Prometheus, dashboards: Dashboards) -> None:
    for dashboard in dashboards.values():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
                eventually(lambda selector=selector, label=label: values(troubled, chosen(selector), label))


def values(prometheus: Prometheus, selector: str, label: str) -> list[str]:
    found: list[str] = prometheus.get(f"label/{label}/values", **{"match[]": selector})
    return found


def test_every_rule_is_evaluated_without_an_error_and_has_what_it_compares(troubled: Prometheus) -> None:
    groups = troubled.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    compared = {rule["name"]: without_threshold(rule["query"]) for rule in rules if rule["name"] not in NEEDS_AN_HOUR}
    compared = {name: expr for name, expr in compared.items() if not NEEDS_AN_HOUR & {expr}}
    compared.pop("RoleGone")  # nothing, as long as all roles are there

    assert len(rules) > 15
    eventually(lambda: {rule["health"] for rule in all_rules(troubled)} == {"ok"}, lambda: all_rules(troubled))
    await_data(troubled, compared)


def all_rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]


def without_threshold(expr: str) -> str:
    return re.sub(r"\s[<>]=?\s[0-9.]+$", "", expr)


def test_lag_by_commit_and_by_position_are_told_of_each_stage_and_stranger(
    troubled: Prometheus, pipeline: Settings
) -> None:
    suffix = pipeline.kafka.topic_suffix
    groups = [f"tickerplant.{role}{suffix}" for role in ("processor", "sink.clickhouse", "sink.parquet")]
    stages = ("process", "sink.clickhouse", "sink.parquet")

    await_data(
        troubled,
        {group: f'kafka_consumergroup_group_lag_seconds{{group="{group}"}}' for group in groups}
        | {stage: f'stage_lag_seconds{{stage="{stage}",topic="raw.binance{suffix}"}}' for stage in stages},
    )
