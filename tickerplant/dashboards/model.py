"""What a dashboard is, and its JSON as Grafana reads it (schema 39: Grafana 10 and later).

Source: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

SCHEMA: Final = 39
WIDTH: Final = 24
TAG: Final = "tickerplant"
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
DATASOURCE_UID: Final = "tickerplant-prometheus"
"""Of the data source in `grafana/provisioning`; what the variable `datasource` is set to first."""
CLICKHOUSE: Final = {"type": "grafana-clickhouse-datasource", "uid": "${clickhouse}"}
CLICKHOUSE_UID: Final = "tickerplant-clickhouse"
"""The same of panels that ask ClickHouse."""

Kind = Literal["timeseries", "stat", "heatmap", "table", "state-timeline"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One PromQL expression.

    Args:
        legend: name of a series, with `{{label}}`.
        is_instant: only the newest value, for stats and tables.
    """

    expr: str
    legend: str = ""
    is_instant: bool = False


@dataclass(frozen=True)
class Sql:
    """One question to ClickHouse.

    Args:
        text: SQL; of series its columns are time, a name, and a number.
        is_table: columns are shown as they are; else a series for each name.
    """

    text: str
    is_table: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel.

    Args:
        unit: Grafana's id of a unit, e.g. `s`, `short`, `reqps`.
        warn, bad: values above which it turns yellow and red; None = it does not.
        width: of 24.
        points: regular expression; series with such names are drawn as points.
        sees: uids of dashboards that tell more.
    """

    title: str
    description: str
    queries: Sequence[Query | Sql]
    unit: str = "short"
    kind: Kind = "timeseries"
    warn: float | None = None
    bad: float | None = None
    width: int = 12
    height: int = 8
    is_stacked: bool = False
    points: str = ""
    sees: Sequence[str] = ()

    @property
    def datasource(self) -> dict[str, str]:
        """Whom it asks: ClickHouse or Prometheus, never both."""
        return CLICKHOUSE if isinstance(self.queries[0], Sql) else DATASOURCE


@dataclass(frozen=True, kw_only=True)
class Row:
    """A heading with its panels, laid out from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A list to choose from: the values of a label of the series that a selector matches."""

    name: str
    label: str
    selector: str


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """One dashboard; its file is `<uid>.json`."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()
    refresh: str = "10s"
    span: str = "now-30m"


def render(dashboard: Dashboard) -> Json:
    """Make the JSON of a dashboard."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": dashboard.refresh,
        "time": {"from": dashboard.span, "to": "now"},
        "timezone": "utc",
        "links": [_link()],
        "annotations": {"list": [_alerts()]},
        "templating": {"list": [*_datasources(dashboard), *(_variable(each) for each in dashboard.variables)]},
        "panels": _panels(dashboard.rows),
    }


def _panels(rows: Sequence[Row]) -> list[Json]:
    """Lay panels out and number them."""
    made: list[Json] = []
    y = 0
    for row in rows:
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
            }
        )
        y += 1
        x = height = 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y = 0, y + height
            place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            made.append({"id": len(made) + 1, "gridPos": place, **_panel(panel)})
            x, height = x + panel.width, panel.height
        y += height
    return made


def _panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": panel.datasource,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": [_as_points(panel.points)] if panel.points else []},
        "options": _options(panel),
        "targets": [_target(panel, number, query) for number, query in enumerate(panel.queries)],
        **({"transformations": [_merged()]} if panel.kind == "table" else {}),
        **({"links": [_to(uid) for uid in panel.sees]} if panel.sees else {}),
        **({"interval": "1s"} if panel.datasource is CLICKHOUSE else {}),
    }


def _as_points(names: str) -> Json:
    properties = [{"id": "custom.drawStyle", "value": "points"}, {"id": "custom.pointSize", "value": 8}]
    return {"matcher": {"id": "byRegexp", "options": f"/{names}/"}, "properties": properties}


def _to(uid: str) -> Json:
    """Link to another dashboard, with the time and what was chosen."""
    return {"title": uid, "url": f"/d/{uid}?${{__url_time_range}}&${{__all_variables}}"}


def _target(panel: Panel, number: int, query: Query | Sql) -> Json:
    if isinstance(query, Sql):
        return {
            "refId": chr(ord("A") + number),
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "queryType": "table" if query.is_table else "timeseries",
            "format": 1 if query.is_table else 0,
            "rawSql": query.text,
        }
    formats = {"heatmap": "heatmap", "table": "table"}
    return {
        "refId": chr(ord("A") + number),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "format": formats.get(panel.kind, "time_series"),
        "instant": query.is_instant,
        "range": not query.is_instant,
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.warn is not None:
        steps.append({"color": "yellow", "value": panel.warn})
    if panel.bad is not None:
        steps.append({"color": "red", "value": panel.bad})
    has_steps = len(steps) > 1
    custom: Json = {}
    if panel.kind == "timeseries":
        custom = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 20 if panel.is_stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if has_steps else "off"},
        }
    return {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.kind in {"stat", "state-timeline"} else "palette-classic"},
        "custom": custom,
        "thresholds": {"mode": "absolute", "steps": steps},
    }


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background" if panel.bad is not None else "value",
            "graphMode": "area",
            "textMode": "auto",
        }
    if panel.kind == "heatmap":
        return {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "steps": 64},
            "yAxis": {"unit": panel.unit, "axisPlacement": "left"},
            "cellGap": 1,
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "tooltip": {"mode": "single", "yHistogram": True},
        }
    if panel.kind == "table":
        return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
    legend = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}
    if panel.kind == "state-timeline":
        return {"showValue": "never", "mergeValues": True, "legend": {"displayMode": "list", "placement": "bottom"}}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _merged() -> Json:
    """Join the queries of a table into one row a set of labels."""
    return {"id": "merge", "options": {}}


def _datasources(dashboard: Dashboard) -> list[Json]:
    asked = {panel.datasource["type"] for row in dashboard.rows for panel in row.panels}
    made = [_datasource("datasource", "Data source", "prometheus", DATASOURCE_UID)]
    if CLICKHOUSE["type"] in asked:
        made.append(_datasource("clickhouse", "ClickHouse", CLICKHOUSE["type"], CLICKHOUSE_UID))
    return made


def _datasource(name: str, label: str, kind: str, uid: str) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "datasource",
        "query": kind,
        "current": {"text": "tickerplant", "value": uid},
        "hide": 0,
        "refresh": 1,
        "regex": "",
    }


def _variable(variable: Variable) -> Json:
    query = f"label_values({variable.selector}, {variable.label})"
    return {
        "name": variable.name,
        "label": variable.name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": variable.name},
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
    }


def _link() -> Json:
    return {
        "title": "tickerplant",
        "type": "dashboards",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "expr": 'ALERTS{alertstate="firing"}',
        "iconColor": "red",
        "step": "15s",
        "titleFormat": "{{alertname}}",
        "textFormat": "{{venue}}{{group}}{{role}}{{instance}}",
    }
