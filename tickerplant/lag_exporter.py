"""The lag exporter: every few seconds all lags of the cluster → `/metrics`, by names that public dashboards expect."""

import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from math import nan
from threading import Event
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tickerplant import metrics
from tickerplant.cluster_lag import ClusterLagReader, Reading
from tickerplant.errors import DependencyError
from tickerplant.health import KAFKA, Health, watched
from tickerplant.lag import Lag
from tickerplant.metrics import Family
from tickerplant.settings import Settings

ROLE: Final = "lag-exporter"

Samples = dict[Family, dict[tuple[str, ...], float]]


class LagCollector(Collector):
    """Tells the last reading; a group that is gone from it is gone from the metrics.

    Args:
        cluster: label `cluster_name`.
    """

    def __init__(self, cluster: str, *, clock_s: Callable[[], float] = time.time) -> None:
        self._cluster = cluster
        self._clock_s = clock_s
        self._began_s = clock_s()
        self.reading = Reading()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Make the families; called for each scrape."""
        reading = self.reading
        age_s = self._clock_s() - (reading.time_s or self._began_s)
        samples = samples_of(reading) | {metrics.POLL_AGE: {(): age_s}}
        for family, values in samples.items():
            made = GaugeMetricFamily(family.name, family.documentation, labels=family.labels)
            for labels, value in values.items():
                made.add_metric([self._cluster, *labels], value)
            yield made

    def describe(self) -> list[GaugeMetricFamily]:
        """Name the families, so that registering needs no reading."""
        return [GaugeMetricFamily(each.name, each.documentation) for each in metrics.FAMILIES]


def samples_of(reading: Reading) -> Samples:
    """Make all samples of a reading: family → labels after `cluster_name` → value."""
    lags: dict[tuple[str, ...], Lag] = {(each.group, each.topic, str(each.partition)): each for each in reading.lags}
    seconds = {labels: nan if each.seconds is None else each.seconds for labels, each in lags.items()}
    by_group, by_topic = _grouped(reading.lags, 1), _grouped(reading.lags, 2)
    return {
        metrics.GROUP_LAG: {labels: each.records for labels, each in lags.items()},
        metrics.GROUP_LAG_SECONDS: seconds,
        metrics.GROUP_OFFSET: {labels: each.next_offset for labels, each in lags.items()},
        metrics.GROUP_MAX_LAG: {labels: max(each.records for each in group) for labels, group in by_group.items()},
        metrics.GROUP_MAX_LAG_SECONDS: {labels: most_seconds(group) for labels, group in by_group.items()},
        metrics.GROUP_SUM_LAG: {labels: sum(each.records for each in group) for labels, group in by_group.items()},
        metrics.GROUP_TOPIC_SUM_LAG: {labels: sum(lag.records for lag in each) for labels, each in by_topic.items()},
        metrics.LATEST_OFFSET: {(name, str(number)): end for (name, number), (_, end) in reading.ends.items()},
        metrics.EARLIEST_OFFSET: {(name, str(number)): first for (name, number), (first, _) in reading.ends.items()},
        metrics.POLL_TIME_MS: {(): reading.took_s * 1000},
    }


def most_seconds(lags: Iterable[Lag]) -> float:
    """Tell the largest lag in seconds of those that are known; NaN = none is."""
    return max((each.seconds for each in lags if each.seconds is not None), default=nan)


def run(settings: Settings, *, stop: Event | None = None) -> None:
    """Export until SIGTERM, SIGINT or `stop`; blocks. While the broker is away the last reading stays, with its age.

    Raises:
        UserError: the metrics port is in use, or the broker refuses us.
    """
    stopping = stop or Event()
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
    collector = LagCollector(settings.lag_exporter.cluster_name)
    health = Health(ROLE, is_patient=True)
    health.expect(KAFKA)
    metrics.ERRORS.labels(ROLE, KAFKA)  # a counter that first shows as 1 was never seen to rise
    REGISTRY.register(collector)
    try:
        with watched(settings, health, {}), closing(ClusterLagReader(settings)) as reader:
            while not stopping.is_set():
                health.beat()
                _poll(reader, collector, health)
                stopping.wait(settings.lag_exporter.poll_s)
    finally:
        REGISTRY.unregister(collector)


def _poll(reader: ClusterLagReader, collector: LagCollector, health: Health) -> None:
    try:
        collector.reading = reader.read()
    except DependencyError as error:
        metrics.ERRORS.labels(ROLE, error.dependency).inc()
        health.down(error.dependency, error.hint)
    else:
        health.up(KAFKA)


def _grouped(lags: Iterable[Lag], count: int) -> dict[tuple[str, ...], list[Lag]]:
    """Collect lags by group (count 1) or by group and topic (2)."""
    found: dict[tuple[str, ...], list[Lag]] = defaultdict(list)
    for each in lags:
        found[(each.group, each.topic)[:count]].append(each)
    return found
