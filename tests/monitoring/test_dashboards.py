"""Dashboards, provisioning and rules hold together: names, ids, units, places, metrics of our catalogue."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from tickerplant import metrics
from tickerplant.dashboards.__main__ import text_of
from tickerplant.dashboards.catalogue import DASHBOARDS
from tickerplant.dashboards.model import CLICKHOUSE_UID, DATASOURCE_UID

ROOT = Path(__file__).parents[2]
KEYWORDS = {"or", "and", "unless", "on", "by", "group_left", "offset", "bool"}
PROMETHEUS_OWN = {
    "ALERTS",
    "up",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
}
Dashboards = dict[str, dict[str, Any]]


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def rules(grafana: Path) -> list[dict[str, Any]]:
    files = sorted((grafana / "prometheus" / "rules").glob("*.yml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def expressions(dashboards: Dashboards, grafana: Path) -> Iterator[str]:
    for dashboard in dashboards.values():
        yield from (target["expr"] for panel in panels(dashboard) for target in panel["targets"] if "expr" in target)
        yield from (each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query")
    yield from (rule["expr"] for rule in rules(grafana))


def names_in(expr: str) -> set[str]:
    """Metric names of an expression: what is left without strings, matchers, ranges, groupings and functions."""
    text = re.sub(r'"[^"]*"', "", expr)
    text = re.sub(r"label_values\((.*), \w+\)", r"\1", text)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)
    text = re.sub(r"\b(by|on|group_left)\s*\([^)]*\)", "", text)
    words = re.findall(r"[A-Za-z_:][A-Za-z0-9_:]*(?!\w|\s*\()", text)
    return {word for word in words if word not in KEYWORDS and not re.fullmatch(r"\d*[smh]", word)}


def catalogue(grafana: Path) -> set[str]:
    names = set(PROMETHEUS_OWN) | {each.name for each in metrics.FAMILIES}
    for each in vars(metrics).values():
        if isinstance(each, MetricWrapperBase):
            [family] = each.describe()
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}[family.type]
            names |= {family.name + suffix for suffix in suffixes}
    return names | {rule["record"] for rule in rules(grafana) if "record" in rule}


@pytest.mark.parametrize("uid", [each.uid for each in DASHBOARDS])
def test_the_committed_dashboards_are_up_to_date(grafana: Path, uid: str) -> None:
    text = (grafana / "dashboards" / f"{uid}.json").read_text(encoding="utf-8")

    assert text == text_of(uid), "run: python -m tickerplant.dashboards"


def test_no_other_dashboard_lies_about(dashboards: Dashboards) -> None:
    assert {uid: each["title"] for uid, each in dashboards.items()} == {
        "market-data-ingestion": "Market Data Ingestion",
        "consumer-lag": "Consumer lag",
        "data-quality": "Data Quality",
        "pipeline": "Pipeline",
    }


def test_panels_have_ids_titles_descriptions_units_and_queries(dashboards: Dashboards) -> None:
    for dashboard in dashboards.values():
        ids = [panel["id"] for panel in dashboard["panels"]]
        titles = [panel["title"] for panel in panels(dashboard)]
        assert len(set(ids)) == len(ids)
        assert len(set(titles)) == len(titles)
        for panel in panels(dashboard):
            assert panel["description"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_panels_do_not_overlap_and_fit_the_page(dashboards: Dashboards) -> None:
    for dashboard in dashboards.values():
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert place["x"] + place["w"] <= 24
            taken |= cells


def test_everything_is_asked_of_the_provisioned_data_source_or_the_one_chosen(
    dashboards: Dashboards, grafana: Path
) -> None:
    files = sorted((grafana / "provisioning" / "datasources").glob("*.yml"))
    provisioned = [each for path in files for each in yaml.safe_load(path.read_text())["datasources"]]
    kinds = {each["type"]: each["uid"] for each in provisioned}
    assert list(kinds.values()) == [CLICKHOUSE_UID, DATASOURCE_UID]
    for dashboard in dashboards.values():
        variables = [each for each in dashboard["templating"]["list"] if each["type"] == "datasource"]
        chosen = {f"${{{each['name']}}}": each for each in variables}
        for panel in panels(dashboard):
            for each in (panel, *panel["targets"]):
                variable = chosen[each["datasource"]["uid"]]
                assert variable["query"] == each["datasource"]["type"] == panel["datasource"]["type"]
                assert variable["current"]["value"] == kinds[variable["query"]]


def test_links_lead_to_dashboards_that_there_are_with_time_and_choice(dashboards: Dashboards) -> None:
    links = [link["url"] for each in dashboards.values() for panel in panels(each) for link in panel.get("links", ())]
    targets = {re.fullmatch(r"/d/([a-z-]+)\?\$\{__url_time_range\}&\$\{__all_variables\}", url) for url in links}

    assert {found and found[1] for found in targets} == set(dashboards)
    assert all(each["links"][0]["tags"] == each["tags"] for each in dashboards.values())


def test_dashboards_are_provisioned_from_where_they_are_mounted(grafana: Path) -> None:
    [provider] = yaml.safe_load((grafana / "provisioning" / "dashboards" / "tickerplant.yml").read_text())["providers"]

    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_every_metric_that_is_asked_for_is_in_the_catalogue(dashboards: Dashboards, grafana: Path) -> None:
    asked = set().union(*(names_in(expr) for expr in expressions(dashboards, grafana)))

    assert asked - catalogue(grafana) == set()


def test_every_metric_of_the_mission_is_on_a_dashboard(dashboards: Dashboards, grafana: Path) -> None:
    asked = set().union(*(names_in(expr) for expr in expressions(dashboards, grafana)))

    assert {
        "ingestion_ticks_total",
        "ingestion_latency_seconds_bucket",
        "connector_errors_total",
        "websocket_reconnects_total",
        "kafka_consumergroup_group_lag",
        "kafka_consumergroup_group_lag_seconds",
    } <= asked


def test_each_alert_says_how_bad_it_is_what_happened_and_what_to_do(grafana: Path) -> None:
    alerts = [rule for rule in rules(grafana) if "alert" in rule]
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    headings = {f"docs/monitoring.md#{line.lstrip('# ').lower()}" for line in page.splitlines() if line.startswith("#")}

    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["for"], rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]
        assert rule["annotations"]["runbook"].endswith("."), rule["alert"]
        assert rule["annotations"]["runbook_url"] in headings


def test_what_runbooks_name_in_stars_is_a_panel_or_a_dashboard(dashboards: Dashboards, grafana: Path) -> None:
    titles = {panel["title"] for each in dashboards.values() for panel in each["panels"]}
    titles |= {each["title"] for each in dashboards.values()}
    texts = [rule["annotations"]["runbook"] for rule in rules(grafana) if "alert" in rule]
    texts.append((ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8").partition("## Alerts")[2])
    named = {name for text in texts for name in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text)}

    assert len(named) > 8
    assert named <= titles


def test_names_are_told_from_functions_labels_and_keywords() -> None:
    expr = 'sum by (venue) (rate(a_total{x="b",y=~".*"}[5m])) / on (venue) clamp_min(b - c, 1) or 60 * d offset 5m'

    assert names_in(expr) == {"a_total", "b", "c", "d"}
