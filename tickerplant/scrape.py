"""What the processes of this machine say of themselves on `/metrics`, summed over processes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from prometheus_client.parser import text_string_to_metric_families

from tickerplant.processes import Process, address, find_processes
from tickerplant.settings import Settings

Labels = frozenset[tuple[str, str]]


@dataclass
class Scrape:
    """Samples of all processes at one time: (name, labels) → sum over processes."""

    processes: list[Process] = field(default_factory=list)
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def total(self, name: str, **labels: str) -> float:
        """Sum all samples of a name whose labels include those given; 0 = none."""
        return sum(self._matching(name, labels).values())

    def by_label(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Sum the samples of a name by the value of one label."""
        sums: dict[str, float] = {}
        for found, value in self._matching(name, labels).items():
            key = dict(found).get(label, "")
            sums[key] = sums.get(key, 0.0) + value
        return sums

    def quantile_s(self, name: str, share: float, **labels: str) -> float | None:
        """Estimate a quantile of a histogram, in its unit, linear within a bucket; None = nothing observed."""
        buckets: dict[float, float] = {}
        for found, value in self._matching(f"{name}_bucket", labels).items():
            bound = float(dict(found)["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        return bucket_quantile(sorted(buckets.items()), share)

    def _matching(self, name: str, labels: Mapping[str, str]) -> dict[Labels, float]:
        wanted = set(labels.items())
        return {found: value for (each, found), value in self.samples.items() if each == name and wanted <= found}


def bucket_quantile(cumulative: Iterable[tuple[float, float]], share: float) -> float | None:
    """Estimate a quantile from cumulative buckets (upper bound, count), in order; None = they are empty.

    What lies above the last finite bound is told as that bound, as Prometheus does.
    Source: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
    """
    buckets = list(cumulative)
    if not buckets or buckets[-1][1] == 0:
        return None
    rank = share * buckets[-1][1]
    lower_bound, lower_count = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank and count > lower_count:
            if bound == float("inf"):
                return lower_bound
            return lower_bound + (bound - lower_bound) * (rank - lower_count) / (count - lower_count)
        lower_bound, lower_count = bound, count
    return lower_bound


def scrape(settings: Settings, names: Sequence[str] = (), fetch: Callable[[str], str] | None = None) -> Scrape:
    """Read samples of these names (empty = all) from all processes; a process that does not answer is left out."""
    import httpx  # noqa: PLC0415  # 0.1 s for those who only list processes

    query = "?" + urlencode([("name[]", name) for name in names])
    result = Scrape()
    for process in find_processes(settings):
        try:
            text = (fetch or _get)(f"http://{address(settings, process.port)}/metrics{query}")
        except httpx.HTTPError:
            continue
        result.processes.append(process)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                result.samples[key] = result.samples.get(key, 0.0) + sample.value
    return result


def _get(url: str) -> str:
    import httpx  # noqa: PLC0415  # see above

    return httpx.get(url, timeout=5).raise_for_status().text
