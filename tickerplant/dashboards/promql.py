"""Forms of PromQL that panels share; `$__rate_interval` is Grafana's: at least four scrapes."""

from tickerplant.dashboards.model import Query

RANGE = "[$__rate_interval]"


def rate(metric: str, *by: str) -> str:
    """Give the rate per second of a counter, summed by labels (none = over all)."""
    grouping = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouping} (rate({metric}{RANGE}))"


def quantile(share: float, histogram: str, *by: str, selector: str = "") -> str:
    """Estimate a quantile of a histogram, by labels."""
    grouping = ", ".join((*by, "le"))
    return f"histogram_quantile({share}, sum by ({grouping}) (rate({histogram}_bucket{selector}{RANGE})))"


def quantiles(histogram: str, *by: str, selector: str = "") -> list[Query]:
    """Give p50 and p99 of a histogram, by labels."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return [
        Query(quantile(share, histogram, *by, selector=selector), f"{legend} {name}")
        for share, name in ((0.5, "p50"), (0.99, "p99"))
    ]


def heat(histogram: str, selector: str = "") -> list[Query]:
    """Count the observations of each bucket."""
    return [Query(f"sum by (le) (increase({histogram}_bucket{selector}{RANGE}))", "{{le}}")]
