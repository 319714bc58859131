"""Grafana dashboards as short descriptions; `python -m tickerplant.dashboards` writes `grafana/dashboards/*.json`."""
